package restart

import (
	"container/heap"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
)

func (w *simWorld) after(d time.Duration, do func()) {
	w.seq++
	heap.Push(&w.events, event{w.now.Add(d), w.seq, do})
}

// between is a duration of lo to hi milliseconds.
func (w *simWorld) between(lo, hi int) time.Duration {
	return time.Duration(lo+w.rng.IntN(hi-lo+1)) * time.Millisecond
}

func (w *simWorld) note(format string, args ...any) {
	w.story = append(w.story, fmt.Sprintf("%8.3f  %s", w.now.Sub(w.start).Seconds(), fmt.Sprintf(format, args...)))
}

func (w *simWorld) changed(id int32) { w.agents[id-1].poke(w.between(1, 100)) }

// simAgent is a real Machine with a simulated shell around it.
type simAgent struct {
	*sim
	id      int32
	machine *Machine
	life    int // counts lives, so that what an earlier one scheduled is dropped
	dead    bool
	gone    bool // stays dead until the fault ends

	// On disk.
	journal  Journal
	file     string // version of server.properties
	lastGood string
	manifest string // version in force

	// In memory.
	view    *View
	log     LogFacts
	cluster ClusterFacts
	running RunningFacts
	failed  *ActionError
	busy    bool
	steps   int
	wakeAt  time.Time
	reason  Reason
	phase   Phase
	posted  Status
	postAt  time.Time
	posting bool
	allowed []string
	holding bool
	gap     bool
}

func (a *simAgent) live() {
	a.life++
	a.dead, a.busy, a.posting, a.holding, a.gap = false, false, false, false, false
	a.machine = NewMachine(Options{
		Self: a.id, Agent: "sim", StartTimeout: 2 * time.Minute, ProgressTimeout: time.Minute, Takeover: 2 * time.Minute,
		Nonce:    func() string { a.nonces++; return fmt.Sprint(a.nonces) },
		disabled: a.disabled,
	})
	a.view, a.log = NewView(), LogFacts{Err: "not read yet"}
	a.cluster, a.running, a.failed = ClusterFacts{}, RunningFacts{}, nil
	a.posted, a.postAt, a.allowed = Status{}, time.Time{}, a.journal.Active
	a.poke(a.between(10, 500))
	a.readOn()
}

func (a *simAgent) die(why string) {
	if !a.dead {
		a.note("agent %d dies (%s)", a.id, why)
	}
	a.dead = true
	a.life++
}

// poke lets the agent decide again within d.
func (a *simAgent) poke(d time.Duration) {
	at := a.now.Add(d)
	if a.dead || !a.wakeAt.IsZero() && a.wakeAt.Before(at) && a.wakeAt.After(a.now) {
		return
	}
	a.wakeAt = at
	life := a.life
	a.after(d, func() {
		if a.life == life && a.wakeAt.Equal(at) {
			a.wakeAt = time.Time{}
			a.step()
		}
	})
}

// readOn reads the log after a while, and again while it cannot be read. It is
// called for every record that is appended, and at the start of a life.
func (a *simAgent) readOn() {
	life := a.life
	d := a.between(2, 60)
	if a.rng.IntN(200) == 0 {
		d = a.between(500, 4000)
	}
	a.after(d, func() {
		switch {
		case a.life != life:
		case !a.world.logUp():
			a.log.Err = "the leader is away"
			a.after(500*time.Millisecond, func() {
				if a.life == life {
					a.readOn()
				}
			})
		case int(a.view.Next) < len(a.records) || a.log.At.IsZero():
			a.read()
			a.log.Err = ""
			a.poke(0)
		}
	})
}

func (a *simAgent) read() {
	for _, r := range a.records[a.view.Next:] {
		a.view.Fold(r)
	}
	a.log.At, a.log.View = a.now, a.view
}

func (a *simAgent) facts() Facts {
	b := a.world.broker(a.id)
	v := a.versions[a.manifest]
	f := Facts{Now: a.now, Journal: a.journal, LastGood: a.file == a.lastGood, Failed: a.failed, Cluster: a.cluster, Running: a.running, Log: a.log}
	f.Log.View = a.view
	if a.manifest != "" {
		f.Manifest = ManifestFacts{
			Hash: a.manifest, Cluster: "c", Listeners: v.want, FileChanges: a.file != a.manifest,
			Zones: map[int32]string{}, Table: true, MaxUnavailable: a.maxUnavailable, Soak: a.soak, HealthyThreshold: 2,
		}
		for name := range a.everyListener {
			if _, ok := v.want[name]; !ok {
				f.Manifest.Absent = append(f.Manifest.Absent, name)
			}
		}
		slices.Sort(f.Manifest.Absent)
		for _, o := range a.world.brokers {
			f.Manifest.Zones[o.id] = o.zone
		}
	}
	f.Unit = UnitFacts{At: a.now, State: UnitRunning, Invocation: b.invocation(), Restarts: b.restarts}
	switch {
	case b.failed:
		f.Unit.State = UnitFailed
	case b.stopped:
		f.Unit.State = UnitStopped
	case !b.running:
		f.Unit.State = UnitStopping
	}
	f.Probes = map[string]ProbeFacts{}
	for name := range f.Manifest.Listeners {
		_, has := b.config[name]
		serving := b.ready && has
		open := slices.Contains(a.allowed, name) && (serving || a.holding)
		f.Probes[name] = ProbeFacts{At: a.now, Serving: serving, Open: open, Gap: a.gap, Answered: 2}
	}
	return f
}

func (a *simAgent) step() {
	if a.busy || a.dead {
		return
	}
	d := a.machine.Step(a.facts())
	if d.Status.Phase != a.phase || d.Status.Reason.Code != a.reason.Code {
		a.note("agent %d: %s (%s) %s", a.id, d.Status.Phase, d.Status.Reason.Code, d.Status.Reason.Text)
	}
	a.phase, a.reason, a.allowed = d.Status.Phase, d.Status.Reason, d.Allowed
	a.publish(d.Status)
	if d.Do.Kind == ActNone {
		a.steps = 0
		if d.Wake > 0 {
			a.poke(d.Wake)
		} else {
			a.poke(time.Minute)
		}
		return
	}
	if a.steps++; a.steps > 3000 {
		a.fail("agent %d does not come to rest: %s %s", a.id, d.Do.Kind, d.Status.Reason.Text)
	}
	a.carryOut(d.Do)
}

// publish appends the status in the background, as the shell does.
func (a *simAgent) publish(st Status) {
	if a.posting || same(st, a.posted) && a.now.Sub(a.postAt) < Heartbeat(len(a.world.brokers)) {
		return
	}
	a.posting = true
	life := a.life
	a.after(a.between(2, 40), func() {
		if a.life != life {
			return
		}
		a.posting = false
		if a.append(NewStatus(st)) == nil {
			a.posted, a.postAt = st, a.now
		}
		a.poke(a.between(1, 1000))
	})
}

// append is the log's answer to a produce request; an error leaves the outcome open.
func (s *sim) append(records ...Record) error {
	if !s.world.logUp() {
		return errors.New("not enough replicas")
	}
	lost := s.faults && s.rng.IntN(60) == 0
	if lost && s.rng.IntN(2) == 0 {
		return errors.New("request timed out") // and had no effect
	}
	for _, r := range records {
		r.Offset, r.Time = int64(len(s.records)), s.now
		s.records = append(s.records, r)
		s.committed(r)
	}
	for _, a := range s.agents {
		if !a.dead {
			a.readOn()
		}
	}
	if lost {
		return errors.New("request timed out") // and took effect
	}
	return nil
}

// carryOut does one action: it takes time, its effect comes somewhere in it,
// and the agent may die before or after the effect.
func (a *simAgent) carryOut(do Action) {
	a.busy = true
	life := a.life
	early, late := a.between(0, 15), a.between(0, 15)
	crash := 0
	if a.faults && a.crashes > 0 && a.rng.IntN(12) == 0 && do.Kind != ActObserve && do.Kind != ActRunning {
		crash = 1 + a.rng.IntN(2)
		a.crashes--
	}
	if a.faults && a.freezes > 0 && a.rng.IntN(40) == 0 {
		a.freezes--
		early = a.between(3000, 90000)
		a.note("agent %d freezes for %s before %s", a.id, early, do.Kind)
	}
	a.after(early, func() {
		if a.life != life {
			return
		}
		if crash == 1 {
			a.die("before " + string(do.Kind))
			a.reborn()
			return
		}
		more, err := a.effect(do)
		if crash == 2 {
			a.die("after " + string(do.Kind))
			a.reborn()
			return
		}
		a.after(late+more, func() {
			if a.life != life {
				return
			}
			a.busy = false
			a.failed = a.result(do, err)
			a.poke(0)
		})
	})
}

func (a *simAgent) result(do Action, err error) *ActionError {
	if err == nil {
		return nil
	}
	n := 1
	if a.failed != nil && a.failed.Kind == do.Kind {
		n += a.failed.Count
	}
	return &ActionError{Kind: do.Kind, Err: err.Error(), At: a.now, Count: n}
}

func (a *simAgent) reborn() {
	a.after(a.between(1000, 20000), func() {
		if a.dead && !a.gone {
			a.note("agent %d lives again", a.id)
			a.live()
		}
	})
}

func (a *simAgent) effect(do Action) (more time.Duration, err error) {
	b := a.world.broker(a.id)
	switch do.Kind {
	case ActNone:
	case ActSave:
		a.journal = do.Journal
		a.journal.Listeners, a.journal.Before = maps.Clone(do.Journal.Listeners), maps.Clone(do.Journal.Before)
	case ActAppend:
		if err := a.append(do.Records...); err != nil {
			return a.between(100, 3000), err
		}
		a.read()
	case ActObserve:
		a.cluster = a.world.facts(a.id)
	case ActRunning:
		a.running = RunningFacts{At: a.now}
		if b.ready {
			a.running.Listeners = b.config
		} else {
			a.running.Err = "connection refused"
		}
	case ActApply:
		if maps.Equal(a.versions[a.file].want, b.config) {
			a.lastGood = a.file
		}
		a.file = a.manifest
	case ActRestore:
		a.file = a.lastGood
	case ActBegin:
		a.holding = true
	case ActEnd:
		a.holding = false
	case ActRestart:
		if a.now.After(do.NotAfter) {
			return 0, errors.New("too late")
		}
		return a.restart(b), nil
	}
	return 0, nil
}

// restart is the service manager's job: stop, wait, start.
func (a *simAgent) restart(b *simBroker) time.Duration {
	a.check(b)
	a.note("broker %d is stopped by its agent", b.id)
	stop := a.between(500, 6000)
	b.takenDown, b.failed, b.restarts = true, false, 0
	b.ready = false
	b.generation++
	g := b.generation
	a.world.leave(b)
	a.changed(b.id)
	a.after(stop, func() {
		if b.generation != g {
			return
		}
		a.world.exit(b, true)
		a.world.start(b, "its agent")
	})
	return stop + 10*time.Millisecond
}
