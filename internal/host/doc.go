// Package host is the broker of this VM, as the agent's settings name it: its server.properties with
// the copies and the journal, the manifest in force, its unit, its log directories, and the way to it
// through Kafka.
//
// It owns what the agent keeps in its state directory, and it gathers facts for the decisions. It never
// decides, and no question changes anything.
package host
