//go:build matrix

package e2e

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"example.com/kpls-agent/test/fleet"
	"example.com/kpls-agent/test/sandbox"
)

// The further listeners of TestMatrixVerify.
const (
	saslPort, saslFirst = sandbox.ExternalPort + 1, 9193
	tlsPort, tlsFirst   = sandbox.ExternalPort + 2, 9293
)

// verifyReport is what `kpls-agent verify -o json` prints, as far as the test needs it.
type verifyReport struct {
	OK        *bool         `json:"ok"`
	Fault     verifyFault   `json:"fault"`
	Bootstrap []verifyEntry `json:"bootstrap"`
	Brokers   []verifyEntry `json:"brokers"`
}

type verifyFault struct {
	Code string `json:"code"`
	Text string `json:"text"`
	ToDo string `json:"to_do"`
}

type verifyEntry struct {
	Fault verifyFault `json:"fault"`
}

// leadTo starts a load balancer at the n-th address of the caller. Its port for broker i
// leads to the i-th of these addresses; to none where that is empty.
func (b *bed) leadTo(n, first int, to ...string) string {
	b.Helper()
	var o sandbox.ForwarderOptions
	o.Interval = 200 * time.Millisecond
	for i, backend := range to {
		if backend != "" {
			o.Fronts = append(o.Fronts, sandbox.Front{
				Listen: net.JoinHostPort(b.Host(n), strconv.Itoa(first+i)), Backend: backend, Probe: b.Brokers[0].Internal(),
			})
		}
	}
	f := forward(b, o)
	for i := range o.Fronts {
		b.until("the load balancer has found its backends", func() bool { return f.Up(i) })
	}
	return b.Host(n)
}

// proxies starts HAProxy at the n-th address of the caller. Its ports, from first on, lead to these brokers in turn, and
// each server line ends with more.
func (b *bed) proxies(n, first int, more string, pools ...[]string) string {
	b.Helper()
	path, err := exec.LookPath("haproxy")
	if err != nil {
		b.Fatalf("%v; install it: apt-get install haproxy", err)
	}
	text := "defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 1m\n  timeout server 1m\n"
	host := b.Host(n)
	for i, pool := range pools {
		text += fmt.Sprintf("listen p%d\n  bind %s:%d\n  balance roundrobin\n", i, host, first+i)
		for k, addr := range pool {
			text += fmt.Sprintf("  server s%d %s %s\n", k, addr, more)
		}
	}
	config := filepath.Join(b.TempDir(), "haproxy.cfg")
	b.must(os.WriteFile(config, []byte(text), 0o600))
	ctx, cancel := context.WithCancel(context.WithoutCancel(b.Context()))
	cmd := exec.CommandContext(ctx, path, "-db", "-f", config)
	var said bytes.Buffer
	cmd.Stderr = &said
	b.must(cmd.Start())
	b.Cleanup(func() {
		cancel()
		_ = cmd.Wait() // it was killed
		if b.Failed() {
			b.Logf("haproxy said:\n%s", &said)
		}
	})
	b.until("HAProxy has its ports", func() bool {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", net.JoinHostPort(host, strconv.Itoa(first+len(pools)-1)))
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	})
	return host
}

// TestMatrixVerify: what `kpls-agent verify` says of each mistake between customers and
// real brokers: of listeners, a load balancer and the agents' probe ports.
func TestMatrixVerify(t *testing.T) {
	type mistake struct {
		name, listener string
		args           func(b *bed, listener string) []string
		broker         int // whose fault it is; 0: that of the bootstrap address; -1: nobody's; -2: the first that has one
		code, says     string
	}
	ca := newAuthority(t)
	const anotherID, sameID = -1, -2
	elsewhere := map[int]string{} // addresses of a cluster with another id, and of one with the same
	saslClient := func(password string) string {
		return "security.protocol=SASL_PLAINTEXT\nsasl.mechanism=PLAIN\n" +
			"sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required username=\"customer\" password=\"" + password + "\";\n"
	}
	client := map[string]string{
		"PLAINTEXT": "", "SASL_PLAINTEXT": ca.put("sasl.properties", saslClient(customerSecret)),
		"SSL": ca.put("tls.properties", "security.protocol=SSL\nssl.truststore.type=PEM\nssl.truststore.location="+ca.path("ca.pem")+"\n"),
	}
	first := map[string]int{"PLAINTEXT": 9093, "SASL_PLAINTEXT": saslFirst, "SSL": tlsFirst}
	port := map[string]int{"PLAINTEXT": sandbox.ExternalPort, "SASL_PLAINTEXT": saslPort, "SSL": tlsPort}
	n := 100
	// through is a load balancer for a listener whose ports lead to these ports of these brokers.
	through := func(port func(listener string) int, brokers ...int) func(b *bed, listener string) []string {
		return func(b *bed, listener string) []string {
			n++
			var to []string
			for _, i := range brokers {
				if i == 0 {
					to = append(to, "")
					continue
				}
				to = append(to, b.Brokers[i-1].Addr(port(listener)))
			}
			host := b.leadTo(n, first[listener], to...)
			entry := host
			if listener == "SSL" {
				entry = "b1." + fleet.Domain // the certificates have no addresses
			}
			return []string{"--bootstrap", net.JoinHostPort(entry, strconv.Itoa(first[listener])), "--map", "*." + fleet.Domain + "=" + host}
		}
	}
	// proxied is HAProxy for a listener; pools are the brokers of each of its ports.
	proxied := func(more string, pools ...[]int) func(b *bed, listener string) []string {
		return func(b *bed, listener string) []string {
			n++
			to := make([][]string, len(pools))
			for i, pool := range pools {
				for _, id := range pool {
					addr, ok := elsewhere[id]
					if !ok {
						addr = b.Brokers[id-1].Addr(port[listener])
					}
					to[i] = append(to[i], addr)
				}
			}
			host := b.proxies(n, first[listener], more, to...)
			entry := host
			if listener == "SSL" {
				entry = "b1." + fleet.Domain
			}
			return []string{"--bootstrap", net.JoinHostPort(entry, strconv.Itoa(first[listener])), "--map", "*." + fleet.Domain + "=" + host}
		}
	}
	own := func(listener string) int { return port[listener] }
	of := func(listener string) func(string) int { return func(string) int { return port[listener] } }
	mistakes := []mistake{
		{"none", "PLAINTEXT", through(own, 1, 2, 3), -1, "", ""},
		{"none", "SASL_PLAINTEXT", through(own, 1, 2, 3), -1, "", ""},
		{"none", "SSL", through(own, 1, 2, 3), -1, "", ""},
		{"two ports are swapped", "PLAINTEXT", through(own, 1, 3, 2), 2, "wrong_broker", "port 9094 leads to broker 3, and not to broker 2"},
		{"two ports are swapped", "SASL_PLAINTEXT", through(own, 1, 3, 2), 2, "wrong_broker", "port 9194 leads to broker 3, and not to broker 2"},
		{"two ports are swapped", "SSL", through(own, 1, 3, 2), 2, "wrong_broker", "port 9294 leads to broker 3, and not to broker 2"},
		{"all three ports are swapped", "PLAINTEXT", through(own, 2, 3, 1), 3, "wrong_broker", "port 9095 leads to broker 1, and not to broker 3"},
		{"the load balancer has no rule for a port", "PLAINTEXT", through(own, 1, 0, 3), 2, "refused", "nothing listens there"},
		{"a rule leads to the probe port", "PLAINTEXT", through(func(string) int { return fleet.ProbePort }, 1, 2, 3), 0, "connection_ended", "leads to the probe port"},
		{
			"the probe port as the bootstrap address", "PLAINTEXT", func(b *bed, _ string) []string {
				return []string{"--bootstrap", b.Brokers[0].Addr(fleet.ProbePort)}
			}, 0, "probe_port", "is the probe port of EXTERNAL",
		},
		{
			"the names are not known here", "PLAINTEXT", func(b *bed, listener string) []string {
				return through(own, 1, 2, 3)(b, listener)[:2]
			}, 2, "name_not_resolved", "give verify --map '*." + fleet.Domain + "=127.0.",
		},
		{"TLS, and the manifest has none", "PLAINTEXT", through(of("SSL"), 1, 2, 3), 0, "speaks_tls", "speaks TLS"},
		{"no TLS, and the manifest has it", "SSL", through(of("PLAINTEXT"), 1, 2, 3), 0, "speaks_no_tls", "does not speak TLS"},
		{"a login, and the manifest has none", "PLAINTEXT", through(of("SASL_PLAINTEXT"), 1, 2, 3), 0, "needs_login", "expects a login"},
		{"no login, and the manifest has it", "SASL_PLAINTEXT", through(of("PLAINTEXT"), 1, 2, 3), 0, "takes_no_login", "expects no login"},
		{
			"a wrong password", "SASL_PLAINTEXT", func(b *bed, listener string) []string {
				return append(through(own, 1, 2, 3)(b, listener), "--client-properties",
					ca.put("wrong.properties", saslClient(wrongSecret)))
			}, 0, "login", "the user name or the password is wrong",
		},
	}
	mistakes = append(mistakes, []mistake{
		{"none, through HAProxy", "PLAINTEXT", proxied("", []int{1}, []int{2}, []int{3}), -1, "", ""},
		{"HAProxy sends a PROXY header", "PLAINTEXT", proxied("send-proxy", []int{1}, []int{2}, []int{3}), 0, "connection_ended", "a PROXY protocol is switched on"},
		{"HAProxy sends a PROXY header", "SASL_PLAINTEXT", proxied("send-proxy-v2", []int{1}, []int{2}, []int{3}), 0, "connection_ended", "a PROXY protocol is switched on"},
		{"HAProxy sends a PROXY header", "SSL", proxied("send-proxy-v2", []int{1}, []int{2}, []int{3}), 0, "proxy_protocol", "switch off the PROXY protocol"},
		{"a pool of all brokers behind each port", "PLAINTEXT", proxied("", []int{1, 2, 3}, []int{1, 2, 3}, []int{1, 2, 3}), -2, "wrong_broker", "lead to broker"},
		{"a pool of two brokers behind one port", "PLAINTEXT", proxied("", []int{1}, []int{2, 3}, []int{3}), 2, "wrong_broker", "let port 9094 of"},
		{"a port leads to another cluster", "PLAINTEXT", proxied("", []int{1}, []int{anotherID}, []int{3}), 2, "wrong_cluster", "port 9094 leads to a broker of another cluster"},
		{"a port leads to another cluster that has the same id", "PLAINTEXT", proxied("", []int{1}, []int{sameID}, []int{3}), 2, "wrong_cluster", "another cluster that has the same id"},
	}...)
	found := map[string][]string{}
	for _, version := range matrixVersions {
		t.Run(version, func(t *testing.T) {
			n = 100
			for key, id := range map[int]string{anotherID: "AAAAAAAAAAAAAAAAAAAAAQ", sameID: ""} {
				another := newCluster(t, sandbox.Options{Version: version, Brokers: 2, ClusterID: id})
				elsewhere[key] = another.Brokers[1].Internal()
			}
			b := verifyBed(t, version, ca)
			for _, m := range mistakes {
				protocol := m.listener
				manifest := ca.put("manifest.yaml", b.fleet.Manifest(fleet.ManifestOptions{
					Protocol: protocol, FirstPort: first[protocol], BindPort: port[protocol],
				}))
				args := append([]string{"verify", "--manifest", manifest, "-o", "json"}, m.args(b, protocol)...)
				if file := client[protocol]; file != "" && !slices.Contains(args, "--client-properties") {
					args = append(args, "--client-properties", file)
				}
				begin := time.Now()
				out, errOut, code := b.fleet.Agents[0].Command(b.Context(), args...)
				took := time.Since(begin)
				var r verifyReport
				if err := json.Unmarshal([]byte(out), &r); err != nil || r.OK == nil || strings.Contains(out, "null") {
					t.Fatalf("%s: %v\n%s%s", m.name, err, out, errOut)
				}
				var f verifyFault
				switch {
				case m.broker == 0:
					f = r.Bootstrap[0].Fault
				case m.broker > 0:
					f = r.Brokers[m.broker-1].Fault
				case m.broker == -2:
					for _, e := range slices.Concat(r.Bootstrap, r.Brokers) {
						f = cmp.Or(f, e.Fault)
					}
				}
				good := m.broker == -1
				if f.Code != m.code || !strings.Contains(f.Text+"; "+f.ToDo, m.says) || *r.OK != good || (code == 0) != good || !good && code != 1 {
					t.Errorf("%s, %s: exit %d\n%s%s", m.name, protocol, code, out, errOut)
				}
				key := m.name + " | " + protocol
				found[key] = append(found[key], fmt.Sprintf("`%s`, %.1f s", cmp.Or(f.Code, "ok"), took.Seconds()))
				t.Logf("%s, %s (%s): %s", m.name, protocol, took.Round(time.Millisecond), f.Text)
			}
		})
	}
	table := []string{"| mistake | security protocol | " + strings.Join(matrixVersions, " | ") + " |\n| --- | --- | --- | --- |\n"}
	for _, m := range mistakes {
		key := m.name + " | " + m.listener
		table = append(table, "| "+key+" | "+strings.Join(found[key], " | ")+" |\n")
	}
	matrixTable(t, "verify", table...)
}

// verifyBed is a cluster whose brokers have a listener of each kind, and agents that
// have adopted the first of them.
func verifyBed(t *testing.T, version string, ca *authority) *bed {
	t.Helper()
	properties := map[string]string{
		"listener.name.sasled.sasl.enabled.mechanisms": "PLAIN",
		"listener.name.sasled.plain.sasl.jaas.config":  `org.apache.kafka.common.security.plain.PlainLoginModule required user_customer="` + customerSecret + `";`,
		"listener.name.tlsed.ssl.keystore.type":        "PEM",
		"listener.name.tlsed.ssl.keystore.location":    ca.pem("tlsed.pem", leaf("tlsed", "*."+fleet.Domain)),
	}
	c, err := sandbox.New(t.Context(), sandbox.Options{Version: version, Properties: func(int32) map[string]string { return properties }})
	if err != nil {
		t.Fatal(err)
	}
	for i, broker := range c.Brokers {
		for name, ports := range map[string][2]int{
			"EXTERNAL": {sandbox.ExternalPort, 9093}, "SASLED": {saslPort, saslFirst}, "TLSED": {tlsPort, tlsFirst},
		} {
			advertised := fmt.Sprintf("b%d.%s:%d", broker.ID, fleet.Domain, ports[1]+i)
			if err := broker.AddListener(name, ports[0], advertised); err != nil {
				t.Fatal(err)
			}
		}
		if err := broker.Edit(func(file string) string {
			return strings.NewReplacer("SASLED:PLAINTEXT", "SASLED:SASL_PLAINTEXT", "TLSED:PLAINTEXT", "TLSED:SSL").Replace(file)
		}); err != nil {
			t.Fatal(err)
		}
	}
	b := startCluster(t, c)
	b.startAgents()
	manifest := b.fleet.Manifest(fleet.ManifestOptions{})
	b.give(manifest)
	b.rolled(manifest)
	return b
}
