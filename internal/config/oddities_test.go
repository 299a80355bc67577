package config

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const tornText = "looks like the rest of a value that was torn: Kafka takes it for a property and ignores it; join it to the value that it belongs to, or delete the line"

func TestOddities(t *testing.T) {
	for _, tt := range []struct {
		name, file string
		want       []string
	}{
		{"the procedure's file", reference, nil},
		{"continued lines", "listeners=A://:1,\\\n  B://:2\nx.y=a \\\n username=\"x\"\n", nil},
		{"keys that people make up", "CURRENT_KAFKA_VERSION=3.7.1\nSECURITY_PROTOCOL=SSL\nurl=http://h:1\nempty=\n", nil},
		{"a file that cannot be read", "x=\\u12\nx=1\n", nil},
		{"a key given twice", "a.b=1\n# c\na.b=1\n", []string{"f:3: a.b is given 2 times (lines 1 and 3), and Kafka takes the last one; delete the others"}},
		{"a key given three times", "a.b=1\nA.b=2\na.b 3\na\\u002eb:4\n", []string{"f:4: a.b is given 3 times (lines 1, 3 and 4), and Kafka takes the last one; delete the others"}},
		{"the rest of listeners", "listeners=A://:1\n  CONTROLLER://0.0.0.0:29092\n", []string{"f:2: CONTROLLER " + tornText}},
		{"the rest of listeners, itself continued", "listeners=A://:1\n  B://[::1]:2, \\\n C://:3\n", []string{"f:2: B " + tornText}},
		{"the rest of the map", "listener.security.protocol.map=A:SSL\r\n CONTROLLER:plaintext\r\n", []string{"f:2: CONTROLLER " + tornText}},
		{"the rest of the map, with more", "m.n=A:SSL\nB:SASL_SSL,C:SSL", []string{"f:2: B " + tornText}},
		{"the rest of log.dirs", "log.dirs=/a\n  /b\n", []string{"f:2: this line " + tornText}},
		{"the rest of the voters", "controller.quorum.voters=1@a:1\n  2@b:1\n", []string{"f:2: this line " + tornText}},
		{"the rest of a JAAS entry", "a.sasl.jaas.config=x required;\n  username=\"planted\" \\\n password=\"planted\";\n", []string{"f:2: this line " + tornText}},
		{"a word", "sasl.enabled.mechanisms=PLAIN\n  SCRAM-SHA-512\n", []string{"f:2: this line " + tornText}},
		{"the rest of a certificate", "a.b=-----BEGIN\n planted/x==\n", []string{"f:2: this line " + tornText}},
	} {
		got := Oddities("f", []byte(tt.file))
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
		if strings.Contains(strings.Join(got, ""), "planted") {
			t.Errorf("%s: a value is shown: %q", tt.name, got)
		}
	}
}

// TestForeign: what an edit removes or corrects is reported.
func TestForeign(t *testing.T) {
	const mended = "server.properties:7 as it is: listener EXTERNAL is advertised and not in listeners; whoever writes it must write " +
		"EXTERNAL://0.0.0.0:39092 into listeners, EXTERNAL://b1.abc.eastus.azure.3199745.tidbcloud.com:9093 into advertised.listeners, " +
		"EXTERNAL:PLAINTEXT into listener.security.protocol.map"
	undone := strings.ReplaceAll(reference, "advertised.listeners=", "advertised.listeners=EXTERNAL://b1.abc.eastus.azure.3199745.tidbcloud.com:9093,")
	own := reference + "listener.name.external.max.connections=7\nlistener.name.external.plain.sasl.jaas.config=planted;\n"
	named := external()
	named.Endpoints[0].Properties = map[string]string{"max.connections": "7"}
	for _, tt := range []struct {
		name, file string
		desired    Desired
		keys, want []string
	}{
		{"nothing", reference, external(), []string{keyListeners, keyAdvertised}, nil},
		{"a line that does not know EXTERNAL", undone, external(), []string{keyListeners}, []string{"Kafka would not start with " + mended}},
		{"a property that the manifest does not name", own, named, []string{keyListeners, keyAdvertised, "listener.name.external.plain.sasl.jaas.config"}, []string{
			"server.properties:12: listener.name.external.plain.sasl.jaas.config is removed, since listener EXTERNAL of the manifest does not have it; add it to `properties` there to keep it",
		}},
		{"a listener that goes away", own, Desired{Absent: []string{"EXTERNAL"}}, []string{keyProtocolMap, "listener.name.external.max.connections", "listener.name.external.plain.sasl.jaas.config"}, nil},
	} {
		r := mustRender(t, tt.file, tt.desired)
		if diff := cmp.Diff(tt.want, r.Warnings); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
		if !slices.Equal(r.Keys, tt.keys) {
			t.Errorf("%s: keys %q, want %q", tt.name, r.Keys, tt.keys)
		}
	}
}

// TestAdoptsWildcard: a listener that binds every address is the same whether the
// host is left out or 0.0.0.0, in the file as in the process; :: is another one.
func TestAdoptsWildcard(t *testing.T) {
	for _, tt := range []struct {
		file, manifest string
		same           bool
	}{
		{"", "0.0.0.0", true},
		{"0.0.0.0", "", true},
		{"", "", true},
		{"0.0.0.0", "0.0.0.0", true},
		{"[::]", "0.0.0.0", false},
		{"0.0.0.0", "::", false},
		{"[::]", "", false},
		{"", "::", false},
		{"10.0.0.11", "0.0.0.0", false},
		{"", "10.0.0.11", false},
	} {
		d := external()
		d.Endpoints[0].BindHost = tt.manifest
		file := strings.Replace(reference, "listeners=", fmt.Sprintf("listeners=EXTERNAL://%s:39092,", tt.file), 1)
		file = strings.Replace(file, "advertised.listeners=", "advertised.listeners=EXTERNAL://b1.abc.eastus.azure.3199745.tidbcloud.com:9093,", 1)
		r := mustRender(t, file, d)
		running, err := RunningFingerprints(describe(t, []byte(file)))
		if err != nil {
			t.Fatal(err)
		}
		want := d.Fingerprints()["EXTERNAL"]
		if r.Changed == tt.same || (running["EXTERNAL"] == want) != tt.same {
			t.Errorf("file %q, manifest %q: changed %t, runs %q, want %q:\n%s", tt.file, tt.manifest, r.Changed, running["EXTERNAL"], want, r.Diff)
		}
		if old := strings.TrimPrefix(want, "0.0.0.0"); tt.manifest == "" && CanonicalFingerprint(old) != want || CanonicalFingerprint(want) != want {
			t.Errorf("of an earlier version %q, now %q", old, want)
		}
	}
	for _, bind := range []string{`":39092"`, ":39092"} {
		m, err := ParseManifest("m", []byte("version: 1\ncluster: c\nlisteners:\n  EXTERNAL: {bind: "+bind+", security_protocol: PLAINTEXT, advertised: \"<broker_id>.example.com:<port>\", port_base: 9092, probe_port: 1}\n"))
		if err != nil || m.Listeners[0].BindHost != "" || m.Listeners[0].BindPort != 39092 {
			t.Errorf("bind: %s: %+v, %v", bind, m, err)
		}
	}
	// What is advertised is never a wildcard: leaving it out stands for the machine's name.
	if _, err := render(zkHead+"advertised.listeners=PLAINTEXT://0.0.0.0:9092\n", Desired{}, v371); ruleOf(err) != "R7" {
		t.Error(err)
	}
}

// TestWildcardAgainstJava binds as Kafka does (SocketServer.openServerSocket), with
// and without -Djava.net.preferIPv4Stack, and tells which loopback addresses answer.
func TestWildcardAgainstJava(t *testing.T) {
	for _, option := range []string{"-Djava.net.preferIPv4Stack=false", "-Djava.net.preferIPv4Stack=true"} {
		j := newJudge(t, judged[0], option)
		_, none := j.ask("bind", nil)
		_, any4 := j.ask("bind", []byte("0.0.0.0"))
		ok, any6 := j.ask("bind", []byte("::"))
		t.Logf("%s: no host %q, 0.0.0.0 %q, :: %t %q", option, none, any4, ok, any6)
		if len(none) == 0 || !slices.Contains(none, "127.0.0.1") || !slices.Equal(none, any4) {
			t.Errorf("%s: no host is reached at %q, 0.0.0.0 at %q", option, none, any4)
		}
		if strings.HasSuffix(option, "true") && ok {
			t.Errorf("%s: :: can be bound", option)
		}
	}
}
