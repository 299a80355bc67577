package sim

import (
	"errors"
	"maps"
	"strconv"
	"time"

	shell "example.com/kpls-agent/internal/agent"
	"example.com/kpls-agent/internal/restart"
)

// agent is a real Agent; what it asks for is carried out in the model, in fake time.
type agent struct {
	*run
	*host
	shell.Agent
	epoch  int // counts agent processes: what was scheduled for an earlier one is dropped
	born   time.Time
	dead   bool
	kept   bool // it stays dead until its fault ends
	cutOff bool // other brokers do not answer it
	cutLog bool // nor does it reach the log's leader
	blind  bool // it reads nothing of the log
	silent bool // it cannot write to the log

	view     *restart.View // of the log, as it has read it
	logAt    time.Time     // everything appended before that is in it
	offset   int           // read up to there
	readErr  string        // why the log cannot be read, and written
	writeErr string
	reading  bool
	stuck    int // actions in a row
	wakeAt   time.Time
	filesAt  time.Time
	claimKey string    // its claim as read back, and when
	claimAt  time.Time //
	probes   probes
	shows    shows
}

// boot starts an agent process.
func (a *agent) boot() {
	a.epoch++
	a.born = a.now
	a.dead, a.reading, a.stuck = false, false, 0
	a.view, a.logAt, a.readErr, a.writeErr = restart.NewView(), time.Time{}, "not read yet", ""
	a.offset, a.claimKey, a.filesAt, a.wakeAt, a.shows = 0, "", time.Time{}, time.Time{}, shows{}
	a.probes.planned, a.probes.held = time.Time{}, nil // the sockets, and so what is allowed, are inherited
	var planned bool
	a.Agent, planned = shell.New(shell.Options{
		Options: restart.Options{
			Self: a.id, Agent: "sim", StartTimeout: startTimeout, ProgressTimeout: progressTimeout, Takeover: takeoverAfter,
		},
		Nonce: func() string { a.nonces++; return strconv.Itoa(a.nonces) },
		Room:  &a.room,
	}, a.loadJournal(), a.now)
	if planned {
		a.beginPlanned()
	}
	a.poke(a.between(10, 500))
	a.readOn()
}

func (a *agent) die(why string) {
	if !a.dead {
		a.note("agent %d dies (%s)", a.id, why)
	}
	a.dead = true
	a.epoch++
}

// sayLast sends the last record of an agent that is asked to end. It comes into the log at some time, or never.
func (a *agent) sayLast() {
	if st, ok := a.Last(); ok && !a.dead {
		w := a.write(a.epoch, []restart.Record{restart.NewStatus(st)})
		w.alive = func() bool { return true }
		a.log.append(w, func(error) {})
	}
}

// rebirth is what the service manager does for an agent that died.
func (a *agent) rebirth(d time.Duration) {
	a.after(d, func() {
		if a.dead && !a.kept {
			a.note("agent %d is started again, at stage %q", a.id, a.journal.Stage)
			a.boot()
		}
	})
}

// asks is true if a broker answers this agent.
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
	epoch := a.epoch
	a.after(d, func() {
		if a.epoch == epoch && a.wakeAt.Equal(at) {
			a.wakeAt = time.Time{}
			a.step()
		}
	})
}

// readOn reads the log to its end after a while. It is called for every record,
// and at the start of an agent process.
func (a *agent) readOn() {
	if a.reading || a.dead {
		return
	}
	a.reading = true
	epoch := a.epoch
	d := a.between(2, 60)
	if a.slowReads && a.oneIn(100) {
		d = a.between(500, 4000)
	}
	asked := a.now
	a.after(d, func() {
		if a.epoch != epoch {
			return
		}
		a.reading = false
		if a.blind || !a.log.up() || !a.reaches(a.broker(a.log.leader)) {
			a.readErr = "the leader is down"
			a.poke(0)
			a.after(500*time.Millisecond, func() {
				if a.epoch == epoch {
					a.readOn()
				}
			})
			return
		}
		a.load.fetches++
		a.read()
		if a.logAt.IsZero() {
			a.logAt = asked
		}
		a.poke(0)
	})
}

func (a *agent) read() {
	a.offset, a.readErr = a.log.end(), ""
	a.view = a.log.as(a.offset, a.skew)
	if c, _, ok := a.view.Claim(a.id); ok && c.Key != a.claimKey {
		a.claimKey, a.claimAt = c.Key, a.now
	}
}

// refresh reads again what is out of date.
func (a *agent) refresh() {
	needs := a.Needs(a.now)
	if needs.Unit {
		a.SawUnit(a.unit(a.host))
	}
	if needs.Files {
		lastGood := a.lastGood != "" && a.versions[a.file].wants.equal(a.versions[a.lastGood].wants)
		a.SawFiles(a.manifestFacts(a.host), lastGood, a.now)
		a.filesAt = a.now
	}
}

// log facts as of now.
func (a *agent) logFacts() restart.LogFacts {
	f := restart.LogFacts{At: a.logAt, Err: a.readErr, View: a.view}
	if f.Err == "" {
		f.Err = a.writeErr
	}
	return f
}

// stale says that the unit has changed since the agent asked for it.
func (a *agent) stale() { a.Notice(shell.Stale{Unit: true}) }

func (a *agent) busy() bool {
	kind, _ := a.Doing()
	return kind != restart.ActNone
}

func (a *agent) step() {
	if a.busy() || a.dead {
		return
	}
	a.refresh()
	var probes map[string]restart.ProbeFacts
	if a.manifest != "" {
		probes = a.probeFacts()
	}
	a.load.steps++
	t := a.Decide(a.now, a.logFacts(), probes)
	if t.Changed {
		a.note("agent %d: %s (%s) %s", a.id, t.Status.Phase, t.Status.Reason.Code, t.Status.Reason)
	}
	if t.Allowed != nil {
		a.probes.allowed = t.Allowed
	}
	a.judge.shown(a, t.Decision)
	a.shows.shown(&t.Status, a.now)
	a.settle()
	a.publish()
	if t.Do.Kind == restart.ActNone {
		a.stuck = 0
		a.poke(max(t.Wake, time.Millisecond))
		return
	}
	a.judge.decided(a, t.Do)
	if a.stuck++; a.stuck > 2000 {
		a.fail("liveness", "agent %d does not come to rest: %s, %s", a.id, t.Do.Kind, t.Status.Reason.Text())
		return
	}
	a.carryOut(t.Do)
}

// publish appends the newest status in the background.
func (a *agent) publish() {
	if st, ok := a.Post(a.now); ok {
		a.send(st)
		return
	}
	if at := a.PostAt(); at.After(a.now) {
		epoch := a.epoch
		a.after(at.Sub(a.now), func() {
			if a.epoch == epoch {
				a.publish()
			}
		})
	}
}

// send appends a status that was posted.
func (a *agent) send(status restart.Status) {
	epoch := a.epoch
	a.after(a.between(0, 5), func() {
		if a.epoch != epoch {
			return
		}
		w := a.write(epoch, nil)
		w.status = &status
		a.log.append(w, func(err error) {
			if a.epoch != epoch {
				return
			}
			a.wrote(err)
			a.Posted(err, a.now)
			a.publish()
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

func (a *agent) write(epoch int, records []restart.Record) write {
	return write{
		records: records, newer: a.newer == a.id, skew: a.skew, alive: func() bool { return a.epoch == epoch },
		reach: func(b *broker) bool { return a.reaches(b) && !a.silent },
	}
}

// carryOut does one action: it takes time, its effect comes somewhere in it,
// and the agent may die before or after the effect.
func (a *agent) carryOut(do restart.Action) {
	epoch := a.epoch
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
		if a.epoch != epoch {
			return
		}
		if crash == 1 {
			a.die("before " + string(do.Kind))
			a.rebirth(a.between(1000, 20000))
			return
		}
		a.effect(do, func(r shell.Result) {
			if a.epoch != epoch {
				return
			}
			a.Done(do, r, a.now)
			a.poke(0)
		})
		if crash == 2 {
			a.die("after " + string(do.Kind))
			a.rebirth(a.between(1000, 20000))
		}
	})
}

// portTaken is why the process could not bind a port that the manifest gives it and that it does not have yet. Whoever
// starts the broker by hand on that manifest has freed the port.
func (a *agent) portTaken() string {
	v := a.versions[a.Facts().Manifest.Hash]
	if v == nil || !v.portTaken || v.refusedBy != a.id || maps.Equal(a.broker(a.id).runs.listeners, v.wants.listeners) {
		return ""
	}
	return "another process holds port 39092"
}

// effect is what an action does; done is called when the shell goes on.
func (a *agent) effect(do restart.Action, done func(shell.Result)) {
	soon := func(err error) { a.after(a.between(0, 12), func() { done(shell.Result{Err: err}) }) }
	b, epoch := a.broker(a.id), a.epoch
	switch do.Kind {
	case restart.ActNone:
		soon(nil)
	case restart.ActSave:
		was := a.journal.Stage
		err := a.saveJournal(*do.Journal, a.now)
		if err == nil {
			a.judge.moved(a, was)
			a.spring(a)
		}
		soon(err)
	case restart.ActAppend:
		asked := a.now
		a.log.append(a.write(epoch, do.Records), func(err error) {
			if a.epoch == epoch {
				a.wrote(err)
			}
			if err == nil && a.epoch == epoch {
				if a.blind {
					a.after(appendPatience, func() { done(shell.Result{Err: errors.New("written and not read back")}) })
					return
				}
				a.read()
				a.logAt = asked
			}
			done(shell.Result{Err: err})
		})
	case restart.ActObserve:
		a.load.observations++
		f, took := a.observe(a.id, a.asks)
		a.after(took, func() {
			f.Took = took
			done(shell.Result{Cluster: &f})
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
			f.PortTaken = a.portTaken()
		case b.frozen:
			f.Err, took = "timed out", unanswered
		default:
			f.Err, f.NobodyListens = "connection refused", a.now
		}
		a.after(took, func() {
			right := restart.RightFacts{At: a.now}
			if a.denied {
				right.Denied = errDenied.Error()
			}
			done(shell.Result{Running: &f, Right: &right})
		})
	case restart.ActApply:
		soon(a.apply(a.host, a.Facts().Manifest.Hash))
	case restart.ActRestore:
		err := a.restore(a.host)
		a.judge.restored(a)
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
			f := a.unit(a.host)
			done(shell.Result{Err: err, Unit: &f})
		})
	}
}
