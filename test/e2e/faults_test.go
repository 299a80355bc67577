package e2e

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"example.com/kpls-agent/test/fleet"
	"example.com/kpls-agent/test/sandbox"
)

// TestFaults: a partition at its minimum, another broker killed while one
// restarts, and the log's leader killed under a claim. Nobody goes on until the
// fault has gone, the reason names it, and no acknowledged record is lost.
func TestFaults(t *testing.T) {
	b := newBed(t, sandbox.Options{Properties: func(int32) map[string]string {
		// A hung broker leaves the in-sync sets soon and the cluster late.
		return map[string]string{"replica.lag.time.max.ms": "3000", "broker.session.timeout.ms": "60000"}
	}})
	load := newTraffic(b)
	files, starts := b.files(), b.starts()
	hung := b.hang()
	good := b.fleet.Manifest(fleet.ManifestOptions{})
	b.give(good)
	r := b.wait("the partition is named", func(r fleet.Report) bool {
		return slices.ContainsFunc(r.Brokers, func(row fleet.Row) bool {
			return row.Reason.Code == "gate_partitions" && strings.Contains(row.Reason.Text, "would come below min.insync.replicas")
		})
	})
	t.Log(r.Brokers)
	b.untouched(files, starts)
	if err := hung.Resume(); err != nil {
		t.Fatal(err)
	}
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

// hang stops a broker that is not the active controller without ending it, and
// returns it when it has left in-sync sets while the cluster still counts it in.
func (b *bed) hang() *sandbox.Broker {
	b.Helper()
	controller, err := b.ActiveController(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	hung := b.Broker(controller%3 + 1)
	cl, err := b.NewClient()
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(cl.Close)
	if err := hung.Pause(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = hung.Resume() }) // it may have gone on, or have ended
	adm := kadm.NewClient(cl)
	b.until("a replica is out of sync", func() bool {
		ctx, cancel := context.WithTimeout(b.Context(), 5*time.Second)
		defer cancel()
		topics, err := adm.ListTopics(ctx, topic)
		return err == nil && slices.ContainsFunc(topics[topic].Partitions.Sorted(), func(p kadm.PartitionDetail) bool {
			return len(p.ISR) == 2 && !slices.Contains(p.ISR, hung.ID)
		})
	})
	return hung
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
