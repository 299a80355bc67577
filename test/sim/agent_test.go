package sim

import (
	"errors"
	"fmt"
	"time"

	"example.com/kpls-agent/internal/restart"
)

// Times of the shell (internal/restart, Loop).
const (
	beat               = 5 * time.Second
	unitBusy, unitRest = 50 * time.Millisecond, 10 * time.Second
	fileBusy, fileRest = time.Second, 10 * time.Second
)

// agent is a real Machine in a shell of the model's own, which does what
// restart.Loop does, in fake time.
type agent struct {
	*run
	*host
	machine *restart.Machine
	life    int // counts lives: what was scheduled for an earlier one is dropped
	born    time.Time
	dead    bool
	kept    bool // it stays dead until its fault ends
	cutOff  bool // other brokers do not tell it what the cluster looks like
	cutLog  bool // nor does it reach the log's leader
	blind   bool // it reads nothing of the log
	silent  bool // it cannot write to the log

	facts    restart.Facts
	offset   int    // read up to there
	readErr  string // why the log cannot be read, and written
	writeErr string
	reading  bool
	busy     bool
	stuck    int // actions in a row
	wakeAt   time.Time
	unitSeen bool // the unit has changed since it was asked
	fileSeen bool
	filesAt  time.Time
	claimKey string    // its claim as read back, and when
	claimAt  time.Time //
	status   restart.Status
	posted   restart.Status
	postAt   time.Time
	pending  *restart.Status
	posting  bool
	probes   probes
}

// live begins a life.
func (a *agent) live() {
	a.life++
	a.born = a.now
	a.dead, a.busy, a.posting, a.reading, a.pending, a.stuck = false, false, false, false, nil, 0
	a.machine = restart.NewMachine(restart.Options{
		Self: a.id, Agent: "sim", StartTimeout: startTimeout, ProgressTimeout: progressTimeout, Takeover: takeoverAfter,
		Nonce: func() string { a.nonces++; return fmt.Sprint(a.nonces) },
	})
	a.facts = restart.Facts{Journal: a.loadJournal(), Log: restart.LogFacts{Err: "not read yet", View: restart.NewView()}}
	a.readErr, a.writeErr = "not read yet", ""
	a.offset, a.claimKey, a.posted, a.postAt, a.filesAt, a.wakeAt = 0, "", restart.Status{}, time.Time{}, time.Time{}, time.Time{}
	a.unitSeen, a.fileSeen = true, true
	a.probes.planned, a.probes.held = time.Time{}, nil // the sockets, and so what is allowed, are inherited
	a.poke(a.between(10, 500))
	a.readOn()
}

func (a *agent) die(why string) {
	if !a.dead {
		a.note("agent %d dies (%s)", a.id, why)
	}
	a.dead = true
	a.life++
}

// rebirth is what the service manager does for an agent that died.
func (a *agent) rebirth(d time.Duration) {
	a.after(d, func() {
		if a.dead && !a.kept {
			a.note("agent %d lives again, at step %q", a.id, a.journal.Step)
			a.live()
		}
	})
}

// asks is true if a broker tells this agent what the cluster looks like.
func (a *agent) asks(b *broker) bool { return b.id == a.id || !a.cutOff }

// reaches is true if a broker, as the log's leader, can be read from and written to.
func (a *agent) reaches(b *broker) bool { return b.id == a.id || !a.cutLog }

// poke lets the agent decide again within d.
func (a *agent) poke(d time.Duration) {
	at := a.now.Add(d)
	if a.dead || !a.wakeAt.IsZero() && !a.wakeAt.After(at) {
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

// readOn reads the log to its end after a while. It is called for every record,
// and at the start of a life.
func (a *agent) readOn() {
	if a.reading || a.dead {
		return
	}
	a.reading = true
	life := a.life
	d := a.between(2, 60)
	if a.slowReads && a.oneIn(100) {
		d = a.between(500, 4000)
	}
	asked := a.now
	a.after(d, func() {
		if a.life != life {
			return
		}
		a.reading = false
		if a.blind || !a.log.up() || !a.reaches(a.broker(a.log.leader)) {
			a.readErr = "the leader is away"
			a.poke(0)
			a.after(500*time.Millisecond, func() {
				if a.life == life {
					a.readOn()
				}
			})
			return
		}
		a.load.fetches++
		a.read()
		if a.facts.Log.At.IsZero() {
			a.facts.Log.At = asked
		}
		a.poke(0)
	})
}

func (a *agent) read() {
	a.offset, a.readErr = a.log.end(), ""
	a.facts.Log.View = a.log.as(a.offset, a.skew)
	if c, _, ok := a.facts.Log.View.Claim(a.id); ok && c.Key != a.claimKey {
		a.claimKey, a.claimAt = c.Key, a.now
	}
}

// gather brings the facts up to date that cost nothing, as often as the shell does.
func (a *agent) gather() {
	busy := a.facts.Journal.Step != restart.StepNone
	if age := a.since(a.facts.Unit.At); a.unitSeen || age >= unitRest || busy && age >= unitBusy {
		a.facts.Unit, a.unitSeen = a.unit(a.host), false
	}
	if age := a.since(a.filesAt); a.fileSeen || age >= fileRest || busy && age >= fileBusy {
		a.readFiles()
	}
	a.facts.Probes = nil
	if a.manifest != "" {
		a.facts.Probes = a.probeFacts()
	}
	a.facts.Log.Err = a.readErr
	if a.readErr == "" {
		a.facts.Log.Err = a.writeErr
	}
	a.facts.Now = a.now
	a.load.steps++
}

func (a *agent) readFiles() {
	a.facts.Manifest = a.manifestFacts(a.host)
	a.facts.LastGood = a.lastGood != "" && a.versions[a.file].wants.equal(a.versions[a.lastGood].wants)
	a.filesAt, a.fileSeen = a.now, false
}

func (a *agent) step() {
	if a.busy || a.dead {
		return
	}
	a.gather()
	d := a.machine.Step(a.facts)
	if d.Status.Phase != a.status.Phase || d.Status.Reason.Code != a.status.Reason.Code {
		a.note("agent %d: %s (%s) %s", a.id, d.Status.Phase, d.Status.Reason.Code, d.Status.Reason.Text)
	}
	a.status = d.Status
	if d.Allowed != nil {
		a.probes.allowed = d.Allowed
	}
	a.settle()
	a.publish(d.Status)
	if d.Do.Kind == restart.ActNone {
		a.stuck = 0
		wait := beat
		if d.Wake > 0 {
			wait = min(wait, max(d.Wake, time.Millisecond))
		}
		a.poke(wait)
		return
	}
	a.judge.decided(a, d.Do)
	if a.stuck++; a.stuck > 2000 {
		a.fail("liveness", "agent %d does not come to rest: %s, %s", a.id, d.Do.Kind, d.Status.Reason.Text)
		return
	}
	a.carryOut(d.Do)
}

// publish appends the newest status in the background, as the shell does.
func (a *agent) publish(st restart.Status) {
	if !restart.Due(st, a.posted, a.since(a.postAt), len(a.facts.Log.View.Statuses)) {
		return
	}
	a.posted, a.postAt, a.pending = st, a.now, &st
	if !a.posting {
		a.post()
	}
}

func (a *agent) post() {
	if a.pending == nil {
		a.posting = false
		return
	}
	st := *a.pending
	a.posting, a.pending = true, nil
	life := a.life
	a.after(a.between(0, 5), func() {
		if a.life != life {
			return
		}
		a.log.append(a.write(life, a.dress(restart.NewStatus(st))), func(err error) {
			if a.life != life {
				return
			}
			a.wrote(err)
			if err != nil && a.pending == nil {
				a.pending = &st
			}
			a.post()
		})
	})
}

// wrote keeps the outcome of the last append.
func (a *agent) wrote(err error) {
	a.writeErr = ""
	if err != nil {
		a.writeErr = "append: " + err.Error()
	}
}

func (a *agent) write(life int, records ...restart.Record) write {
	return write{
		records: records, skew: a.skew, alive: func() bool { return a.life == life },
		reach: func(b *broker) bool { return a.reaches(b) && !a.silent },
	}
}

// carryOut does one action: it takes time, its effect comes somewhere in it,
// and the agent may die before or after the effect.
func (a *agent) carryOut(do restart.Action) {
	a.busy = true
	life := a.life
	early, crash := a.between(0, 12), 0
	if a.crashes > 0 && a.oneIn(15) && do.Kind != restart.ActObserve && do.Kind != restart.ActRunning {
		crash = 1 + a.rng.IntN(2)
		a.crashes--
	}
	if a.pauses > 0 && a.oneIn(40) {
		a.pauses--
		early = a.between(1000, 90000)
		a.note("agent %d hangs for %s before %s", a.id, early, do.Kind)
	}
	a.after(early, func() {
		if a.life != life {
			return
		}
		if crash == 1 {
			a.die("before " + string(do.Kind))
			a.rebirth(a.between(1000, 20000))
			return
		}
		a.effect(do, func(err error) {
			if a.life != life {
				return
			}
			a.busy = false
			a.facts.Done(do.Kind, err, a.now)
			a.poke(0)
		})
		if crash == 2 {
			a.die("after " + string(do.Kind))
			a.rebirth(a.between(1000, 20000))
		}
	})
}

// effect is what an action does; done is called when the shell goes on.
func (a *agent) effect(do restart.Action, done func(error)) {
	soon := func(err error) { a.after(a.between(0, 12), func() { done(err) }) }
	b, life := a.broker(a.id), a.life
	switch do.Kind {
	case restart.ActNone:
		soon(nil)
	case restart.ActSave:
		was := a.journal.Step
		err := a.saveJournal(do.Journal)
		if err == nil {
			a.judge.moved(a, was)
			a.spring(a)
			a.facts.Journal = do.Journal
		}
		soon(err)
	case restart.ActAppend:
		asked := a.now
		records := make([]restart.Record, 0, len(do.Records))
		for _, r := range do.Records {
			records = append(records, a.dress(r))
		}
		a.log.append(a.write(life, records...), func(err error) {
			if a.life == life {
				a.wrote(err)
			}
			if err == nil && a.life == life {
				if a.blind {
					a.after(appendPatience, func() { done(errors.New("written and not read back")) })
					return
				}
				a.read()
				a.facts.Log.At = asked
			}
			done(err)
		})
	case restart.ActObserve:
		a.load.looks++
		f, took := a.observe(a.id, a.asks)
		a.after(took, func() {
			if a.life == life {
				f.Took = took
				a.facts.Cluster = f
			}
			done(nil)
		})
	case restart.ActRunning:
		a.load.asks++
		f := restart.RunningFacts{At: a.now}
		took := a.between(1, 10)
		switch {
		case b.answers():
			f.Listeners = b.runs.listeners
			if b.dropped {
				f.Dropped = []restart.Dropped{{Name: "num.io.threads", Level: "default", Dynamic: "32", InForce: "8"}}
			}
			if a.harm == storage {
				f.LogDirs = []restart.LogDir{{Path: "/data", Fault: "log directory /data is offline"}}
			}
			if b.dynamic {
				f.Dynamic = []string{"listeners"}
			}
		case b.frozen:
			f.Err, took = "timed out", unanswered
		default:
			f.Err = "connection refused"
		}
		a.after(took, func() {
			if a.life == life {
				a.facts.Running = f
				a.facts.Right = restart.RightFacts{At: a.now}
				if a.denied {
					a.facts.Right.Denied = errDenied.Error()
				}
				a.readFiles()
			}
			done(nil)
		})
	case restart.ActApply:
		err := a.apply(a.host, a.facts.Manifest.Hash)
		a.readFiles()
		soon(err)
	case restart.ActRestore:
		err := a.restore(a.host)
		a.judge.restored(a)
		a.readFiles()
		soon(err)
	case restart.ActBegin:
		a.judge.announced(a)
		a.beginPlanned()
		soon(nil)
	case restart.ActEnd:
		a.endPlanned()
		soon(nil)
	case restart.ActRestart:
		if a.now.After(do.NotAfter) {
			soon(errors.New("what allowed the restart is too old by now"))
			return
		}
		if !a.nojob {
			a.judge.takesDown(a)
		}
		a.restartUnit(a.host, func(err error) {
			if a.life == life {
				a.facts.Unit = a.unit(a.host)
			}
			done(err)
		})
	}
}
