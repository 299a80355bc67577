package agent

import (
	"time"

	"example.com/kpls-agent/internal/restart"
)

// stopwatch measures how long a restart of the own broker takes, for people: from the first phase in which something is
// done to the broker to the first one in which nothing is left to do.
type stopwatch struct {
	begun time.Time // zero: no restart is under way
	last  float64   // seconds; 0: none was measured
}

// took is how long the last restart took, in seconds, with a status that was just decided on. The measure of an earlier
// agent process counts as long as the broker's process is the same.
func (w *stopwatch) took(st *restart.Status, told map[int32]restart.Status, now time.Time) float64 {
	if old, ok := told[st.Broker]; ok && w.last == 0 && old.Invocation != "" && old.Invocation == st.Invocation {
		w.last = old.Took
	}
	switch st.Phase {
	case restart.PhaseApplying, restart.PhaseRestarting:
		if w.begun.IsZero() {
			w.begun = now
		}
	case restart.PhaseIdle:
		if !w.begun.IsZero() {
			w.begun, w.last = time.Time{}, now.Sub(w.begun).Round(time.Millisecond).Seconds()
		}
	case restart.PhaseStarting, restart.PhaseCatchingUp, restart.PhaseBalancer, restart.PhaseSoaking:
	default: // it failed, or was given up: no measure of a restart that goes well
		w.begun = time.Time{}
	}
	return w.last
}
