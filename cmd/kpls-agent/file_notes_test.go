package main

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"example.com/kpls-agent/internal/restart"
)

// TestRewrites: who takes the agent's lines away is counted and told, twice within
// a day as a warning; what the agent or the manifest does is not.
func TestRewrites(t *testing.T) {
	s := stateDir(t, nil)
	st := newStore(s, 1, slog.New(slog.DiscardHandler))
	st.update(os.ReadFile(s.Manifest))
	f, err := newFiles(s, 1, st)
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	f.notes = newFileNotes(slog.New(slog.NewTextHandler(&log, nil)))
	now := time.Now()
	f.notes.now = func() time.Time { return now }
	look := func(want int, level, text string) {
		t.Helper()
		log.Reset()
		f.Manifest(restart.RunningFacts{})
		if got := testutil.ToFloat64(f.notes.total); got != float64(want) {
			t.Errorf("%v rewrites are counted, want %d", got, want)
		}
		if got := log.String(); text == "" && got != "" || !strings.Contains(got, text) || text != "" && !strings.Contains(got, "level="+level) {
			t.Errorf("the log says %q, want %s %q", got, level, text)
		}
	}
	apply := func() {
		t.Helper()
		m, _ := st.get()
		if err := f.Apply(m.Hash); err != nil {
			t.Fatal(err)
		}
	}
	put := func(text string) {
		t.Helper()
		if err := os.WriteFile(s.ServerProperties, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	look(0, "", "") // not applied yet
	apply()
	look(0, "", "")
	put(brokerFile)
	look(1, "INFO", "somebody else changed the agent's lines of server.properties")
	look(1, "", "") // told once
	apply()
	look(1, "", "")
	written := string(contents(t, s.ServerProperties))
	put(written + "num.io.threads=9\n") // nothing of the agent's
	look(1, "", "")
	now = now.Add(contestedWithin - time.Minute)
	put(strings.ReplaceAll(written, ",EXTERNAL://127.0.0.1:39092", ""))
	look(2, "WARN", `properties=[listeners] times=2 within=24h0m0s must_hold="EXTERNAL://127.0.0.1:39092 into listeners, EXTERNAL://b1.example.com:9093 into advertised.listeners, EXTERNAL:PLAINTEXT into listener.security.protocol.map"`)
	apply()
	now = now.Add(contestedWithin)
	put(brokerFile)
	look(3, "INFO", "somebody else changed")
	apply()
	if err := f.SaveJournal(restart.Journal{Version: restart.JournalVersion, Unproven: true}); err != nil {
		t.Fatal(err)
	}
	if err := f.Restore(); err != nil {
		t.Fatal(err)
	}
	look(3, "", "") // a roll-back
	put(written)
	look(3, "", "")
	if err := os.WriteFile(s.Manifest, []byte(strings.ReplaceAll(goodManifest, "39092", "39093")), 0o600); err != nil {
		t.Fatal(err)
	}
	st.update(os.ReadFile(s.Manifest))
	look(3, "", "") // another manifest
}

// TestWritingTells: what goes with an edit is in the log before it is gone.
func TestWritingTells(t *testing.T) {
	s := stateDir(t, nil)
	if err := os.WriteFile(s.ServerProperties, []byte(brokerFile+"listener.name.external.max.connections=7\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	st := newStore(s, 1, slog.New(slog.DiscardHandler))
	st.update(os.ReadFile(s.Manifest))
	f, err := newFiles(s, 1, st)
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	f.notes = newFileNotes(slog.New(slog.NewTextHandler(&log, nil)))
	m, _ := st.get()
	if err := f.Apply(m.Hash); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"server.properties:11: listener.name.external.max.connections is removed, since listener EXTERNAL of the manifest does not have it; add it to `properties` there to keep it",
		`properties="[listeners advertised.listeners listener.security.protocol.map listener.name.external.max.connections]"`,
	} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log lacks %q:\n%s", want, log.String())
		}
	}
}

// TestJournalOfEmptyHost: a journal that an earlier version wrote keeps its meaning.
func TestJournalOfEmptyHost(t *testing.T) {
	s := stateDir(t, map[string][]byte{"journal.json": []byte(`{"version":1,"step":"prove","listeners":{"EXTERNAL":":39092 advertised b1:9093 PLAINTEXT"},"before":{"INTERNAL":":9092 x","A":"[::]:1 x"}}`)})
	f, err := newFiles(s, 1, newStore(s, 1, slog.New(slog.DiscardHandler)))
	if err != nil {
		t.Fatal(err)
	}
	if j := f.journal; j.Listeners["EXTERNAL"] != "0.0.0.0:39092 advertised b1:9093 PLAINTEXT" || j.Before["INTERNAL"] != "0.0.0.0:9092 x" || j.Before["A"] != "[::]:1 x" {
		t.Errorf("%+v", j)
	}
}

// planned runs plan --offline in a folder of its own.
func planned(t *testing.T, properties string, args ...string) (dir, out, errOut string, code int) {
	t.Helper()
	dir = t.TempDir()
	for name, text := range map[string]string{"in": properties, "manifest": goodManifest} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o640); err != nil {
			t.Fatal(err)
		}
	}
	args = append([]string{"plan", "--offline", "--server-properties", filepath.Join(dir, "in"), "--manifest", filepath.Join(dir, "manifest"), "--kafka-version", "3.7.1"}, args...)
	for i, a := range args {
		args[i] = strings.ReplaceAll(a, "DIR", dir)
	}
	var o, e bytes.Buffer
	code = execute(t.Context(), args, strings.NewReader(""), &o, &e)
	hide := func(b bytes.Buffer) string { return strings.ReplaceAll(b.String(), dir, "DIR") }
	return dir, hide(o), hide(e), code
}

func TestPlanOffline(t *testing.T) {
	const diff = "--- DIR/in\n+++ DIR/in\n@@ -7,1 +7,1 @@\n-listeners="
	dir, out, errOut, code := planned(t, brokerFile, "--out", "DIR/out")
	info, err := os.Stat(filepath.Join(dir, "out"))
	if err != nil {
		t.Fatal(err)
	}
	wanted := string(contents(t, filepath.Join(dir, "out")))
	if code != exitDiffers || !strings.HasPrefix(out, diff) || errOut != "" || info.Mode().Perm() != 0o640 || !strings.Contains(wanted, "EXTERNAL://127.0.0.1:39092") {
		t.Errorf("exit %d, mode %s:\n%s%s\n%s", code, info.Mode(), out, errOut, wanted)
	}
	// Nothing is to change: the file is there all the same.
	dir, out, errOut, code = planned(t, wanted, "--out", "DIR/out")
	if got := string(contents(t, filepath.Join(dir, "out"))); code != exitDone || out != "" || errOut != "" || got != wanted {
		t.Errorf("exit %d:\n%s%s\n%s", code, out, errOut, got)
	}
	// To standard output goes the file alone.
	_, out, errOut, code = planned(t, brokerFile, "--out", "-")
	if code != exitDiffers || out != wanted || !strings.HasPrefix(errOut, diff) {
		t.Errorf("exit %d:\n%s%s", code, out, errOut)
	}
	// What is odd is told, of a refused file as well.
	const odd = "warning: DIR/in:11: CONTROLLER looks like the rest of a value that was torn"
	for file, want := range map[string]int{
		brokerFile + "  CONTROLLER://127.0.0.1:29092\n":                                                                exitDiffers,
		strings.ReplaceAll(brokerFile, ",CONTROLLER://127.0.0.1:29092", "") + "  CONTROLLER://127.0.0.1:29092\n":       exitUsage,
		strings.ReplaceAll(wanted, ",EXTERNAL://127.0.0.1:39092", "") + "  CONTROLLER://127.0.0.1:29092\nlog.dirs=a\n": exitDiffers,
	} {
		if _, out, errOut, code := planned(t, file, "--out", "DIR/out"); code != want || !strings.Contains(errOut, odd) {
			t.Errorf("exit %d:\n%s%s", code, out, errOut)
		}
	}
	_, out, errOut, code = planned(t, strings.ReplaceAll(wanted, ",EXTERNAL://127.0.0.1:39092", "")+"log.dirs=a\n", "--out", "DIR/out", "-o", "json")
	for _, want := range []string{`"changed": true`, `"broker": 1`, `log.dirs is given 2 times`, `Kafka would not start with DIR/in:8 as it is: listener EXTERNAL is advertised and not in listeners`} {
		if !strings.Contains(out, want) || code != exitDiffers || errOut != "" {
			t.Errorf("exit %d, without %q:\n%s%s", code, want, out, errOut)
		}
	}
	for _, args := range [][]string{{"--out", "-", "-o", "json"}, {}, {"--out", "DIR/no/such"}, {"--out", "DIR/out", "--kafka-version", "x"}} {
		if _, _, errOut, code := planned(t, brokerFile, args...); code == exitDiffers || code == exitDone || errOut == "" {
			t.Errorf("%v: exit %d, %s", args, code, errOut)
		}
	}
}

// TestCheckSharedFile: check sees lines that another program tore or undid.
func TestCheckSharedFile(t *testing.T) {
	undone := strings.Replace(checkedProperties, "advertised.listeners=", "advertised.listeners=EXTERNAL://b1.kafka.example.com:9093,", 1)
	out, code := checked(t, undone+"  CONTROLLER://127.0.0.1:29092\nlog.dirs=/x\n", checkedManifest, "--offline")
	for _, want := range []string{
		"warning  lines of server.properties: DIR/server.properties:10: CONTROLLER looks like the rest of a value that was torn",
		"warning  lines of server.properties: DIR/server.properties:11: log.dirs is given 2 times (lines 9 and 11)",
		"warning  manifest for this broker: Kafka would not start with DIR/server.properties:8 as it is: listener EXTERNAL ",
		"; whoever writes it must write EXTERNAL://127.0.0.1:39092 into listeners, EXTERNAL://b1.kafka.example.com:9093 into advertised.listeners, EXTERNAL:PLAINTEXT into ",
	} {
		if !strings.Contains(out, want) || code != exitDone {
			t.Errorf("exit %d, without %q:\n%s", code, want, out)
		}
	}
}
