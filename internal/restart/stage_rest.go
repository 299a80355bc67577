package restart

import (
	"maps"
	"slices"
	"time"
)

// endPlanned tells the probes that a restart of ours that was announced has ended.
func (s *round) endPlanned() *Decision {
	if s.m.mem.begun.IsZero() {
		return nil
	}
	s.m.mem.begun = time.Time{}
	r := because(CodeSaving, "the planned restart has ended; informing the probes")
	return s.do(s.phaseNow(), r, Action{Kind: ActEnd}, 0)
}

// proveHandStart: a restart that an earlier agent process had asked for, a reboot, or somebody by hand has
// started the broker on a file that has not proved itself.
func (s *round) proveHandStart() *Decision {
	f := s.f
	if !s.j.Unproven || f.Unit.Invocation == "" || f.Unit.Invocation == s.j.Invocation {
		return nil
	}
	notWritten := f.Manifest.FileChanges && f.Manifest.Hash == manifestOf(s.j.Target)
	if notWritten && s.j.Prior == nil {
		// It was to be written, and was not: what was started there is the old one.
		return s.save(s.phaseNow(), because(CodeStarting, "the broker was restarted before server.properties was written"), func(j *Journal) {
			j.Unproven, j.Hidden, j.MayBeOld = false, false, false
		})
	}
	return s.saveStage(
		StageProve,
		PhaseStarting,
		because(CodeStarting, "the broker was started on the new server.properties"),
		func(j *Journal) {
			s.follow(j, f.Unit.Restarts)
			j.MayBeOld = s.m.mem.process.mayBeOld
			if p := j.Prior; notWritten {
				j.Intent, j.Prior = *p, nil
			}
		},
	)
}

// follow begins a proof of the process that runs now. restarts is the service manager's count that is no failure
// yet: its own count where it may have started the process itself, and 0 after a restart that was asked for,
// which sets the count back.
func (s *round) follow(j *Journal, restarts int) {
	j.Followed = Followed{Invocation: s.f.Unit.Invocation, Started: s.f.Now, Starts: 1, Restarts: restarts}
	j.MayBeOld = false
}

// noteActive keeps the journal's copy of the listeners whose probes were opened on all brokers.
func (s *round) noteActive() *Decision {
	if s.f.Log.At.IsZero() {
		return nil
	}
	if s.notedActive() {
		return nil
	}
	active := slices.Sorted(maps.Keys(s.v.Active))
	return s.save(s.phaseNow(), writingDown(), func(j *Journal) { j.Active = active })
}

// notedActive is true if the journal has the listeners that are active by the log.
func (s *round) notedActive() bool {
	for i, name := range s.j.Active {
		if !s.v.Active[name] || i > 0 && name <= s.j.Active[i-1] {
			return false
		}
	}
	return len(s.j.Active) == len(s.v.Active)
}

func writingDown() *Reason {
	return because(CodeSaving, "writing to the journal what the coordination log says")
}

// noteHalt sees to it that a failure of this broker halts the roll-out, and forgets one that an
// operator or a newer manifest has overtaken.
func (s *round) noteHalt() *Decision {
	if s.f.Log.At.IsZero() || s.j.Failed == "" {
		return nil
	}
	_, halted := s.v.Halts[s.j.Failed]
	switch {
	case halted && !s.j.Halted:
		return s.save(PhaseFailed, writingDown(), func(j *Journal) { j.Halted = true })
	case !halted && s.j.Halted:
		return s.save(s.phaseNow(), writingDown(), func(j *Journal) { j.Failure = Failure{} })
	case !halted && !s.tooSoon(ActAppend):
		h := s.newHalt(s.j.Failed)
		p, r := PhaseFailed, because(CodeHalted, "writing a halt for all agents, since the restart failed here: %s", s.j.Why)
		if cannot := s.haltCannotBeWritten(); cannot != nil {
			p, r = s.phaseNow(), cannot
		}
		return s.do(p, r, Action{Kind: ActAppend, Records: []Record{NewHalt(h)}}, 0)
	}
	return nil
}

// haltCannotBeWritten is the reason of one whose halt is not in the log yet, and could not be written last time, or
// nil. It is the same while that is tried and while it is waited for.
func (s *round) haltCannotBeWritten() *Reason {
	e, failed := s.f.Failed[ActAppend]
	if _, halted := s.v.Halts[s.j.Failed]; halted || s.j.Halted || !failed {
		return nil
	}
	return because(CodeLogUnreadable, "the restart failed here (%s), and the halt cannot be written: %s", s.j.Why, e.Err)
}

func (s *round) noManifest() *Decision {
	if s.f.Manifest.Hash != "" || s.f.Unit.State == UnitUnknown {
		return nil
	}
	r := because(CodeNoManifest, "the manifest file cannot be used%s", detail(s.f.Manifest.Fault))
	if s.f.Manifest.NoFile || s.f.Manifest.Fault == "" {
		r = because(CodeNoManifest, "there is no manifest yet%s", detail(s.f.Manifest.Fault))
	}
	return s.drop(PhaseUnmanaged, r, paceRest)
}

func (s *round) whenStopped() *Decision {
	if s.f.Unit.State != UnitStopped {
		return nil
	}
	return s.apply(stoppedRules)
}

// askProcess asks every process again what it runs.
func (s *round) askProcess() *Decision {
	f := s.f
	if f.Unit.State == UnitFailed || !f.Running.At.Before(s.m.mem.process.at) && f.Running.Err == "" {
		return nil
	}
	r := asking()
	if f.Running.Err != "" {
		r = because(CodeNoAnswer, "the broker does not report its configuration: %s", f.Running.Err)
	}
	s.m.mem.judged = judgedMemory{s.target, f.Now}
	return s.look(PhaseUnknown, r, ActRunning, f.Running.At, paceBlocked)
}

func (s *round) noteServed() *Decision {
	if s.f.Unit.State == UnitFailed || s.j.Served {
		return nil
	}
	return s.save(s.phaseNow(), because(CodeSaving, "writing to the journal that the broker runs"),
		func(j *Journal) { j.Served = true })
}

// askForTarget: what the process runs may have got a dynamic value since it was last asked.
func (s *round) askForTarget() *Decision {
	if s.f.Unit.State == UnitFailed || s.m.mem.judged.target == s.target {
		return nil
	}
	s.m.mem.judged = judgedMemory{s.target, s.f.Now}
	return s.do(s.phaseNow(), asking(), Action{Kind: ActRunning}, 0)
}

func asking() *Reason { return because(CodeAsking, "asking the broker's process what it runs") }

func (s *round) haltAtRest() *Decision {
	if s.f.Unit.State == UnitFailed {
		return nil
	}
	return s.haltDropped(s.phaseNow())
}

func (s *round) whenIdle() *Decision {
	if s.f.Unit.State == UnitFailed || s.drifts() {
		return nil
	}
	return s.apply(idleRules)
}

// failedRight: a restart would change nothing.
func (s *round) failedRight() *Decision {
	if s.f.Unit.State != UnitFailed || s.f.Manifest.FileChanges || s.drifts() {
		return nil
	}
	return s.drop(PhaseStopped, s.vetoStopped(), paceRest)
}

// haltDropped halts the roll-out, once for each process, where Kafka has dropped dynamic settings
// at its start: the next broker would lose them too. No file is bad, so nothing is rolled back.
func (s *round) haltDropped(p Phase) *Decision {
	if len(s.f.Running.Dropped) == 0 || s.j.DropNoted == s.f.Unit.Invocation || s.f.Log.At.IsZero() ||
		s.f.Running.At.Before(s.m.mem.process.at) {
		return nil
	}
	r := s.vetoDropped()
	if r == nil {
		return nil
	}
	if s.j.Stage == StageNone &&
		!s.recent(s.f.Running.At, paceWaiting) { // a proof has asked this process, and would begin again
		return s.do(p, r, Action{Kind: ActRunning}, 0) // they may have been set again
	}
	if _, ok := s.v.Halts[s.f.Manifest.Hash]; ok {
		return s.save(p, r, func(j *Journal) { j.DropNoted = s.f.Unit.Invocation })
	}
	if s.tooSoon(ActAppend) {
		return nil
	}
	h := Halt{
		Broker:   s.m.opts.Self,
		Manifest: s.f.Manifest.Hash,
		At:       s.f.Now,
		Cause:    CauseSettings,
		Why:      droppedText(s.f.Running.Dropped),
	}
	return s.do(p, r, Action{Kind: ActAppend, Records: []Record{NewHalt(h)}}, 0)
}

func (s *round) unseen() *Reason {
	return because(CodeUnitUnknown, "the broker's unit cannot be seen: %s", orNot(s.f.Unit.Detail, "not asked yet"))
}

// phaseNow keeps the phase that was: a short observation does not show up as a change.
func (s *round) phaseNow() Phase {
	if s.m.mem.shown.phase != "" {
		return s.m.mem.shown.phase
	}
	return PhaseUnknown
}

// tooSoon spaces repeats of an action that has just failed.
func (s *round) tooSoon(kind ActionKind) bool {
	e, failed := s.f.Failed[kind]
	return failed && s.f.Now.Sub(e.At) < backoff(e.Count)
}

// backoff is the pause after the n-th failure in a row, 1 s to 30 s.
func backoff(n int) time.Duration {
	return min(30*time.Second, time.Second<<min(max(n-1, 0), 5))
}

// drop waits without a claim: one that is held is given back, since it would keep others waiting.
func (s *round) drop(p Phase, r *Reason, pace time.Duration) *Decision {
	c, _, held := s.v.Claim(s.m.opts.Self)
	if !held || s.tooSoon(ActAppend) || s.j.Failed != "" && !s.j.Halted {
		return s.wait(p, r, pace)
	}
	d := s.do(p, r, Action{Kind: ActAppend}, 0)
	// The status goes first: who reads the release has read what it means.
	d.Do.Records = []Record{NewStatus(d.Status), NewRelease(c.Key)}
	return d
}
