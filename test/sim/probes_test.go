package sim

import (
	"slices"
	"time"

	"example.com/kpls-agent/internal/restart"
)

// holdLimit is how long a probe may be held open through a restart.
const holdLimit = time.Minute

// balancerEvery is how often the load balancer asks.
const balancerEvery = 5 * time.Second

// probe is one listener's port for the load balancer. The socket outlives the
// agent (systemd keeps it); what is known about it does not.
type probe struct {
	name     string
	open     bool
	openedAt time.Time
	gap      bool // it was closed since the restart began
	wasOpen  bool // ever in this agent process or an earlier one
}

// probes are the ports of one VM.
type probes struct {
	ports   []*probe
	allowed []string
	planned time.Time // when a planned restart was announced; zero: none is
	held    []string  // open when it was
	// facts is what the prober said last, of the listeners of a manifest: one map, used again for each decision.
	facts map[string]restart.ProbeFacts
	of    *version
}

// find returns the port of a listener, nil if it never had one.
func (p *probes) find(name string) *probe {
	for _, q := range p.ports {
		if q.name == name {
			return q
		}
	}
	return nil
}

func (p *probes) port(name string) *probe {
	q := p.find(name)
	if q == nil {
		q = &probe{name: name}
		p.ports = append(p.ports, q)
	}
	return q
}

func (b *broker) serves(name string) bool {
	_, has := b.runs.listeners[name]
	return b.answers() && has
}

// settle brings every port of a live agent to what it should be.
func (a *agent) settle() {
	b, v := a.broker(a.id), a.versions[a.manifest]
	if v == nil {
		return
	}
	for _, name := range v.names() {
		p := a.probes.port(name)
		open := slices.Contains(a.probes.allowed, name) && b.serves(name)
		if !a.probes.planned.IsZero() {
			switch {
			case slices.Contains(v.closes, name):
				open = false
			case slices.Contains(a.probes.held, name) && a.since(a.probes.planned) < holdLimit:
				open = slices.Contains(a.probes.allowed, name)
			}
		}
		a.turn(name, p, open)
	}
	for _, name := range v.absent {
		a.turn(name, a.probes.port(name), false)
	}
}

func (a *agent) turn(name string, p *probe, open bool) {
	if p.open == open {
		return
	}
	if open {
		p.openedAt, p.wasOpen = a.now, true
	} else {
		p.gap = true
		a.judge.closed(a, name)
	}
	p.open = open
}

func (a *agent) beginPlanned() {
	if !a.probes.planned.IsZero() {
		return
	}
	a.probes.planned, a.probes.held = a.now, nil
	for _, p := range a.probes.ports {
		p.gap = false
		if p.open {
			a.probes.held = append(a.probes.held, p.name)
		}
	}
	a.settle()
	epoch, begun := a.epoch, a.now
	a.after(holdLimit, func() {
		if a.epoch == epoch && a.probes.planned.Equal(begun) {
			a.settle()
			a.poke(0)
		}
	})
}

func (a *agent) endPlanned() {
	a.probes.planned, a.probes.held = time.Time{}, nil
	a.settle()
}

// probeFacts is what the prober says.
func (a *agent) probeFacts() map[string]restart.ProbeFacts {
	a.settle()
	b := a.broker(a.id)
	v := a.versions[a.manifest]
	if a.probes.of != v {
		a.probes.facts, a.probes.of = make(map[string]restart.ProbeFacts, len(v.names())), v
	}
	for _, name := range v.names() {
		p := a.probes.port(name)
		f := restart.ProbeFacts{At: a.now, Serving: b.serves(name), Open: p.open, Gap: p.gap, Balancer: a.balancer && p.wasOpen}
		if !f.Serving {
			f.Why = "connection refused"
		}
		if p.open && a.balancer {
			f.Answered = int(a.since(p.openedAt) / balancerEvery)
		}
		a.probes.facts[name] = f
	}
	return a.probes.facts
}
