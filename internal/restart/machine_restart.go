package restart

import (
	"maps"
	"slices"
	"time"
)

// goDown takes this broker down: file, probes, gates once more, unit. Nothing
// irreversible has happened before StepRestart; after it the unit may have
// been restarted, whatever this life remembers.
func (s *step) goDown() Decision {
	f, j := s.f, s.j
	if f.Unit.State == UnitUnknown {
		return s.wait(s.phaseNow(), s.unseen(), paceBlocked)
	}
	if j.Step == StepRestart {
		if f.Unit.Invocation != j.Invocation && f.Unit.Invocation != "" || s.ended() && !s.m.issued.IsZero() {
			return s.saveStep(StepProve, PhaseStarting, because(CodeStarting, "the process was restarted"), func(j *Journal) {
				j.Invocation, j.Starts, j.Started, j.Restarts = f.Unit.Invocation, 1, f.Now, 0
			})
		}
		if f.Unit.State == UnitStopping || f.Unit.State == UnitStarting || f.Unit.Queued {
			return s.wait(PhaseRestarting, because(CodeRestarting, "the unit is %s", f.Unit.State), paceBlocked)
		}
		if s.tooSoon(ActRestart) && s.up() {
			// Refused, or too late: the broker serves on. The probes say the truth again and the claim
			// is given back before it is tried once more.
			return s.saveStep(StepNone, PhaseWaiting, s.failed(ActRestart), func(*Journal) {})
		}
		if s.tooSoon(ActRestart) {
			return s.wait(PhaseRestarting, s.failed(ActRestart), time.Second)
		}
	}
	if j.Step == StepApply && f.Unit.Invocation != "" && f.Unit.Invocation != j.Invocation {
		return s.saveStep(StepNone, PhaseClaimed, because(CodeStarting, "somebody has restarted the broker"), func(*Journal) {})
	}
	if r := s.stillMine(); r != nil {
		return s.saveStep(StepNone, PhaseWaiting, r, func(*Journal) {})
	}
	if !s.up() {
		// It went away by itself. Nothing more can be lost by restarting it with the
		// file the manifest asks for; a broker that somebody stopped is left alone.
		if f.Unit.State == UnitStopped && !f.Unit.Ambiguous {
			return s.saveStep(StepNone, PhaseStopped, because(CodeStopped, "somebody stopped the broker"), func(*Journal) {})
		}
	}
	if f.Manifest.FileChanges || s.sameAgain() {
		if s.tooSoon(ActSave) {
			return s.wait(PhaseApplying, s.failed(ActSave), time.Second)
		}
		if s.tooSoon(ActApply) {
			return s.saveStep(StepNone, PhaseClaimed, s.failed(ActApply), func(*Journal) {})
		}
		s.m.kept = true
		return s.do(PhaseApplying, because(CodeApplying, "writing server.properties"), Action{Kind: ActApply}, 0)
	}
	phase := PhaseApplying
	if j.Step == StepRestart {
		phase = PhaseRestarting
	}
	if d := s.prepared(phase); d != nil {
		return *d
	}
	if j.Step == StepApply {
		return s.saveStep(StepRestart, PhaseRestarting, because(CodeRestarting, "restarting the broker"), func(j *Journal) {
			j.Invocation = f.Unit.Invocation
		})
	}
	notAfter := f.Now.Add(fresh)
	if s.up() {
		notAfter = earlier(f.Log.At, f.Cluster.At).Add(fresh)
	}
	return s.restart(PhaseRestarting, because(CodeRestarting, "restarting the broker"), notAfter)
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// sameAgain is true if the restart changes nothing and the last good copy is of
// an earlier change: the file as it is must become the last good one.
func (s *step) sameAgain() bool {
	return s.j.Step == StepApply && !s.m.kept && !s.f.LastGood && maps.Equal(s.j.Before, s.j.Listeners) && s.up()
}

// ended is true if the process is gone for good as far as the service manager is concerned.
func (s *step) ended() bool {
	return (s.f.Unit.State == UnitFailed || s.f.Unit.State == UnitStopped) && !s.f.Unit.Queued
}

// saveStep moves the journal to another step.
func (s *step) saveStep(to Step, p Phase, r *Reason, change func(*Journal)) Decision {
	return s.save(p, r, func(j *Journal) {
		j.Step = to
		change(j)
	})
}

// stillMine returns why the restart that was begun must not go on: it is
// checked up to the last moment before the unit is restarted.
func (s *step) stillMine() *Reason {
	if r := s.vetoLog(); r != nil && r.Code == CodeLogUnreadable && !s.up() {
		return s.vetoed(downAndDeaf) // a broker that is down already may be the one that holds the log
	}
	return s.vetoed(underWay)
}

// prepared sees to everything that must hold right before the unit is
// restarted. It returns nil when it all does, on facts that are fresh.
func (s *step) prepared(phase Phase) *Decision {
	f := s.f
	r := because(CodeApplying, "checking the gates once more")
	give := func(d Decision) *Decision { return &d }
	if !s.up() {
		return nil
	}
	// What the process and its directories say may be of before a hang, a drain, or this life.
	if !s.recent(f.Running.At, paceWaiting) {
		return give(s.do(phase, r, Action{Kind: ActRunning}, 0))
	}
	if f.Running.Err != "" {
		return give(s.saveStep(StepNone, PhaseClaimed, because(CodeNoAnswer, "the broker does not tell its configuration: %s", f.Running.Err), func(*Journal) {}))
	}
	if !s.recent(f.Log.At, near) {
		if s.tooSoon(ActAppend) {
			return give(s.saveStep(StepNone, PhaseClaimed, because(CodeLogUnreadable, "the coordination log cannot be written: %v", f.Failed[ActAppend].Err), func(*Journal) {}))
		}
		// An append that is read back is the only proof that the claim still stands.
		d := s.do(phase, r, Action{Kind: ActAppend}, 0)
		d.Do.Records = []Record{NewStatus(d.Status)}
		return &d
	}
	if s.looked() {
		if b := s.blocked(); b != nil {
			return give(s.saveStep(StepNone, PhaseClaimed, b, func(*Journal) {}))
		}
	}
	if !s.looked() || !s.recent(f.Cluster.At, near) {
		return give(s.observe(phase, r, 0))
	}
	if s.m.begun.IsZero() {
		s.m.begun = f.Now
		return give(s.do(phase, because(CodeApplying, "telling the probes"), Action{Kind: ActBegin}, 0))
	}
	if left := s.m.begun.Add(f.Manifest.Drain).Sub(f.Now); len(f.Manifest.Close) > 0 && left > 0 && s.watched() {
		return give(s.wait(phase, because(CodeDraining, "the probes of %v are closed; the load balancer moves its clients away", f.Manifest.Close), left))
	}
	return nil
}

// watched is true if a load balancer was seen on a listener that closes for the restart.
func (s *step) watched() bool {
	return slices.ContainsFunc(s.f.Manifest.Close, func(name string) bool { return s.f.Probes[name].Balancer })
}

// restart restarts the unit, once, and not after what allowed it has become too old.
func (s *step) restart(p Phase, r *Reason, notAfter time.Time) Decision {
	if _, failed := s.f.Failed[ActRestart]; failed {
		s.m.issued = time.Time{}
		if s.tooSoon(ActRestart) {
			return s.wait(p, s.failed(ActRestart), time.Second) // the way back comes here directly
		}
	}
	if !s.m.issued.IsZero() {
		return s.wait(p, because(CodeNoEffect, "the unit was restarted and its process is still %q; if `commands` are used, the status command must print another line for each process", s.f.Unit.Invocation), paceBlocked)
	}
	s.m.issued = s.f.Now
	return s.do(p, r, Action{Kind: ActRestart, NotAfter: notAfter}, 0)
}
