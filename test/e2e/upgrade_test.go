package e2e

import (
	"context"
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"example.com/kpls-agent/internal/agent"
	"example.com/kpls-agent/test/fleet"
	"example.com/kpls-agent/test/history"
	"example.com/kpls-agent/test/sandbox"
)

// build is the agent as of a commit.
type build struct{ bin, version string }

// TestUpgrade upgrades the agents from the build before in the middle of a roll-out, and goes back in the middle of the
// next one.
func TestUpgrade(t *testing.T) {
	t.Parallel()
	upgraded(t, history.Before)
}

// upgraded upgrades the agents from the build of a commit, and goes back to it. It returns what a client saw.
func upgraded(t *testing.T, commit string) sandbox.Figures {
	t.Helper()
	bin, err := history.Agent(t.Context(), commit)
	if err != nil {
		t.Fatal(err)
	}
	before, now := build{bin, commit[:7]}, build{agentBinary, "devel"}
	b := newCluster(t, sandbox.Options{})
	load := newTraffic(b)
	for _, a := range b.fleet.Agents {
		a.Install(before.bin)
	}
	b.exchanged(now, b.fleet.Manifest(fleet.ManifestOptions{}), agent.AfterRestart)
	b.exchanged(before, b.fleet.Manifest(fleet.ManifestOptions{FirstPort: 9193}), agent.AfterSaveProve)
	load.end()
	b.oldKeysOnly(2)
	if b.ended == 0 { // each one may have met a log whose leader was just being restarted
		b.Error("no agent of this build has said in its last record that it ends")
	}
	return load.load
}

// exchanged gives a manifest to agents and installs another build while they roll it out. The agent of the second
// broker of the roll-out dies at a step of its restart and comes back as the other build. The third broker's agent,
// which waits, is exchanged before that, and the first one's, which is done, while the third broker is restarted: each
// build waits for the other, and takes up what the other has left.
func (b *bed) exchanged(to build, manifest string, at agent.Point) {
	b.Helper()
	controller, err := b.ActiveController(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	var turns []*fleet.Agent // the active controller goes last
	for _, a := range b.fleet.Agents {
		if a.ID != controller {
			turns = append(turns, a)
		}
	}
	turns = append(turns, b.fleet.Agent(controller))
	first, second, third := turns[0], turns[1], turns[2]
	b.fleet.Close()
	starts := b.starts()
	b.give(manifest)
	for _, a := range turns {
		var env []string
		if a == second {
			env = []string{"KPLS_AGENT_CRASH_AT=" + string(at)}
		}
		b.must(a.Start(b.Context(), env...))
	}
	select {
	case <-second.Done():
	case <-time.After(patience):
		b.Fatalf("the agent of broker %d does not come to %s", second.ID, at)
	}
	r := b.wait("the second broker holds the claim", func(r fleet.Report) bool { return len(r.Claims) == 1 })
	now, holder := b.starts(), r.Claims[0].Broker
	if holder != second.ID || now[first.ID] != starts[first.ID]+1 || now[third.ID] != starts[third.ID] {
		b.Fatalf("turns %d, %d, %d; broker %d has the claim, and the starts are %v after %v",
			first.ID, second.ID, third.ID, holder, now, starts)
	}

	b.exchange(third, to)
	b.wait("the third agent is another build and waits", func(r fleet.Report) bool {
		row := r.Row(third.ID)
		return row.Agent == to.version && row.Phase == "waiting" && strings.Contains(row.Reason.Text, "broker "+idOf(second))
	})
	b.exchange(second, to)
	// Not before: a new process of the first agent does not know at once what the manifest means for its broker, and a
	// broker that has yet to go down gives its claim back for that.
	b.until("the third broker is restarted", func() bool { return b.starts()[third.ID] > starts[third.ID] })
	b.exchange(first, to)
	b.rolled(manifest)
	b.once(starts)
	b.wait("all agents are the other build", func(r fleet.Report) bool {
		return r.All(3, func(row fleet.Row) bool { return row.Agent == to.version })
	})
	for _, a := range turns {
		b.over(a, manifest)
	}
}

// exchange ends an agent and starts another build in its place. An agent of this build that is asked to end says so in
// its last record, within 2 s; the next process, of whichever build, is at work again without that mark.
func (b *bed) exchange(a *fleet.Agent, to build) {
	b.Helper()
	was := b.row(a)
	select {
	case <-a.Done(): // it has died
	default:
		begun := time.Now()
		a.Stop()
		if took := time.Since(begun); took > 5*time.Second { // 2 s, on a busy machine
			b.Errorf("the agent of broker %d took %s to end", a.ID, took)
		}
		switch row := b.row(a); {
		case row.Ended && was.Agent == "devel":
			b.ended++
		case row.Ended:
			b.Errorf("the agent of broker %d is %s, and its last record has the mark of the last one", a.ID, was.Agent)
		}
	}
	a.Install(to.bin)
	b.must(a.Start(b.Context()))
}

// row is what the log says of a broker, as the command of this build reads it.
func (b *bed) row(a *fleet.Agent) fleet.Row {
	b.Helper()
	var r fleet.Report
	cmd := exec.CommandContext(b.Context(), agentBinary, "status", "-o", "json", "--settings", a.Settings())
	out, err := cmd.Output()
	b.must(err)
	b.must(json.Unmarshal(out, &r))
	return r.Row(a.ID)
}

// over expects that an agent's journal has the roll-out of a manifest behind it, and that it never stood still for a
// record.
func (b *bed) over(a *fleet.Agent, manifest string) {
	b.Helper()
	var journal struct{ Step, Passed string }
	text, err := os.ReadFile(filepath.Join(a.State(), "journal.json"))
	b.must(err)
	b.must(json.Unmarshal(text, &journal))
	if journal.Step != "" || journal.Passed != hashOf(manifest) {
		b.Errorf("the journal of broker %d is at step %q and has passed %q, want %s",
			a.ID, journal.Step, journal.Passed, hashOf(manifest))
	}
	log, err := os.ReadFile(a.Log())
	b.must(err)
	for _, word := range []string{"log_foreign", "needs_operator", "needs_a_person", "rolling_back"} {
		if i := strings.Index(string(log), word); i >= 0 {
			b.Errorf("the agent of broker %d says %s:\n%s", a.ID, word, tail(string(log)[:i+200], 1000))
		}
	}
}

// oldKeysOnly expects no kind of key in the log that the build before does not know, and one claim of each broker for
// each roll-out: a claim was taken up and not made again.
func (b *bed) oldKeysOnly(rollouts int) {
	b.Helper()
	known := []string{"status", "claim", "halt", "active", "pause", "restart", "takeover"}
	claims := map[string]map[string]bool{}
	for _, key := range b.logKeys() {
		kind, rest, _ := strings.Cut(key, "/")
		if !slices.Contains(known, kind) {
			b.Errorf("the log has a record under %q, which the build before does not know", key)
		}
		if id, nonce, ok := strings.Cut(rest, "/"); kind == "claim" && ok {
			if claims[id] == nil {
				claims[id] = map[string]bool{}
			}
			claims[id][nonce] = true
		}
	}
	for _, a := range b.fleet.Agents {
		if n := len(claims[idOf(a)]); n != rollouts {
			b.Errorf("broker %d had %d claims in %d roll-outs: %v", a.ID, n, rollouts, slices.Sorted(maps.Keys(claims[idOf(a)])))
		}
	}
}

// logKeys are the keys of all records of the coordination log.
func (b *bed) logKeys() []string {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), patience)
	defer cancel()
	const last = "the end of the log"
	start := map[string]map[int32]kgo.Offset{logTopic: {0: kgo.NewOffset().AtStart()}}
	cl, err := b.NewClient(kgo.DefaultProduceTopic(logTopic), kgo.ConsumePartitions(start))
	b.must(err)
	defer cl.Close()
	b.must(cl.ProduceSync(ctx, &kgo.Record{Key: []byte("takeover"), Value: []byte(last)}).FirstErr())
	var keys []string
	for {
		fetches := cl.PollFetches(ctx)
		b.must(fetches.Err())
		for _, r := range fetches.Records() {
			if string(r.Value) == last {
				return keys
			}
			keys = append(keys, string(r.Key))
		}
	}
}
