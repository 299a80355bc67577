package e2e

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"example.com/kpls-agent/internal/agent"
	"example.com/kpls-agent/test/fleet"
	"example.com/kpls-agent/test/sandbox"
	"example.com/kpls-agent/test/sandbox/supervise"
)

// TestIncidents: what befalls a cluster while a roll-out waits or is under way.
// Each time nothing unsafe is done, the screen says why nothing happens, and once
// the cluster is whole again the roll-out ends by itself. A producer and a
// consumer run all the time.
func TestIncidents(t *testing.T) {
	t.Parallel()
	b := newBed(t, sandbox.Options{Properties: func(int32) map[string]string {
		// Who goes first depends on who the active controller is. A busy machine may keep it
		// from answering for 2 s, the default, after which the others elect another one.
		return map[string]string{"controller.quorum.fetch.timeout.ms": "10000"}
	}})
	load := newTraffic(b)
	t.Run("a partition at its minimum", func(*testing.T) { b.atMinimum(b.fleet.Manifest(fleet.ManifestOptions{})) })
	t.Run("a broker killed while another restarts", func(*testing.T) {
		b.killedBeside(b.fleet.Manifest(fleet.ManifestOptions{FirstPort: 9193}))
	})
	t.Run("the leader of the log killed during a claim", func(*testing.T) {
		b.logLeaderKilled(b.fleet.Manifest(fleet.ManifestOptions{FirstPort: 9293}))
	})
	t.Run("a load balancer that does not ask", func(*testing.T) { b.balanced() })
	load.endLossless()
	b.neverTwoClaims()
}

// turns are the brokers in the order of a roll-out: the active controller last.
func (b *bed) turns() []int32 {
	b.Helper()
	controller, err := b.ActiveController(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	var order []int32
	for _, br := range b.Brokers {
		if br.ID != controller {
			order = append(order, br.ID)
		}
	}
	return append(order, controller)
}

// atMinimum gives a partition a third replica that cannot come in sync, so its
// two others are just what min.insync.replicas asks for; then it lets it catch up.
func (b *bed) atMinimum(manifest string) {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), patience)
	defer cancel()
	const name = "ledger"
	order := b.turns()
	third := order[2]
	b.must(b.CreateTopic(ctx, name, 1, 3, map[string]string{"min.insync.replicas": "2"}))
	b.must(b.Reassign(ctx, name, 0, order[0], order[1]))
	replicas := func(n, inSync int) func() bool {
		return func() bool {
			p, err := b.Partition(ctx, name, 0)
			return err == nil && len(p.Replicas) == n && len(p.ISR) == inSync
		}
	}
	b.until("the third replica is gone", replicas(2, 2))
	b.fill(ctx, name)
	b.spoil(name, order[:2], 1)
	b.must(b.Reassign(ctx, name, 0, order[0], order[1], third))
	b.until("a replica is missing", replicas(3, 2))

	files, starts := b.files(), b.starts()
	b.give(manifest)
	r := b.wait("the partition is named", func(r fleet.Report) bool {
		row := r.Row(order[0])
		return row.Reason.Code == "gate_partitions" && strings.Contains(row.Reason.Text, name+"-0 has 2 in-sync replicas") &&
			r.Row(order[1]).Drift && r.Row(third).Drift
	})
	b.Logf("broker %d: %s", order[0], r.Row(order[0]).Reason.Text)
	b.untouched(files, starts)
	if !replicas(3, 2)() {
		b.Error("the partition was not at its minimum all the time")
	}
	b.spoil(name, order[:2], 0)
	b.rolled(manifest)
	b.once(starts)
}

// fill writes one record of zeros to a topic of one partition.
func (b *bed) fill(ctx context.Context, name string) {
	b.Helper()
	cl, err := b.NewClient(kgo.DefaultProduceTopic(name), kgo.ProducerBatchCompression(kgo.NoCompression()))
	b.must(err)
	defer cl.Close()
	b.must(cl.ProduceSync(ctx, &kgo.Record{Value: make([]byte, 64<<10)}).FirstErr())
}

// spoil writes one byte into the record that fill wrote, in the file of every replica
// that there is. With another byte than 0 its checksum is wrong, which a follower
// looks at (UnifiedLog.analyzeAndValidateRecords) and a leader that sends it does not:
// a new replica asks again and again and never has it, however long that takes and
// however busy the machine is. A throttle only makes that slow.
func (b *bed) spoil(topic string, replicas []int32, value byte) {
	b.Helper()
	const inTheValue = 1000 // behind the headers of the batch and the record
	for _, id := range replicas {
		segments, err := filepath.Glob(filepath.Join(b.Broker(id).Dir, "*", topic+"-0", "00000000000000000000.log"))
		if err != nil || len(segments) != 1 {
			b.Fatalf("the segment of %s-0 on broker %d: %q, %v", topic, id, segments, err)
		}
		f, err := os.OpenFile(segments[0], os.O_RDWR, 0)
		b.must(err)
		_, err = f.WriteAt([]byte{value}, inTheValue)
		b.must(errors.Join(err, f.Close()))
	}
}

// killedBeside kills the broker that is to go last at the moment at which another
// one is being stopped, and brings it back when the screen has said why the
// third one waits.
func (b *bed) killedBeside(manifest string) {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), patience)
	defer cancel()
	order := b.turns()
	first, next, victim := order[0], order[1], order[2]
	starts := b.starts()
	stops := b.restarted(first)
	b.give(manifest)
	b.until("the first broker is being stopped", func() bool { return b.restarted(first) > stops })
	b.must(b.Broker(victim).Kill(ctx))
	r := b.wait("the first one is done, the next one says why it waits", func(r fleet.Report) bool {
		row := r.Row(next)
		return r.Row(first).Phase == "idle" && r.Row(victim).Phase == "stopped" && len(r.Claims) == 0 &&
			strings.Contains(row.Reason.Text, "broker "+idOf(b.fleet.Agent(victim))+" ") && strings.Contains(row.Reason.Text, " not in sync there: ") && strings.Contains(row.Reason.Text, "ledger-0")
	})
	b.Logf("broker %d: %s: %s", next, r.Row(next).Reason.Code, r.Row(next).Reason.Text)
	if now := b.starts(); now[first] != starts[first]+1 || now[next] != starts[next] || now[victim] != starts[victim] {
		b.Errorf("with broker %d dead, the starts went from %v to %v", victim, starts, now)
	}
	b.must(b.Broker(victim).Start(ctx))
	b.rolled(manifest)
	if now := b.starts(); now[first] != starts[first]+1 || now[next] != starts[next]+1 {
		b.Errorf("the starts went from %v to %v", starts, now)
	}
}

// logLeaderKilled kills the leader of the coordination log when an agent has
// decided to claim and has not written it yet, and in the same roll-out once
// more when another agent has just read its claim back.
func (b *bed) logLeaderKilled(manifest string) {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), patience)
	defer cancel()
	order := b.turns()
	steps := []struct {
		at              agent.Point
		claimer, victim int32
	}{
		{agent.BeforeAppend, order[0], order[1]},
		{agent.AfterAppend, order[2], order[0]},
	}
	for _, s := range steps {
		a := b.fleet.Agent(s.claimer)
		a.Kill()
		b.must(a.Start(ctx, "KPLS_AGENT_STOP_AT="+string(s.at)))
	}
	b.lead(ctx, logTopic, steps[0].victim)
	b.give(manifest)
	for _, s := range steps {
		a := b.fleet.Agent(s.claimer)
		b.until("the agent of broker "+idOf(a)+" is stopped "+string(s.at), a.Stopped)
		b.lead(ctx, logTopic, s.victim)
		starts := b.starts()
		b.must(b.Broker(s.victim).Kill(ctx))
		b.must(a.Continue())
		r := b.wait("the claimer says whom it waits for", func(r fleet.Report) bool {
			return r.Row(s.victim).Phase == "stopped" && strings.Contains(r.Row(s.claimer).Reason.Text, "broker "+idOf(b.fleet.Agent(s.victim))+" ")
		})
		b.Logf("broker %d: %s: %s", s.claimer, r.Row(s.claimer).Reason.Code, r.Row(s.claimer).Reason.Text)
		if now := b.starts(); !maps.Equal(now, starts) {
			b.Errorf("with broker %d dead, the starts went from %v to %v", s.victim, starts, now)
		}
		b.must(b.Broker(s.victim).Start(ctx))
	}
	b.rolled(manifest)
}

// logTopic is the coordination log.
const logTopic = "__kpls_agent"

// lead makes a broker the leader of a topic's only partition.
func (b *bed) lead(ctx context.Context, name string, broker int32) {
	b.Helper()
	b.must(b.WaitFullISR(ctx))
	replicas := []int32{broker}
	for _, br := range b.Brokers {
		if br.ID != broker {
			replicas = append(replicas, br.ID)
		}
	}
	b.must(b.Reassign(ctx, name, 0, replicas...))
	b.until(name+" is led by broker "+idOf(b.fleet.Agent(broker)), func() bool {
		b.must(b.ElectPreferred(ctx, name, 0))
		p, err := b.Partition(ctx, name, 0)
		return err == nil && p.Leader == broker
	})
}

// balanced restarts every broker with its probe closed meanwhile: the next one is
// stopped only when the load balancer has found the last one as often as it needs.
func (b *bed) balanced() {
	b.Helper()
	const threshold = 5 // several seconds: longer than any hand-over takes without waiting
	lb, _ := balance(b, sandbox.ForwarderOptions{Interval: time.Second, Rise: threshold})
	for i, br := range b.Brokers {
		b.until("the load balancer sees broker "+idOf(b.fleet.Agent(br.ID)), func() bool { return lb.Up(i) })
	}
	starts := b.starts()
	manifest := b.fleet.Manifest(fleet.ManifestOptions{
		FirstPort: 9293, Extra: "    during_restart: close\n    drain: 2s\n",
		LoadBalancer: fmt.Sprintf("{healthy_threshold: %d, interval: 1s}", threshold),
	})
	b.give(manifest)
	b.rolled(manifest)
	if now := b.starts(); !maps.Equal(now, starts) {
		b.Errorf("how the probes behave changed, and the starts went from %v to %v", starts, now)
	}
	begun := time.Now()
	b.restartAll()
	restarts, err := b.watch.Restarts()
	b.must(err)
	restarts = slices.DeleteFunc(restarts, func(r sandbox.Restart) bool { return r.Requested.Before(begun) })
	if len(restarts) != len(b.Brokers) {
		b.Fatalf("restarts %v", restarts)
	}
	for i, r := range restarts {
		closed, found := 0, 0
		for _, p := range lb.Probes(int(r.Broker) - 1) {
			switch {
			case p.At.Before(begun):
			case !p.OK && p.At.Before(r.Open):
				closed++
			case p.OK && p.At.After(r.Started) && (i == len(restarts)-1 || p.At.Before(restarts[i+1].Requested)):
				found++
			}
		}
		b.Logf("broker %d: %d probes found it closed, %d found it before the next broker's stop", r.Broker, closed, found)
		if closed == 0 {
			b.Errorf("the probe of broker %d was never seen closed", r.Broker)
		}
		if found < threshold-1 && i < len(restarts)-1 { // the last one may be noted here after the agent has acted on it
			b.Errorf("broker %d was stopped when the load balancer had found broker %d %d times", restarts[i+1].Broker, r.Broker, found)
		}
	}
}

// restarted counts the planned stops of a broker's process.
func (b *bed) restarted(id int32) int {
	b.Helper()
	events, err := b.Broker(id).Events()
	b.must(err)
	n := 0
	for _, e := range events {
		if e.Kind == supervise.StopRequested {
			n++
		}
	}
	return n
}

func (b *bed) must(err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

// neverTwoClaims reads the coordination log as it was written: at no offset did a
// broker have two claims, and at the end nobody has one.
func (b *bed) neverTwoClaims() {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), patience)
	defer cancel()
	cl, err := b.NewClient(kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{logTopic: {0: kgo.NewOffset().AtStart()}}))
	b.must(err)
	defer cl.Close()
	ends, err := kadm.NewClient(cl).ListEndOffsets(ctx, logTopic)
	b.must(err)
	end, _ := ends.Lookup(logTopic, 0)
	claims, most := map[string]bool{}, 0
	for next := int64(0); next < end.Offset; {
		fetches := cl.PollFetches(ctx)
		b.must(fetches.Err())
		fetches.EachRecord(func(r *kgo.Record) {
			next = r.Offset + 1
			key := string(r.Key)
			if !strings.HasPrefix(key, "claim/") {
				return
			}
			if delete(claims, key); r.Value != nil {
				claims[key] = true
			}
			most = max(most, len(claims))
			for other := range claims {
				if other != key && claims[key] && path.Dir(other) == path.Dir(key) {
					b.Errorf("at offset %d %s and %s are both claimed", r.Offset, other, key)
				}
			}
		})
	}
	if len(claims) > 0 || most == 0 {
		b.Errorf("%d claims at most, left at the end: %v", most, claims)
	}
}
