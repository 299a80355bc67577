package restart

import (
	"fmt"
	"slices"
	"strconv"
	"time"
)

// voterLag is how far a voter may be behind the leader and still count:
// controller.quorum.fetch.timeout.ms, 2 s by default.
const voterLag = 2 * time.Second

// A gate is a veto that is checked right before a restart, on what was seen after the claim was
// read back. A gate that cannot be evaluated does not pass.

// gateViews: one broker that is cut off from the controllers goes on answering
// with an old picture, so two must answer, one of them not the broker that is to go.
func (s *round) gateViews([]away) *Reason {
	c := s.f.Cluster
	if c.Err != "" || c.At.IsZero() {
		return because(CodeGateViews, "the cluster cannot be seen: %s", orNot(c.Err, "no broker was asked yet"))
	}
	others, _ := s.others()
	need, other := min(2, 1+len(others)), len(others) == 0
	for _, v := range c.Views {
		if !v.whole() {
			return because(CodeGateViews, "broker %d answered with empty metadata", v.Broker).of(v.Broker)
		}
		other = other || v.Broker != s.m.opts.Self
	}
	switch {
	case len(c.Views) < need:
		return because(CodeGateViews, "%d of the %d brokers needed for a judgement answered%s", len(c.Views), need,
			detail(c.Err)).counting(need, len(c.Views))
	case !other:
		return because(CodeGateViews, "only this broker itself answered")
	}
	return nil
}

// gateBrokers: brokers that are down for any other cause use up max_unavailable.
func (s *round) gateBrokers(counted []away) *Reason {
	others, _ := s.others()
	var down []int32
	for _, id := range others {
		if isDown(counted, id) || s.inAll(id) {
			continue
		}
		down = append(down, id)
	}
	if !s.inAny(s.m.opts.Self) || len(down)+len(counted)+1 <= s.maxUnavailable() {
		return nil // a broker that is down already removes nothing
	}
	if len(down) > 0 {
		return because(CodeGateBrokers, "broker %s is down; nothing is restarted until it is back%s", ids(down),
			s.why(down[0])).of(down[0])
	}
	if len(counted) > 0 {
		return because(CodeGateBrokers, "broker %s and counts as down, and max_unavailable is %d", awayText(counted),
			s.maxUnavailable()).of(counted[0].id)
	}
	return nil
}

// why adds which partitions a broker that is down leaves short.
func (s *round) why(id int32) string {
	if s.inAll(id) {
		return ""
	}
	if s.noAnswer(id) {
		return " (it is registered, and does not answer)"
	}
	n := s.missing(id)
	if n == 0 {
		return ""
	}
	return fmt.Sprintf(" (%s not in sync there: %s)", partitions(n), s.example(id))
}

// noAnswer is true for a broker that should have answered and did not.
func (s *round) noAnswer(id int32) bool { return slices.Contains(s.f.Cluster.NoAnswer, id) }

// inAll is true for a broker that is alive in every view, its own included if it was asked.
func (s *round) inAll(id int32) bool {
	if s.noAnswer(id) {
		return false
	}
	for _, v := range s.f.Cluster.Views {
		if !slices.Contains(v.Alive, id) {
			return false
		}
	}
	return len(s.f.Cluster.Views) > 0
}

// whole is false for empty metadata, as a broker has them before it has read them: they say
// nothing, neither of a broker nor of a topic.
func (v BrokerView) whole() bool { return len(v.Alive) > 0 && len(v.Topics) > 0 }

func (s *round) inAny(id int32) bool {
	return slices.ContainsFunc(s.f.Cluster.Views, func(v BrokerView) bool { return slices.Contains(v.Alive, id) })
}

// gatePartitions: no partition that this broker keeps in sync may come below
// its min.insync.replicas, nor below the highest that a broker's file or a dynamic setting
// asks for (Kafka drops dynamic settings at a start, and tells the controller's
// number to none). Every claimed broker and every one that does not answer counts
// as down, in every view. A topic that can never pass is gateUnprotected's.
func (s *round) gatePartitions(counted []away) *Reason {
	for _, v := range s.f.Cluster.Views {
		n, worst := 0, shortage{}
		for _, t := range v.Topics {
			need, ok := s.f.Cluster.MinISR[t.Name]
			if !ok {
				return because(CodeGatePartitions, "min.insync.replicas of topic %s is not known", t.Name)
			}
			if r := s.behind(&v, t, need); r != nil {
				return r
			}
			found, first := s.shortages(t, need, counted)
			if n == 0 {
				worst = first
			}
			n += found
		}
		if n == 0 {
			continue
		}
		also := ""
		if len(counted) > 0 {
			also = fmt.Sprintf("; broker %s and counts as down", awayText(counted))
		}
		r := because(CodeGatePartitions, "%s would come below min.insync.replicas without this broker: %s%s%s",
			partitions(n), worst, s.storageOf(worst.Partition), also)
		if len(counted) > 0 {
			r.of(counted[0].id)
		}
		return r.ofPartition(worst.name()).counting(worst.strict, len(worst.ISR))
	}
	return nil
}

// behind: a partition is below its min.insync.replicas, and this broker is catching up with it. Clients that write to
// it wait for that. After a restart it would have to begin again, and the proof would wait for the same.
// A rollback does not wait for it, nor a broker that is down.
func (s *round) behind(v *BrokerView, t Topic, need int) *Reason {
	self := s.m.opts.Self
	if s.j.Stage == StageUndo || !slices.Contains(v.Alive, self) {
		return nil
	}
	for _, p := range t.Partitions {
		low := len(p.Replicas) > need && len(p.ISR) > 0 && len(p.ISR) < need
		if !low || !slices.Contains(p.Replicas, self) || slices.Contains(p.ISR, self) {
			continue
		}
		x := shortage{p, t.Name, need, need}
		return because(CodeGatePartitions,
			"%s has %d in-sync replicas (%s) and needs %d, and this broker is still catching up with it%s", x.name(),
			len(p.ISR), ids(p.ISR), need, s.storageOf(p)).ofPartition(x.name()).counting(need, len(p.ISR))
	}
	return nil
}

// shortage is a partition that would come below what it needs without this broker.
type shortage struct {
	Partition
	topic string
	// need is the topic's own number, and strict the highest that any level of the cluster asks for.
	need, strict int
}

func (x shortage) name() string { return x.topic + "-" + strconv.Itoa(int(x.ID)) }

// String says what is there and what is needed.
func (x shortage) String() string {
	text := fmt.Sprintf("%s has %d in-sync replicas (%s) and needs %d without this broker", x.name(), len(x.ISR),
		ids(x.ISR), x.strict)
	if x.strict > x.need {
		text += fmt.Sprintf(" (its own setting is %d, and a file or a dynamic setting of a broker says %d)", x.need,
			x.strict)
	}
	return text
}

// shortages counts those of a topic, and returns the first.
func (s *round) shortages(t Topic, need int, counted []away) (n int, first shortage) {
	self, strict := s.m.opts.Self, max(need, s.f.Cluster.StrictISR[t.Name])
	for _, p := range t.Partitions {
		if len(p.Replicas) <= need || !slices.Contains(p.ISR, self) {
			continue
		}
		left := 0
		for _, id := range p.ISR {
			if id != self && !isDown(counted, id) && !s.noAnswer(id) {
				left++
			}
		}
		if left >= strict {
			continue
		}
		if n++; n == 1 {
			first = shortage{p, t.Name, need, strict}
		}
	}
	return n, first
}

// storageOf names the log directory that keeps a replica of a partition out of sync, where its agent says so.
func (s *round) storageOf(p Partition) string {
	for _, id := range p.Replicas {
		if st := s.v.Statuses[id]; st.Storage != "" && !slices.Contains(p.ISR, id) {
			return fmt.Sprintf("; broker %d: %s", id, st.Storage)
		}
	}
	return ""
}

// unprotected lists topics on this broker that no roll-out can protect, at most 10.
func (s *round) unprotected() []string {
	m := s.m
	if len(s.f.Cluster.Views) == 0 || m.mem.walk.at.Equal(s.f.Cluster.At) {
		return m.mem.walk.unprotected
	}
	var out []string
	for _, t := range s.f.Cluster.Views[0].Topics {
		need, ok := s.f.Cluster.MinISR[t.Name]
		if ok && len(out) < 10 && slices.ContainsFunc(t.Partitions, func(p Partition) bool {
			return len(p.Replicas) <= need && slices.Contains(p.Replicas, s.m.opts.Self)
		}) {
			out = append(out, t.Name)
		}
	}
	m.mem.walk = walkMemory{out, s.f.Cluster.At}
	return out
}

// gateUnprotected: a topic with no more replicas than min.insync.replicas cannot
// be written while any of them is down; the manifest says whether that is accepted.
func (s *round) gateUnprotected([]away) *Reason {
	if list := s.unprotected(); s.f.Manifest.RefuseUnprotected && len(list) > 0 {
		return because(CodeGateUnprotected,
			"topic %s has no more replicas than min.insync.replicas, so no restart can protect it; give it more, or set rollout.unprotected_topics: proceed",
			list[0])
	}
	return nil
}

// gateQuorum: there must be an active controller, and a caught-up majority of
// the voters must remain. That holds for a broker that is no voter, too: it
// removes none, and needs them to be let in again.
func (s *round) gateQuorum(counted []away) *Reason {
	q := s.f.Cluster.Quorum
	switch {
	case q == nil || len(q.Voters) == 0 && !q.ZooKeeper:
		return because(CodeGateQuorum, "the KRaft quorum cannot be seen: %s", orNot(s.f.Cluster.QuorumErr, "no answer"))
	case q.Leader < 0 && q.ZooKeeper:
		return because(CodeGateQuorum,
			"no controller is active, or the brokers do not agree on one; see that ZooKeeper runs and that they reach it")
	case q.Leader < 0:
		return because(CodeGateQuorum, "the KRaft quorum has no leader")
	case q.ZooKeeper:
		return nil // any broker becomes the next controller
	}
	self := s.m.opts.Self
	remain, behind := 0, []int32{}
	for _, v := range q.Voters {
		switch {
		case v.ID == self || isDown(counted, v.ID):
		case s.noAnswer(v.ID):
			behind = append(behind, v.ID)
		case v.caughtUp():
			remain++
		default:
			behind = append(behind, v.ID)
		}
	}
	need := len(q.Voters)/2 + 1
	if len(q.Voters) <= 2 && q.voter(self) {
		need = len(q.Voters) - 1 // one or two voters can never keep a majority; all others must be caught up
	}
	if remain < need {
		return because(CodeGateQuorum, "%d caught-up voters would remain and %d are needed%s", remain, need,
			behindText(behind)).counting(need, remain)
	}
	return nil
}

func (q *Quorum) voter(id int32) bool {
	return slices.ContainsFunc(q.Voters, func(v Voter) bool { return v.ID == id })
}

func (v Voter) caughtUp() bool { return v.Behind >= 0 && v.Behind < voterLag }

func behindText(list []int32) string {
	if len(list) == 0 {
		return ""
	}
	return "; not caught up: " + ids(list)
}

func partitions(n int) string {
	if n == 1 {
		return "1 partition"
	}
	return fmt.Sprintf("%d partitions", n)
}

func orNot(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}
