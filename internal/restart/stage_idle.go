package restart

import (
	"maps"
	"slices"
)

// idleReason: the process runs what the manifest says.
func (s *round) idleReason() *Reason {
	if d := s.vetoDropped(); d != nil {
		return d
	}
	return because(CodeInSync, "runs what the manifest says")
}

func (s *round) idleClaim() *Decision {
	c, _, held := s.v.Claim(s.m.opts.Self)
	if !held {
		return nil
	}
	if s.j.Target == "" && c.Target == s.target {
		// The journal of the agent process that claimed is lost. Whether it has restarted the broker
		// cannot be seen where a hidden value was to change: what was claimed is done.
		return s.save(s.phaseNow(), s.idleReason(), func(j *Journal) { j.Hidden = true })
	}
	r := s.idleReason()
	if e, failed := s.f.Failed[ActAppend]; failed {
		r = because(CodeLogUnreadable, "the claim cannot be given back: %s", e.Err)
	}
	return s.drop(PhaseIdle, r, paceRest)
}

func (s *round) endRequest() *Decision {
	q := s.v.Request()
	if q == nil || s.j.Request != q.ID || !s.everyoneDone() || !s.lowest() || s.tooSoon(ActAppend) {
		return nil
	}
	return s.do(PhaseIdle, s.idleReason(), Action{Kind: ActAppend, Records: s.v.EndRequests()}, 0)
}

func (s *round) writeFileOnly() *Decision {
	if !s.f.Manifest.FileChanges || s.j.Failed != "" || s.vetoed(fileOnly) != nil {
		return nil
	}
	if s.tooSoon(ActApply) {
		return s.drop(PhaseIdle, s.failed(ActApply), paceRest)
	}
	return s.do(PhaseIdle, because(CodeApplying, "the process is right and server.properties is not: writing it"),
		Action{Kind: ActApply}, 0)
}

func (s *round) noteProved() *Decision {
	if !s.j.Unproven || s.f.Manifest.FileChanges {
		return nil
	}
	return s.save(PhaseIdle, s.idleReason(), func(j *Journal) { j.Unproven, j.MayBeOld = false, false })
}

func (s *round) observeOthers() *Decision {
	if _, known := s.others(); known || !s.f.Cluster.At.IsZero() {
		return nil
	}
	return s.do(PhaseIdle, s.idleReason(), Action{Kind: ActObserve}, 0)
}

func (s *round) idleAsk() *Decision {
	if s.f.Now.Sub(s.f.Running.At) < paceRest {
		return nil
	}
	return s.do(PhaseIdle, s.idleReason(), Action{Kind: ActRunning}, 0)
}

func (s *round) idleRest() *Decision { return s.drop(PhaseIdle, s.idleReason(), paceRest) }

func (s *round) everyoneDone() bool {
	others, known := s.others()
	for _, id := range others {
		st, ok := s.v.Statuses[id]
		if !ok || !s.done(st) {
			return false
		}
	}
	return known
}

// lowest lets one agent speak for all where any of them could.
func (s *round) lowest() bool {
	others, _ := s.others()
	return len(others) == 0 || s.m.opts.Self < others[0]
}

// activate opens the probes of a new listener on all brokers at once, when all
// of them serve it: a client that reaches one broker over a listener that the
// others lack gets LISTENER_NOT_FOUND for all they lead.
func (s *round) activate() *Decision {
	if !s.lowest() || s.vetoed(fileOnly) != nil || !s.everyoneDone() || s.tooSoon(ActAppend) {
		return nil
	}
	others, _ := s.others()
	var records []Record
	for _, name := range slices.Sorted(maps.Keys(s.f.Manifest.Listeners)) {
		if s.v.Active[name] || !s.f.Probes[name].Serving {
			continue
		}
		if !slices.ContainsFunc(others,
			func(id int32) bool { return !slices.Contains(s.v.Statuses[id].Serving, name) }) {
			records = append(records, NewActive(name))
		}
	}
	for _, name := range s.f.Manifest.Absent {
		if s.v.Active[name] {
			records = append(records, NewInactive(name))
		}
	}
	if len(records) == 0 {
		return nil
	}
	return s.do(PhaseIdle, s.idleReason(), Action{Kind: ActAppend, Records: records}, 0)
}

// allowed lists the listeners whose probes may be open. The log decides; while
// it cannot be read, what it said last. An agent that remembers nothing leaves
// them as they are: nil.
func (s *round) allowed() []string {
	switch {
	case !s.f.Log.At.IsZero():
		if s.notedActive() && s.j.Active != nil {
			return s.j.Active
		}
		return sortedKeys(s.v.Active, []string{})
	case s.j.Version == 0:
		return nil
	default:
		return append([]string{}, s.j.Active...)
	}
}
