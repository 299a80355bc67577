// Package judge puts a server.properties to an installed Kafka, before any broker is started with it: Kafka's own
// configuration class and the channel builders of its listeners say what they would refuse.
//
// It owns the small Java class that asks them (java/KplsJudge.java), how it is run, and what its answer means. It binds
// no port, asks no network, runs no class that is not Kafka's own, and never decides what follows from a verdict. What
// could not be judged is part of the verdict and never a refusal. Kafka's words may hold secrets of the file; what this
// package returns does not.
package judge
