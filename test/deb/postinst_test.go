package deb

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestLastWords: the installation's own words are true, name what is left to do, and are five lines at most.
// The programs that postinst calls are stubs; the real ones are called on machines (test/system).
func TestLastWords(t *testing.T) {
	const says = "kpls-agent: 1.2.3 is installed and runs. The installation restarted no broker.\n"
	for _, c := range []struct {
		name, setup, active, status string
		want                        string
	}{
		{
			"nothing is left", "echo write /some/file; echo the service has it after: systemctl restart kpls-agent", "true", "unmanaged: there is no manifest yet",
			says + "kpls-agent: it says: unmanaged: there is no manifest yet\nkpls-agent: next: kpls-agent check\n",
		},
		{
			"settings that cannot be read", "echo 'kpls-agent: kpls-agent.yaml:1: nonsense' >&2; exit 2", "false", "",
			"kpls-agent: 1.2.3 is installed and does not run (see: systemctl status kpls-agent).\n" +
				"kpls-agent: kpls-agent.yaml:1: nonsense\nkpls-agent: when that is done: kpls-agent setup && systemctl restart kpls-agent\n",
		},
		{
			"no Kafka yet, and more", "echo write /some/file; echo left to do: install Kafka; echo left to do: this; echo left to do: that; exit 1", "true", "unmanaged: no broker",
			says + "kpls-agent: it says: unmanaged: no broker\nkpls-agent: left to do: install Kafka\n" +
				"kpls-agent: and 2 more: kpls-agent setup --dry-run\nkpls-agent: when that is done: kpls-agent setup && systemctl restart kpls-agent\n",
		},
		{
			"a service that is disabled", "echo nothing to change", "false", "",
			"kpls-agent: 1.2.3 is installed and does not run (see: systemctl status kpls-agent).\n",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			for name, script := range map[string]string{
				"systemd-sysusers":   "",
				"deb-systemd-helper": "",
				"deb-systemd-invoke": "echo a job that nobody reads",
				"systemctl":          `case "$*" in *is-active*) ` + c.active + `;; show*) echo "` + c.status + `";; esac`,
				"kpls-agent":         `case "$1" in version) echo kpls-agent 1.2.3;; setup) ` + c.setup + `;; esac`,
			} {
				if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			script := strings.ReplaceAll(read(t, checkout+"/packaging/scripts/postinst"), "/run/systemd/system", dir)
			cmd := exec.Command("sh", "-c", script, "postinst", "configure", "")
			cmd.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"))
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("postinst: %v\n%s", err, out)
			}
			if diff := cmp.Diff(c.want, string(out)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if n := strings.Count(string(out), "\n"); n > 5 {
				t.Errorf("%d lines", n)
			}
		})
	}
}
