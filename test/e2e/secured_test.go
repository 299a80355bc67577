package e2e

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"example.com/kpls-agent/test/fleet"
	"example.com/kpls-agent/test/sandbox"
)

const (
	scramModule = "org.apache.kafka.common.security.scram.ScramLoginModule required"
	authorizer  = "org.apache.kafka.metadata.authorizer.StandardAuthorizer"
	// cnIsUser makes the common name of a certificate the name of a user.
	cnIsUser = "RULE:^CN=([^,]+)$/$1/,DEFAULT"

	brokerSecret   = "planted-broker-secret"
	agentSecret    = "planted-agent-secret"
	customerSecret = "planted-customer-secret"
	storeSecret    = "planted-store-secret"
	wrongSecret    = "planted-wrong-secret"
)

// scramClient is a client.properties for SASL_SSL.
func scramClient(ca *authority, user, password string) string {
	return "security.protocol=SASL_SSL\nsasl.mechanism=SCRAM-SHA-512\n" +
		"ssl.truststore.type=PEM\nssl.truststore.location=" + ca.path("ca.pem") + "\n" +
		fmt.Sprintf("sasl.jaas.config=%s username=%q password=%q;\n", scramModule, user, password)
}

// TestSecured: a cluster whose brokers log in to each other with SCRAM over TLS,
// with Kafka's own authorizer; the agents have a user with the fewest ACLs, and
// EXTERNAL comes with TLS and logins of its own.
func TestSecured(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	properties := map[string]string{
		"listener.security.protocol.map":                        "INTERNAL:SASL_SSL,CONTROLLER:SSL",
		"sasl.enabled.mechanisms":                               "SCRAM-SHA-512",
		"sasl.mechanism.inter.broker.protocol":                  "SCRAM-SHA-512",
		"listener.name.internal.scram-sha-512.sasl.jaas.config": fmt.Sprintf("%s username=%q password=%q;", scramModule, "broker", brokerSecret),
		"listener.name.controller.ssl.client.auth":              "required",
		"ssl.principal.mapping.rules":                           cnIsUser,
		"ssl.keystore.type":                                     "PEM",
		"ssl.keystore.location":                                 ca.path("broker.pem"),
		"ssl.truststore.type":                                   "PEM",
		"ssl.truststore.location":                               ca.path("ca.pem"),
		"authorizer.class.name":                                 authorizer,
		"super.users":                                           "User:broker",
	}
	var users []string
	for user, password := range map[string]string{"broker": brokerSecret, "kpls-agent": agentSecret, "tidb": customerSecret} {
		users = append(users, "--add-scram", fmt.Sprintf("SCRAM-SHA-512=[name=%s,password=%s]", user, password))
	}
	login := []kgo.Opt{ca.dialer(), kgo.SASL(scram.Auth{User: "broker", Pass: brokerSecret}.AsSha512Mechanism())}
	c, err := sandbox.New(t.Context(), sandbox.Options{
		Version: sandbox.Version(), Client: login, Format: users, Properties: func(int32) map[string]string { return properties },
	})
	if err != nil {
		t.Fatal(err)
	}
	ca.pem("broker.pem", leaf("broker", c.Host(1), c.Host(2), c.Host(3)))
	b := startCluster(t, c, login...)
	client := ca.put("client.properties", scramClient(ca, "kpls-agent", agentSecret))
	b.settings("kafka:\n  client_properties: " + client + "\n")

	// Without the right to create its topic the agent says so at its start.
	const agent = "User:kpls-agent"
	create := agentACLs[len(agentACLs)-1]
	b.allow(agent, agentACLs[:len(agentACLs)-1]...)
	if err := b.fleet.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.until("the agent names the ACL "+create.String(), func() bool {
		log, err := os.ReadFile(b.fleet.Agents[0].Log())
		return err == nil && strings.Contains(string(log), "--operation Create --topic __kpls_agent")
	})

	load := newTraffic(b)
	_, host := balance(b, sandbox.ForwarderOptions{Interval: 200 * time.Millisecond})
	ca.p12("external.p12", storeSecret, leaf("external", "*."+fleet.Domain))
	external := fleet.ManifestOptions{Protocol: "SASL_SSL", Extra: "    properties:\n" +
		"      ssl.keystore.type: PKCS12\n      ssl.keystore.location: " + ca.path("external.p12") + "\n" +
		"      ssl.keystore.password: " + storeSecret + "\n      ssl.key.password: " + storeSecret + "\n" +
		"      sasl.enabled.mechanisms: SCRAM-SHA-512\n      scram-sha-512.sasl.jaas.config: " + scramModule + ";\n"}
	starts := b.starts()
	manifest := b.fleet.Manifest(external)
	b.give(manifest)
	// With a manifest it needs the topic, waits for the right, and goes on when it has it.
	b.until("the agent cannot make its topic", func() bool {
		log, err := os.ReadFile(b.fleet.Agents[0].Log())
		return err == nil && strings.Contains(string(log), "reason=log_unreadable") &&
			strings.Contains(string(log), "give the agent's Kafka user the ACL "+create.String())
	})
	b.allow(agent, create)
	b.rolled(manifest)
	b.once(starts)
	load.end()
	if away := b.watch.MostAway(); len(away) > 1 {
		t.Errorf("brokers %v were down at the same time", away)
	}

	t.Run("the customer", func(t *testing.T) {
		b := b.in(t)
		b.admin(allowCustomer)
		customer := ca.put("customer.properties", scramClient(ca, "tidb", customerSecret))
		b.until("verify passes", func() bool { // the rules may reach a broker a moment later
			out, code := b.verifyAs(host, customer)
			b.Logf("verify:\n%s", out)
			return code == 0
		})
		out, code := b.verifyAs(host, ca.put("wrong.properties", scramClient(ca, "tidb", wrongSecret)))
		if code == 0 || !strings.Contains(out, "the user name or the password is wrong\n  to do (customer): correct --client-properties") {
			t.Errorf("with a wrong password verify exits with %d:\n%s", code, out)
		}
	})

	other := external
	other.FirstPort = 9393
	for _, rule := range agentACLs {
		if rule == create {
			continue // shown above
		}
		t.Run("without "+rule.String(), func(t *testing.T) {
			b := b.in(t)
			starts, files, marks := b.starts(), b.files(), b.marks()
			b.revoke(agent, rule)
			b.give(b.fleet.Manifest(other))
			b.until("an agent names the ACL", func() bool { return b.names(rule, marks) })
			b.untouched(files, starts)
			b.give(manifest)
			b.allow(agent, rule)
			b.rolled(manifest)
			b.untouched(files, starts)
		})
	}

	t.Run("wrong password", func(t *testing.T) {
		b := b.in(t)
		good, err := os.ReadFile(client)
		if err != nil {
			t.Fatal(err)
		}
		ca.put("client.properties", scramClient(ca, "kpls-agent", wrongSecret))
		out, code := b.command("check")
		if code == 0 || !strings.Contains(out, "the user name or the password is wrong: correct the login in the agent's settings") {
			t.Errorf("check exits with %d:\n%s", code, out)
		}
		ca.put("client.properties", string(good))
		if out, code = b.command("check"); code != 0 {
			t.Errorf("with the right password check exits with %d:\n%s", code, out)
		}
	})
	b.noneTells(brokerSecret, agentSecret, customerSecret, storeSecret, wrongSecret)
}

// in is the bed for a part of the test.
func (b *bed) in(t *testing.T) *bed {
	part := *b
	part.T = t
	return &part
}
