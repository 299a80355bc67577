package history

import (
	"context"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write what earlier builds print")

// TestRecordsOfEarlierBuilds: the records, journals and fingerprints that tests of this build read are what earlier
// builds write.
func TestRecordsOfEarlierBuilds(t *testing.T) {
	for _, dir := range []string{"../../internal/restart/testdata/before", "../../internal/config/testdata/before"} {
		for _, commit := range []string{Oldest, Before} {
			got, err := Run(t.Context(), commit, filepath.Join(dir, "write.go.txt"))
			if err != nil {
				t.Fatalf("%v: %s", err, got)
			}
			path := filepath.Join(dir, commit[:7]+".json")
			if *update {
				if err := os.WriteFile(path, got, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(string(want), string(got)); d != "" {
				t.Errorf("%s is not what the build of %s writes: %s", path, commit, d)
			}
		}
	}
}

// TestMissingCommit: a clone that lacks a commit is distinguished, and the error says what to do.
func TestMissingCommit(t *testing.T) {
	git := func(dir string, args ...string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "git", args...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
	}
	top := t.TempDir()
	whole, shallow, none := filepath.Join(top, "whole"), filepath.Join(top, "shallow"), filepath.Join(top, "none")
	for _, dir := range []string{whole, none} {
		if err := os.Mkdir(dir, 0o750); err != nil {
			t.Fatal(err)
		}
	}
	git(whole, "init", "-q")
	for range 2 {
		git(whole, "-c", "user.name=a", "-c", "user.email=a@example.com", "commit", "-q", "--allow-empty", "-m", "m")
	}
	git(top, "clone", "-q", "--depth", "1", "file://"+whole, shallow)
	for dir, want := range map[string]string{
		whole:   "is not in this clone; fetch the whole history",
		shallow: "`git fetch --unshallow`",
		none:    "is no git clone that git can read",
	} {
		out, err := run(t.Context(), dir, "git", "cat-file", "-e", Before+"^{commit}")
		if err == nil {
			t.Fatalf("%s has commit %s", dir, Before)
		}
		err = missing(context.Background(), dir, Before, out, err)
		if !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), Before) {
			t.Errorf("%s: %v, want %q", dir, err, want)
		}
	}
}
