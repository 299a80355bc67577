package sandbox_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"example.com/kpls-agent/test/patience"
	"example.com/kpls-agent/test/sandbox"
)

const domain = "abc.eastus.azure.3199745.tidbcloud.com"

// newCluster prepares a cluster with a listener made by hand, and starts it.
func newCluster(t *testing.T) *sandbox.Cluster {
	t.Helper()
	c, err := sandbox.New(t.Context(), sandbox.Options{Logf: t.Logf})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	for _, b := range c.Brokers {
		if err := b.AddListener("EXTERNAL", sandbox.ExternalPort, fmt.Sprintf("b%d.%s:%d", b.ID, domain, 9092+b.ID)); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, b := range c.Brokers {
		// Java goes on without an archive that does not fit, and a start takes twice the time.
		if log, err := os.ReadFile(b.Log()); err != nil || strings.Contains(string(log), "shared archive") {
			t.Errorf("broker %d starts without the archive of its classes: %v\n%.300s", b.ID, err, log)
		}
	}
	return c
}

// customer is the way in for a client that comes through a forwarder.
func customer(t *testing.T, c *sandbox.Cluster) (bootstrap []string, dial sandbox.DialFunc) {
	t.Helper()
	balancer, names := c.Host(100), sandbox.Names{}
	var opts sandbox.ForwarderOptions
	for _, b := range c.Brokers {
		name := fmt.Sprintf("b%d.%s", b.ID, domain)
		names[name] = balancer
		bootstrap = append(bootstrap, fmt.Sprintf("%s:%d", name, 9092+b.ID))
		external := b.Addr(sandbox.ExternalPort)
		opts.Fronts = append(opts.Fronts, sandbox.Front{
			Listen: fmt.Sprintf("%s:%d", balancer, 9092+b.ID), Backend: external, Probe: external,
		})
	}
	opts.Interval = 100 * time.Millisecond
	f := startForwarder(t, opts)
	patience.Until(t, "every backend is in", func() bool { return f.Up(0) && f.Up(1) && f.Up(2) })
	return bootstrap, names.Dial
}

type load interface {
	Run(ctx context.Context) (sandbox.Figures, error)
	Figures() sandbox.Figures
	Measure()
}

// runner runs a load until stop, which returns its account.
func runner(t *testing.T, run func(context.Context) (sandbox.Figures, error)) (stop func() sandbox.Figures) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var figures sandbox.Figures
	var err error
	var running sync.WaitGroup
	running.Go(func() { figures, err = run(ctx) })
	t.Cleanup(func() { cancel(); running.Wait() })
	return func() sandbox.Figures {
		t.Helper()
		cancel()
		running.Wait()
		if err != nil {
			t.Fatal(err)
		}
		return figures
	}
}

func TestClusterUnderLoad(t *testing.T) {
	c := newCluster(t)
	ctx := t.Context()
	for _, topic := range []string{"plain", "changes", "java", "transactions"} {
		if err := c.CreateTopic(ctx, topic, 6, 3, map[string]string{"min.insync.replicas": "2"}); err != nil {
			t.Fatal(err)
		}
	}
	leader, err := c.ActiveController(ctx)
	if err != nil || c.Broker(leader) == nil {
		t.Fatalf("active controller %d, %v", leader, err)
	}
	bootstrap, dial := customer(t, c)
	seen, err := sandbox.Metadata(ctx, bootstrap[0], dial)
	if want := (sandbox.Endpoint{Host: "b3." + domain, Port: 9095}); err != nil || seen[3] != want {
		t.Errorf("metadata over EXTERNAL: %v, %v; want broker 3 at %v", seen, err, want)
	}

	watcher := sandbox.NewWatcher(c, sandbox.CoarseWatch)
	watching, stopWatching := context.WithCancel(ctx)
	var watch sync.WaitGroup
	watch.Go(func() { watcher.Run(watching) })
	t.Cleanup(func() { stopWatching(); watch.Wait() })
	within := func(topic string) sandbox.LoadOptions {
		return sandbox.LoadOptions{Bootstrap: c.Bootstrap(), Topic: topic, Partitions: 6}
	}
	// The group reads what the first load sends, and is stopped last.
	loads := []struct {
		name string
		load load
		stop func() sandbox.Figures
	}{
		{name: "load", load: sandbox.NewLoad(within("plain"))},
		{name: "changefeed", load: sandbox.NewChangefeed(sandbox.LoadOptions{Bootstrap: bootstrap, Dial: dial, Topic: "changes", Partitions: 6})},
		{name: "java", load: sandbox.NewProgram(within("java"), c.Tool(ctx, "../clients/java/Producer.java").Args...)},
		{name: "transactions", load: sandbox.NewTransactions(within("transactions"))},
		{name: "group", load: sandbox.NewGroup(within("plain"), 3)},
	}
	for i := range loads {
		loads[i].stop = runner(t, loads[i].load.Run)
	}
	for _, l := range loads {
		patience.Until(t, l.name+" gets through", func() bool { return l.load.Figures().Acked > 200 })
	}
	for _, l := range loads {
		l.load.Measure()
	}

	restartFromOutside(t, c.Brokers[0])
	if err := c.WaitFullISR(ctx); err != nil {
		t.Fatal(err)
	}
	patience.Until(t, "the watcher saw the restart", func() bool {
		restarts, err := watcher.Restarts()
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range restarts {
			t.Logf("broker %d: stop %v, start %v, catch-up %v", r.Broker, r.Stop(), r.Start(), r.CatchUp())
			if r.Broker != 1 || r.Stop() <= 0 || r.Start() <= 0 || r.CatchUp() < 0 {
				t.Errorf("restart %+v", r)
			}
		}
		return len(restarts) == 1
	})
	// A machine that has no CPU to spare for seconds may cost others their place, too: that is no fault of the watcher.
	if away := watcher.MostAway(); !slices.Contains(away, 1) {
		t.Errorf("away at the worst: %v, want broker 1 among them", away)
	}
	for _, l := range loads {
		figures := l.stop()
		t.Log(l.name, figures)
		if figures.Lost > 0 || figures.Acked < 400 || figures.LongestStall <= 0 {
			t.Errorf("%s: %s", l.name, figures)
		}
		mayFail := l.name == "changefeed" || l.name == "transactions" || l.name == "group" // and say so, or deliver again
		if !mayFail && (figures.Failed > 0 || figures.Duplicated > 0 || figures.Acked != figures.Sent) {
			t.Errorf("%s: %s", l.name, figures)
		}
	}
	checkConfiguration(t, c)
	checkKill(t, c)
}

// restartFromOutside restarts a broker through the command that agents get.
func restartFromOutside(t *testing.T, b *sandbox.Broker) {
	t.Helper()
	before, err := b.Process()
	if err != nil {
		t.Fatal(err)
	}
	argv := b.Command("restart")
	if out, err := exec.CommandContext(t.Context(), argv[0], argv[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if after, err := b.Process(); err != nil || after == before {
		t.Errorf("after the restart: %v, %v; before: %v", after, err, before)
	}
	argv = b.Command("status")
	after, _ := b.Process()
	if out, err := exec.CommandContext(t.Context(), argv[0], argv[1:]...).Output(); err != nil || string(out) != after.String()+"\n" {
		t.Errorf("status: %q, %v; want %s", out, err, after)
	}
}

func checkConfiguration(t *testing.T, c *sandbox.Cluster) {
	t.Helper()
	ctx := t.Context()
	if err := c.SetDynamic(ctx, 3, "log.cleaner.threads", "2"); err != nil {
		t.Fatal(err)
	}
	var running map[string]string
	patience.Until(t, "the broker runs with the dynamic value", func() bool {
		var err error
		if running, err = c.Running(ctx, 3); err != nil {
			t.Fatal(err)
		}
		return running["log.cleaner.threads"] == "2"
	})
	if err := c.ClearDynamic(ctx, 3, "log.cleaner.threads"); err != nil {
		t.Fatal(err)
	}
	want := "INTERNAL://" + c.Brokers[2].Internal() + ",EXTERNAL://b3." + domain + ":9095"
	if got := running["advertised.listeners"]; got != want {
		t.Errorf("running advertised.listeners %q, want %q", got, want)
	}
}

// checkKill kills a broker and waits for the error that says so.
func checkKill(t *testing.T, c *sandbox.Cluster) {
	t.Helper()
	if err := c.Brokers[1].Kill(t.Context()); err != nil {
		t.Fatal(err)
	}
	argv := c.Brokers[1].Command("status")
	err := exec.CommandContext(t.Context(), argv[0], argv[1:]...).Run()
	if exit := (*exec.ExitError)(nil); !errors.As(err, &exit) || exit.ExitCode() != 3 {
		t.Errorf("status of a killed broker: %v, want exit 3", err)
	}
	if err := c.WaitServing(t.Context()); err == nil || !strings.Contains(err.Error(), "node 2 does not run") {
		t.Errorf("wait for a killed broker: %v", err)
	}
}

func TestSeparateController(t *testing.T) {
	c, err := sandbox.New(t.Context(), sandbox.Options{Brokers: 1, Controllers: 1, Logf: t.Logf})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}()
	if err := c.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if leader, err := c.ActiveController(t.Context()); err != nil || leader != 101 {
		t.Errorf("active controller %d, %v", leader, err)
	}
}
