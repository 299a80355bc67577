package machines

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"example.com/kpls-agent/test/sandbox"
)

// lookEvery is the resolution of a Watch.
const lookEvery = 100 * time.Millisecond

// settled is for how long a broker must have served without a break until a
// closed probe of it counts as missed: an agent takes a moment to find it fit.
const settled = 10 * time.Second

// Watch notes, from outside, which broker was down when, and which probes failed.
type Watch struct {
	bed     *Bed
	probing bool

	mu     sync.Mutex
	views  []view  // guarded by mu
	probes []Probe // guarded by mu
}

// view is what one broker said of all.
type view struct {
	at   time.Time
	from int32
	away []int32
}

// Probe is one probe that a watch sent, and how long the broker had served by then.
type Probe struct {
	Broker int32
	At     time.Time
	OK     bool
	Served time.Duration
}

// String is for the reader of a failure.
func (p Probe) String() string {
	return fmt.Sprintf("b%d at %s after %.1f s of service", p.Broker, p.At.Format("15:04:05.000"), p.Served.Seconds())
}

// NewWatch returns a watch; Run runs it. With probing it also probes, as a second
// load balancer would: not where an agent shall wait for the first one.
func (b *Bed) NewWatch(probing bool) *Watch { return &Watch{bed: b, probing: probing} }

// Run watches until ctx ends.
func (w *Watch) Run(ctx context.Context) {
	var looks sync.WaitGroup
	for _, m := range w.bed.Machines {
		looks.Go(func() { sandbox.Every(ctx, lookEvery, func() { w.ask(ctx, m) }) })
		if !w.probing {
			continue
		}
		since := time.Now().Add(-settled) // unless the first look shows that it does not serve
		looks.Go(func() { sandbox.Every(ctx, lookEvery, func() { since = w.probe(ctx, m, since) }) })
	}
	looks.Wait()
}

// ask notes which brokers the broker sees down. One that is down itself says nothing.
func (w *Watch) ask(ctx context.Context, m *Machine) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	at := time.Now()
	away, err := sandbox.OutOfSync(ctx, m.Internal(), w.bed.Mon.Dial, w.bed.ids())
	if err != nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.views = append(w.views, view{at, m.ID, away})
}

// probe probes once, between two looks at the listener, and returns since when the listener serves.
func (w *Watch) probe(ctx context.Context, m *Machine, since time.Time) time.Time {
	at := time.Now()
	before := w.bed.LB.Accepts(ctx, m.External())
	ok := w.bed.LB.Accepts(ctx, m.Probe())
	if !before || !w.bed.LB.Accepts(ctx, m.External()) {
		since = time.Time{}
	} else if since.IsZero() {
		since = at
	}
	if ctx.Err() != nil {
		return since
	}
	p := Probe{Broker: m.ID, At: at, OK: ok}
	if !since.IsZero() {
		p.Served = at.Sub(since)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.probes = append(w.probes, p)
	return since
}

// Missed are the probes since t that a healthy broker did not answer.
func (w *Watch) Missed(t time.Time) []Probe {
	w.mu.Lock()
	defer w.mu.Unlock()
	var missed []Probe
	for _, p := range w.probes {
		if !p.OK && p.Served > settled && p.At.After(t) {
			missed = append(missed, p)
		}
	}
	return missed
}

// Probes counts all probes since t.
func (w *Watch) Probes(t time.Time) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := 0
	for _, p := range w.probes {
		if p.At.After(t) {
			n++
		}
	}
	return n
}

// Away are the brokers, except one, that another broker saw down at t: in the last answer of each
// broker in the second before.
func (w *Watch) Away(t time.Time, but int32) []int32 {
	w.mu.Lock()
	defer w.mu.Unlock()
	last := map[int32]view{}
	for _, v := range w.views {
		if v.at.Before(t) && t.Sub(v.at) < time.Second {
			last[v.from] = v
		}
	}
	var away []int32
	for _, v := range last {
		for _, id := range v.away {
			if id != but && !slices.Contains(away, id) {
				away = append(away, id)
			}
		}
	}
	return away
}

// Outage is a time for which a broker was down.
type Outage struct {
	Broker   int32
	From, To time.Time
}

// Outages are the times that have begun since t and are over, for which a broker
// was down as another one saw it.
func (w *Watch) Outages(t time.Time) []Outage {
	w.mu.Lock()
	defer w.mu.Unlock()
	from := map[int32]time.Time{}
	var all []Outage
	for _, v := range w.views {
		if v.at.Before(t) {
			continue
		}
		for _, id := range w.bed.ids() {
			away := slices.Contains(v.away, id)
			switch begun := from[id]; {
			case away && id != v.from && begun.IsZero():
				from[id] = v.at
			case !away && id != v.from && !begun.IsZero():
				all = append(all, Outage{id, begun, v.at})
				delete(from, id)
			}
		}
	}
	return all
}

// ids are the brokers' ids.
func (b *Bed) ids() []int32 {
	var ids []int32
	for _, m := range b.Machines {
		ids = append(ids, m.ID)
	}
	return ids
}
