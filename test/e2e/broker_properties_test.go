package e2e

import (
	"context"
	"math"
	"os"
	"strconv"
	"strings"
	"testing"

	"example.com/kpls-agent/test/fleet"
	"example.com/kpls-agent/test/sandbox"
)

// TestBrokerProperties: properties of the whole broker come with the listener in one restart, are taken back by one,
// and a line of somebody else's stays as it is, with no restart for it. The broker starts with both ends of their range,
// and no dynamic configuration can set them.
func TestBrokerProperties(t *testing.T) {
	for _, version := range []string{"3.7.1", "4.4.0"} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			b := newBed(t, sandbox.Options{Brokers: 1, Version: version})
			brokerProperties(b)
		})
	}
}

func brokerProperties(b *bed) {
	const idle, backoff = "metadata.max.idle.interval.ms", "replica.fetch.backoff.ms"
	ctx, cancel := context.WithTimeout(b.Context(), patience)
	defer cancel()
	starts := 0
	last, err := b.Brokers[0].Process()
	if err != nil {
		b.Fatal(err)
	}
	runs := func(step, manifest string, restarts int, want map[string]string) {
		b.Helper()
		if err := b.fleet.WriteManifest(manifest); err != nil {
			b.Fatal(err)
		}
		b.wait(step, func(r fleet.Report) bool {
			return r.Row(1).Manifest == hashOf(manifest) && r.Row(1).Phase == "idle" && !r.Row(1).Drift && len(r.Claims) == 0
		})
		now, err := b.Brokers[0].Process()
		if err != nil {
			b.Fatal(err)
		}
		if now != last {
			starts++
		}
		last = now
		values, err := b.Running(ctx, 1)
		if err != nil {
			b.Fatal(err)
		}
		for name, value := range want {
			if values[name] != value {
				b.Errorf("%s: the process has %s=%s, want %s", step, name, values[name], value)
			}
		}
		if starts != restarts {
			b.Errorf("%s: %d restarts, want %d", step, starts, restarts)
		}
	}
	plain := b.fleet.Manifest(fleet.ManifestOptions{})
	with := func(pairs string) string { return plain + "broker_properties: {" + pairs + "}\n" }
	kafkas := map[string]string{idle: "500", backoff: "1000"}
	path := b.Brokers[0].Properties()
	read := func() string {
		b.Helper()
		text, err := os.ReadFile(path)
		if err != nil {
			b.Fatal(err)
		}
		return string(text)
	}

	for _, name := range []string{idle, backoff} {
		if err := b.SetDynamic(ctx, sandbox.AllBrokers, name, "50"); err == nil {
			b.Errorf("kafka-configs sets %s, which only a file may", name)
		}
	}
	runs("with the listener", with(idle+": 50, "+backoff+": 50"), 1, map[string]string{idle: "50", backoff: "50"})
	if f := b.findings(1, "stall in a restart"); len(f) != 1 || !strings.HasPrefix(f[0].Text, "short: ") {
		b.Errorf("check: %+v", f)
	}
	runs("one changes, one goes", with(backoff+": 40"), 2, map[string]string{idle: "500", backoff: "40"})
	runs("the low end of Kafka's range", with(idle+": 0, "+backoff+": 0"), 3, map[string]string{idle: "0", backoff: "0"})
	most := strconv.Itoa(math.MaxInt32)
	runs("the high end", with(idle+": "+most+", "+backoff+": "+most), 4, map[string]string{idle: most, backoff: most})
	runs("all go", plain, 5, kafkas)
	if text := read(); strings.Contains(text, "kpls-agent") || strings.Contains(text, backoff) {
		b.Errorf("server.properties has lines of the agent's:\n%s", text)
	}

	if err := os.WriteFile(path, []byte(read()+backoff+"=700\n"), 0o644); err != nil {
		b.Fatal(err)
	}
	other := with(backoff + ": 50")
	runs("somebody else's line", other, 5, kafkas)
	if !strings.HasSuffix(read(), backoff+"=700\n") {
		b.Errorf("the line of somebody else's was touched:\n%s", read())
	}
	if f := b.findings(1, "manifest for this broker"); len(f) != 2 || !strings.Contains(f[1].Text, "is somebody else's line") {
		b.Errorf("check: %+v", f)
	}
}
