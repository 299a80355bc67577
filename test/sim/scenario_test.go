package sim

import (
	"fmt"
	"maps"
	"slices"
	"time"

	shell "example.com/kpls-agent/internal/agent"
)

// version is one manifest, and what it does to a process.
type version struct {
	wants  config
	absent []string
	// bad is what becomes of a process started with it: "", exits, loops, hangs, wrong.
	bad            string
	maxUnavailable int
	soak           time.Duration
	closes         []string // listeners with during_restart: close
	drain          time.Duration
	refusedBy      int32 // the broker that cannot take it; 0 is none
	portTaken      bool  // and that shows only when its running process is asked
	// victims are brokers that went down with it, since the last word of an operator.
	victims []int32
	sorted  []string // what names returned
}

// names lists the listeners that it has, in their order.
func (v *version) names() []string {
	if v.sorted == nil {
		v.sorted = slices.Sorted(maps.Keys(v.wants.listeners))
	}
	return v.sorted
}

// runs is what a process runs that was started with it.
func (v *version) runs() config {
	if v.bad != "wrong" {
		return v.wants
	}
	wrong := config{listeners: maps.Clone(v.wants.listeners), hidden: v.wants.hidden}
	for name := range wrong.listeners {
		wrong.listeners[name] = "nonsense"
	}
	return wrong
}

// shape lays out a cluster: brokers, zones, voters, partitions.
func (r *run) shape() {
	n := []int{1, 2, 3, 3, 3, 4, 5, 6}[r.rng.IntN(8)]
	zones := min(n, []int{1, 2, 3, 3}[r.rng.IntN(4)])
	c := &cluster{world: r.world, leader: 1, minISR: map[string]int{}, keepsSessions: r.oneIn(3), freezes: r.oneIn(6), perPartition: [2]int{20, 800}}
	if r.oneIn(5) {
		c.perPartition = [2]int{2000, 20000}
	}
	for i := range n {
		b := &broker{id: int32(i + 1), zone: fmt.Sprint(i % zones), running: true, ready: true, alive: true, starts: 1, lag: r.between(0, 400)}
		c.brokers = append(c.brokers, b)
		r.zones[b.id] = b.zone
	}
	r.cluster = c
	r.placeVoters(n)
	r.placePartitions(n)
	c.layOut()
}

// placeVoters: all brokers vote, or three of them, or three nodes of their own.
func (r *run) placeVoters(n int) {
	switch k := r.rng.IntN(4); k {
	case 0:
		for i := range 3 {
			r.voters = append(r.voters, &voter{id: int32(101 + i)})
		}
	default:
		voters := n
		if k == 1 && n > 3 {
			voters = 3
		}
		for i := range voters {
			r.voters = append(r.voters, &voter{id: int32(i + 1), broker: r.brokers[i]})
		}
	}
	r.leader = r.voters[r.rng.IntN(len(r.voters))].id
}

// placePartitions: replicas in different zones where there are enough, as Kafka
// places them, with min.insync.replicas of several values. Some clusters need
// only one replica everywhere, so the other gates stand alone.
func (r *run) placePartitions(n int) {
	rf, easy := min(3, n), r.oneIn(3)
	for i := range 1 + r.rng.IntN(8) {
		p := &partition{topic: fmt.Sprintf("t%d", i), need: 1}
		first := r.rng.IntN(n)
		for k := range rf {
			p.replicas = append(p.replicas, r.brokers[(first+k)%n].id)
		}
		if !easy && rf > 1 {
			p.need = 1 + r.rng.IntN(rf) // up to one that no restart can protect
		}
		r.partitions = append(r.partitions, p)
	}
	log := &partition{topic: "__kpls_agent", need: 1 + rf/3}
	for i := range rf {
		log.replicas = append(log.replicas, r.brokers[i].id)
	}
	r.partitions = append(r.partitions, log)
}

// manifests writes one to three manifests and has them handed out.
func (r *run) manifests() {
	n := len(r.brokers)
	base := version{maxUnavailable: 1, soak: time.Duration(r.rng.IntN(3)*10) * time.Second}
	if n >= 4 {
		base.maxUnavailable = 1 + r.rng.IntN(2)
	}
	if r.oneIn(5) {
		base.closes, base.drain = []string{"EXTERNAL"}, r.between(100, 6000)
	}
	with := func(listeners map[string]string, hidden string) *version {
		v := base
		v.wants = config{listeners, hidden}
		return &v
	}
	none := config{listeners: map[string]string{}}
	r.versions["v0"] = &version{wants: none, maxUnavailable: 1}
	r.versions["v1"] = with(map[string]string{"EXTERNAL": "a"}, "")
	r.give("v1", 2*time.Second, 20000)
	if r.oneIn(3) {
		return
	}
	v2 := with(map[string]string{"EXTERNAL": "b"}, "")
	switch r.rng.IntN(10) {
	case 0, 1, 2:
		v2.bad = []string{"exits", "loops", "wrong", "hangs"}[r.rng.IntN(4)]
	case 3, 4:
		v2 = with(map[string]string{"EXTERNAL": "a", "EXTERNAL2": "a"}, "")
	case 5, 6, 7:
		v2 = with(map[string]string{"EXTERNAL": "a"}, "secret")
	case 8:
		v2.refusedBy, v2.portTaken = r.brokers[r.rng.IntN(n)].id, len(r.partitions)%2 == 0
	}
	if n >= 4 {
		v2.maxUnavailable = 1 + r.rng.IntN(2)
	}
	r.versions["v2"] = v2
	if at := r.between(5000, 200000); r.oneIn(3) {
		r.lieInWait(at/8, func(*agent) { // in the middle of the first one's roll-out
			if r.latest == "v1" {
				r.give("v2", r.between(0, 8000), 3000)
			}
		})
	} else {
		r.give("v2", at, 15000)
	}
	if r.oneIn(2) {
		v3 := with(map[string]string{"EXTERNAL": "c"}, v2.wants.hidden)
		if _, two := v2.wants.listeners["EXTERNAL2"]; two {
			v3.absent = []string{"EXTERNAL2"}
		}
		r.versions["v3"] = v3
		r.give("v3", r.between(210000, 400000), 15000)
	}
}

// give hands a manifest out, to one VM after the other.
func (r *run) give(name string, at time.Duration, spread int) {
	r.schedule(at, func() {
		r.latest = name
		v := r.versions[name]
		r.note("manifest %s is handed out: %v hidden %q absent %v bad %q max_unavailable %d refused by %d", name, v.wants.listeners, v.wants.hidden, v.absent, v.bad, v.maxUnavailable, v.refusedBy)
	})
	for _, a := range r.agents {
		r.schedule(at+r.between(0, spread), func() { r.take(a, name) })
	}
}

// take lets one VM have a manifest, unless it has a newer one.
func (r *run) take(a *agent, name string) {
	if a.withheld || name <= a.manifest {
		return
	}
	a.manifest = name
	a.Notice(shell.Stale{Files: true})
	a.settle()
	a.poke(0)
}
