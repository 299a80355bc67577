package restart

import (
	"maps"
	"slices"
	"strings"
	"time"
)

func (s *round) restartUnseen() *Decision {
	if s.f.Unit.State != UnitUnknown {
		return nil
	}
	return s.wait(s.phaseNow(), s.unseen(), paceBlocked)
}

func (s *round) wasRestarted() *Decision {
	f, j := s.f, s.j
	if j.Stage != StageRestart {
		return nil
	}
	another := f.Unit.Invocation != j.Invocation && f.Unit.Invocation != ""
	// The order came too late, or did not get there: a process that had ended before is still the same one. Where
	// `commands` are used, nothing names a process that has ended, so a start that failed must count.
	inVain := f.Failed[ActRestart].Count > 0 && f.Unit.Invocation != ""
	if !another && (!s.ended() || s.m.mem.stage.issued.IsZero() || inVain) {
		return nil
	}
	return s.saveStage(StageProve, PhaseStarting, because(CodeStarting, "the process was restarted"),
		func(j *Journal) { s.follow(j, 0) })
}

func (s *round) restartUnderWay() *Decision {
	u := s.f.Unit
	if s.j.Stage != StageRestart || u.State != UnitStopping && u.State != UnitStarting && !u.Queued {
		return nil
	}
	return s.wait(PhaseRestarting, because(CodeRestarting, "the unit is %s", u.State), paceBlocked)
}

// restartRefused: refused, or too late. Where the broker serves on, the probes say the truth again and the
// claim is given back before it is tried once more.
func (s *round) restartRefused() *Decision {
	if s.j.Stage != StageRestart || !s.tooSoon(ActRestart) {
		return nil
	}
	if s.up() {
		return s.giveUp(PhaseWaiting, s.failed(ActRestart))
	}
	return s.wait(PhaseRestarting, s.failed(ActRestart), time.Second)
}

// giveUp ends a restart that has not touched the unit.
func (s *round) giveUp(p Phase, r *Reason) *Decision {
	return s.saveStage(StageNone, p, r, func(*Journal) {})
}

func (s *round) restartedByHand() *Decision {
	if s.j.Stage != StageApply || s.f.Unit.Invocation == "" || s.f.Unit.Invocation == s.j.Invocation {
		return nil
	}
	return s.giveUp(PhaseClaimed, because(CodeStarting, "the broker was restarted meanwhile, and not by this agent"))
}

// restartVetoed checks up to the last moment before the unit is restarted.
func (s *round) restartVetoed() *Decision {
	r := s.stillMine()
	if r == nil {
		return nil
	}
	return s.giveUp(PhaseWaiting, r)
}

// stoppedMeanwhile leaves a broker that somebody stopped alone. One that ended by itself is restarted with
// the file the manifest asks for: nothing more can be lost.
func (s *round) stoppedMeanwhile() *Decision {
	if s.f.Unit.State != UnitStopped || s.f.Unit.Ambiguous {
		return nil
	}
	return s.giveUp(PhaseStopped, because(CodeStopped, "somebody stopped the broker"))
}

func (s *round) writeFile() *Decision {
	switch {
	case !s.f.Manifest.FileChanges && !s.sameAgain():
		return nil
	case s.tooSoon(ActSave):
		return s.wait(PhaseApplying, s.failed(ActSave), time.Second)
	case s.tooSoon(ActApply):
		return s.giveUp(PhaseClaimed, s.failed(ActApply))
	}
	s.m.mem.stage.kept = true
	return s.write(PhaseApplying, because(CodeApplying, "writing server.properties"))
}

// lastPhase is the phase of what is checked right before the unit is restarted.
func (s *round) lastPhase() Phase {
	if s.j.Stage == StageRestart {
		return PhaseRestarting
	}
	return PhaseApplying
}

func onceMore() *Reason { return because(CodeApplying, "checking the gates once more") }

// lastAsk: what the process and its directories say may be of before a hang, a drain, or this agent process.
func (s *round) lastAsk() *Decision {
	switch {
	case !s.up():
		return nil
	case !s.recent(s.f.Running.At, paceWaiting):
		return s.do(s.lastPhase(), onceMore(), Action{Kind: ActRunning}, 0)
	case s.f.Running.Err != "":
		return s.giveUp(PhaseClaimed,
			because(CodeNoAnswer, "the broker does not report its configuration: %s", s.f.Running.Err))
	}
	return nil
}

// lastAppend: an append that is read back is the only proof that the claim still stands.
func (s *round) lastAppend() *Decision {
	if !s.up() || s.recent(s.f.Log.At, near) {
		return nil
	}
	if s.tooSoon(ActAppend) {
		return s.giveUp(PhaseClaimed,
			because(CodeLogUnreadable, "the coordination log cannot be written: %v", s.f.Failed[ActAppend].Err))
	}
	d := s.do(s.lastPhase(), onceMore(), Action{Kind: ActAppend}, 0)
	d.Do.Records = []Record{NewStatus(d.Status)}
	return d
}

func (s *round) lastGates() *Decision {
	if !s.up() || !s.looked() {
		return nil
	}
	b := s.blocked(s.down(nil))
	if b == nil {
		return nil
	}
	return s.giveUp(PhaseClaimed, b)
}

func (s *round) lastObserve() *Decision {
	if !s.up() || s.looked() && s.recent(s.f.Cluster.At, near) {
		return nil
	}
	if r := s.answersLate(); r != nil {
		return s.observe(s.lastPhase(), r, paceBlocked)
	}
	return s.observe(s.lastPhase(), onceMore(), 0)
}

func (s *round) lastProbes() *Decision {
	if !s.up() || !s.m.mem.begun.IsZero() {
		return nil
	}
	s.m.mem.begun = s.f.Now
	return s.do(s.lastPhase(), because(CodeApplying, "informing the probes of the restart"), Action{Kind: ActBegin}, 0)
}

func (s *round) drain() *Decision {
	left := s.m.mem.begun.Add(s.f.Manifest.Drain).Sub(s.f.Now)
	if !s.up() || len(s.f.Manifest.Close) == 0 || left <= 0 || !s.watched() {
		return nil
	}
	r := because(CodeDraining, "the probes of %s are closed; the load balancer moves its clients away",
		strings.Join(s.f.Manifest.Close, ", ")).
		lasting(s.f.Now.Add(left))
	return s.wait(s.lastPhase(), r, left)
}

func (s *round) noteRestart() *Decision {
	if s.j.Stage != StageApply {
		return nil
	}
	return s.saveStage(
		StageRestart,
		PhaseRestarting,
		because(CodeRestarting, "restarting the broker"),
		func(j *Journal) {
			j.Invocation = s.f.Unit.Invocation
		},
	)
}

func (s *round) restartNow() *Decision {
	notAfter := s.f.Now.Add(fresh)
	if s.up() {
		notAfter = earlier(s.f.Log.At, s.f.Cluster.At).Add(fresh)
	}
	return s.restart(PhaseRestarting, because(CodeRestarting, "restarting the broker"), notAfter)
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// sameAgain is true if the restart changes nothing and the last good copy is of an earlier change: the file as it is
// must become the last good one. So it must where there may be no copy at all, since nothing of this agent was ever
// proved: a rollback needs one. A file that this agent has written does not become it.
func (s *round) sameAgain() bool {
	same := maps.Equal(s.j.Before, s.j.Listeners) || s.j.MayBeOld && s.j.Passed == ""
	return s.j.Stage == StageApply && !s.m.mem.stage.kept && !s.f.LastGood && same && s.up()
}

// ended is true if the process is gone for good as far as the service manager is concerned.
func (s *round) ended() bool {
	return (s.f.Unit.State == UnitFailed || s.f.Unit.State == UnitStopped) && !s.f.Unit.Queued
}

// saveStep moves the journal to another step.
func (s *round) saveStage(to Stage, p Phase, r *Reason, change func(*Journal)) *Decision {
	return s.save(p, r, func(j *Journal) {
		j.Stage = to
		change(j)
	})
}

// stillMine returns why the restart that was begun must not go on: it is
// checked up to the last moment before the unit is restarted.
func (s *round) stillMine() *Reason {
	if r := s.vetoLog(); r != nil && r.Code == CodeLogUnreadable && !s.up() {
		return s.vetoed(downAndDeaf) // a broker that is down already may be the one that holds the log
	}
	return s.vetoed(underWay)
}

// watched is true if a load balancer was seen on a listener that closes for the restart.
func (s *round) watched() bool {
	return slices.ContainsFunc(s.f.Manifest.Close, func(name string) bool { return s.f.Probes[name].Balancer })
}

// restart restarts the unit, once, and not after what allowed it has become too old.
func (s *round) restart(p Phase, r *Reason, notAfter time.Time) *Decision {
	if _, failed := s.f.Failed[ActRestart]; failed {
		s.m.mem.stage.issued = time.Time{}
		if s.tooSoon(ActRestart) {
			return s.wait(p, s.failed(ActRestart), time.Second) // the way back comes here directly
		}
	}
	if !s.m.mem.stage.issued.IsZero() {
		return s.wait(
			p,
			because(CodeNoEffect,
				"the unit was restarted and its process is still %q; if `commands` are used, the status command must print another line for each process",
				s.f.Unit.Invocation),
			paceBlocked,
		)
	}
	s.m.mem.stage.issued = s.f.Now
	s.m.mem.wrote = time.Time{} // what this restart starts reads the file that was written before it
	return s.do(p, r, Action{Kind: ActRestart, NotAfter: notAfter}, 0)
}
