package e2e

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"example.com/kpls-agent/test/fleet"
	"example.com/kpls-agent/test/sandbox"
)

// judgedBy has the agents put new files to the Kafka that their brokers run.
func (b *bed) judgedBy() {
	b.Helper()
	for i, a := range b.fleet.Agents {
		text, err := os.ReadFile(a.Settings())
		if err != nil {
			b.Fatal(err)
		}
		line := fmt.Sprintf("commands:\n  judge: [env, KAFKA_OPTS=, %s, judge, --output, json, --kafka-home, %s]\n",
			agentBinary, b.Libs(b.Brokers[i].ID))
		if err := os.WriteFile(a.Settings(), []byte(strings.Replace(string(text), "commands:\n", line, 1)), 0o600); err != nil {
			b.Fatal(err)
		}
	}
}

// TestJudged: what no rule of the agent's sees, the broker's own Kafka refuses before any broker is restarted. Then a
// good manifest is rolled out.
func TestJudged(t *testing.T) {
	b := newCluster(t, sandbox.Options{})
	b.judgedBy()
	b.startAgents()
	const secret = "Kr4katoa"
	ca := newAuthority(t)
	certificate := ca.pem("judged.pem", leaf("judged", "localhost"))
	broken := filepath.Join(t.TempDir(), "broken.pem")
	if err := os.WriteFile(broken, []byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	const properties = "    properties:\n"
	property := func(key, value string) string { return "      " + key + ": '" + value + "'\n" }
	pem := property("ssl.keystore.type", "PEM") + property("ssl.keystore.location", certificate)
	plain := property("sasl.enabled.mechanisms", "PLAIN")
	const module = "org.apache.kafka.common.security.plain.PlainLoginModule"
	files, starts := b.files(), b.starts()
	for _, c := range []struct{ name, protocol, extra, want string }{
		{"a key store that is none", "SSL", property("ssl.keystore.type", "PEM") + property("ssl.keystore.location", broken), broken},
		{"a class of TLS", "SSL", pem + property("ssl.engine.factory.class", "com.example.None"), "com.example.None"},
		{"an algorithm", "SSL", pem + property("ssl.keymanager.algorithm", "NoneX509"), "NoneX509"},
		{"a principal builder", "PLAINTEXT", property("principal.builder.class", "com.example.None"), "com.example.None"},
		{"a principal builder of another kind", "PLAINTEXT", property("principal.builder.class", "java.lang.String"), "java.lang.String is no"},
		{"a login module", "SASL_PLAINTEXT", plain + property("plain.sasl.jaas.config", strings.TrimSuffix(module, "e")+` required user_a="`+secret+`";`), "PlainLoginModul "},
		{"a handler", "SASL_PLAINTEXT", plain + property("plain.sasl.jaas.config", module+" required;") + property("plain.sasl.server.callback.handler.class", "com.example.None"), "com.example.None"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := b.in(t)
			manifest := b.fleet.Manifest(fleet.ManifestOptions{Protocol: c.protocol, Extra: properties + c.extra})
			b.give(manifest)
			b.wait("every agent refuses it", func(r fleet.Report) bool {
				return r.All(len(b.Brokers), func(row fleet.Row) bool {
					return row.Manifest == hashOf(manifest) && row.Phase == "refused" && strings.Contains(row.Reason.Text, c.want)
				})
			})
		})
	}
	b.untouched(files, starts)
	b.noSecret(secret)

	manifest := b.fleet.Manifest(fleet.ManifestOptions{Protocol: "SSL", Extra: properties + pem})
	b.give(manifest)
	b.rolled(manifest)
	want := maps.Clone(starts)
	for id := range want {
		want[id]++
	}
	if now := b.starts(); !maps.Equal(want, now) {
		t.Errorf("starts %v, want %v", now, want)
	}
}
