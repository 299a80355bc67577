// Package e2e proves the agent on real Kafka brokers: real processes, real
// files, real restarts, judged from outside by the sandbox and by what
// operators and customers see.
//
// What takes too long for every run has the build tag matrix, a name that begins
// with TestMatrix, and a table of its own in docs/matrix.md: `make matrix`.
package e2e
