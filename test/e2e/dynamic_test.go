package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"example.com/kpls-agent/internal/kafka"
	"example.com/kpls-agent/test/fleet"
	"example.com/kpls-agent/test/sandbox"
)

// finding is one line of `check -o json`.
type finding struct{ What, Level, Text string }

// findings runs `check` on a broker's machine and returns what it says of one thing.
func (b *bed) findings(broker int32, what string) []finding {
	b.Helper()
	out, errOut, code := b.fleet.Agent(broker).Command(b.Context(), "check", "-o", "json")
	var all, some []finding
	if err := json.Unmarshal([]byte(out), &all); err != nil {
		b.Fatalf("check: exit %d, %v\n%s%s", code, err, out, errOut)
	}
	for _, f := range all {
		if f.What == what {
			some = append(some, f)
		}
	}
	return some
}

// TestDynamicSettings: what a real broker does to dynamic settings at a clean restart, and
// what `check` says before and after it. With ANSWERS=write the broker's answers become the
// test data of internal/check. Other versions: TestMatrixDynamicSettings.
func TestDynamicSettings(t *testing.T) {
	t.Parallel()
	dynamicSettings(t, "4.4.0")
}

func dynamicSettings(t *testing.T, version string) {
	t.Helper()
	b := newCluster(t, sandbox.Options{Brokers: 1, Version: version, Properties: func(int32) map[string]string { return oddLines }})
	b.give(b.fleet.Manifest(fleet.ManifestOptions{}))
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	said := func(step, about string, want ...string) {
		t.Helper()
		var got []string
		b.until(step, func() bool { // a dynamic setting is in force some time after it was taken
			got = nil
			for _, f := range b.findings(1, about) {
				got = append(got, f.Level+" "+strings.SplitN(f.Text, " (", 2)[0])
			}
			return len(got) == len(want) && !slices.ContainsFunc(want, func(w string) bool {
				return !slices.ContainsFunc(got, func(g string) bool { return strings.HasPrefix(g, w) })
			})
		})
	}
	expect := func(step string, want ...string) {
		t.Helper()
		said(step, "dynamic settings", want...)
	}
	set := func(key, value string) {
		t.Helper()
		if err := b.SetDynamic(ctx, sandbox.AllBrokers, key, value); err != nil {
			t.Fatal(err)
		}
	}
	again := func() {
		t.Helper()
		if err := b.Brokers[0].Restart(ctx); err != nil {
			t.Fatal(err)
		}
		if err := b.WaitServing(ctx); err != nil {
			t.Fatal(err)
		}
	}
	for name, own := range map[string]map[string]string{"orders": nil, "audit": {"min.insync.replicas": "1"}} {
		if err := b.CreateTopic(ctx, name, 1, 1, own); err != nil {
			t.Fatal(err)
		}
	}
	minISR := func(step string, inForce, strict map[string]int) {
		t.Helper()
		agent := b.client(1)
		defer agent.Close()
		f := agent.Observe(ctx)
		if d := cmp.Diff(inForce, f.MinISR) + cmp.Diff(strict, f.StrictISR); f.Err != "" || d != "" {
			t.Errorf("%s: %s %s", step, f.Err, d)
		}
	}
	expect("nothing dynamic", "ok")
	said("every line as the process was started with", edits, "ok")
	minISR("nothing dynamic", map[string]int{"orders": 1, "audit": 1}, nil)
	set("min.insync.replicas", "2")
	set("message.max.bytes", "2000000")
	set("num.io.threads", "4")
	b.inForce("num.io.threads", "4")
	expect("doubled once", "ok")
	set("num.io.threads", "8")
	b.inForce("num.io.threads", "8")
	expect("doubled twice", "fault num.io.threads is 8 by kafka-configs --entity-default, and a broker starts with 2")
	minISR("in force", map[string]int{"orders": 2, "audit": 1}, nil)
	b.answers(version + "-set")
	again()
	expect("after the restart",
		"fault message.max.bytes is 2000000 by kafka-configs --entity-default, and the broker runs with 1048588",
		"fault min.insync.replicas is 2 by kafka-configs --entity-default, and the broker runs with 1",
		"fault num.io.threads is 8 by kafka-configs --entity-default, and the broker runs with 2",
		"fault num.io.threads is 8 by kafka-configs --entity-default, and a broker starts with 2")
	minISR("dropped", map[string]int{"orders": 1, "audit": 1}, map[string]int{"orders": 2})
	b.answers(version + "-dropped")
	if err := b.Brokers[0].Edit(func(file string) string {
		return strings.Replace(file, "num.io.threads=2\n", "num.io.threads=8\n", 1) +
			"num.network.threads=3 # tuned\nssl.keystore.password=hunter2\nqueued.max.requests=0400\nbroker.rack=b\n"
	}); err != nil {
		t.Fatal(err)
	}
	said("what others have edited", edits,
		"warning a restart brings this too: broker.rack: the process was started with /",
		"warning a restart brings this too: num.io.threads: the process was started with 2, and server.properties has 8",
		"fault a restart brings this too: num.network.threads: the process was started with 03, and server.properties has 3 # tuned; Kafka does not start with that: it is not a number of type INT",
		"warning a restart brings this too: ssl.keystore.password: the process was started with none, and server.properties has")
	if err := b.Brokers[0].Edit(func(file string) string {
		file, _, _ = strings.Cut(file, "num.network.threads=3 # tuned")
		return file
	}); err != nil {
		t.Fatal(err)
	}
	again()
	expect("with the line that the fault named", "ok")
	b.inForce("min.insync.replicas", "2")
}

// edits is what check calls the lines that others have changed.
const edits = "edits of server.properties"

// oddLines are written as people write them, and mean nothing odd.
var oddLines = map[string]string{
	"num.io.threads": "2", "num.network.threads": "03", "queued.max.requests": "+400 ", "log.cleaner.enable": "TRUE",
	"log.cleaner.min.cleanable.ratio": ".50", "log.cleanup.policy": "delete , compact", "log.retention.minutes": "60",
	"config.providers": "env", "config.providers.env.class": "org.apache.kafka.common.config.provider.EnvVarConfigProvider", "broker.rack": "${env:PATH}",
	"listener.name.internal.max.connections": "0900", "my.own.property": "x", "ssl.truststore.password": "secret",
	// A change of message.max.bytes makes the cleaner's buffer again, while the old one exists, in a small heap.
	"log.cleaner.dedupe.buffer.size": "33554432",
}

// client is a broker's agent's way to Kafka.
func (b *bed) client(broker int32) *kafka.Client {
	b.Helper()
	addr := b.Broker(broker).Internal()
	c, err := kafka.Open(kafka.Options{
		Seeds: []string{addr}, Self: broker, OwnAddress: addr, Login: kafka.Login{Protocol: "PLAINTEXT"}, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		b.Fatal(err)
	}
	return c
}

// answers writes what broker 1 says of its configuration to the test data, if asked to,
// without what Kafka has by default, but for thread counts.
func (b *bed) answers(name string) {
	b.Helper()
	if os.Getenv("ANSWERS") != "write" {
		return
	}
	agent := b.client(1)
	defer agent.Close()
	entries, err := agent.BrokerConfig(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	var lines []string
	for _, key := range slices.Sorted(maps.Keys(entries)) {
		set := slices.ContainsFunc(entries[key].Synonyms, func(s kafka.Synonym) bool { return s.Source != kafka.SourceDefault })
		if !set && !strings.Contains(key, "thread") {
			continue
		}
		line, err := json.Marshal(entries[key])
		if err != nil {
			b.Fatal(err)
		}
		lines = append(lines, fmt.Sprintf("%q: %s", key, line))
	}
	dir := "../../internal/check/testdata/answers"
	if err := errors.Join(os.MkdirAll(dir, 0o755),
		os.WriteFile(filepath.Join(dir, name+".properties"), []byte(b.files()[1]), 0o644),
		os.WriteFile(filepath.Join(dir, name+".json"), []byte("{\n"+strings.Join(lines, ",\n")+"\n}\n"), 0o644)); err != nil {
		b.Fatal(err)
	}
}
