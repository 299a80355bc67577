package restart

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// agreed returns why the agents do not agree on the target yet, or nil.
//
// Every broker's agent must report the same manifest before any broker is
// touched: that replaces a version number that people forget to raise. An agent
// whose broker is done may be silent: it has nothing left to do. What any other
// silent one said last is old: the silence is what is wrong.
func (s *round) agreed() *Reason {
	others, known := s.others()
	if !known {
		return because(CodeClusterUnknown,
			"the brokers of the cluster are not known yet: the manifest has no table of them and no broker has answered")
	}
	if s.f.Manifest.Table {
		for _, id := range slices.Concat(others, []int32{s.m.opts.Self}) {
			if _, ok := s.f.Manifest.Zones[id]; !ok {
				return because(CodeNotInManifest,
					"broker %d belongs to the cluster and is not in the manifest; add it to `brokers`", id).of(id)
			}
		}
	}
	if r := s.tooOld(others); r != nil {
		return r
	}
	for _, id := range others {
		if r := s.heardOf(id); r != nil {
			return r
		}
		if r := s.sameManifest(id, s.v.Statuses[id]); r != nil {
			return r
		}
	}
	return nil
}

// tooOld names the brokers whose agents would refuse this manifest for a field that they do not know, or is nil. It is
// said before the manifest is put there: "another manifest" would have it copied, and refused.
func (s *round) tooOld(others []int32) *Reason {
	m := &s.f.Manifest
	var old []string
	for _, id := range others {
		if st, ok := s.v.Statuses[id]; ok && st.Manifest != m.Hash && st.Level < m.Level {
			old = append(old, fmt.Sprintf("broker %d (%s)", id, st.Agent))
		}
	}
	if len(old) == 0 {
		return nil
	}
	return because(CodeManifestDiffers, "too old for %s in this manifest: the agent of %s; upgrade kpls-agent there, "+
		"and put this manifest there", m.LevelField, strings.Join(old, ", "))
}

// heardOf returns why nothing can be concluded from what the agent of a broker said last, or nil.
func (s *round) heardOf(id int32) *Reason {
	st, ok := s.v.Statuses[id]
	switch {
	case !ok:
		return because(
			CodeAgentMissing,
			"nothing was heard of the agent of broker %d yet; if that stays so, install and start kpls-agent there, "+
				"or take the broker out of the manifest",
			id,
		).of(id)
	case !s.finished(st) && s.quiet(st) && s.deafFor() >= deaf:
		return because(CodeLogUnreadable,
			"the coordination log cannot be used for %s (%s), so nothing is heard of the agent of broker %d",
			s.deafFor().Round(time.Second), s.f.Log.Err, id).of(id)
	case !s.finished(st) && st.Ended:
		return because(CodeAgentSilent,
			"the agent of broker %d was stopped, and its broker is not done; start it there "+
				"(`systemctl start kpls-agent`)", id).of(id)
	case !s.finished(st) && s.quiet(st):
		return because(
			CodeAgentSilent,
			"nothing was heard of the agent of broker %d for %s, and its broker is not done; see there whether "+
				"kpls-agent runs (`systemctl status kpls-agent`) and can write to Kafka (`kpls-agent check`)",
			id,
			s.silence(st).Round(time.Second),
		).of(id)
	}
	return nil
}

// sameManifest returns how the manifest of a broker, or what it means there, is in the way, or nil.
func (s *round) sameManifest(id int32, st Status) *Reason {
	m := &s.f.Manifest
	switch {
	case st.Cluster != m.Cluster && st.Cluster != "":
		return because(
			CodeManifestDiffers,
			"the agent of broker %d serves cluster %q, this one %q; one of the manifests belongs to "+
				"another cluster",
			id,
			st.Cluster,
			m.Cluster,
		).of(id)
	case st.Manifest != m.Hash && st.ManifestFault != "":
		return because(CodeManifestDiffers, "broker %d cannot use its manifest file (%s); correct it there", id,
			st.ManifestFault).of(id)
	case st.Manifest == "":
		return because(CodeManifestDiffers, "broker %d has no manifest yet; copy this one (%s) there", id,
			Short(m.Hash)).of(id)
	case st.Manifest != m.Hash:
		return because(CodeManifestDiffers, "broker %d has manifest %s, this broker has %s; put the same file on both",
			id, Short(st.Manifest), Short(m.Hash)).of(id)
	case st.Phase == PhaseRefused && !st.Reason.Code.passing():
		return because(CodeRefusedElsewhere, "broker %d cannot be restarted: %s", id,
			st.Reason.Text()).of(id)
	case st.Failed == m.Hash:
		return because(CodeRefusedElsewhere,
			"broker %d has failed with this manifest, and its agent has yet to halt the roll-out: %s", id,
			st.Reason.Text()).of(id)
	case st.Target == "" || st.Phase == PhaseRefused || st.Reason.Code == CodeJudging:
		return because(CodeManifestDiffers, "broker %d has yet to see what the manifest means for it (it is %s: %s)",
			id, st.Phase, st.Reason.Text()).of(id)
	case st.Target != s.target:
		return because(CodeManifestDiffers, "broker %d has not seen the request for a rolling restart yet", id).of(id)
	}
	return nil
}

// quiet is true if an agent is not to be counted on: it has said that it ends, or nothing was heard of it for long.
func (s *round) quiet(st Status) bool { return st.Ended || s.silence(st) > s.silent() }

// silence is how long nothing was heard of an agent, by the clock of the log's
// leader, which has dated both: this agent's own clock may differ from it by hours.
func (s *round) silence(st Status) time.Duration { return s.v.Clock.Sub(st.Seen) }

// silent is how long nothing may be heard of an agent before others stop counting on it.
func (s *round) silent() time.Duration { return 4 * Heartbeat(len(s.v.Statuses)) }

// done is true if a broker needs nothing any more for the target, as its agent said last.
func (s *round) done(st Status) bool {
	return s.finished(st) && !s.holds(st.Broker)
}

// holds is true if a broker has a claim. It is asked for every broker, and in a
// large zone every other one may have one.
func (s *round) holds(broker int32) bool {
	if s.held == nil {
		s.held = make(map[int32]bool, len(s.v.Claims))
		for i := range s.v.Claims {
			s.held[s.v.Claims[i].Broker] = true
		}
	}
	return s.held[broker]
}

// finished is done but for a claim that is still to be given back.
func (s *round) finished(st Status) bool {
	if st.Drift || st.Target != s.target || !st.Up {
		return false
	}
	return st.Phase == PhaseIdle || st.Phase == PhaseSoaking || st.Phase == PhaseBalancer
}

// sound is true for a broker that is up, and whose process is known not to run a file that nobody has proved.
func (s *round) sound(id int32) bool {
	if id == s.m.opts.Self {
		return s.up() && !s.unproven()
	}
	st := s.v.Statuses[id]
	return st.Up && !st.Unproven
}

// rank orders the brokers of a roll-out: those that are down first, since
// nothing is lost with them, and those that may run a file that nobody has
// proved, since nobody may follow them into it; then those without a vote, then
// voters, the active controller last, since each restart of it makes the others
// elect a new one.
func (s *round) rank(id int32, sound bool) int {
	q := s.f.Cluster.Quorum
	switch {
	case !sound:
		return 0
	case q == nil || q.Leader != id && !q.voter(id):
		return 1
	case q.Leader != id:
		return 2
	default:
		return 3
	}
}

func (s *round) before(a int32, aSound bool, b int32, bSound bool) bool {
	if x, y := s.rank(a, aSound), s.rank(b, bSound); x != y {
		return x < y
	}
	if x, y := s.zone(a), s.zone(b); x != y {
		return x < y
	}
	return a < b
}

// turn returns why it is not this broker's turn, or nil: everyone before it in
// the order is done, or goes at the same time in the same zone, or may do so.
func (s *round) turn() *Reason {
	ahead := s.ahead()
	if len(ahead) == 0 || s.withAll(ahead) {
		return nil
	}
	st := s.v.Statuses[ahead[0]]
	why := "it is " + string(st.Phase)
	switch c := st.Reason.Code; {
	case st.Phase == "":
		why = "its agent has not reported"
	case c.Queueing(), c == CodeManifestDiffers, c == CodeAgentMissing, c == CodeAgentSilent, c == CodeRefusedElsewhere:
		// These are of a third broker, and this one says the same if they stay.
	default:
		why += ": " + st.Reason.Text()
	}
	return because(CodeTurn, "broker %d goes first (%s)%s", ahead[0], why, s.why(ahead[0])).of(ahead[0])
}

// proving is true if somebody has started a broker on the new file: nobody follows
// into it before that one has shown that it can be run.
func (s *round) proving(st Status) bool {
	return (st.Phase == PhaseStarting || st.Phase == PhaseCatchingUp) && !s.holds(st.Broker)
}

// ahead returns the brokers that go before this one and not together with it.
func (s *round) ahead() []int32 {
	others, _ := s.others()
	self := s.m.opts.Self
	var out []int32
	for _, id := range others {
		st := s.v.Statuses[id]
		if s.done(st) || !s.before(id, s.sound(id), self, s.sound(self)) && !s.proving(st) {
			continue
		}
		if s.holds(id) && s.together(id) {
			continue
		}
		out = append(out, id)
	}
	return out
}

// withAll is true if this broker may be down together with all of those before it.
// It need not wait for their claims then: in a zone of a hundred brokers, one claim
// after the other would take longer than the restarts.
func (s *round) withAll(ahead []int32) bool {
	self := s.rank(s.m.opts.Self, s.sound(s.m.opts.Self))
	for _, id := range ahead {
		if !s.together(id) || s.rank(id, s.sound(id)) != self {
			return false
		}
	}
	return len(ahead) < s.maxUnavailable() && s.blocked(s.down(ahead)) == nil
}

// together is true if two brokers may be down at the same time as far as the manifest is
// concerned. The first broker of a roll-out goes alone: a bad manifest must not take a zone down.
func (s *round) together(id int32) bool {
	return s.maxUnavailable() > 1 && s.zone(id) != "" && s.zone(id) == s.zone(s.m.opts.Self) && s.shown()
}

// shown is true if a broker was restarted for the target, and proved itself without anything odd.
func (s *round) shown() bool {
	if s.j.Passed == s.target {
		return true
	}
	for _, st := range s.v.Statuses {
		if st.Passed == s.target {
			return true
		}
	}
	return false
}

// queue returns why a claim cannot be made, or does not count yet, or nil.
func (s *round) queue() *Reason {
	ahead := 0
	for _, c := range s.v.Claims {
		if c.Broker == s.m.opts.Self {
			break
		}
		if !s.together(c.Broker) {
			return because(CodeQueue, "broker %d holds the claim (%s)", c.Broker, s.phaseOf(c.Broker)).of(c.Broker)
		}
		if ahead++; ahead >= s.maxUnavailable() {
			first := s.v.Claims[0].Broker
			return because(CodeQueue, "broker %d holds the first of %d claims (%s), and max_unavailable is %d",
				first, ahead, s.phaseOf(first), s.maxUnavailable()).of(first)
		}
	}
	return nil
}

// phaseOf says in which phase the agent of a broker was last.
func (s *round) phaseOf(broker int32) string {
	st, ok := s.v.Statuses[broker]
	if !ok {
		return "nothing was heard of its agent"
	}
	return "it is " + string(st.Phase)
}

func detail(s string) string {
	if s == "" {
		return ""
	}
	return ": " + s
}
