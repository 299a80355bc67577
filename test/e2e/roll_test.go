package e2e

import (
	"context"
	"encoding/json"
	"maps"
	"net"
	"regexp"
	"slices"
	"strconv"
	"testing"
	"time"

	"example.com/kpls-agent/test/fleet"
	"example.com/kpls-agent/test/sandbox"
)

// traffic is a producer and a consumer, a load balancer in front of EXTERNAL, and
// what came of them.
type traffic struct {
	b    *bed
	stop context.CancelFunc
	done chan struct{}
	load sandbox.Figures
	err  error
}

const topic = "orders"

// newTraffic starts a producer with acks=all and a consumer over INTERNAL.
func newTraffic(b *bed) *traffic {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), patience)
	defer cancel()
	replicas := min(3, len(b.Brokers))
	if err := b.CreateTopic(ctx, topic, 12, int16(replicas), map[string]string{"min.insync.replicas": strconv.Itoa(min(2, replicas))}); err != nil {
		b.Fatal(err)
	}
	lctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	t := &traffic{b: b, stop: stop, done: make(chan struct{})}
	load := sandbox.NewLoad(sandbox.LoadOptions{Bootstrap: b.Bootstrap(), Client: b.login, Topic: topic, Partitions: 12, Rate: 200})
	go func() {
		defer close(t.done)
		t.load, t.err = load.Run(lctx)
	}()
	b.Cleanup(func() { stop(); <-t.done })
	return t
}

// end stops the load and holds it to account: nothing may have failed.
func (t *traffic) end() {
	t.b.Helper()
	if t.endLossless(); t.load.Failed > 0 || t.load.Acked < t.load.Sent {
		t.b.Errorf("load: %s", t.load)
	}
}

// endLossless stops a load whose cluster had accidents: what was acknowledged must
// be there. A broker that comes back after a kill may make the client give up others.
func (t *traffic) endLossless() {
	t.b.Helper()
	t.stop()
	<-t.done
	t.b.Logf("load: %s", t.load)
	switch {
	case t.err != nil:
		t.b.Fatal(t.err)
	case t.load.Acked == 0 || t.load.Lost > 0:
		t.b.Errorf("load: %s", t.load)
	}
}

// balance starts a forwarder for EXTERNAL: the load balancer's address and, for each
// broker, the port of the manifest. A probe that is closed refuses at once, and a busy machine is only late.
func balance(b *bed, o sandbox.ForwarderOptions) (*sandbox.Forwarder, string) {
	b.Helper()
	o.Timeout = patience
	host := b.Host(100)
	for i, br := range b.Brokers {
		o.Fronts = append(o.Fronts, sandbox.Front{
			Listen: net.JoinHostPort(host, strconv.Itoa(9093+i)), Backend: br.Addr(sandbox.ExternalPort), Probe: br.Addr(fleet.ProbePort),
		})
	}
	return forward(b, o), host
}

// forward runs a forwarder until the test ends.
func forward(b *bed, o sandbox.ForwarderOptions) *sandbox.Forwarder {
	b.Helper()
	f := sandbox.NewForwarder(o)
	ctx, stop := context.WithCancel(context.WithoutCancel(b.Context()))
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx) }()
	b.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			b.Error(err)
		}
	})
	return f
}

// verify connects as a customer would, through the load balancer.
func (b *bed) verify(host string) {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), patience)
	defer cancel()
	out, errOut, code := b.fleet.Agents[0].Command(ctx, "verify", "--listener", "EXTERNAL", "--bootstrap", net.JoinHostPort(host, "9093"), "--map", "*."+fleet.Domain+"="+host)
	b.Logf("verify:\n%s%s", out, errOut)
	if code != 0 {
		b.Errorf("verify exited with %d", code)
	}
}

// check runs `kpls-agent check` next to a broker and an agent that are well. says
// are regular expressions for some of its lines, in addition to those for what every cluster has.
func (b *bed) check(a *fleet.Agent, says map[string]string) {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), patience)
	defer cancel()
	out, errOut, code := a.Command(ctx, "check", "-o", "json")
	var findings []struct{ What, Level, Text string }
	if err := json.Unmarshal([]byte(out), &findings); err != nil || code != 0 || len(findings) == 0 {
		b.Fatalf("check exited with %d: %v\n%s%s", code, err, out, errOut)
	}
	said := map[string]string{}
	// It may be root, reserve no ports, has commands in place of a unit, and brokers at addresses of loopback.
	ofThisHost := []string{"user", "ephemeral ports", "unit", "a restart of this broker", "network"}
	for _, f := range findings {
		said[f.What] = f.Text
		if f.Level != "ok" && !slices.Contains(ofThisHost, f.What) && says[f.What] == "" {
			b.Errorf("%s: %s is a %s: %s", b.Name(), f.What, f.Level, f.Text)
		}
	}
	wants := map[string]string{
		"port of EXTERNAL": "held by the broker", "probe port of EXTERNAL": "held by the agent", "port of the metrics": "held by the agent",
		"rights in Kafka": "all that the agent needs", "clock": "of the active controller's",
	}
	maps.Copy(wants, says)
	for what, want := range wants {
		if !regexp.MustCompile(want).MatchString(said[what]) {
			b.Errorf("%s: %q does not match %q", what, said[what], want)
		}
	}
}

// TestAddExternal has each version in a function of its own: parallel parts of one test begin after all other tests,
// and the last of them would run alone.
func TestAddExternal(t *testing.T)   { addExternal(t, "3.7.1") }
func TestAddExternal39(t *testing.T) { addExternal(t, "3.9.2") }
func TestAddExternal44(t *testing.T) { addExternal(t, "4.4.0") }

// addExternal is the main job: EXTERNAL on three brokers, under load; then a
// second listener, another port, and the second listener removed again; then
// agents without a past that find all done.
func addExternal(t *testing.T, version string) {
	t.Helper()
	t.Parallel()
	b := newBed(t, sandbox.Options{Version: version})
	load := newTraffic(b)
	before, startsBefore := b.files(), b.starts()
	lb, host := balance(b, sandbox.ForwarderOptions{Interval: 200 * time.Millisecond})
	controller, err := b.ActiveController(t.Context())
	if err != nil {
		t.Fatal(err)
	}

	manifest := b.fleet.Manifest(fleet.ManifestOptions{})
	b.give(manifest)
	b.rolled(manifest)
	load.end()
	b.once(startsBefore)
	if away := b.watch.MostAway(); len(away) > 1 {
		t.Errorf("brokers %v were down at the same time", away)
	}
	restarts, err := b.watch.Restarts()
	if err != nil || len(restarts) != 3 || restarts[2].Broker != controller {
		t.Errorf("restarts %v, %v; the active controller is %d", restarts, err, controller)
	}
	b.togetherAfter(lb, restarts)
	b.verify(host)
	b.check(b.fleet.Agents[0], map[string]string{"quorum": "^voters 1, 2, 3, the active controller is [123]$"})

	for _, step := range []struct {
		name string
		o    fleet.ManifestOptions
	}{
		{"EXTERNAL2 added", fleet.ManifestOptions{External2: true}},
		{"port changed", fleet.ManifestOptions{External2: true, FirstPort: 9193 + 100}},
		{"EXTERNAL2 removed", fleet.ManifestOptions{FirstPort: 9193 + 100, Absent: "EXTERNAL2"}},
	} {
		starts := b.starts()
		manifest := b.fleet.Manifest(step.o)
		b.give(manifest)
		b.rolled(manifest)
		b.once(starts)
		for id, text := range b.files() {
			if unmanaged(text) != unmanaged(before[id]) {
				t.Errorf("%s: other lines of broker %d changed:\n%s\nbefore:\n%s", step.name, id, text, before[id])
			}
		}
	}
	for i := range b.Brokers {
		if changes := lb.Changes(i); len(changes) != 1 {
			t.Errorf("held probes stay open through planned restarts, and the load balancer saw broker %d change: %v", i+1, changes)
		}
	}
	b.adopted(manifest)
	b.readerFollows()
}

// once is true if every broker was restarted exactly once since.
func (b *bed) once(since map[int32]int) {
	b.Helper()
	for id, n := range b.starts() {
		if n != since[id]+1 {
			b.Errorf("broker %d had %d starts, expected one", id, n-since[id])
		}
	}
}

// togetherAfter holds the activation barrier: no probe was answered before the
// last broker was back, and all were soon after.
func (b *bed) togetherAfter(lb *sandbox.Forwarder, restarts []sandbox.Restart) {
	b.Helper()
	if len(restarts) == 0 {
		b.Fatal("no restarts seen")
	}
	last := restarts[len(restarts)-1]
	var opened []time.Time
	for i := range b.Brokers {
		deadline := time.Now().Add(patience)
		for !lb.Up(i) && time.Now().Before(deadline) {
			time.Sleep(50 * time.Millisecond)
		}
		changes := lb.Changes(i)
		if len(changes) == 0 || !changes[0].Up || !lb.Up(i) {
			b.Fatalf("the load balancer never saw broker %d up: %v", i+1, changes)
		}
		if changes[0].At.Before(last.Started) {
			b.Errorf("the probe of broker %d opened at %s, before the last broker was started at %s", i+1, changes[0].At, last.Started)
		}
		opened = append(opened, changes[0].At)
	}
	if spread := slices.MaxFunc(opened, time.Time.Compare).Sub(slices.MinFunc(opened, time.Time.Compare)); spread > 5*time.Second {
		b.Errorf("the probes opened %s apart", spread)
	}
}

// adopted starts agents without a past next to brokers that already run what the
// manifest says: they must say so, and do nothing else.
func (b *bed) adopted(string) {
	b.Helper()
	b.fleet.Close()
	manifest := b.fleet.Manifest(fleet.ManifestOptions{FirstPort: 9193 + 100})
	starts, files := b.starts(), b.files()
	for _, a := range b.fleet.Agents {
		a.Forget()
	}
	b.deleteTopic("__kpls_agent")
	b.give(manifest)
	if err := b.fleet.Start(b.Context()); err != nil {
		b.Fatal(err)
	}
	b.wait("the brokers are adopted", func(r fleet.Report) bool {
		return slices.Equal(r.Active, []string{"EXTERNAL"}) && r.All(3, func(row fleet.Row) bool {
			return row.Phase == "idle" && slices.Equal(row.Open, []string{"EXTERNAL"})
		})
	})
	for id, text := range b.files() {
		if text != files[id] {
			b.Errorf("server.properties of broker %d was changed", id)
		}
	}
	for id, n := range b.starts() {
		if n != starts[id] {
			b.Errorf("broker %d was restarted", id)
		}
	}
}
