package daemon

import (
	"context"
	"log/slog"
	"strings"
	"time"

	"example.com/kpls-agent/internal/host"
	"example.com/kpls-agent/internal/restart"
	"example.com/kpls-agent/internal/settings"
	"example.com/kpls-agent/internal/unit"
)

// readyWithin bounds how long systemd waits for this agent, and so how long it can
// keep the broker, whose unit is ordered after this one, from starting.
const readyWithin = 10 * time.Second

// announce tells systemd that the agent is ready, so the broker may start: once
// server.properties is right, or it is known why not, and in any case soon.
func announce(ctx context.Context, settled <-chan struct{}, ready func() error, log *slog.Logger) {
	limit := time.NewTimer(readyWithin)
	defer limit.Stop()
	select {
	case <-ctx.Done():
		return
	case <-settled:
	case <-limit.C:
		log.Warn("the broker may start although it is not known whether server.properties is right", "after",
			readyWithin)
	}
	warn(log, "tell systemd", ready())
	<-ctx.Done()
}

// lookEvery is how often files that cannot be used are looked at again.
const lookEvery = 5 * time.Second

// awaitFiles waits until the agent can begin: server.properties names a broker, for
// Kafka is often installed after the agent, and the files of the login can be read. An
// agent that ended would only be started again every other second, and be given up by
// systemd. It tells each new reason, and beats meanwhile. The error is that of ctx.
func awaitFiles(ctx context.Context, s *settings.Settings, beat func(), tell func(why error)) (host.Node, error) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	told := ""
	for {
		n, err := usable(s)
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
			return host.Node{}, ctx.Err()
		case <-tick.C:
		}
	}
}

// usable reads the broker, and tries the login's files as a client does that connects to nobody.
func usable(s *settings.Settings) (host.Node, error) {
	n, err := host.ReadNode(s)
	if err != nil {
		return n, err
	}
	if err := s.Kafka.ReadClient(); err != nil {
		return n, err
	}
	client, err := host.Dial(s, n, slog.New(slog.DiscardHandler), nil)
	if err != nil {
		return n, err
	}
	client.Close()
	return n, nil
}

// newBeat feeds the watchdog from the loop that does the work, and shows its status
// and what is wrong with the agent itself.
func newBeat(p *pulse, n *notes, notifier *unit.Notifier, log *slog.Logger) func(restart.Status) {
	var last string
	var fed time.Time
	return func(st restart.Status) {
		p.beat()
		text := string(st.Phase) + ": " + st.Reason.Text()
		if st.ManifestFault != "" && !strings.Contains(text, st.ManifestFault) {
			text += " [the manifest file is not in force: " + st.ManifestFault + "]"
		}
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
