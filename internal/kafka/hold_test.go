package kafka_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"example.com/kpls-agent/internal/kafka"
	"example.com/kpls-agent/test/patience"
)

// locked is an agent in fake time whose login one broker does not take, and all that
// an agent does meanwhile: the log is read, the cluster and the own broker are asked.
type locked struct {
	t       *testing.T
	kafka   *kfake.Cluster
	network kfake.VirtualNetwork
	client  *kafka.Client
	dial    kafka.DialFunc // the network's, if nil

	mu       sync.Mutex
	down     bool        // nobody listens; guarded by mu
	password string      // guarded by mu
	accepts  string      // what the broker takes for the password; guarded by mu
	opened   []time.Time // connections; guarded by mu
	refused  []time.Time // failed authentications; guarded by mu
}

var errNobody = &net.OpError{Op: "dial", Err: errors.New("connection refused")}

func newLocked(t *testing.T, login kafka.Login, opts ...kfake.Opt) *locked {
	t.Helper()
	l := &locked{t: t, password: "wrong", accepts: "secret"}
	l.kafka = newCluster(t, 1, append(opts, kfake.ListenFn(l.network.Listen), kfake.Ports(rollPort))...)
	if strings.HasPrefix(login.Protocol, "SASL") && login.User == nil {
		login.User = func() (string, string, error) {
			l.mu.Lock()
			defer l.mu.Unlock()
			return "agent", l.password, nil
		}
	}
	l.client = open(t, l.kafka, func(o *kafka.Options) {
		o.Seeds, o.OwnAddress, o.Login = []string{addr(0)}, addr(0), login
		o.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
			l.note(&l.opened)
			l.mu.Lock()
			down := l.down
			l.mu.Unlock()
			switch {
			case down:
				return nil, errNobody
			case l.dial != nil:
				return l.dial(ctx, network, addr)
			}
			return l.network.DialContext(ctx, network, addr)
		}
	})
	return l
}

func (l *locked) note(list *[]time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	*list = append(*list, time.Now())
}

// since counts what was noted in the last while.
func (l *locked) since(list *[]time.Time, while time.Duration) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, at := range *list {
		if time.Since(at) < while {
			n++
		}
	}
	return n
}

// set changes what mu guards.
func (l *locked) set(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f()
}

func (l *locked) change(password string) { l.set(func() { l.password = password }) }

// accept makes the broker take the password as it is.
func (l *locked) accept() { l.set(func() { l.accepts = l.password }) }

// live does what an agent does until the test ends or calls what it returns.
func (l *locked) live() (stop func()) {
	ctx, cancel := context.WithCancel(l.t.Context())
	var all sync.WaitGroup
	all.Go(func() { _ = l.client.Log().Run(ctx) })
	for _, ask := range []func(){
		func() { l.client.Observe(ctx) },
		func() { _, _ = l.client.BrokerConfig(ctx) }, // alone: time stands still while somebody waits for a mutex
	} {
		all.Go(func() {
			for ctx.Err() == nil {
				ask()
				time.Sleep(300 * time.Millisecond)
			}
		})
	}
	stop = func() { cancel(); all.Wait() }
	l.t.Cleanup(stop)
	return stop
}

// within waits for the way in.
func (l *locked) within(limit time.Duration) {
	l.t.Helper()
	in := func() bool { f := l.client.Log().Facts(); return !f.At.IsZero() || f.Missing } // the broker has answered
	for begin := time.Now(); !in(); time.Sleep(20 * time.Millisecond) {
		if time.Since(begin) > limit {
			l.t.Fatalf("not in within %s: %s", limit, l.client.Log().Facts().Err)
		}
	}
}

// quiet holds that hardly any login is tried, and that all who ask say why.
func (l *locked) quiet(says string) {
	l.t.Helper()
	stop := l.live()
	time.Sleep(time.Minute)
	// At 0, 1, 3, 7, 15 and 31 s; before the first outcome more. An end without a word
	// counts from the second one on, and here all that come at once are one.
	if n := l.since(&l.refused, time.Minute+1); n < 6 || n > 12 {
		l.t.Errorf("%d tries in the first minute", n)
	}
	time.Sleep(10 * time.Minute)
	if n := l.since(&l.refused, 10*time.Minute); n < 9 || n > 10 {
		l.t.Errorf("%d tries in ten minutes", n)
	}
	stop()
	l.says(says)
}

// says holds what all who ask tell.
func (l *locked) says(texts ...string) {
	l.t.Helper()
	_, err := l.client.BrokerConfig(l.t.Context())
	if !kafka.LoginRefused(err) {
		l.t.Errorf("it is no refused login: %v", err)
	}
	for who, text := range map[string]string{
		"the own broker": fmt.Sprint(err), "the log": l.client.Log().Facts().Err, "the cluster": l.client.Observe(l.t.Context()).Err,
	} {
		for _, want := range append(texts, "was refused, and the agent holds the next one back until ") {
			if !strings.Contains(text, want) {
				l.t.Errorf("%s does not say %q: %s", who, want, text)
			}
		}
	}
}

// refuse makes the broker answer a request (all but ApiVersions, if key is 0) with an
// error, or hang up if code is 0, while it does not take the password.
func (l *locked) refuse(key, code int16) {
	l.kafka.Control(func(r kmsg.Request) (kmsg.Response, error, bool) {
		l.kafka.KeepControl()
		l.mu.Lock()
		good := l.password == l.accepts
		l.mu.Unlock()
		if good || r.Key() == apiVersions || key != 0 && r.Key() != key {
			return nil, nil, false
		}
		l.note(&l.refused)
		if code == 0 {
			return nil, errors.New("hang up"), true
		}
		resp := r.ResponseKind()
		switch resp := resp.(type) {
		case *kmsg.SASLAuthenticateResponse:
			resp.ErrorCode = code
		case *kmsg.SASLHandshakeResponse:
			resp.ErrorCode = code
		}
		return resp, nil, true
	})
}

const (
	handshake    = 17
	apiVersions  = 18
	authenticate = 36
)

// TestHeldLogins: a login that is refused is shown about once a minute, whoever asks,
// and at once when it changes. TestMatrixHeldLogins has the same on real brokers.
func TestHeldLogins(t *testing.T) {
	plain := kafka.Login{Protocol: "SASL_PLAINTEXT", Mechanism: "PLAIN"}
	token := kafka.Login{Protocol: "SASL_PLAINTEXT", Mechanism: "OAUTHBEARER", Token: func(context.Context) (string, map[string]string, error) { return "e30.e30.", nil, nil }}
	for name, tt := range map[string]struct {
		login kafka.Login
		key   int16 // that refuses
		code  int16
		says  string
	}{
		"password":  {plain, authenticate, kerr.SaslAuthenticationFailed.Code, "SASL_AUTHENTICATION_FAILED"},
		"mechanism": {plain, handshake, kerr.UnsupportedSaslMechanism.Code, "the listener does not offer this SASL mechanism"},
		"no SASL":   {plain, handshake, kerr.IllegalSaslState.Code, "the listener does not expect a login"},
		"an end":    {token, authenticate, 0, "its log says what it has against the agent's login"},
		"no login":  {kafka.Login{}, 0, 0, "its log says what it has against the agent's login"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLocked(t, tt.login, sasl(tt.login)...)
				l.refuse(tt.key, tt.code)
				if tt.login.Mechanism == "OAUTHBEARER" { // which the fake does not have
					l.kafka.ControlKey(handshake, func(r kmsg.Request) (kmsg.Response, error, bool) {
						l.kafka.KeepControl()
						return r.ResponseKind(), nil, true
					})
				}
				l.quiet(tt.says)
			})
		})
	}
}

func sasl(login kafka.Login) []kfake.Opt {
	if login.Mechanism == "" {
		return nil
	}
	return []kfake.Opt{kfake.EnableSASL(), kfake.Superuser("PLAIN", "agent", "secret")}
}

// TestHeldHandshakes: the same for TLS that does not come about, by either side. In real
// time: in a synctest bubble TLS needs a network with buffers. What a listener says to
// the wrong security protocol, the fake does not: TestMatrixHeldLogins.
func TestHeldHandshakes(t *testing.T) {
	t.Parallel()
	ca, stranger := newAuthority(t), newAuthority(t)
	pool, _ := ca.roots()
	config := &tls.Config{Certificates: []tls.Certificate{ca.issue(t, "b0.example")}, MinVersion: tls.VersionTLS13}
	mutual := config.Clone()
	mutual.ClientAuth, mutual.ClientCAs = tls.RequireAndVerifyClientCert, pool
	for name, tt := range map[string]struct {
		login  kafka.Login
		config *tls.Config
		says   string
	}{
		"the broker's certificate": {kafka.Login{Protocol: "SSL", Roots: stranger.roots, ServerName: "b0.example"}, config, "add the certificate of who signed it"},
		"our certificate":          {kafka.Login{Protocol: "SSL", Roots: ca.roots, ServerName: "b0.example"}, mutual, "give the agent a certificate that is valid"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := &locked{t: t}
			l.kafka = newCluster(t, 1, kfake.TLS(tt.config))
			l.client = open(t, l.kafka, func(o *kafka.Options) {
				o.Login = tt.login
				o.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
					l.note(&l.opened)
					return (&net.Dialer{}).DialContext(ctx, network, addr)
				}
			})
			stop := l.live()
			begin := time.Now()
			patience.Until(t, "two seconds are over", func() bool { return time.Since(begin) > 2*time.Second })
			n := l.since(&l.opened, time.Hour)
			stop()
			// At 0 and 1 s, and two more before the first outcome.
			if n < 2 || n > 4 {
				t.Errorf("%d tries in 2 s", n)
			}
			l.says(tt.says)
		})
	}
}

// TestHoldEnds: at once when the login changes, within the hold when the broker does,
// and within seconds when the broker only did not know its users yet.
func TestHoldEnds(t *testing.T) {
	plain := kafka.Login{Protocol: "SASL_PLAINTEXT", Mechanism: "PLAIN"}
	for name, f := range map[string]func(*testing.T, *locked){
		"the login": func(t *testing.T, l *locked) {
			time.Sleep(30 * time.Minute)
			l.change("still wrong")
			time.Sleep(2 * time.Second)
			if n := l.since(&l.refused, 2*time.Second); n == 0 {
				t.Error("another password is not tried")
			}
			time.Sleep(30 * time.Minute)
			l.change("secret")
			l.within(3 * time.Second)
		},
		"the broker": func(_ *testing.T, l *locked) {
			time.Sleep(30 * time.Minute)
			l.accept()
			l.within(time.Minute + 3*time.Second)
		},
		"a broker that is restarted": func(_ *testing.T, l *locked) {
			time.Sleep(30 * time.Minute)
			l.set(func() { l.down = true })
			time.Sleep(90 * time.Second)
			l.set(func() { l.down, l.accepts = false, l.password })
			l.within(3 * time.Second)
		},
		"a broker that starts": func(_ *testing.T, l *locked) {
			time.Sleep(2 * time.Second)
			l.accept()
			l.within(4 * time.Second)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLocked(t, plain, sasl(plain)...)
				if name != "the login" {
					l.password, l.accepts = "secret", "another" // the fake itself takes the one
				}
				l.refuse(authenticate, kerr.SaslAuthenticationFailed.Code)
				l.live()
				f(t, l)
			})
		})
	}
}

// TestHeldTokens: a token that was refused is dropped, so the next try has another one; that
// alone ends no hold, and another endpoint, or another token in the file, does.
func TestHeldTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		from, asked, dropped := "one", 0, 0
		l := newLocked(t, kafka.Login{
			Protocol: "SASL_PLAINTEXT", Mechanism: "OAUTHBEARER",
			Token: func(context.Context) (string, map[string]string, error) {
				mu.Lock()
				defer mu.Unlock()
				asked++
				return "e30.e30.", nil, nil
			},
			TokenFrom: func() (string, error) {
				mu.Lock()
				defer mu.Unlock()
				if from == "" {
					return "", errors.New("it is being replaced")
				}
				return from, nil
			},
			Refused: func() {
				mu.Lock()
				defer mu.Unlock()
				dropped++
			},
		}, kfake.EnableSASL(), kfake.Superuser("PLAIN", "agent", "secret"))
		l.refuse(handshake, kerr.SaslAuthenticationFailed.Code)
		l.live()
		set := func(text string, want int) {
			t.Helper()
			mu.Lock()
			from = text
			mu.Unlock()
			before := l.since(&l.refused, time.Hour)
			time.Sleep(2 * time.Second)
			if n := l.since(&l.refused, time.Hour) - before; n < want || want == 0 && n > 1 { // one may be the try of this minute
				t.Errorf("from %q: %d tries", text, n)
			}
		}
		time.Sleep(10 * time.Minute)
		set("", 0)
		set("two", 1)
		mu.Lock()
		defer mu.Unlock()
		if n := l.since(&l.refused, time.Hour); dropped == 0 || dropped > n || asked != 0 {
			t.Errorf("%d tokens dropped at %d refusals; asked for %d, though no handshake went well", dropped, n, asked)
		}
	})
}

// TestNetworkIsNotHeld: what is no refusal holds nothing back.
func TestNetworkIsNotHeld(t *testing.T) {
	ca := newAuthority(t)
	for name, tt := range map[string]struct {
		login kafka.Login
		dial  kafka.DialFunc
	}{
		"nobody listens": {kafka.Login{}, func(context.Context, string, string) (net.Conn, error) { return nil, errNobody }},
		"an end at the first bytes": {kafka.Login{}, func(context.Context, string, string) (net.Conn, error) {
			here, there := net.Pipe()
			go func() { _, _ = io.ReadFull(there, make([]byte, 8)); _ = there.Close() }()
			return here, nil
		}},
		"silence in the handshake": {kafka.Login{Protocol: "SSL", Roots: ca.roots}, func(context.Context, string, string) (net.Conn, error) {
			here, there := net.Pipe()
			go func() { _, _ = io.Copy(io.Discard, there) }()
			return here, nil
		}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLocked(t, tt.login)
				l.dial = tt.dial
				stop := l.live()
				time.Sleep(10 * time.Minute)
				stop()
				if n := l.since(&l.opened, time.Minute); n < 20 {
					t.Errorf("%d connections tried in the last minute", n)
				}
				if _, err := l.client.Version(t.Context()); err == nil || kafka.LoginRefused(err) {
					t.Errorf("it is taken for a refused login: %v", err)
				}
			})
		})
	}
}
