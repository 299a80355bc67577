package sim

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"example.com/kpls-agent/internal/restart"
)

// The model of a Kafka cluster in KRaft mode: what its brokers and controllers
// do, as far as agents can see it or break it. Times are Kafka's defaults.
const (
	sessionTimeout = 9 * time.Second // broker.session.timeout.ms
	voterTimeout   = 2 * time.Second // controller.quorum.fetch.timeout.ms
)

// broker is one broker's process and its place in the cluster.
type broker struct {
	id       int32
	zone     string
	running  bool // a process runs
	ready    bool // it has started up: its listeners answer
	frozen   bool // it does nothing (KAFKA-19586, or a stopped VM)
	alive    bool // registered and not fenced, by the controllers' word
	failed   bool // the process ended by itself
	stopping bool // its service manager has asked it to stop
	stopped  bool // somebody stopped it
	starts   int
	named    int // the start that name is of
	name     string
	// restarts counts the service manager's own starts since somebody last asked for one.
	restarts int
	// startFailures are those in which no process of the broker's came to run.
	startFailures int
	waits         bool   // the service manager will start it again in a moment
	dropped       bool   // Kafka refused its dynamic settings when this process started
	runs          config // what the process runs
	version       string // the manifest from which that came
	dynamic       bool   // a dynamic configuration overrides a managed property
	lag           time.Duration
	deaf          bool // it hears no controller: its metadata stays as it is
	mute          bool // no controller hears it: it gets fenced
	blank         bool // it answers with empty metadata
	slow          bool // its replicas do not catch up
	started       time.Time
	returned      time.Time // when it last was unfenced
	left          time.Time // when it last was fenced
	deafAt        time.Time
	badAt         time.Time // when its process last ended or froze
	struck        time.Time // when anybody but its agent last did something to it
	dynamicAt     time.Time
	// takenDown is true from an agent's restart until the broker is back.
	takenDown bool
	epoch     int // of its process: what was scheduled for an earlier one is dropped
}

// config is what a process runs of what is managed.
type config struct {
	listeners map[string]string
	hidden    string // a value that DescribeConfigs does not show
}

func (c config) equal(o config) bool {
	return c.hidden == o.hidden && maps.Equal(c.listeners, o.listeners)
}

// invocation names the process of the last start. Every decision asks for it, so it is kept.
func (b *broker) invocation() string {
	if b.named != b.starts {
		b.named, b.name = b.starts, fmt.Sprintf("%d-%d", b.id, b.starts)
	}
	return b.name
}

// calm is true if nothing has happened to the broker since its process started.
func (b *broker) calm(now time.Time) bool {
	return b.alive && !b.mute && !b.deaf && !b.slow && now.Sub(b.returned) < startTimeout
}

// listens is true if its port takes connections, whether anything is said there or not.
func (b *broker) listens() bool { return b.running && b.ready }

// answers is true if requests to it are answered.
func (b *broker) answers() bool { return b.running && b.ready && !b.frozen }

// partition is one partition of a topic.
type partition struct {
	topic    string
	id       int32
	at       int // place of its topic in every view
	replicas []int32
	isr      []int32 // replaced, never changed
	need     int     // min.insync.replicas
	// out is when each replica last left the ISR, in when it last came into it; short keeps it out.
	out, in map[int32]time.Time
	short   map[int32]bool
}

// voter is a controller: a broker's second role, or a node of its own.
type voter struct {
	id     int32
	broker *broker // nil for a node of its own
	down   bool
	behind bool
	since  time.Time // when down or behind last changed
}

func (v *voter) up() bool {
	return !v.down && (v.broker == nil || v.broker.running && !v.broker.frozen)
}

type cluster struct {
	*world
	brokers    []*broker
	partitions []*partition           // the last one is the coordination log
	hosted     map[int32][]*partition // by replica
	topics     []restart.Topic        // as they are now; what it holds is replaced, never changed
	stale      map[int]bool           // topics of which something has changed
	byTopic    [][]*partition
	minISR     map[string]int
	voters     []*voter
	history    []snapshot
	leader     int32     // of the quorum, -1 for none
	elected    time.Time // when it became that
	electing   bool
	// Properties of this cluster's Kafka.
	hides         bool          // the authorizer hides all topics from the agents
	keepsSessions bool          // KAFKA-19047: no registration while an old session lasts
	freezes       bool          // KAFKA-19586: some freeze after they have come back
	perPartition  [2]int        // catch-up, in milliseconds for a partition
	together      int           // so many of them at once; 0 is one
	perView       time.Duration // how long it takes to get and decode one view
	// onProcess is called when a broker's process has changed, onStart when one
	// starts: it says what server.properties makes of it.
	onProcess func(*broker)
	onStart   func(*broker) (runs config, version, bad string)
}

func (c *cluster) broker(id int32) *broker { return c.brokers[id-1] }

func (c *cluster) logPartition() *partition { return c.partitions[len(c.partitions)-1] }

func (c *cluster) voter(id int32) *voter {
	for _, v := range c.voters {
		if v.id == id {
			return v
		}
	}
	return nil
}

// caughtUp is true if a voter could stand in for another one.
func (c *cluster) caughtUp(v *voter) bool {
	return v.up() && !v.behind && (v.broker == nil || c.since(v.broker.started) > 300*time.Millisecond)
}

// elect looks for a leader of the quorum where the present one is gone. It takes a moment.
func (c *cluster) elect() {
	if l := c.voter(c.leader); l != nil && l.up() || c.electing {
		return
	}
	if c.leader != -1 {
		c.leader, c.elected = -1, c.now
	}
	c.electing = true
	c.after(c.between(100, 2000), func() {
		c.electing = false
		var up []int32
		for _, v := range c.voters {
			if v.up() {
				up = append(up, v.id)
			}
		}
		if len(up) < len(c.voters)/2+1 {
			return
		}
		c.leader, c.elected = up[c.rng.IntN(len(up))], c.now
		c.note("controller %d is elected", c.leader)
	})
}

// setISR changes one partition's in-sync replicas.
func (c *cluster) setISR(p *partition, isr []int32) {
	for _, id := range p.replicas {
		if slices.Contains(p.isr, id) && !slices.Contains(isr, id) {
			p.out[id] = c.now
		}
		if !slices.Contains(p.isr, id) && slices.Contains(isr, id) {
			p.in[id] = c.now
		}
	}
	p.isr = isr
	c.stale[p.at] = true
}

// leave fences a broker. The last in-sync replica of a partition stays.
func (c *cluster) leave(b *broker) {
	if !b.alive {
		return
	}
	b.alive, b.left = false, c.now
	for _, p := range c.hosted[b.id] {
		if len(p.isr) > 1 && slices.Contains(p.isr, b.id) {
			c.setISR(p, slices.DeleteFunc(slices.Clone(p.isr), func(id int32) bool { return id == b.id }))
		}
	}
	c.record()
}

// unheard fences a broker that the controllers have heard nothing of for a session's time.
func (c *cluster) unheard(b *broker) {
	epoch := b.epoch
	c.after(sessionTimeout, func() {
		if b.epoch == epoch && (!b.answers() || b.mute) {
			c.leave(b)
			c.onProcess(b)
		}
	})
}

// exit ends the process; clean after a controlled shutdown.
func (c *cluster) exit(b *broker, clean bool) {
	b.running, b.ready, b.frozen, b.stopping, b.badAt = false, false, false, false, c.now
	b.epoch++
	c.elect()
	if clean {
		c.leave(b)
	} else {
		c.unheard(b)
	}
	c.onProcess(b)
}

// launch starts a process on what server.properties says now.
func (c *cluster) launch(b *broker, by string) {
	wait := time.Duration(0)
	if heard := c.now.Add(sessionTimeout); c.keepsSessions && (b.alive || c.since(b.left) < sessionTimeout) {
		if !b.alive {
			heard = b.left.Add(sessionTimeout)
		}
		wait = heard.Sub(c.now) // DUPLICATE_BROKER_REGISTRATION until then
	}
	if !c.keepsSessions {
		c.leave(b)
	}
	b.starts++
	b.epoch++
	if b.alive { // the old session ends, also where the new process hangs and never asks for one
		c.unheard(b)
	}
	b.stopping, b.waits = false, false
	b.running, b.ready, b.failed, b.stopped, b.frozen, b.started = true, false, false, false, false, c.now
	bad := ""
	b.runs, b.version, bad = c.onStart(b)
	c.note("broker %d starts with %s (%s)", b.id, b.version, by)
	c.elect()
	c.onProcess(b)
	epoch := b.epoch
	if bad == "exits" || bad == "loops" {
		c.after(c.between(500, 4000), func() {
			if b.epoch == epoch {
				c.note("broker %d exits", b.id)
				b.failed = bad == "exits"
				c.exit(b, true)
				if bad == "loops" {
					b.restarts++
					c.launch(b, "the service manager")
				}
			}
		})
		return
	}
	c.after(c.between(1500, 6000)+wait, func() {
		if b.epoch != epoch || bad == "hangs" {
			return
		}
		c.leave(b)
		b.ready = true
		c.note("broker %d serves", b.id)
		c.rejoin(b)
		if c.freezes && c.oneIn(4) {
			c.after(c.between(500, 20000), func() {
				if b.epoch == epoch {
					c.freeze(b, c.between(20000, 50000))
				}
			})
		}
	})
}

// rejoin unfences a broker and lets its replicas catch up, one after the other.
func (c *cluster) rejoin(b *broker) {
	if b.alive || !b.answers() || b.mute {
		return
	}
	b.alive, b.returned = true, c.now
	c.record()
	c.onProcess(b)
	epoch := b.epoch
	c.after(50*time.Millisecond, func() {
		if b.epoch == epoch {
			b.takenDown = false
		}
	})
	at, behind := time.Duration(0), []*partition{}
	for _, p := range c.hosted[b.id] {
		if slices.Contains(p.isr, b.id) {
			continue
		}
		at += c.between(c.perPartition[0], c.perPartition[1])
		if behind = append(behind, p); len(behind) >= c.together {
			c.catchUp(b, behind, at)
			behind = nil
		}
	}
	c.catchUp(b, behind, at)
}

// layOut makes the topics of what was placed.
func (c *cluster) layOut() {
	c.hosted, c.stale = map[int32][]*partition{}, map[int]bool{}
	for _, p := range c.partitions {
		slices.Sort(p.replicas)
		p.isr, p.out, p.in, p.short = p.replicas, map[int32]time.Time{}, map[int32]time.Time{}, map[int32]bool{}
		for _, id := range p.replicas {
			c.hosted[id] = append(c.hosted[id], p)
		}
		if p.at = len(c.topics) - 1; p.at < 0 || c.topics[p.at].Name != p.topic {
			c.topics = append(c.topics, restart.Topic{Name: p.topic})
			p.at++
		}
		t := &c.topics[p.at]
		p.id = int32(len(t.Partitions))
		t.Partitions = append(t.Partitions, c.shown(p))
		c.minISR[p.topic] = p.need
	}
	c.byTopic = make([][]*partition, len(c.topics))
	for _, p := range c.partitions {
		c.byTopic[p.at] = append(c.byTopic[p.at], p)
	}
	c.record()
}

func (c *cluster) catchUp(b *broker, behind []*partition, d time.Duration) {
	if len(behind) == 0 {
		return
	}
	epoch := b.epoch
	c.after(d, func() {
		if b.epoch != epoch || !b.alive {
			return
		}
		var later []*partition
		for _, p := range behind {
			switch {
			case slices.Contains(p.isr, b.id):
			case b.slow || p.short[b.id] || !slices.ContainsFunc(p.isr, func(id int32) bool { return c.broker(id).alive }):
				later = append(later, p)
			default:
				isr := append(slices.Clone(p.isr), b.id)
				slices.Sort(isr)
				c.setISR(p, isr)
			}
		}
		c.record()
		c.catchUp(b, later, 2*time.Second)
	})
}

// freeze stops a process for a while; the controllers fence it meanwhile.
func (c *cluster) freeze(b *broker, d time.Duration) {
	if !b.running || b.frozen {
		return
	}
	c.note("broker %d freezes for %s", b.id, d)
	b.frozen, b.badAt, b.struck = true, c.now, c.now
	c.elect()
	c.unheard(b)
	c.onProcess(b)
	epoch := b.epoch
	c.after(d, func() {
		if b.epoch == epoch && b.frozen {
			b.frozen = false
			c.note("broker %d goes on", b.id)
			c.rejoin(b)
			c.elect()
			c.onProcess(b)
		}
	})
}
