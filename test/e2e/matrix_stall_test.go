//go:build matrix

package e2e

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"example.com/kpls-agent/test/sandbox"
)

// stallRounds is how often each broker is restarted with each of the two settings.
const stallRounds = 2

// TestMatrixShortWaits: what a producer with acks=all feels of the clean restart of each broker, one by one and without
// agents, with Kafka's own waits and with those that `check` proposes for broker_properties.
func TestMatrixShortWaits(t *testing.T) {
	table := "| Kafka | waits | restarts | longest stall of each, in seconds | median | worst | records | failed | lost |\n" +
		"| --- | --- | --- | --- | --- | --- | --- | --- | --- |\n"
	for _, version := range matrixVersions {
		t.Run(version, func(t *testing.T) {
			b := newCluster(t, sandbox.Options{Version: version, Properties: func(int32) map[string]string {
				return map[string]string{"auto.leader.rebalance.enable": "false"}
			}})
			ctx, cancel := context.WithTimeout(t.Context(), 3*patience)
			defer cancel()
			b.must(b.CreateTopic(ctx, topic, 30, 3, map[string]string{"min.insync.replicas": "2"}))
			table += b.stalls(ctx, version, "Kafka's own")
			for _, br := range b.Brokers {
				b.must(br.Edit(func(file string) string {
					return file + "metadata.max.idle.interval.ms=50\nreplica.fetch.backoff.ms=50\n"
				}))
				b.must(br.Restart(ctx))
				b.must(b.WaitFullISR(ctx))
			}
			table += b.stalls(ctx, version, "50 ms")
		})
	}
	matrixTable(t, "stall", table)
}

// stalls restarts each broker under a load, and returns a row of the table.
func (b *bed) stalls(ctx context.Context, version, waits string) string {
	b.Helper()
	var longest []float64
	var sum sandbox.Figures
	for range stallRounds {
		for _, br := range b.Brokers {
			b.must(b.ElectAllPreferred(ctx))
			load := sandbox.NewLoad(sandbox.LoadOptions{Bootstrap: b.Bootstrap(), Topic: topic, Partitions: 30, Rate: 200})
			loading, stop := context.WithCancel(ctx)
			done := make(chan sandbox.Figures, 1)
			go func() {
				f, err := load.Run(loading)
				if err != nil {
					b.Error(err)
				}
				done <- f
			}()
			b.until("the load flows", func() bool { return load.Figures().Acked >= 400 })
			load.Measure()
			b.must(br.Restart(ctx))
			b.must(b.WaitFullISR(ctx))
			stop()
			f := <-done
			b.Logf("%s, %s, broker %d: %s", version, waits, br.ID, f)
			if f.Lost > 0 || f.Failed > 0 {
				b.Errorf("%s, %s, broker %d: %s", version, waits, br.ID, f)
			}
			longest = append(longest, f.LongestStall.Seconds())
			sum.Sent, sum.Failed, sum.Lost = sum.Sent+f.Sent, sum.Failed+f.Failed, sum.Lost+f.Lost
		}
	}
	var each []string
	for _, s := range longest {
		each = append(each, fmt.Sprintf("%.2f", s))
	}
	slices.Sort(longest)
	n := len(longest)
	return fmt.Sprintf("| %s | %s | %d | %s | %.2f | %.2f | %d | %d | %d |\n", version, waits, n, strings.Join(each, " "),
		(longest[n/2-1]+longest[n/2])/2, longest[n-1], sum.Sent, sum.Failed, sum.Lost)
}
