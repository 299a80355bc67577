package restart

import (
	"fmt"
	"maps"
	"slices"
)

func (s *round) noteHalted() *Decision {
	if !s.halted() || s.j.Halted {
		return nil
	}
	r := s.rollingBack("writing to the journal that the halt is in the log")
	if s.j.Stage == StageNeedsOperator {
		r = s.operatorReason()
	}
	return s.save(s.phaseNow(), r, func(j *Journal) { j.Halted = true })
}

func (s *round) rollingBack(doing string) *Reason {
	return because(CodeRollingBack, "%s; %s", s.j.Why, doing)
}

func (s *round) halt() []Record {
	return []Record{NewHalt(s.newHalt(manifestOf(s.j.Target)))}
}

// unhalted is the manifest that failed here and whose halt was not read back from the log yet, or "".
func (s *round) unhalted() string {
	if s.j.Halted {
		return ""
	}
	switch s.j.Stage {
	case StageRestore, StageUndo, StageProveUndo, StageNeedsOperator:
		return manifestOf(s.j.Target)
	default:
		return s.j.Failed
	}
}

// newHalt is the halt of a manifest for what the journal says has failed.
func (s *round) newHalt(manifest string) Halt {
	return Halt{Broker: s.m.opts.Self, Manifest: manifest, Why: s.j.Why, Cause: s.j.cause(), At: s.f.Now}
}

// haltText says what a halt is for, and what ends it.
func (s *round) haltText(h Halt) string {
	const again = "`kpls-agent resume` to try it again"
	back := ""
	if st := s.v.Statuses[h.Broker]; st.Phase == PhaseFailed && st.Reason.Code == CodeHalted {
		back = " and was rolled back"
	}
	switch h.Cause {
	case CauseBroker:
		return fmt.Sprintf("broker %d did not come back from a restart that changed nothing in server.properties: %s; "+
			"correct the cause on that broker, then %s", h.Broker, h.Why, again)
	case CauseEdits:
		return fmt.Sprintf(
			"broker %d failed with edits of server.properties that are not the manifest's%s: %s; correct them there, then %s",
			h.Broker, back, h.Why, again)
	case CauseRequest:
		return fmt.Sprintf("broker %d did not come back from the rolling restart that was asked for%s: %s; "+
			"correct the cause on that broker, then %s", h.Broker, back, h.Why, again)
	case CauseSettings:
		return fmt.Sprintf(
			"broker %d serves, and Kafka dropped dynamic settings at its start: %s; set them again there, see on every broker that "+
				"`kpls-agent plan` finds none that would be dropped, then `kpls-agent resume`",
			h.Broker,
			h.Why,
		)
	default:
		return fmt.Sprintf("broker %d failed with this manifest%s: %s; correct the manifest, or %s", h.Broker, back,
			h.Why, again)
	}
}

func (s *round) halted() bool {
	_, ok := s.v.Halts[manifestOf(s.j.Target)]
	return ok
}

// haltFirst is tried once here: where the log is down with this broker, the claim keeps the others back.
func (s *round) haltFirst() *Decision {
	if s.j.Halted || s.m.mem.stage.haltTried {
		return nil
	}
	s.m.mem.stage.haltTried = true
	r := s.rollingBack("writing a halt for all agents")
	return s.do(PhaseRollback, r, Action{Kind: ActAppend, Records: s.halt()}, 0)
}

func (s *round) restoreFile() *Decision {
	if s.f.LastGood {
		return nil
	}
	if s.tooSoon(ActRestore) {
		return s.wait(PhaseRollback, s.failed(ActRestore), paceBlocked)
	}
	r := s.rollingBack("restoring the last good server.properties")
	return s.do(PhaseRollback, r, Action{Kind: ActRestore}, 0)
}

// undoUnseen waits: else any process would count as the one that was restarted.
func (s *round) undoUnseen() *Decision {
	if s.f.Unit.State != UnitUnknown {
		return nil
	}
	return s.wait(PhaseRollback, s.unseen(), paceBlocked)
}

// undoNeedless: the process was started on what the file was before, so a second restart would change nothing.
func (s *round) undoNeedless() *Decision {
	if s.f.Unit.State != UnitRunning || !s.runsBefore() {
		return nil
	}
	r := s.rollingBack("the process runs what it ran before")
	return s.saveStage(StageProveUndo, PhaseRollback, r, func(j *Journal) { s.follow(j, s.f.Unit.Restarts) })
}

func (s *round) noteUndo() *Decision {
	return s.saveStage(StageUndo, PhaseRollback, s.undoReason(),
		func(j *Journal) { j.Invocation = s.f.Unit.Invocation })
}

func (s *round) undoReason() *Reason {
	return s.rollingBack("restarting on the last good server.properties")
}

// undoTried is undoReason, or why the restart failed where it is about to be tried again.
func (s *round) undoTried() *Reason {
	if s.triedAgain(ActRestart) {
		return s.failed(ActRestart)
	}
	return s.undoReason()
}

// editsText names edits of others in server.properties as it was before the restart.
func (s *round) editsText() string {
	if s.j.Edits == "" {
		return ""
	}
	return "; that file had an edit that no process had run: " + s.j.Edits
}

// runsBefore is true if the process is known to have been started on what ran before the restart:
// nothing that it does not show was to change, and no dynamic configuration covers its file.
func (s *round) runsBefore() bool {
	r := s.f.Running
	return !s.j.Hidden && !s.j.BeforeUnknown && !s.j.unchanged() && s.j.Edits == "" && r.Err == "" &&
		r.Listeners != nil &&
		len(r.Dynamic) == 0 &&
		!r.At.Before(s.m.mem.process.at) &&
		differs(r.Listeners, s.j.Before, s.gone()).kind == noDifference
}

// undone: the service manager may have started the process on the last good file itself.
func (s *round) undone() *Decision {
	another := s.f.Unit.Invocation != s.j.Invocation && s.f.Unit.Invocation != ""
	if !another && (!s.ended() || s.m.mem.stage.issued.IsZero() || s.f.Failed[ActRestart].Count > 0) {
		return nil
	}
	return s.saveStage(StageProveUndo, PhaseRollback, s.undoReason(),
		func(j *Journal) { s.follow(j, s.f.Unit.Restarts) })
}

func (s *round) undoQueued() *Decision {
	if !s.f.Unit.Queued {
		return nil
	}
	return s.wait(PhaseRollback, s.undoReason(), paceBlocked)
}

// undoNeeded: a broker that is up on the wrong configuration may hold replicas that others need by now. It is
// taken down with the same care as any other; so is one that kept ending until the service manager
// started it on the good file.
func (s *round) undoNeeded() *Decision {
	if s.f.Unit.State != UnitRunning || s.tooSoon(ActRestart) {
		return nil // the restart has just failed: the cluster is of interest when it is tried again
	}
	if s.f.Cluster.At.Before(s.m.mem.process.at) || s.f.Cluster.At.Before(s.m.mem.stage.at) {
		return s.observe(PhaseRollback, s.undoTried(), 0)
	}
	if b := s.unseenByOthers(); b != nil {
		return s.undoUnheard(b)
	}
	if b := s.needed(); b != nil {
		return s.observe(PhaseRollback, b, paceBlocked)
	}
	if !s.recent(s.f.Cluster.At, near) {
		if r := s.answersLate(); r != nil {
			return s.observe(PhaseRollback, r, paceBlocked)
		}
		return s.observe(PhaseRollback, s.undoTried(), 0)
	}
	return nil
}

// unseenByOthers returns why the views do not tell whether others need this broker: too few of them say anything. One
// that says that this broker is fenced may be cut off itself, and say what was.
func (s *round) unseenByOthers() *Reason {
	if s.alone() {
		return nil
	}
	return s.gateViews(nil)
}

// undoUnheard is for a broker of which too little can be seen. Where nobody listens on its port, no client and no
// follower reaches it, and it waits for no view. Else all brokers that were started on a bad manifest would wait for
// one another. Its port is tried after the others were asked, so both are of this moment. Where no broker answers,
// nobody must listen at the others either: this agent alone may be cut off, and they may need this broker's vote.
func (s *round) undoUnheard(why *Reason) *Decision {
	if len(s.f.Cluster.Views) == 0 && !s.allDown() {
		return s.observe(PhaseRollback, why, paceBlocked)
	}
	if s.f.Running.At.Before(s.f.Cluster.At) {
		return s.do(PhaseRollback, why, Action{Kind: ActRunning}, 0)
	}
	if !s.recent(s.f.Running.NobodyListens, near) {
		return s.observe(PhaseRollback, why, paceBlocked)
	}
	if b := s.voteNeeded(); b != nil {
		return s.observe(PhaseRollback, b, paceBlocked)
	}
	return nil
}

// allDown is true if nobody listens at any broker that was ever heard of.
func (s *round) allDown() bool {
	listens := func(id int32) bool { return id != s.m.opts.Self && !slices.Contains(s.f.Cluster.NobodyListens, id) }
	for id := range s.v.Statuses {
		if listens(id) {
			return false
		}
	}
	others, _ := s.others()
	return !slices.ContainsFunc(others, listens)
}

func (s *round) undoRestart() *Decision {
	notAfter := s.f.Now.Add(fresh)
	switch {
	case s.f.Unit.State != UnitRunning:
	case s.unseenByOthers() != nil:
		notAfter = s.f.Running.NobodyListens.Add(fresh)
	default:
		notAfter = s.f.Cluster.At.Add(fresh)
	}
	return s.restart(PhaseRollback, s.undoReason(), notAfter)
}

// needed returns why a broker that runs on the wrong configuration must not go
// just now. One that others see fenced holds no replica, but may still have a
// vote in a quorum that would be none without it.
func (s *round) needed() *Reason {
	if !s.inAny(s.m.opts.Self) {
		return s.voteNeeded()
	}
	counted := s.down(nil)
	for _, check := range []func([]away) *Reason{s.gateViews, s.gatePartitions, s.gateQuorum} {
		if b := check(counted); b != nil {
			return b
		}
	}
	return nil
}

// voteNeeded returns why the quorum needs the vote of a broker that holds no replica, or nil.
func (s *round) voteNeeded() *Reason {
	q := s.f.Cluster.Quorum
	if q == nil || q.Leader < 0 ||
		!slices.ContainsFunc(q.Voters, func(v Voter) bool { return v.ID == s.m.opts.Self && v.caughtUp() }) {
		return nil
	}
	return s.gateQuorum(s.down(nil))
}

// alone is true if no other broker was ever heard of.
func (s *round) alone() bool {
	for id := range s.v.Statuses {
		if id != s.m.opts.Self {
			return false
		}
	}
	others, _ := s.others()
	return len(others) == 0
}

// haltLate: it could not be written before; from now on there is no haste.
func (s *round) haltLate() *Decision {
	if s.j.Halted || s.halted() || s.f.Log.Err != "" || s.f.Log.At.IsZero() || s.tooSoon(ActAppend) {
		return nil
	}
	r := s.rollingBack("writing a halt for all agents")
	return s.do(PhaseRollback, r, Action{Kind: ActAppend, Records: s.halt()}, 0)
}

// undoJudgement expects what the process ran before.
func (s *round) undoJudgement() *proof {
	if !s.examined {
		want, gone := s.j.Before, s.gone()
		if s.j.BeforeUnknown {
			want, gone = nil, nil
		}
		s.proof, s.examined = s.examine(want, gone), true
	}
	return &s.proof
}

func (s *round) undoFailed() *Decision {
	p := s.undoJudgement()
	if p.failure == "" {
		return nil
	}
	r := because(CodeNeedsOperator, "%s; the last good server.properties was restored and does not start either: %s",
		s.j.Why, p.failure)
	return s.saveStage(StageNeedsOperator, PhaseFailed, r, func(*Journal) {})
}

func (s *round) undoWait() *Decision {
	p := s.undoJudgement()
	if p.waiting == nil {
		return nil
	}
	if p.waiting.Code != CodeDynamicConfig { // for which an operator has to do something
		p.waiting = because(CodeRollingBack, "%s; rolled back: %s", s.j.Why, p.waiting.Text())
	}
	p.phase = PhaseRollback
	return s.lookOn(p)
}

// gone lists the listeners of the failed target that the process did not have before.
func (s *round) gone() []string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(s.j.Listeners)) {
		if _, ok := s.j.Before[name]; !ok {
			out = append(out, name)
		}
	}
	return out
}

func (s *round) putBack() *Decision {
	return s.saveStage(StageNone, PhaseFailed, because(CodeHalted, "rolled back and serving"), func(j *Journal) {
		j.Failed, j.FileState = manifestOf(j.Target), FileState{}
	})
}

// operatorReason: somebody must bring the broker back. The claim is kept meanwhile.
func (s *round) operatorReason() *Reason {
	resumed := ""
	if s.j.Halted && !s.halted() && !s.f.Log.At.IsZero() {
		resumed = "; `kpls-agent resume` was heard: the restart is tried again once it serves"
	}
	return because(
		CodeNeedsOperator,
		"%s; server.properties is as it was before, and the broker does not serve with that either (%s)%s: "+
			"see its log, repair it and start it%s",
		s.j.Why,
		orNot(s.f.Unit.Detail, string(s.f.Unit.State)),
		s.editsText(),
		resumed,
	)
}

func (s *round) operatorHalt() *Decision {
	if s.j.Halted || s.f.Log.At.IsZero() || s.tooSoon(ActAppend) {
		return nil
	}
	return s.do(PhaseFailed, s.operatorReason(), Action{Kind: ActAppend, Records: s.halt()}, 0)
}

func (s *round) operatorDown() *Decision {
	if s.f.Unit.State == UnitRunning {
		return nil
	}
	if s.f.Unit.State == UnitUnknown {
		return s.wait(PhaseFailed, s.unseen(), paceBlocked)
	}
	return s.wait(PhaseFailed, s.operatorReason(), paceBlocked)
}

func (s *round) operatorStarted() *Decision {
	if s.f.Unit.Invocation == s.j.Invocation {
		return nil
	}
	return s.save(PhaseFailed, s.operatorReason(), func(j *Journal) { s.follow(j, s.f.Unit.Restarts) })
}

// operatorServes: whatever the operator has brought it up with, that it serves is enough to give the claim back.
func (s *round) operatorServes() *Decision {
	p := s.examine(nil, nil)
	switch {
	case p.failure != "":
		return nil
	case p.waiting == nil:
		return s.putBack()
	}
	if p.phase != PhaseCatchingUp { // else it serves again, and waits for what its place in the cluster needs
		p.waiting = s.operatorReason()
	}
	p.phase = PhaseFailed
	return s.lookOn(&p)
}

func (s *round) operatorAsk() *Decision {
	return s.look(PhaseFailed, s.operatorReason(), ActRunning, s.f.Running.At, paceBlocked)
}
