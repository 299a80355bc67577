package e2e

import (
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"

	"example.com/kpls-agent/test/fleet"
	"example.com/kpls-agent/test/sandbox"
)

// TestFaults: a partition at its minimum, another broker killed while one
// restarts, and the log's leader killed under a claim. Nobody goes on until the
// fault has gone, the reason names it, and no acknowledged record is lost.
func TestFaults(t *testing.T) {
	b := newBed(t, sandbox.Options{Properties: func(int32) map[string]string {
		return map[string]string{"replica.lag.time.max.ms": "3000"}
	}})
	load := newTraffic(b)
	files, starts := b.files(), b.starts()
	b.throttled(true)
	good := b.fleet.Manifest(fleet.ManifestOptions{})
	b.give(good)
	r := b.wait("the partition is named", func(r fleet.Report) bool {
		return slices.ContainsFunc(r.Brokers, func(row fleet.Row) bool {
			return row.Reason.Code == "gate_partitions" && strings.Contains(row.Reason.Text, "tight-")
		})
	})
	t.Log(r.Brokers)
	b.untouchedIfInSync(files, starts)
	b.throttled(false)
	b.rolled(good)

	// Another broker dies while one restarts.
	next := b.fleet.Manifest(fleet.ManifestOptions{FirstPort: 9393})
	b.give(next)
	var victim *sandbox.Broker
	b.wait("a broker restarts", func(r fleet.Report) bool {
		i := slices.IndexFunc(r.Brokers, func(row fleet.Row) bool { return row.Phase == "restarting" || row.Phase == "starting" })
		if i < 0 {
			return false
		}
		victim = b.Brokers[(i+1)%3]
		return true
	})
	if err := victim.Kill(t.Context()); err != nil {
		t.Fatal(err)
	}
	r = b.wait("the dead broker is the reason", func(r fleet.Report) bool {
		return slices.ContainsFunc(r.Brokers, func(row fleet.Row) bool {
			return row.Broker != victim.ID && (row.Reason.Code == "gate_brokers" || row.Reason.Code == "gate_partitions" ||
				row.Reason.Code == "order" && strings.Contains(row.Reason.Text, "stopped"))
		})
	})
	t.Log(r.Brokers)
	if err := victim.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.rolled(next)

	b.leaderKilled()
	load.end()
}

// throttled keeps a replica of the topic tight out of sync on a broker that is
// alive and well, or lets it catch up.
func (b *bed) throttled(on bool) {
	b.Helper()
	const key = "follower.replication.throttled.rate"
	if !on {
		if err := b.ClearDynamic(b.Context(), 3, key); err != nil {
			b.Fatal(err)
		}
		return
	}
	if err := b.SetDynamic(b.Context(), 3, key, "1"); err != nil {
		b.Fatal(err)
	}
	if err := b.CreateTopic(b.Context(), "tight", 1, 3, map[string]string{"min.insync.replicas": "2", "follower.replication.throttled.replicas": "*"}); err != nil {
		b.Fatal(err)
	}
	cl, err := b.NewClient()
	if err != nil {
		b.Fatal(err)
	}
	defer cl.Close()
	adm := kadm.NewClient(cl)
	b.until("a replica of tight is out of sync", func() bool {
		cl.ProduceSync(b.Context(), record("tight"))
		topics, err := adm.ListTopics(b.Context(), "tight")
		return err == nil && len(topics["tight"].Partitions[0].ISR) == 2
	})
}

// untouchedIfInSync holds that no broker was restarted but the one that is out
// of sync anyway.
func (b *bed) untouchedIfInSync(files map[int32]string, starts map[int32]int) {
	b.Helper()
	for id, n := range b.starts() {
		if id != 3 && n != starts[id] {
			b.Errorf("broker %d was restarted, which the partition needs", id)
		}
		if text := b.files()[id]; id != 3 && text != files[id] {
			b.Errorf("server.properties of broker %d was changed", id)
		}
	}
}

// leaderKilled kills the leader of the coordination log while a claim is held.
func (b *bed) leaderKilled() {
	b.Helper()
	cl, err := b.NewClient()
	if err != nil {
		b.Fatal(err)
	}
	defer cl.Close()
	manifest := b.fleet.Manifest(fleet.ManifestOptions{FirstPort: 9493})
	b.give(manifest)
	var holder int32
	b.wait("a claim is held", func(r fleet.Report) bool {
		if len(r.Claims) > 0 {
			holder = r.Claims[0].Broker
		}
		return len(r.Claims) > 0
	})
	topics, err := kadm.NewClient(cl).ListTopics(b.Context(), "__kpls_agent")
	if err != nil {
		b.Fatal(err)
	}
	leader := topics["__kpls_agent"].Partitions[0].Leader
	b.Logf("broker %d holds the claim, broker %d leads the log", holder, leader)
	victim := b.Broker(leader)
	if victim == nil {
		b.Fatalf("the log has no leader")
	}
	if err := victim.Kill(b.Context()); err != nil {
		b.Fatal(err)
	}
	b.until("the leader is dead", func() bool { _, err := victim.Process(); return err != nil })
	if err := victim.Start(b.Context()); err != nil {
		b.Fatal(err)
	}
	// A broker that was killed in its own proof is put back and halted: an operator tries again.
	r := b.wait("the roll-out ends", func(r fleet.Report) bool {
		return len(r.Claims) == 0 && (r.State == "idle" || r.State == "halted") && r.All(3, func(row fleet.Row) bool { return row.Manifest == hashOf(manifest) })
	})
	if r.State == "halted" {
		b.order("resume")
	}
	b.rolled(manifest)
}
