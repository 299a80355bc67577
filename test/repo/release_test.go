package repo

import (
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const (
	changelog = "# Changes\n\n## Unreleased\n\n- later\n\n## 1.2.3 (2026-01-02)\n\n- a listener of the manifest may have a drain\n\n## 1.2.2 (2026-01-01)\n\n- before\n\n## 1.2.1 (2026-01-01)\n"
	debian    = "kpls-agent (1.2.3) unstable; urgency=medium\n\n  * See CHANGELOG.md.\n"
	// What packaging/build.sh does is tested in test/deb.
	builder = "#!/bin/sh\nmkdir -p dist\nfor arch in amd64 arm64; do echo \"$1 $arch\" >\"dist/kpls-agent_$(packaging/version.sh \"$1\")_$arch.deb\"; done\n"
)

// checkout makes a repository with one commit that has what release.sh needs.
func checkout(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{"CHANGELOG.md": changelog, "packaging/changelog": debian, "packaging/build.sh": builder, ".gitignore": "/dist/\n"} {
		write(t, filepath.Join(dir, name), text)
	}
	for _, name := range []string{"packaging/release.sh", "packaging/version.sh"} {
		text, err := os.ReadFile(filepath.Join("../..", name))
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, name), string(text))
	}
	bash(t, dir, `git init -q && git add . && git -c user.name=x -c user.email=x@example.com commit -qm all`)
	return dir
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
}

func bash(t *testing.T, dir, script string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "bash", "-ec", script)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", script, err, out)
	}
	return string(out)
}

func TestRelease(t *testing.T) {
	dir := checkout(t)
	said := bash(t, dir, "packaging/release.sh v1.2.3")
	if notes := read(t, filepath.Join(dir, "dist/release-notes.md")); notes != "- a listener of the manifest may have a drain\n" {
		t.Errorf("notes: %q", notes)
	}
	var sums strings.Builder
	for _, arch := range []string{"amd64", "arm64"} {
		fmt.Fprintf(&sums, "%x  kpls-agent_1.2.3_%s.deb\n", sha256.Sum256([]byte("v1.2.3 "+arch+"\n")), arch)
	}
	if got := read(t, filepath.Join(dir, "dist/SHA256SUMS")); got != sums.String() {
		t.Errorf("checksums:\n%swant:\n%s", got, sums.String())
	}
	if tags := bash(t, dir, "git tag"); tags != "" {
		t.Errorf("it made a tag: %s", tags)
	}
	// The command that it prints makes the tag, and the release can be made again from it.
	lines := strings.Split(strings.TrimSpace(said), "\n")
	tag, _, found := strings.Cut(lines[len(lines)-1], " && ")
	if !found {
		t.Fatalf("the last line is no command:\n%s", said)
	}
	bash(t, dir, strings.Replace(tag, "git ", "git -c user.name=x -c user.email=x@example.com ", 1))
	if got := bash(t, dir, "git describe --tags --always --dirty; git tag -l --format='%(contents)'"); !strings.HasPrefix(got, "v1.2.3\n- a listener") {
		t.Errorf("tag: %s", got)
	}
	bash(t, dir, "packaging/release.sh v1.2.3")
}

func TestReleaseRefused(t *testing.T) {
	const commit = "git -c user.name=x -c user.email=x@example.com commit -qm more"
	for _, c := range []struct{ name, before, version, says string }{
		{"a description of git's", "", "v1.2.3-4-gabcdef0", "no version"},
		{"no version", "", "", "no version"},
		{"without the v", "", "1.2.3", "no version"},
		{"a leading zero", "", "v1.02.3", "no version"},
		{"a changed file", "echo more >>CHANGELOG.md", "v1.2.3", "CHANGELOG.md"},
		{"a new file", "touch new", "v1.2.3", "?? new"},
		{"no section", "", "v1.2.4", `"## 1.2.4 (DATE)"`},
		{"a pre-release of a version with a section", "", "v1.2.3-rc.1", `"## 1.2.3-rc.1 (DATE)"`},
		{"an empty section", "", "v1.2.1", `"## 1.2.1 (DATE)"`},
		{"no entry of Debian's", "", "v1.2.2", "kpls-agent (1.2.2)"},
		{"a tag elsewhere", "git tag v1.2.3; touch new; git add new; " + commit, "v1.2.3", "another commit"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := checkout(t)
			bash(t, dir, c.before)
			cmd := exec.CommandContext(t.Context(), "packaging/release.sh", c.version)
			cmd.Dir = dir
			out, err := cmd.CombinedOutput()
			if err == nil || !strings.Contains(string(out), c.says) {
				t.Errorf("%v, want a refusal that says %q:\n%s", err, c.says, out)
			}
			if _, err := os.Stat(filepath.Join(dir, "dist")); err == nil {
				t.Error("it built something all the same")
			}
		})
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
