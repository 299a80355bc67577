package explore

import "example.com/kpls-agent/internal/restart"

// begin is the world at the start: all brokers serve what was before, and the first manifest is there.
func (x *explorer) begin() world {
	w := world{given: 1, leader: noBroker}
	x.views = append(x.views, restart.NewView()) // of an agent that has read nothing yet
	w.log = x.internView(restart.NewView())
	for k, b := range x.o.budgets {
		w.left[k] = b.n
	}
	for k := range w.fresh {
		w.fresh[k] = old
	}
	for i := range x.o.n {
		w.b[i] = broker{is: up | ready | listed | inSync, gone: old, back: old}
		v := &vm{i: int8(i), now: start, good: none, manifest: 1}
		if x.o.oneByOne {
			v.manifest = none
		}
		x.boot(v, i, 0)
		w.vm[i] = x.intern(v)
	}
	if len(x.o.voters) > 0 {
		w.leader = int8(x.o.voters[0] - 1)
	}
	if x.o.standing {
		x.stand(&w)
	}
	return w
}

// stand lets the faults begin long before everything else.
func (x *explorer) stand(w *world) {
	for k, b := range x.o.budgets {
		at := x.o.only - 1
		if len(x.o.at) > 0 {
			at = x.o.at[k] - 1
		}
		if f := faultOf(b.fault); f.begin(x, w, at) || f.begin(x, w, 0) {
			w.left[k] = 0
		}
	}
	for i := range x.o.n {
		if b := &w.b[i]; b.has(listed) && !b.has(ready) {
			x.leave(w, i)
		}
		w.b[i].gone = old
	}
	for k := range w.fresh {
		w.fresh[k] = old
	}
}
