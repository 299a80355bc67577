package sandbox_test

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"example.com/kpls-agent/test/sandbox"
)

func TestLibs(t *testing.T) {
	version := sandbox.Version()
	dir, err := sandbox.Libs(t.Context(), version)
	if err != nil {
		t.Fatal(err)
	}
	again, err := sandbox.Libs(t.Context(), version)
	if err != nil || again != dir {
		t.Errorf("second call: %q, %v; want %q", again, err, dir)
	}
	if parts, _ := filepath.Glob(dir + ".part-*"); len(parts) > 0 {
		t.Errorf("left behind: %q", parts)
	}
	java := exec.CommandContext(t.Context(), "java", "-cp", sandbox.ClassPath(dir), "kafka.tools.StorageTool", "random-uuid")
	out, err := java.Output()
	if err != nil {
		t.Fatal(err)
	}
	if id := strings.TrimSpace(string(out)); len(id) != 22 {
		t.Errorf("random-uuid printed %q, want 22 characters and no log lines", id)
	}
}

func TestLibsWithoutTools(t *testing.T) {
	t.Setenv("KPLS_CACHE", t.TempDir())
	t.Setenv("PATH", t.TempDir())
	_, err := sandbox.Libs(t.Context(), "3.7.1")
	if err == nil || !strings.Contains(err.Error(), "java is not installed") {
		t.Errorf("error %v, want one that names java", err)
	}
}
