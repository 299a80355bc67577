package main

import (
	"context"
	"log/slog"
	"time"

	"example.com/kpls-agent/internal/restart"
	"example.com/kpls-agent/internal/unit"
)

// readyWithin bounds how long systemd waits for this agent, and so how long it can
// keep the broker, whose unit is ordered after this one, from starting.
const readyWithin = 10 * time.Second

// announce tells systemd that the agent is ready, so that the broker may start: once
// server.properties is right, or it is known why not, and in any case soon.
func announce(ctx context.Context, settled <-chan struct{}, ready func() error, log *slog.Logger) {
	limit := time.NewTimer(readyWithin)
	defer limit.Stop()
	select {
	case <-ctx.Done():
		return
	case <-settled:
	case <-limit.C:
		log.Warn("the broker may start although it is not known whether server.properties is right", "after", readyWithin)
	}
	warn(log, "tell systemd", ready())
	<-ctx.Done()
}

// newBeat feeds the watchdog from the loop that does the work, and shows its status.
func newBeat(p *pulse, notifier *unit.Notifier, log *slog.Logger) func(restart.Status) {
	var last restart.Reason
	var fed time.Time
	return func(st restart.Status) {
		p.beat()
		if st.Reason != last {
			last = st.Reason
			warn(log, "tell systemd", notifier.Status(string(st.Phase)+": "+st.Reason.Text))
		}
		if time.Since(fed) > time.Second {
			fed = time.Now()
			warn(log, "tell systemd", notifier.Watchdog())
		}
	}
}
