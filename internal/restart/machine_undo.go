package restart

import (
	"fmt"
	"maps"
	"slices"
)

// undo puts a broker back that did not come up right: halt for everyone, last
// good file, restart, proof. It never gives up the claim before the halt is in
// the log, so that nobody can follow into the same failure. A halt that was read
// back and is gone again was taken back by an operator, and is not repeated.
func (s *step) undo() Decision {
	if s.halted() && !s.j.Halted {
		return s.save(s.phaseNow(), s.rollingBack("writing down that the halt is in the log"), func(j *Journal) { j.Halted = true })
	}
	switch s.j.Step {
	case StepRestore:
		return s.restore()
	case StepUndo:
		return s.undoRestart()
	case StepNeedPerson:
		return s.needPerson()
	default:
		return s.proveUndo()
	}
}

func (s *step) rollingBack(doing string) *Reason {
	return because(CodeRollingBack, "%s; %s", s.j.Why, doing)
}

func (s *step) halt() []Record {
	return []Record{NewHalt(s.newHalt(manifestOf(s.j.Target)))}
}

// newHalt is the halt of a manifest for what the journal says has failed.
func (s *step) newHalt(manifest string) Halt {
	return Halt{Broker: s.m.opts.Self, Manifest: manifest, Why: s.j.Why, Cause: s.j.cause(), At: s.f.Now}
}

// haltText says what a halt is for, and what ends it.
func (s *step) haltText(h Halt) string {
	const again = "`kpls-agent resume` to try it again"
	back := ""
	if st := s.v.Statuses[h.Broker]; st.Phase == PhaseFailed && st.Reason.Code == CodeHalted {
		back = " and was put back"
	}
	switch h.Cause {
	case CauseBroker:
		return fmt.Sprintf("broker %d did not come back from a restart that changed nothing in server.properties: %s; "+
			"mend the cause on that broker, then %s", h.Broker, h.Why, again)
	case CauseEdits:
		return fmt.Sprintf("broker %d failed with edits of server.properties that are not the manifest's%s: %s; correct them there, then %s", h.Broker, back, h.Why, again)
	case CauseSettings:
		return fmt.Sprintf("broker %d serves, and Kafka dropped dynamic settings at its start: %s; set them again there, see on every broker that "+
			"`kpls-agent plan` finds none that would be dropped, then `kpls-agent resume`", h.Broker, h.Why)
	default:
		return fmt.Sprintf("broker %d failed with this manifest%s: %s; correct the manifest, or %s", h.Broker, back, h.Why, again)
	}
}

func (s *step) halted() bool {
	_, ok := s.v.Halts[manifestOf(s.j.Target)]
	return ok
}

func (s *step) restore() Decision {
	if !s.j.Halted && !s.m.haltTried {
		// Tried once here: where the log is away with this broker, the claim keeps the others back.
		s.m.haltTried = true
		return s.do(PhaseRollback, s.rollingBack("telling everyone"), Action{Kind: ActAppend, Records: s.halt()}, 0)
	}
	if !s.f.LastGood {
		if s.tooSoon(ActRestore) {
			return s.wait(PhaseRollback, s.failed(ActRestore), paceBlocked)
		}
		r := s.rollingBack("putting the last good server.properties back")
		if _, failed := s.f.Failed[ActRestore]; failed {
			r = s.failed(ActRestore) // while it is tried again, too: one reason, not two in turn
		}
		return s.do(PhaseRollback, r, Action{Kind: ActRestore}, 0)
	}
	if s.f.Unit.State == UnitUnknown { // else any process would count as the one that was restarted
		return s.wait(PhaseRollback, s.unseen(), paceBlocked)
	}
	if s.f.Unit.State == UnitRunning && s.runsBefore() {
		// The process was started on what the file was before, so that a second restart would change nothing.
		return s.saveStep(StepProveUndo, PhaseRollback, s.rollingBack("the process runs what it ran before"), func(j *Journal) {
			j.Invocation, j.Starts, j.Started, j.Restarts = s.f.Unit.Invocation, 1, s.f.Now, s.f.Unit.Restarts
		})
	}
	return s.saveStep(StepUndo, PhaseRollback, s.rollingBack("restarting on the last good server.properties"), func(j *Journal) {
		j.Invocation = s.f.Unit.Invocation
	})
}

// editsText names edits of others in server.properties as it was before the restart.
func (s *step) editsText() string {
	if s.j.Edits == "" {
		return ""
	}
	return "; that file had an edit that no process had run: " + s.j.Edits
}

// runsBefore is true if the process is known to have been started on what ran before the restart:
// nothing that it does not show was to change, and no dynamic configuration covers its file.
func (s *step) runsBefore() bool {
	r := s.f.Running
	return !s.j.Hidden && !s.j.BeforeUnknown && !s.j.unchanged() && s.j.Edits == "" && r.Err == "" && r.Listeners != nil && len(r.Dynamic) == 0 &&
		!r.At.Before(s.m.processAt) && differs(r.Listeners, s.j.Before, s.gone()) == ""
}

func (s *step) undoRestart() Decision {
	r := s.rollingBack("restarting on the last good server.properties")
	if s.f.Unit.Invocation != s.j.Invocation && s.f.Unit.Invocation != "" || s.ended() && !s.m.issued.IsZero() && s.f.Failed[ActRestart].Count == 0 {
		return s.saveStep(StepProveUndo, PhaseRollback, r, func(j *Journal) {
			// The service manager may have started it on the last good file itself.
			j.Invocation, j.Starts, j.Started, j.Restarts = s.f.Unit.Invocation, 1, s.f.Now, s.f.Unit.Restarts
		})
	}
	// A broker that is up on the wrong configuration may hold replicas that others
	// need by now: it is taken down with the same care as any other.
	if s.f.Unit.State == UnitUnknown {
		return s.wait(PhaseRollback, s.unseen(), paceBlocked)
	}
	if s.f.Unit.Queued {
		return s.wait(PhaseRollback, r, paceBlocked)
	}
	notAfter := s.f.Now.Add(fresh)
	// So is one that kept ending until the service manager started it on the good file.
	if s.f.Unit.State == UnitRunning {
		if s.f.Cluster.At.Before(s.m.processAt) {
			return s.observe(PhaseRollback, r, 0)
		}
		if b := s.needed(); b != nil {
			return s.observe(PhaseRollback, b, paceBlocked)
		}
		if !s.recent(s.f.Cluster.At, near) {
			return s.observe(PhaseRollback, r, 0)
		}
		notAfter = s.f.Cluster.At.Add(fresh)
	}
	return s.restart(PhaseRollback, r, notAfter)
}

// needed returns why a broker that runs on the wrong configuration must not go
// just now. One that others see fenced holds no replica, but may still have a
// vote in a quorum that would be none without it.
func (s *step) needed() *Reason {
	if len(s.f.Cluster.Views) == 0 && !s.alone() { // nobody says that it is fenced
		return because(CodeGateViews, "the cluster cannot be seen: %s", orNot(s.f.Cluster.Err, "no broker answers"))
	}
	if !s.inAny(s.m.opts.Self) {
		if q := s.f.Cluster.Quorum; q != nil && q.Leader >= 0 && slices.ContainsFunc(q.Voters, func(v Voter) bool { return v.ID == s.m.opts.Self && v.caughtUp() }) {
			return s.gateQuorum()
		}
		return nil
	}
	for _, gate := range []func() *Reason{s.gateViews, s.gatePartitions, s.gateQuorum} {
		if b := gate(); b != nil {
			return b
		}
	}
	return nil
}

// alone is true if no other broker was ever heard of.
func (s *step) alone() bool {
	for id := range s.v.Statuses {
		if id != s.m.opts.Self {
			return false
		}
	}
	others, _ := s.others()
	return len(others) == 0
}

// proveUndo expects what the process ran before.
func (s *step) proveUndo() Decision {
	if d, moved := s.newProcess(); moved {
		return d
	}
	if !s.j.Halted && !s.halted() && s.f.Log.Err == "" && !s.f.Log.At.IsZero() && !s.tooSoon(ActAppend) {
		// It could not be told before the restart; from now on nothing hangs on haste.
		return s.do(PhaseRollback, s.rollingBack("telling everyone"), Action{Kind: ActAppend, Records: s.halt()}, 0)
	}
	want, gone := s.j.Before, s.gone()
	if s.j.BeforeUnknown {
		want, gone = nil, nil
	}
	p := s.examine(want, gone)
	if p.failure != "" {
		return s.saveStep(StepNeedPerson, PhaseFailed, because(CodeNeedsOperator, "%s; the last good server.properties was put back and does not start either: %s", s.j.Why, p.failure), func(*Journal) {})
	}
	if p.waiting != nil {
		p.waiting = because(CodeRollingBack, "%s; put back: %s", s.j.Why, p.waiting.Text)
		p.phase = PhaseRollback
		return s.lookOn(p)
	}
	return s.putBack()
}

// gone lists the listeners of the failed target that the process did not have before.
func (s *step) gone() []string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(s.j.Listeners)) {
		if _, ok := s.j.Before[name]; !ok {
			out = append(out, name)
		}
	}
	return out
}

func (s *step) putBack() Decision {
	return s.saveStep(StepNone, PhaseFailed, because(CodeHalted, "put back and serving"), func(j *Journal) {
		j.Failed, j.Unproven, j.Hidden, j.Prior = manifestOf(j.Target), false, false, nil
	})
}

// needPerson waits for somebody who brings the broker back, and keeps the claim meanwhile.
func (s *step) needPerson() Decision {
	r := because(CodeNeedsOperator, "%s; server.properties is as it was before, and the broker does not serve with that either (%s)%s: see its log, mend it and start it", s.j.Why, orNot(s.f.Unit.Detail, string(s.f.Unit.State)), s.editsText())
	if s.j.Halted && !s.halted() && !s.f.Log.At.IsZero() {
		r.Text += "; `kpls-agent resume` was heard: the restart is tried again once it serves"
	}
	if !s.j.Halted && !s.f.Log.At.IsZero() && !s.tooSoon(ActAppend) {
		return s.do(PhaseFailed, r, Action{Kind: ActAppend, Records: s.halt()}, 0)
	}
	if s.f.Unit.State != UnitRunning {
		return s.wait(PhaseFailed, r, paceBlocked)
	}
	if inv := s.f.Unit.Invocation; inv != s.j.Invocation {
		return s.save(PhaseFailed, r, func(j *Journal) {
			j.Invocation, j.Starts, j.Started, j.Restarts = inv, 1, s.f.Now, s.f.Unit.Restarts
		})
	}
	// Whatever a person has brought it up with: that it serves is enough to give the claim back.
	if p := s.examine(nil, nil); p.failure == "" {
		if p.waiting == nil {
			return s.putBack()
		}
		p.phase, p.waiting = PhaseFailed, r
		return s.lookOn(p)
	}
	return s.look(PhaseFailed, r, ActRunning, s.f.Running.At, paceBlocked)
}
