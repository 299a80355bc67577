package explore

import "example.com/kpls-agent/internal/restart"

// fault is one thing that may go wrong, or that an operator may do, on one VM.
type fault struct {
	name string
	// begin does it; it returns false where it cannot be done now.
	begin func(x *explorer, w *world, i int) bool
	// end ends it, or is nil where it ends by itself. It returns false where there is nothing to end.
	end func(x *explorer, w *world, i int) bool
}

// strayKey is the key of a record of a later version.
const strayKey = "lease/7"

// faults is the list to add to. Those that are part of another event have no begin: see next.
var faults = []fault{
	{"delay", nil, nil},          // time passes although somebody could act
	{"stale read", nil, nil},     // an agent decides on a log that it has not read to its end
	{"lost answer", nil, nil},    // records are appended, and the agent hears that nobody knows
	{"refused record", nil, nil}, // records are not appended; a status that comes next may be
	{"crash", func(x *explorer, w *world, i int) bool {
		if x.dead(w, i) || x.vms[w.vm[i]].a.Status().Phase == "" {
			return false
		}
		x.crash(w, i, false, false)
		return true
	}, nil},
	{"agent down", func(x *explorer, w *world, i int) bool {
		if x.dead(w, i) {
			return false
		}
		x.crash(w, i, false, true)
		return true
	}, func(x *explorer, w *world, i int) bool {
		if !x.dead(w, i) {
			return false
		}
		x.revive(w, i)
		return true
	}},
	{"state lost", func(x *explorer, w *world, i int) bool {
		if x.dead(w, i) {
			return false
		}
		x.crash(w, i, true, false)
		w.b[i].from = 0
		return true
	}, startByHand},
	{"kill", func(x *explorer, w *world, i int) bool {
		b := &w.b[i]
		if !b.has(up) {
			return false
		}
		if b.has(ready) {
			b.gone = 0
		}
		b.clear(up | ready | job)
		b.set(failed | struck)
		x.elect(w)
		return true
	}, startByHand},
	{"stop by hand", func(x *explorer, w *world, i int) bool {
		b := &w.b[i]
		if !b.has(up | ready) {
			return false
		}
		b.gone = 0
		x.goDown(w, i)
		b.set(stopped | struck)
		return true
	}, startByHand},
	{"restart by hand", func(x *explorer, w *world, i int) bool {
		b := &w.b[i]
		if !b.has(up | ready) {
			return false
		}
		b.gone = 0
		x.goDown(w, i)
		b.set(struck)
		x.launch(w, i)
		return true
	}, nil},
	{"pause", func(x *explorer, w *world, i int) bool {
		if i > 0 || !x.logUp(w) || x.views[w.log].Pause != nil {
			return false
		}
		x.append(w, 'P', restart.NewPause(restart.Pause{By: "ann"}))
		w.fresh[newPause] = 0
		return true
	}, func(x *explorer, w *world, i int) bool {
		if i > 0 || !x.logUp(w) || x.views[w.log].Pause == nil {
			return false
		}
		x.append(w, 'Q', restart.NewResume())
		return true
	}},
	{"foreign record", func(x *explorer, w *world, i int) bool {
		if i > 0 || !x.logUp(w) {
			return false
		}
		x.append(w, 'X', restart.Record{Key: strayKey, Value: []byte(`{"version":2}`)})
		w.b[0].set(stray)
		w.fresh[newForeign] = 0
		return true
	}, func(x *explorer, w *world, i int) bool {
		if i > 0 || !x.logUp(w) || !w.b[0].has(stray) {
			return false
		}
		w.b[0].clear(stray)
		x.append(w, 'Y', restart.Record{Key: strayKey})
		return true
	}},
	{"unknown record", func(x *explorer, w *world, i int) bool {
		if i > 0 || !x.logUp(w) {
			return false
		}
		x.append(w, 'Z', restart.Record{Key: "mark/7", Value: []byte(`{"version":1}`)})
		return true
	}, nil},
	{"rolling restart", func(x *explorer, w *world, i int) bool {
		if i > 0 || !x.logUp(w) || len(x.views[w.log].Requests) > 0 {
			return false
		}
		x.append(w, 'N', restart.NewRequest(restart.Request{ID: "r", By: "ann"}))
		return true
	}, func(x *explorer, w *world, i int) bool { // it is taken back
		records := x.views[w.log].EndRequests()
		if i > 0 || !x.logUp(w) || len(records) == 0 {
			return false
		}
		x.append(w, 'O', records...)
		w.fresh[newCancel] = 0
		return true
	}},
	{"release", func(x *explorer, w *world, i int) bool {
		c, _, held := x.views[w.log].Claim(int32(i + 1))
		if !held || !x.logUp(w) {
			return false
		}
		x.append(w, 'L'+32+byte(i)*8, restart.NewRelease(c.Key))
		w.fresh[newRelease] = 0
		return true
	}, nil},
	on("disk full", full, false),
	on("unit not seen", blind, false),
	on("restart denied", denied, false),
	on("unit hazard", hazard, true),
	on("settings would be dropped", drops, true),
	on("bad edit", edit, true),
	on("log directory offline", storage, true),
	on("cut off", cutOff, false),
	on("nothing can be written to the log", mute, false),
	on("voter behind", late, true),
	{"dynamic configuration", setDynamic, deleteDynamic},
	{"settings dropped", onIfReady(dropped), off(dropped)},
	{"empty view", onIfReady(blank), off(blank)},
	{"deaf broker", func(x *explorer, w *world, i int) bool {
		for n := range x.o.n {
			if w.b[n].has(deaf) { // one view may lie, not two
				return false
			}
		}
		if !w.b[i].has(ready | listed) {
			return false
		}
		w.b[i].set(deaf)
		k := x.clusterKey(w, i)
		w.shown = k.listed | k.inSync<<3
		return true
	}, func(_ *explorer, w *world, i int) bool {
		if !w.b[i].has(deaf) {
			return false
		}
		w.b[i].clear(deaf)
		w.shown = 0
		return true
	}},
	{"replica behind", func(x *explorer, w *world, i int) bool {
		b := &w.b[i]
		if !b.has(ready | listed | inSync) {
			return false
		}
		for n := range x.o.n {
			if n != i && w.b[n].has(inSync) {
				b.clear(inSync)
				b.set(slow | struck)
				b.gone = 0
				return true
			}
		}
		return false
	}, func(_ *explorer, w *world, i int) bool {
		if !w.b[i].has(slow) {
			return false
		}
		w.b[i].clear(slow)
		return true
	}},
}

// on is a fault that is a flag.
func on(name string, f flags, harm bool) fault {
	return fault{name, func(_ *explorer, w *world, i int) bool {
		if w.b[i].has(f) {
			return false
		}
		w.b[i].set(f)
		if harm {
			w.fresh[newHarm] = 0
		}
		return true
	}, off(f)}
}

func off(f flags) func(*explorer, *world, int) bool {
	return func(_ *explorer, w *world, i int) bool {
		if !w.b[i].has(f) {
			return false
		}
		w.b[i].clear(f)
		if f == drops {
			w.b[i].clear(dropped) // whoever corrects the file sets them again
		}
		return true
	}
}

// setDynamic: what was set with kafka-configs stays in force when server.properties changes.
func setDynamic(x *explorer, w *world, i int) bool {
	if !onIfReady(dynamic)(x, w, i) {
		return false
	}
	w.b[i].boot = w.b[i].runs
	return true
}

// deleteDynamic: what the process was started with is in force again.
func deleteDynamic(x *explorer, w *world, i int) bool {
	if !off(dynamic)(x, w, i) {
		return false
	}
	w.b[i].runs, w.b[i].boot = w.b[i].boot, 0
	return true
}

func onIfReady(f flags) func(*explorer, *world, int) bool {
	return func(_ *explorer, w *world, i int) bool {
		if !w.b[i].has(up|ready) || w.b[i].has(f) {
			return false
		}
		w.b[i].set(f)
		if f == dropped {
			w.b[i].set(struck)
		}
		w.fresh[newHarm] = 0
		return true
	}
}

func (x *explorer) dead(w *world, i int) bool { return x.vms[w.vm[i]].dead }

// startByHand is what somebody does about a broker that is down, where no agent is about to start it.
func startByHand(x *explorer, w *world, i int) bool {
	b, v := &w.b[i], x.vms[w.vm[i]]
	stage := v.disk.Stage
	if b.any(up|job) || !b.any(failed|stopped) || v.do.Kind == restart.ActRestart && v.issued {
		return false
	}
	if b.has(failed) && stage != restart.StageNone && stage != restart.StageNeedsOperator {
		return false
	}
	x.launch(w, i)
	return true
}

func faultOf(name string) *fault {
	for k := range faults {
		if faults[k].name == name {
			return &faults[k]
		}
	}
	return nil
}
