package render

import (
	"os"
	"strings"
	"testing"

	"example.com/kpls-agent/test/tables"
)

// TestHAProxy: the whole file. test/haproxy has a real HAProxy read and run it.
func TestHAProxy(t *testing.T) {
	data, err := os.ReadFile("testdata/haproxy/manifest.yaml")
	if err != nil {
		t.Fatal(err)
	}
	n, err := Resolve(parsed(t, string(data)), Options{})
	if err != nil {
		t.Fatal(err)
	}
	out, err := makeHAProxy(n)
	if err != nil {
		t.Fatal(err)
	}
	if len(out.Warnings) > 0 {
		t.Errorf("%q", out.Warnings)
	}
	if err := tables.HoldFile("testdata/haproxy/haproxy.cfg", string(out.Files[0].Text), *update); err != nil {
		t.Error(err)
	}
}

// TestHAProxyRefuses: what would not lead to the right broker, all at once.
func TestHAProxyRefuses(t *testing.T) {
	const refused = `version: 1
cluster: kafka-pls
listeners:
  INSIDE:
    bind: 127.0.0.1:39092
    security_protocol: PLAINTEXT
    advertised: <broker_id>.inside.example.com:<port>
    probe_port: 39192
    port_base: 9092
  HOSTS:
    bind: <host>:39093
    security_protocol: PLAINTEXT
    advertised: <broker_id>.hosts.example.com:9092
    probe_port: 39193
  OVERLAP:
    bind: 0.0.0.0:39094
    security_protocol: PLAINTEXT
    advertised: <broker_id>.overlap.example.com:<port>
    probe_port: 39194
  BOOTSTRAP:
    bind: 0.0.0.0:39095
    security_protocol: PLAINTEXT
    bootstrap: {of: INSIDE, port: 9194}
    probe_port: 39195
brokers:
  1: {ports: {OVERLAP: 9094}, host: 127.0.0.7}
  2: {ports: {OVERLAP: 9194}, host: 10.0.0.5}
`
	check := func(name, manifest, want string, o Options) {
		t.Helper()
		n, err := Resolve(parsed(t, manifest), o)
		if err != nil {
			t.Fatal(err)
		}
		if _, err = makeHAProxy(n); err == nil || err.Error() != want {
			t.Errorf("%s:\ngot  %v\nwant %s", name, err, want)
		}
	}
	check("all", refused, "manifest.yaml:5: listeners.INSIDE.bind: 127.0.0.1 is this VM's own address, so no load balancer can "+
		"connect to INSIDE; bind an IPv4 address of the VM, or all by 0.0.0.0:39092\n"+
		"manifest.yaml:26: brokers.1.host: 127.0.0.7 is this VM's own address, so no load balancer can connect to HOSTS; bind "+
		"an IPv4 address of the VM, or all by 0.0.0.0:39093\n"+
		"manifest.yaml:13: listeners.HOSTS.advertised: has a port written out, so a port does not tell one broker from another; "+
		"write <port>, and give each broker its own under `brokers`\n"+
		"manifest.yaml:26: brokers.1.ports.OVERLAP: 9094 leads to broker 2 of INSIDE on HAProxy already, so it cannot lead to "+
		"broker 1 of OVERLAP; give broker 1 of OVERLAP a port that is not taken\n"+
		"manifest.yaml:23: listeners.BOOTSTRAP.bootstrap.port: 9194 leads to broker 2 of OVERLAP on HAProxy already, so it cannot "+
		"lead to all brokers of BOOTSTRAP; give all brokers of BOOTSTRAP a port that is not taken", Options{})
	hostless := strings.NewReplacer(", host: 127.0.0.7", "", ", host: 10.0.0.5", "", "<host>", "0.0.0.0", "127.0.0.1", "0.0.0.0",
		":9092\n", ":<port>\n    port_base: 9292\n", "OVERLAP: 9194", "OVERLAP: 9195", "OVERLAP: 9094", "OVERLAP: 9196").Replace(refused)
	check("no address", hostless, "manifest.yaml:27: brokers.1.host: is missing, so it is not known where HAProxy reaches "+
		"broker 1; add `host: ADDRESS`, or give --host 1=ADDRESS", Options{Hosts: map[int32]string{2: "kafka-2.internal"}})
	check("no listener", "version: 1\ncluster: kafka-pls\nabsent: [X]\nbrokers:\n  1: {}\n",
		"manifest.yaml: has no listener, so no port leads anywhere; add one under `listeners`", Options{})
}

// TestHAProxyWarns: a name is looked up at a reload only.
func TestHAProxyWarns(t *testing.T) {
	n, err := Resolve(parsed(t, strings.Replace(manifest, "9100", "9300", 1)), Options{Hosts: map[int32]string{2: "kafka-2.internal"}})
	if err != nil {
		t.Fatal(err)
	}
	out, err := makeHAProxy(n)
	if err != nil || len(out.Warnings) != 1 || !strings.HasPrefix(out.Warnings[0], "broker 2: HAProxy looks the name kafka-2.internal up") {
		t.Errorf("%v, %+v", err, out)
	}
}
