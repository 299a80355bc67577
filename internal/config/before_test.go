package config

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

// TestFingerprintsOfEarlierBuilds: a restart that the agent of an earlier build has begun is judged by the fingerprints
// in its journal, so they stay what they were; and by those of this build after a downgrade. What each earlier build
// writes is in testdata/before, which `go test ./test/history` compares with that build.
func TestFingerprintsOfEarlierBuilds(t *testing.T) {
	// f164633 took an empty host to bind for another one than 0.0.0.0. docs/matrix.md tells what that means for a
	// downgrade.
	differ := map[string]bool{"f164633 ANY": true}
	paths, err := filepath.Glob("testdata/before/*.json")
	if err != nil || len(paths) < 2 {
		t.Fatal(paths, err)
	}
	for _, path := range paths {
		commit := filepath.Base(path)[:7]
		var before struct {
			Manifest     string
			Fingerprints map[string]string
		}
		text, err := os.ReadFile(path)
		if err == nil {
			err = json.Unmarshal(text, &before)
		}
		if err != nil {
			t.Fatal(err)
		}
		m, err := ParseManifest("manifest.yaml", []byte(before.Manifest))
		if err != nil {
			t.Fatal(err)
		}
		desired, err := m.For(1)
		if err != nil {
			t.Fatal(err)
		}
		now := desired.Fingerprints()
		if len(now) != len(before.Fingerprints) || len(now) < 4 {
			t.Errorf("%s: %d fingerprints, this build has %d", commit, len(before.Fingerprints), len(now))
		}
		for name, was := range before.Fingerprints {
			if got := CanonicalFingerprint(was); got != now[name] {
				t.Errorf("%s %s: %q is read as %q, and this build wants %q", commit, name, was, got, now[name])
			}
			if may := differ[commit+" "+name]; (was != now[name]) != may {
				t.Errorf("%s %s: it writes %q, this build %q, and this test says that they differ: %v",
					commit, name, was, now[name], may)
			}
		}
	}
}
