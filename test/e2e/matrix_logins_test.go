//go:build matrix

package e2e

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/oauth"

	"example.com/kpls-agent/test/fleet"
	"example.com/kpls-agent/test/sandbox"
)

// TestMatrixLogins rolls EXTERNAL out over three brokers that know each other by
// tokens, with agents that talk over a second listener, and with agents that have
// tokens of their own.
func TestMatrixLogins(t *testing.T) {
	table := "| Kafka | the agents talk over | roll-out | records sent | failed | lost |\n| --- | --- | --- | --- | --- | --- |\n"
	for _, version := range matrixVersions {
		for _, over := range []string{"CLIENT, PLAINTEXT, by `kafka.listener`", "INTERNAL, with a token from a file"} {
			t.Run(version+" "+over[:6], func(t *testing.T) {
				ca := newAuthority(t)
				client := ca.put("client.properties", "security.protocol=SASL_PLAINTEXT\nsasl.mechanism=OAUTHBEARER\nsasl.login.callback.handler.class="+tokenHandler+
					"\nsasl.oauthbearer.token.endpoint.url=file://"+ca.put("token", unsecured("kpls-agent", time.Hour))+"\nsasl.jaas.config="+tokenModule+";\n")
				login := "kafka: {client_properties: " + client + "}\n"
				if over[0] == 'C' {
					login = "kafka: {listener: client}\n"
				}
				took, load := rolledWith(t, version, login)
				table += fmt.Sprintf("| %s | %s | %.1f s | %d | %d | %d |\n", version, over, took.Seconds(), load.Sent, load.Failed, load.Lost)
			})
		}
	}
	matrixTable(t, "logins", table)
}

// rolledWith makes such a cluster and one roll-out under load.
func rolledWith(t *testing.T, version, login string) (time.Duration, sandbox.Figures) {
	t.Helper()
	const clientPort = 9099
	admin := kgo.SASL(oauth.Oauth(func(context.Context) (oauth.Auth, error) { return oauth.Auth{Token: unsecured("test", time.Hour)}, nil }))
	c, err := sandbox.New(t.Context(), sandbox.Options{Version: version, Client: []kgo.Opt{admin}, Properties: func(int32) map[string]string {
		return map[string]string{
			"listener.security.protocol.map":                      "INTERNAL:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT",
			"sasl.enabled.mechanisms":                             "OAUTHBEARER",
			"sasl.mechanism.inter.broker.protocol":                "OAUTHBEARER",
			"listener.name.internal.oauthbearer.sasl.jaas.config": tokenModule + ` unsecuredLoginStringClaim_sub="broker";`,
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range c.Brokers {
		if err := b.AddListener("CLIENT", clientPort, b.Addr(clientPort)); err != nil {
			t.Fatal(err)
		}
	}
	b := startCluster(t, c, admin)
	b.settings(login)
	b.startAgents()
	load := newTraffic(b)
	starts := b.starts()
	manifest := b.fleet.Manifest(fleet.ManifestOptions{})
	begin := time.Now()
	b.give(manifest)
	b.rolled(manifest)
	took := time.Since(begin)
	b.once(starts)
	load.end()
	if away := b.watch.MostAway(); len(away) > 1 {
		t.Errorf("brokers %v were down at the same time", away)
	}
	return took, load.load
}
