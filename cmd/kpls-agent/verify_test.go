package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestVerifyPrints: people get the faults with what to do, programs one object in every
// case; the exit code tells a fault from a use that is wrong.
func TestVerifyPrints(t *testing.T) {
	manifest := filepath.Join(t.TempDir(), "manifest.yaml")
	const text = `version: 1
cluster: kafka-pls
listeners:
  EXTERNAL:
    bind: 0.0.0.0:39092
    security_protocol: PLAINTEXT
    advertised: <broker_id>.kafka.example:<port>
    probe_port: 39192
brokers:
  1: {ports: {EXTERNAL: 9093}, zone: "1"}
  2: {ports: {EXTERNAL: 9094}, zone: "2"}
`
	if err := os.WriteFile(manifest, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		args      []string
		code      int
		fault     string
		says, err string
		brokers   int
	}{
		"nothing listens": {
			[]string{"--manifest", manifest, "--bootstrap", "127.0.0.1:1"},
			exitFailed, "bootstrap",
			"\nbootstrap 127.0.0.1:1: the connection to 127.0.0.1:1 is refused", "something is wrong for customers", 2,
		},
		"no port": {
			[]string{"--manifest", manifest, "--bootstrap", "b1.kafka.example"},
			exitUsage, "usage",
			"", "--bootstrap b1.kafka.example has no port; broker 1 is at port 9093 in the manifest: give b1.kafka.example:9093", 0,
		},
		"no manifest": {
			[]string{"--manifest", manifest + "x", "--bootstrap", "b1:9093"}, exitUsage, "usage", "", "manifest.yamlx: no such file or directory; name the file with --manifest", 0,
		},
		"no such listener": {
			[]string{"--manifest", manifest, "--listener", "other", "--bootstrap", "b1:9093"},
			exitUsage, "usage",
			"", "the manifest has no listener OTHER; it has EXTERNAL", 0,
		},
	} {
		run := func(more ...string) (string, string, int) {
			var out, errOut bytes.Buffer
			code := execute(t.Context(), append(append([]string{"verify"}, c.args...), more...), strings.NewReader(""), &out, &errOut)
			return out.String(), errOut.String(), code
		}
		if out, errOut, code := run(); code != c.code || !strings.Contains(out, c.says) || !strings.Contains(errOut, c.err) {
			t.Errorf("%s: exit %d:\n%s%s", name, code, out, errOut)
		}
		out, errOut, code := run("-o", "json")
		var report struct {
			OK      *bool
			Fault   struct{ Code string }
			Brokers []any
		}
		if err := json.Unmarshal([]byte(out), &report); err != nil || code != c.code || !strings.Contains(errOut, c.err) ||
			report.OK == nil || *report.OK || report.Fault.Code != c.fault || len(report.Brokers) != c.brokers || strings.Contains(out, "null") {
			t.Errorf("%s: exit %d, %v:\n%s%s", name, code, err, out, errOut)
		}
	}
}
