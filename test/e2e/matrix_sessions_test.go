//go:build matrix

package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"example.com/kpls-agent/test/fleet"
	"example.com/kpls-agent/test/sandbox"
)

// sessions are values of broker.session.timeout.ms and broker.heartbeat.interval.ms, Kafka's own first.
var sessions = [][2]int{{9000, 2000}, {6000, 2000}, {4500, 1500}}

// sessionRounds is how many rolling restarts there are with each of them.
const sessionRounds = 3

// TestMatrixSessions: how long a rolling restart of three brokers takes with shorter sessions. From 4.x on a broker that
// was stopped cleanly may register only when the session of its process before has ended (KAFKA-19047).
func TestMatrixSessions(t *testing.T) {
	const version = "4.4.0"
	var beds []*bed
	for _, s := range sessions {
		b := newBed(t, sandbox.Options{Version: version, Heap: "384m", Properties: func(int32) map[string]string {
			return map[string]string{
				"broker.session.timeout.ms": fmt.Sprint(s[0]), "broker.heartbeat.interval.ms": fmt.Sprint(s[1]),
			}
		}})
		manifest := b.fleet.Manifest(fleet.ManifestOptions{})
		b.give(manifest)
		b.rolled(manifest)
		beds = append(beds, b)
	}
	took := make([][]time.Duration, len(sessions))
	for range sessionRounds {
		for i, b := range beds {
			begin := time.Now()
			b.restartAll()
			took[i] = append(took[i], time.Since(begin))
			t.Logf("%v: %s", sessions[i], took[i][len(took[i])-1])
		}
	}
	table := "| broker.session.timeout.ms | broker.heartbeat.interval.ms | rolling restarts of three brokers, in seconds | median | ratio |\n" +
		"| --- | --- | --- | --- | --- |\n"
	own := middle(took[0])
	for i, s := range sessions {
		var each []string
		for _, d := range took[i] {
			each = append(each, fmt.Sprintf("%.1f", d.Seconds()))
		}
		table += fmt.Sprintf("| %d | %d | %s | %.1f | %.2f |\n", s[0], s[1], strings.Join(each, " "), middle(took[i]).Seconds(),
			ratio([]time.Duration{middle(took[i])}, []time.Duration{own}))
	}
	last := slices.Max(took[len(took)-1])
	if last >= own {
		t.Errorf("with the shortest session a rolling restart takes up to %s, with Kafka's own %s", last, own)
	}
	t.Log("\n" + table)
	matrixTable(t, "sessions", table)
}
