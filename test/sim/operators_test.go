package sim

import (
	"fmt"
	"maps"
	"slices"

	"example.com/kpls-agent/internal/restart"
)

// orders is what operators do at any moment; the list to add to. Each returns
// what undoes it, or nil.
var orders = []struct {
	name string
	do   func(*run) (undo func())
	// stays allows it never to be undone.
	stays bool
}{
	{"pause", func(r *run) func() {
		r.insist(restart.NewPause(restart.Pause{By: "sim", At: r.now}))
		return func() { r.insist(restart.NewResume()) }
	}, true},
	{"restart", func(r *run) func() { r.request(); return nil }, false},
	{"restart that is taken back", func(r *run) func() { r.request(); return r.cancel }, false},
	{"release", func(r *run) func() {
		if claims := r.log.now().Claims; len(claims) > 0 {
			c := claims[r.rng.IntN(len(claims))]
			r.judge.releases(c)
			r.insist(restart.NewTakeover("sim", c, "release", r.now), restart.NewRelease(c.Key))
		}
		return nil
	}, false},
	{"resume", func(r *run) func() { r.resume(func(string) bool { return true }); return nil }, false},
	{"stop a broker", func(r *run) func() {
		b := r.brokers[r.rng.IntN(len(r.brokers))]
		if !b.running {
			return nil
		}
		r.note("of %d", b.id)
		b.stopped, b.struck = true, r.now
		r.exit(b, true)
		return func() {
			if !b.running {
				r.launch(b, "an operator")
			}
		}
	}, true},
	{"restart a broker by hand", func(r *run) func() {
		b := r.brokers[r.rng.IntN(len(r.brokers))]
		if b.running {
			r.note("of %d", b.id)
			b.struck = r.now
			r.exit(b, true)
			r.launch(b, "an operator")
		}
		return nil
	}, false},
}

func (r *run) operators() {
	for range r.rng.IntN(3) {
		o := orders[r.rng.IntN(len(orders))]
		lasts, forever := r.between(5000, 200000), o.stays && r.oneIn(6)
		r.schedule(r.between(3000, 300000), func() {
			r.note("operator: %s", o.name)
			undo := o.do(r)
			switch {
			case undo == nil:
			case forever:
				r.note("for ever")
				r.standing = append(r.standing, o.name)
			default:
				r.schedule(lasts, func() {
					r.note("operator: ends %s", o.name)
					undo()
				})
			}
		})
	}
}

// request asks for a rolling restart, unless one is under way, as the command does.
func (r *run) request() {
	if r.log.now().Request() == nil {
		r.nonces++
		r.insist(restart.NewRequest(restart.Request{ID: fmt.Sprint("r", r.nonces), By: "sim", At: r.now}))
	}
}

// cancel takes every open request back, as the command does.
func (r *run) cancel() {
	v := r.log.now()
	for _, q := range v.Requests {
		r.judge.cancelled[q.ID] = true
	}
	if records := v.EndRequests(); len(records) > 0 {
		r.insist(records...)
	}
}

// resume takes halts back.
func (r *run) resume(which func(hash string) bool) {
	for _, hash := range slices.Sorted(maps.Keys(r.log.now().Halts)) {
		if which(hash) {
			r.insist(restart.NewUnhalt(hash))
		}
	}
}

// repair is what an operator does whom the reasons ask, some time after the last fault: tries a
// good manifest again that was halted because its broker happened to die while
// it proved itself, and starts what is down.
func (r *run) repair() {
	r.note("an operator does what the reasons ask")
	r.resume(func(hash string) bool { return r.versions[hash].bad == "" })
	for _, b := range r.brokers {
		a := r.agents[b.id-1]
		if b.running || a.busy() || r.stands("stop a broker") && b.stopped || r.stands("the broker is killed") && b.failed {
			continue
		}
		if r.versions[a.file].bad != "" {
			r.note("whose server.properties on %d is corrected by hand", b.id)
			r.judge.corrects(b.id, a.file)
			a.file = a.lastGoodOr("v0")
		}
		b.restarts = 0
		r.launch(b, "an operator")
	}
}

func (a *agent) lastGoodOr(name string) string {
	if a.lastGood != "" {
		return a.lastGood
	}
	return name
}

func (r *run) stands(fault string) bool { return slices.Contains(r.standing, fault) }
