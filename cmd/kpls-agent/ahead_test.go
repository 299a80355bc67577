package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"example.com/kpls-agent/internal/config"
	"example.com/kpls-agent/internal/kafka"
)

// answer is what a real broker said of its configuration (TestDynamicSettings in test/e2e
// wrote it down): num.io.threads=2 in the file, by kafka-configs --entity-default first 4 and
// then 8, min.insync.replicas 2 and message.max.bytes 2000000 of that level as well.
func answer(t *testing.T, name string) map[string]config.RunningValue {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", "answers", name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	var entries map[string]kafka.Entry
	if err := json.Unmarshal(data, &entries); err != nil {
		t.Fatal(err)
	}
	return runningValues(entries)
}

func properties(t *testing.T, text string) *config.Properties {
	t.Helper()
	p, err := config.ReadProperties("server.properties", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestCheckDynamic(t *testing.T) {
	const refused = "it refused the dynamic settings of that level at its start"
	for _, c := range []struct {
		name, answer, file string
		want               []string
	}{
		{"set, and in the file", "-set", "num.io.threads=8", []string{"ok dynamic settings: in force, and a restart keeps them"}},
		{"set, the file would do", "-set", "num.io.threads=4", []string{"ok dynamic settings: "}},
		{"set, and a restart drops it", "-set", "num.io.threads=2", []string{"fault dynamic settings: num.io.threads is 8 by kafka-configs --entity-default, and a broker starts with 2 "}},
		{"dropped, and the file is right now", "-dropped", "num.io.threads=8", []string{"fault dynamic settings: message.max.bytes is 2000000", "fault dynamic settings: min.insync.replicas is 2 by kafka-configs --entity-default, and the broker runs with 1: " + refused, "fault dynamic settings: num.io.threads is 8"}},
	} {
		for _, version := range []string{"3.9.2", "4.4.0"} {
			got := checkDynamic(answer(t, version+c.answer), properties(t, c.file), 1)
			for i, f := range got {
				if line := string(f.Level) + " " + f.What + ": " + f.Text; len(got) != len(c.want) || !strings.HasPrefix(line, c.want[i]) {
					t.Errorf("%s, %s: got %s, want %s", version, c.name, line, c.want)
				}
			}
		}
	}
}

// TestDropText: the line to put into the file, and the level as kafka-configs names it.
func TestDropText(t *testing.T) {
	entries := map[string]config.RunningValue{"num.io.threads": {Type: "INT", Value: "32", Settings: []config.Setting{
		{Name: "num.io.threads", Source: config.SourceDynamicBroker, Value: "32"}, {Name: "num.io.threads", Source: config.SourceDefault, Value: "8"},
	}}}
	got := checkDynamic(entries, properties(t, ""), 7)
	if len(got) != 1 || got[0].Level != levelFault || !strings.HasSuffix(got[0].Text, "; put num.io.threads=32 into server.properties") || !strings.Contains(got[0].Text, "--entity-name 7") {
		t.Errorf("%+v", got)
	}
}
