package explore

import (
	"maps"
	"slices"
	"time"

	"example.com/kpls-agent/internal/restart"
)

// version is one manifest, and what it does to a process.
type version struct {
	listeners map[string]string
	hidden    string // a value that DescribeConfigs does not show
	absent    []string
	// bad is what becomes of a process started with it: "", exits, loops, hangs, wrong.
	bad       string
	refusedBy int  // the broker that cannot take it; 0 is none
	portTaken bool // and it learns that only when it asks its process
}

// wants is true if a process of version v runs what version o asks for.
func (v *version) equal(o *version) bool {
	return v.hidden == o.hidden && maps.Equal(v.listeners, o.listeners)
}

func (v *version) names() []string { return slices.Sorted(maps.Keys(v.listeners)) }

var (
	nothing = version{listeners: map[string]string{}}
	first   = version{listeners: map[string]string{"E": "x"}}
	second  = version{listeners: map[string]string{"E": "y"}}
	third   = version{listeners: map[string]string{"E": "z"}}
	secret  = version{listeners: map[string]string{"E": "x"}, hidden: "secret"}
	two     = version{listeners: map[string]string{"E": "x", "F": "x"}}
	removal = version{listeners: map[string]string{"E": "x"}, absent: []string{"F"}}
)

func (v version) which(bad string) version { v.bad = bad; return v }

// budget is how often a fault may happen.
type budget struct {
	fault string
	n     uint8
}

// config is one shape of a cluster, with all that may happen to it.
type config struct {
	name  string
	n     int
	zones string // one letter a broker; empty: each its own
	most  int    // max_unavailable; 0 is 1
	need  int    // min.insync.replicas; 0: one less than brokers, at least 1
	// versions are the manifests in the order in which they come; the first one is there at the start.
	// before is what the processes run then.
	versions []version
	before   version
	oneByOne bool // a manifest reaches one VM after the other
	// voters are the brokers with a vote in the quorum, 1 and on; none: three nodes of their own.
	voters   []int
	budgets  []budget
	only     int   // faults befall this broker only; 0: any
	standing bool  // the faults are there from the start, on broker `only`, and may end
	at       []int // the broker of each of them, where they differ
	heavy    bool  // left out with EXPLORE_QUICK
	// deafFirst has the deaf broker say which brokers there are to be asked: one that it does not know is not asked.
	deafFirst bool
	slow      bool // a restart of the unit takes time: its stop and its start are two events
	silence   bool // the time of records counts: who is silent is noticed
	post      bool // a status is published later than it was decided: an event of its own
	soak      time.Duration
	closes    []string
	drain     time.Duration
	balancer  bool // a load balancer watches the probes
	limit     int  // so many states at most; 0 is no limit
}

const (
	maxBrokers = 3
	maxBudgets = 6

	short, long = 1100 * time.Millisecond, 31 * time.Second // what time passes by

	// Shorter than a long while: what is merged by the class of its age must get older by one.
	startTimeout    = 30 * time.Second
	progressTimeout = 30 * time.Second
	takeoverAfter   = 30 * time.Second
)

func (o *config) zone(i int) string {
	if o.zones == "" {
		return string(rune('a' + i))
	}
	return o.zones[i : i+1]
}

func (o *config) minISR() int {
	if o.need > 0 {
		return o.need
	}
	return max(1, o.n-1)
}

// logNeed is min.insync.replicas of the coordination topic.
func (o *config) logNeed() int { return 1 + o.n/3 }

func (o *config) maxUnavailable() int { return max(1, o.most) }

// votes is true if a broker is a voter of the quorum.
func (o *config) votes(i int) bool { return slices.Contains(o.voters, i+1) }

// hash is the name of a version: 0 is what was there before.
func hash(v int8) string { return [...]string{"v0", "v1", "v2", "v3", "v4"}[v] }

// versionOf is the version that a hash, or a target, names.
func versionOf(target string) int8 {
	if len(target) < 2 {
		return none
	}
	return int8(target[1] - '0')
}

func (x *explorer) version(v int8) *version {
	if v == 0 {
		return &x.o.before
	}
	return &x.o.versions[v-1]
}

// same is true if two versions ask for the same.
func (x *explorer) same(a, b int8) bool { return a == b || x.version(a).equal(x.version(b)) }

// runs is what a process runs that was started with a version.
func (x *explorer) runs(v int8) map[string]string {
	have := x.version(v)
	out := map[string]string{"I": "i"}
	for name, is := range have.listeners {
		if have.bad == "wrong" {
			is = "nonsense"
		}
		out[name] = is
	}
	return out
}

func (x *explorer) options(i int) restart.Options {
	return restart.Options{
		Self: int32(i + 1), Agent: "explored", StartTimeout: startTimeout, ProgressTimeout: progressTimeout, Takeover: takeoverAfter,
	}
}
