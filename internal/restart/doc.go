// Package restart is the domain: it decides when this broker may be restarted,
// what proves that it came back right, and when it must be put back.
//
// It owns the state machine (Machine), the records of the coordination log, the
// gates, and the loop that carries decisions out. It never talks to Kafka,
// systemd or the disk itself: it names interfaces for that, and Machine has no
// goroutine, no clock and no I/O at all, so that a simulator can drive many
// agents through any interleaving.
package restart
