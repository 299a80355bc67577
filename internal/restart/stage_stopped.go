package restart

import "time"

// A broker whose unit is stopped: somebody stopped it, or nobody started it yet. The file is
// made right; starting is theirs to do. A broker that was never seen running
// has nothing to protect, so it needs no agreement: the file must be right
// before it starts for the first time.
func (s *round) stoppedReason() *Reason {
	if s.f.Unit.Queued { // at boot it may wait for this agent: the file is made right all the same
		return because(CodeStopped, "the service manager is about to start the broker (%s)", s.f.Unit.Detail)
	}
	if s.f.Manifest.FileChanges {
		return because(CodeStopped, "the broker is stopped (%s); server.properties is about to be written",
			orNot(s.f.Unit.Detail, "by somebody, or never started"))
	}
	return because(CodeStopped,
		"the broker is stopped (%s); server.properties is as the manifest says, start it when you are done",
		orNot(s.f.Unit.Detail, "by somebody, or never started"))
}

func (s *round) stoppedRefused() *Decision {
	if s.f.Manifest.Refusal == nil {
		return nil
	}
	return s.restRefused(s.f.Manifest.Refusal)
}

// stoppedAsk: a broker that was started by hand next to its unit answers all the same.
func (s *round) stoppedAsk() *Decision {
	if !s.f.Running.At.Before(s.m.mem.process.stoppedAt) && s.recent(s.f.Running.At, paceRest) {
		return nil
	}
	return s.do(s.phaseNow(), s.askedStopped(), Action{Kind: ActRunning}, 0)
}

// askedStopped is what is shown meanwhile: the same as before where it is asked again.
func (s *round) askedStopped() *Reason {
	asked := !s.f.Running.At.Before(s.m.mem.process.stoppedAt)
	switch {
	case asked && s.f.Running.Err == "" && s.phaseNow() == PhaseRefused:
		return s.outside()
	case !asked || s.phaseNow() != PhaseStopped:
		return because(CodeAsking, "asking whether the broker answers, although its unit is stopped")
	}
	if r := s.leftAlone(); r != nil {
		return r
	}
	return s.stoppedReason()
}

func (s *round) stoppedOutside() *Decision {
	if s.f.Running.Err != "" {
		return nil
	}
	return s.drop(PhaseRefused, s.outside(), paceWaiting)
}

func (s *round) stoppedVetoed() *Decision {
	if r := s.leftAlone(); r != nil {
		return s.drop(PhaseStopped, r, paceRest)
	}
	return nil
}

// leftAlone is why the file of a stopped broker must not be written now, or nil.
func (s *round) leftAlone() *Reason {
	if !s.f.Manifest.FileChanges || !s.j.Served {
		return nil
	}
	b := s.vetoed(whileStopped)
	if b == nil {
		return nil
	}
	if away := s.vetoLogAway(); away != nil { // what it said last may have ended
		b = away
	}
	return because(CodeStopped, "the broker is stopped, and its file is left as it is: %s", b.Text())
}

func (s *round) stoppedWrite() *Decision {
	switch {
	case !s.f.Manifest.FileChanges:
		return nil
	case s.tooSoon(ActApply):
		return s.wait(PhaseStopped, s.failed(ActApply), time.Second)
	}
	r := s.stoppedReason()
	if !s.j.Unproven || s.j.Target != s.target {
		// Whoever starts it starts it on a file that has to prove itself.
		return s.save(PhaseStopped, r, s.intend)
	}
	return s.write(PhaseStopped, r)
}

func (s *round) stoppedWait() *Decision { return s.drop(PhaseStopped, s.stoppedReason(), paceRest) }

func (s *round) failed(kind ActionKind) *Reason {
	return because(CodeActionFailed, "%v", s.f.Failed[kind].Err)
}
