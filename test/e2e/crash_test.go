package e2e

import (
	"testing"
	"time"

	"example.com/kpls-agent/test/fleet"
	"example.com/kpls-agent/test/sandbox"
)

// steps of one broker's restart at which its agent is killed, in their order:
// before and after each thing that leaves a mark outside the process.
var crashAt = []string{
	"before-append", "after-append",
	"before-save-apply", "after-save-apply",
	"before-apply-at-apply", "after-apply-at-apply",
	"before-begin-at-apply",
	"before-save-restart", "after-save-restart",
	"before-restart-at-restart", "after-restart-at-restart",
	"before-save-prove", "after-save-prove",
	"before-end-at-prove",
	"before-save-", "after-save-",
}

// lifetime is how long a life may go without coming to its step.
const lifetime = 12 * time.Second

// steps of a roll-back.
var crashUndo = []string{
	"before-save-restore", "after-save-restore",
	"before-restore-at-restore", "after-restore-at-restore",
	"before-save-undo", "after-save-undo",
	"before-restart-at-undo", "after-restart-at-undo",
	"before-save-prove_undo", "after-save-prove_undo",
	"before-save-", "after-save-",
}

// TestKilledAtEveryStep kills agents with SIGKILL at every step of a roll-out,
// each life at the next one, and of a roll-back: it ends right each time.
func TestKilledAtEveryStep(t *testing.T) {
	t.Parallel()
	b := newCluster(t, sandbox.Options{})
	load := newTraffic(b)
	manifest := b.fleet.Manifest(fleet.ManifestOptions{})
	b.give(manifest)
	for _, a := range b.fleet.Agents {
		b.killing(a, crashAt)
	}
	b.rolled(manifest)
	load.end()
	for id, n := range b.starts() {
		if n < 2 || n > 4 {
			t.Errorf("broker %d was started %d times", id, n)
		}
	}
	if away := b.watch.MostAway(); len(away) > 1 {
		t.Errorf("brokers %v were away at the same time", away)
	}

	// The same for the way back, by a manifest that only the restart proves wrong.
	b.fleet.Close()
	bad := b.badManifest()
	files := b.files()
	b.give(bad)
	for _, a := range b.fleet.Agents {
		b.killing(a, crashUndo)
	}
	b.wait("the roll-out is halted", func(r fleet.Report) bool {
		return r.State == "halted" && len(r.Claims) == 0 && r.All(3, func(row fleet.Row) bool { return row.Reason.Code == "halted" })
	})
	for id, text := range b.files() {
		if text != files[id] {
			t.Errorf("server.properties of broker %d is not the last good one", id)
		}
	}
	b.give(manifest)
	b.rolled(manifest)
}

// killing runs an agent through lives that end at one step after the other, in
// the background, and leaves a last one running that nobody kills. A life that
// does not come to its step, since an earlier one has brought the agent past it
// or it is not this broker's turn, is killed where it is after a while.
func (b *bed) killing(a *fleet.Agent, at []string) {
	done := make(chan struct{})
	b.Cleanup(func() { <-done })
	go func() {
		defer close(done)
		for _, point := range append(at, "") {
			if err := a.Start(b.Context(), "KPLS_AGENT_CRASH_AT="+point); err != nil {
				b.Error(err)
				return
			}
			if point == "" {
				return
			}
			select {
			case <-a.Done():
			case <-b.Context().Done():
				return
			case <-time.After(lifetime):
				a.Kill()
			}
		}
	}()
}
