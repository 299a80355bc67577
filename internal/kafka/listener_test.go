package kafka_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"errors"
	"io"
	"math/big"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"example.com/kpls-agent/internal/kafka"
)

// authority signs certificates for a test.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	a := &authority{}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	a.key = key
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test CA"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return a
}

func (a *authority) roots() (*x509.CertPool, error) {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool, nil
}

// issue returns a certificate for a name.
func (a *authority) issue(t testing.TB, name string, change ...func(*x509.Certificate)) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	for _, f := range change {
		f(tmpl)
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, a.cert, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func expired(c *x509.Certificate) {
	c.NotBefore, c.NotAfter = time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour)
}

// always is a certificate that never changes.
func always(c tls.Certificate) func() (*tls.Certificate, error) {
	return func() (*tls.Certificate, error) { return &c, nil }
}

func user(name, password string) func() (string, string, error) {
	return func() (string, string, error) { return name, password, nil }
}

// check is of broker 0 of a fake cluster, as it advertises itself.
func check(t testing.TB, c *kfake.Cluster, protocol string) kafka.ListenerCheck {
	t.Helper()
	host, port := hostPort(t, c.ListenAddrs()[0])
	return kafka.ListenerCheck{Addr: c.ListenAddrs()[0], Protocol: protocol, AdvertisedHost: host, AdvertisedPort: port, ServerName: "b0.example"}
}

func TestCheckListener(t *testing.T) {
	noLeaks(t)
	c := newCluster(t, 2)
	good := check(t, c, "PLAINTEXT")
	if err := kafka.CheckListener(within(t), good); err != nil {
		t.Error(err)
	}
	for _, tt := range []struct {
		name   string
		change func(*kafka.ListenerCheck)
		want   string
	}{
		{"port", func(k *kafka.ListenerCheck) { k.AdvertisedPort = 9093 }, "it advertises broker 0 as " + good.Addr + " and not as 127.0.0.1:9093"},
		{"host", func(k *kafka.ListenerCheck) { k.AdvertisedHost = "b0.example" }, "it advertises broker 0 as " + good.Addr + " and not as b0.example:"},
		{"broker", func(k *kafka.ListenerCheck) { k.Broker = 7 }, "its metadata does not name broker 7: the broker is not registered with this listener, or is fenced"},
		{"TLS", func(k *kafka.ListenerCheck) { k.Protocol = "SSL" }, "TLS handshake"},
		{"nobody", func(k *kafka.ListenerCheck) { k.Addr = "127.0.0.1:1" }, "connection refused"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bad := good
			tt.change(&bad)
			err := kafka.CheckListener(within(t), bad)
			if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.HasPrefix(err.Error(), "check the listener at "+bad.Addr) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

func TestCheckListenerThatIsNotKafka(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(conn, "SSH-2.0-OpenSSH_9.2\r\n")
		}
	}()
	err = kafka.CheckListener(within(t), kafka.ListenerCheck{Addr: l.Addr().String(), Protocol: "PLAINTEXT"})
	if err == nil || !strings.Contains(err.Error(), "this is not a Kafka listener") {
		t.Error(err)
	}
}

// A checker goes on over one connection, and over a new one when that died.
func TestCheckerKeepsItsConnection(t *testing.T) {
	noLeaks(t)
	c := newCluster(t, 1)
	k := check(t, c, "PLAINTEXT")
	var mu sync.Mutex
	var conns []net.Conn
	k.Dial = func(_ context.Context, network, addr string) (net.Conn, error) {
		conn, err := net.Dial(network, addr)
		mu.Lock()
		defer mu.Unlock()
		conns = append(conns, conn)
		return conn, err
	}
	checker := kafka.NewChecker(k)
	defer checker.Close()
	for i := range 4 {
		if i == 2 {
			_ = conns[0].Close()
		}
		if err := checker.Check(within(t)); err != nil {
			t.Fatal(err)
		}
	}
	if len(conns) != 2 {
		t.Errorf("%d connections for 4 checks and one that died", len(conns))
	}
}

func TestCheckTLS(t *testing.T) {
	noLeaks(t)
	ca := newAuthority(t)
	cert := ca.issue(t, "b0.example")
	c := newCluster(t, 1, kfake.TLS(&tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}))
	good := check(t, c, "SSL")
	if err := kafka.CheckListener(within(t), good); err != nil {
		t.Error(err)
	}
	other := good
	other.ServerName = "b1.example"
	var doubt *kafka.CertificateError
	if err := kafka.CheckListener(within(t), other); !errors.As(err, &doubt) || doubt.Name != "b1.example" {
		t.Errorf("a certificate for another name: %v", err)
	}
	known := good
	known.Login = &kafka.Login{Roots: ca.roots}
	if err := kafka.CheckListener(within(t), known); err != nil {
		t.Error(err)
	}
	known.Login = &kafka.Login{Roots: newAuthority(t).roots}
	if err := kafka.CheckListener(within(t), known); !errors.As(err, &doubt) {
		t.Errorf("a certificate of another authority: %v", err)
	}
	known.Login = &kafka.Login{Roots: func() (*x509.CertPool, error) { return nil, errors.New("no file") }}
	if err := kafka.CheckListener(within(t), known); !errors.As(err, &doubt) || !strings.HasSuffix(err.Error(), ": correct the agent's settings") {
		t.Errorf("what is wrong with our files makes no broker unfit: %v", err)
	}
	plain := good
	plain.Protocol = "PLAINTEXT"
	if err := kafka.CheckListener(within(t), plain); err == nil {
		t.Error("a TLS listener passes for a PLAINTEXT one")
	}
}

// A listener that wants a client certificate serves, whether we have one or not.
// What brokers do is tested on real ones in test/e2e (TestClosedListeners).
func TestCheckMutualTLS(t *testing.T) {
	ca := newAuthority(t)
	cert := ca.issue(t, "b0.example")
	pool := x509.NewCertPool()
	pool.AddCert(ca.cert)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		c := newCluster(t, 1, kfake.TLS(&tls.Config{
			Certificates: []tls.Certificate{cert}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool,
			MinVersion: version, MaxVersion: version,
		}))
		for _, tt := range []struct {
			name   string
			login  *kafka.Login
			unseen string
		}{
			{"no certificate", nil, "it asks for a certificate (ssl.client.auth), and the agent has none: give it one that a CA in the listener's ssl.truststore"},
			{"one of another authority", &kafka.Login{Roots: ca.roots, Certificate: always(newAuthority(t).issue(t, "agent"))}, "it does not accept the agent's certificate ("},
			{"one that has expired", &kafka.Login{Roots: ca.roots, Certificate: always(ca.issue(t, "agent", expired))}, "the agent's own certificate (CN=agent) has expired at "},
			{"a good one", &kafka.Login{Roots: ca.roots, Certificate: always(cert)}, ""},
		} {
			k := check(t, c, "SSL")
			k.Login = tt.login
			checker := kafka.NewChecker(k)
			if err := checker.Check(within(t)); err != nil {
				t.Errorf("TLS %x, %s: %v", version, tt.name, err)
			}
			if err := checker.Unseen(); (err != nil) != (tt.unseen != "") || err != nil && !strings.Contains(err.Error(), tt.unseen) {
				t.Errorf("TLS %x, %s: unseen is %v", version, tt.name, err)
			}
			checker.Close()
		}
		k := check(t, c, "SSL")
		k.Login = &kafka.Login{Roots: ca.roots, Certificate: always(cert)}
		k.Broker = 9 // with a certificate more is asked
		if err := kafka.CheckListener(within(t), k); err == nil {
			t.Errorf("TLS %x: broker 9 is not there", version)
		}
	}
}

// certificateLess is a TLS listener that lets nobody in, and counts.
type certificateLess struct {
	cfg            *tls.Config
	failed, silent atomic.Int32 // handshakes that ended with an alert, and without a word
}

func (s *certificateLess) dial(context.Context, string, string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	go func() {
		defer theirs.Close()
		switch err := tls.Server(theirs, s.cfg).Handshake(); {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrClosedPipe):
			s.silent.Add(1)
		default:
			s.failed.Add(1)
		}
	}()
	return ours, nil
}

// A broker logs each handshake that fails by an alert, and none that just ends
// (SslTransportLayer, Selector): an hour of checks makes few of the first kind.
func TestCheckerShowsItsCertificateRarely(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		synctest.Test(t, func(t *testing.T) {
			ca := newAuthority(t)
			pool := x509.NewCertPool()
			pool.AddCert(ca.cert)
			s := &certificateLess{cfg: &tls.Config{
				Certificates: []tls.Certificate{ca.issue(t, "b0.example")}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool,
				MinVersion: version, MaxVersion: version,
			}}
			checker := kafka.NewChecker(kafka.ListenerCheck{Addr: "x:1", Protocol: "SSL", AdvertisedHost: "b0.example", Dial: s.dial})
			defer checker.Close()
			for range 1800 {
				if err := checker.Check(within(t)); err != nil {
					t.Fatal(err)
				}
				time.Sleep(2 * time.Second)
			}
			if failed, silent := s.failed.Load(), s.silent.Load(); failed > 60 || silent < 1800 {
				t.Errorf("TLS %x: an hour has %d failed handshakes and %d silent ones", version, failed, silent)
			}
		})
	}
}

// A listener that has another security protocol than it had, since its broker was
// restarted, is asked once until that was learned: with the old protocol each check
// is a failed authentication. The new one shows nothing for a minute either.
// The bytes are what Kafka 3.7.1 and 4.4.0 answer at an SSL listener (a TLS alert).
func TestCheckerAsksAnotherProtocolOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dials := 0
		dial := func(context.Context, string, string) (net.Conn, error) {
			dials++
			ours, theirs := net.Pipe()
			go func() {
				defer theirs.Close()
				_, _ = theirs.Read(make([]byte, 1024))
				_, _ = theirs.Write([]byte("\x15\x03\x03\x00\x02\x02\x50"))
			}()
			return ours, nil
		}
		failures := &kafka.Failures{}
		checker := kafka.NewChecker(kafka.ListenerCheck{Addr: "x:1", Protocol: "PLAINTEXT", AdvertisedHost: "b0.example", Dial: dial, Failures: failures})
		defer checker.Close()
		look := func(want int) {
			t.Helper()
			for range 20 {
				if err := checker.Check(within(t)); err == nil || !strings.Contains(err.Error(), "the answer is one of TLS") {
					t.Errorf("it says %v", err)
				}
				time.Sleep(2 * time.Second)
			}
			if dials != want {
				t.Errorf("%d connections, want %d", dials, want)
			}
		}
		look(1)
		checker.Known()
		look(2)

		ca := newAuthority(t)
		s := &certificateLess{cfg: &tls.Config{Certificates: []tls.Certificate{ca.issue(t, "b0.example")}, ClientAuth: tls.RequireAnyClientCert}}
		mutual := kafka.NewChecker(kafka.ListenerCheck{Addr: "x:1", Protocol: "SSL", AdvertisedHost: "b0.example", Dial: s.dial, Failures: failures})
		defer mutual.Close()
		for range 60 {
			if err := mutual.Check(within(t)); err != nil {
				t.Error(err)
			}
			if s.silent.Load() < 5 && s.failed.Load() > 0 {
				t.Error("it was shown something at once")
			}
			time.Sleep(2 * time.Second)
		}
		if n := s.failed.Load(); n < 1 || n > 2 {
			t.Errorf("%d failed handshakes in two minutes", n)
		}
	})
}

// oneHello is a connection to a SASL listener as Kafka has it: the second request
// for the API versions ends it (SaslServerAuthenticator, KAFKA-3618). kfake answers any
// number of them; test/e2e has the same on real brokers.
type oneHello struct {
	net.Conn
	hellos int
}

func (c *oneHello) Write(b []byte) (int, error) {
	if len(b) >= 6 && binary.BigEndian.Uint16(b[4:]) == 18 {
		if c.hellos++; c.hellos > 1 {
			return len(b), c.Close()
		}
	}
	return c.Conn.Write(b)
}

func dialOneHello(_ context.Context, network, addr string) (net.Conn, error) {
	conn, err := net.Dial(network, addr)
	return &oneHello{Conn: conn}, err
}

func TestCheckSASL(t *testing.T) {
	noLeaks(t)
	for _, mechanism := range []string{"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"} {
		t.Run(mechanism, func(t *testing.T) {
			c := newCluster(t, 1, kfake.EnableSASL(), kfake.Superuser(mechanism, "agent", "secret"))
			var logins atomic.Int32
			c.ControlKey(17, func(kmsg.Request) (kmsg.Response, error, bool) { logins.Add(1); return nil, nil, false })
			k := check(t, c, "SASL_PLAINTEXT")
			k.Dial = dialOneHello
			without := kafka.NewChecker(k)
			defer without.Close()
			for range 3 {
				if err := without.Check(within(t)); err != nil || logins.Load() != 0 {
					t.Errorf("without a login: %v, %d logins", err, logins.Load())
				}
			}
			if err := without.Unseen(); err == nil || !strings.HasPrefix(err.Error(), "it asks for a login, and the agent has none: give it one") {
				t.Errorf("without a login unseen is %v", err)
			}
			k.Login = &kafka.Login{Mechanism: mechanism, User: user("agent", "secret")}
			if err := kafka.CheckListener(within(t), k); err != nil || logins.Load() != 1 {
				t.Errorf("with a login: %v, %d logins", err, logins.Load())
			}
			wrong := k
			wrong.Broker = 9
			if err := kafka.CheckListener(within(t), wrong); err == nil {
				t.Error("with a login more is asked, and broker 9 is not there")
			}
			logins.Store(0)
			c.ControlKey(36, func(r kmsg.Request) (kmsg.Response, error, bool) {
				c.KeepControl()
				resp := r.ResponseKind().(*kmsg.SASLAuthenticateResponse)
				resp.ErrorCode = kerr.SaslAuthenticationFailed.Code
				return resp, nil, true
			})
			k.Login = &kafka.Login{Mechanism: mechanism, User: user("agent", "wrong")}
			checker := kafka.NewChecker(k)
			defer checker.Close()
			for range 3 {
				if err := checker.Check(within(t)); err != nil {
					t.Errorf("a refused login makes no broker unfit: %v", err)
				}
			}
			if n := logins.Load(); n != 1 {
				t.Errorf("a refused login was tried %d times", n)
			}
			if err := checker.Unseen(); err == nil || !strings.HasPrefix(err.Error(), "it refused the agent's login: log in with "+mechanism) {
				t.Errorf("with a refused login unseen is %v", err)
			}
		})
	}
}
