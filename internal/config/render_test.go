package config

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var updateGolden = flag.Bool("update-properties", false, "rewrite testdata/properties")

var v371 = Version{Major: 3, Minor: 7, Patch: 1}

// render edits the file of broker 1.
func render(file string, d Desired, v Version) (*Rendered, error) {
	return Render(RenderInput{Path: "server.properties", File: []byte(file), BrokerID: 1, Desired: d, Version: v})
}

func mustRender(t *testing.T, file string, d Desired) *Rendered {
	t.Helper()
	r, err := render(file, d, v371)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func ruleOf(err error) string {
	if r, ok := errors.AsType[*Refusal](err); ok {
		return r.Rule
	}
	return ""
}

func TestHardCases(t *testing.T) {
	for _, h := range hardCases {
		t.Run(h.name, func(t *testing.T) {
			_, err := render(h.file, h.desired, v371)
			if rule := ruleOf(err); rule != h.rule {
				t.Errorf("refused by rule %q, want %q: %v", rule, h.rule, err)
			}
			checkRender(t, []byte(h.file), h.desired, v371)
		})
	}
}

// TestRenderGolden renders each testdata/properties/NAME.in and compares the
// result with NAME.out and the diff with NAME.diff, byte by byte.
func TestRenderGolden(t *testing.T) {
	sasl := external()
	sasl.Endpoints[0].SecurityProtocol = "SASL_PLAINTEXT"
	sasl.Endpoints[0].Properties = map[string]string{
		"sasl.enabled.mechanisms":        "SCRAM-SHA-512",
		"scram-sha-512.sasl.jaas.config": `org.apache.kafka.common.security.scram.ScramLoginModule required user="ü" password="geheim\"";`,
	}
	two := external()
	two.Endpoints = append(two.Endpoints, Endpoint{
		Name: "EXTERNAL2", BindHost: "::1", BindPort: 39093, AdvertisedHost: "lb.example.com", AdvertisedPort: 9093, SecurityProtocol: "PLAINTEXT",
	})
	for name, desired := range map[string]Desired{
		"reference":   external(),
		"sasl":        sasl,
		"two":         two,
		"absent":      {Absent: []string{"EXTERNAL2", "EXTERNAL"}},
		"bare":        external(),
		"zookeeper":   two,
		"adopted":     external(),
		"odd":         external(),
		"crlf":        sasl,
		"overwritten": external(),
	} {
		t.Run(name, func(t *testing.T) {
			base := filepath.Join("testdata", "properties", name)
			in, err := os.ReadFile(base + ".in")
			if err != nil {
				t.Fatal(err)
			}
			r := mustRender(t, string(in), desired)
			checkRender(t, in, desired, v371)
			for suffix, got := range map[string]string{".out": string(r.File), ".diff": r.Diff} {
				if *updateGolden {
					if err := os.WriteFile(base+suffix, []byte(got), 0o600); err != nil {
						t.Fatal(err)
					}
				}
				want, err := os.ReadFile(base + suffix)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(string(want), got); diff != "" {
					t.Errorf("%s differs (-want +got):\n%s", base+suffix, diff)
				}
			}
			if strings.Contains(r.Diff, "geheim") {
				t.Errorf("the diff shows a secret: %s", r.Diff)
			}
		})
	}
}

// TestRenderAdopts: a listener made by hand that agrees is taken as it is, in
// whatever order and spelling; nothing is written.
func TestRenderAdopts(t *testing.T) {
	for _, file := range []string{
		reference + "listeners=EXTERNAL://[0.0.0.0]:39092 ,\\\n INTERNAL://0.0.0.0:9092,CONTROLLER://0.0.0.0:29092,\nadvertised.listeners=external://b1.abc.eastus.azure.3199745.tidbcloud.com:09093, INTERNAL://10.0.0.11:9092",
		// Neither the map nor the advertised list is there, and their defaults do.
		kraftHead + "listeners=INTERNAL://h:9092,SSL://b1:39092,CONTROLLER://:29092\ninter.broker.listener.name=INTERNAL\nlistener.security.protocol.map=SSL:PLAINTEXT,INTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT",
	} {
		d := external()
		if strings.Contains(file, "SSL://") {
			d.Endpoints[0] = Endpoint{Name: "SSL", BindHost: "b1", BindPort: 39092, AdvertisedHost: "b1", AdvertisedPort: 39092, SecurityProtocol: "PLAINTEXT"}
		}
		r := mustRender(t, file, d)
		if r.Changed || string(r.File) != file || r.Diff != "" || r.HiddenChanges {
			t.Errorf("changed:\n%s", r.Diff)
		}
	}
}

func TestHiddenChanges(t *testing.T) {
	const have = reference + "listener.name.external.ssl.keystore.password=a\nlistener.name.external.max.connections=7\n"
	for _, tt := range []struct {
		name       string
		properties map[string]string
		want       bool
	}{
		{"the same", map[string]string{"ssl.keystore.password": " a", "max.connections": "7"}, false},
		{"another secret", map[string]string{"ssl.keystore.password": "b", "max.connections": "7"}, true},
		{"a secret goes", map[string]string{"max.connections": "7"}, true},
		{"a secret comes", map[string]string{"ssl.keystore.password": "a", "max.connections": "7", "ssl.key.password": "k"}, true},
		{"what the broker shows", map[string]string{"ssl.keystore.password": "a", "max.connections": "8"}, false},
	} {
		d := external()
		d.Endpoints[0].Properties = tt.properties
		if r := mustRender(t, have, d); r.HiddenChanges != tt.want {
			t.Errorf("%s: %t, want %t", tt.name, r.HiddenChanges, tt.want)
		}
	}
	if r := mustRender(t, have, Desired{Absent: []string{"EXTERNAL"}}); r.HiddenChanges {
		t.Error("the properties of a listener that goes away are no reason of their own for a restart")
	}
}

// TestRefusalMessages fixes the sentences that operators see.
func TestRefusalMessages(t *testing.T) {
	for _, tt := range []struct {
		file, want string
		desired    Desired
	}{
		{"\xef\xbb\xbfnode.id=1\n", "server.properties:1: the file begins with a UTF-8 byte order mark, which Kafka takes for a part of the first key (in the file as it is); save it without the mark", external()},
		{reference + "listeners=${file:/x:y}\n", "server.properties:11: listeners holds a placeholder, which only Kafka can resolve (in the file as it is); write the value itself", external()},
		{"process.roles=controller\nnode.id=1\n", "server.properties:1: this node is only a controller and must not have a listener for clients (in the file as it is); run kpls-agent on brokers only", external()},
		{strings.ReplaceAll(reference, "node.id=1\n", "node.id=2\n"), "server.properties:3: node.id is 2, and this agent serves broker 1; correct the one that is wrong", external()},
		{reference, "server.properties:6: INTERNAL is the inter-broker listener of this node; choose another name in the manifest", Desired{Absent: []string{"INTERNAL"}}},
		{reference, "server.properties:8: CONTROLLER is a controller listener of this node; choose another name in the manifest", Desired{Absent: []string{"CONTROLLER"}}},
		{strings.ReplaceAll(reference, ":9092", ":39092"), "server.properties:5: listeners INTERNAL and EXTERNAL bind the same port 39092, once the manifest is applied to server.properties; give each listener a port of its own", external()},
		{reference + "listeners=INTERNAL://:9092,X://:1,CONTROLLER://:29092\n", "server.properties:9: listener X has no entry in listener.security.protocol.map (in the file as it is); add X:PROTOCOL to it", external()},
		{zkHead + "node.id=x\nlog.dirs=/data/a, /data/b\n", "server.properties:3: node.id is not a number from 0 up; set it to the id of this broker, which /data/a/meta.properties has; where it is above 1000, set reserved.broker.max.id to it as well", external()},
		{"broker.id=-1\nzookeeper.connect=zk:1\n", "server.properties:1: broker.id is not a number from 0 up; set it to the id of this broker, which /tmp/kafka-logs/meta.properties has; where it is above 1000, set reserved.broker.max.id to it as well", external()},
		{"process.roles=broker\n", "server.properties: neither node.id nor broker.id is set; set node.id to the id of this broker, which /tmp/kafka-logs/meta.properties has", external()},
		{zkHead + "reserved.broker.max.id=0\n", "server.properties:1: broker.id is 1 and reserved.broker.max.id 0: Kafka keeps the ids above that for brokers that name none, and does not start (in the file as it is); set reserved.broker.max.id=1 or more as well", external()},
		{reference + "x=\\u12\n", `server.properties:11: a \u that four hexadecimal digits do not follow: Kafka cannot read the file (in the file as it is); write \\u for a backslash and the letter u`, external()},
	} {
		_, err := render(tt.file, tt.desired, v371)
		if err == nil || err.Error() != tt.want {
			t.Errorf("got  %v\nwant %s", err, tt.want)
		}
	}
}

// TestRenderAgentsListener: the listener that the agents talk over is not for a manifest.
func TestRenderAgentsListener(t *testing.T) {
	file := []byte(strings.Replace(reference, "listeners=INTERNAL", "listeners=CLIENT://:9093,INTERNAL", 1) + "listener.security.protocol.map=INTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT,CLIENT:PLAINTEXT\n")
	managed := external()
	managed.Endpoints[0].Name = "CLIENT"
	for name, d := range map[string]Desired{"managed": managed, "absent": {Absent: []string{"CLIENT"}}} {
		in := RenderInput{Path: "f", File: file, BrokerID: 1, Desired: d, Version: v371}
		if _, err := Render(in); err != nil && ruleOf(err) == "NAME" {
			t.Errorf("%s, and not the agents': %v", name, err)
		}
		in.Agents = "client"
		_, err := Render(in)
		const want = "CLIENT is the listener over which the agents reach the brokers, and a manifest that is wrong, or removes it, would cut them off; " +
			"name another listener as kafka.listener in the agent's settings, or choose another name in the manifest"
		if err == nil || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("%s: got  %v\nwant %s", name, err, want)
		}
	}
}

// TestRenderBlames: a rule that the file breaks already is the file's fault; one
// that only the manifest makes it break is not; one that the manifest corrects is none.
func TestRenderBlames(t *testing.T) {
	broken := zkHead + "listeners=PLAINTEXT://:9092,EXTERNAL://:9092\nlistener.security.protocol.map=PLAINTEXT:PLAINTEXT,EXTERNAL:SSL\n"
	if _, err := render(broken, external(), v371); err != nil {
		t.Errorf("the manifest corrects it: %v", err)
	}
	_, err := render(broken, Desired{}, v371)
	if r, ok := errors.AsType[*Refusal](err); !ok || !r.Already || r.Line != 3 {
		t.Errorf("the file's own fault: %v", err)
	}
}

func TestRenderSecurity(t *testing.T) {
	for _, tt := range []struct {
		name, protocol string
		properties     map[string]string
		rule           string
		warnings       []string
	}{
		{"TLS without a key store", "SSL", nil, "R25", nil},
		{"TLS with a key store", "SSL", map[string]string{"ssl.keystore.location": "/there", "ssl.keystore.password": "x"}, "", nil},
		{"a key store that is not there", "SSL", map[string]string{"ssl.keystore.location": "/gone", "ssl.keystore.password": "x"}, "", []string{"listener EXTERNAL: ssl.keystore.location /gone is not there, or not visible to kpls-agent"}},
		{"a key without a certificate", "SSL", map[string]string{"ssl.keystore.type": "PEM", "ssl.keystore.key": "k"}, "R25", nil},
		{"a key and a certificate", "SSL", map[string]string{"ssl.keystore.type": "PEM", "ssl.keystore.key": "k", "ssl.keystore.certificate.chain": "c"}, "", nil},
		{"a key and no PEM", "SSL", map[string]string{"ssl.keystore.key": "k", "ssl.keystore.certificate.chain": "c"}, "R25", nil},
		{"a key and a key store", "SSL", map[string]string{"ssl.keystore.location": "/there", "ssl.keystore.key": "k", "ssl.keystore.certificate.chain": "c"}, "R25", nil},
		{"TLS by somebody's own code", "SSL", map[string]string{"ssl.engine.factory.class": "x.Y"}, "", nil},
		{"SASL with an entry", "SASL_PLAINTEXT", map[string]string{"sasl.enabled.mechanisms": "PLAIN", "plain.sasl.jaas.config": "x required;"}, "", nil},
		{"SASL without", "SASL_PLAINTEXT", map[string]string{"sasl.enabled.mechanisms": "PLAIN"}, "", []string{"listener EXTERNAL: no listener.name.external.plain.sasl.jaas.config in the file; Kafka needs a section external.KafkaServer or KafkaServer in its JAAS file then"}},
		{"SASL without a mechanism", "SASL_PLAINTEXT", map[string]string{"sasl.enabled.mechanisms": " "}, "R25", nil},
		{"an entry without its mechanism", "SASL_PLAINTEXT", map[string]string{"sasl.jaas.config": "x required;"}, "VALUE", nil},
		{"an entry without its end", "SASL_PLAINTEXT", map[string]string{"plain.sasl.jaas.config": "x required"}, "VALUE", nil},
		{"an entry without its flag", "SASL_PLAINTEXT", map[string]string{"plain.sasl.jaas.config": `x username="planted";`}, "VALUE", nil},
		{"a value without quotes", "SASL_PLAINTEXT", map[string]string{"plain.sasl.jaas.config": `x required password=7planted;`}, "VALUE", nil},
		{"two entries", "SASL_PLAINTEXT", map[string]string{"plain.sasl.jaas.config": `x required; y required;`}, "VALUE", nil},
		{"a mechanism that is none", "SASL_PLAINTEXT", map[string]string{"sasl.enabled.mechanisms": "SCRAM-SHA-521", "scram-sha-521.sasl.jaas.config": "x required;"}, "", []string{
			`listener EXTERNAL: Kafka has no SASL mechanism "SCRAM-SHA-521" of its own, only GSSAPI, PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, OAUTHBEARER; if no class of yours brings it, the broker starts and nobody can log in`,
		}},
		{"a placeholder for a secret", "SASL_PLAINTEXT", map[string]string{"gssapi.sasl.jaas.config": "${file:/x:y}"}, "", nil},
		{"a placeholder for what is shown", "PLAINTEXT", map[string]string{"max.connections": "${file:/x:y}"}, "PLACEHOLDER", nil},
		{"a word for a number", "PLAINTEXT", map[string]string{"max.connections": "many"}, "VALUE", nil},
		{"no such client authentication", "PLAINTEXT", map[string]string{"ssl.client.auth": "REQUIRED"}, "VALUE", nil},
		{"a mechanism's number", "PLAINTEXT", map[string]string{"plain.connections.max.reauth.ms": "x"}, "VALUE", nil},
		{"a spare comma", "SASL_PLAINTEXT", map[string]string{"sasl.enabled.mechanisms": "SCRAM-SHA-512,"}, "VALUE", nil},
		{"a spare comma in the ciphers", "SSL", map[string]string{"ssl.keystore.location": "/there", "ssl.keystore.password": "x", "ssl.cipher.suites": "A,,B"}, "VALUE", nil},
		{"a comma in what is no list", "PLAINTEXT", map[string]string{"ssl.keystore.location": "/a,/b,"}, "", nil},
		{
			"what OAUTHBEARER reads with the listener's prefix", "SASL_PLAINTEXT", map[string]string{
				"sasl.enabled.mechanisms": "OAUTHBEARER", "oauthbearer.sasl.jaas.config": "x required;", "sasl.oauthbearer.clock.skew.seconds": "5",
				"oauthbearer.sasl.oauthbearer.expected.issuer": "me", "sasl.login.connect.timeout.ms": "1000",
			}, "", nil,
		},
		{
			"a mistyped one", "SASL_PLAINTEXT",
			map[string]string{"sasl.enabled.mechanisms": "OAUTHBEARER", "oauthbearer.sasl.jaas.config": "x required;", "sasl.oauthbearer.clock.skew": "5"},
			"",
			[]string{"listener EXTERNAL: Kafka has no property sasl.oauthbearer.clock.skew that a listener can have of its own; it is written and has no effect"},
		},
		{"a name that is none", "PLAINTEXT", map[string]string{"a b": "x"}, "VALUE", nil},
		{"a name Kafka does not know", "PLAINTEXT", map[string]string{"sasl.mechanisms": "x"}, "", []string{"listener EXTERNAL: Kafka has no property sasl.mechanisms that a listener can have of its own; it is written and has no effect"}},
	} {
		d := external()
		d.Endpoints[0].SecurityProtocol, d.Endpoints[0].Properties = tt.protocol, tt.properties
		r, err := Render(RenderInput{
			Path: "server.properties", File: []byte(reference), BrokerID: 1, Desired: d, Version: v371,
			Exists: func(path string) bool { return path == "/there" },
		})
		if ruleOf(err) != tt.rule || err != nil && strings.Contains(err.Error(), "planted") {
			t.Errorf("%s: %v, want rule %q", tt.name, err, tt.rule)
		}
		if err == nil && !slices.Equal(r.Warnings, tt.warnings) {
			t.Errorf("%s: warnings %q", tt.name, r.Warnings)
		}
	}
}

func TestDesiredRefused(t *testing.T) {
	for name, change := range map[string]func(*Desired){
		"lower case":            func(d *Desired) { d.Endpoints[0].Name = "external" },
		"a stop in the name":    func(d *Desired) { d.Endpoints[0].Name = "A.B" },
		"managed and absent":    func(d *Desired) { d.Absent = []string{"EXTERNAL"} },
		"no protocol":           func(d *Desired) { d.Endpoints[0].SecurityProtocol = "TLS" },
		"port 0":                func(d *Desired) { d.Endpoints[0].BindPort = 0 },
		"a strange host":        func(d *Desired) { d.Endpoints[0].BindHost = "a,b" },
		"nothing advertised":    func(d *Desired) { d.Endpoints[0].AdvertisedHost = "" },
		"the any address":       func(d *Desired) { d.Endpoints[0].AdvertisedHost = "0:0::0" },
		"an advertised port":    func(d *Desired) { d.Endpoints[0].AdvertisedPort = 65536 },
		"a strange advertised":  func(d *Desired) { d.Endpoints[0].AdvertisedHost = "h/x" },
		"a line end in a value": func(d *Desired) { d.Endpoints[0].Name = "A\nB" },
	} {
		d := external()
		change(&d)
		if _, err := render(reference, d, v371); ruleOf(err) == "" || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
