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

// nodeEvery is how often a server.properties that cannot be used is looked at again.
const nodeEvery = 5 * time.Second

// awaitNode waits until server.properties names a broker: Kafka is often installed
// after the agent, and an agent that ends is only started again every other second.
// It tells each new reason, and beats meanwhile. The error is that of ctx.
func awaitNode(ctx context.Context, s *Settings, beat func(), tell func(why error)) (node, error) {
	tick := time.NewTicker(nodeEvery)
	defer tick.Stop()
	told := ""
	for {
		n, err := readNode(s)
		if err == nil {
			return n, nil
		}
		if err.Error() != told {
			told = err.Error()
			tell(err)
		}
		beat()
		select {
		case <-ctx.Done():
			return node{}, ctx.Err()
		case <-tick.C:
		}
	}
}

// newBeat feeds the watchdog from the loop that does the work, and shows its status
// and what is wrong with the agent itself.
func newBeat(p *pulse, n *notes, notifier *unit.Notifier, log *slog.Logger) func(restart.Status) {
	var last string
	var fed time.Time
	return func(st restart.Status) {
		p.beat()
		text := string(st.Phase) + ": " + st.Reason.Text
		if wrong := n.text(); wrong != "" {
			text += " [" + wrong + "]"
		}
		if text != last {
			last = text
			warn(log, "tell systemd", notifier.Status(text))
		}
		if time.Since(fed) > time.Second {
			fed = time.Now()
			warn(log, "tell systemd", notifier.Watchdog())
		}
	}
}
