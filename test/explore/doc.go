// Package explore visits every state that a few agents and a small cluster can come to, whatever
// happens in whatever order, and proves the promises of docs/architecture.md in each of them.
//
// The agents are real (internal/agent around internal/restart). Everything around them is a model:
// brokers, the coordination log, files, units, probes. One event at a time changes it: an agent decides;
// an action takes effect, an event of its own, so an agent can die before or after it; a broker comes
// back; time passes; something goes wrong, as often as the budget of a configuration allows.
//
// Where to add what (docs/simulation.md says more):
//
//	faults_test.go     what goes wrong, and what ends it: one entry of the table `faults`
//	promises_test.go   an invariant: one entry of the table `promises`
//	truth_test.go      what must be true of the world for a reason to stand
//	battery_test.go    a configuration: its shape, its manifests and its budget
//	testdata/*.txt     a scenario: chosen events of the same world, and what the agents decide
//
// Two states are one where their keys are (internal/restart/key.go). What happens on one VM, and the
// log, are numbered by their keys, and what an agent decides in a state of its VM is computed once: a state
// of the world is a handful of numbers.
package explore
