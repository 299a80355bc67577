package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"example.com/kpls-agent/internal/kafka"
	"example.com/kpls-agent/test/fleet"
	"example.com/kpls-agent/test/sandbox"
)

// TestStorage: what a real broker tells of its log directories, and what `check` makes of it.
func TestStorage(t *testing.T) {
	t.Parallel()
	b := newCluster(t, sandbox.Options{Brokers: 1, Properties: func(int32) map[string]string {
		return map[string]string{"log.dirs": "./data,./more", "replica.high.watermark.checkpoint.interval.ms": "500"}
	}})
	b.give(b.fleet.Manifest(fleet.ManifestOptions{}))
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := b.CreateTopic(ctx, "orders", 6, 1, nil); err != nil {
		t.Fatal(err)
	}
	data, more := filepath.Join(b.Brokers[0].Dir, "data"), filepath.Join(b.Brokers[0].Dir, "more")
	agent := b.client(1)
	defer agent.Close()
	dirs := func() map[string]kafka.LogDir {
		t.Helper()
		list, err := agent.LogDirs(ctx)
		if err != nil {
			t.Fatal(err)
		}
		out := map[string]kafka.LogDir{}
		for _, d := range list {
			out[d.Path] = d
		}
		return out
	}
	first := dirs()
	for _, path := range []string{data, more} {
		if d := first[path]; d.Err != nil || d.Free <= 0 || d.Total < d.Free {
			t.Errorf("%s: %+v of %v", path, d, first)
		}
	}
	expect := func(step string, want ...string) {
		t.Helper()
		var text []string
		for _, f := range b.findings(1, "log directories") {
			text = append(text, f.Level+" "+f.Text)
		}
		for i, w := range want {
			if len(text) != len(want) || !strings.Contains(text[i], w) {
				t.Fatalf("%s: %q, want %q", step, text, want)
			}
		}
	}
	expect("well", "ok "+data, "ok "+more)
	settings := func(change func(string) string) {
		t.Helper()
		path := b.fleet.Agents[0].Settings()
		text, err := os.ReadFile(path)
		if err == nil {
			err = os.WriteFile(path, []byte(change(string(text))), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	greedy := fmt.Sprintf("storage: {min_free_mib: %d}\n", first[data].Total>>20)
	settings(func(s string) string { return s + greedy })
	expect("nearly full", "fault log directory "+data+" has ", "fault log directory "+more+" has ")
	settings(func(s string) string { return strings.TrimSuffix(s, greedy) })
	if err := os.Remove(filepath.Join(more, "meta.properties")); err != nil {
		t.Fatal(err)
	}
	expect("cleaned", "ok "+data, "fault log directory "+more+" has no meta.properties any more")

	// A disk that fails: no file of it can be written any more.
	if err := os.Rename(more, more+".away"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(more, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	b.until("the broker has noticed", func() bool { return dirs()[more].Err != nil })
	if d := dirs()[more]; d.Free != -1 || d.Total != -1 || !strings.Contains(d.Err.Error(), "KAFKA_STORAGE_ERROR") {
		t.Errorf("%+v", d)
	}
	expect("offline", "ok "+data, "fault log directory "+more+" is offline (KAFKA_STORAGE_ERROR")
}
