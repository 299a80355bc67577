package restart

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"time"
)

// claim appends a claim, if there is none. The rules after it evaluate the gates on what is
// seen after the claim was read back.
func (s *round) claim() *Decision {
	if _, _, held := s.v.Claim(s.m.opts.Self); held {
		return nil
	}
	if d := s.second(); d != nil {
		return d
	}
	r := because(CodeClaiming, "%s; claiming the restart", s.drift())
	if e, failed := s.f.Failed[ActAppend]; failed {
		r = because(CodeLogUnreadable, "the claim cannot be written: %s", e.Err)
	}
	if s.tooSoon(ActAppend) {
		return s.wait(PhaseWaiting, r, paceBlocked)
	}
	if s.m.mem.nonce == "" {
		s.m.mem.nonce = s.f.Nonce
	}
	claim := Claim{Broker: s.m.opts.Self, Zone: s.zone(s.m.opts.Self), Target: s.target, At: s.f.Now}
	return s.do(PhaseWaiting, r, Action{Kind: ActAppend, Records: []Record{NewClaim(claim, s.m.mem.nonce)}}, 0)
}

func (s *round) claimedReason() *Reason {
	return because(CodeClaiming, "%s; checking the gates", s.drift())
}

func (s *round) observeClaimed() *Decision {
	if s.looked() {
		return nil
	}
	return s.observe(PhaseClaimed, s.claimedReason(), 0)
}

func (s *round) gatesClaimed() *Decision {
	b := s.blocked(s.down(nil))
	if b == nil {
		return nil
	}
	if _, place, _ := s.v.Claim(s.m.opts.Self); place > 0 || len(s.undoing()) > 0 {
		return s.drop(PhaseWaiting, b,
			paceRest) // the first, or one on its way back, must not wait for one that waits for it
	}
	return s.observe(PhaseClaimed, b, paceBlocked)
}

// observeNear: to forbid, an older observation is enough; to allow, it is not.
func (s *round) observeNear() *Decision {
	if s.recent(s.f.Cluster.At, near) {
		return nil
	}
	if r := s.answersLate(); r != nil {
		return s.observe(PhaseClaimed, r, paceBlocked)
	}
	return s.observe(PhaseClaimed, s.claimedReason(), 0)
}

// answersLate: the answers are too old when they come, so another question at once would bring no other.
func (s *round) answersLate() *Reason {
	took := s.f.Cluster.Took
	if took <= AnswersWithin {
		return nil
	}
	return because(CodeGateViews, "the brokers took %s to answer, and an agent restarts a broker only on answers that come within %s; see which of them "+
		"is overloaded, or how slow the network is", took.Round(100*time.Millisecond), AnswersWithin)
}

func (s *round) askClaimed() *Decision {
	if !s.up() || !s.f.Running.At.Before(s.m.mem.claim.at) && s.recent(s.f.Running.At, paceWaiting) {
		return nil
	}
	return s.do(PhaseClaimed, s.claimedReason(), Action{Kind: ActRunning}, 0)
}

func (s *round) begin() *Decision {
	if s.tooSoon(ActAppend) {
		return s.wait(PhaseClaimed, s.failed(ActAppend), time.Second)
	}
	return s.saveStage(StageApply, PhaseApplying, because(CodeApplying, "%s", s.drift()), s.intend)
}

// intend notes what server.properties is about to be written for: whoever
// starts a process on it, that process has to prove itself.
func (s *round) intend(j *Journal) {
	again := j.Unproven && manifestOf(j.Target) == s.f.Manifest.Hash
	if j.Unproven && j.Target != "" && !again {
		prior := j.Intent
		j.Prior = &prior
	}
	j.Intent = Intent{Target: s.target, Listeners: s.f.Manifest.Listeners, Absent: s.f.Manifest.Absent}
	if q := s.v.Request(); q != nil {
		j.RequestID = q.ID
	}
	was := s.origin(j)
	if again { // somebody may have started the process on the new file: what it runs is not what was before
		was = Origin{j.Before, j.BeforeUnknown, cmp.Or(was.Edits, j.Edits)}
	}
	j.Origin = was
	j.MayBeOld = s.mayBeOld() || s.unexplained() // of the same process nothing better is known by then
	j.Followed = Followed{Invocation: s.f.Unit.Invocation, Started: s.f.Now}
	j.Hidden = j.Hidden || s.f.Manifest.HiddenChanges
	j.Unproven, j.Why = true, ""
}

// origin is what there is before a restart that is not begun yet.
func (s *round) origin(j *Journal) Origin {
	was := Origin{Before: map[string]string{}, BeforeUnknown: s.f.Running.Listeners == nil}
	for _, name := range slices.AppendSeq(slices.Clone(j.Absent), maps.Keys(j.Listeners)) {
		if had, ok := s.f.Running.Listeners[name]; ok {
			was.Before[name] = had
		}
	}
	if list := s.f.Manifest.Pending; len(list) > 0 {
		was.Edits = editText(list[0]) + andMore(list)
	}
	return was
}

// second holds back a claim while there is another one, one that may be made just now, or a broker on
// its way back, until the gates would let both go, since a claim counts its broker as away in the
// eyes of the others.
func (s *round) second() *Decision {
	others := append(s.ahead(), s.undoing()...)
	for _, c := range s.v.Claims {
		others = append(others, c.Broker)
	}
	if len(others) == 0 {
		return nil
	}
	r := because(CodeClaiming, "checking whether this broker may go together with broker %d", others[0]).of(others[0])
	if !s.justSeen() {
		return s.observe(PhaseWaiting, r, 0)
	}
	if b := s.blocked(s.down(nil)); b != nil {
		return s.observe(PhaseWaiting, b, paceBlocked)
	}
	return nil
}

// justSeen is true if the answers of the cluster have just come, however long they took. What is decided on them is
// decided again on fresher ones before a broker is restarted.
func (s *round) justSeen() bool { return s.recent(s.f.Cluster.At, fresh+s.f.Cluster.Took) }

// undoing returns the other brokers that are being rolled back, with a claim or without.
func (s *round) undoing() []int32 {
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
func (s *round) closing() *Reason {
	for _, name := range s.f.Manifest.Absent {
		if s.v.Active[name] {
			return because(CodeProbesClosing, "the probes of %s close before it is removed", name)
		}
		for _, id := range slices.Sorted(maps.Keys(s.v.Statuses)) {
			if slices.Contains(s.v.Statuses[id].Open, name) {
				return because(CodeProbesClosing, "the probe of %s on broker %d is still open", name, id).of(id)
			}
		}
	}
	return nil
}

func (s *round) closeFirst(r *Reason) *Decision {
	var records []Record
	for _, name := range s.f.Manifest.Absent {
		if s.v.Active[name] {
			records = append(records, NewInactive(name))
		}
	}
	if e, failed := s.f.Failed[ActAppend]; failed && len(records) > 0 {
		r = because(CodeLogUnreadable,
			"the probes of %s close before it is removed, and that cannot be written to the coordination log: %s",
			s.f.Manifest.Absent[0], e.Err)
	}
	if len(records) == 0 || s.tooSoon(ActAppend) {
		return s.wait(PhaseWaiting, r, paceBlocked)
	}
	return s.do(PhaseWaiting, r, Action{Kind: ActAppend, Records: records}, 0)
}

// takeover removes the claim of a dead agent: only one that had said that its
// broker is done, and did not live to give the claim back, and whose broker is
// provably healthy in every view. Anything else needs an operator.
func (s *round) takeover() *Decision {
	for _, c := range s.v.Claims {
		st, ok := s.v.Statuses[c.Broker]
		long := max(s.m.opts.Takeover, s.silent())
		if c.Broker == s.m.opts.Self || !ok || !s.finished(st) || s.silence(st) < long ||
			s.f.Now.Sub(s.m.mem.log.heard[c.Broker].at) < long ||
			!s.recent(s.f.Log.At, s.silent()) {
			continue
		}
		r := because(CodeQueue, "the agent of broker %d has been silent for %s; removing its claim", c.Broker,
			s.silence(st).Round(time.Second)).of(c.Broker)
		if !s.justSeen() {
			return s.observe(PhaseWaiting, r, 0)
		}
		if s.gateViews(nil) != nil || !s.inAll(c.Broker) || s.missing(c.Broker) > 0 || s.tooSoon(ActAppend) {
			continue
		}
		by := "broker " + strconv.Itoa(int(s.m.opts.Self))
		return s.do(PhaseWaiting, r,
			Action{Kind: ActAppend, Records: []Record{NewTakeover(by, c, r.Text(), s.f.Now), NewRelease(c.Key)}}, 0)
	}
	return nil
}

// missing counts the partitions in which a broker is a replica and not in sync, in the worst view.
func (s *round) missing(id int32) int {
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
