//go:build matrix

package e2e

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"example.com/kpls-agent/test/sandbox"
	"example.com/kpls-agent/test/tables"
)

// matrixVersions are the oldest and the newest Kafka that the matrix runs.
var matrixVersions = []string{"3.7.1", "4.4.0"}

// matrixTable writes a table of docs/matrix.md, with the date, if MATRIX is `write`
// and the test did not fail.
func matrixTable(t *testing.T, name string, table ...string) {
	t.Helper()
	if os.Getenv("MATRIX") != "write" || t.Failed() {
		return
	}
	text := fmt.Sprintf("Last run: %s.\n\n%s", time.Now().UTC().Format(time.DateOnly), strings.Join(table, ""))
	if err := tables.Replace("../../docs/matrix.md", name, text); err != nil {
		t.Fatal(err)
	}
}

// cell is one of the matrix: a listener as an agent without a way in meets it.
type cell struct{ kafka, agent, listener, how string }

// The ways by which such a listener comes before the agent.
var ways = []string{"new", "broker restarted", "was PLAINTEXT"}

// cells are the failed authentications of each cell.
type cells struct {
	mu     sync.Mutex
	failed map[cell]int // guarded by mu
}

func (c *cells) note(kafka, how string, o outsider, listeners []closedListener, failed map[int]int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, l := range listeners {
		c.failed[cell{kafka, o.name, l.name, how}] = failed[i]
	}
}

// TestMatrixClosedListeners is TestClosedListeners with all cells.
func TestMatrixClosedListeners(t *testing.T) {
	ca, stranger := newAuthority(t), newAuthority(t)
	listeners, agents := closed(ca, stranger), outsiders(ca, stranger)
	found := &cells{failed: map[cell]int{}}
	t.Run("clusters", func(t *testing.T) {
		for _, kafka := range matrixVersions {
			for _, o := range agents {
				t.Run(kafka+", "+o.name, func(t *testing.T) {
					t.Parallel()
					found.roll(t, kafka, o, listeners, false)
					found.roll(t, kafka, o, listeners, true)
				})
			}
		}
	})
	table := []string{"| agent | listener |", "", "", ""}
	var rule strings.Builder
	for _, how := range ways {
		for _, kafka := range matrixVersions {
			table[0] += fmt.Sprintf(" %s, %s |", how, kafka)
			rule.WriteString(" --- |")
		}
	}
	table[1] = "\n| --- | --- |" + rule.String() + "\n"
	for _, o := range agents {
		for _, l := range listeners {
			row := fmt.Sprintf("| %s | %s: %s |", o.name, l.name, l.protocol)
			for _, how := range ways {
				for _, kafka := range matrixVersions {
					n, ok := found.failed[cell{kafka, o.name, l.name, how}]
					if !ok {
						t.Errorf("%s, %s, %s, %s did not run", kafka, o.name, l.name, how)
					}
					row += fmt.Sprintf(" %d |", n)
				}
			}
			table = append(table, row+"\n")
		}
	}
	matrixTable(t, "listeners", table...)
}

// roll brings these listeners before an agent on a cluster of their own: new ones and
// then a restart of the broker, or those that were PLAINTEXT.
func (c *cells) roll(t *testing.T, kafka string, o outsider, listeners []closedListener, plaintext bool) {
	b := newCluster(t, sandbox.Options{Brokers: 1, Version: kafka})
	defer func() {
		if t.Failed() {
			return // the clean-up shows what there is
		}
		b.fleet.Close()
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	}()
	base, err := os.ReadFile(b.fleet.Agents[0].Settings())
	if err != nil {
		t.Fatal(err)
	}
	const longer = 10 * time.Second
	manifest := b.closedManifest(listeners, false)
	if plaintext {
		open := b.closedManifest(listeners, true)
		b.give(open)
		o.becomes(b, base)
		b.opened(listeners, open, "")
		log, begin := b.markLog(), time.Now()
		b.give(manifest)
		b.opened(listeners, manifest, "")
		c.note(kafka, ways[2], o, listeners, b.quiet(listeners, log, begin, longer))
		o.says(b)
		return
	}
	b.give(manifest)
	log, begin := b.markLog(), time.Now()
	o.becomes(b, base)
	b.opened(listeners, manifest, "")
	c.note(kafka, ways[0], o, listeners, b.quiet(listeners, log, begin, longer))
	log, begin = b.markLog(), time.Now()
	b.opened(listeners, manifest, b.byHand())
	c.note(kafka, ways[1], o, listeners, b.quiet(listeners, log, begin, longer))
	o.says(b)
}
