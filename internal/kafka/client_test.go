package kafka_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"example.com/kpls-agent/internal/kafka"
	"example.com/kpls-agent/test/patience"
)

func TestOpenChecksTheLogin(t *testing.T) {
	ca := newAuthority(t)
	for _, tt := range []struct {
		name  string
		login kafka.Login
		want  string
	}{
		{"none", kafka.Login{}, ""},
		{"TLS", kafka.Login{Protocol: "SSL", Roots: ca.roots, Certificate: always(ca.issue(t, "agent"))}, ""},
		{"SCRAM", kafka.Login{Protocol: "SASL_SSL", Mechanism: "SCRAM-SHA-512", User: user("u", "p")}, ""},
		{"protocol", kafka.Login{Protocol: "TLS"}, `security protocol "TLS" is unknown; use PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL`},
		{"mechanism", kafka.Login{Protocol: "SASL_SSL", Mechanism: "GSSAPI", User: user("u", "p")}, `SASL mechanism "GSSAPI" is not supported; use PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER`},
		{"no mechanism", kafka.Login{Protocol: "SASL_SSL"}, "security protocol SASL_SSL needs a login, and none is set"},
		{"no token", kafka.Login{Protocol: "SASL_SSL", Mechanism: "OAUTHBEARER", User: user("u", "p")}, "security protocol SASL_SSL with OAUTHBEARER needs who logs in, and nobody is set"},
		{"user", kafka.Login{Protocol: "SASL_PLAINTEXT", Mechanism: "PLAIN"}, "security protocol SASL_PLAINTEXT with PLAIN needs who logs in, and nobody is set"},
		{"no CA", kafka.Login{Protocol: "SSL", Roots: func() (*x509.CertPool, error) { return nil, errors.New("no file") }}, "no file"},
		{"no certificate", kafka.Login{Protocol: "SSL", Certificate: func() (*tls.Certificate, error) { return nil, errors.New("no file") }}, "no file"},
		{"old", kafka.Login{Protocol: "SSL", Certificate: always(ca.issue(t, "agent", expired))}, "the agent's own certificate (CN=agent) has expired at "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cl, err := kafka.Open(kafka.Options{Seeds: []string{"127.0.0.1:1"}, Login: tt.login, Logger: slog.New(slog.DiscardHandler)})
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.HasPrefix(err.Error(), "log in to Kafka: "+tt.want)) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
			if err == nil {
				cl.Close()
			}
		})
	}
	if _, err := kafka.Open(kafka.Options{}); err == nil || err.Error() != "no address of a Kafka broker is known; name one in the agent's settings" {
		t.Errorf("without seeds: %v", err)
	}
}

// hangUp listens like a Kafka listener without TLS that is greeted with TLS.
func hangUp(t *testing.T) string {
	t.Helper()
	return serving(t, func(conn net.Conn) {
		_, _ = conn.Read(make([]byte, 4))
		_ = conn.Close()
	})
}

// Every way to fail at the door says what to do about it, and none tells the password.
func TestErrorsSayWhatToDo(t *testing.T) {
	ca := newAuthority(t)
	cert := ca.issue(t, "elsewhere.example")
	plain := hangUp(t)
	sasl := newCluster(t, 1, kfake.EnableSASL(), kfake.Superuser("SCRAM-SHA-256", "agent", "right-secret"))
	sasl.ControlKey(36, func(r kmsg.Request) (kmsg.Response, error, bool) {
		sasl.KeepControl()
		resp := r.ResponseKind().(*kmsg.SASLAuthenticateResponse)
		resp.ErrorCode = kerr.SaslAuthenticationFailed.Code
		return resp, nil, true
	})
	other := newCluster(t, 1, kfake.EnableSASL(), kfake.Superuser("PLAIN", "agent", "right-secret"))
	other.ControlKey(17, func(r kmsg.Request) (kmsg.Response, error, bool) {
		other.KeepControl()
		resp := r.ResponseKind().(*kmsg.SASLHandshakeResponse)
		resp.ErrorCode = kerr.UnsupportedSaslMechanism.Code
		return resp, nil, true
	})
	secure := newCluster(t, 1, kfake.TLS(&tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}))
	pool, _ := ca.roots()
	old := newCluster(t, 1, kfake.TLS(&tls.Config{Certificates: []tls.Certificate{ca.issue(t, "b0.example", expired)}, MinVersion: tls.VersionTLS12}))
	mutual := newCluster(t, 1, kfake.TLS(&tls.Config{Certificates: []tls.Certificate{cert}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool, MinVersion: tls.VersionTLS13}))
	denied := newCluster(t, 1)
	denied.Fault(kfake.Fault{Keys: []kmsg.Key{19}, Err: kerr.TopicAuthorizationFailed, Count: -1})
	login := func(mechanism string) kafka.Login {
		return kafka.Login{Protocol: "SASL_PLAINTEXT", Mechanism: mechanism, User: user("agent", "wrong-secret")}
	}
	const protocols = "correct the security protocol in the agent's settings; listener.security.protocol.map of that broker has the listener's"
	for _, tt := range []struct {
		name  string
		seed  string
		login kafka.Login
		want  string
	}{
		{"nobody there", "127.0.0.1:1", kafka.Login{}, "connection refused; check that the broker runs, and that this is the address of the listener that the agent uses"},
		{"wrong password", sasl.ListenAddrs()[0], login("SCRAM-SHA-256"), "the user name or the password is wrong: correct the login in the agent's settings, or with OAUTHBEARER what gives the token"},
		{"wrong mechanism", other.ListenAddrs()[0], login("PLAIN"), "the listener does not offer this SASL mechanism: correct it in the agent's settings"},
		{"no login", sasl.ListenAddrs()[0], kafka.Login{}, "the listener may expect TLS or a login: " + protocols},
		{"TLS to a plain listener", plain, kafka.Login{Protocol: "SSL"}, "the listener might not speak TLS: " + protocols},
		{"plain to a TLS listener", secure.ListenAddrs()[0], kafka.Login{}, ""}, // Go's TLS just hangs up; Kafka's answer is in TestSecondListener (test/e2e)
		{"unknown authority", secure.ListenAddrs()[0], kafka.Login{Protocol: "SSL", ServerName: "elsewhere.example"}, "add the certificate of who signed it to the CA file or trust store of the agent's settings, or give the broker one that is signed by an authority there"},
		{"other name", secure.ListenAddrs()[0], kafka.Login{Protocol: "SSL", Roots: ca.roots}, "give the broker a certificate with this name among its subjectAltNames"},
		{"old certificate", old.ListenAddrs()[0], kafka.Login{Protocol: "SSL", Roots: ca.roots, ServerName: "b0.example"}, "renew the broker's certificate, and see that the clocks of both machines are right"},
		{"our certificate", mutual.ListenAddrs()[0], kafka.Login{Protocol: "SSL", Roots: ca.roots, AnyName: true}, "the broker does not accept our side of TLS: give the agent a certificate that is valid and signed by one of the broker's ssl.truststore"},
		{"any name, unknown authority", secure.ListenAddrs()[0], kafka.Login{Protocol: "SSL", AnyName: true}, "is signed by an authority there"},
		{"no rights", denied.ListenAddrs()[0], kafka.Login{}, "give the agent's Kafka user the ACL Create on topic __kpls_agent"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			noLeaks(t)
			cl, err := kafka.Open(kafka.Options{Seeds: []string{tt.seed}, OwnAddress: tt.seed, Login: tt.login, Logger: slog.New(slog.DiscardHandler)})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(cl.Close)
			l := runNeeded(t, cl)
			patience.Until(t, "the log cannot be read", func() bool { return l.Facts().Err != "" })
			got := l.Facts().Err
			if !strings.HasSuffix(got, tt.want) || strings.Contains(got, "secret") {
				t.Errorf("got %q, want %q at its end", got, tt.want)
			}
			if f := cl.Observe(within(t)); f.Err == "" && tt.name != "no rights" || strings.Contains(f.Err, "secret") {
				t.Errorf("Observe says %q", f.Err)
			}
			if _, err := cl.BrokerConfig(within(t)); err == nil && tt.name != "no rights" || err != nil && strings.Contains(err.Error(), "secret") {
				t.Errorf("BrokerConfig says %v", err)
			}
		})
	}
}

func TestLogin(t *testing.T) {
	ca := newAuthority(t)
	cert := ca.issue(t, "b0.example")
	for _, mechanism := range []string{"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"} {
		t.Run(mechanism, func(t *testing.T) {
			c := newCluster(t, 3, kfake.EnableSASL(), kfake.Superuser(mechanism, "agent", "secret"),
				kfake.TLS(&tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}))
			cl := open(t, c, func(o *kafka.Options) {
				o.Login = kafka.Login{Protocol: "SASL_SSL", Roots: ca.roots, ServerName: "b0.example", Mechanism: mechanism, User: user("agent", "secret")}
			})
			mustAppend(t, run(t, cl), claim(1, "a"))
			if _, err := cl.BrokerConfig(within(t)); err != nil {
				t.Error(err)
			}
			if f := cl.Observe(within(t)); f.Err != "" || len(f.Views) != 3 {
				t.Errorf("%+v", f)
			}
		})
	}
}

// While the own broker, the only seed, is down, the others are found.
func TestAddressesAreLearnt(t *testing.T) {
	c := newCluster(t, 3)
	var mu sync.Mutex
	var told map[int32]string
	cl := open(t, c, func(o *kafka.Options) {
		o.Seeds = c.ListenAddrs()[:1]
		o.OnAddresses = func(m map[int32]string) { mu.Lock(); defer mu.Unlock(); told = m }
	})
	l := run(t, cl)
	mustAppend(t, l, claim(1, "a"))
	want := map[int32]string{0: c.ListenAddrs()[0], 1: c.ListenAddrs()[1], 2: c.ListenAddrs()[2]}
	mu.Lock()
	if d := cmp.Diff(want, told); d != "" {
		t.Error(d)
	}
	mu.Unlock()
	if d := cmp.Diff(want, cl.Addresses()); d != "" {
		t.Error(d)
	}
	if err := c.RemoveNode(0); err != nil {
		t.Fatal(err)
	}
	mustAppend(t, l, claim(2, "b"))
	// A broker that is down keeps its address; one that hosts nothing and is not
	// there any more loses it.
	if d := cmp.Diff(want, cl.Addresses()); d != "" {
		t.Error(d)
	}
	if f := cl.Observe(within(t)); f.Err != "" || len(f.Views) != 2 {
		t.Fatalf("%q, %d views", f.Err, len(f.Views))
	}
	delete(want, 0)
	if d := cmp.Diff(want, cl.Addresses()); d != "" {
		t.Error(d)
	}
	// Another start of the agent, with what was kept and the broker still away.
	again := open(t, c, func(o *kafka.Options) { o.Seeds = []string{"127.0.0.1:1", want[1], want[2]} })
	mustAppend(t, run(t, again), claim(3, "c"))
}

// Calls end with their context, whatever the brokers do.
func TestCallsEndWithTheirContext(t *testing.T) {
	noLeaks(t)
	c := newCluster(t, 2)
	cl := open(t, c)
	l := run(t, cl)
	mustAppend(t, l, claim(1, "a"))
	c.Control(func(kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		return nil, nil, true // no broker answers anything any more
	})
	for name, call := range map[string]func(context.Context) error{
		"Append":       func(ctx context.Context) error { return l.Append(ctx, claim(2, "b")) },
		"Sync":         l.Sync,
		"BrokerConfig": func(ctx context.Context) error { _, err := cl.BrokerConfig(ctx); return err },
		"Observe":      func(ctx context.Context) error { cl.Observe(ctx); return ctx.Err() },
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		start := time.Now()
		err := call(ctx)
		cancel()
		if took := time.Since(start); err == nil || took > 2*time.Second {
			t.Errorf("%s took %s and says %v", name, took, err)
		}
	}
}
