package restart

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"time"
)

// The model of a Kafka cluster: brokers that stop, start, fence and catch up;
// partitions whose in-sync replicas follow; metadata that lags differently at
// each broker; a quorum; one log. Only what agents can see or break is modelled.

type simBroker struct {
	id         int32
	zone       string
	running    bool // a process runs
	ready      bool // it serves and is unfenced
	alive      bool // the controller counts it in
	failed     bool // the process ended by itself
	stopped    bool // somebody stopped it
	starts     int
	restarts   int               // by the service manager
	config     map[string]string // what the process runs
	lag        time.Duration     // how far its metadata is behind
	cut        bool              // it hears nothing from the controllers
	returned   time.Time         // when it was last unfenced
	takenDown  bool              // by an agent, and not back yet
	generation int               // of scheduled events
}

func (b *simBroker) invocation() string { return fmt.Sprintf("%d-%d", b.id, b.starts) }

type simPartition struct {
	topic    string
	replicas []int32
	isr      []int32
	need     int
}

// picture is the controllers' metadata at one instant.
type picture struct {
	at    time.Time
	alive []int32
	isr   [][]int32
}

type simCluster struct {
	*simWorld
	brokers    []*simBroker
	partitions []*simPartition
	history    []picture
	leader     int32
	elected    time.Time // when the quorum got its leader
	disturbed  time.Time // last change of the cluster that no agent made
}

func (c *simCluster) broker(id int32) *simBroker { return c.brokers[id-1] }

func (c *simCluster) record() {
	p := picture{at: c.now}
	for _, b := range c.brokers {
		if b.alive {
			p.alive = append(p.alive, b.id)
		}
	}
	for _, q := range c.partitions {
		p.isr = append(p.isr, slices.Clone(q.isr))
	}
	c.history = append(c.history, p)
	if len(c.history) > 400 {
		c.history = slices.Delete(c.history, 0, 200)
	}
}

// seenBy is the picture that a broker's metadata shows.
func (c *simCluster) seenBy(b *simBroker) picture {
	at := c.now.Add(-b.lag)
	if b.cut {
		at = c.now.Add(-time.Minute)
	}
	if at.Before(b.returned) {
		at = b.returned // it replayed everything up to its own return before it served
	}
	for _, p := range slices.Backward(c.history) {
		if !p.at.After(at) {
			return p
		}
	}
	return c.history[0]
}

func (c *simCluster) voters() int { return len(c.brokers) }

func (c *simCluster) elect() {
	up := []int32{}
	for _, b := range c.brokers {
		if b.running {
			up = append(up, b.id)
		}
	}
	if len(up) < c.voters()/2+1 {
		c.leader = -1
		return
	}
	if !slices.Contains(up, c.leader) {
		c.leader, c.elected = up[c.rng.IntN(len(up))], c.now
	}
}

// leave takes a broker out of the metadata: at once after a controlled
// shutdown, after the session time-out if it died.
func (c *simCluster) leave(b *simBroker) {
	if !b.alive {
		return
	}
	b.alive = false
	for _, p := range c.partitions {
		if len(p.isr) > 1 {
			p.isr = slices.DeleteFunc(p.isr, func(id int32) bool { return id == b.id })
		}
	}
	c.record()
}

// exit ends the process.
func (c *simCluster) exit(b *simBroker, clean bool) {
	b.running, b.ready = false, false
	b.generation++
	c.elect()
	if clean {
		c.leave(b)
	} else {
		c.disturbed = c.now
		g := b.generation
		c.after(9*time.Second, func() {
			if b.generation == g {
				c.disturbed = c.now
				c.leave(b)
			}
		})
	}
	c.changed(b.id)
}

// start starts a process on what server.properties says now.
func (c *simCluster) start(b *simBroker, by string) {
	c.leave(b) // a new registration ends the old session
	b.starts++
	b.generation++
	b.running, b.ready, b.failed, b.stopped = true, false, false, false
	version := c.agents[b.id-1].file
	b.config = c.versions[version].process
	g := b.generation
	c.note("broker %d starts with %s (%s)", b.id, version, by)
	if v := c.versions[version]; v.bad != "" {
		if !slices.Contains(v.victims, b.id) {
			v.victims = append(v.victims, b.id)
		}
		switch v.bad {
		case "exits":
			c.after(c.between(500, 4000), func() {
				if b.generation == g {
					c.note("broker %d exits", b.id)
					b.failed = true
					c.exit(b, true)
				}
			})
			return
		case "loops":
			c.after(c.between(500, 4000), func() {
				if b.generation == g {
					c.exit(b, true)
					b.restarts++
					c.start(b, "service manager")
				}
			})
			return
		}
	}
	c.elect()
	c.after(c.between(1500, 9000), func() {
		if b.generation != g {
			return
		}
		b.ready, b.alive, b.returned = true, true, c.now
		c.elect()
		c.record()
		c.note("broker %d serves", b.id)
		c.changed(b.id)
		for _, p := range c.partitions {
			if !slices.Contains(p.replicas, b.id) {
				continue
			}
			c.after(c.between(50, 3000), func() {
				if b.generation == g && !slices.Contains(p.isr, b.id) {
					p.isr = append(p.isr, b.id)
					slices.Sort(p.isr)
					c.record()
				}
			})
		}
		c.after(50*time.Millisecond, func() { b.takenDown = false })
	})
	c.changed(b.id)
}

// facts is what Observe brings back.
func (c *simCluster) facts(self int32) ClusterFacts {
	f := ClusterFacts{At: c.now, MinISR: map[string]int{}}
	ask := []*simBroker{c.broker(self)}
	for _, i := range c.rng.Perm(len(c.brokers)) {
		if c.brokers[i].id != self && len(ask) < 3 {
			ask = append(ask, c.brokers[i])
		}
	}
	known := map[int32]bool{}
	for _, b := range ask {
		if !b.ready {
			continue
		}
		p := c.seenBy(b)
		v := BrokerView{Broker: b.id, Alive: p.alive}
		for i, q := range c.partitions {
			f.MinISR[q.topic] = q.need
			v.Topics = append(v.Topics, Topic{Name: q.topic, Partitions: []Partition{{Replicas: q.replicas, ISR: p.isr[i]}}})
			for _, id := range q.replicas {
				known[id] = true
			}
		}
		f.Views = append(f.Views, v)
	}
	if len(f.Views) == 0 {
		f.Err = "no broker answered"
	}
	f.Brokers = slices.Sorted(maps.Keys(known))
	if c.leader > 0 {
		f.Quorum = &Quorum{Leader: c.leader}
		for _, b := range c.brokers {
			behind := time.Duration(0)
			if !b.running || !b.alive {
				behind = 10 * time.Second
			}
			f.Quorum.Voters = append(f.Quorum.Voters, Voter{ID: b.id, Behind: behind})
		}
	} else {
		f.QuorumErr = "no leader"
	}
	return f
}

func newSimCluster(w *simWorld, n, zones int) *simCluster {
	c := &simCluster{simWorld: w, leader: 1}
	for i := range n {
		c.brokers = append(c.brokers, &simBroker{
			id: int32(i + 1), zone: fmt.Sprint(i % zones), running: true, ready: true, alive: true, starts: 1,
			lag: w.between(0, 400),
		})
	}
	rf := min(3, n)
	for i := range 4 * n {
		var reps []int32
		for k := range rf {
			reps = append(reps, int32((i+k*(1+i/n))%n+1))
		}
		slices.Sort(reps)
		reps = slices.Compact(reps)
		c.partitions = append(c.partitions, &simPartition{topic: fmt.Sprintf("t%d", i), replicas: reps, isr: slices.Clone(reps), need: min(2, max(1, len(reps)-1))})
	}
	c.partitions = append(c.partitions, &simPartition{topic: "single", replicas: []int32{1}, isr: []int32{1}, need: 1})
	all := make([]int32, 0, rf)
	for i := range rf {
		all = append(all, int32(i+1))
	}
	c.partitions = append(c.partitions, &simPartition{topic: "__kpls_agent", replicas: all, isr: slices.Clone(all), need: min(2, max(1, rf-1))})
	return c
}

func (c *simCluster) logPartition() *simPartition { return c.partitions[len(c.partitions)-1] }

// logUp is true if a record can be appended and read.
func (c *simCluster) logUp() bool {
	p := c.logPartition()
	serving := 0
	for _, id := range p.isr {
		if c.broker(id).ready {
			serving++
		}
	}
	return len(p.isr) >= p.need && serving == len(p.isr)
}

// simWorld is time, chance and the story.
type simWorld struct {
	rng      *rand.Rand
	now      time.Time
	events   eventHeap
	seq      int
	story    []string
	start    time.Time
	agents   []*simAgent
	versions map[string]*simVersion
	cluster  *simCluster
}

// simVersion is one manifest, and what it does to a process.
type simVersion struct {
	want    map[string]string
	process map[string]string // what a process started with it runs
	bad     string            // "", exits, loops, wrong
	victims []int32
}

type event struct {
	at  time.Time
	seq int
	do  func()
}

type eventHeap []event

func (h eventHeap) Len() int { return len(h) }
func (h eventHeap) Less(i, j int) bool {
	if !h[i].at.Equal(h[j].at) {
		return h[i].at.Before(h[j].at)
	}
	return h[i].seq < h[j].seq
}
func (h eventHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *eventHeap) Push(x any)   { *h = append(*h, x.(event)) }
func (h *eventHeap) Pop() any {
	old := *h
	e := old[len(old)-1]
	*h = old[:len(old)-1]
	return e
}
