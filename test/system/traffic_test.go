package system

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"example.com/kpls-agent/test/machines"
	"example.com/kpls-agent/test/sandbox"
)

// customer dials as the client namespace does, by the published names.
func (s *system) customer() sandbox.DialFunc {
	names := sandbox.Names{}
	for _, m := range s.Machines {
		names[m.Name+"."+machines.Domain] = s.LB.Addr
	}
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		host, port, err := net.SplitHostPort(addr)
		if err != nil {
			return nil, err
		}
		if lb, ok := names[host]; ok {
			addr = net.JoinHostPort(lb, port)
		}
		return s.Client.Dial(ctx, network, addr)
	}
}

// through are the options of a load that reaches the brokers through the load balancer.
func (s *system) through() sandbox.LoadOptions {
	return sandbox.LoadOptions{
		Bootstrap: []string{"b1." + machines.Domain + ":9093", "b2." + machines.Domain + ":9094", "b3." + machines.Domain + ":9095"},
		Dial:      s.customer(), Topic: topic, Partitions: partitions, Rate: 200,
	}
}

// within are those of one that uses the inter-broker listener.
func (s *system) within() sandbox.LoadOptions {
	return sandbox.LoadOptions{Bootstrap: s.Internal(), Dial: s.Client.Dial, Topic: topic, Partitions: partitions, Rate: 200}
}

// traffic is a load, a watch over the brokers, and what the agents did meanwhile.
type traffic struct {
	s     *system
	begun time.Time
	watch *machines.Watch
	// mayGiveUp is set where the client may give records up, which it never took for
	// sent: brokers are down that no agent took down, or it has so few retries that a
	// slow machine uses them up.
	mayGiveUp bool
	// silenced is the broker whose agent the test has stopped, and its probe with it.
	silenced int32
	end      func() (sandbox.Figures, error)
}

// runner is a kind of load.
type runner interface {
	Run(ctx context.Context) (sandbox.Figures, error)
}

// start starts a load, which is a producer with acks=all and a consumer, and the
// watch. With probing, the watch probes as well.
func (s *system) start(load runner, probing bool) *traffic {
	s.Helper()
	ctx, stop := context.WithCancel(context.WithoutCancel(s.Context()))
	t := &traffic{s: s, begun: time.Now(), watch: s.NewWatch(probing)}
	watched, loaded := make(chan struct{}), make(chan struct{})
	var figures sandbox.Figures
	var err error
	lctx, stopLoad := context.WithCancel(ctx)
	go func() { defer close(watched); t.watch.Run(ctx) }()
	go func() { defer close(loaded); figures, err = load.Run(lctx) }()
	t.end = func() (sandbox.Figures, error) {
		stopLoad()
		<-loaded
		stop()
		<-watched
		return figures, err
	}
	s.Cleanup(func() {
		_, _ = t.end() // it may have ended
		if s.Failed() {
			s.dump(t.begun)
		}
	})
	return t
}

// judge ends the traffic and holds what every fault must leave true: no
// acknowledged record lost, no broker taken down while another was down, no
// probe of a healthy broker missed. It returns the restarts the agents asked for.
func (t *traffic) judge() []restart {
	t.s.Helper()
	restarts, _ := t.account()
	return restarts
}

// account is judge, with what the load saw.
func (t *traffic) account() ([]restart, sandbox.Figures) {
	t.s.Helper()
	figures, err := t.end()
	t.s.Logf("load: %s", figures)
	switch {
	case err != nil:
		t.s.Error(err)
	case figures.Acked == 0 || figures.Lost > 0:
		t.s.Errorf("acknowledged records were lost: %s", figures)
	case !t.mayGiveUp && (figures.Acked < figures.Sent || figures.Failed > 0 || figures.Rebuilt > 0):
		t.s.Errorf("records failed: %s", figures)
	}
	restarts := t.s.restarts(t.begun)
	for _, r := range restarts {
		away := t.watch.Away(r.at, r.broker)
		t.s.Logf("the agent of b%d restarted its broker at %s", r.broker, r.at.Format("15:04:05.000"))
		if len(away) > 0 {
			t.s.Errorf("when b%d was restarted at %s, brokers %v were down", r.broker, r.at.Format("15:04:05.000"), away)
		}
	}
	missed := slices.DeleteFunc(t.watch.Missed(t.begun), func(p machines.Probe) bool { return p.Broker == t.silenced })
	if len(missed) > 0 {
		t.s.Errorf("%d probes of a healthy broker were missed, the first of %s, the last of %s", len(missed), missed[0], missed[len(missed)-1])
	}
	return restarts, figures
}

// restart is one that an agent asked for.
type restart struct {
	broker int32
	at     time.Time
}

// restarts reads them from the VMs' journals.
func (s *system) restarts(since time.Time) []restart {
	s.Helper()
	var out []restart
	for _, m := range s.Machines {
		for _, e := range s.journal(m, since, "kpls-agent.service") {
			if strings.Contains(e.Message, `msg="restarting the unit"`) {
				out = append(out, restart{m.ID, e.At})
			}
		}
	}
	slices.SortFunc(out, func(a, b restart) int { return a.at.Compare(b.at) })
	return out
}

// starts counts how often systemd started the broker on a VM.
func (s *system) starts(m *machines.Machine, since time.Time) int {
	s.Helper()
	n := 0
	for _, e := range s.journal(m, since, "kafka.service") {
		if strings.HasPrefix(e.Message, "Started kafka.service") {
			n++
		}
	}
	return n
}

func (s *system) journal(m *machines.Machine, since time.Time, unit string) []machines.Entry {
	s.Helper()
	entries, err := m.Journal(context.WithoutCancel(s.Context()), since, unit)
	if err != nil {
		s.Fatal(err)
	}
	return entries
}

// dump prints what an operator would look at.
func (s *system) dump(since time.Time) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.Context()), 30*time.Second)
	defer cancel()
	for _, m := range s.Machines {
		out, err := m.Output(ctx, "kpls-agent", "status")
		s.Logf("%s: status: %v\n%s", m.Name, err, out)
		for unit, most := range map[string]int{"kpls-agent.service": 60, "kafka.service": 30} {
			entries, err := m.Journal(ctx, since, unit)
			entries = slices.DeleteFunc(entries, func(e machines.Entry) bool { return strings.Contains(e.Message, "] INFO ") })
			var b strings.Builder
			for _, e := range entries[max(0, len(entries)-most):] {
				fmt.Fprintf(&b, "%s %.400s\n", e.At.Format("15:04:05.000"), e.Message)
			}
			s.Logf("%s: %s: %v\n%s", m.Name, unit, err, b.String())
		}
	}
}
