// Package e2e proves the agent on real Kafka brokers: real processes, real
// files, real restarts, judged from outside by the sandbox and by what
// operators and customers see.
package e2e
