package deb

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const (
	checkout = "../.."
	version  = "9.9.9~rc.1+3.gabcdef0"
	epoch    = "1790000000" // 2026-09-21 13:33:20 UTC
)

// built are the packages of one build, by architecture.
var built map[string]string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "kpls-deb-")
	if err == nil {
		built, err = build(filepath.Join(dir, "checkout"), "umask 022")
	}
	code := 1
	if err == nil {
		code = m.Run()
	} else {
		fmt.Fprintln(os.Stderr, err)
	}
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// build copies the files of the checkout, as they are now, to dir and makes the
// packages there, in a shell that setup prepares.
func build(dir, setup string) (map[string]string, error) {
	copied := exec.Command("bash", "-ec", `mkdir -p "$1"; git ls-files -z --cached --others --exclude-standard | xargs -0 cp --parents -t "$1"`, "copy", dir)
	copied.Dir = checkout
	if out, err := copied.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("copy the checkout: %w\n%s", err, out)
	}
	cmd := exec.Command("bash", "-ec", setup+"; packaging/build.sh v9.9.9-rc.1-3-gabcdef0")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "SOURCE_DATE_EPOCH="+epoch, "GOFLAGS=-buildvcs=false")
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build.sh: %w\n%s", err, out)
	}
	packages := map[string]string{}
	for _, arch := range []string{"amd64", "arm64"} {
		packages[arch] = filepath.Join(dir, "dist", "kpls-agent_"+version+"_"+arch+".deb")
	}
	return packages, nil
}

func output(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// TestReproducible builds once more, elsewhere, at another time of the files, in
// another time zone and language, with another umask.
func TestReproducible(t *testing.T) {
	again, err := build(filepath.Join(t.TempDir(), "else/where"), "umask 077; find . -exec touch -hd @1 {} +; export TZ=Asia/Tokyo LC_ALL=C.UTF-8")
	if err != nil {
		t.Fatal(err)
	}
	for arch, path := range built {
		first, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		second, err := os.ReadFile(again[arch])
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(first, second) {
			t.Errorf("%s: two builds differ:\n%s", arch, cmp.Diff(output(t, "dpkg-deb", "-c", path), output(t, "dpkg-deb", "-c", again[arch])))
		}
		t.Logf("%s: %.1f MiB", arch, float64(len(first))/(1<<20))
	}
}

func TestLintian(t *testing.T) {
	for _, path := range built {
		if out := output(t, "lintian", "--allow-root", "--fail-on", "error,warning", "--tag-display-limit", "0", path); out != "" {
			t.Log(out)
		}
	}
}

func TestControl(t *testing.T) {
	for arch, path := range built {
		got := output(t, "dpkg-deb", "-f", path, "Package", "Version", "Architecture", "Section", "Depends", "Conffiles")
		want := "Package: kpls-agent\nVersion: " + version + "\nArchitecture: " + arch + "\nSection: admin\n" +
			"Depends: init-system-helpers (>= 1.54~), polkitd (>= 122), procps, systemd (>= 252)\n"
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", arch, diff)
		}
	}
}

// TestContents: all of root's, all of the commit's time, and nothing of the
// machine it was built on. No file is a conffile: what cloud-init wrote before the
// installation would be a question then.
func TestContents(t *testing.T) {
	want := []string{
		"/etc/kpls-agent/", "/usr/bin/kpls-agent", "/usr/lib/systemd/system/kpls-agent.service", "/usr/lib/systemd/system/kpls-agent-again.service",
		"/usr/lib/systemd/system/kpls-agent-judge.service",
		"/usr/lib/systemd/system/kpls-agent-expire.service", "/usr/lib/systemd/system/kpls-agent-expire.timer", "/usr/lib/sysusers.d/kpls-agent.conf",
		"/usr/share/bash-completion/completions/kpls-agent", "/usr/share/doc/kpls-agent/changelog.gz", "/usr/share/doc/kpls-agent/copyright",
		"/usr/share/doc/kpls-agent/third-party-notices", "/usr/share/fish/vendor_completions.d/kpls-agent.fish",
		"/usr/share/kpls-agent/manifest.schema.json", "/usr/share/kpls-agent/network.schema.json", "/usr/share/kpls-agent/settings.schema.json", "/usr/share/man/man1/kpls-agent.1.gz",
		"/usr/share/man/man5/kpls-agent.yaml.5.gz", "/usr/share/zsh/vendor-completions/_kpls-agent",
	}
	for _, example := range []string{"kafka-format.service", "kafka.service", "kpls-agent.yaml", "manifest.yaml", "user-data"} {
		want = append(want, "/usr/share/doc/kpls-agent/examples/"+example)
	}
	for _, part := range []string{"clusters", "configuration", "install", "metrics", "operations", "security"} {
		want = append(want, "/usr/share/doc/kpls-agent/"+part+".md")
	}
	for _, file := range []string{"prometheus/kpls-agent.alerts.yml", "prometheus/kpls-agent.recording.yml", "prometheus/prometheus.example.yml", "grafana/kpls-agent.json"} {
		want = append(want, "/usr/share/kpls-agent/"+file)
	}
	for arch, path := range built {
		var names []string
		for line := range strings.SplitSeq(strings.TrimSpace(output(t, "env", "TZ=UTC", "dpkg-deb", "-c", path)), "\n") {
			f := strings.Fields(line)
			if len(f) != 6 || f[1] != "root/root" || f[3]+" "+f[4] != "2026-09-21 14:13" {
				t.Errorf("%s: %s", arch, line)
				continue
			}
			name, mode := strings.TrimPrefix(f[5], "."), "-rw-r--r--"
			switch {
			case strings.HasSuffix(name, "/"):
				mode = "drwxr-xr-x"
			case strings.HasPrefix(name, "/usr/bin/"):
				mode = "-rwxr-xr-x"
			}
			if f[0] != mode {
				t.Errorf("%s: %s, want %s", arch, line, mode)
			}
			names = append(names, name)
		}
		for _, name := range want {
			if !slices.Contains(names, name) {
				t.Errorf("%s: %s is missing", arch, name)
			}
		}
		for _, name := range names {
			if strings.HasPrefix(name, "/etc/") && !strings.HasSuffix(name, "/") {
				t.Errorf("%s: %s would be a conffile", arch, name)
			}
		}
	}
}

// extract unpacks the package of this machine's architecture.
func extract(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	output(t, "dpkg-deb", "-x", built[strings.TrimSpace(output(t, "dpkg", "--print-architecture"))], dir)
	return dir
}

func TestProgram(t *testing.T) {
	dir := extract(t)
	if got := output(t, dir+"/usr/bin/kpls-agent", "version"); got != "kpls-agent "+version+"\n" {
		t.Errorf("version: %s", got)
	}
	for _, module := range []string{"github.com/twmb/franz-go", "github.com/spf13/cobra", "golang.org/x/sys"} {
		if !strings.Contains(read(t, dir+"/usr/share/doc/kpls-agent/third-party-notices"), "==== "+module+" ") {
			t.Errorf("the licence of %s is missing", module)
		}
	}
	changelog := output(t, "zcat", dir+"/usr/share/doc/kpls-agent/changelog.gz")
	if !strings.HasPrefix(changelog, "kpls-agent ("+version+") UNRELEASED;") || strings.Count(changelog, "\n -- ") < 2 {
		t.Errorf("changelog:\n%s", changelog)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// TestVersion: dpkg sorts what `git describe` says as people do.
func TestVersion(t *testing.T) {
	sorted := []struct{ described, version string }{
		{"v1.2.3-rc.1", "1.2.3~rc.1"},
		{"v1.2.3-rc.1-4-gabcdef0", "1.2.3~rc.1+4.gabcdef0"},
		{"v1.2.3-rc.2", "1.2.3~rc.2"},
		{"v1.2.3", "1.2.3"},
		{"v1.2.3-4-gabcdef0", "1.2.3+4.gabcdef0"},
		{"v1.2.3-4-gabcdef0-dirty", "1.2.3+4.gabcdef0.dirty"},
		{"v1.2.3-10-g1234567", "1.2.3+10.g1234567"},
		{"1.2.4", "1.2.4"},
		{"v1.2.4-dirty", "1.2.4+dirty"},
		{"v1.10.0", "1.10.0"},
	}
	before := "0"
	for _, c := range sorted {
		got := strings.TrimSpace(output(t, checkout+"/packaging/version.sh", c.described))
		if got != c.version {
			t.Errorf("%s is %s, want %s", c.described, got, c.version)
		}
		if err := exec.Command("dpkg", "--compare-versions", before, "lt", got).Run(); err != nil {
			t.Errorf("%s does not come after %s", got, before)
		}
		before = got
	}
	got := strings.TrimSpace(output(t, checkout+"/packaging/version.sh", "abcdef0"))
	if !strings.HasPrefix(got, "0~") || !strings.HasSuffix(got, ".gabcdef0") || exec.Command("dpkg", "--compare-versions", got, "lt", "0.0.1~rc").Run() != nil {
		t.Errorf("without a tag: %s", got)
	}
	if err := exec.Command(checkout+"/packaging/version.sh", "nonsense").Run(); err == nil {
		t.Error("nonsense is a version")
	}
}

func TestShellcheck(t *testing.T) {
	var scripts []string
	for _, pattern := range []string{
		"packaging/*.sh", "packaging/scripts/*", "test/*.sh", "test/network/*.sh", ".ci/run",
		"internal/render/testdata/*/*/*.sh", "internal/render/testdata/*/*/*/*.sh", // what render writes
	} {
		found, err := filepath.Glob(filepath.Join(checkout, pattern))
		if err != nil || len(found) == 0 {
			t.Fatalf("%s: %v", pattern, err)
		}
		scripts = append(scripts, found...)
	}
	output(t, "shellcheck", scripts...)
}
