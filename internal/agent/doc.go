// Package agent is the shell around the decisions of internal/restart.
//
// It owns when facts are gathered, what a failed action leaves behind, and when
// a status is published (Agent, without I/O, so a simulator and an explorer drive
// the same code), and it carries decisions out through interfaces (Loop). It never
// decides what happens to the broker, and talks to Kafka, systemd and the disk
// only through those interfaces.
package agent
