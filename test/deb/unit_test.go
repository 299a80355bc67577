package deb

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// unit copies a unit with its program replaced by one that is there, so
// systemd-analyze can judge the rest.
func unit(t *testing.T, from, program string) string {
	t.Helper()
	text := regexp.MustCompile(`(?m)^ExecStart=\S+`).ReplaceAllString(read(t, from), "ExecStart="+program)
	to := filepath.Join(t.TempDir(), filepath.Base(from))
	if err := os.WriteFile(to, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return to
}

func TestUnitVerify(t *testing.T) {
	path := unit(t, checkout+"/systemd/kpls-agent.service", extract(t)+"/usr/bin/kpls-agent")
	// As setup adds to it.
	if err := os.Mkdir(path+".d", 0o755); err != nil {
		t.Fatal(err)
	}
	dropIn := "[Unit]\nBefore=kafka.service\n[Service]\nReadWritePaths=\"-/etc/kafka\"\nSupplementaryGroups=kafka\n"
	if err := os.WriteFile(path+".d/10-setup.conf", []byte(dropIn), 0o644); err != nil {
		t.Fatal(err)
	}
	agents := checkout + "/systemd/kpls-agent-"
	for _, unit := range []string{
		path, unit(t, agents+"judge.service", "/bin/true"), agents + "again.service", agents + "expire.service", agents + "expire.timer",
		unit(t, checkout+"/packaging/examples/kafka.service", "/bin/true"), unit(t, checkout+"/packaging/examples/kafka-format.service", "/bin/true"),
	} {
		if out := output(t, "systemd-analyze", "verify", "--man=no", "--recursive-errors=no", unit); out != "" {
			t.Errorf("%s: %s", filepath.Base(unit), out)
		}
	}
}

func TestUnitSecurity(t *testing.T) {
	// A JVM makes code as it runs, and reads what the broker's user may read.
	for name, most := range map[string]string{"kpls-agent.service": "15", "kpls-agent-judge.service": "20"} {
		path := unit(t, checkout+"/systemd/"+name, "/bin/true")
		out := output(t, "systemd-analyze", "security", "--offline=true", "--no-pager", "--threshold="+most, path)
		lines := strings.Split(strings.TrimSpace(out), "\n")
		t.Log(lines[len(lines)-1])
	}
}
