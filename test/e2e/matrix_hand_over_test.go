//go:build matrix

package e2e

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"example.com/kpls-agent/test/fleet"
	"example.com/kpls-agent/test/sandbox"
)

// coordination is the agents' topic.
const coordination = "__kpls_agent"

// TestMatrixHandOver times the hand-overs of rolling restarts, from the append of one
// broker's release to the next one's stop. Half of them begin right after Kafka has elected
// another leader for the agents' log, of which no connection tells. An agent that
// stays at the former leader, which is the second broker to be restarted, would see the
// first release half a second late.
func TestMatrixHandOver(t *testing.T) {
	table := "| Kafka | rolling restarts of each kind | hand-over, nothing elected | after an election | ratio | of the first hand-overs alone |\n| --- | --- | --- | --- | --- | --- |\n"
	for _, version := range matrixVersions {
		t.Run(version, func(t *testing.T) {
			b := newBed(t, sandbox.Options{Version: version})
			manifest := b.fleet.Manifest(fleet.ManifestOptions{})
			b.give(manifest)
			b.rolled(manifest)
			var before, after handOverTimes
			const fewest, most = 3, 6
			for n := 1; n <= most; n++ {
				before = append(before, b.handOversOf(false))
				after = append(after, b.handOversOf(true))
				first, all := ratio(after.first(), before.first()), ratio(after.all(), before.all())
				t.Logf("%d rolling restarts of each kind: %s, after an election %s, ratio %.2f, of the first ones %.2f", n, before, after, all, first)
				if n >= fewest && first <= mostRatio && all <= mostRatio { // more of them only where the machine's noise is larger
					table += fmt.Sprintf("| %s | %d | %.0f ms | %.0f ms | %.2f | %.2f |\n", version, n, millis(middle(before.all())), millis(middle(after.all())), all, first)
					return
				}
			}
			t.Errorf("after an election a hand-over takes longer: %s, and before %s", after, before)
		})
	}
	matrixTable(t, "handover", table)
}

// mostRatio is the largest ratio of the medians.
const mostRatio = 1.2

// handOverTimes are the first and the second hand-over of each rolling restart.
type handOverTimes [][2]time.Duration

func (h handOverTimes) first() (list []time.Duration) {
	for _, pair := range h {
		list = append(list, pair[0])
	}
	return list
}

func (h handOverTimes) all() (list []time.Duration) {
	for _, pair := range h {
		list = append(list, pair[:]...)
	}
	return list
}

func ratio(after, before []time.Duration) float64 {
	return float64(middle(after)) / float64(middle(before))
}

func middle(list []time.Duration) time.Duration {
	list = slices.Sorted(slices.Values(list))
	return list[len(list)/2]
}

func millis(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// handOversOf makes a rolling restart by agents that have just started, and returns how
// long its two hand-overs took. The log is led by the broker that goes last: since before
// the agents' start, or, with elected, since an election right before the restart.
func (b *bed) handOversOf(elected bool) [2]time.Duration {
	b.Helper()
	last, err := b.ActiveController(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	order := []int32{1, 2, 3}
	order = append(slices.DeleteFunc(order, func(id int32) bool { return id == last }), last)
	first := last
	if elected {
		first = order[1]
	}
	b.leads(first, order)
	b.fleet.Close()
	marks := b.marks()
	b.startAgents()
	for i, a := range b.fleet.Agents {
		b.until("each agent has read the log", func() bool {
			text, err := os.ReadFile(a.Log())
			return err == nil && strings.Contains(string(text[marks[i]:]), "phase=idle")
		})
	}
	b.leads(last, order)
	begin := time.Now()
	b.restartAll()
	released, stops := b.releases(begin), b.stops(begin)
	if len(released) != 3 || len(stops) != 3 || stops[0].broker != order[0] || stops[1].broker != order[1] {
		b.Fatalf("releases %v, stops %v; expected in the order %v", released, stops, order)
	}
	return [2]time.Duration{stops[1].at.Sub(released[0].at), stops[2].at.Sub(released[1].at)}
}

// leads makes a broker the leader of the agents' log.
func (b *bed) leads(leader int32, order []int32) {
	b.Helper()
	replicas := append([]int32{leader}, slices.DeleteFunc(slices.Clone(order), func(id int32) bool { return id == leader })...)
	if err := b.Reassign(b.Context(), coordination, 0, replicas...); err != nil {
		b.Fatal(err)
	}
	if err := b.ElectPreferred(b.Context(), coordination, 0); err != nil {
		b.Fatal(err)
	}
	b.until("it leads", func() bool {
		p, err := b.Partition(b.Context(), coordination, 0)
		return err == nil && p.Leader == leader && len(p.ISR) == 3
	})
}

// moment is when something happened to a broker.
type moment struct {
	broker int32
	at     time.Time
}

// releases are the claims that were given back since, by the clock of the log's leader,
// which is this machine's.
func (b *bed) releases(since time.Time) []moment {
	b.Helper()
	var list []moment
	b.admin(func(ctx context.Context, cl *kgo.Client) error {
		cl.AddConsumePartitions(map[string]map[int32]kgo.Offset{coordination: {0: kgo.NewOffset().AtStart()}})
		for len(list) < 3 {
			fetches := cl.PollFetches(ctx)
			if err := fetches.Err0(); err != nil {
				return err
			}
			fetches.EachRecord(func(r *kgo.Record) {
				var m moment
				if r.Value == nil && r.Timestamp.After(since) && strings.HasPrefix(string(r.Key), "claim/") {
					if _, err := fmt.Sscanf(string(r.Key), "claim/%d/", &m.broker); err != nil {
						b.Error(err)
					}
					m.at = r.Timestamp
					list = append(list, m)
				}
			})
		}
		return nil
	})
	return list
}

// stops are when each broker's process was told to end, since.
func (b *bed) stops(since time.Time) []moment {
	b.Helper()
	var list []moment
	for _, br := range b.Brokers {
		events, err := br.Events()
		if err != nil {
			b.Fatal(err)
		}
		for _, e := range events {
			if e.Kind == "stop_requested" && e.At.After(since) {
				list = append(list, moment{br.ID, e.At})
			}
		}
	}
	slices.SortFunc(list, func(a, b moment) int { return a.at.Compare(b.at) })
	return list
}
