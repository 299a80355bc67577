package kafka

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	// holdFirst is the wait after the first refused login at an address. It is short: a
	// broker that starts might not know its users yet.
	holdFirst = time.Second
	// holdMost bounds the wait, which doubles with each refusal.
	holdMost = time.Minute
	// holdTrial is how long all others wait, at most, for the outcome of the one login that
	// is tried after a hold; no longer than the hold was.
	holdTrial = 5 * time.Second
	// holdLook is how often a held login is compared with what the settings say now.
	holdLook = time.Second
)

// holds keeps a login that was refused from being tried again and again: Kafka logs and
// counts each failed authentication, and some clusters lock the account. It is of one
// login, and of all connections that are made with it: after a refusal at an address none
// is opened there for a second, then two, up to a minute. The hold ends when the login
// changes. Where nothing was refused it does nothing.
type holds struct {
	login Login

	mu sync.Mutex
	at map[string]*hold // by address (host:port); guarded by mu
}

// hold is what became of the last refused login at an address.
type hold struct {
	why    error
	with   credential    // what was refused
	wait   time.Duration // from holdFirst to holdMost; 0 after an end that may mean nothing
	since  time.Time     // of the last refusal
	until  time.Time
	looked time.Time // when the login was compared last
}

// heldError is an address at which no login is tried now.
type heldError struct {
	addr  string
	why   error
	until time.Time
}

// Error implements error. The cause is text only: nobody is to take this for one more refusal.
func (e *heldError) Error() string {
	return fmt.Sprintf(
		"the login at %s was refused, and the agent holds the next one back until %s, so the account is not locked (a change of the login in the settings or in their files, or a restart of the agent, ends that at once): %s",
		e.addr, e.until.UTC().Format(time.TimeOnly+"Z"), explain(e.why))
}

func newHolds(l Login) *holds { return &holds{login: l, at: map[string]*hold{}} }

// dialer opens connections with the login's TLS, unless the address is held.
func (h *holds) dialer(base DialFunc) DialFunc {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		t, err := h.enter(addr)
		if err != nil {
			return nil, err
		}
		config := func(host string) (*tls.Config, error) {
			cfg, err := h.login.tlsConfig(host)
			if cfg != nil {
				own := cfg.GetClientCertificate
				cfg.GetClientCertificate = func(info *tls.CertificateRequestInfo) (*tls.Certificate, error) {
					t.shows()
					return own(info)
				}
			}
			return cfg, err
		}
		conn, err := secured(base, config)(ctx, network, addr)
		if err != nil {
			t.unopened(err)
			return nil, err
		}
		return &triedConn{conn, t}, nil
	}
}

// enter returns a *heldError while the address is held, and else the attempt.
func (h *holds) enter(addr string) (*attempt, error) {
	t := &attempt{holds: h, addr: addr, begun: time.Now()}
	h.mu.Lock()
	defer h.mu.Unlock()
	held := h.at[addr]
	switch {
	case held == nil:
		return t, nil
	case !t.begun.Before(held.until):
		held.until = t.begun.Add(min(holdTrial, held.wait)) // the others wait for what this one finds
		return t, nil
	case t.begun.Sub(held.looked) >= holdLook:
		held.looked = t.begun
		with, err := held.with, &heldError{addr, held.why, held.until}
		h.mu.Unlock()
		now, known := h.login.credential()
		h.mu.Lock()
		if known && !now.equal(with) {
			return t, nil
		}
		return nil, err
	}
	return nil, &heldError{addr, held.why, held.until}
}

// refused begins the next hold at the attempt's address.
func (h *holds) refused(t *attempt, why error) {
	if h.login.Refused != nil {
		h.login.Refused()
	}
	with, known := h.login.credential()
	h.mu.Lock()
	defer h.mu.Unlock()
	now, held := time.Now(), h.at[t.addr]
	switch {
	case held == nil, known && !held.with.equal(with):
		held = &hold{wait: holdFirst, with: with}
		if _, is := errors.AsType[*endedError](why); is {
			held.wait = 0 // once that says nothing, see twice
		}
		h.at[t.addr] = held
	case !t.begun.After(held.since):
		return // it was under way already when another one was refused
	default:
		held.wait = min(max(2*held.wait, holdFirst), holdMost)
	}
	held.why, held.since, held.until, held.looked = why, now, now.Add(held.wait), now
}

// accepted ends the hold.
func (h *holds) accepted(addr string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.at, addr)
}

// untold ends the wait of the others for an attempt that has shown nothing.
func (h *holds) untold(t *attempt) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if held := h.at[t.addr]; held != nil && t.begun.After(held.since) {
		held.until = time.Now()
	}
}

// attempt is a connection of which is not known yet whether the broker lets us in.
type attempt struct {
	holds *holds
	addr  string
	begun time.Time

	mu      sync.Mutex
	over    bool // the outcome is known
	shown   bool // our certificate, or that we have none
	waits   bool // for the answer to what was written last
	answers int
}

// settle notes the outcome of a login, once: nil if it went well. A network that
// failed is none.
func (t *attempt) settle(err error) {
	told := err == nil || isRefusal(err)
	t.mu.Lock()
	known := t.over
	t.over = known || told
	t.mu.Unlock()
	switch {
	case known:
	case !told:
		t.holds.untold(t)
	case err == nil:
		t.holds.accepted(t.addr)
	default:
		t.holds.refused(t, err)
	}
}

// isRefusal is true for an answer that Kafka counts as a failed authentication, and for
// what it says where it expects another security protocol.
func isRefusal(err error) bool {
	for _, k := range []error{
		kerr.SaslAuthenticationFailed, kerr.UnsupportedSaslMechanism, kerr.IllegalSaslState, errSpeaksTLS,
	} {
		if errors.Is(err, k) {
			return true
		}
	}
	if _, is := errors.AsType[*tokenError](err); is {
		return true
	}
	if _, is := errors.AsType[*endedError](err); is {
		return true
	}
	network, is := errors.AsType[*net.OpError](err)
	return is && network.Op == remoteAlert || strings.Contains(err.Error(), alertRecord)
}

// isBroken is true for a TLS handshake that came to an end, by either side: a failed
// authentication to Kafka.
func isBroken(err error) bool {
	_, is := errors.AsType[*handshakeError](err)
	late, timed := errors.AsType[net.Error](err)
	return is && (!timed || !late.Timeout()) && !errors.Is(err, context.DeadlineExceeded) &&
		!errors.Is(err, context.Canceled)
}

// unopened is a connection that was not made.
func (t *attempt) unopened(err error) {
	if isBroken(err) {
		t.holds.refused(t, err)
		return
	}
	t.holds.untold(t)
}

// shows notes that the listener has asked who we are.
func (t *attempt) shows() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.shown = true
}

// wrote notes a request, heard an answer. The first one is to a request that brokers
// answer to everybody; where nobody logs in, the second one shows that we are in.
func (t *attempt) wrote() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.waits = true
}

func (t *attempt) heard() {
	t.mu.Lock()
	if t.waits {
		t.waits = false
		t.answers++
	}
	in := !t.over && t.answers > 1 && !t.holds.login.usesSASL()
	t.mu.Unlock()
	if in {
		t.settle(nil)
	}
}

// ended notes that the other side has ended the connection. Kafka says no more to a
// client that it does not let in by its certificate, that it expected to log in, or
// whose token is none; and it ends a connection just so when it stops.
func (t *attempt) ended(err error) {
	t.mu.Lock()
	early := !t.over && (t.answers > 0 || t.shown)
	t.mu.Unlock()
	if isRefusal(err) {
		t.settle(err)
	} else if early &&
		(errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET)) {
		t.settle(&endedError{err})
	}
}

// endedError is a connection that the broker ended before it let us in.
type endedError struct{ err error }

func (e *endedError) Error() string {
	return "the broker ended the connection before it let the agent in: " + e.err.Error()
}
func (e *endedError) Unwrap() error { return e.err }

// triedConn tells the attempt what it sees.
type triedConn struct {
	net.Conn
	*attempt
}

// Read implements net.Conn.
func (c *triedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n > 0 {
		c.heard()
	}
	if err != nil {
		c.ended(err)
	}
	return n, err
}

// Write implements net.Conn.
func (c *triedConn) Write(b []byte) (int, error) {
	c.wrote()
	return c.Conn.Write(b)
}

// settled notes the outcome of the login on a connection of a holds.
func settled(conn net.Conn, login bool, err error) {
	if c, is := conn.(*triedConn); is && (login || err != nil) {
		c.settle(err)
	}
}

// pinned is the dialer as franz-go's client needs it: one that cannot dial an address
// goes on to the next broker, where any can answer.
func pinned(dial DialFunc) DialFunc {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dial(ctx, network, addr)
		if held, is := errors.AsType[*heldError](err); is {
			return nil, &net.OpError{Op: "dial", Err: held}
		}
		return conn, err
	}
}

// logins tells a holds what becomes of the logins of franz-go's client.
type logins struct{ sasl bool }

var _ kgo.HookBrokerConnect = logins{}

// OnBrokerConnect implements kgo.HookBrokerConnect. It is called after the login.
func (l logins) OnBrokerConnect(_ kgo.BrokerMetadata, _ time.Duration, conn net.Conn, err error) {
	settled(conn, l.sasl, err)
}

// credential is what a login shows. A secret is not kept, only its digest.
type credential struct {
	digest [sha256.Size]byte
	roots  *x509.CertPool
}

func (c credential) equal(o credential) bool {
	if c.roots == nil || o.roots == nil {
		return c.roots == o.roots && c.digest == o.digest
	}
	return c.digest == o.digest && c.roots.Equal(o.roots)
}

// credential reads what the login would show now; known is false if not all of it can be read.
func (l Login) credential() (c credential, known bool) {
	var text bytes.Buffer
	add := func(parts ...string) {
		for _, p := range parts {
			fmt.Fprintf(&text, "%d %s\n", len(p), p)
		}
	}
	var errs []error
	if l.usesTLS() {
		roots, err := l.roots()
		c.roots = roots
		errs = append(errs, err)
		cert, err := l.clientCertificate(nil)
		errs = append(errs, err)
		if cert != nil {
			for _, der := range cert.Certificate {
				add(string(der))
			}
		}
	}
	if l.usesSASL() && l.User != nil {
		name, password, err := l.User()
		errs = append(errs, err)
		add(name, password)
	}
	if l.usesSASL() && l.TokenFrom != nil {
		from, err := l.TokenFrom()
		errs = append(errs, err)
		add(from)
	}
	c.digest = sha256.Sum256(text.Bytes())
	return c, errors.Join(errs...) == nil
}
