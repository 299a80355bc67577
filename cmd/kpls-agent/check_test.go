package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const checkedProperties = `process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:29092
controller.listener.names=CONTROLLER
inter.broker.listener.name=INTERNAL
listeners=INTERNAL://127.0.0.1:9092,CONTROLLER://127.0.0.1:29092
advertised.listeners=INTERNAL://127.0.0.1:9092
listener.security.protocol.map=INTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs=/var/lib/kafka
`

const checkedManifest = `version: 1
cluster: c
listeners:
  EXTERNAL:
    bind: 127.0.0.1:39092
    security_protocol: PLAINTEXT
    advertised: <broker_id>.kafka.example.com:<port>
    probe_port: 39192
brokers:
  1: {ports: {EXTERNAL: 9093}}
`

// checked runs the command on files of its own.
func checked(t *testing.T, properties, manifest string, args ...string) (string, int) {
	t.Helper()
	dir := t.TempDir()
	vm := filepath.Join(dir, "kpls-agent.yaml")
	for path, text := range map[string]string{
		vm:                                      "manifest: manifest.yaml\nserver_properties: server.properties\nstate_dir: state\ncommands: {restart: [\"false\"], status: [sh, -c, exit 3]}\n",
		filepath.Join(dir, "server.properties"): properties, filepath.Join(dir, "manifest.yaml"): manifest,
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var out, errOut bytes.Buffer
	code := execute(t.Context(), append([]string{"check", "--settings", vm}, args...), strings.NewReader(""), &out, &errOut)
	return strings.ReplaceAll(out.String()+errOut.String(), dir, "DIR"), code
}

func TestCheckOffline(t *testing.T) {
	out, code := checked(t, checkedProperties, checkedManifest, "--offline")
	if code != exitDone || strings.Contains(out, "FAULT") || !strings.Contains(out, "ok       manifest for this broker: it changes listeners, advertised.listeners, listener.security.protocol.map in server.properties; `kpls-agent plan` shows how\n") {
		t.Errorf("exit %d:\n%s", code, out)
	}
	out, code = checked(t, checkedProperties, "version: 2\n", "--offline")
	if code != exitUsage || !regexp.MustCompile(`(?m)^FAULT    manifest: (?s:.*)DIR/manifest.yaml:1:10: version: `).MatchString(out) {
		t.Errorf("exit %d:\n%s", code, out)
	}
	out, code = checked(t, "node.id=x\n", checkedManifest, "--offline")
	if code != exitUsage || !strings.Contains(out, "FAULT    server.properties: ") {
		t.Errorf("exit %d:\n%s", code, out)
	}
	out, code = checked(t, checkedProperties, checkedManifest, "--offline", "-o", "json")
	var findings []map[string]any
	if err := json.Unmarshal([]byte(out), &findings); err != nil || code != exitDone {
		t.Fatalf("exit %d, %v:\n%s", code, err, out)
	}
	for _, f := range findings {
		if f["what"] == "" || f["level"] != "ok" && f["level"] != "warning" {
			t.Errorf("%v", f)
		}
	}
}

// TestCheckGiven: a manifest that is named is read as who asks, and what is wrong with it, or with the settings, keeps
// nothing else from being checked.
func TestCheckGiven(t *testing.T) {
	other := filepath.Join(t.TempDir(), "other.yaml")
	if err := os.WriteFile(other, []byte(strings.ReplaceAll(checkedManifest, "EXTERNAL", "OTHER")), 0o600); err != nil {
		t.Fatal(err)
	}
	out, code := checked(t, checkedProperties, checkedManifest, "--offline", "--manifest", other)
	if code != exitDone || !regexp.MustCompile(`(?m)^ok       manifest: `+other+`, read as \S+$`).MatchString(out) {
		t.Errorf("exit %d:\n%s", code, out)
	}
	missing := other + ".gone"
	out, code = checked(t, checkedProperties, checkedManifest, "--offline", "--manifest", missing)
	if code != exitUsage || !regexp.MustCompile(`(?m)^FAULT    manifest: read as \S+: open `+missing+`: no such file or directory; name the file with --manifest$`).MatchString(out) ||
		!strings.Contains(out, "ok       state directory: ") {
		t.Errorf("exit %d:\n%s", code, out)
	}
	out, code = checked(t, "node.id=x\n", "version: 2\n", "--offline")
	if code != exitUsage || !strings.Contains(out, "FAULT    server.properties: ") || !strings.Contains(out, "FAULT    manifest: ") || !strings.Contains(out, "ok       state directory: ") {
		t.Errorf("after the first fault: exit %d:\n%s", code, out)
	}
	vm := filepath.Join(t.TempDir(), "kpls-agent.yaml")
	if err := os.WriteFile(vm, []byte("unti: kafka.service\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var text, errOut bytes.Buffer
	code = execute(t.Context(), []string{"check", "--settings", vm, "--manifest", other, "-o", "json"}, strings.NewReader(""), &text, &errOut)
	var findings []map[string]any
	if err := json.Unmarshal(text.Bytes(), &findings); err != nil || code != exitUsage || len(findings) != 2 || findings[0]["what"] != "settings" || findings[0]["level"] != "fault" || findings[1]["level"] != "ok" {
		t.Errorf("a fault of the settings: exit %d, %v:\n%s%s", code, err, &text, &errOut)
	}
}

// Without a broker the rest is checked all the same.
func TestCheckWithoutABroker(t *testing.T) {
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	port := l.Addr().(*net.TCPAddr).Port
	unused, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	unused.Close()
	properties := strings.ReplaceAll(checkedProperties, "127.0.0.1:9092", unused.Addr().String())
	manifest := strings.Replace(checkedManifest, "probe_port: 39192", fmt.Sprintf("probe_port: %d", port), 1)
	out, code := checked(t, properties, manifest)
	if code != exitFailed {
		t.Errorf("exit %d", code)
	}
	for _, want := range []string{
		"ok       commands: stopped\n", "warning  unit: cannot be seen: the settings have `commands`. ", "FAULT    login to Kafka: ", fmt.Sprintf("FAULT    probe port of EXTERNAL: %d is taken, and not by the agent; process ", port),
	} {
		if !strings.Contains(out, want) {
			t.Errorf("no line %q in\n%s", want, out)
		}
	}
}
