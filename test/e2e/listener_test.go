package e2e

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/oauth"

	"example.com/kpls-agent/internal/kafka"
	"example.com/kpls-agent/internal/login"
	"example.com/kpls-agent/test/fleet"
	"example.com/kpls-agent/test/sandbox"
)

const (
	tokenModule  = "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required"
	tokenHandler = "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginCallbackHandler"
)

// unsecured is a token that Kafka's validator for tests accepts: nobody has signed it.
func unsecured(user string, life time.Duration) string {
	part := func(v map[string]any) string {
		text, _ := json.Marshal(v) // strings and numbers can always be written
		return base64.RawURLEncoding.EncodeToString(text)
	}
	now := time.Now().Add(-2 * time.Hour)
	claims := map[string]any{"iat": now.Unix(), "exp": now.Add(2 * time.Hour).Add(life).Unix()}
	if user != "" {
		claims["sub"] = user
	}
	return part(map[string]any{"alg": "none"}) + "." + part(claims) + "."
}

// TestSecondListener: brokers that log in to each other with tokens, and have a
// listener without logins in addition. The agent talks over the second one and rolls out; with
// tokens of its own it talks over the first one as well. What the broker says to a
// client of another security protocol is what internal/kafka takes it for.
func TestSecondListener(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	ca := newAuthority(t)
	const clientPort, tlsPort, bothPort = 9099, 9100, 9101
	const jaas = tokenModule + ` unsecuredLoginStringClaim_sub="broker";`
	admin := kgo.SASL(oauth.Oauth(func(context.Context) (oauth.Auth, error) { return oauth.Auth{Token: unsecured("test", time.Hour)}, nil }))
	c, err := sandbox.New(ctx, sandbox.Options{Brokers: 1, Version: sandbox.Version(), Client: []kgo.Opt{admin}, Properties: func(int32) map[string]string {
		return map[string]string{
			"listener.security.protocol.map":                      "INTERNAL:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT",
			"sasl.enabled.mechanisms":                             "OAUTHBEARER",
			"sasl.mechanism.inter.broker.protocol":                "OAUTHBEARER",
			"listener.name.internal.oauthbearer.sasl.jaas.config": jaas,
			"listener.name.both.oauthbearer.sasl.jaas.config":     jaas,
			"ssl.keystore.type":                                   "PEM",
			"ssl.keystore.location":                               ca.path("broker.pem"),
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	broker := c.Brokers[0]
	ca.pem("broker.pem", leaf("broker", broker.Host))
	for name, port := range map[string]int{"CLIENT": clientPort, "TLS": tlsPort, "BOTH": bothPort} {
		if err := broker.AddListener(name, port, broker.Addr(port)); err != nil {
			t.Fatal(err)
		}
	}
	if err := broker.Edit(strings.NewReplacer("TLS:PLAINTEXT", "TLS:SSL", "BOTH:PLAINTEXT", "BOTH:SASL_SSL").Replace); err != nil {
		t.Fatal(err)
	}
	b := startCluster(t, c, admin)
	plain, err := os.ReadFile(b.fleet.Agents[0].Settings())
	if err != nil {
		t.Fatal(err)
	}
	settings := func(more string) {
		t.Helper()
		if err := os.WriteFile(b.fleet.Agents[0].Settings(), append(bytes.Clone(plain), more...), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	check := func(code int, says string) {
		t.Helper()
		if out, got := b.command("check"); got != code || !strings.Contains(out, says) {
			t.Errorf("check exits with %d, want %d and %q in:\n%s", got, code, says, out)
		}
	}

	settings("kafka: {listener: client}\n")
	b.startAgents()
	manifest := b.fleet.Manifest(fleet.ManifestOptions{})
	b.give(manifest)
	b.rolled(manifest)
	check(0, "broker 1, listener CLIENT (kafka.listener) at "+broker.Addr(clientPort))
	check(0, "ok       rights in Kafka")
	settings("kafka: {listener: external}\n")
	check(2, "EXTERNAL is the listener over which the agents reach the brokers")
	settings("")
	check(1, "has SASL_PLAINTEXT, and the settings name no user; set mechanism, username and password_file of kafka.sasl (the listener offers OAUTHBEARER)")
	settings("kafka: {bootstrap_servers: ['" + broker.Addr(clientPort) + "'], security_protocol: PLAINTEXT}\n")
	check(1, "kafka.security_protocol is PLAINTEXT, and the inter-broker listener INTERNAL, which the agent talks to, has SASL_PLAINTEXT")

	b.withTokens(ca, settings, check)
	b.withAnyToken()
	b.otherProtocols(ca, map[string]string{"SASL_PLAINTEXT": broker.Internal(), "PLAINTEXT": broker.Addr(clientPort), "SSL": broker.Addr(tlsPort), "SASL_SSL": broker.Addr(bothPort)})

	// The file says another id than the broker has.
	settings("kafka: {listener: client}\n")
	if err := broker.Edit(strings.NewReplacer("node.id=1", "node.id=2", "controller.quorum.voters=1@", "controller.quorum.voters=2@").Replace); err != nil {
		t.Fatal(err)
	}
	check(2, "server.properties says broker 2, and at "+broker.Addr(clientPort)+" answers broker 1, and not broker 2; if the broker is started with --override node.id=1, put node.id=1 into ")
}

// withTokens has the agent log in to the brokers' own listener.
func (b *bed) withTokens(ca *authority, settings func(string), check func(int, string)) {
	b.Helper()
	asked := 0
	endpoint := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked++
		if id, secret, _ := r.BasicAuth(); id != "kpls-agent" || secret != agentSecret || r.PostFormValue("scope") != "kafka" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		_, _ = w.Write([]byte(`{"access_token":"` + unsecured("kpls-agent", time.Hour) + `"}`))
	}))
	b.Cleanup(endpoint.Close)
	client := func(url, options string) string {
		return ca.put("client.properties", "security.protocol=SASL_PLAINTEXT\nsasl.mechanism=OAUTHBEARER\nsasl.login.callback.handler.class="+tokenHandler+
			"\nsasl.oauthbearer.token.endpoint.url="+url+"\nsasl.jaas.config="+tokenModule+options+";\n")
	}
	credentials := func(secret string) string {
		return ` clientId="kpls-agent" clientSecret="` + secret + `" scope="kafka" extension_traceId="x"`
	}
	settings("kafka: {client_properties: " + client(endpoint.URL, credentials(agentSecret)) + "}\n")
	check(0, "ok       rights in Kafka")
	if out, code := b.command("status"); code != 0 || asked != 2 {
		b.Errorf("status exits with %d; two commands asked for %d tokens:\n%s", code, asked, out)
	}
	client(endpoint.URL, credentials(wrongSecret))
	check(1, "ask "+endpoint.URL+" for a token: it answers 401; correct the client's id, secret and scope, or the URL")

	client("file://"+ca.put("token", unsecured("kpls-agent", time.Hour)+"\n"), "")
	check(0, "ok       rights in Kafka")
	ca.put("token", unsecured("kpls-agent", -time.Minute))
	check(1, "the token in "+ca.path("token")+" has expired at ")
	ca.put("token", "e30.e30.e30") // no signature may stand in one that is not signed
	check(1, "log in with OAUTHBEARER: the broker ended the connection at the login; unless the broker is being stopped, its log says what it has against it")
	ca.put("token", unsecured("", time.Hour))
	check(1, `the broker does not accept the token: {"status":"invalid_token"}; see in the broker's log what it misses`)
}

// withAnyToken checks a listener with tokens that it accepts, and that it does not:
// none of them makes the broker unfit.
func (b *bed) withAnyToken() {
	b.Helper()
	for token, unseen := range map[string]string{
		unsecured("test", time.Hour): "",
		unsecured("", time.Hour):     "the broker does not accept the token: ",
		"e30.e30.e30":                "the broker ended the connection at the login",
	} {
		c := kafka.NewChecker(kafka.ListenerCheck{
			Addr: b.Brokers[0].Internal(), Protocol: "SASL_PLAINTEXT", Broker: b.Brokers[0].ID, AdvertisedHost: b.Brokers[0].Host, AdvertisedPort: sandbox.InternalPort,
			Login: &kafka.Login{Mechanism: login.OAuthBearer, Token: func(context.Context) (string, map[string]string, error) { return token, nil, nil }},
		})
		ctx, cancel := context.WithTimeout(b.Context(), patience)
		err := c.Check(ctx)
		cancel()
		why := c.Unseen()
		c.Close()
		if err != nil || (why == nil) != (unseen == "") || why != nil && !strings.Contains(why.Error(), unseen) {
			b.Errorf("with %s: %v, unseen: %v", token, err, why)
		}
	}
}

// otherProtocols speaks to listeners with other protocols than theirs.
func (b *bed) otherProtocols(ca *authority, listeners map[string]string) {
	b.Helper()
	const fix = ": correct the security protocol in the agent's settings; listener.security.protocol.map of that broker has the listener's"
	const isTLS, noTLS, noUser, noLogin = "the listener speaks TLS, and the agent's settings say that it does not" + fix, "the listener might not speak TLS" + fix,
		"the listener expects a login" + fix, "the listener does not expect a login" + fix
	for _, tt := range []struct{ listener, protocol, says string }{
		{"PLAINTEXT", "SSL", noTLS},
		{"PLAINTEXT", "SASL_PLAINTEXT", noLogin},
		{"SSL", "PLAINTEXT", isTLS},
		{"SSL", "SASL_PLAINTEXT", isTLS},
		{"SSL", "SASL_SSL", noLogin},
		{"SASL_PLAINTEXT", "PLAINTEXT", noUser},
		{"SASL_PLAINTEXT", "SASL_SSL", noTLS},
		{"SASL_SSL", "PLAINTEXT", isTLS},
		{"SASL_SSL", "SSL", noUser},
		{"SASL_SSL", "SASL_PLAINTEXT", isTLS},
	} {
		cl, err := kafka.Open(kafka.Options{
			Seeds: []string{listeners[tt.listener]}, Self: b.Brokers[0].ID, OwnAddress: listeners[tt.listener], Logger: slog.New(slog.DiscardHandler),
			Login: kafka.Login{
				Protocol: tt.protocol, Mechanism: login.OAuthBearer, AnyName: true, Roots: func() (*x509.CertPool, error) { return login.PEMRoots(ca.path("ca.pem")) },
				Token: func(context.Context) (string, map[string]string, error) {
					return unsecured("test", time.Hour), nil, nil
				},
			},
		})
		if err != nil {
			b.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(b.Context(), patience)
		_, err = cl.BrokerConfig(ctx)
		cancel()
		cl.Close()
		if err == nil || !strings.HasSuffix(err.Error(), tt.says) {
			b.Errorf("%s to a listener with %s: %v, want %q at its end", tt.protocol, tt.listener, err, tt.says)
		}
	}
}
