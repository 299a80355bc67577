package sim

import (
	"fmt"
	"testing"
	"time"
)

// load is what all agents together ask of a cluster.
type load struct {
	records      int // appended to the log
	fetches      int // answered with records
	observations int // of the cluster: three Metadata for all topics, two small ones
	asks         int // of the own broker for its configuration
	steps        int // of the machines, which cost the agents' own time
}

func (l load) minus(o load) load {
	return load{l.records - o.records, l.fetches - o.fetches, l.observations - o.observations, l.asks - o.asks, l.steps - o.steps}
}

// fleet is a roll-out over a large cluster at peace, and a while of rest after it.
type fleet struct {
	brokers, partitions, maxUnavailable int

	rollout      time.Duration
	during, rest load
	resting      time.Duration
	failures     []string
}

// play lays out brokers in three zones with one replica of every partition in
// each, three controllers of their own, and rolls one manifest out.
func (f *fleet) play() {
	r := &run{cluster: &cluster{world: newWorld(1, false), leader: 1001, minISR: map[string]int{}}, versions: map[string]*version{}, zones: map[int32]string{}}
	// A broker's replicas come in sync within some seconds; a view of 200,000
	// partitions takes about a fifth of a second (BenchmarkObserve200x200k).
	r.perPartition, r.together, r.perView = [2]int{1, 3}, 500, time.Duration(f.partitions)*time.Microsecond
	for i := range f.brokers {
		b := &broker{id: int32(i + 1), zone: fmt.Sprint(i % 3), running: true, ready: true, alive: true, starts: 1, lag: r.between(0, 300)}
		r.brokers, r.zones[b.id] = append(r.brokers, b), b.zone
	}
	for i := range 3 {
		r.voters = append(r.voters, &voter{id: int32(1001 + i)})
	}
	for i := range f.partitions {
		p := &partition{topic: fmt.Sprintf("t%04d", i/100), need: 2}
		for zone := range 3 {
			p.replicas = append(p.replicas, int32(3*r.rng.IntN(f.brokers/3)+zone+1))
		}
		r.partitions = append(r.partitions, p)
	}
	r.partitions = append(r.partitions, &partition{topic: "zz_kpls_agent", need: 2, replicas: []int32{1, 2, 3}})
	r.layOut()
	r.setUp()
	v := version{wants: config{listeners: map[string]string{"EXTERNAL": "a"}}, maxUnavailable: f.maxUnavailable}
	r.versions["v0"], r.versions["v1"] = &version{wants: config{listeners: map[string]string{}}, maxUnavailable: 1}, &v
	r.begin()
	r.untilRest(time.Minute) // every agent has said once that it is there
	from := r.now
	r.give("v1", 0, 1000)
	begun := r.load
	r.untilRest(24 * time.Hour)
	f.rollout, f.during, f.failures = r.now.Sub(from), r.load.minus(begun), r.failures
	if !r.rest() {
		f.failures = append(f.failures, "the roll-out has not ended")
	}
	ended, at := r.load, r.now
	for r.next(at.Add(10 * time.Minute)) {
		r.log.forget(r.slowest())
	}
	f.rest, f.resting = r.load.minus(ended), r.now.Sub(at)
}

// untilRest plays until all is done, or for a time.
func (r *run) untilRest(most time.Duration) {
	end, check := r.now.Add(most), r.now
	for len(r.failures) == 0 && r.next(end) {
		if r.now.After(check) {
			check = r.now.Add(time.Second)
			r.log.forget(r.slowest())
			if r.latest != "" && r.rest() {
				return
			}
		}
	}
}

// slowest is how far the log was read by the agent that has read least of it.
func (r *run) slowest() int {
	least := r.log.end()
	for _, a := range r.agents {
		if !a.dead { // the next process of a dead one begins again
			least = min(least, a.offset)
		}
	}
	return least
}

func (f *fleet) row() string {
	per := func(n int, d time.Duration) string { return fmt.Sprintf("%.2f", float64(n)/d.Seconds()) }
	perAgent := func(n int, d time.Duration) string {
		return fmt.Sprintf("%.3f", float64(n)/d.Seconds()/float64(f.brokers))
	}
	return fmt.Sprintf("| %d | %d | %d | %s | %s | %s | %s | %s | %s | %s | %s |\n", f.brokers, f.partitions, f.maxUnavailable, f.rollout.Round(time.Second),
		per(f.during.records, f.rollout), perAgent(f.during.fetches, f.rollout), per(f.during.observations, f.rollout),
		per(f.rest.records, f.resting), perAgent(f.rest.fetches, f.resting), per(f.rest.observations, f.resting), perAgent(f.rest.asks, f.resting))
}

// TestFleet: zone by zone takes as long as the zones, not as the brokers, and
// what an agent costs does not grow with their number.
func TestFleet(t *testing.T) {
	one, zones, many := fleet{brokers: 30, partitions: 600, maxUnavailable: 1}, fleet{brokers: 30, partitions: 600, maxUnavailable: 10}, fleet{brokers: 90, partitions: 1800, maxUnavailable: 30}
	for _, f := range []*fleet{&one, &zones, &many} {
		f.play()
		if len(f.failures) > 0 {
			t.Fatal(f.failures)
		}
		t.Log(f.row())
		if perSecond := float64(f.rest.records) / f.resting.Seconds(); perSecond > 2.1 {
			t.Errorf("%d brokers: %.1f records a second at rest", f.brokers, perSecond)
		}
		if f.rest.observations > 0 {
			t.Errorf("%d brokers: %d observations of the cluster at rest", f.brokers, f.rest.observations)
		}
		if perSecond := float64(f.during.observations) / f.rollout.Seconds() / float64(min(f.maxUnavailable, f.brokers/3)); perSecond > 4 {
			t.Errorf("%d brokers, %d at once: %.1f observations a second for each that is down", f.brokers, f.maxUnavailable, perSecond)
		}
	}
	if zones.rollout > one.rollout/4 {
		t.Errorf("by zones it takes %s, one by one %s", zones.rollout, one.rollout)
	}
	if many.rollout > 2*zones.rollout {
		t.Errorf("three times the brokers take %s instead of %s", many.rollout, zones.rollout)
	}
}
