package e2e

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"example.com/kpls-agent/test/fleet"
	"example.com/kpls-agent/test/sandbox"
)

// patience bounds every wait. Nothing is measured by it: it only ends a test
// that hangs, on a machine however slow.
const patience = 4 * time.Minute

// bed is a cluster with its agents.
type bed struct {
	*testing.T
	*sandbox.Cluster
	fleet *fleet.Fleet
	watch *sandbox.Watcher
	login []kgo.Opt // of clients on the inter-broker listener
	ended int       // agents whose last record said that they end
	put   bool      // whether a file that a broker runs was put to Kafka's judge
}

// agentBinary is built once for all tests of the package.
var agentBinary string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "kpls-e2e-*")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer func() { _ = os.RemoveAll(dir) }()
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if agentBinary, err = fleet.Build(ctx, dir, "crashpoints"); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return m.Run()
	}())
}

// newBed starts a cluster and its agents, which have no manifest yet.
func newBed(t *testing.T, o sandbox.Options) *bed {
	t.Helper()
	b := newCluster(t, o)
	b.startAgents()
	return b
}

// newCluster starts a cluster without agents.
func newCluster(t *testing.T, o sandbox.Options) *bed {
	t.Helper()
	if o.Version == "" {
		o.Version = sandbox.Version()
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c, err := sandbox.New(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	return startCluster(t, c, o.Client...)
}

// startCluster starts a cluster that was made already. login is how clients log
// in to its inter-broker listener.
func startCluster(t *testing.T, c *sandbox.Cluster, login ...kgo.Opt) *bed {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	b := &bed{T: t, Cluster: c, login: login}
	dir := t.TempDir() // before the clean-up below, which reads in it
	t.Cleanup(func() {
		if t.Failed() {
			b.dump()
		}
		if b.fleet != nil {
			b.fleet.Close()
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := c.Start(ctx); err != nil {
		t.Fatal(err)
	}
	var err error
	if b.fleet, err = fleet.New(c, agentBinary, dir); err != nil {
		t.Fatal(err)
	}
	b.watch = sandbox.NewWatcher(c, sandbox.CoarseWatch)
	wctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan struct{})
	go func() { defer close(done); b.watch.Run(wctx) }()
	t.Cleanup(func() { stop(); <-done })
	return b
}

func (b *bed) startAgents() {
	b.Helper()
	if err := b.fleet.Start(b.Context()); err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(b.Context(), patience)
	defer cancel()
	if err := b.fleet.Awake(ctx); err != nil {
		b.Fatal(err)
	}
}

// dump prints what an operator would look at.
func (b *bed) dump() {
	if b.fleet == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(b.Context()), 30*time.Second)
	defer cancel()
	out, errOut, _ := b.fleet.Agents[0].Command(ctx, "status")
	b.Logf("status:\n%s%s", out, errOut)
	for _, a := range b.fleet.Agents {
		size := 8000
		if a.Stuck(ctx) {
			size = 40000
		}
		if text, err := os.ReadFile(a.Log()); err == nil {
			b.Logf("agent %d:\n%s", a.ID, tail(string(text), size))
		}
	}
	if dir := os.Getenv("E2E_KEEP"); dir != "" {
		_ = os.CopyFS(filepath.Join(dir, strings.ReplaceAll(b.Name(), "/", "_")), os.DirFS(b.fleet.Agents[0].State()+"/../.."))
	}
}

func hashOf(manifest string) string {
	sum := sha256.Sum256([]byte(manifest))
	return hex.EncodeToString(sum[:])
}

func tail(s string, n int) string {
	if len(s) > n {
		return "...\n" + s[len(s)-n:]
	}
	return s
}

// wait waits until the status is as wanted.
func (b *bed) wait(what string, ok func(fleet.Report) bool) fleet.Report {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), patience)
	defer cancel()
	r, err := b.fleet.Wait(ctx, what, ok)
	if err != nil {
		b.Fatal(err)
	}
	return r
}

// until waits for what no status tells.
func (b *bed) until(what string, ok func() bool) {
	b.Helper()
	deadline := time.Now().Add(patience)
	for !ok() {
		if time.Now().After(deadline) {
			b.Fatalf("waited until %s", what)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// rolled waits until every broker runs what the manifest with this text says, or
// as many as the cluster has.
func (b *bed) rolled(manifest string) fleet.Report {
	b.Helper()
	hash := hashOf(manifest)
	report := b.wait("every broker runs the manifest", func(r fleet.Report) bool {
		return r.State == "idle" && r.All(len(b.fleet.Agents), func(row fleet.Row) bool {
			return row.Manifest == hash && row.Phase == "idle" && !row.Drift
		})
	})
	b.judged()
	return report
}

// judged puts the file that a broker runs to the judge, once for each cluster: it must not refuse it.
func (b *bed) judged() {
	b.Helper()
	if b.put {
		return
	}
	b.put = true
	broker := b.Brokers[0]
	cmd := exec.CommandContext(b.Context(), agentBinary, "judge", "--kafka-home", b.Libs(broker.ID), broker.Properties())
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "KAFKA_OPTS="}
	if out, err := cmd.CombinedOutput(); err != nil {
		b.Errorf("Kafka's judge of a file that its broker runs: %v\n%s", err, out)
	}
}

func (b *bed) give(manifest string) {
	b.Helper()
	if err := b.fleet.WriteManifest(manifest); err != nil {
		b.Fatal(err)
	}
}

// files are the brokers' server.properties now.
func (b *bed) files() map[int32]string {
	b.Helper()
	out := map[int32]string{}
	for _, br := range b.Brokers {
		text, err := os.ReadFile(br.Properties())
		if err != nil {
			b.Fatal(err)
		}
		out[br.ID] = string(text)
	}
	return out
}

// starts counts the processes that each broker has had.
func (b *bed) starts() map[int32]int {
	b.Helper()
	out := map[int32]int{}
	for _, br := range b.Brokers {
		events, err := br.Events()
		if err != nil {
			b.Fatal(err)
		}
		for _, e := range events {
			if e.Kind == "started" {
				out[br.ID]++
			}
		}
	}
	return out
}

// unmanaged is a file without the lines that agents may change.
func unmanaged(text string) string {
	var keep []string
	for line := range strings.Lines(text) {
		switch key, _, _ := strings.Cut(line, "="); {
		case key == "listeners", key == "advertised.listeners", key == "listener.security.protocol.map", strings.HasPrefix(key, "listener.name."):
		default:
			keep = append(keep, line)
		}
	}
	return strings.Join(keep, "")
}

// deleteTopic removes a topic and waits until no broker names it.
func (b *bed) deleteTopic(name string) {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), patience)
	defer cancel()
	cl, err := b.NewClient()
	if err != nil {
		b.Fatal(err)
	}
	defer cl.Close()
	adm := kadm.NewClient(cl)
	if _, err := adm.DeleteTopic(ctx, name); err != nil {
		b.Fatal(err)
	}
	for {
		topics, err := adm.ListTopics(ctx)
		if err == nil && !topics.Has(name) {
			return
		}
		select {
		case <-ctx.Done():
			b.Fatal("the topic stays: ", err)
		case <-time.After(100 * time.Millisecond):
		}
	}
}
