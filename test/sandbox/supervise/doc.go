// Package supervise starts, stops and watches one broker process that lives in a
// directory, in place of a service manager.
//
// It owns the directory's control files. Any process may call it: what it knows
// is in the directory, never in memory. Each broker process has a monitor, a
// small process that is its parent: it records the exit, and ends the broker
// when the directory's owner is gone, so nothing outlives a test however the
// test dies. Commands for the same directory wait for each other. It never
// restarts a broker by itself and knows nothing of Kafka.
//
// Files of a directory DIR:
//
//	spec.json     what to run, and who owns it; written once by the owner
//	process.json  the running process; gone, or stale, when there is none
//	events.jsonl  what happened when, one Event a line
//	server.log    the broker's standard output and error, all processes of the directory
//	monitor.log   what the monitors themselves have to say; normally empty
//	lock          held while a command changes something
package supervise
