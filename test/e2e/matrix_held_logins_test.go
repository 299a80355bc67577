//go:build matrix

package e2e

import (
	"context"
	"crypto/x509"
	"fmt"
	"log/slog"
	"net"
	"os"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"example.com/kpls-agent/internal/kafka"
	"example.com/kpls-agent/internal/login"
	"example.com/kpls-agent/test/fleet"
	"example.com/kpls-agent/test/sandbox"
)

// heldLogin is an agent whose own listener refuses it.
type heldLogin struct {
	name, listener, protocol string
	broker                   map[string]string // properties of the listener
	settings                 string            // below kafka:, in the agent's settings
	says                     string            // what the agent's log tells to do
}

// heldPort is the port of the first of these listeners.
const heldPort = 39300

// otherSASL and otherSSL are ports of listeners for clients that speak another protocol.
const otherSASL, otherSSL = heldPort + 50, heldPort + 51

func heldLogins(ca, stranger *authority, version string) []heldLogin {
	plain := map[string]string{"sasl.enabled.mechanisms": "PLAIN", "plain.sasl.jaas.config": fmt.Sprintf("org.apache.kafka.common.security.plain.PlainLoginModule required user_kpls-agent=%q;", agentSecret)}
	scramOnly := map[string]string{"sasl.enabled.mechanisms": "SCRAM-SHA-512", "scram-sha-512.sasl.jaas.config": scramModule + ";"}
	user := func(mechanism string) string {
		return "  sasl: {mechanism: " + mechanism + ", username: kpls-agent, password_file: " + ca.put(passwordOf(mechanism, version), wrongSecret) + "}\n"
	}
	token := ca.put("token.properties", "security.protocol=SASL_PLAINTEXT\nsasl.mechanism=OAUTHBEARER\nsasl.login.callback.handler.class="+tokenHandler+
		"\nsasl.oauthbearer.token.endpoint.url=file://"+ca.put("token", "no token")+"\nsasl.jaas.config="+tokenModule+";\n")
	strange := stranger.pem("agent.pem", leaf("kpls-agent"))
	return []heldLogin{
		{"a wrong password, PLAIN", "USER", "SASL_PLAINTEXT", plain, user("PLAIN"), "the user name or the password is wrong"},
		{"a wrong password, SCRAM-SHA-512", "SCRAM", "SASL_PLAINTEXT", scramOnly, user("SCRAM-SHA-512"), "the user name or the password is wrong"},
		{"PLAIN, where only SCRAM-SHA-512 is known", "MECHANISM", "SASL_PLAINTEXT", scramOnly, user("PLAIN"), "does not offer this SASL mechanism"},
		{"a token that the broker does not accept", "OAUTH", "SASL_PLAINTEXT", map[string]string{
			"sasl.enabled.mechanisms": "OAUTHBEARER", "oauthbearer.sasl.jaas.config": tokenModule + ` unsecuredLoginStringClaim_sub="x";`,
		}, "  client_properties: " + token + "\n", "or with OAUTHBEARER what gives the token"},
		{
			"a certificate that the broker does not accept", "MUTUAL", "SSL",
			map[string]string{"ssl.client.auth": "required"},
			fmt.Sprintf("  tls: {ca_file: %s, cert_file: %[2]s, key_file: %[2]s}\n", ca.path("ca.pem"), strange), "give the agent a certificate that is valid",
		},
		{"a CA that did not sign the broker's certificate", "TRUST", "SSL", nil, "  tls: {ca_file: " + stranger.path("ca.pem") + "}\n", "add the certificate of who signed it"},
	}
}

func passwordOf(mechanism, version string) string { return mechanism + "-" + version + ".password" }

// otherProtocol is a client that takes a listener for one of another security protocol.
type otherProtocol struct {
	protocol, listener string
	failed             *atomic.Int32 // connections
}

// first and then are how long the tries are counted for; by then, a try a minute.
const first, then = 70 * time.Second, 2 * time.Minute

// held are the tries of one login on each version, in these times.
type held struct{ first, then int }

// TestMatrixHeldLogins counts the failed authentications that a broker logs for agents
// whose login is wrong, at the listener that they need: about one a minute when it lasts.
func TestMatrixHeldLogins(t *testing.T) {
	ca, stranger := newAuthority(t), newAuthority(t)
	var mu sync.Mutex
	rows, names := map[string]map[string]held{}, []string{}
	note := func(version, name string, h held) {
		mu.Lock()
		defer mu.Unlock()
		if rows[name] == nil {
			rows[name], names = map[string]held{}, append(names, name)
		}
		rows[name][version] = h
	}
	t.Run("clusters", func(t *testing.T) {
		for _, version := range matrixVersions {
			t.Run(version, func(t *testing.T) {
				t.Parallel()
				heldOn(t, version, ca, stranger, note)
			})
		}
	})
	table := "| the agent has | Kafka | tries in the first 70 s | in the two minutes after them |\n| --- | --- | --- | --- |\n"
	for _, name := range names {
		for _, version := range matrixVersions {
			h := rows[name][version]
			table += fmt.Sprintf("| %s | %s | %d | %d |\n", name, version, h.first, h.then)
		}
	}
	matrixTable(t, "held", table)
}

func heldOn(t *testing.T, version string, ca, stranger *authority, note func(version, name string, h held)) {
	agents := heldLogins(ca, stranger, version)
	properties := map[string]string{
		"ssl.keystore.type": "PEM", "ssl.keystore.location": ca.path("broker-" + version + ".pem"), "ssl.truststore.type": "PEM", "ssl.truststore.location": ca.path("ca.pem"),
	}
	for _, a := range append(agents, heldLogin{listener: "OTHERSASL", broker: agents[1].broker}) {
		for key, value := range a.broker {
			properties["listener.name."+strings.ToLower(a.listener)+"."+key] = value
		}
	}
	c, err := sandbox.New(t.Context(), sandbox.Options{Brokers: 1, Version: version, Properties: func(int32) map[string]string { return properties }})
	if err != nil {
		t.Fatal(err)
	}
	broker := c.Brokers[0]
	ca.pem("broker-"+version+".pem", leaf("broker", broker.Host))
	add := func(name, protocol string, port int) {
		err := broker.AddListener(name, port, broker.Addr(port))
		if err == nil {
			err = broker.Edit(strings.NewReplacer(","+name+":PLAINTEXT", ","+name+":"+protocol).Replace)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for i, a := range agents {
		add(a.listener, a.protocol, heldPort+i)
	}
	add("OTHERSASL", "SASL_PLAINTEXT", otherSASL)
	add("OTHERSSL", "SSL", otherSSL)
	b := startCluster(t, c)
	b.scramUser(agentSecret)
	manifest := b.fleet.Manifest(fleet.ManifestOptions{})
	fleets := make([]*fleet.Fleet, len(agents))
	mark := b.markLog()
	others := b.otherClients(ca)
	for i, a := range agents {
		if fleets[i], err = fleet.New(c, agentBinary, t.TempDir()); err != nil {
			t.Fatal(err)
		}
		one := *b
		one.fleet = fleets[i]
		one.settings("kafka:\n  listener: " + a.listener + "\n" + a.settings)
		one.give(manifest)
		t.Cleanup(fleets[i].Close)
		if err := fleets[i].Start(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	counted := func() map[int]int {
		n := mark.authentications(heldPort)
		for i, o := range others {
			n[len(agents)+i] = int(o.failed.Load())
		}
		return n
	}
	begin := time.Now()
	b.until("the first while is over", func() bool { return time.Since(begin) > first })
	early := counted()
	b.until("all is over", func() bool { return time.Since(begin) > first+then })
	all := counted()
	judge := func(i int, name string) {
		h := held{early[i], all[i] - early[i]}
		note(version, name, h)
		// At 0, 1, 3, 7, 15, 31 and 63 s, and some more at the same time or before the first outcome.
		if h.first < 5 || h.first > 10 || h.then < 1 || h.then > 3 {
			t.Errorf("%s: %d tries in %s, and %d in %s after that", name, h.first, first, h.then, then)
		}
	}
	for i, o := range others {
		judge(len(agents)+i, fmt.Sprintf("%s as the protocol of a listener with %s", o.protocol, o.listener))
	}
	for i, a := range agents {
		judge(i, a.name)
		log, err := os.ReadFile(fleets[i].Agents[0].Log())
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"was refused, and the agent holds the next one back until", a.says} {
			if !strings.Contains(string(log), want) {
				t.Errorf("%s: the agent's log does not say %q:\n%s", a.name, want, tail(string(log), 4000))
			}
		}
		one := *b
		one.fleet = fleets[i]
		if out, code := one.command("check"); code == 0 || !strings.Contains(out, a.says) || !strings.Contains(out, "the running agent tries again at a change of the login at once, and else within a minute") {
			t.Errorf("%s: check exits with %d:\n%s", a.name, code, out)
		}
	}

	// What is corrected at the broker is found within the hold; a change of the file at once, though the hold is at its longest.
	if out, code := b.command("pause", "--why", "no roll-out here"); code != 0 {
		t.Fatalf("pause exits with %d:\n%s", code, out)
	}
	in := func(i int, limit time.Duration, correct func()) {
		t.Helper()
		one := *b
		one.fleet = fleets[i]
		marks := one.marks()
		correct()
		begin := time.Now()
		one.until("the agent has read the log", func() bool {
			log, err := os.ReadFile(fleets[i].Agents[0].Log())
			return err == nil && strings.Contains(string(log[marks[0]:]), "no roll-out here")
		})
		t.Logf("%s: in after %s", agents[i].name, time.Since(begin))
		if took := time.Since(begin); took > limit {
			t.Errorf("%s: in after %s", agents[i].name, took)
		}
		fleets[i].Close()
	}
	const slow = 15 * time.Second // what a busy machine may take on top
	in(1, time.Minute+slow, func() { b.scramUser(wrongSecret) })
	in(0, slow, func() { ca.put(passwordOf("PLAIN", version), agentSecret) })
}

// authentications counts the failed ones by port, as Kafka's Selector logs them.
func (l brokerLog) authentications(from int) map[int]int {
	l.b.Helper()
	text, err := os.ReadFile(l.b.Brokers[0].Log())
	if err != nil {
		l.b.Fatal(err)
	}
	failed := map[int]int{}
	for _, m := range regexp.MustCompile(`Failed authentication with .*channelId=[0-9.]+:(\d+)-`).FindAllStringSubmatch(string(text[l.from:]), -1) {
		var port int
		if _, err := fmt.Sscan(m[1], &port); err != nil {
			l.b.Fatal(err)
		}
		failed[port-from]++
	}
	return failed
}

// scramUser gives the agent's user a password.
func (b *bed) scramUser(password string) {
	b.Helper()
	b.admin(func(ctx context.Context, cl *kgo.Client) error {
		_, err := kadm.NewClient(cl).AlterUserSCRAMs(ctx, nil, []kadm.UpsertSCRAM{{User: "kpls-agent", Mechanism: kadm.ScramSha512, Iterations: 4096, Password: password}})
		return err
	})
}

// otherClients do what an agent does, with another security protocol than the listener has.
func (b *bed) otherClients(ca *authority) []otherProtocol {
	b.Helper()
	broker := b.Brokers[0]
	list := []otherProtocol{{"PLAINTEXT", "SASL_PLAINTEXT", &atomic.Int32{}}, {"PLAINTEXT", "SSL", &atomic.Int32{}}, {"SSL", "PLAINTEXT", &atomic.Int32{}}}
	for _, o := range list {
		addr := map[string]string{"SASL_PLAINTEXT": broker.Addr(otherSASL), "SSL": broker.Addr(otherSSL), "PLAINTEXT": broker.Internal()}[o.listener]
		cl, err := kafka.Open(kafka.Options{
			Seeds: []string{addr}, Self: broker.ID, OwnAddress: addr, Logger: slog.New(slog.DiscardHandler),
			Login: kafka.Login{Protocol: o.protocol, Roots: func() (*x509.CertPool, error) { return login.PEMRoots(ca.path("ca.pem")) }},
			Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
				o.failed.Add(1)
				return (&net.Dialer{}).DialContext(ctx, network, addr)
			},
		})
		if err != nil {
			b.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.WithoutCancel(b.Context()))
		var all sync.WaitGroup
		all.Go(func() { _ = cl.Log().Run(ctx) })
		all.Go(func() {
			for ctx.Err() == nil {
				_, _ = cl.BrokerConfig(ctx)
				cl.Observe(ctx)
				time.Sleep(time.Second)
			}
		})
		b.Cleanup(func() { cancel(); all.Wait(); cl.Close() })
	}
	return list
}
