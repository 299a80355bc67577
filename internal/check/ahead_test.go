package check

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"example.com/kpls-agent/internal/config"
	"example.com/kpls-agent/internal/host"
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
	return host.RunningValues(entries)
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
		{
			"set, and in the file", "-set", "num.io.threads=8",
			[]string{"ok dynamic settings: in force, and a restart keeps them"},
		},
		{"set, the file would do", "-set", "num.io.threads=4", []string{"ok dynamic settings: "}},
		{
			"set, and a restart drops it", "-set", "num.io.threads=2",
			[]string{"fault dynamic settings: num.io.threads is 8 by kafka-configs --entity-default, and a broker starts with 2 "},
		},
		{
			"dropped, and the file is right now", "-dropped", "num.io.threads=8",
			[]string{"fault dynamic settings: message.max.bytes is 2000000", "fault dynamic settings: min.insync.replicas is 2 by kafka-configs --entity-default, and the broker runs with 1: " + refused, "fault dynamic settings: num.io.threads is 8"},
		},
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
		{
			Name: "num.io.threads", Source: config.SourceDynamicBroker, Value: "32",
		}, {
			Name:   "num.io.threads",
			Source: config.SourceDefault, Value: "8",
		},
	}}}
	got := checkDynamic(entries, properties(t, ""), 7)
	if len(got) != 1 || got[0].Level != Fault || !strings.HasSuffix(got[0].Text, "; put num.io.threads=32 into server.properties") || !strings.Contains(got[0].Text, "--entity-name 7") {
		t.Errorf("%+v", got)
	}
}

// TestCheckHidden: a line that the command line hides is a warning, and where the command line cannot be
// seen a line that is gone may be of it.
func TestCheckHidden(t *testing.T) {
	got := checkPending(nil, []config.PendingEdit{{Name: "num.io.threads", Running: "16", File: "8 # tuned"}}, true)
	if len(got) != 1 || got[0].Level != Warning || got[0].Text != "num.io.threads: server.properties has 8 # tuned, and --override on the broker's command line has 16, "+
		"which hides that line, also after a restart; change the override, or remove it" {
		t.Errorf("%+v", got)
	}
	gone := []config.PendingEdit{{Name: "a", Running: "1"}}
	for seen, want := range map[bool]bool{true: false, false: true} {
		if text := checkPending(gone, nil, seen)[0].Text; strings.Contains(text, "--override") != want {
			t.Errorf("seen %v: %s", seen, text)
		}
	}
	changed := []config.PendingEdit{{Name: "a", Running: "1", File: "x", Invalid: "no number", Override: true}}
	if text := checkPending(changed, nil, true)[0].Text; !strings.HasSuffix(text, "and --override on the broker's command line has x; Kafka does not start with that: no number; correct the override") {
		t.Error(text)
	}
}

// TestCheckPending: real brokers that were started with lines as people write them, and what
// others add to the file meanwhile.
func TestCheckPending(t *testing.T) {
	const brings = " edits of server.properties: a restart brings this too: "
	for _, version := range []string{"3.9.2", "4.4.0"} {
		v, err := config.ParseVersion(version)
		if err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(filepath.Join("testdata", "answers", version+"-set.properties"))
		if err != nil {
			t.Fatal(err)
		}
		started := string(data)
		for _, c := range []struct {
			name, file string
			want       []string
		}{
			{"as it was", started, []string{"ok edits of server.properties: the process was started with all of them"}},
			{
				"written otherwise",
				started + "num.io.threads = +2\nlog.cleaner.enable: True\nqueued.max.requests=0400\nlog.cleanup.policy=delete,compact\nssl.truststore.password=other\nmy.own.property=y\n",
				[]string{"ok edits"},
			},
			{
				"tuned", started + "num.io.threads=8 # tuned\n",
				[]string{"fault" + brings + "num.io.threads: the process was started with 2, and server.properties has 8 # tuned; Kafka does not start with that: it is not a number of type INT; correct the line"},
			},
			{
				"a password", started + "ssl.key.password=hunter2\n",
				[]string{"warning" + brings + "ssl.key.password: the process was started with none, and server.properties has (not shown)"},
			},
			{
				"a line that is gone", strings.Replace(started, "log.retention.minutes=60\n", "", 1),
				[]string{"warning" + brings + "log.retention.minutes: the process was started with 60, and server.properties has none"},
			},
		} {
			got := checkPending(config.Pending(answer(t, version+"-set"), properties(t, c.file), config.Desired{}, v), nil, true)
			for i, f := range got {
				if line := string(f.Level) + " " + f.What + ": " + f.Text; len(got) != len(c.want) || !strings.HasPrefix(line, c.want[i]) || strings.Contains(line, "hunter") {
					t.Errorf("%s, %s: got %s, want %s", version, c.name, line, c.want)
				}
			}
		}
	}
}
