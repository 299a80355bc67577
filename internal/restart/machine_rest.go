package restart

import (
	"maps"
	"slices"
	"strconv"
	"time"
)

// atRest decides while no restart of ours is under way.
func (s *step) atRest() Decision {
	f := s.f
	if !s.m.begun.IsZero() {
		s.m.begun = time.Time{}
		return s.do(s.phaseNow(), because(CodeReleasing, "the planned restart has ended"), Action{Kind: ActEnd}, 0)
	}
	if s.j.Unproven && f.Unit.Invocation != "" && f.Unit.Invocation != s.j.Invocation {
		notWritten := f.Manifest.FileChanges && f.Manifest.Hash == manifestOf(s.j.Target)
		if notWritten && s.j.Prior == nil {
			// It was to be written, and was not: what was started there is the old one.
			return s.save(s.phaseNow(), because(CodeStarting, "somebody has restarted the broker"), func(j *Journal) { j.Unproven, j.Hidden = false, false })
		}
		// A restart that an earlier life had asked for, a reboot, somebody's hand: the
		// broker was started on a file that has not proved itself.
		return s.saveStep(StepProve, PhaseStarting, because(CodeStarting, "the broker was started on the new server.properties"), func(j *Journal) {
			j.Invocation, j.Starts, j.Started, j.Restarts = f.Unit.Invocation, 1, f.Now, f.Unit.Restarts
			if p := j.Prior; notWritten {
				j.Target, j.Listeners, j.Absent, j.RequestID, j.Prior = p.Target, p.Listeners, p.Absent, p.RequestID, nil
			}
		})
	}
	if d, ok := s.bookkeeping(); ok {
		return d
	}
	switch {
	case f.Manifest.Hash == "" && f.Unit.State != UnitUnknown:
		return s.drop(PhaseUnmanaged, because(CodeNoManifest, "there is no manifest yet%s", detail(f.Manifest.Fault)), paceRest)
	case f.Unit.State == UnitStopped:
		return s.stopped()
	}
	if d, ok := s.holdBack(judging); ok {
		return d
	}
	if f.Unit.State != UnitFailed {
		// What the process runs is asked anew for every process, and now and then.
		if f.Running.At.Before(s.m.processAt) || f.Running.Err != "" {
			r := because(CodeNoAnswer, "the broker does not tell its configuration: %s", orNot(f.Running.Err, "not asked yet"))
			s.m.judged, s.m.judgedAt = s.target, f.Now
			return s.look(PhaseUnknown, r, ActRunning, f.Running.At, paceBlocked)
		}
		if !s.j.Served {
			return s.save(s.phaseNow(), because(CodeInSync, "the broker was seen running"), func(j *Journal) { j.Served = true })
		}
		if s.m.judged != s.target {
			// What the process runs may have got a dynamic value since it was last asked.
			s.m.judged, s.m.judgedAt = s.target, f.Now
			return s.do(s.phaseNow(), because(CodeClusterUnknown, "looking at the process for the new manifest"), Action{Kind: ActRunning}, 0)
		}
		if d, ok := s.holdBack(answered); ok {
			return d
		}
		if d, ok := s.haltDropped(s.phaseNow()); ok {
			return d
		}
		if s.drift() == "" {
			return s.idle()
		}
	} else if !f.Manifest.FileChanges && s.drift() == "" {
		return s.drop(PhaseStopped, because(CodeStopped, "the broker has failed (%s) with the server.properties the manifest asks for; see its log, mend it and start it", f.Unit.Detail), paceRest)
	}
	if d, ok := s.holdBack(beforeClaim); ok {
		return d
	}
	return s.claim(s.drift())
}

// haltDropped halts the roll-out, once for each process, where Kafka has dropped dynamic settings
// at its start: the next broker would lose them too. No file is bad, so nothing is put back.
func (s *step) haltDropped(p Phase) (Decision, bool) {
	if len(s.f.Running.Dropped) == 0 || s.j.DropNoted == s.f.Unit.Invocation || s.f.Log.At.IsZero() || s.f.Running.At.Before(s.m.processAt) {
		return Decision{}, false
	}
	r := s.vetoDropped()
	if r == nil {
		return Decision{}, false
	}
	if s.j.Step == StepNone && !s.recent(s.f.Running.At, paceWaiting) { // a proof has asked this process, and would begin anew
		return s.do(p, r, Action{Kind: ActRunning}, 0), true // they may have been set again
	}
	if _, ok := s.v.Halts[s.f.Manifest.Hash]; ok {
		return s.save(p, r, func(j *Journal) { j.DropNoted = s.f.Unit.Invocation }), true
	}
	if s.tooSoon(ActAppend) {
		return Decision{}, false
	}
	h := Halt{
		Broker: s.m.opts.Self, Manifest: s.f.Manifest.Hash, At: s.f.Now, Cause: CauseSettings, Why: droppedText(s.f.Running.Dropped),
	}
	return s.do(p, r, Action{Kind: ActAppend, Records: []Record{NewHalt(h)}}, 0), true
}

func (s *step) unseen() *Reason {
	return because(CodeUnitUnknown, "the broker's unit cannot be seen: %s", orNot(s.f.Unit.Detail, "not asked yet"))
}

// phaseNow keeps the phase that was, so that a short look does not show up as a change.
func (s *step) phaseNow() Phase {
	if s.m.phase != "" {
		return s.m.phase
	}
	return PhaseUnknown
}

// bookkeeping keeps the journal's copies of what the log says, and forgets a
// failure that an operator or a new manifest has overtaken.
func (s *step) bookkeeping() (Decision, bool) {
	r := because(CodeReleasing, "writing down what the log says")
	if s.f.Log.At.IsZero() {
		return Decision{}, false
	}
	if active := slices.Sorted(maps.Keys(s.v.Active)); !slices.Equal(active, s.j.Active) {
		return s.save(s.phaseNow(), r, func(j *Journal) { j.Active = active }), true
	}
	if s.j.Failed == "" {
		return Decision{}, false
	}
	_, halted := s.v.Halts[s.j.Failed]
	switch {
	case halted && !s.j.Halted:
		return s.save(PhaseFailed, r, func(j *Journal) { j.Halted = true }), true
	case !halted && s.j.Halted:
		return s.save(s.phaseNow(), r, func(j *Journal) { j.Failed, j.Halted, j.Why = "", false, "" }), true
	case !halted && !s.tooSoon(ActAppend):
		h := s.newHalt(s.j.Failed)
		p, r := PhaseFailed, because(CodeHalted, "telling everyone that the manifest failed here: %s", s.j.Why)
		if e, failed := s.f.Failed[ActAppend]; failed {
			p, r = s.phaseNow(), because(CodeLogUnreadable, "the manifest failed here (%s), and the halt cannot be written: %s", s.j.Why, e.Err)
		}
		return s.do(p, r, Action{Kind: ActAppend, Records: []Record{NewHalt(h)}}, 0), true
	}
	return Decision{}, false
}

// tooSoon spaces repeats of an action that has just failed.
func (s *step) tooSoon(kind ActionKind) bool {
	e, failed := s.f.Failed[kind]
	return failed && s.f.Now.Sub(e.At) < backoff(e.Count)
}

// backoff is the pause after the n-th failure in a row, 1 s to 30 s.
func backoff(n int) time.Duration {
	return min(30*time.Second, time.Second<<min(max(n-1, 0), 5))
}

// drop waits without a claim: one that is held is given back, since it would keep others waiting.
func (s *step) drop(p Phase, r *Reason, pace time.Duration) Decision {
	c, _, held := s.v.Claim(s.m.opts.Self)
	if !held || s.tooSoon(ActAppend) || s.j.Failed != "" && !s.j.Halted {
		return s.wait(p, r, pace)
	}
	d := s.do(p, r, Action{Kind: ActAppend}, 0)
	// The status goes first: who reads the release has read what it means.
	d.Do.Records = []Record{NewStatus(d.Status), NewRelease(c.Key)}
	return d
}

// stopped: somebody stopped the broker, or nobody started it yet. The file is
// made right; starting is theirs to do. A broker that was never seen running
// has nothing to protect, so it needs no agreement: the file must be right
// before it starts for the first time.
func (s *step) stopped() Decision {
	f := s.f
	r := because(CodeStopped, "the broker is stopped (%s); server.properties is as the manifest says, start it when you are done", orNot(f.Unit.Detail, "by somebody, or never started"))
	if f.Unit.Queued { // at boot it may wait for this agent: the file is made right all the same
		r = because(CodeStopped, "the service manager is about to start the broker (%s)", f.Unit.Detail)
	}
	if f.Manifest.Refusal != nil {
		return s.restRefused(f.Manifest.Refusal)
	}
	// A broker that was started by hand beside its unit answers all the same.
	if f.Running.At.Before(s.m.stoppedAt) || !s.recent(f.Running.At, paceRest) {
		return s.do(s.phaseNow(), r, Action{Kind: ActRunning}, 0)
	}
	if f.Running.Err == "" {
		return s.drop(PhaseRefused, s.outside(), paceWaiting)
	}
	if f.Manifest.FileChanges {
		if s.j.Served {
			if b := s.vetoed(whileStopped); b != nil {
				return s.drop(PhaseStopped, because(CodeStopped, "the broker is stopped, and its file is left as it is: %s", b.Text), paceRest)
			}
		}
		if s.tooSoon(ActApply) {
			return s.wait(PhaseStopped, s.failed(ActApply), time.Second)
		}
		if !s.j.Unproven || s.j.Target != s.target {
			// Whoever starts it starts it on a file that has to prove itself.
			return s.save(PhaseStopped, r, s.intend)
		}
		return s.do(PhaseStopped, r, Action{Kind: ActApply}, 0)
	}
	return s.drop(PhaseStopped, r, paceRest)
}

func (s *step) failed(kind ActionKind) *Reason {
	return because(CodeActionFailed, "%v", s.f.Failed[kind].Err)
}

// idle: the process runs what the manifest says.
func (s *step) idle() Decision {
	f := s.f
	r := because(CodeInSync, "runs what the manifest says")
	if d := s.vetoDropped(); d != nil {
		r = d
	}
	if c, _, held := s.v.Claim(s.m.opts.Self); held {
		if s.j.Target == "" && c.Target == s.target {
			// The journal of the life that claimed is lost. Whether it has restarted the broker
			// cannot be seen where a hidden value was to change: what was claimed is done.
			return s.save(s.phaseNow(), r, func(j *Journal) { j.Hidden = true })
		}
		return s.drop(PhaseIdle, r, paceRest)
	}
	if q := s.v.Request(); q != nil && s.j.Request == q.ID && s.everyoneDone() && s.lowest() && !s.tooSoon(ActAppend) {
		var records []Record
		for _, q := range s.v.Requests {
			records = append(records, NewRequestDone(q.ID))
		}
		return s.do(PhaseIdle, r, Action{Kind: ActAppend, Records: records}, 0)
	}
	if f.Manifest.FileChanges && s.j.Failed == "" && s.vetoed(fileOnly) == nil {
		if s.tooSoon(ActApply) {
			return s.drop(PhaseIdle, s.failed(ActApply), paceRest)
		}
		return s.do(PhaseIdle, because(CodeApplying, "the process is right and server.properties is not: writing it"), Action{Kind: ActApply}, 0)
	}
	if s.j.Unproven && !f.Manifest.FileChanges {
		return s.save(PhaseIdle, r, func(j *Journal) { j.Unproven = false })
	}
	if d, ok := s.activate(r); ok {
		return d
	}
	if s.f.Now.Sub(f.Running.At) >= paceRest {
		return s.do(PhaseIdle, r, Action{Kind: ActRunning}, 0)
	}
	return s.drop(PhaseIdle, r, paceRest)
}

func (s *step) everyoneDone() bool {
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
func (s *step) lowest() bool {
	others, _ := s.others()
	return len(others) == 0 || s.m.opts.Self < others[0]
}

// activate opens the probes of a new listener on all brokers at once, when all
// of them serve it: a client that reaches one broker over a listener that the
// others lack gets LISTENER_NOT_FOUND for all they lead.
func (s *step) activate(r *Reason) (Decision, bool) {
	if _, known := s.others(); !known && s.f.Cluster.At.IsZero() {
		return s.do(PhaseIdle, r, Action{Kind: ActObserve}, 0), true
	}
	if !s.lowest() || s.vetoed(fileOnly) != nil || !s.everyoneDone() || s.tooSoon(ActAppend) {
		return Decision{}, false
	}
	others, _ := s.others()
	var records []Record
	for _, name := range slices.Sorted(maps.Keys(s.f.Manifest.Listeners)) {
		if s.v.Active[name] || !s.f.Probes[name].Serving {
			continue
		}
		if !slices.ContainsFunc(others, func(id int32) bool { return !slices.Contains(s.v.Statuses[id].Serving, name) }) {
			records = append(records, NewActive(name))
		}
	}
	for _, name := range s.f.Manifest.Absent {
		if s.v.Active[name] {
			records = append(records, NewInactive(name))
		}
	}
	if len(records) == 0 {
		return Decision{}, false
	}
	return s.do(PhaseIdle, r, Action{Kind: ActAppend, Records: records}, 0), true
}

// allowed lists the listeners whose probes may be open. The log decides; while
// it cannot be read, what it said last. An agent that remembers nothing leaves
// them as they are: nil.
func (s *step) allowed() []string {
	switch {
	case !s.f.Log.At.IsZero():
		return slices.AppendSeq([]string{}, slices.Values(slices.Sorted(maps.Keys(s.v.Active))))
	case s.j.Version == 0:
		return nil
	default:
		return append([]string{}, s.j.Active...)
	}
}

// claim appends a claim, and once it has been read back evaluates the gates on
// what was seen after that.
func (s *step) claim(why string) Decision {
	_, place, held := s.v.Claim(s.m.opts.Self)
	if !held {
		if d, blocked := s.second(); blocked {
			return d
		}
		r := because(CodeClaiming, "%s; claiming the restart", why)
		if e, failed := s.f.Failed[ActAppend]; failed {
			r = because(CodeLogUnreadable, "the claim cannot be written: %s", e.Err)
		}
		if s.tooSoon(ActAppend) {
			return s.wait(PhaseWaiting, r, paceBlocked)
		}
		if s.m.nonce == "" {
			s.m.nonce = s.f.Nonce
		}
		claim := Claim{Broker: s.m.opts.Self, Zone: s.zone(s.m.opts.Self), Target: s.target, At: s.f.Now}
		return s.do(PhaseWaiting, r, Action{Kind: ActAppend, Records: []Record{NewClaim(claim, s.m.nonce)}}, 0)
	}
	r := because(CodeClaiming, "%s; checking the gates", why)
	if !s.looked() {
		return s.observe(PhaseClaimed, r, 0)
	}
	if b := s.blocked(); b != nil {
		if place > 0 || len(s.undoing()) > 0 {
			return s.drop(PhaseWaiting, b, paceRest) // the first, or one on its way back, must not wait for one that waits for it
		}
		return s.observe(PhaseClaimed, b, paceBlocked)
	}
	if !s.recent(s.f.Cluster.At, near) {
		return s.observe(PhaseClaimed, r, 0) // to forbid, an older look is enough; to allow, it is not
	}
	if s.up() && (s.f.Running.At.Before(s.m.claimedAt) || !s.recent(s.f.Running.At, paceWaiting)) {
		return s.do(PhaseClaimed, r, Action{Kind: ActRunning}, 0)
	}
	if s.tooSoon(ActAppend) {
		return s.wait(PhaseClaimed, s.failed(ActAppend), time.Second)
	}
	return s.save(PhaseApplying, because(CodeApplying, "%s", why), func(j *Journal) {
		s.intend(j)
		j.Step = StepApply
	})
}

// intend notes what server.properties is about to be written for, so that
// whoever starts a process on it, that process has to prove itself.
func (s *step) intend(j *Journal) {
	if j.Unproven && j.Target != "" && manifestOf(j.Target) != s.f.Manifest.Hash {
		j.Prior = &Intent{j.Target, j.Listeners, j.Absent, j.RequestID}
	}
	j.Target, j.Listeners, j.Absent, j.RequestID = s.target, s.f.Manifest.Listeners, s.f.Manifest.Absent, ""
	if q := s.v.Request(); q != nil {
		j.RequestID = q.ID
	}
	j.Before, j.BeforeUnknown = map[string]string{}, s.f.Running.Listeners == nil
	for _, name := range slices.AppendSeq(slices.Clone(j.Absent), maps.Keys(j.Listeners)) {
		if had, ok := s.f.Running.Listeners[name]; ok {
			j.Before[name] = had
		}
	}
	j.Hidden = j.Hidden || s.f.Manifest.HiddenChanges
	j.Edits = ""
	if list := s.f.Manifest.Pending; len(list) > 0 {
		j.Edits = editText(list[0]) + andMore(list)
	}
	j.Invocation, j.Why, j.Starts, j.Started, j.Unproven = s.f.Unit.Invocation, "", 0, s.f.Now, true
}

// second holds back a claim beside another one, one that may be made just now, or a broker on
// its way back, until the gates would let both go, since a claim counts its broker as away in the
// eyes of the others.
func (s *step) second() (Decision, bool) {
	others := append(s.ahead(), s.undoing()...)
	for _, c := range s.v.Claims {
		others = append(others, c.Broker)
	}
	if len(others) == 0 {
		return Decision{}, false
	}
	r := because(CodeClaiming, "checking whether this broker may go together with broker %d", others[0])
	if !s.recent(s.f.Cluster.At, fresh) {
		return s.observe(PhaseWaiting, r, 0), true
	}
	if b := s.blocked(); b != nil {
		return s.observe(PhaseWaiting, b, paceBlocked), true
	}
	return Decision{}, false
}

// undoing returns the other brokers that are being put back, with a claim or without.
func (s *step) undoing() []int32 {
	var out []int32
	for id, st := range s.v.Statuses {
		if id != s.m.opts.Self && st.Phase == PhaseRollback {
			out = append(out, id)
		}
	}
	slices.Sort(out)
	return out
}

// closing returns what keeps a removal from starting: a probe that is still
// open for a listener that is to go, anywhere.
func (s *step) closing() *Reason {
	for _, name := range s.f.Manifest.Absent {
		if s.v.Active[name] {
			return because(CodeProbesClosing, "the probes of %s close before it is taken away", name)
		}
		for _, id := range slices.Sorted(maps.Keys(s.v.Statuses)) {
			if slices.Contains(s.v.Statuses[id].Open, name) {
				return because(CodeProbesClosing, "the probe of %s on broker %d is still open", name, id)
			}
		}
	}
	return nil
}

func (s *step) closeFirst(r *Reason) Decision {
	var records []Record
	for _, name := range s.f.Manifest.Absent {
		if s.v.Active[name] {
			records = append(records, NewInactive(name))
		}
	}
	if e, failed := s.f.Failed[ActAppend]; failed && len(records) > 0 {
		r = because(CodeLogUnreadable, "the probes of %s close before it is taken away, and that cannot be written to the coordination log: %s", s.f.Manifest.Absent[0], e.Err)
	}
	if len(records) == 0 || s.tooSoon(ActAppend) {
		return s.wait(PhaseWaiting, r, paceBlocked)
	}
	return s.do(PhaseWaiting, r, Action{Kind: ActAppend, Records: records}, 0)
}

// takeover takes the claim of a dead agent away: only one that had said that its
// broker is done, and did not live to give the claim back, and whose broker is
// provably healthy in every view. Anything else needs an operator.
func (s *step) takeover() (Decision, bool) {
	for _, c := range s.v.Claims {
		st, ok := s.v.Statuses[c.Broker]
		long := max(s.m.opts.Takeover, s.silent())
		if c.Broker == s.m.opts.Self || !ok || !s.finished(st) || s.silence(st) < long || s.f.Now.Sub(s.m.heard[c.Broker].at) < long || !s.recent(s.f.Log.At, s.silent()) {
			continue
		}
		r := because(CodeClaimAhead, "the agent of broker %d has been silent for %s; taking its claim away", c.Broker, s.silence(st).Round(time.Second))
		if !s.recent(s.f.Cluster.At, fresh) {
			return s.observe(PhaseWaiting, r, 0), true
		}
		if s.gateViews() != nil || !s.inAll(c.Broker) || s.missing(c.Broker) > 0 || s.tooSoon(ActAppend) {
			continue
		}
		by := "broker " + strconv.Itoa(int(s.m.opts.Self))
		return s.do(PhaseWaiting, r, Action{Kind: ActAppend, Records: []Record{NewTakeover(by, c, r.Text, s.f.Now), NewRelease(c.Key)}}, 0), true
	}
	return Decision{}, false
}

// missing counts the partitions in which a broker is a replica and not in sync, in the worst view.
func (s *step) missing(id int32) int {
	worst := 0
	for _, v := range s.f.Cluster.Views {
		n := 0
		for _, t := range v.Topics {
			for _, p := range t.Partitions {
				if slices.Contains(p.Replicas, id) && !slices.Contains(p.ISR, id) {
					n++
				}
			}
		}
		worst = max(worst, n)
	}
	return worst
}
