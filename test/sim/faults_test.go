package sim

import (
	"slices"
	"time"

	"example.com/kpls-agent/internal/restart"
)

// fault is one thing that goes wrong on one broker's VM or with its broker.
type fault struct {
	name string
	// begin does it and returns what ends it, or nil if it could not be done.
	begin func(r *run, a *agent, b *broker) (end func())
	// stays allows it never to end: then a true reason must stand at the end.
	stays bool
}

// faults is the list to add to.
var faults = []fault{
	{"the broker is killed", func(r *run, _ *agent, b *broker) func() { return r.kill(b) }, true},
	{"the broker is killed", func(r *run, _ *agent, b *broker) func() { return r.kill(b) }, false},
	{"the leader of the coordination log is killed", func(r *run, _ *agent, _ *broker) func() { return r.kill(r.broker(r.log.leader)) }, false},
	{"the VM crashes", func(r *run, a *agent, b *broker) func() {
		back := r.kill(b)
		a.die("its VM")
		a.kept = true
		return func() {
			a.revive()
			if back != nil {
				back()
			}
		}
	}, false},
	{"the agent is down", func(r *run, a *agent, _ *broker) func() {
		if r.oneIn(2) {
			a.sayLast()
		}
		a.die("a fault")
		a.kept = true
		return a.revive
	}, true},
	{"the broker hears no controller", func(r *run, _ *agent, b *broker) func() {
		for _, o := range r.brokers {
			if o.deaf { // one view may lie, not two
				return nil
			}
		}
		b.deaf, b.deafAt = true, r.now
		return func() { b.deaf = false }
	}, false},
	{"the broker answers with empty metadata", func(_ *run, _ *agent, b *broker) func() {
		b.blank = true
		return func() { b.blank = false }
	}, true},
	{"the broker hears no controller, and a replica falls behind", func(r *run, _ *agent, b *broker) func() {
		if len(r.hosted[b.id]) == 0 {
			return nil
		}
		p := r.hosted[b.id][r.rng.IntN(len(r.hosted[b.id]))]
		if slices.ContainsFunc(r.brokers, func(o *broker) bool { return o.deaf }) || len(p.isr) < 2 || !slices.Contains(p.isr, b.id) {
			return nil
		}
		b.deaf, b.deafAt = true, r.now
		o := r.broker(p.isr[(slices.Index(p.isr, b.id)+1)%len(p.isr)])
		p.short[o.id] = true
		r.after(r.between(1, 3000), func() {
			r.setISR(p, slices.DeleteFunc(slices.Clone(p.isr), func(id int32) bool { return id == o.id && len(p.isr) > 1 }))
			r.record()
		})
		return func() {
			b.deaf = false
			delete(p.short, o.id)
			r.catchUp(o, []*partition{p}, r.between(100, 3000))
		}
	}, false},
	{"the ACL by which the agents see the topics is removed", func(r *run, _ *agent, _ *broker) func() {
		r.hides = true
		return func() { r.hides = false }
	}, true},
	{"no controller hears the broker", func(r *run, _ *agent, b *broker) func() {
		b.mute = true
		r.unheard(b)
		return func() {
			b.mute = false
			r.rejoin(b)
		}
	}, false},
	{"the broker freezes", func(r *run, _ *agent, b *broker) func() {
		r.freeze(b, r.between(2000, 60000))
		return func() {}
	}, false},
	{"a replica falls behind", func(r *run, _ *agent, b *broker) func() {
		p := r.partitions[r.rng.IntN(len(r.partitions))]
		if len(p.isr) < 2 || !slices.Contains(p.isr, b.id) || p.short[b.id] {
			return nil
		}
		p.short[b.id] = true
		r.setISR(p, slices.DeleteFunc(slices.Clone(p.isr), func(id int32) bool { return id == b.id }))
		r.record()
		return func() {
			delete(p.short, b.id)
			r.catchUp(b, []*partition{p}, r.between(100, 3000))
		}
	}, true},
	{"no replica of the broker catches up", func(_ *run, _ *agent, b *broker) func() {
		b.slow = true
		return func() { b.slow = false }
	}, true},
	{"voters fall behind: one, or all but the leader", func(r *run, _ *agent, _ *broker) func() {
		chosen := r.voters[r.rng.IntN(len(r.voters))]
		var late []*voter
		for _, v := range r.voters {
			if !v.behind && v.id != r.leader && (v == chosen || chosen.id == r.leader) {
				late = append(late, v)
			}
		}
		if len(late) == 0 {
			return nil
		}
		for _, v := range late {
			v.behind, v.since = true, r.now
		}
		return func() {
			for _, v := range late {
				v.behind, v.since = false, r.now
			}
		}
	}, true},
	{"a controller is down", func(r *run, _ *agent, _ *broker) func() {
		v := r.voters[r.rng.IntN(len(r.voters))]
		if v.down || v.broker != nil {
			return nil
		}
		v.down, v.since = true, r.now
		r.elect()
		return func() {
			v.down, v.since = false, r.now
			r.elect()
		}
	}, true},
	{"the controller resigns", func(r *run, _ *agent, _ *broker) func() {
		r.leader, r.elected = -1, r.now
		r.elect()
		return func() {}
	}, false},
	{"the disk is full", func(r *run, a *agent, _ *broker) func() {
		a.full = true
		return func() { a.full, a.fullEnd = false, r.now }
	}, false},
	{"the clock jumps", func(r *run, a *agent, _ *broker) func() {
		by := []time.Duration{-time.Hour, -3 * time.Minute, -5 * time.Second, 5 * time.Second, 3 * time.Minute, time.Hour}[r.rng.IntN(6)]
		r.note("by %s", by)
		a.jump(by)
		return func() { a.jump(-by) }
	}, true},
	{"the service manager does not answer", func(r *run, a *agent, _ *broker) func() {
		a.dbus, a.nojob = true, r.oneIn(2)
		a.stale()
		return func() {
			a.dbus, a.nojob, a.seesAt = false, false, r.now
			a.stale()
		}
	}, true},
	{"only its own broker answers the agent", func(r *run, a *agent, _ *broker) func() {
		a.cutOff, a.cutLog = true, r.oneIn(2)
		return func() { a.cutOff, a.cutLog = false, false }
	}, false},
	{"the agent cannot read the log", func(_ *run, a *agent, _ *broker) func() {
		a.blind = true
		return func() {
			a.blind = false
			a.readOn()
		}
	}, true},
	{"the agent cannot write to the log", func(_ *run, a *agent, _ *broker) func() {
		a.silent = true
		return func() { a.silent = false }
	}, true},
	{"somebody writes a record of a later major version", stray("status/7777", `{"version":2,"broker":7777}`), true},
	{
		"somebody writes a record of a later major version under an unknown key",
		stray("lease/7777", `{"version":2,"broker":7777}`), true,
	},
	{
		"somebody writes a record of a later minor version under an unknown key",
		stray("mark/7777", `{"version":1,"broker":7777}`), true,
	},
	{"somebody writes garbage", stray("claim/1/x", "garbage"), false},
	{"somebody writes garbage under an unknown key", stray("user-7", "garbage"), true},
	{"somebody sets a dynamic configuration", func(r *run, _ *agent, b *broker) func() {
		b.dynamic, b.dynamicAt = true, r.now
		return func() {
			b.dynamic = false
			b.runs.listeners = r.versions[b.version].runs().listeners // what it was started with is in force again
		}
	}, true},
	{"the right to restart is revoked", func(_ *run, a *agent, _ *broker) func() {
		a.denied = true
		return func() { a.denied = false }
	}, true},
	{"the stop of the unit would end another process", harmful(hazard), true},
	{"a dynamic thread count is set that the next start refuses", harmful(drops), true},
	{"somebody edits server.properties, wrongly", harmful(edit), true},
	{"a log directory goes offline", harmful(storage), true},
	{"an ExecStartPre= fails once", func(_ *run, a *agent, _ *broker) func() {
		a.failOnce = true
		return func() { a.failOnce = false }
	}, false},
	{"Kafka drops dynamic settings at a start by hand", func(_ *run, a *agent, b *broker) func() {
		if !b.answers() {
			return nil
		}
		b.dropped = true
		a.poke(0)
		return func() { b.dropped = false }
	}, true},
	{"the state directory is lost", func(r *run, a *agent, _ *broker) func() {
		r.judge.lostState(a)
		a.die("reinstalled")
		a.journal, a.lastGood, a.unproven = restart.Journal{}, "", false
		a.revive()
		return func() {}
	}, false},
	{"another manifest lies on the VM", func(r *run, a *agent, _ *broker) func() {
		if a.manifest == "" || a.withheld {
			return nil
		}
		a.withheld = true
		return func() {
			a.withheld = false
			r.take(a, r.latest)
		}
	}, true},
}

// stray writes a record that no agent of this build writes, and deletes its key at the end.
func stray(key, value string) func(r *run, a *agent, b *broker) func() {
	return func(r *run, _ *agent, _ *broker) func() {
		r.insist(restart.Record{Key: key, Value: []byte(value)})
		return func() { r.insist(restart.Record{Key: key}) }
	}
}

// stops are the strays that every agent must stand still for; the others stop nobody.
// No fleet has a broker 7777.
var stops = []string{"status/7777", "lease/7777", "claim/1/x"}

// harmful makes a restart of a broker do harm, for a while.
func harmful(h harm) func(r *run, a *agent, b *broker) func() {
	return func(r *run, a *agent, b *broker) func() {
		if a.harm != "" {
			return nil
		}
		a.harm, a.harmAt = h, r.now
		a.stale()
		return func() {
			a.harm = ""
			a.stale()
			b.dropped = b.dropped && h != drops // whoever corrects the file sets them again
		}
	}
}

// trouble schedules some faults. Half of them lie in wait until an agent has
// written down that it is about to do something to its broker, and strike there
// at once, or another broker a little later, when perhaps the next one is to go.
func (r *run) trouble() {
	for range r.rng.IntN(5) {
		f := faults[r.rng.IntN(len(faults))]
		a := r.agents[r.rng.IntN(len(r.agents))]
		at, lasts, forever := r.between(1000, 300000), r.between(2000, 150000), f.stays && r.oneIn(6)
		switch r.rng.IntN(4) {
		case 0:
			r.lieInWait(at/2, func(a *agent) { r.strike(f, a, lasts, forever) })
		case 1:
			r.lieInWait(at/2, func(*agent) {
				r.after(r.between(0, 20000), func() { r.strike(f, a, lasts, forever) })
			})
		default:
			r.schedule(at, func() { r.strike(f, a, lasts, forever) })
		}
	}
}

// lieInWait has something done, from a time on, when an agent comes to a critical step.
func (r *run) lieInWait(from time.Duration, do func(*agent)) {
	r.after(from, func() { r.ambush = append(r.ambush, do) })
}

func (r *run) strike(f fault, a *agent, lasts time.Duration, forever bool) {
	r.note("fault on %d: %s, for %s", a.id, f.name, lasts)
	end := f.begin(r, a, r.broker(a.id))
	switch {
	case end == nil:
		r.note("which is not possible now")
	case forever:
		r.note("for ever")
		r.standing = append(r.standing, f.name)
	default:
		r.schedule(lasts, func() {
			r.note("ends on %d: %s", a.id, f.name)
			end()
		})
	}
}

// spring lets happen what lies in wait for an agent at a critical step.
func (r *run) spring(a *agent) {
	if len(r.ambush) == 0 || a.journal.Stage == restart.StageNone || a.journal.Stage == restart.StageProve {
		return
	}
	do := r.ambush[0]
	r.ambush = r.ambush[1:]
	r.after(r.between(0, 60), func() { do(a) })
}

// kill ends a process without warning; its service manager does not start it again.
func (r *run) kill(b *broker) func() {
	if !b.running {
		return nil
	}
	b.failed, b.struck = true, r.now
	r.exit(b, false)
	return func() {
		if b.failed && !b.running {
			r.launch(b, "somebody")
		}
	}
}

func (a *agent) revive() {
	a.kept = false
	if a.dead {
		a.note("agent %d is started again, at stage %q", a.id, a.journal.Stage)
		a.boot()
	}
}

// jump sets the clock of a VM. What a process remembers goes on evenly; what it
// reads of the log is dated by others.
func (a *agent) jump(by time.Duration) {
	a.skew += by
	if !a.dead {
		a.view = a.log.as(a.offset, a.skew)
	}
}

// insist writes to the log until it is written.
func (r *run) insist(records ...restart.Record) {
	always := func() bool { return true }
	r.log.append(write{records: records, alive: always, reach: func(*broker) bool { return true }}, func(err error) {
		if err != nil {
			r.after(time.Second, func() { r.insist(records...) })
		}
	})
}
