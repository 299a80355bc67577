package config

import (
	"strings"
	"testing"
)

// TestBlame: what is the manifest's fault is shown at its own file and line, and what is the file's at the file's.
func TestBlame(t *testing.T) {
	const manifest = `version: 1
cluster: c
listeners:
  OTHER:
    bind: 0.0.0.0:39093
    security_protocol: PLAINTEXT
    advertised: <broker_id>.x.example.com:<port>
    port_base: 9000
    probe_port: 39193
  EXTERNAL:
    bind: 0.0.0.0:39092
    security_protocol: PLAINTEXT
    advertised: <broker_id>.y.example.com:<port>
    port_base: 9100
    probe_port: 39192
    properties:
      max.connections: "500"
`
	for _, c := range []struct{ name, old, new, file, want string }{
		{"a port of another listener", "39092", "9092", reference, "m.yaml:11: listeners INTERNAL and EXTERNAL bind the same port 9092, once the manifest is applied to server.properties; "},
		{"a name of the brokers", "EXTERNAL", "INTERNAL", reference, "m.yaml:10: INTERNAL is the inter-broker listener of this node; choose another name in the manifest"},
		{"no key store", "    bind: 0.0.0.0:39092\n    security_protocol: PLAINTEXT", "    bind: 0.0.0.0:39092\n    security_protocol: SSL", reference, "m.yaml:12: listener EXTERNAL uses TLS and has no key store; "},
		{"a value", `"500"`, `"many"`, reference, `m.yaml:17: listener EXTERNAL, property max.connections: "many" is not `},
		{"the file's own fault", "39092", "39092", reference + "listeners=INTERNAL://:9092,X://:1,CONTROLLER://:29092\n", "server.properties:9: listener X has no entry in listener.security.protocol.map (in the file as it is); "},
		{"another broker's file", "39092", "39092", strings.Replace(reference, "node.id=1", "node.id=2", 1), "server.properties:3: node.id is 2, and this agent serves broker 1; "},
	} {
		m, err := ParseManifest("m.yaml", []byte(strings.Replace(manifest, c.old, c.new, 1)))
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		desired, err := m.For(1)
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		_, err = Render(RenderInput{Path: "server.properties", File: []byte(c.file), BrokerID: 1, Desired: desired, Origin: m.Origin})
		if err == nil || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%s:\ngot  %v\nwant %s", c.name, err, c.want)
		}
	}
}
