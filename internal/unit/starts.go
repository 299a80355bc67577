package unit

// starts counts the automatic restarts in which the broker's own process never ran: an
// ExecStartPre= failed, or systemd could not execute ExecStart=. systemd does not count them
// apart. It sets ExecMainStartTimestampMonotonic to 0 at the begin of each start, and gives each
// start an InvocationID of its own (seen on systemd 252 in test/system, step `unit shapes`), so a
// start that waits for the next one and still has the 0 ran nothing.
//
// A start that nobody looked at counts as one in which the process ran.
type starts struct {
	restarts   int    // NRestarts
	invocation string // of the last answer
	nothing    string // InvocationID of a start that came to nothing and is not counted yet
	counted    string // InvocationID of the last one that is
	failures   int
}

// see is told every answer of systemd's, in order.
func (s *starts) see(p map[string]any) {
	restarts := number(p["NRestarts"])
	if restarts < s.restarts {
		s.failures = 0
	}
	if restarts > s.restarts && s.invocation != "" && s.nothing == s.invocation {
		s.failures++
		s.nothing, s.counted = "", s.nothing
	}
	s.restarts = restarts
	s.invocation = invocation(p)
	if waitsForRestart(text(p["SubState"])) && ranNothing(p) && s.invocation != s.counted {
		s.nothing = s.invocation
	}
}

// firstOfSystemd to lastOfSystemd are the exit statuses of systemd's own, for a process that it
// could not set up or execute (systemd.exec(5), "Process Exit Codes").
const firstOfSystemd, lastOfSystemd = 200, 245

// ranNothing is true if the main process of the last start was never executed.
func ranNothing(p map[string]any) bool {
	began, known := p["ExecMainStartTimestampMonotonic"].(uint64)
	status := number(p["ExecMainStatus"])
	return known && began == 0 ||
		number(p["ExecMainCode"]) == cldExited && status >= firstOfSystemd && status <= lastOfSystemd
}
