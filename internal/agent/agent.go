package agent

import (
	"time"

	"example.com/kpls-agent/internal/restart"
)

// Times of the schedule.
const (
	// BeatEvery is the longest time between two decisions while no action runs.
	BeatEvery = 5 * time.Second
	// unitPace and filesPace: how old the unit's state and the files may be while
	// a restart is under way, and at rest, where signals come for both.
	unitPace, unitRest   = 200 * time.Millisecond, 10 * time.Second
	filesPace, filesRest = time.Second, 10 * time.Second
)

// Options of an Agent.
type Options struct {
	restart.Options
	// Nonce returns a string that no earlier call by any agent of this broker has returned.
	Nonce func() string
	// Room is where decisions are worked out, and each is valid until the next one there. Agents that never decide at
	// the same time may share it. With nil, each decision gets memory of its own.
	Room *restart.Room
}

// Agent is one agent process without its I/O. Whoever drives it refreshes the facts
// that it names, asks for a decision, carries the action out, and reports the result.
// One action runs at a time. A copy by assignment is an agent of its own.
type Agent struct {
	machine restart.Machine
	nonce   func() string
	room    *restart.Room
	facts   restart.Facts
	doing   restart.ActionKind
	since   time.Time // when that action began
	stale   Stale     // what a signal, or an action, has made out of date
	filesAt time.Time
	status  restart.Status
	settled bool
	out     outbox
	clock   stopwatch
	born    time.Time
}

// Stale says which facts are to be read again before the next decision.
type Stale struct{ Unit, Files bool }

// Turn is one decision, and what the shell does about it in addition to the action.
type Turn struct {
	*restart.Decision
	// Changed is true where the phase or the reason's code is another than before; Was is the phase before.
	Changed bool
	Was     restart.Phase
	// Settled is true once: server.properties is right, or it is known why it cannot be, so
	// a broker that waits for this agent may start.
	Settled bool
}

// Result is how an action went. Facts that the action asked for are set, others nil.
type Result struct {
	Err     error
	Cluster *restart.ClusterFacts // ActObserve
	Running *restart.RunningFacts // ActRunning
	Right   *restart.RightFacts   // ActRunning
	Unit    *restart.UnitFacts    // ActRestart
}

// New returns an agent that has seen nothing but its journal. planned is true where an
// earlier process died in the middle of a restart: the probes are to be informed
// before they judge a broker that is down as planned.
func New(o Options, j restart.Journal, now time.Time) (a Agent, planned bool) {
	a = Agent{
		machine: restart.NewMachine(o.Options), nonce: o.Nonce, room: o.Room, born: now,
		stale: Stale{Unit: true, Files: true},
		facts: restart.Facts{Journal: j, Log: restart.LogFacts{View: restart.NewView()}, Nonce: o.Nonce()},
	}
	if planned = j.Planned(now); planned {
		a.machine.Announced(now)
	}
	return a, planned
}

// Facts is what the agent knows, as of its last decision.
func (a *Agent) Facts() restart.Facts { return a.facts }

// Status is the agent's last status.
func (a *Agent) Status() restart.Status { return a.status }

// Doing is the action that runs, ActNone for none, and since when.
func (a *Agent) Doing() (restart.ActionKind, time.Time) { return a.doing, a.since }

// Notice notes that facts are out of date.
func (a *Agent) Notice(s Stale) {
	a.stale.Unit, a.stale.Files = a.stale.Unit || s.Unit, a.stale.Files || s.Files
}

// Needs says which facts are to be read again before a decision at an instant.
func (a *Agent) Needs(now time.Time) Stale {
	unit, files := unitRest, filesRest
	if a.facts.Journal.Stage != restart.StageNone {
		unit, files = unitPace, filesPace
	}
	return Stale{
		Unit:  a.stale.Unit || now.Sub(a.facts.Unit.At) >= unit,
		Files: a.stale.Files || now.Sub(a.filesAt) >= files,
	}
}

// SawUnit takes the unit's state over.
func (a *Agent) SawUnit(f restart.UnitFacts) { a.facts.Unit, a.stale.Unit = f, false }

// SawFiles takes over what the files and the manifest say, read at an instant.
func (a *Agent) SawFiles(f restart.ManifestFacts, lastGood bool, at time.Time) {
	a.facts.Manifest, a.facts.LastGood, a.filesAt, a.stale.Files = f, lastGood, at, false
}

// Decide decides on what is known at an instant. Until Done, the action that comes
// back runs, and Decide must not be called.
func (a *Agent) Decide(now time.Time, log restart.LogFacts, probes map[string]restart.ProbeFacts) Turn {
	a.facts.Now, a.facts.Log, a.facts.Probes = now, log, probes
	room := a.room
	if room == nil {
		room = new(restart.Room)
	}
	d := a.machine.DecideIn(room, &a.facts)
	a.doing, a.since = d.Do.Kind, now
	t := Turn{Decision: d, Was: a.status.Phase}
	t.Changed = d.Status.Phase != a.status.Phase || d.Status.Reason.Code != a.status.Reason.Code
	d.Status.Took = a.clock.took(&d.Status, log.View.Statuses, now)
	a.status = d.Status
	if log.View.Statuses[d.Status.Broker].Ended {
		a.out.again() // the last word of an earlier process, which may come late
	}
	// What an earlier process has said last is read first, if it can be: it would be written over.
	if !log.At.IsZero() || now.Sub(a.born) >= BeatEvery {
		a.out.offer(&d.Status, now, len(log.View.Statuses))
	}
	if t.Wake <= 0 || t.Wake > BeatEvery {
		t.Wake = BeatEvery
	}
	if !a.settled && a.facts.Unit.State != restart.UnitUnknown && !a.writes(d) {
		a.settled, t.Settled = true, true
	}
	return t
}

// writes is true for a decision after which server.properties may become another
// one: to write it, to note that before, or to ask for what decides on it.
func (a *Agent) writes(d *restart.Decision) bool {
	switch d.Do.Kind {
	case restart.ActApply, restart.ActRunning:
		return true
	case restart.ActSave:
		return d.Status.Phase == restart.PhaseStopped
	default:
		return false
	}
}

// Done notes how an action went, at an instant. It returns how often in a row this kind
// of action has failed; 0 is a success.
func (a *Agent) Done(do restart.Action, r Result, now time.Time) int {
	a.doing = restart.ActNone
	if r.Cluster != nil {
		a.facts.Cluster = *r.Cluster
	}
	if r.Running != nil {
		a.facts.Running, a.facts.Right = *r.Running, *r.Right
	}
	if r.Unit != nil {
		a.SawUnit(*r.Unit)
	}
	switch do.Kind {
	case restart.ActSave:
		if r.Err == nil {
			a.facts.Journal = *do.Journal
		}
	case restart.ActRunning:
		a.stale.Files = true // they are compared with what the process runs
	case restart.ActApply, restart.ActRestore:
		a.Notice(Stale{Unit: true, Files: true}) // was the process the same all the time?
	case restart.ActAppend:
		a.facts.Nonce = a.nonce() // the claim of the last one may be in the log
	default:
	}
	return a.facts.Done(do.Kind, r.Err, now)
}

// Remind offers the last status once more while a long action runs: it is published if
// a heartbeat is due.
func (a *Agent) Remind(now time.Time) {
	a.out.offer(&a.status, now, len(a.facts.Log.View.Statuses))
}

// Last is the status with which this agent process ends: the last one that it had, marked as the last. There is none
// where it has not decided on anything yet.
func (a *Agent) Last() (restart.Status, bool) {
	st := a.status
	st.Ended = true
	return st, st.Phase != "" && !a.mute()
}

// Post returns the status to append now, if there is one; Posted reports how that went.
func (a *Agent) Post(now time.Time) (restart.Status, bool) {
	if a.mute() {
		return restart.Status{}, false
	}
	return a.out.take(now)
}

// PostAt is when the next status may be appended; zero: there is none.
func (a *Agent) PostAt() time.Time {
	if a.mute() {
		return time.Time{}
	}
	return a.out.at()
}

// mute is true for an agent that would make the coordination topic for no more than to say that it has no manifest.
func (a *Agent) mute() bool {
	return a.facts.Manifest.Hash == "" && (a.facts.Log.At.IsZero() || a.facts.Log.Missing)
}

// Posted notes how the append of the status from Post went. It returns true for the first
// failure in a row.
func (a *Agent) Posted(err error, now time.Time) bool { return a.out.done(err == nil, now) }
