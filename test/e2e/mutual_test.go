package e2e

import (
	"context"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"example.com/kpls-agent/internal/kafka"
	"example.com/kpls-agent/internal/login"
	"example.com/kpls-agent/test/fleet"
	"example.com/kpls-agent/test/sandbox"
)

// jks writes a certificate and its key as a JKS store, by the JDK's own tool.
func (a *authority) jks(name, password string, from string) string {
	a.t.Helper()
	a.keytool("-importkeystore", "-srckeystore", from, "-srcstoretype", "PKCS12", "-srcstorepass", password,
		"-destkeystore", a.path(name), "-deststoretype", "JKS", "-deststorepass", password, "-destkeypass", password)
	return a.path(name)
}

func (a *authority) keytool(args ...string) {
	a.t.Helper()
	if out, err := exec.CommandContext(a.t.Context(), "keytool", args...).CombinedOutput(); err != nil {
		a.t.Fatalf("keytool %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// TestMutualTLS: a broker whose listeners know everybody by their certificates;
// the agent's are in JKS stores that its client.properties names.
func TestMutualTLS(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	const expired, expiredPort = "EXPIRED", 9099
	properties := map[string]string{
		"listener.security.protocol.map":              "INTERNAL:SSL,CONTROLLER:SSL",
		"ssl.client.auth":                             "required",
		"ssl.principal.mapping.rules":                 cnIsUser,
		"ssl.keystore.type":                           "PEM",
		"ssl.keystore.location":                       ca.path("broker.pem"),
		"ssl.truststore.type":                         "PEM",
		"ssl.truststore.location":                     ca.path("ca.pem"),
		"listener.name.expired.ssl.keystore.location": ca.path("expired.pem"),
		"authorizer.class.name":                       authorizer,
		"super.users":                                 "User:broker",
	}
	admin := ca.dialer(ca.pair(leaf("broker")))
	c, err := sandbox.New(t.Context(), sandbox.Options{Brokers: 1, Version: sandbox.Version(), Client: []kgo.Opt{admin}, Properties: func(int32) map[string]string { return properties }})
	if err != nil {
		t.Fatal(err)
	}
	broker := c.Brokers[0]
	ca.pem("broker.pem", leaf("broker", broker.Host))
	old := leaf("broker", broker.Host)
	old.NotAfter = time.Now().Add(-time.Hour)
	ca.pem("expired.pem", old)
	if err := broker.AddListener(expired, expiredPort, broker.Addr(expiredPort)); err != nil {
		t.Fatal(err)
	}
	if err := broker.Edit(func(file string) string {
		return strings.ReplaceAll(file, expired+":PLAINTEXT", expired+":SSL")
	}); err != nil {
		t.Fatal(err)
	}
	b := startCluster(t, c, admin)

	ca.keytool("-importcert", "-noprompt", "-alias", "ca", "-file", ca.path("ca.pem"), "-keystore", ca.path("trust.jks"), "-storetype", "JKS", "-storepass", storeSecret)
	ca.jks("agent.jks", storeSecret, ca.p12("agent.p12", storeSecret, leaf("kpls-agent")))
	trust := "security.protocol=SSL\nssl.truststore.location=" + ca.path("trust.jks") + "\nssl.truststore.password=" + storeSecret + "\n"
	stores := func(name string) string {
		return trust + "ssl.keystore.location=" + ca.path(name) + "\nssl.keystore.password=" + storeSecret + "\n"
	}
	client := ca.put("client.properties", stores("agent.jks"))
	b.settings("kafka:\n  client_properties: " + client + "\n")
	b.allow("User:kpls-agent", agentACLs...)
	b.startAgents()

	// A certificate that is not for the advertised name stops no roll-out: who
	// verifies names is the clients' business. It is said.
	lb, host := balance(b, sandbox.ForwarderOptions{Interval: 200 * time.Millisecond})
	external := fleet.ManifestOptions{Protocol: "SSL", Extra: "    properties:\n      ssl.client.auth: none\n      ssl.keystore.location: " + ca.pem("external.pem", leaf("external", "b1.elsewhere.example")) + "\n"}
	manifest := b.fleet.Manifest(external)
	b.give(manifest)
	b.rolled(manifest)
	b.until("the load balancer has found the broker", func() bool { return lb.Up(0) })
	const rename = "give the broker a certificate with this name among its subjectAltNames"
	b.until("the agent tells that the certificate is for another name", func() bool {
		log, err := os.ReadFile(b.fleet.Agents[0].Log())
		return err == nil && strings.Contains(string(log), "certificate in doubt") && strings.Contains(string(log), rename)
	})
	if out, code := b.verifyAs(host, ca.put("customer.properties", trust)); code == 0 || !strings.Contains(out, rename) {
		t.Errorf("verify exits with %d:\n%s", code, out)
	}

	// Certificates that are wrong, each with what to do.
	own := leaf("kpls-agent")
	own.NotAfter = time.Now().Add(-time.Hour)
	ca.p12("old.p12", storeSecret, own)
	for name, text := range map[string]string{
		"has expired at ": stores("old.p12"),
		"the broker does not accept our side of TLS: give the agent a certificate that is valid": trust,
		"client.properties:4: ssl.keystore.location: " + ca.path("trust.jks") + " holds 0 keys":  stores("trust.jks"),
	} {
		ca.put("client.properties", text)
		if out, code := b.command("check"); code == 0 || !strings.Contains(out, name) {
			t.Errorf("check exits with %d, want %q in:\n%s", code, name, out)
		}
	}
	ca.put("client.properties", stores("agent.jks"))
	if out, code := b.command("check"); code != 0 {
		t.Errorf("with all in order check exits with %d:\n%s", code, out)
	}

	addr := net.JoinHostPort(broker.Host, "9099")
	l, err := login.ReadClient(client)
	if err != nil {
		t.Fatal(err)
	}
	cl, err := kafka.Open(kafka.Options{
		Seeds: []string{addr}, Self: broker.ID, OwnAddress: addr, Logger: slog.New(slog.DiscardHandler),
		Login: kafka.Login{Protocol: l.Protocol, Roots: l.Roots, Certificate: l.Certificate},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if f := cl.Observe(ctx); !strings.HasSuffix(f.Err, "renew the broker's certificate, and see that the clocks of both machines are right") {
		t.Errorf("of a broker whose certificate has expired: %q", f.Err)
	}
	b.noneTells(storeSecret)
}
