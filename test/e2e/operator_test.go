package e2e

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"example.com/kpls-agent/internal/agent"
	"example.com/kpls-agent/test/fleet"
	"example.com/kpls-agent/test/sandbox"
)

// order gives a command to an agent and expects it to be taken.
func (b *bed) order(args ...string) string {
	b.Helper()
	out, errOut, code := b.fleet.Agents[0].Command(b.Context(), args...)
	if code != 0 {
		b.Fatalf("%v exited with %d: %s%s", args, code, out, errOut)
	}
	return out
}

// TestOperators: an agent that is missing, pause and resume, a restart without a
// change, and the claim of a dead agent.
func TestOperators(t *testing.T) {
	t.Parallel()
	b := newCluster(t, sandbox.Options{})
	files, starts := b.files(), b.starts()
	good := b.fleet.Manifest(fleet.ManifestOptions{})
	b.give(good)
	for _, id := range []int32{1, 2} {
		if err := b.fleet.Agent(id).Start(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	b.wait("the missing agent is named", func(r fleet.Report) bool {
		return r.Row(1).Reason.Code == "agent_missing" && strings.Contains(r.Row(1).Reason.Text, "broker 3")
	})
	b.untouched(files, starts)

	b.order("pause", "--why", "black friday")
	if err := b.fleet.Agent(3).Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.wait("the pause is the reason", func(r fleet.Report) bool {
		return r.State == "paused" && r.All(3, func(row fleet.Row) bool {
			return row.Reason.Code == "paused" && strings.Contains(row.Reason.Text, "black friday")
		})
	})
	b.poisoned("black friday")
	b.untouched(files, starts)
	if out := b.order("resume", "--yes"); !strings.Contains(out, "the pause by") {
		t.Errorf("resume says %q", out)
	}
	b.rolled(good)
	b.once(starts)

	files = b.files()
	b.cancelled()
	b.restartAll()
	for id, text := range b.files() {
		if text != files[id] {
			t.Errorf("a restart without a change changed the file of broker %d", id)
		}
	}
	b.released()
}

// poisoned writes to the log what no agent writes, and deletes it again, on a
// cluster that is paused.
func (b *bed) poisoned(pause string) {
	b.Helper()
	cl, err := b.NewClient(kgo.DefaultProduceTopic(logTopic))
	b.must(err)
	defer cl.Close()
	write := func(key string, value []byte) {
		b.Helper()
		ctx, cancel := context.WithTimeout(b.Context(), patience)
		defer cancel()
		b.must(cl.ProduceSync(ctx, &kgo.Record{Key: []byte(key), Value: value}).FirstErr())
	}
	poison := map[string][]byte{
		"claim/1/forged": make([]byte, 900_000), "restart/later": []byte(`{"version":2}`), "unheard of": []byte(`{"version":2}`),
	}
	// What a later build of this major version may write, and what somebody writes by mistake, stop nobody.
	harmless := map[string][]byte{"mark/1": []byte(`{"version":1,"broker":1}`), "user-7": []byte("an order")}
	for key, value := range harmless {
		write(key, value)
	}
	b.wait("the harmless records are named", func(r fleet.Report) bool { return r.State == "paused" && len(r.Ignored) == len(harmless) })
	for key, value := range poison {
		write(key, value)
	}
	b.wait("the records are named", func(r fleet.Report) bool {
		return r.State == "unreadable" && len(r.Foreign) == len(poison) && r.All(3, func(row fleet.Row) bool {
			return row.Reason.Code == "log_foreign" && strings.Contains(row.Reason.Text, "claim/1/forged")
		})
	})
	for key := range poison {
		write(key, nil)
	}
	b.wait("the pause is the reason again", func(r fleet.Report) bool {
		return r.State == "paused" && len(r.Ignored) == len(harmless) && r.All(3, func(row fleet.Row) bool {
			return row.Reason.Code == "paused" && strings.Contains(row.Reason.Text, pause)
		})
	})
}

// cancelled asks for a rolling restart and takes it back while the first broker is being restarted: that one
// finishes, no other one begins. What becomes of it at any other moment is for the simulation and the exploration.
func (b *bed) cancelled() {
	b.Helper()
	starts := b.starts()
	b.order("restart", "--yes")
	if _, errOut, code := b.fleet.Agents[0].Command(b.Context(), "restart", "--yes"); code != 1 ||
		!strings.Contains(errOut, "restart --cancel` takes it back") {
		b.Errorf("a second restart: %d %s", code, errOut)
	}
	b.wait("the first broker is being restarted", func(r fleet.Report) bool {
		return slices.ContainsFunc(r.Brokers, func(row fleet.Row) bool {
			return slices.Contains([]string{"restarting", "starting", "catching_up"}, row.Phase)
		})
	})
	out := b.order("restart", "--cancel")
	if !strings.Contains(out, "finishing the restart that has begun: broker ") || !strings.Contains(out, "not restarted: brokers ") {
		b.Errorf("restart --cancel says %q", out)
	}
	b.wait("the agents are at rest again", func(r fleet.Report) bool { return r.State == "idle" && len(r.Claims) == 0 })
	begun := 0
	for id, n := range b.starts() {
		begun += n - starts[id]
	}
	if begun != 1 {
		b.Errorf("%d brokers were started for a rolling restart that was taken back, wanted 1", begun)
	}
	if out := b.order("restart", "--cancel"); !strings.Contains(out, "no rolling restart is under way") {
		b.Errorf("a second --cancel says %q", out)
	}
}

// restartAll asks for a rolling restart and waits for its end.
func (b *bed) restartAll() {
	b.Helper()
	starts := b.starts()
	b.answered()
	b.wait("every broker has been restarted", func(r fleet.Report) bool {
		now := b.starts()
		return r.State == "idle" && now[1] > starts[1] && now[2] > starts[2] && now[3] > starts[3]
	})
	b.once(starts)
}

// answered asks for a rolling restart on a terminal: a no changes nothing, a yes is taken.
func (b *bed) answered() {
	b.Helper()
	a := b.fleet.Agents[0]
	out, code := a.Answer(b.Context(), "n\n", "restart")
	if code != 1 || !strings.Contains(out, "not confirmed; nothing was changed") {
		b.Errorf("a no: %d %s", code, out)
	}
	out, code = a.Answer(b.Context(), "y\n", "restart")
	for _, want := range []string{
		"cluster sandbox, brokers 1, 2, 3", "restarts, in this order: brokers ", "in the way now: nothing",
		"Restart brokers 1, 2, 3? [y/N]", "asked for a rolling restart",
	} {
		if code != 0 || !strings.Contains(out, want) {
			b.Fatalf("a yes: %d, without %q:\n%s", code, want, out)
		}
	}
}

// released removes the claim of an agent that died right after it.
func (b *bed) released() {
	b.Helper()
	b.fleet.Close()
	for _, a := range b.fleet.Agents {
		if err := a.Start(b.Context(), "KPLS_AGENT_CRASH_AT="+string(agent.AfterSaveApply)); err != nil {
			b.Fatal(err)
		}
	}
	starts := b.starts()
	next := b.fleet.Manifest(fleet.ManifestOptions{FirstPort: 9393})
	b.give(next)
	r := b.wait("a dead agent holds a claim", func(r fleet.Report) bool { return len(r.Claims) == 1 })
	holder := b.fleet.Agent(r.Claims[0].Broker)
	<-holder.Done()
	out, errOut, code := b.fleet.Agents[0].Command(b.Context(), "release", "--broker", "7", "--yes")
	if code != 1 || !strings.Contains(errOut, "broker 7 holds no claim; held by broker") {
		b.Errorf("release of no claim: %d %s%s", code, out, errOut)
	}
	if _, errOut, code = b.fleet.Agents[0].Command(b.Context(), "release", "--broker", idOf(holder)); code != 2 || !strings.Contains(errOut, "no terminal to ask on") {
		b.Errorf("release without a word: %d %s", code, errOut)
	}
	b.order("release", "--broker", idOf(holder), "--yes")
	b.wait("the claim is gone", func(r fleet.Report) bool {
		return !slices.ContainsFunc(r.Claims, func(c struct {
			Broker int32 `json:"broker"`
		},
		) bool {
			return c.Broker == holder.ID
		})
	})
	b.fleet.Close()
	if err := b.fleet.Start(b.Context()); err != nil {
		b.Fatal(err)
	}
	b.rolled(next)
	b.once(starts)
}

func idOf(a *fleet.Agent) string { return strconv.Itoa(int(a.ID)) }
