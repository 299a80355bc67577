// Package sim tests the promises of docs/architecture.md in play: many agents,
// each with the real restart.Machine, run against a model of a Kafka cluster, in
// fake time, one event after the other. One seed is one run, always the same.
//
// Where to add what (docs/simulation.md says more):
//
//	faults_test.go     a fault: one entry of the table `faults`
//	operators_test.go  what an operator does, at any moment or because a reason asks for it
//	promises_test.go   an invariant: one entry of the table `promises`
//	truth_test.go      what must be true of the world for a reason to be shown
//	scenario_test.go   shapes of clusters, and manifests
//	mutants_test.go    a deliberate fault in the product that a seed must notice
//
// The model is in world_test.go (time, chance, what has happened), kafka_test.go
// (brokers, replicas, controllers), views_test.go (what each broker shows of
// that), log_test.go (the coordination topic), host_test.go (a VM: its disk and
// service manager) and agent_test.go (the shell around a machine). The model
// shares nothing with the product but the types of its decisions: a judge does
// not borrow the opinion of the judged.
package sim
