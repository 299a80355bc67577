//go:build matrix

package e2e

import (
	"context"
	"fmt"
	"os/exec"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"example.com/kpls-agent/test/fleet"
	"example.com/kpls-agent/test/sandbox"
)

// TestMatrixDynamicSettings is TestDynamicSettings on older brokers.
func TestMatrixDynamicSettings(t *testing.T) {
	for _, version := range []string{"3.7.1", "3.9.2"} {
		t.Run(version, func(t *testing.T) { dynamicSettings(t, version) })
	}
}

// TestMatrixSettingsDropped: somebody restarts a broker that then drops its dynamic settings.
// Roll-outs halt, a step that Kafka takes brings the settings back, and `resume` goes on.
func TestMatrixSettingsDropped(t *testing.T) {
	b := newSettingsBed(t)
	order := func(command string) {
		t.Helper()
		if out, errOut, code := b.fleet.Agents[0].Command(t.Context(), command, "--yes"); code != 0 {
			t.Fatalf("%s: %d\n%s%s", command, code, out, errOut)
		}
	}
	b.set("num.io.threads", "16")
	b.set("num.io.threads", "32")
	if err := b.Brokers[0].Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.inForce("message.max.bytes", "1048588")
	order("restart")
	b.says("settings_dropped", "message.max.bytes is 1048588 in force, and the dynamic value (default) is 2000000")
	starts := b.starts()[1]
	b.set("num.io.threads", "16")
	b.inForce("message.max.bytes", "2000000")
	b.wait("halted for everyone", func(r fleet.Report) bool { return r.State == "halted" && r.Row(1).Reason.Code == "halted" })
	order("resume")
	b.wait("the restart that was asked for is done", func(r fleet.Report) bool { return b.starts()[1] == starts+1 && r.Row(1).Phase == "idle" })
	b.inForce("num.io.threads", "16")
	b.inForce("message.max.bytes", "2000000")
}

// TestMatrixLostRecords: why it is held back. Three brokers of which a clean restart each drops
// min.insync.replicas=2: acks=all is satisfied with one replica after it. 4.4.0, which keeps
// eligible leaders by the dropped value (KIP-966), then elects a replica that never had what was
// acknowledged; 3.9.2 waits for the one that has it.
func TestMatrixLostRecords(t *testing.T) {
	table := []string{"| Kafka | a roll-out by the agents | min.insync.replicas in force after clean restarts by hand | records acknowledged by one replica | there after three clean stops |\n| --- | --- | --- | --- | --- |\n"}
	for _, version := range []string{"3.9.2", "4.4.0"} {
		lost := version == "4.4.0"
		t.Run(version, func(t *testing.T) {
			b := newCluster(t, sandbox.Options{Controllers: 1, Version: version, Properties: func(int32) map[string]string {
				return map[string]string{"num.io.threads": "2", "log.cleaner.dedupe.buffer.size": "33554432"}
			}})
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			for _, s := range [][2]string{{"min.insync.replicas", "2"}, {"num.io.threads", "4"}, {"num.io.threads", "8"}} {
				if err := b.SetDynamic(ctx, sandbox.AllBrokers, s[0], s[1]); err != nil {
					t.Fatal(err)
				}
				b.inForceOnAll(ctx, s[0], s[1])
			}
			if err := b.CreateTopic(ctx, "orders", 1, 3, nil); err != nil {
				t.Fatal(err)
			}
			// The agents hold every broker back, and name the line.
			b.startAgents()
			b.give(b.fleet.Manifest(fleet.ManifestOptions{}))
			b.wait("no broker is restarted", func(r fleet.Report) bool {
				return r.All(3, func(row fleet.Row) bool { return row.Reason.Code == "settings_would_drop" })
			})
			for id, n := range b.starts() {
				if n != 1 {
					t.Errorf("broker %d was started %d times", id, n)
				}
			}
			b.fleet.Close()

			// Without them.
			for _, br := range b.Brokers {
				if err := br.Restart(ctx); err != nil {
					t.Fatal(err)
				}
				if err := b.WaitFullISR(ctx); err != nil {
					t.Fatal(err)
				}
			}
			b.inForceOnAll(ctx, "min.insync.replicas", "1")
			stop := func(id int32) {
				t.Helper()
				argv := b.Broker(id).Command("stop")
				if out, err := exec.CommandContext(ctx, argv[0], argv[1:]...).CombinedOutput(); err != nil {
					t.Fatalf("stop %d: %v\n%s", id, err, out)
				}
			}
			first := b.leader(ctx)
			var others []int32
			for _, br := range b.Brokers {
				if br.ID != first {
					others = append(others, br.ID)
				}
			}
			stop(others[0])
			stop(others[1])
			b.until("one replica is in sync", func() bool {
				p, err := b.Partition(ctx, "orders", 0)
				return err == nil && slices.Equal(p.ISR, []int32{first})
			})
			cl, err := b.NewClient(kgo.DisableIdempotentWrite(), kgo.RequiredAcks(kgo.AllISRAcks()), kgo.DefaultProduceTopic("orders"))
			if err != nil {
				t.Fatal(err)
			}
			for i := range 3 {
				if err := cl.ProduceSync(ctx, kgo.StringRecord(fmt.Sprint("order ", i))).FirstErr(); err != nil {
					t.Fatal("not acknowledged: ", err)
				}
			}
			cl.Close()
			stop(first)
			for _, id := range []int32{others[1], first, others[0]} {
				if err := b.Broker(id).Start(ctx); err != nil {
					t.Fatal(err)
				}
				if id == others[1] {
					b.until("the second broker serves", func() bool {
						p, err := b.Partition(ctx, "orders", 0)
						return err == nil && (p.Leader == id || !lost)
					})
				}
			}
			if err := b.WaitFullISR(ctx); err != nil {
				t.Fatal(err)
			}
			want := 3
			if lost {
				want = 0
			}
			got := b.records(ctx)
			if got != want {
				t.Errorf("%d of 3 acknowledged records are there, want %d", got, want)
			}
			table = append(table, fmt.Sprintf("| %s | held back on all three (`settings_would_drop`) | 1 | 3 | %d |\n", version, got))
		})
	}
	matrixTable(t, "records", table...)
}

// inForceOnAll waits until every broker runs with a value.
func (b *bed) inForceOnAll(ctx context.Context, key, value string) {
	b.Helper()
	for _, br := range b.Brokers {
		b.until(fmt.Sprintf("broker %d runs with %s=%s", br.ID, key, value), func() bool {
			running, err := b.Running(ctx, br.ID)
			return err == nil && running[key] == value
		})
	}
}

func (b *bed) leader(ctx context.Context) int32 {
	b.Helper()
	leader := int32(-1)
	b.until("orders has a leader", func() bool {
		p, err := b.Partition(ctx, "orders", 0)
		leader = p.Leader
		return err == nil && leader > 0
	})
	return leader
}

// records counts what is in orders up to its high watermark.
func (b *bed) records(ctx context.Context) int {
	b.Helper()
	cl, err := b.NewClient(kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{"orders": {0: kgo.NewOffset().AtStart()}}))
	if err != nil {
		b.Fatal(err)
	}
	defer cl.Close()
	n := 0
	for quiet := 0; quiet < 3; {
		poll, cancel := context.WithTimeout(ctx, 2*time.Second)
		fetches := cl.PollFetches(poll)
		cancel()
		if got := fetches.NumRecords(); got > 0 {
			n, quiet = n+got, 0
		} else {
			quiet++
		}
	}
	return n
}
