package sim

import (
	"maps"
	"slices"
	"time"

	"example.com/kpls-agent/internal/restart"
)

// snapshot is the controllers' metadata at one instant.
type snapshot struct {
	at     time.Time
	alive  []int32
	topics []restart.Topic // never changed
}

// record keeps what the metadata is now, for those who see it later.
func (c *cluster) record() {
	p := snapshot{at: c.now}
	for _, b := range c.brokers {
		if b.alive {
			p.alive = append(p.alive, b.id)
		}
	}
	if len(c.stale) > 0 {
		c.topics = slices.Clone(c.topics)
		for _, at := range slices.Sorted(maps.Keys(c.stale)) {
			t := &c.topics[at]
			t.Partitions = make([]restart.Partition, 0, len(c.byTopic[at]))
			for _, q := range c.byTopic[at] {
				t.Partitions = append(t.Partitions, c.shown(q))
			}
		}
		clear(c.stale)
	}
	p.topics = c.topics
	c.history = append(c.history, p)
	if len(c.history) > 600 {
		c.history = slices.Delete(c.history, 0, 200)
	}
}

// shown is a partition as the metadata has it.
func (c *cluster) shown(p *partition) restart.Partition {
	leader := int32(-1)
	if c.broker(p.isr[0]).alive {
		leader = p.isr[0]
	}
	return restart.Partition{ID: p.id, Leader: leader, Replicas: p.replicas, ISR: p.isr}
}

// seenBy is the snapshot that a broker's metadata shows: the one of a moment
// ago, or an old one if it hears no controller; but none from before its own
// return, since it serves only when it has read everything up to that.
func (c *cluster) seenBy(b *broker) snapshot {
	at := c.now.Add(-b.lag)
	if b.deaf && at.After(b.deafAt) {
		at = b.deafAt
	}
	if at.Before(b.returned) {
		at = b.returned
	}
	for _, p := range slices.Backward(c.history) {
		if !p.at.After(at) {
			return p
		}
	}
	return c.history[0]
}

// shows is true if a broker says what it knows of the cluster.
func (c *cluster) shows(b *broker) bool { return b.answers() && !b.blank && !c.hides }

// unanswered is how long an answer is waited for.
const unanswered = 2500 * time.Millisecond

// observe is what the agent of a broker learns when it asks the brokers: its own
// first, then the next ones as on a ring, three in all. It takes as long as the
// silent ones are waited for.
func (c *cluster) observe(self int32, reach func(*broker) bool) (restart.ClusterFacts, time.Duration) {
	f := restart.ClusterFacts{At: c.now, MinISR: c.minISR}
	took := c.between(2, 30)
	listed := c.listed(self, reach)
	known := make([]bool, len(c.brokers)) // by place
	f.Views = make([]restart.BrokerView, 0, min(3, len(c.brokers)))
	for i := range c.brokers {
		b := c.brokers[(int(self)-1+i)%len(c.brokers)]
		if len(f.Views) == 3 || !slices.Contains(listed, b.id) {
			continue
		}
		if !b.answers() || !reach(b) {
			if b.running {
				took += unanswered
			}
			f.NoAnswer = append(f.NoAnswer, b.id)
			continue
		}
		p := c.seenBy(b)
		v := restart.BrokerView{Broker: b.id, Alive: p.alive, Topics: p.topics}
		switch {
		case b.blank:
			v = restart.BrokerView{Broker: b.id}
		case c.hides:
			v.Topics = nil
		}
		f.Views = append(f.Views, v)
		took += c.perView
		for _, id := range v.Alive {
			known[id-1] = true
		}
	}
	if len(f.Views) == 0 {
		f.Err, f.MinISR, f.Views = "no broker answered", nil, nil
		for _, b := range c.brokers {
			if reach(b) && !b.listens() {
				f.NobodyListens = append(f.NobodyListens, b.id)
			}
		}
		return f, took
	}
	f.Brokers = make([]int32, 0, len(c.brokers))
	for i, b := range c.brokers {
		if known[i] || len(c.hosted[b.id]) > 0 {
			f.Brokers = append(f.Brokers, b.id)
		}
	}
	f.Quorum, f.QuorumErr = c.quorum()
	if f.Quorum == nil {
		took += unanswered
	}
	return f, took
}

// listed is whom the first broker that answers calls alive.
func (c *cluster) listed(self int32, reach func(*broker) bool) []int32 {
	first := c.rng.IntN(len(c.brokers))
	for i := range c.brokers {
		b := c.brokers[(first+i)%len(c.brokers)]
		if b.answers() && (b.id == self || reach(b)) {
			return c.seenBy(b).alive
		}
	}
	return nil
}

func (c *cluster) quorum() (*restart.Quorum, string) {
	if c.leader < 0 {
		return nil, "timed out"
	}
	q := &restart.Quorum{Leader: c.leader, Voters: make([]restart.Voter, 0, len(c.voters))}
	for _, v := range c.voters {
		behind := time.Duration(0)
		switch {
		case !v.up():
			behind = voterTimeout + c.since(v.since)
		case !c.caughtUp(v):
			behind = voterTimeout + time.Second
		}
		q.Voters = append(q.Voters, restart.Voter{ID: v.id, Behind: behind})
	}
	return q, ""
}
