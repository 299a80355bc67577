package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"example.com/kpls-agent/internal/config"
	"example.com/kpls-agent/internal/host"
	"example.com/kpls-agent/internal/kafka"
	"example.com/kpls-agent/internal/probe"
	"example.com/kpls-agent/internal/settings"
)

// closeMargin is how long after its drain a probe may stay closed for a restart that
// does not come: gates may have to pass once more, and a controlled shutdown takes up to
// 5 minutes. A broker that is down by then is closed anyway.
const closeMargin = 10 * time.Minute

// targets keeps the probe's targets equal to the manifest and to what the
// process runs: a listener is judged as the process has it, so a change of
// the manifest closes no probe before its broker's turn.
type targets struct {
	prober *probe.Prober
	store  *host.Store
	id     int32
	log    *slog.Logger
	login  *kafka.Login // of the agent, for listeners that ask for one
	asked  *kafka.Metrics

	mu       sync.Mutex
	running  []config.Effective
	checkers map[string]*kafka.Checker  // by key
	failures map[string]*kafka.Failures // by listener
}

// learned is told what the process runs.
func (t *targets) learned(running []config.Effective) {
	t.mu.Lock()
	t.running = running
	t.mu.Unlock()
	t.update() // what is not as it was has a new checker now
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, c := range t.checkers {
		c.Known()
	}
}

// update sets the targets again.
func (t *targets) update() {
	m, _ := t.store.Get()
	if m == nil {
		return
	}
	desired, err := m.For(t.id)
	if err != nil {
		return // the restart side refuses it and says so
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	var list []probe.Target
	used := map[string]bool{}
	for _, e := range desired.Endpoints {
		check := host.ListenerCheck(e, t.running, t.id, t.login)
		if t.failures[e.Name] == nil {
			t.failures[e.Name] = &kafka.Failures{}
		}
		check.Metrics, check.Failures = t.asked, t.failures[e.Name]
		key := fmt.Sprintf("%s %s %s:%d", check.Addr, check.Protocol, check.AdvertisedHost, check.AdvertisedPort)
		checker := t.checkers[key]
		if checker == nil {
			checker = kafka.NewChecker(check)
			t.checkers[key] = checker
		}
		used[key] = true
		list = append(list, probe.Target{
			Name: e.Name, Dial: check.Addr, Key: key, Check: t.check(e.Name, checker),
			Host: e.ProbeHost, Port: e.ProbePort,
			Close: e.DuringRestart == "close", CloseLimit: e.Drain + closeMargin, HoldLimit: e.HoldLimit,
		})
	}
	for key, c := range t.checkers {
		if !used[key] {
			c.Close()
			delete(t.checkers, key)
		}
	}
	t.prober.SetTargets(list)
}

// check takes a doubtful certificate for a warning: the listener serves, and
// whether its clients verify names is theirs to say. So it does with a listener
// that does not let the agent in.
func (t *targets) check(name string, c *kafka.Checker) func(context.Context) error {
	var doubted, outside sync.Once
	return func(ctx context.Context) error {
		err := c.Check(ctx)
		if _, ok := errors.AsType[*kafka.CertificateError](err); ok {
			doubted.Do(func() { t.log.Warn("certificate in doubt", "listener", name, "err", err) })
			err = nil
		}
		if why := c.Unseen(); why != nil && err == nil {
			outside.Do(func() { t.log.Warn("the listener is checked from outside only", "listener", name, "why", why) })
		}
		return err
	}
}

func newTargets(
	p *probe.Prober, st *host.Store, n host.Node, s *settings.Settings, log *slog.Logger, asked *kafka.Metrics,
) *targets {
	return &targets{
		prober: p, store: st, id: n.BrokerID, log: log, asked: asked, checkers: map[string]*kafka.Checker{},
		failures: map[string]*kafka.Failures{}, login: host.ListenerLogin(s, n, probe.CheckTimeout/2),
	}
}
