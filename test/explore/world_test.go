package explore

import (
	"crypto/sha256"
	"time"

	"example.com/kpls-agent/internal/agent"
	"example.com/kpls-agent/internal/restart"
)

// world is everything at one instant. Two that are equal have the same future.
type world struct {
	vm     [maxBrokers]int32 // numbers of explorer.vms
	read   [maxBrokers]int32 // what each agent has read of the log, where that is not all of it
	log    int32             // number of explorer.views
	b      [maxBrokers]broker
	left   [maxBudgets]uint8 // of the budgets
	fresh  [newsKinds]uint8  // how long ago something happened that an agent cannot know at once
	given  int8              // the newest manifest that was handed out
	leader int8              // of the quorum: a broker, or no broker's
	idle   uint8             // so many long whiles have passed since the last record (config.silence)
	// victims are the brokers that were taken down for a bad manifest, a bit each.
	victims uint8
	shown   uint8 // what a deaf broker still shows: who is registered, and who is in sync (three bits each)
}

const noBroker = -1

// broker is one broker's process and its place in the cluster.
type broker struct {
	is   flags
	runs int8  // version whose listeners the process has
	boot int8  // version the process was started with, while a dynamic configuration beats it
	from int8  // version from which it was rolled back last, until that is resumed; 0: none
	inv  uint8 // the process's invocation
	gone uint8 // how long ago it last went by itself: see old
	ends uint8 // the service manager's own restarts
	back uint8 // how long ago it last answered although its agent was about to restart it
}

type flags uint32

const (
	up      flags = 1 << iota // a process runs
	ready                     // it answers
	listed                    // registered and not fenced, by the controllers' word
	inSync                    // in every ISR that it belongs to
	failed                    // its process ended by itself
	stopped                   // somebody stopped it
	job                       // the service manager is about to start it
	taken                     // its agent took it down, and it is not back
	struck                    // something befell it
	blank                     // it answers with empty metadata
	deaf                      // it hears no controller: what it shows stays as it is
	late                      // its vote is not caught up
	slow                      // its replicas do not catch up
	dynamic                   // a dynamic configuration overrides a managed property
	dropped                   // Kafka has dropped dynamic settings when it started
	// What follows is of its VM.
	full   // no byte can be written
	blind  // the service manager does not say how the unit is
	denied // the service manager refuses a restart, and says so
	hazard
	drops
	edit
	storage
	stray  // of the first broker: the log has the record of a later version
	cutOff // no other broker answers this agent
	mute   // it can read the log, and write nothing
)

func (b *broker) has(f flags) bool { return b.is&f == f }
func (b *broker) any(f flags) bool { return b.is&f != 0 }
func (b *broker) set(f flags)      { b.is |= f }
func (b *broker) clear(f flags)    { b.is &^= f }

// old is the count of short whiles after which an agent has to know of a thing: what it decides on may
// be 2 s old, and metadata and records are on their way for up to a second.
const old = 3

// news are things that an agent cannot know at once.
type news int

const (
	newPause news = iota
	newHalt
	newForeign  // a record that nobody can read
	newCancel   // a rolling restart was taken back
	newRelease  // a claim was deleted by somebody else than who held it
	newManifest // some agent has another manifest
	newHarm     // what a restart would do beyond itself
	newLeader   // of the quorum
	newsKinds
)

// vm is what happens on one VM: its agent, its disk, its clock, its probes.
type vm struct {
	i        int8 // its broker
	a        agent.Agent
	now      time.Time // by its clock
	dead     bool
	do       restart.Action // what the agent does just now
	issued   bool           // the service manager has been asked for the restart
	disk     restart.Journal
	file     int8 // the version that server.properties was written for
	good     int8 // the last good copy; none is none
	unproven bool // the mark that server.properties is new
	manifest int8 // in force; none is none
	cluster  uint32
	running  uint32
	logAt    time.Time // everything appended before that was read
	claim    string    // its claim as read back, and when
	claimAt  time.Time
	allowed  uint8 // listeners whose probes may be open, a bit each
	planned  bool  // the probes were informed of a restart
	held     uint8 // listeners that were open then
	answered uint8 // probes of a load balancer since the port was opened
}

const none = -1

// watcher is shown each decision, and the VM after it.
type watcher func(i int, after *vm, t agent.Turn)

// explorer numbers what it has seen.
type explorer struct {
	o     config
	delay int // the budget of this name; -1: there is none
	lag   int
	lost  int
	deny  int
	// manifests is true where agents may differ in theirs.
	manifests bool

	vms      []*vm
	vmIDs    map[[16]byte]int32
	views    []*restart.View
	viewIDs  map[[16]byte]int32
	posts    []restart.Status
	postIDs  map[[16]byte]int32
	stepped  map[stepKey]step
	moved    map[moveKey]moved
	clusters map[clusterKey]*restart.ClusterFacts
	zones    map[int32]string
	listens  []string // every listener of every manifest, for bits

	nonce    string // the next one
	deciding time.Duration
	decided  int
	rested   int // how often the reasons of a world at rest were judged
	// watch is called for every decision that is computed; nil: nobody asks.
	watch watcher
	// merged is shown each VM that is taken for one that was there already; nil: nobody asks.
	merged func(id int32, v *vm)
	buf    []byte
}

func newExplorer(o config) *explorer {
	x := &explorer{
		o: o, delay: -1, lag: -1, lost: -1, deny: -1,
		vmIDs: map[[16]byte]int32{}, viewIDs: map[[16]byte]int32{}, postIDs: map[[16]byte]int32{},
		stepped: map[stepKey]step{}, moved: map[moveKey]moved{}, clusters: map[clusterKey]*restart.ClusterFacts{},
		zones: map[int32]string{}, nonce: "0", manifests: o.oneByOne || len(o.versions) > 1,
	}
	for k, b := range o.budgets {
		switch b.fault {
		case "delay":
			x.delay = k
		case "stale read":
			x.lag = k
		case "lost answer":
			x.lost = k
		case "refused record":
			x.deny = k
		}
	}
	for i := range o.n {
		x.zones[int32(i+1)] = o.zone(i)
	}
	seen := map[string]bool{}
	for v := range int8(len(o.versions) + 1) {
		for _, name := range append(x.version(v).names(), x.version(v).absent...) {
			if !seen[name] {
				seen[name] = true
				x.listens = append(x.listens, name)
			}
		}
	}
	return x
}

func (x *explorer) bit(listener string) uint8 {
	for k, name := range x.listens {
		if name == listener {
			return 1 << k
		}
	}
	return 0
}

func (x *explorer) bits(listeners []string) (out uint8) {
	for _, name := range listeners {
		out |= x.bit(name)
	}
	return out
}

func digest(b []byte) (h [16]byte) {
	sum := sha256.Sum256(b)
	copy(h[:], sum[:])
	return h
}

// intern numbers a VM by its key.
func (x *explorer) intern(v *vm) int32 {
	x.buf = v.key(x.buf[:0], x.o.silence)
	h := digest(x.buf)
	if id, ok := x.vmIDs[h]; ok {
		if x.merged != nil {
			x.merged(id, v)
		}
		return id
	}
	id := int32(len(x.vms))
	x.vms = append(x.vms, v)
	x.vmIDs[h] = id
	return id
}

func (x *explorer) internView(v *restart.View) int32 {
	x.buf = v.AppendKey(x.buf[:0], takeoverAfter)
	h := digest(x.buf)
	if id, ok := x.viewIDs[h]; ok {
		return id
	}
	id := int32(len(x.views))
	x.views = append(x.views, v)
	x.viewIDs[h] = id
	return id
}

func (x *explorer) internPost(s restart.Status) int32 {
	x.buf = s.AppendKey(x.buf[:0])
	h := digest(x.buf)
	if id, ok := x.postIDs[h]; ok {
		return id
	}
	id := int32(len(x.posts))
	x.posts = append(x.posts, s)
	x.postIDs[h] = id
	return id
}

// key is what of a VM decides on its future.
func (v *vm) key(b []byte, heartbeats bool) []byte {
	b = append(b, byte(v.i), byte(v.file), byte(v.good), byte(v.manifest), one(v.unproven)|one(v.dead)<<1|one(v.planned)<<2|one(v.issued)<<3, v.allowed, v.held, v.answered)
	if v.dead {
		return v.disk.AppendKey(b, v.now)
	}
	b = v.a.AppendKey(b, v.now, heartbeats)
	f := v.a.Facts()
	b = append(b, byte(v.cluster), byte(v.cluster>>8), byte(v.cluster>>16), byte(v.cluster>>24),
		byte(v.running), byte(v.running>>8), v.logAge()|one(f.Cluster.At.Before(v.claimAt))<<4)
	b = append(append(b, v.claim...), 0)
	b = append(append(b, v.do.Kind...), 0)
	switch v.do.Kind {
	case restart.ActSave:
		b = v.do.Journal.AppendKey(b, v.now)
	case restart.ActAppend:
		w := restart.NewView()
		for _, r := range v.do.Records {
			b = append(append(append(b, r.Key...), 0), one(r.Value == nil))
			w.Fold(r)
		}
		b = w.AppendKey(b, takeoverAfter)
	case restart.ActApply:
		b = append(b, f.Manifest.Hash...)
	case restart.ActRestart:
		b = append(b, one(v.now.After(v.do.NotAfter)))
	default:
	}
	return b
}

// logAge is the class of how long ago the log was read to its end.
func (v *vm) logAge() byte {
	switch d := v.now.Sub(v.logAt); {
	case v.logAt.IsZero():
		return 0
	case d < 1500*time.Millisecond:
		return 1
	case d < 2*time.Second:
		return 2
	default:
		return 3
	}
}

func one(on bool) byte {
	if on {
		return 1
	}
	return 0
}
