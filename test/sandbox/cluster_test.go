package sandbox_test

import (
	"os/exec"
	"testing"

	"example.com/kpls-agent/test/sandbox"
)

func newCluster(t *testing.T, opts sandbox.Options) *sandbox.Cluster {
	t.Helper()
	opts.Logf = t.Logf
	c, err := sandbox.New(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := c.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestCluster(t *testing.T) {
	c := newCluster(t, sandbox.Options{})
	ctx := t.Context()
	if err := c.CreateTopic(ctx, "t", 6, 3, map[string]string{"min.insync.replicas": "2"}); err != nil {
		t.Fatal(err)
	}
	leader, err := c.ActiveController(ctx)
	if err != nil || c.Broker(leader) == nil {
		t.Fatalf("active controller %d, %v", leader, err)
	}

	// Another process restarts a broker.
	b := c.Brokers[0]
	before, err := b.Process()
	if err != nil {
		t.Fatal(err)
	}
	restart := b.Command("restart")
	if out, err := exec.CommandContext(ctx, restart[0], restart[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if after, err := b.Process(); err != nil || after == before {
		t.Errorf("after the restart: %v, %v; before: %v", after, err, before)
	}
	if err := c.WaitFullISR(ctx); err != nil {
		t.Fatal(err)
	}

	if err := c.Brokers[1].Kill(ctx); err != nil {
		t.Fatal(err)
	}
	if err := c.Brokers[1].Start(ctx); err != nil {
		t.Fatal(err)
	}
	if err := c.WaitServing(ctx); err != nil {
		t.Fatal(err)
	}

	if err := c.SetDynamic(ctx, 3, "log.cleaner.threads", "2"); err != nil {
		t.Fatal(err)
	}
	running, err := c.Running(ctx, 3)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := running["advertised.listeners"], "INTERNAL://"+c.Brokers[2].Internal(); got != want {
		t.Errorf("running advertised.listeners %q, want %q", got, want)
	}
}
