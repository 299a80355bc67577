//go:build shapes

package e2e

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"example.com/kpls-agent/test/fleet"
	"example.com/kpls-agent/test/sandbox"
	"example.com/kpls-agent/test/tables"
)

// shape is a kind of cluster other than the three combined nodes of one version
// that the tests of this package have.
type shape struct {
	name, kafka string
	looksAt     string // what gate_quorum looks at, for the table
	cluster     sandbox.Options
	manifest    fleet.ManifestOptions
	// away is how many brokers may be down at the same time.
	away int
	// checks are regular expressions for what `check` says on each broker, in addition to what it says everywhere.
	checks map[string]string
	// first makes sure that the cluster is what it is meant to be.
	first func(*bed)
	// controllerAway stops what controls the cluster, and starts it again. gate is what
	// blocks meanwhile. nil where the brokers themselves control it.
	controllerAway func(*bed) (back func())
	gate           string
}

var shapes = []shape{
	{
		name: "3 controllers, 3 brokers", kafka: "3.7.1", looksAt: "a caught-up majority of the controllers",
		cluster: sandbox.Options{Controllers: 3}, away: 1,
		checks:         map[string]string{"quorum": "^voters 101, 102, 103, the active controller is 10[123]$"},
		controllerAway: (*bed).withoutQuorum, gate: "gate_quorum",
	},
	{
		name: "dynamic quorum of 3 combined nodes", kafka: "4.1.1", looksAt: "a caught-up majority without the broker",
		cluster: sandbox.Options{Version: "4.1.1", DynamicQuorum: true}, away: 1,
		checks: map[string]string{"quorum": "^voters 1, 2, 3, the active controller is [123]$"},
		first:  func(b *bed) { b.hasFeature("kraft.version", 1) },
	},
	{
		name: "1 broker", kafka: "3.7.1", looksAt: "that the only voter leads",
		cluster: sandbox.Options{Brokers: 1}, away: 1,
		checks: map[string]string{"quorum": "^voters 1, the active controller is 1$"},
	},
	{
		name: "ZooKeeper, 3 brokers", kafka: "3.7.1", looksAt: "that all views name the same controller",
		cluster: sandbox.Options{ZooKeeper: true, Properties: func(int32) map[string]string { return map[string]string{"num.io.threads": "4"} }}, away: 1,
		checks:         map[string]string{"quorum": "^none: ZooKeeper mode, the active controller is broker [123]$", "clock": "not compared"},
		controllerAway: (*bed).withoutZooKeeper, gate: "gate_views",
	},
	{
		name: "3 combined nodes during an upgrade", kafka: "3.7.1, 3.9.1, 3.9.1", looksAt: "a caught-up majority without the broker",
		cluster: sandbox.Options{
			VersionOf: func(id int32) string { return []string{"3.7.1", "3.9.1", "3.9.1"}[id-1] },
			Format:    []string{"--release-version", "3.7"},
		},
		away: 1,
		checks: map[string]string{
			"quorum":                  "^voters 1, 2, 3, the active controller is [123]$",
			"versions of the brokers": "^brokers 2, 3 run Kafka 3.9, broker 1 runs Kafka 3.7: an upgrade is under way",
		},
		first: func(b *bed) {
			b.hasFeature("metadata.version", 19) // 3.7-IV4
			for id, version := range map[int32]string{1: "Kafka 3.7", 2: "Kafka 3.9", 3: "Kafka 3.9"} {
				b.runs(id, version)
			}
		},
	},
	{
		name: "5 combined nodes in 3 zones, `max_unavailable: 2`", kafka: "3.7.1", looksAt: "a caught-up majority without the broker and those with a claim",
		cluster:  sandbox.Options{Brokers: 5, Zone: zoneOf},
		manifest: fleet.ManifestOptions{Zone: zoneOf, MaxUnavailable: 2}, away: 2,
		checks: map[string]string{"quorum": "^voters 1, 2, 3, 4, 5, the active controller is [1-5]$"},
	},
}

// zoneOf puts two brokers each into zones a and b, and one into c.
func zoneOf(id int32) string { return string("aabbc"[id-1]) }

// TestShapes adds EXTERNAL to clusters of other shapes, under load, and writes the
// table of docs/clusters.md when SHAPES is `write`.
func TestShapes(t *testing.T) {
	rows := make([]string, len(shapes))
	for i, s := range shapes {
		t.Run(s.name, func(t *testing.T) { rows[i] = s.roll(t) })
	}
	if os.Getenv("SHAPES") != "write" || t.Failed() || slices.Contains(rows, "") {
		return
	}
	const head = "| cluster | Kafka | roll-out | most down | records sent | failed | lost | longest stall | what gate_quorum looks at |\n| --- | --- | --- | --- | --- | --- | --- | --- | --- |\n"
	if err := tables.Replace("../../docs/clusters.md", "shapes", head+strings.Join(rows, "")); err != nil {
		t.Fatal(err)
	}
}

// roll adds EXTERNAL by one manifest and returns a line of the table.
func (s shape) roll(t *testing.T) string {
	b := newBed(t, s.cluster)
	if s.first != nil {
		s.first(b)
	}
	load := newTraffic(b)
	before, controllers := b.starts(), b.controllerStarts()
	lb, host := balance(b, sandbox.ForwarderOptions{Interval: 200 * time.Millisecond})
	manifest := b.fleet.Manifest(s.manifest)
	if s.controllerAway != nil {
		b.blockedBy(s.gate, manifest, s.controllerAway)
		controllers = b.controllerStarts()
	}
	seen := b.followController()
	begin := time.Now()
	b.give(manifest)
	b.rolled(manifest)
	took := time.Since(begin)
	load.end()

	b.once(before)
	if now := b.controllerStarts(); now != controllers {
		t.Errorf("the other nodes were started %d times", now-controllers)
	}
	var restarts []sandbox.Restart
	b.until("the watcher has seen all restarts end", func() bool {
		var err error
		if restarts, err = b.watch.Restarts(); err != nil {
			t.Fatal(err)
		}
		return len(restarts) == len(b.Brokers)
	})
	var most []int32
	if s.controllerAway == nil { // else brokers may have been down for want of that, too
		most = b.watch.MostAway()
	}
	most = mostAway(restarts, most)
	if len(most) > s.away || len(most) > 1 && slices.ContainsFunc(most, func(id int32) bool { return s.manifest.Zone(id) != s.manifest.Zone(most[0]) }) {
		t.Errorf("brokers %v were down at the same time", most)
	}
	for _, r := range restarts[:len(restarts)-1] {
		if seen.long(r.Broker, r.Requested) {
			t.Errorf("broker %d was the active controller and went before the last one", r.Broker)
		}
	}
	b.togetherAfter(lb, restarts)
	s.shown(b, manifest)
	b.verify(host)
	for _, a := range b.fleet.Agents {
		b.check(a, s.checks)
	}
	f := load.load
	return fmt.Sprintf("| %s | %s | %.1f s | %d | %d | %d | %d | %.1f s | %s |\n", s.name, s.kafka, took.Seconds(), len(most), f.Sent, f.Failed, f.Lost, f.LongestStall.Seconds(), s.looksAt)
}

// shown holds what `status -o json` says when all is done.
func (s shape) shown(b *bed, manifest string) {
	b.Helper()
	hash := hashOf(manifest)
	unprotected := len(b.Brokers) == 1 // its topics have one replica, which no roll-out can protect
	b.wait("the status shows every broker with EXTERNAL", func(r fleet.Report) bool {
		return r.Cluster == "sandbox" && r.State == "idle" && slices.Equal(r.Active, []string{"EXTERNAL"}) && len(r.Claims)+len(r.Halts)+len(r.Foreign) == 0 &&
			r.All(len(b.Brokers), func(row fleet.Row) bool {
				return row.Manifest == hash && row.Phase == "idle" && row.Reason.Code == "in_sync" && !row.Drift && !row.Silent &&
					(s.manifest.Zone == nil || row.Zone == s.manifest.Zone(row.Broker)) &&
					slices.Equal(row.Open, []string{"EXTERNAL"}) && slices.Equal(row.Serving, []string{"EXTERNAL"}) &&
					slices.Contains(row.Unprotected, topic) == unprotected
			})
	})
}

// outage is how long what controls a cluster is down. An agent looks every few
// seconds while a gate does not pass; that must not use up what a broker answers with.
const outage = 30 * time.Second

// blockedBy gives the manifest while nobody controls the cluster, and wants no
// broker touched for the reason named, and all of them to serve; then what controls
// it comes back, and the roll-out begins.
func (b *bed) blockedBy(gate, manifest string, away func(*bed) func()) {
	b.Helper()
	starts := b.starts()
	// With their first manifest the agents make the topic and get their producer ids, for which somebody has to control
	// the cluster.
	none := "version: 1\ncluster: sandbox\nabsent: [NEVER]\n"
	b.give(none)
	b.rolled(none)
	back := away(b)
	b.give(manifest)
	b.wait("the roll-out waits: "+gate, func(r fleet.Report) bool {
		return r.State == "waiting" && slices.ContainsFunc(r.Brokers, func(row fleet.Row) bool { return row.Reason.Code == gate })
	})
	seen := time.Now()
	b.until("the outage has lasted", func() bool { return time.Since(seen) > outage })
	ctx, cancel := context.WithTimeout(b.Context(), time.Minute)
	defer cancel()
	for id, n := range b.starts() {
		if n != starts[id] {
			b.Errorf("broker %d was restarted while nobody controls the cluster", id)
		}
		if _, err := b.Running(ctx, id); err != nil {
			b.Errorf("broker %d does not serve while nobody controls the cluster: %v", id, err)
		}
	}
	back()
}

// withoutQuorum kills two of three controllers. Up to the instant in which the
// third one notices, nobody can know of it, and a broker may go down.
func (b *bed) withoutQuorum() (back func()) {
	b.Helper()
	back = b.without(101, 103)
	b.until("no controller leads the quorum", func() bool {
		ctx, cancel := context.WithTimeout(b.Context(), 5*time.Second)
		defer cancel()
		_, err := b.ActiveController(ctx)
		return err != nil
	})
	return back
}

// withoutZooKeeper kills ZooKeeper, which brokers ask for each configuration.
func (b *bed) withoutZooKeeper() (back func()) {
	b.Helper()
	return b.without(100)
}

// without kills nodes that are no brokers and returns what starts them again.
func (b *bed) without(nodes ...int32) (back func()) {
	b.Helper()
	for _, id := range nodes {
		if err := b.Broker(id).Kill(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
	return func() {
		for _, id := range nodes {
			if err := b.Broker(id).Start(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
	}
}

// controllerStarts counts the processes of all nodes that are no brokers.
func (b *bed) controllerStarts() int {
	b.Helper()
	n := 0
	for _, node := range b.Nodes {
		if slices.Contains(b.Brokers, node) {
			continue
		}
		events, err := node.Events()
		if err != nil {
			b.Fatal(err)
		}
		for _, e := range events {
			if e.Kind == "started" {
				n++
			}
		}
	}
	return n
}

func (b *bed) hasFeature(name string, level int16) {
	b.Helper()
	features, err := b.Features(b.Context())
	if err != nil || features[name] != level {
		b.Fatalf("features %v, %v; expected %s %d", features, err, name, level)
	}
}

// runs is true if the agent of a broker finds a version of Kafka there.
func (b *bed) runs(id int32, version string) {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), patience)
	defer cancel()
	if out, errOut, _ := b.fleet.Agent(id).Command(ctx, "check", "-o", "json"); !strings.Contains(out, version) {
		b.Errorf("check of broker %d does not say %s:\n%s%s", id, version, out, errOut)
	}
}

// mostAway is the largest set of brokers that were between stop and open port at one
// time, or most if that is larger.
func mostAway(restarts []sandbox.Restart, most []int32) []int32 {
	for _, r := range restarts {
		var with []int32
		for _, o := range restarts {
			if !o.Requested.After(r.Requested) && o.Open.After(r.Requested) {
				with = append(with, o.Broker)
			}
		}
		if len(with) > len(most) {
			most = with
		}
	}
	return most
}

// sightings are who was the active controller, and when.
type sightings struct {
	mu  sync.Mutex
	ids []int32     // guarded by mu
	at  []time.Time // guarded by mu
}

// followController asks for the active controller until the test ends.
func (b *bed) followController() *sightings {
	b.Helper()
	s := &sightings{}
	ctx, stop := context.WithCancel(context.WithoutCancel(b.Context()))
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			once, cancel := context.WithTimeout(ctx, 2*time.Second)
			if id, err := b.ActiveController(once); err == nil {
				s.note(id)
			}
			cancel()
			select {
			case <-ctx.Done():
			case <-time.After(100 * time.Millisecond):
			}
		}
	}()
	b.Cleanup(func() { stop(); <-done })
	return s
}

func (s *sightings) note(id int32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ids, s.at = append(s.ids, id), append(s.at, time.Now())
}

// long is true if a broker was the active controller, as far as was seen, for the
// five seconds before an instant: longer than an agent's facts may be old.
func (s *sightings) long(id int32, before time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for i, at := range s.at {
		if at.After(before) || before.Sub(at) > 5*time.Second {
			continue
		}
		if s.ids[i] != id {
			return false
		}
		n++
	}
	return n > 0
}
