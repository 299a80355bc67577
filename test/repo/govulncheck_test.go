package repo

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The database is made here; the scanner is the real one, on a package that opens files.
func TestGovulncheck(t *testing.T) {
	const entry = `{"schema_version": "1.3.1", "id": "GO-2000-0001",
  "modified": "2000-01-01T00:00:00Z", "published": "2000-01-01T00:00:00Z", "summary": "made for this test",
  "affected": [{"package": {"name": "stdlib", "ecosystem": "Go"},
    "ranges": [{"type": "SEMVER", "events": [{"introduced": "0"}]}],
    "ecosystem_specific": {"imports": [{"path": "os", "symbols": ["OpenFile"]}]}}],
  "database_specific": {"url": "https://example.com/GO-2000-0001", "review_status": "REVIEWED"}}`
	database := func(osv string) string {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "GO-2000-0001.json"), []byte(osv), 0o600); err != nil {
			t.Fatal(err)
		}
		return "VULNDB=file://" + dir
	}
	for _, c := range []struct {
		name, env string
		status    int
		says      string
	}{
		{"a vulnerability in a function that is called", database(entry), 3, "GO-2000-0001"},
		{"one in a function that is not called", database(strings.ReplaceAll(entry, "OpenFile", "Nonesuch")), 0, "no call of a function"},
		{"no network", "HTTPS_PROXY=http://127.0.0.1:9", 0, "NOT CHECKED"},
		{"a copy that is not there", "VULNDB=file:///nonesuch", 1, "/nonesuch"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), "../govulncheck.sh", "./internal/durable")
			cmd.Env = append(os.Environ(), "VULNDB=", c.env)
			out, _ := cmd.CombinedOutput()
			if got := cmd.ProcessState.ExitCode(); got != c.status || !strings.Contains(string(out), c.says) {
				t.Errorf("exit status %d, want %d and %q:\n%s", got, c.status, c.says, out)
			}
			if c.name == "no network" && strings.Contains(string(out), "no call") {
				t.Errorf("a scan without a database claims a result:\n%s", out)
			}
		})
	}
}
