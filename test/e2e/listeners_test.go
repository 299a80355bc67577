package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"example.com/kpls-agent/test/fleet"
	"example.com/kpls-agent/test/sandbox"
)

// closedListener is a listener of a broker that does not let agents in.
type closedListener struct {
	name, protocol string
	properties     []string // of the manifest
}

// closed returns listeners with every kind of lock. ca signs what the agent trusts
// and the brokers accept, stranger what they do not.
func closed(ca, stranger *authority) []closedListener {
	plain := func(user string) []string {
		return []string{"sasl.enabled.mechanisms: PLAIN", fmt.Sprintf("plain.sasl.jaas.config: 'org.apache.kafka.common.security.plain.PlainLoginModule required user_%s=%q;'", user, agentSecret)}
	}
	store := func(path string) []string {
		return []string{"ssl.keystore.type: PEM", "ssl.keystore.location: " + path, "ssl.truststore.type: PEM", "ssl.truststore.location: " + ca.path("ca.pem")}
	}
	good := store(ca.pem("listener.pem", leaf("listener", "*."+fleet.Domain)))
	doubted := store(stranger.pem("listener.pem", leaf("listener", "*."+fleet.Domain)))
	mutual := slices.Concat(good, []string{"ssl.client.auth: required"})
	return []closedListener{
		{"DOUBT", "SASL_SSL", slices.Concat(doubted, plain("kpls-agent"))},
		{"MECHANISM", "SASL_PLAINTEXT", []string{"sasl.enabled.mechanisms: SCRAM-SHA-512", "scram-sha-512.sasl.jaas.config: '" + scramModule + ";'"}},
		{"MUTUAL", "SSL", mutual},
		{"MUTUALSASL", "SASL_SSL", slices.Concat(mutual, plain("kpls-agent"))},
		{"OAUTH", "SASL_PLAINTEXT", []string{
			"sasl.enabled.mechanisms: OAUTHBEARER",
			"oauthbearer.sasl.jaas.config: 'org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub=\"x\";'",
		}},
		{"USER", "SASL_PLAINTEXT", plain("other")},
	}
}

// outsider is an agent that these listeners do not let in.
type outsider struct {
	name, settings string
	unseen         map[string]string // what `check` says of each listener, in part
}

func outsiders(ca, stranger *authority) []outsider {
	const (
		noLogin       = "it asks for a login, and the agent has none: give it one"
		noCertificate = "it asks for a certificate (ssl.client.auth), and the agent has none: give it one"
		strange       = "it does not accept the agent's certificate ("
		otherWay      = "it refused the agent's login: log in with PLAIN: UNSUPPORTED_SASL_MECHANISM"
		wrong         = "it refused the agent's login: log in with PLAIN: SASL_AUTHENTICATION_FAILED"
		doubt         = "a password is not sent to a broker whose certificate is in doubt"
	)
	trust := "ca_file: " + ca.path("ca.pem")
	return []outsider{
		{"no login, no certificate", "", map[string]string{
			"DOUBT": noLogin, "MECHANISM": noLogin, "MUTUAL": noCertificate, "MUTUALSASL": noCertificate, "OAUTH": noLogin, "USER": noLogin,
		}},
		{
			"a user with PLAIN, no certificate",
			"kafka:\n  tls: {" + trust + "}\n  sasl: {mechanism: PLAIN, username: kpls-agent, password_file: " + ca.put("password", agentSecret) + "}\n",
			map[string]string{"DOUBT": doubt, "MECHANISM": otherWay, "MUTUAL": noCertificate, "MUTUALSASL": noCertificate, "OAUTH": otherWay, "USER": wrong},
		},
		{
			"no login, a certificate of another CA",
			fmt.Sprintf("kafka:\n  tls: {%s, cert_file: %[2]s, key_file: %[2]s}\n", trust, stranger.pem("agent.pem", leaf("kpls-agent"))),
			map[string]string{"DOUBT": doubt, "MECHANISM": noLogin, "MUTUAL": strange, "MUTUALSASL": strange, "OAUTH": noLogin, "USER": noLogin},
		},
	}
}

// firstClosedPort is where the first of these listeners is; the next ones follow, and
// their probes are a hundred higher.
const firstClosedPort = 39100

// closedManifest has these listeners, or PLAINTEXT ones of the same names and ports.
func (b *bed) closedManifest(listeners []closedListener, plaintext bool) string {
	var text strings.Builder
	text.WriteString("version: 1\ncluster: sandbox\nlisteners:\n")
	var ports []string
	for i, l := range listeners {
		if plaintext {
			l.protocol, l.properties = "PLAINTEXT", nil
		}
		port := firstClosedPort + i
		ports = append(ports, fmt.Sprintf("%s: %d", l.name, port))
		fmt.Fprintf(&text, "  %s:\n    bind: <host>:%d\n    security_protocol: %s\n    advertised: <broker_id>.%s:<port>\n    probe_port: %d\n", l.name, port, l.protocol, fleet.Domain, port+100)
		if len(l.properties) > 0 {
			fmt.Fprintf(&text, "    properties:\n      %s\n", strings.Join(l.properties, "\n      "))
		}
	}
	text.WriteString("brokers:\n")
	for _, br := range b.Brokers {
		fmt.Fprintf(&text, "  %d: {ports: {%s}, zone: \"%[1]d\", host: %[3]s}\n", br.ID, strings.Join(ports, ", "), br.Host)
	}
	text.WriteString("rollout:\n  soak: 0s\n")
	return text.String()
}

// opened waits until the broker runs the manifest in another process than before,
// with all probes open.
func (b *bed) opened(listeners []closedListener, manifest, before string) {
	b.Helper()
	b.wait("all probes are open", func(r fleet.Report) bool {
		return r.All(len(b.Brokers), func(row fleet.Row) bool {
			return row.Manifest == hashOf(manifest) && row.Invocation != before && !row.Drift && len(row.Open) == len(listeners)
		})
	})
}

// brokerLog is what a broker has written to its log since a mark.
type brokerLog struct {
	b    *bed
	from int
}

func (b *bed) markLog() brokerLog {
	b.Helper()
	text, err := os.ReadFile(b.Brokers[0].Log())
	if err != nil {
		b.Fatal(err)
	}
	return brokerLog{b, len(text)}
}

// failures counts the failed authentications at the port of the nth listener, as
// Kafka's Selector logs them. It reports stack traces of all ports.
func (l brokerLog) failures() map[int]int {
	l.b.Helper()
	text, err := os.ReadFile(l.b.Brokers[0].Log())
	if err != nil {
		l.b.Fatal(err)
	}
	// Kafka logs some of its own as well, but not in the code of its listeners.
	trace := regexp.MustCompile(`(?m)^\[.*(SocketServer|kafka\.network|common\.network).*\n([^\[].*\n)?\tat .*$`)
	if found := trace.FindString(string(text[l.from:])); found != "" {
		l.b.Errorf("a stack trace in the broker's log:\n%s", found)
	}
	failed := map[int]int{}
	for _, m := range regexp.MustCompile(`Failed authentication with .*channelId=[0-9.]+:(\d+)-`).FindAllStringSubmatch(string(text[l.from:]), -1) {
		var port int
		if _, err := fmt.Sscan(m[1], &port); err != nil {
			l.b.Fatal(err)
		}
		failed[port-firstClosedPort]++
	}
	return failed
}

// quiet looks for a while longer, less than a minute, and bears one failed
// authentication at each listener then. Before all were open there may be two more: a
// check that got no answer in time, as on a busy machine, is made again at once. It
// returns how many failed since the mark.
func (b *bed) quiet(listeners []closedListener, log brokerLog, begin time.Time, longer time.Duration) map[int]int {
	b.Helper()
	before, open := log.failures(), time.Now()
	b.until("it was looked at for a while", func() bool { return time.Since(open) > longer })
	failed := log.failures()
	for i, l := range listeners {
		if before[i] > 3 || failed[i]-before[i] > 1 {
			b.Errorf("%s has %d failed authentications in %s, %d of them before it was open", l.name, failed[i], time.Since(begin), before[i])
		}
	}
	return failed
}

// says holds what `check` says of these listeners.
func (o outsider) says(b *bed) {
	b.Helper()
	out, code := b.command("check", "-o", "json")
	var findings []struct{ What, Level, Text string }
	if err := json.Unmarshal([]byte(out), &findings); err != nil || code != 0 {
		b.Fatalf("check exited with %d: %v\n%s", code, err, out)
	}
	for name, unseen := range o.unseen {
		ok := slices.ContainsFunc(findings, func(f struct{ What, Level, Text string }) bool {
			return f.What == "listener "+name && f.Level == "warning" && strings.HasPrefix(f.Text, "it answers; what it tells its clients cannot be seen: "+unseen)
		})
		if !ok {
			b.Errorf("%s: check does not say %q:\n%s", name, unseen, out)
		}
	}
}

// byHand restarts the first broker, as somebody else than the agent, and returns its
// invocation before.
func (b *bed) byHand() (before string) {
	b.Helper()
	r := b.wait("the broker is known", func(r fleet.Report) bool { return r.Row(b.Brokers[0].ID).Invocation != "" })
	if err := b.Brokers[0].Restart(b.Context()); err != nil {
		b.Fatal(err)
	}
	return r.Row(b.Brokers[0].ID).Invocation
}

// answersOpen is true if the first agent says by HTTP that all listeners are open.
func (b *bed) answersOpen() bool {
	req, err := http.NewRequestWithContext(b.Context(), http.MethodGet, "http://"+b.fleet.Agents[0].HTTP()+"/readyz", http.NoBody)
	if err != nil {
		b.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	return err == nil && resp.Body.Close() == nil && resp.StatusCode == http.StatusOK
}

// becomes gives the first agent other settings than base, and starts it.
func (o outsider) becomes(b *bed, base []byte) {
	b.Helper()
	agent := b.fleet.Agents[0]
	agent.Kill()
	if err := os.WriteFile(agent.Settings(), append(slices.Clone(base), o.settings...), 0o600); err != nil {
		b.Fatal(err)
	}
	if err := agent.Start(b.Context()); err != nil {
		b.Fatal(err)
	}
}

// TestClosedListeners: listeners that do not let the agent in are rolled out and
// served, also after somebody restarted the broker, and the broker's log stays quiet.
// `make matrix` has all versions and agents, and writes what came of each listener.
func TestClosedListeners(t *testing.T) {
	t.Parallel()
	ca, stranger := newAuthority(t), newAuthority(t)
	b := newCluster(t, sandbox.Options{Brokers: 1, Version: sandbox.Version()})
	base, err := os.ReadFile(b.fleet.Agents[0].Settings())
	if err != nil {
		t.Fatal(err)
	}
	listeners := closed(ca, stranger)
	manifest := b.closedManifest(listeners, false)
	b.give(manifest)
	before := ""
	for i, o := range outsiders(ca, stranger)[:2] {
		log, begin := b.markLog(), time.Now()
		o.becomes(b, base)
		if i > 0 { // the first one rolls out
			b.until("the agent has asked each listener", func() bool { return b.answersOpen() })
			before = b.byHand()
		}
		b.opened(listeners, manifest, before)
		b.quiet(listeners, log, begin, 3*time.Second)
		o.says(b)
	}
}
