package kafka_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"example.com/kpls-agent/internal/kafka"
)

// serving accepts connections and treats each as it says, until the test ends.
func serving(t *testing.T, treat func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go treat(conn)
		}
	}()
	return l.Addr().String()
}

// strict is what leads to a fake broker, and ends a connection that begins with TLS. So does
// a real one, to which those bytes are a request that is too large; the fake waits for it.
func strict(t *testing.T, broker string) string {
	t.Helper()
	return serving(t, func(c net.Conn) {
		defer c.Close()
		in := bufio.NewReader(c)
		if first, err := in.Peek(1); err != nil || first[0] == 0x16 {
			return
		}
		to, err := net.Dial("tcp", broker)
		if err != nil {
			return
		}
		defer to.Close()
		go func() { _, _ = io.Copy(c, to) }()
		_, _ = io.Copy(to, in)
	})
}

// unknownNames is a dialer whose name server knows no name at all.
func unknownNames(t *testing.T) kafka.DialFunc {
	t.Helper()
	server, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	go func() {
		buf := make([]byte, 1500)
		for {
			n, from, err := server.ReadFrom(buf)
			if err != nil {
				return
			}
			if n < 12 {
				continue
			}
			buf[2] |= 1 << 7         // an answer,
			buf[3] = buf[3]&^0xf | 3 // NXDOMAIN (RFC 1035, section 4.1.1),
			buf[10], buf[11] = 0, 0  // without the question's options, of which nothing is to be left
			_, _ = server.WriteTo(buf[:n-11], from)
		}
	}()
	d := &net.Dialer{Resolver: &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", server.LocalAddr().String())
	}}}
	return d.DialContext
}

// TestVerifySaysWhatCustomersSee: what is at a port instead of the listener, on real
// sockets; each as a bootstrap address, and as the address that broker 1 advertises.
// TestMatrixVerify (test/e2e) compares them with real brokers, probe ports and a load balancer.
func TestVerifySaysWhatCustomersSee(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	server := &tls.Config{Certificates: []tls.Certificate{ca.issue(t, "b1.example")}}
	elsewhere := &tls.Config{Certificates: []tls.Certificate{ca.issue(t, "b1.elsewhere")}}
	answering := func(r kmsg.Response, opts ...kfake.Opt) string { // as a real broker, where the fake just hangs up
		fake := newCluster(t, 1, opts...)
		fake.ControlKey(r.Key(), func(req kmsg.Request) (kmsg.Response, error, bool) {
			fake.KeepControl()
			r.SetVersion(req.GetVersion())
			return r, nil, true
		})
		return fake.ListenAddrs()[0]
	}
	plain := func(opts ...kfake.Opt) string { return newCluster(t, 1, opts...).ListenAddrs()[0] }
	web := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(web.Close)
	const unknown = "b1.example:9092"
	for name, c := range map[string]struct {
		login kafka.Login
		at    string
		code  string
		where string // who
		says  []string
	}{
		"a name that is not known": {
			kafka.Login{},
			unknown, "name_not_resolved", "name_server",
			[]string{"the name b1.example is not known here; where customers are, their name server must have it", "--map '*.example="},
		},
		"a probe port": {
			kafka.Login{},
			serving(t, func(c net.Conn) { _ = c.Close() }), "probe_port", "",
			[]string{"is the probe port of EXTERNAL: the agent ends each connection there, and no Kafka answers"},
		},
		"a load balancer without a broker": {
			kafka.Login{},
			serving(t, func(c net.Conn) { _ = c.Close() }), "connection_ended", "load_balancer",
			[]string{"ends each connection at once, before anything was said", "or the agent as stopped, silent or none, the load balancer has no broker for this port; else it leads to the probe port 39192 and not to Kafka's 39092"},
		},
		"a closed port": {
			kafka.Login{},
			"127.0.0.1:1", "refused", "load_balancer",
			[]string{"is refused: nothing listens there, or the load balancer has no broker for it"},
		},
		"TLS where the manifest says PLAINTEXT": {
			kafka.Login{},
			plain(kfake.TLS(server)), "speaks_tls", "load_balancer",
			[]string{"speaks TLS, and the manifest says that EXTERNAL has PLAINTEXT", "it is to lead to the brokers' port 39092"},
		},
		"no TLS where the manifest says SSL": {
			kafka.Login{Protocol: "SSL"},
			strict(t, plain()), "speaks_no_tls", "load_balancer",
			[]string{"does not speak TLS, and the manifest says that EXTERNAL has SSL"},
		},
		"a certificate for another name": {
			kafka.Login{Protocol: "SSL", Roots: ca.roots, ServerName: "b1.example"},
			plain(kfake.TLS(elsewhere)), "certificate", "command_line",
			[]string{"customers that verify certificates refuse the one at", "bootstrap with a name that the certificate has, such as b1.example:9092"},
		},
		"a PROXY header in front of TLS": {
			kafka.Login{Protocol: "SSL"},
			serving(t, func(c net.Conn) { _, _ = c.Write([]byte{21, 3, 3, 0, 2, 2, 80}); _ = c.Close() }),
			"proxy_protocol", "load_balancer",
			[]string{"switch off the PROXY protocol"},
		},
		"a web server": {
			kafka.Login{},
			web.Listener.Addr().String(), "speaks_http", "load_balancer",
			[]string{"a web server answers at "},
		},
		"a server that says nothing": {
			kafka.Login{},
			serving(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }), "no_answer", "broker",
			[]string{"takes connections, and no answer comes over them"},
		},
		"a listener that wants a login": {
			kafka.Login{},
			plain(kfake.EnableSASL()), "needs_login", "manifest",
			[]string{"expects a login; the manifest says that EXTERNAL has PLAINTEXT"},
		},
		"a listener without a login": {
			kafka.Login{Protocol: "SASL_PLAINTEXT", Mechanism: "PLAIN", User: user("u", "p")},
			answering(&kmsg.SASLHandshakeResponse{ErrorCode: kerr.IllegalSaslState.Code}), "takes_no_login", "manifest",
			[]string{"expects no login; the manifest says that EXTERNAL has SASL_PLAINTEXT"},
		},
		"a wrong password": {
			kafka.Login{Protocol: "SASL_PLAINTEXT", Mechanism: "PLAIN", User: user("u", "p")},
			answering(&kmsg.SASLAuthenticateResponse{ErrorCode: kerr.SaslAuthenticationFailed.Code}, kfake.EnableSASL()), "login", "customer",
			[]string{"refuses the login: the user name or the password is wrong", "correct --client-properties, or --user"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := kafka.VerifyOptions{
				Listener: "EXTERNAL", Login: c.login, Dial: unknownNames(t), Topic: "verify-it", Ports: []int{39092}, Probes: []int{39192},
				Bootstrap: []string{c.at}, Want: map[int32]string{1: "b1.example:9092", 2: "b2.example:9093"},
			}
			if c.code == "probe_port" {
				_, port, _ := net.SplitHostPort(c.at)
				n, err := strconv.Atoi(port)
				if err != nil {
					t.Fatal(err)
				}
				o.Probes = []int{n}
			}
			alone := kafka.Verify(within(t), o)
			if len(alone.Brokers) != 2 || alone.OK || alone.Fault == nil {
				t.Errorf("%+v", alone)
			}
			fits := func(at string, f *kafka.VerifyFault, where string) {
				if f == nil || f.Code != c.code || where != "" && f.Where != where {
					t.Fatalf("%s: %+v", at, f)
				}
				for _, says := range c.says {
					if !strings.Contains(f.Error(), says) {
						t.Errorf("%s: %q does not have %q", at, f, says)
					}
				}
				if strings.Contains(f.Error(), "the agent's settings") {
					t.Errorf("%s: %s", at, f)
				}
			}
			where := c.where
			if c.code == "probe_port" || c.code == "refused" { // no broker advertises the port
				where = "command_line"
			}
			fits("bootstrap", alone.Bootstrap[0].Fault, where)

			// Programs get all of it, and never null.
			data, err := json.Marshal(alone)
			var back struct {
				OK        *bool
				Bootstrap []struct{ Fault struct{ Code string } }
				Brokers   []struct{ Broker int32 }
			}
			if err == nil {
				err = json.Unmarshal(data, &back)
			}
			if err != nil || back.OK == nil || back.Bootstrap[0].Fault.Code != c.code || len(back.Brokers) != 2 || strings.Contains(string(data), "null") {
				t.Errorf("%v: %s", err, data)
			}
			if c.login.Protocol != "" || c.code == "no_answer" {
				return // the brokers that answer have none; and once is long enough
			}

			two := newCluster(t, 3)
			p := customer(t, two, 0, 2)
			p.Listener, p.Dial, p.Probes, p.Ports = o.Listener, o.Dial, o.Probes, o.Ports
			if delete(p.Map, "b1.example"); c.at != unknown {
				p.Map["b1.example"] = c.at
			}
			report := kafka.Verify(within(t), p)
			fits("broker", report.Brokers[1].Fault, c.where)
			if !report.Brokers[0].OK || !report.Brokers[2].OK || report.Fault != nil {
				t.Errorf("%+v", report)
			}
			if c.at == unknown && !strings.Contains(report.Advice(), "give verify --map '*.example=127.0.0.1'\n") {
				t.Errorf("%s", report.Advice())
			}
		})
	}
}

// TestVerifyOwnPort: a closed port may be no fault of the load balancer: the brokers' own port is given in place of an
// advertised one.
func TestVerifyOwnPort(t *testing.T) {
	o := kafka.VerifyOptions{
		Listener: "EXTERNAL", Dial: unknownNames(t), Topic: "verify-it", Ports: []int{1}, Bootstrap: []string{"127.0.0.1:1"},
		Want: map[int32]string{1: "b1.example:9092"},
	}
	f := kafka.Verify(within(t), o).Bootstrap[0].Fault
	const says = "this is the port of EXTERNAL on the brokers themselves; give customers, and --bootstrap, an advertised port " +
		"instead, such as b1.example:9092"
	if f == nil || f.Code != "refused" || f.Where != "command_line" || f.ToDo != says {
		t.Errorf("%+v", f)
	}
	o.Want[2] = "b2.example:1" // which is advertised as well
	const balancer = "if `kpls-agent status` shows this broker's probe as closed, or its agent as stopped, silent or none, see its " +
		"reason there first; else see that the load balancer has a rule for port 1"
	f = kafka.Verify(within(t), o).Bootstrap[0].Fault
	if f == nil || f.Code != "refused" || f.Where != "load_balancer" || f.ToDo != balancer {
		t.Errorf("%+v", f)
	}
}

// TestVerifyMistyped: nothing answers at a port that no broker of the listener advertises. It may be mistyped, another
// listener's, or a port of the load balancer that leads to all brokers.
func TestVerifyMistyped(t *testing.T) {
	o := kafka.VerifyOptions{
		Listener: "EXTERNAL", Dial: unknownNames(t), Topic: "verify-it", Bootstrap: []string{"127.0.0.1:1"},
		Want: map[int32]string{1: "b1.example:9093", 2: "b2.example:9094"},
	}
	f := kafka.Verify(within(t), o).Bootstrap[0].Fault
	const says = "1 is no advertised port of EXTERNAL: give one, such as 9093. If the load balancer is to lead it to all " +
		"brokers, see its rule for port 1, the firewalls, and in `kpls-agent status` whether all probes are closed"
	if f == nil || f.Code != "refused" || f.Where != "command_line" || f.ToDo != says {
		t.Errorf("%+v", f)
	}
	o.Shared = map[string]int{"1": 39090}
	f = kafka.Verify(within(t), o).Bootstrap[0].Fault
	const shared = "port 1 is the shared bootstrap port: see its rule, which is to lead to port 39090 of all brokers, the " +
		"firewalls, and in `kpls-agent status` whether all probes are closed"
	if f == nil || f.Code != "refused" || f.Where != "load_balancer" || f.ToDo != shared {
		t.Errorf("%+v", f)
	}
	o.Shared = nil
	o.Others = map[string][]string{"EXTERNAL2": {"b1.example:1", "b2.example:2"}}
	f = kafka.Verify(within(t), o).Bootstrap[0].Fault
	const other = "port 1 is one of EXTERNAL2: add --listener EXTERNAL2, or give a port of EXTERNAL, such as 9093"
	if f == nil || f.Code != "refused" || f.Where != "command_line" || f.ToDo != other {
		t.Errorf("%+v", f)
	}
}

// TestVerifyOtherListener: the port of another listener answers, and names the addresses of that one.
func TestVerifyOtherListener(t *testing.T) {
	c := newCluster(t, 1)
	o := customer(t, c, 0)
	o.Listener, o.Others = "EXTERNAL", map[string][]string{"EXTERNAL2": {o.Want[0]}}
	o.Want = map[int32]string{0: "b0.elsewhere:9093"}
	_, port, _ := net.SplitHostPort(o.Others["EXTERNAL2"][0])
	o.Bootstrap = []string{"127.0.0.1:" + port}
	o.Map["127.0.0.1:"+port] = c.ListenAddrs()[0]
	f := kafka.Verify(within(t), o).Brokers[0].Fault
	if f == nil || f.Code != "address_differs" || f.Where != "command_line" || !strings.Contains(f.ToDo, "add --listener EXTERNAL2") {
		t.Errorf("%+v", f)
	}
	o.Want[1] = "b1.elsewhere:" + port // which this listener has as well
	if f = kafka.Verify(within(t), o).Brokers[0].Fault; f == nil || f.Where != "broker" {
		t.Errorf("%+v", f)
	}
}

// TestCheckAddress: what is wrong with an address is said before anything is dialled.
func TestCheckAddress(t *testing.T) {
	want := map[int32]string{1: "b1.example:9093", 2: "b2.example:9094"}
	const give = "; broker 1 is at port 9093 in the manifest: give "
	for addr, says := range map[string]string{
		"b1.example:9093":             "",
		"[::1]:9093":                  "",
		"b1.example":                  "b1.example has no port" + give + "b1.example:9093",
		"b1.example:":                 "b1.example: has a port that is no number from 1 to 65535" + give + "b1.example:9093",
		":9093":                       ":9093 has no host" + give + "HOST:9093",
		"b1.example:kafka":            "b1.example:kafka has a port that is no number from 1 to 65535" + give + "b1.example:9093",
		"b1.example:99999":            "b1.example:99999 has a port that is no number from 1 to 65535" + give + "b1.example:9093",
		"fd00::1":                     "fd00::1 has no port, and an IPv6 address stands in brackets" + give + "[fd00::1]:9093",
		"PLAINTEXT://b1.example:9093": "PLAINTEXT://b1.example:9093 begins with a protocol; give b1.example:9093",
	} {
		got := ""
		if err := kafka.CheckAddress(addr, want); err != nil {
			got = err.Error()
		}
		if got != says {
			t.Errorf("%q: %q, want %q", addr, got, says)
		}
	}
}

// TestVerifyCodesAreDocumented compares the codes with the table of docs/operations.md.
func TestVerifyCodesAreDocumented(t *testing.T) {
	data, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(data), "\n## Verify\n")
	section, _, _ = strings.Cut(section, "\n## ")
	documented := map[string]bool{}
	for line := range strings.Lines(section) {
		if codes, is := strings.CutPrefix(line, "| `"); is {
			codes, _, _ = strings.Cut(codes, "` |")
			for code := range strings.SplitSeq(codes, "`, `") {
				documented[code] = true
			}
		}
	}
	for _, code := range kafka.VerifyCodes {
		if !documented[code] {
			t.Errorf("docs/operations.md has no row for %s", code)
		}
		delete(documented, code)
	}
	for code := range documented {
		t.Errorf("docs/operations.md has a row for %s, which is no code", code)
	}
}
