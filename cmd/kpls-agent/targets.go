package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"sync"
	"time"

	"example.com/kpls-agent/internal/config"
	"example.com/kpls-agent/internal/kafka"
	"example.com/kpls-agent/internal/probe"
)

// closeMargin is how long after its drain a probe may stay closed for a restart that
// does not come: gates may have to pass once more, and a controlled shutdown takes up to
// 5 minutes. A broker that is down by then is closed anyway.
const closeMargin = 10 * time.Minute

// targets keeps the probe's targets equal to the manifest and to what the
// process runs: a listener is judged as the process has it, so that a change of
// the manifest closes no probe before its broker's turn.
type targets struct {
	prober *probe.Prober
	store  *store
	id     int32
	log    *slog.Logger
	login  *kafka.Login // of the agent, for listeners that ask for one
	asked  *kafka.Metrics

	mu       sync.Mutex
	running  []config.Effective
	checkers map[string]*kafka.Checker // by key
}

// learned is told what the process runs.
func (t *targets) learned(running []config.Effective) {
	t.mu.Lock()
	t.running = running
	t.mu.Unlock()
	t.update()
}

// update sets the targets anew.
func (t *targets) update() {
	m, _ := t.store.get()
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
		host, port, protocol, bind, bindPort := e.AdvertisedHost, e.AdvertisedPort, e.SecurityProtocol, e.BindHost, e.BindPort
		for _, r := range t.running {
			if r.Name == e.Name {
				host, port, protocol, bind, bindPort = r.AdvertisedHost, r.AdvertisedPort, r.SecurityProtocol, r.BindHost, r.BindPort
			}
		}
		check := kafka.ListenerCheck{
			Addr: net.JoinHostPort(dialHost(bind), strconv.Itoa(bindPort)), Protocol: protocol, Broker: t.id,
			AdvertisedHost: host, AdvertisedPort: port, Login: t.login, Metrics: t.asked,
		}
		key := fmt.Sprintf("%s %s %s:%d", check.Addr, protocol, host, port)
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
// whether its clients verify names is theirs to say.
func (t *targets) check(name string, c *kafka.Checker) func(context.Context) error {
	var once sync.Once
	return func(ctx context.Context) error {
		err := c.Check(ctx)
		if _, ok := errors.AsType[*kafka.CertificateError](err); ok {
			once.Do(func() { t.log.Warn("certificate in doubt", "listener", name, "err", err) })
			return nil
		}
		return err
	}
}

// dialHost is where to reach a listener from this machine.
func dialHost(bind string) string {
	if bind == "" || bind == "0.0.0.0" {
		return "127.0.0.1"
	}
	if ip := net.ParseIP(bind); ip != nil && ip.IsUnspecified() {
		return "::1"
	}
	return bind
}

func newTargets(p *probe.Prober, st *store, n node, s *Settings, log *slog.Logger, asked *kafka.Metrics) *targets {
	t := &targets{prober: p, store: st, id: n.BrokerID, log: log, asked: asked, checkers: map[string]*kafka.Checker{}}
	c := s.Kafka.Client
	if s.Kafka.SASL.Mechanism != "" || s.Kafka.TLS.CertFile != "" || c != nil && c.Protocol != "PLAINTEXT" {
		l := kafkaLogin(s, n.agents.SecurityProtocol)
		t.login = &l
	}
	return t
}
