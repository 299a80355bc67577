// Package restart is the domain: it decides when this broker may be restarted,
// what proves that it came back right, and when it must be rolled back.
//
// It owns the decisions (Machine), the records of the coordination log, the vetoes
// and the gates. It has no goroutine, no clock and no I/O: facts come in, one action
// and a reason go out. internal/agent gathers the facts and carries the action out.
package restart
