package render

import (
	"encoding/json"
	"strings"
	"testing"

	"example.com/kpls-agent/internal/config"
)

const manifest = `version: 1
cluster: kafka-pls
listeners:
  EXTERNAL:
    bind: 0.0.0.0:39092
    security_protocol: PLAINTEXT
    advertised: <broker_id>.abc.example.com:<port>
    probe_port: 39192
  EXTERNAL2:
    bind: <host>:39093
    security_protocol: PLAINTEXT
    advertised_by_zone:
      az1: <broker_id>.az1.example.com:<port>
      az2: <broker_id>.az2.example.com:<port>
    port_base: 9100
    probe_port: 39193
    during_restart: close
brokers:
  10: {ports: {EXTERNAL: 9103}, zone: az2, host: 10.0.0.10}
  2: {ports: {EXTERNAL: 9094}, zone: az1, host: 10.0.0.2}
load_balancer: {interval: 5s, healthy_threshold: 2}
`

// parsed is a manifest for a test.
func parsed(t *testing.T, text string) *config.Manifest {
	t.Helper()
	m, err := config.ParseManifest("manifest.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestResolve: patterns, ports and hosts are resolved, brokers stand in the order of their ids.
func TestResolve(t *testing.T) {
	n, err := Resolve(parsed(t, manifest), Options{Listeners: []string{"external2"}, Hosts: map[int32]string{10: "10.9.9.9"}})
	if err != nil {
		t.Fatal(err)
	}
	n.Manifest = "" // of the bytes above
	got, err := json.Marshal(n)
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"version":1,"cluster":"kafka-pls","manifest_sha256":"","probe":{"interval_seconds":5,"healthy_threshold":2},` +
		`"listeners":[{"name":"EXTERNAL2","security_protocol":"PLAINTEXT","bind_port":39093,"probe_port":39193,` +
		`"during_restart":"close","brokers":[` +
		`{"id":2,"zone":"az1","host":"10.0.0.2","advertised_host":"b2.az1.example.com","port":9102},` +
		`{"id":10,"zone":"az2","host":"10.9.9.9","advertised_host":"b10.az2.example.com","port":9110}]}]}`
	if string(got) != want {
		t.Errorf("\ngot  %s\nwant %s", got, want)
	}
}

// TestResolveRefuses: everything is said at once.
func TestResolveRefuses(t *testing.T) {
	table, _, _ := strings.Cut(manifest, "brokers:")
	table = strings.Replace(table, "<host>", "0.0.0.0", 1)
	table = strings.Replace(table, "    advertised: ", "    port_base: 9000\n    advertised: ", 1)
	before, rest, _ := strings.Cut(table, "    advertised_by_zone:")
	_, rest, _ = strings.Cut(rest, "    port_base: 9100")
	m := parsed(t, before+"    advertised: <broker_id>.other.example.com:<port>\n    port_base: 9100"+rest)
	_, err := Resolve(m, Options{Listeners: []string{"extrenal"}, Hosts: map[int32]string{7: "10.0.0.7"}, Name: "a;b"})
	const want = "manifest.yaml: --host 7=...: the manifest has no broker 7 in its table; expected a node.id of `brokers`\n" +
		"manifest.yaml: --name \"a;b\": expected letters, digits, `.`, `_` or `-`, as in a cluster's name\n" +
		"manifest.yaml: has no table `brokers`, so it is not known which brokers there are; add a row for each, such as `1: {ports: {EXTERNAL: 9093}}`\n" +
		"manifest.yaml: --listener EXTRENAL: there is no such managed listener; expected EXTERNAL, EXTERNAL2"
	if err == nil || err.Error() != want {
		t.Errorf("\ngot  %v\nwant %s", err, want)
	}
}

// TestPlaces: what a cloud refuses is shown at the manifest's line.
func TestPlaces(t *testing.T) {
	f := faults{origin: parsed(t, manifest).Origin}
	f.at("brokers.2.ports.EXTERNAL", "brokers.2.ports.EXTERNAL", "is taken")
	f.at("load_balancer.interval", "load_balancer.interval", "is too short")
	const want = "manifest.yaml:20: brokers.2.ports.EXTERNAL: is taken\n" +
		"manifest.yaml:21: load_balancer.interval: is too short"
	if err := f.err(); err == nil || err.Error() != want {
		t.Errorf("\ngot  %v\nwant %s", err, want)
	}
}

// TestResolveBootstrap: a listener behind a shared bootstrap port has the addresses of the other one.
func TestResolveBootstrap(t *testing.T) {
	n, err := Resolve(parsed(t, strings.Replace(manifest, "  EXTERNAL2:\n", "  BOOTSTRAP:\n    bind: 0.0.0.0:39090\n"+
		"    security_protocol: PLAINTEXT\n    bootstrap: {of: EXTERNAL, port: 9092}\n    probe_port: 39190\n  EXTERNAL2:\n", 1)),
		Options{Listeners: []string{"EXTERNAL", "BOOTSTRAP"}})
	if err != nil {
		t.Fatal(err)
	}
	of, l := n.Listeners[0], n.Listeners[1]
	if l.BootstrapOf != "EXTERNAL" || l.BootstrapPort != 9092 || l.BindPort != 39090 || of.BootstrapOf != "" {
		t.Errorf("%+v", l)
	}
	for i := range l.Brokers {
		if l.Brokers[i] != of.Brokers[i] {
			t.Errorf("%+v, %+v", l.Brokers[i], of.Brokers[i])
		}
	}
}
