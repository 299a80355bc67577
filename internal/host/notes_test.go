package host

import (
	"bytes"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"example.com/kpls-agent/internal/restart"
)

// TestRewrites: whoever removes the agent's lines is counted and reported, twice within
// a day as a warning; what the agent or the manifest does is not.
func TestRewrites(t *testing.T) {
	s := stateDir(t, nil)
	st := OpenStore(s, slog.New(slog.DiscardHandler))
	st.Update(os.ReadFile(s.Manifest))
	f, err := OpenFiles(s, 1, st)
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	f.Notes = NewNotes(slog.New(slog.NewTextHandler(&log, nil)))
	now := time.Now()
	f.Notes.now = func() time.Time { return now }
	look := func(want int, level, text string) {
		t.Helper()
		log.Reset()
		f.Manifest(restart.RunningFacts{})
		if got := testutil.ToFloat64(f.Notes.total); got != float64(want) {
			t.Errorf("%v rewrites are counted, want %d", got, want)
		}
		if got := log.String(); text == "" && got != "" || !strings.Contains(got, text) || text != "" && !strings.Contains(got, "level="+level) {
			t.Errorf("the log says %q, want %s %q", got, level, text)
		}
	}
	apply := func() {
		t.Helper()
		m, _ := st.Get()
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
	if err := f.SaveJournal(restart.Journal{Version: restart.JournalVersion, FileState: restart.FileState{Unproven: true}}); err != nil {
		t.Fatal(err)
	}
	if err := f.Restore(); err != nil {
		t.Fatal(err)
	}
	look(3, "", "") // a rollback
	put(written)
	look(3, "", "")
	if err := os.WriteFile(s.Manifest, []byte(strings.ReplaceAll(goodManifest, "39092", "39093")), 0o600); err != nil {
		t.Fatal(err)
	}
	st.Update(os.ReadFile(s.Manifest))
	look(3, "", "") // another manifest
}

// TestWritingTells: what goes with an edit is in the log before it is gone.
func TestWritingTells(t *testing.T) {
	s := stateDir(t, nil)
	if err := os.WriteFile(s.ServerProperties, []byte(brokerFile+"listener.name.external.max.connections=7\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	st := OpenStore(s, slog.New(slog.DiscardHandler))
	st.Update(os.ReadFile(s.Manifest))
	f, err := OpenFiles(s, 1, st)
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	f.Notes = NewNotes(slog.New(slog.NewTextHandler(&log, nil)))
	m, _ := st.Get()
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
	f, err := OpenFiles(s, 1, OpenStore(s, slog.New(slog.DiscardHandler)))
	if err != nil {
		t.Fatal(err)
	}
	if j := f.journal; j.Listeners["EXTERNAL"] != "0.0.0.0:39092 advertised b1:9093 PLAINTEXT" || j.Before["INTERNAL"] != "0.0.0.0:9092 x" || j.Before["A"] != "[::]:1 x" {
		t.Errorf("%+v", j)
	}
}
