package e2e

import (
	"slices"
	"sync"
	"testing"
	"time"

	"example.com/kpls-agent/internal/agent"
	"example.com/kpls-agent/test/fleet"
	"example.com/kpls-agent/test/sandbox"
)

// lifetime is how long an agent process may run without coming to its step.
const lifetime = 12 * time.Second

// TestKilledAtEveryStep kills agents with SIGKILL at every step of a roll-out,
// each agent process at the next one, and of a rollback: it ends right each time.
func TestKilledAtEveryStep(t *testing.T) {
	t.Parallel()
	b := newCluster(t, sandbox.Options{})
	load := newTraffic(b)
	manifest := b.fleet.Manifest(fleet.ManifestOptions{})
	b.give(manifest)
	hit := newPoints(agent.RollOutPoints())
	for _, a := range b.fleet.Agents {
		b.killing(a, hit)
	}
	b.rolled(manifest)
	hit.check(t)
	load.end()
	for id, n := range b.starts() {
		if n < 2 || n > 4 {
			t.Errorf("broker %d was started %d times", id, n)
		}
	}
	if away := b.watch.MostAway(); len(away) > 1 {
		t.Errorf("brokers %v were down at the same time", away)
	}

	// The same for the way back, by a manifest that only the restart proves wrong.
	b.fleet.Close()
	bad := b.badManifest()
	files := b.files()
	b.give(bad)
	hit = newPoints(agent.RollBackPoints())
	for _, a := range b.fleet.Agents {
		b.killing(a, hit)
	}
	b.wait("the roll-out is halted", func(r fleet.Report) bool {
		return r.State == "halted" && len(r.Claims) == 0 && r.All(3, func(row fleet.Row) bool { return row.Reason.Code == "halted" })
	})
	hit.check(t)
	for id, text := range b.files() {
		if text != files[id] {
			t.Errorf("server.properties of broker %d is not the last good one", id)
		}
	}
	b.give(manifest)
	b.rolled(manifest)
}

// points are the instants at which agents are killed, and those at which one was.
type points struct {
	list []agent.Point
	mu   sync.Mutex
	hit  map[agent.Point]bool
}

func newPoints(list []agent.Point) *points { return &points{list: list, hit: map[agent.Point]bool{}} }

// check fails for a point that no agent came to.
func (p *points) check(t *testing.T) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, at := range p.list {
		if !p.hit[at] {
			t.Errorf("no agent was killed at %q: none came there", at)
		}
	}
}

// killing runs an agent through processes that each end at the next of the points, in
// the background, and leaves a last one running that nobody kills. A process that
// does not come to its point, since an earlier one has brought the agent past it
// or it is not this broker's turn, is killed where it is after a while.
func (b *bed) killing(a *fleet.Agent, at *points) {
	done := make(chan struct{})
	b.Cleanup(func() { <-done })
	go func() {
		defer close(done)
		for _, point := range append(slices.Clone(at.list), "") {
			if err := a.Start(b.Context(), "KPLS_AGENT_CRASH_AT="+string(point)); err != nil {
				b.Error(err)
				return
			}
			if point == "" {
				return
			}
			select {
			case <-a.Done(): // nothing else ends it
				at.mu.Lock()
				at.hit[point] = true
				at.mu.Unlock()
			case <-b.Context().Done():
				return
			case <-time.After(lifetime):
				a.Kill()
			}
		}
	}()
}
