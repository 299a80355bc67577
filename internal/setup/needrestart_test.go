package setup

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Perl itself reads what setup writes, as needrestart does: it evaluates the file and matches the names of
// control groups. What needrestart then leaves alone is shown on machines (test/system).
func TestOverrides(t *testing.T) {
	const program = `our %nrconf; my $file = shift; open(my $in, "<", $file) or die; local $/; eval <$in>; die $@ if $@;
		for my $unit (@ARGV) { for my $re (keys %{$nrconf{override_rc}}) { print "$unit\n" if $unit =~ /$re/ && $nrconf{override_rc}{$re} == 0 } }`
	names := []string{"kafka.service", "kafka@1.service", `broker\x2done.service`, "a-b:c_d.service"}
	others := []string{"kafkaXservice", "my-kafka.service", "kafka.service.old", "kafka@2.service", "kafka@.service"}
	file := filepath.Join(t.TempDir(), "50-kpls-agent.conf")
	if err := os.WriteFile(file, []byte(overrides(names)), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("perl", append([]string{"-we", "use strict; " + program, file}, append(names, others...)...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("perl: %v\n%s", err, out)
	}
	if want := strings.Join(names, "\n") + "\n"; string(out) != want {
		t.Errorf("left alone:\n%swant:\n%s", out, want)
	}
}

// Settings that cannot be read leave the default unit protected, and an override that is there as it is.
func TestProtect(t *testing.T) {
	m := newMachine(t)
	if err := m.u.Protect("kafka.service"); err != nil {
		t.Fatal(err)
	}
	if got := m.file(m.u.Override); !strings.Contains(got, `qr(^kafka\.service$)`) {
		t.Errorf("needrestart leaves alone:\n%s", got)
	}
	m.put("needrestart/conf.d/50-kpls-agent.conf", "of another unit", 0o644)
	if err := m.u.Protect("kafka.service"); err != nil {
		t.Fatal(err)
	}
	m.want("an override that is there", m.file(m.u.Override), "of another unit")
}
