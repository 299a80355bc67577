package config

import (
	"os"
	"slices"
	"strings"
	"testing"
)

// TestLevels: a field that is newer than the first builds has a level, and ManifestLevel is the highest of them.
// testdata/level-0.txt is never added to: agents that know a field only from a later level refuse it.
func TestLevels(t *testing.T) {
	data, err := os.ReadFile("testdata/level-0.txt")
	if err != nil {
		t.Fatal(err)
	}
	first, newest := strings.Fields(string(data)), 0
	var walk func(s *Shape, path string, level int)
	walk = func(s *Shape, path string, level int) {
		for i := range s.Fields {
			f := &s.Fields[i]
			at, own := joinPath(path, f.Name), max(level, f.Level)
			newest = max(newest, own)
			if own == 0 && !slices.Contains(first, at) {
				t.Errorf("%s is new: give it the Level after %d, and ManifestLevel, too", at, ManifestLevel)
			}
			walk(&f.Shape, at, own)
		}
		if s.Elem != nil {
			walk(s.Elem, joinPath(path, "*"), level)
		}
	}
	walk(ManifestShape(), "", 0)
	if newest != ManifestLevel {
		t.Errorf("the newest field is of level %d, and ManifestLevel is %d", newest, ManifestLevel)
	}
}

// TestLevelOfAManifest: a manifest needs the level of its newest field, and says which that is.
func TestLevelOfAManifest(t *testing.T) {
	const old = `version: 1
cluster: c
listeners:
  EXTERNAL:
    bind: 0.0.0.0:39092
    security_protocol: PLAINTEXT
    advertised: <broker_id>.x.example.com:<port>
    port_base: 9100
    probe_port: 39192
`
	for _, c := range []struct {
		text  string
		level int
		field string
	}{
		{old, 0, ""},
		{old + `  BOOTSTRAP:
    bind: 0.0.0.0:39091
    security_protocol: PLAINTEXT
    bootstrap: {of: EXTERNAL, port: 9092}
    probe_port: 39191
`, 1, "listeners.BOOTSTRAP.bootstrap"},
		{old + "brokers:\n  1: {}\n  4: {presence: optional}\n", 2, "brokers.4.presence"},
	} {
		m, err := ParseManifest("m.yaml", []byte(c.text))
		if err != nil {
			t.Fatal(err)
		}
		if m.Level != c.level || m.LevelField != c.field {
			t.Errorf("level %d by %q, want %d by %q", m.Level, m.LevelField, c.level, c.field)
		}
		if optional := m.Optional(); c.level == 2 && !slices.Equal(optional, []int32{4}) {
			t.Errorf("optional: %v", optional)
		}
	}
}
