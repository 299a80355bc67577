package setup

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"example.com/kpls-agent/internal/host"
	"example.com/kpls-agent/internal/settings"
	"example.com/kpls-agent/internal/setup/acl"
	"example.com/kpls-agent/internal/unit"
)

// machine is a VM as setup sees it, in a folder that this test's user owns.
type machine struct {
	t    *testing.T
	dir  string
	u    *Setup
	said []string
	// reloads counts how often systemd was asked to read its units again.
	reloads int
}

func newMachine(t *testing.T) *machine {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	m := &machine{t: t, dir: dir}
	m.u = &Setup{
		Who:    Account{User, 4242, 4242},
		DropIn: filepath.Join(dir, "systemd/kpls-agent.service.d/10-setup.conf"), Rule: filepath.Join(dir, "polkit/50-kpls-agent.rules"),
		Override: filepath.Join(dir, "needrestart/conf.d/50-kpls-agent.conf"),
		Seen:     filepath.Join(dir, "unit-seen.json"),
		Say:      func(format string, args ...any) { m.said = append(m.said, m.local(fmt.Sprintf(format, args...))) },
		Reload:   func(context.Context) error { m.reloads++; return nil },
		Names: func(_ context.Context, unit string) ([]string, error) {
			return []string{"confluent" + strings.TrimPrefix(unit, "kafka"), unit}, nil // it is an alias
		},
	}
	// Above it all folders are open, as they are on a VM; the test's own might not be.
	for at := dir; at != "/"; at = filepath.Dir(at) {
		if lacks(at, acl.Enter, m.u.Who, m.u.Who.gid) {
			if err := os.Chmod(at, 0o755); err != nil {
				t.Fatal(err)
			}
		}
	}
	return m
}

// local takes what differs from run to run out of a text.
func (m *machine) local(s string) string {
	return strings.NewReplacer(m.dir, "DIR", fmt.Sprintf("owner %d ", os.Getuid()), "owner SELF ", "SupplementaryGroups="+groupName(uint32(os.Getgid()))+"\n", "SupplementaryGroups=SELF\n").Replace(s)
}

func (m *machine) put(path, text string, mode os.FileMode) string {
	m.t.Helper()
	path = filepath.Join(m.dir, path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		m.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		m.t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		m.t.Fatal(err)
	}
	return path
}

// apply runs setup on the settings of the machine, and returns what it said and what it came to.
func (m *machine) apply() (string, Outcome) {
	m.t.Helper()
	path := filepath.Join(m.dir, "kpls-agent.yaml")
	s, err := settings.LoadAlone(path)
	if err != nil {
		m.t.Fatal(err)
	}
	return m.run(func(ctx context.Context) (Outcome, error) { return m.u.Apply(ctx, path, s) })
}

func (m *machine) undo() (string, Outcome) {
	m.t.Helper()
	return m.run(func(ctx context.Context) (Outcome, error) { return Done, m.u.Undo(ctx) })
}

func (m *machine) run(f func(context.Context) (Outcome, error)) (string, Outcome) {
	m.t.Helper()
	m.said, m.u.changed = nil, false
	came, err := f(m.t.Context())
	if err != nil {
		m.t.Fatal(err)
	}
	return strings.Join(m.said, "\n"), came
}

func (m *machine) want(what, got, want string) {
	m.t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		m.t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func (m *machine) file(path string) string {
	m.t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	return m.local(string(data))
}

// rights are what the agent's user has by name.
func (m *machine) rights(path string) string {
	m.t.Helper()
	list, err := acl.Of(path)
	if err != nil {
		m.t.Fatal(err)
	}
	return list.User(m.u.Who.uid).String()
}

func mode(t *testing.T, path string) os.FileMode {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Mode().Perm()
}

// What is wrong with the unit is left to be done by hand, after all that setup can do.
func TestSetupJudgesTheUnit(t *testing.T) {
	m := newMachine(t)
	m.put("server.properties", "node.id=1\n", 0o644)
	m.put("kpls-agent.yaml", "server_properties: server.properties\n", 0o644)
	var seen *unit.Seen
	m.u.Judge = func(_ context.Context, vm *settings.Settings, hidden func(string) bool) ([]string, *unit.Seen, error) {
		if hidden(m.put("open", "", 0o644)) || !hidden(m.put("closed", "", 0o600)) {
			t.Error("hidden is not of the service's user")
		}
		return []string{fmt.Sprintf("reach of a stop: %s says so", vm.Unit)}, seen, nil
	}
	said, code := m.apply()
	if code != Left || !strings.HasSuffix(said, "\nleft to do: reach of a stop: kafka.service says so") {
		t.Errorf("outcome %d, said:\n%s", code, said)
	}
	m.u.Judge = func(context.Context, *settings.Settings, func(string) bool) ([]string, *unit.Seen, error) {
		return nil, seen, nil
	}
	if said, code := m.apply(); code != Done || said != "nothing to change" {
		t.Errorf("outcome %d, said:\n%s", code, said)
	}

	// What the service cannot read is written down for it, and not when it can.
	seen = &unit.Seen{Shape: "of the unit"}
	m.u.Who.gid = uint32(os.Getgid())
	if said, _ := m.apply(); said != "write DIR/unit-seen.json: what the broker's unit runs and kpls-agent cannot read" || mode(t, m.u.Seen) != 0o640 {
		t.Errorf("said:\n%s", said)
	}
	if got := host.ReadSeen(m.u.Seen); got == nil || got.Shape != seen.Shape {
		t.Errorf("read back: %+v", got)
	}
	if said, _ := m.apply(); said != "nothing to change" {
		t.Errorf("a second time it said:\n%s", said)
	}
	seen = nil
	if said, _ := m.apply(); said != "remove DIR/unit-seen.json" || host.ReadSeen(m.u.Seen) != nil {
		t.Errorf("said:\n%s", said)
	}
}

func TestHidden(t *testing.T) {
	m := newMachine(t)
	closed := m.put("closed/script", "", 0o755)
	if err := os.Chmod(filepath.Dir(closed), 0o700); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]bool{
		m.put("open", "", 0o644): false, m.put("alone", "", 0o600): true, closed: true, filepath.Join(m.dir, "missing"): false,
	} {
		if got := hidden(path, m.u.Who); got != want {
			t.Errorf("%s: %v", m.local(path), got)
		}
	}
}

func TestSetup(t *testing.T) {
	m := newMachine(t)
	file := m.put("kafka-3.7.1/config/server.properties", "node.id=1\n", 0o644)
	folder := filepath.Dir(file)
	if err := os.Symlink("kafka-3.7.1", filepath.Join(m.dir, "kafka")); err != nil {
		t.Fatal(err)
	}
	password := m.put("secret/kafka.password", "x", 0o600)
	m.put("kpls-agent.yaml", `
server_properties: kafka/config/server.properties
unit: kafka@1.service
kafka: {sasl: {mechanism: PLAIN, username: x, password_file: secret/kafka.password}}
`, 0o644)

	m.u.Dry = true
	said, code := m.apply()
	if code != Differs || !strings.Contains(said, "would: let kpls-agent write in DIR/kafka-3.7.1/config\n") || m.rights(folder) != "---" || m.reloads != 0 {
		t.Errorf("dry run: outcome %d, said:\n%s", code, said)
	}
	if _, err := os.Stat(m.u.DropIn); err == nil {
		t.Error("a dry run wrote the drop-in")
	}
	m.u.Dry = false

	said, code = m.apply()
	m.want("first run", said, `write DIR/needrestart/conf.d/50-kpls-agent.conf
let kpls-agent write in DIR/kafka-3.7.1/config
let kpls-agent read DIR/secret/kafka.password
write DIR/systemd/kpls-agent.service.d/10-setup.conf
write DIR/polkit/50-kpls-agent.rules
have systemd read its units again
the service has it after: systemctl restart kpls-agent`)
	group := "# Its group: it stays Kafka's.\nSupplementaryGroups=SELF\n"
	if os.Getgid() == 0 {
		group = ""
	}
	m.want("drop-in", m.file(m.u.DropIn), "# Written by `kpls-agent setup` from DIR/kpls-agent.yaml. Change the settings and run it again\n"+`# instead of changing this file.
#
# What it gave, and `+"`kpls-agent setup --undo`"+` takes back:
#   rwx DIR/kafka-3.7.1/config
#   r-- DIR/secret/kafka.password
#   owner SELF DIR/kafka-3.7.1/config/server.properties

[Unit]
# At the first boot server.properties is right before the broker starts.
Before=kafka@1.service

[Service]
# The folder of server.properties, which is replaced by rename.
ReadWritePaths="-DIR/kafka-3.7.1/config"
`+group)
	m.want("rule", m.file(m.u.Rule), "// Written by `kpls-agent setup`. Change the settings and run it again instead of\n"+`// changing this file. kpls-agent has no right over a unit but those below.

// It may restart the broker's unit.
polkit.addRule(function (action, subject) {
  if (action.id == "org.freedesktop.systemd1.manage-units" &&
      ["confluent@1.service","kafka@1.service"].indexOf(action.lookup("unit")) >= 0 &&
      action.lookup("verb") == "restart" &&
      subject.user == "kpls-agent") {
    return polkit.Result.YES;
  }
});
`)
	m.want("override", m.file(m.u.Override), "# Written by `kpls-agent setup`. Change the settings and run it again instead of\n"+
		"# changing this file. needrestart restarts no broker: `kpls-agent restart` does it, one\n"+
		"# after the other, when that is safe for the cluster.\n"+
		`$nrconf{override_rc}{qr(^confluent\@1\.service$)} = 0;
$nrconf{override_rc}{qr(^kafka\@1\.service$)} = 0;
`)
	if code != Done || m.reloads != 1 || m.rights(folder) != "rwx" || m.rights(password) != "r--" || m.rights(file) != "---" {
		t.Errorf("outcome %d, %d reloads, rights %s %s %s", code, m.reloads, m.rights(folder), m.rights(password), m.rights(file))
	}
	if said, code := m.apply(); said != "nothing to change" || code != Done || m.reloads != 1 {
		t.Errorf("second run: outcome %d, said:\n%s", code, said)
	}

	// The settings name another place and unit: what is not needed any more goes.
	m.put("etc/server.properties", "node.id=1\n", 0o644)
	m.put("kpls-agent.yaml", "server_properties: etc/server.properties\n", 0o644)
	said, _ = m.apply()
	if m.rights(folder) != "---" || m.rights(filepath.Join(m.dir, "etc")) != "rwx" || m.rights(password) != "---" {
		t.Errorf("another place: %s", said)
	}
	if mode(t, folder) != 0o755 || mode(t, password) != 0o600 {
		t.Errorf("modes %v %v are not what they were", mode(t, folder), mode(t, password))
	}
	if !strings.Contains(m.file(m.u.Rule), `"kafka.service"`) || !strings.Contains(m.file(m.u.DropIn), "Before=kafka.service\n") {
		t.Errorf("the unit stayed:\n%s%s", m.file(m.u.Rule), m.file(m.u.DropIn))
	}
	if got := m.file(m.u.Override); !strings.Contains(got, `kafka\.service`) || strings.Contains(got, `\@1`) {
		t.Errorf("needrestart leaves alone:\n%s", got)
	}

	said, code = m.undo()
	m.want("undo", said, `let kpls-agent no longer write in DIR/etc
remove DIR/polkit/50-kpls-agent.rules
remove DIR/needrestart/conf.d/50-kpls-agent.conf
remove DIR/systemd/kpls-agent.service.d/10-setup.conf
have systemd read its units again`)
	if code != Done || m.rights(filepath.Join(m.dir, "etc")) != "---" {
		t.Errorf("undo: outcome %d", code)
	}
	if _, err := os.Stat(filepath.Dir(m.u.DropIn)); err == nil {
		t.Error("undo left an empty folder")
	}
	if _, err := os.Stat(filepath.Join(m.dir, "needrestart")); err == nil {
		t.Error("undo left an empty folder of needrestart")
	}
	if said, _ := m.undo(); said != "nothing to take back" {
		t.Errorf("second undo said %s", said)
	}
}

// TestSetupLeft: what only a person can decide is said, and the rest is done.
func TestSetupLeft(t *testing.T) {
	for _, c := range []struct {
		name, settings string
		set            func(*machine)
		want           string
	}{
		{
			"no server.properties", "server_properties: etc/server.properties\n", func(*machine) {},
			"left to do: DIR/etc/server.properties does not exist; install Kafka, or name its file as server_properties in the settings, then run `kpls-agent setup` again",
		},
		{
			"for its owner alone", "server_properties: etc/server.properties\n", func(m *machine) { m.put("etc/server.properties", "", 0o600) },
			"left to do: DIR/etc/server.properties can be read by its owner alone, and the agent has to read and to replace it; let the group that Kafka runs in read it: chgrp kafka DIR/etc/server.properties && chmod 0640 DIR/etc/server.properties",
		},
		{
			"a manifest for its owner alone", "server_properties: etc/server.properties\nmanifest: manifest.yaml\n", func(m *machine) {
				m.put("etc/server.properties", "", 0o644)
				m.put("manifest.yaml", "", 0o600)
			},
			"left to do: DIR/manifest.yaml cannot be read by kpls-agent; it holds no secrets, so type: chmod a+r DIR/manifest.yaml",
		},
		{
			"no certificate", "server_properties: etc/server.properties\nkafka: {tls: {ca_file: ca.pem}}\n", func(m *machine) { m.put("etc/server.properties", "", 0o644) },
			"left to do: lstat DIR/ca.pem: no such file or directory; put the file there that the settings name",
		},
		{
			"no state directory", "server_properties: etc/server.properties\nstate_dir: srv/state\n", func(m *machine) { m.put("etc/server.properties", "", 0o644) },
			"left to do: lstat DIR/srv: no such file or directory; make the state directory: install -d -m 0750 -o kpls-agent -g kpls-agent DIR/srv/state, then run `kpls-agent setup` again",
		},
		{
			"no password", "server_properties: etc/server.properties\nkafka: {sasl: {mechanism: PLAIN, username: x, password_file: password}}\n", func(m *machine) { m.put("etc/server.properties", "", 0o644) },
			"left to do: lstat DIR/password: no such file or directory; put the file there that the settings name",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := newMachine(t)
			m.put("kpls-agent.yaml", c.settings, 0o644)
			c.set(m)
			said, code := m.apply()
			if lines := strings.Split(said, "\n"); code != Left || lines[len(lines)-1] != c.want {
				t.Errorf("outcome %d, said:\n%s\nwant at the end:\n%s", code, said, c.want)
			}
			if strings.Contains(m.file(m.u.Rule), "no such file") {
				t.Error("the polkit rule was not written")
			}
		})
	}
}

func TestSetupStateDirectory(t *testing.T) {
	m := newMachine(t)
	m.put("etc/server.properties", "", 0o644)
	m.put("srv/state/journal.json", "", 0o600)
	m.put("kpls-agent.yaml", "server_properties: etc/server.properties\nstate_dir: srv/state\n", 0o644)
	said, code := m.apply()
	state := filepath.Join(m.dir, "srv/state")
	if code != Done || m.rights(state) != "rwx" || !strings.Contains(m.file(m.u.DropIn), "ReadWritePaths=\"-DIR/etc\"\nReadWritePaths=\"-DIR/srv/state\"\n") {
		t.Errorf("outcome %d, rights %s, said:\n%s\n%s", code, m.rights(state), said, m.file(m.u.DropIn))
	}
}

func TestSetupCommands(t *testing.T) {
	m := newMachine(t)
	m.put("etc/server.properties", "", 0o644)
	m.put("kpls-agent.yaml", "server_properties: etc/server.properties\n", 0o644)
	m.apply()
	m.put("kpls-agent.yaml", "server_properties: etc/server.properties\ncommands: {restart: [x], status: [y]}\n", 0o644)
	said, code := m.apply()
	if _, err := os.Stat(m.u.Override); err == nil {
		t.Error("needrestart has an override without a unit")
	}
	if _, err := os.Stat(m.u.Rule); err == nil || code != Done || strings.Contains(m.file(m.u.DropIn), "Before=") {
		t.Errorf("outcome %d, said:\n%s\n%s", code, said, m.file(m.u.DropIn))
	}
}

// TestSetupStorage: the agent may enter each log directory that is there, and the service sees
// those below /tmp. Relative ones are left alone, since they hang on where Kafka is started.
func TestSetupStorage(t *testing.T) {
	m := newMachine(t)
	closed, open, tmp := filepath.Join(m.dir, "srv/closed"), filepath.Join(m.dir, "srv/open"), filepath.Join(m.dir, "meta")
	m.put("etc/server.properties", fmt.Sprintf("log.dirs=%s, %s,data,/none/such\nmetadata.log.dir=%s\n", closed, open, tmp), 0o644)
	for _, dir := range []string{closed, open, tmp} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, dir := range []string{closed, tmp} {
		if err := os.Chmod(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	m.put("kpls-agent.yaml", "server_properties: etc/server.properties\n", 0o644)
	said, code := m.apply()
	if code != Done || m.rights(closed) != "--x" || m.rights(tmp) != "--x" || m.rights(open) != "---" {
		t.Errorf("outcome %d, rights %s %s %s, said:\n%s", code, m.rights(closed), m.rights(tmp), m.rights(open), said)
	}
	for _, dir := range []string{closed, open, tmp} {
		if bound := strings.Contains(m.file(m.u.DropIn), "BindReadOnlyPaths=\"-"+m.local(dir)+"\"\n"); bound != inTmp(m.dir+"/") {
			t.Errorf("%s: bound %v:\n%s", dir, bound, m.file(m.u.DropIn))
		}
	}
	if said, code := m.apply(); code != Done || said != "nothing to change" {
		t.Errorf("again: outcome %d, said %s", code, said)
	}
	if _, code := m.undo(); code != Done || m.rights(closed) != "---" {
		t.Errorf("undo: outcome %d, rights %s", code, m.rights(closed))
	}
}

func TestDropIn(t *testing.T) {
	for name, c := range map[string]struct {
		w       wanted
		version int
		want    string
	}{
		"nothing is there yet": {wanted{unit: "kafka.service"}, 0, "Before=kafka.service\n\n[Service]\n"},
		"systemd 253":          {wanted{}, 253, "\n[Service]\n"},
		"systemd 254": {wanted{}, 254, "\nFileDescriptorStorePreserve=yes\n" +
			"ExecStopPost=-+/usr/bin/systemctl --no-block restart kpls-agent-expire.timer\n" +
			"ExecStartPost=-+/usr/bin/systemctl --no-block stop kpls-agent-expire.timer\n"},
		"an odd path":                {wanted{folders: []string{`/opt/my "kafka"/100%`}}, 0, `ReadWritePaths="-/opt/my \"kafka\"/100%%"` + "\n"},
		"a log directory below /tmp": {wanted{folders: []string{"/etc/kafka"}, seen: []string{"/tmp/kafka-logs"}}, 0, "ReadWritePaths=\"-/etc/kafka\"\n# Log directories of the broker: whether their meta.properties are still there.\nBindReadOnlyPaths=\"-/tmp/kafka-logs\"\n"},
		"a log directory in a home":  {wanted{seen: []string{"/home/kafka/data"}}, 0, "\n[Service]\nProtectHome=tmpfs\n# Log directories of the broker: whether their meta.properties are still there.\nBindReadOnlyPaths=\"-/home/kafka/data\"\n"},
		"a home":                     {wanted{folders: []string{"/home/azureuser/config", "/srv/state"}, group: "azureuser"}, 0, "ProtectHome=tmpfs\nBindPaths=\"-/home/azureuser/config\"\nReadWritePaths=\"-/srv/state\"\n# Its group: it stays Kafka's.\nSupplementaryGroups=azureuser\n"},
	} {
		if got := dropIn("settings", c.w, c.version); !strings.HasSuffix(got, c.want) {
			t.Errorf("%s:\n%s\nwant at the end:\n%s", name, got, c.want)
		}
	}
}

func TestUnreadable(t *testing.T) {
	for _, c := range []struct {
		perm os.FileMode
		gid  uint32
		ok   bool
	}{
		{0o644, 0, true},
		{0o640, 994, true},
		{0o664, 1000, true},
		{0o640, 0, false},
		{0o664, 0, false},
		{0o600, 994, false},
		{0o604, 994, true},
	} {
		if got := unreadable(c.perm, c.gid); (got == "") != c.ok {
			t.Errorf("%o of group %d: %q", c.perm, c.gid, got)
		}
	}
}

// What client.properties names is for the service to read as well.
func TestSetupClientProperties(t *testing.T) {
	m := newMachine(t)
	m.put("etc/server.properties", "", 0o644)
	store := m.put("tls/trust.pem", "no store", 0o600)
	client := m.put("client.properties", "security.protocol=SSL\nssl.truststore.location="+store+"\n", 0o600)
	m.put("kpls-agent.yaml", "server_properties: etc/server.properties\nkafka: {client_properties: client.properties}\n", 0o644)
	said, code := m.apply()
	want := "left to do: DIR/client.properties:2: ssl.truststore.location: DIR/tls/trust.pem is none of PEM, JKS and PKCS12; convert it with keytool -importkeystore -deststoretype PKCS12"
	if code != Left || !strings.Contains(said, want) {
		t.Errorf("outcome %d, said:\n%s", code, said)
	}
	for _, path := range []string{client, store} {
		if got := m.rights(path); got != "r--" {
			t.Errorf("the service has the rights %s on %s", got, path)
		}
	}
}
