package restart

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// earlierBuild is what an earlier build writes and knows: testdata/before has one file for each commit, which
// `go test ./test/history` compares with that build.
type earlierBuild struct {
	commit  string
	Records []struct {
		Key   string
		Value json.RawMessage
	}
	Journals []json.RawMessage
	Phases   []Phase
	Steps    []Stage
	Causes   []Cause
	Codes    []string // not Code, which is translated when it is read
}

func earlierBuilds(t *testing.T) []earlierBuild {
	t.Helper()
	paths, err := filepath.Glob("testdata/before/*.json")
	if err != nil || len(paths) < 2 {
		t.Fatal(paths, err)
	}
	var out []earlierBuild
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		e := earlierBuild{commit: strings.TrimSuffix(filepath.Base(path), ".json")}
		if err := json.Unmarshal(text, &e); err != nil || len(e.Records) < 60 || len(e.Journals) < 16 {
			t.Fatalf("%s: %v, %d records, %d journals", path, err, len(e.Records), len(e.Journals))
		}
		out = append(out, e)
	}
	return out
}

// TestRecordsOfEarlierBuilds: this build reads all that earlier builds have written to the log and to their journals,
// and would write it again with the same names and types. So they read what this build writes, too: a name that is
// gone, or has another type, is seen here.
func TestRecordsOfEarlierBuilds(t *testing.T) {
	for _, e := range earlierBuilds(t) {
		v := NewView()
		for _, r := range e.Records {
			if string(r.Value) == "null" {
				v.Fold(Record{Key: r.Key, Offset: v.Next})
				continue
			}
			v.Fold(Record{Key: r.Key, Value: r.Value, Offset: v.Next})
			if again, ok := rewritten(v, r.Key); ok {
				sameJSON(t, e.commit+" "+r.Key, r.Value, again.Value)
			}
		}
		if len(v.Foreign)+len(v.Ignored) > 0 {
			t.Errorf("%s: %v %v", e.commit, v.Foreign, v.Ignored)
		}
		if len(v.Statuses) != len(e.Phases)+len(e.Codes)+1 || len(v.Halts) != len(e.Causes)+1 ||
			len(v.Claims) != 1 || len(v.Active) != 1 || len(v.Requests) != 1 || v.Pause == nil {
			t.Errorf("%s: the view lacks something: %+v", e.commit, v)
		}
		for i, text := range e.Journals {
			var j Journal
			if err := json.Unmarshal(text, &j); err != nil || j.Version != JournalVersion {
				t.Errorf("%s: journal %d: %v, version %d", e.commit, i, err, j.Version)
			}
			again, err := json.Marshal(j)
			if err != nil {
				t.Fatal(err)
			}
			sameJSON(t, e.commit+" journal", text, again)
		}
	}
}

// rewritten is the record of a key as this build would write what it has read.
func rewritten(v *View, key string) (Record, bool) {
	for _, s := range v.Statuses {
		if r := NewStatus(s); r.Key == key {
			return r, true
		}
	}
	for _, c := range v.Claims {
		if c.Key == key {
			return NewClaim(c, key[strings.LastIndex(key, "/")+1:]), true
		}
	}
	for _, h := range v.Halts {
		if r := NewHalt(h); r.Key == key {
			return r, true
		}
	}
	for _, q := range v.Requests {
		if r := NewRequest(q); r.Key == key {
			return r, true
		}
	}
	for l := range v.Active {
		if r := NewActive(l); r.Key == key {
			return r, true
		}
	}
	if v.Pause != nil && key == keyPause {
		return NewPause(*v.Pause), true
	}
	return Record{}, false
}

// sameJSON compares what was read with what would be written, but for the codes that are renamed.
func sameJSON(t *testing.T, what string, before, now []byte) {
	t.Helper()
	var a, b map[string]any
	if err := json.Unmarshal(before, &a); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(now, &b); err != nil {
		t.Fatal(err)
	}
	if r, ok := a["reason"].(map[string]any); ok {
		if to, ok := renamed[Code(r["code"].(string))]; ok {
			r["code"] = string(to)
		}
	}
	if !reflect.DeepEqual(a, b) {
		t.Errorf("%s:\n%s is written again as\n%s", what, before, now)
	}
}

// TestNamesOfEarlierBuilds: phases, steps and causes are decided on by agents of other builds, and after a downgrade;
// an unknown one is not understood. A code may have another name now, which is translated.
func TestNamesOfEarlierBuilds(t *testing.T) {
	// What a build before a name takes it for: an unknown phase for a restart under way, an unknown step for one that
	// an operator has to look at, an unknown cause for a bad manifest. Each name here says why that is right.
	later := map[string]string{
		`cause "broker"`:   "the halt names the broker, and an operator has to act",
		`cause "edits"`:    "the same",
		`cause "settings"`: "the same",
		`cause "request"`:  "the same",
	}
	for _, e := range earlierBuilds(t) {
		for _, c := range []struct {
			kind   string
			before []string
		}{
			{"Phase", texts(e.Phases)}, {"Stage", texts(e.Steps)}, {"Cause", texts(e.Causes)},
		} {
			kind := strings.ToLower(c.kind)
			now := stringConstants(t, "*.go", c.kind)
			for _, name := range c.before {
				if !slices.Contains(now, name) {
					t.Errorf("%s writes %s %q, which this build does not know", e.commit, kind, name)
				}
			}
			for _, name := range now {
				if _, argued := later[kind+` "`+name+`"`]; !argued && name != "" && !slices.Contains(c.before, name) {
					t.Errorf("%s does not know %s %q; say in this test what it takes it for", e.commit, kind, name)
				}
			}
		}
		now := stringConstants(t, "*.go", "Code")
		for _, code := range e.Codes {
			if _, ok := renamed[Code(code)]; !ok && !slices.Contains(now, code) {
				t.Errorf("%s writes the reason code %q, which this build neither has nor translates: renamed.go", e.commit, code)
			}
		}
	}
}

func texts[T ~string](names []T) []string {
	out := make([]string, len(names))
	for i, n := range names {
		out[i] = string(n)
	}
	return out
}
