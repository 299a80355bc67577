//go:build matrix

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"example.com/kpls-agent/test/fleet"
	"example.com/kpls-agent/test/sandbox"
)

// TestMatrixHeldBack: an edit with which Kafka would not start, and a log directory that has
// lost its meta.properties, hold a real roll-out back, one after the other. It continues by itself
// once both are corrected, and the edit comes with it.
func TestMatrixHeldBack(t *testing.T) {
	b := newBed(t, sandbox.Options{Brokers: 1, Properties: func(int32) map[string]string {
		return map[string]string{"log.dirs": "./data,./more"}
	}})
	edit := func(from, to string) {
		t.Helper()
		if err := b.Brokers[0].Edit(func(file string) string { return strings.Replace(file, from, to, 1) }); err != nil {
			t.Fatal(err)
		}
	}
	says := func(code, text string) {
		t.Helper()
		b.wait("broker 1 says "+code, func(r fleet.Report) bool {
			return r.Row(1).Reason.Code == code && strings.Contains(r.Row(1).Reason.Text, text)
		})
	}
	edit("log.dirs=", "num.io.threads=9 # tuned\nlog.dirs=")
	manifest := b.fleet.Manifest(fleet.ManifestOptions{})
	b.give(manifest)
	says("pending_edits", "num.io.threads")
	out, errOut, _ := b.fleet.Agents[0].Command(t.Context(), "plan")
	const brings = "a restart brings this too: num.io.threads: the process was started with none, and server.properties has 9 # tuned; Kafka does not start with that: it is not a number of type INT"
	if !strings.Contains(out, brings) {
		t.Errorf("plan:\n%s%s", out, errOut)
	}
	meta := filepath.Join(b.Brokers[0].Dir, "more", "meta.properties")
	kept, err := os.ReadFile(meta)
	if err == nil {
		err = os.Remove(meta)
	}
	if err != nil {
		t.Fatal(err)
	}
	b.until("check sees that it is gone", func() bool {
		for _, f := range b.findings(1, "log directories") {
			if f.Level == "fault" && strings.Contains(f.Text, "has no meta.properties") {
				return true
			}
		}
		return false
	})
	b.until("plan has it as what is in the way", func() bool {
		out, _, _ := b.fleet.Agents[0].Command(t.Context(), "plan")
		return strings.Contains(out, "storage: log directory "+filepath.Dir(meta)+" has no meta.properties")
	})
	edit("num.io.threads=9 # tuned", "num.io.threads=9")
	says("gate_storage", filepath.Dir(meta))
	if n := b.starts()[1]; n != 1 {
		t.Errorf("the broker was started %d times", n)
	}
	if err := os.WriteFile(meta, kept, 0o600); err != nil {
		t.Fatal(err)
	}
	b.rolled(manifest)
	b.inForce("num.io.threads", "9")
}
