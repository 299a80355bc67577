// Package sandbox runs what a test, the demo or a benchmark needs around the
// agents: Apache Kafka brokers from Maven Central's jars, each on a loopback
// address of its own; a TCP forwarder in place of the cloud's load balancer; and
// load whose every record is accounted for.
//
// It owns the processes it starts and ends each by its id; when the process that
// opened the sandbox dies, in whatever way, its brokers die within a second. It
// listens and dials on 127.0.0.0/8 only. It never imports the agent's own
// packages, so it can judge them.
package sandbox
