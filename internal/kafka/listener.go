package kafka

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/sasl"
)

// ListenerCheck is what one listener of one broker must answer.
type ListenerCheck struct {
	// Addr is where to dial it (host:port), usually an address of this VM.
	Addr string
	// Protocol is the listener's security protocol.
	Protocol string
	// Broker must be named, with this advertised host and port.
	Broker         int32
	AdvertisedHost string
	AdvertisedPort int
	// Login logs in to the listener; its Protocol is not used. Without one, and
	// for ten minutes after the listener refused it, a SASL listener is only asked
	// for its API versions, which Kafka answers before any login; and a listener
	// that does not accept our certificate is only seen to ask for one. A login that
	// is wrong, or meant for another listener, makes no broker unfit to serve.
	Login *Login
	// ServerName is the name the certificate must be valid for; empty is AdvertisedHost.
	ServerName string
	// Failures is shared by all checks of one listener, whatever it was before. nil is
	// of this check alone.
	Failures *Failures
	// Metrics counts the requests; nil counts nothing.
	Metrics *Metrics
	// Dial replaces the network in tests; nil is TCP.
	Dial DialFunc
}

// CertificateError says that a listener serves rightly, with a certificate that
// clients who verify it will not accept. Whether that matters is the caller's to say.
type CertificateError struct {
	Addr, Name string
	Err        error
}

// Error implements error.
func (e *CertificateError) Error() string {
	next := cmp.Or(certificateAdvice(e.Err, "the client"), "correct the agent's settings")
	return fmt.Sprintf(
		"the certificate that the listener at %s shows is in doubt for %s: %v; clients that verify it will refuse the broker: %s",
		e.Addr, e.Name, e.Err, next)
}

// Unwrap returns what is wrong with the certificate.
func (e *CertificateError) Unwrap() error { return e.Err }

// CheckListener checks a listener once, over a connection of its own.
func CheckListener(ctx context.Context, check ListenerCheck) error {
	c := NewChecker(check)
	defer c.Close()
	return c.Check(ctx)
}

const (
	// askAgain is how long a login or a certificate that the listener refused is not
	// shown to it again: each time is a failed authentication in the broker's log and metrics.
	askAgain = 10 * time.Minute
	// askSoon is the same where the connection ended without a word about the
	// certificate: it may have been another end, of a broker that stops. Between two
	// failed authentications at one listener are as much.
	askSoon = time.Minute
)

// Failures knows when a listener last logged a failed authentication of ours. For a
// minute nothing is shown to it that it could refuse. The zero value is ready.
type Failures struct {
	mu   sync.Mutex
	last time.Time // guarded by mu
}

func (f *Failures) note() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.last = time.Now()
}

func (f *Failures) soon() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return !f.last.IsZero() && time.Since(f.last) < askSoon
}

// Checker checks one listener again and again over one connection, so the
// broker is spared a TCP and TLS handshake and a login for each check. A listener
// that does not let us in is asked over a new one each time, and only for what it
// answers to everybody.
type Checker struct {
	check ListenerCheck

	mu       sync.Mutex // held through a check: they are made one after another
	wire     *wire
	cert     error   // what is wrong with the certificate of the connection
	login    refusal // of our user
	identity refusal // of our certificate, or of our having none
	protocol refusal // of what we take for the listener's security protocol
	unseen   error   // why the last check saw the listener from outside only
}

// refusal is what a listener did not take, and when it may be shown again.
type refusal struct {
	why   error
	until time.Time
}

func (r *refusal) begin(why error, lasts time.Duration) { r.why, r.until = why, time.Now().Add(lasts) }
func (r *refusal) lasts() bool                          { return time.Now().Before(r.until) }

// NewChecker returns a checker that has not connected yet.
func NewChecker(check ListenerCheck) *Checker {
	if check.Failures == nil {
		check.Failures = &Failures{}
	}
	return &Checker{check: check}
}

// Known tells the checker that the listener's security protocol was learned again,
// from the process that runs now. A listener that spoke another one is not asked for
// a minute, unless somebody knows more: the process may be another one, whose
// listener is not what it was.
func (c *Checker) Known() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.protocol = refusal{}
}

// Close ends the connection.
func (c *Checker) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.drop()
}

func (c *Checker) drop() {
	if c.wire != nil {
		c.wire.close()
		c.wire = nil
	}
}

// Check returns nil if the listener serves this broker under its advertised
// name and port, and a *CertificateError if only its certificate is in doubt.
// After any other error the next check begins with a new connection. What a
// listener tells only to those that it lets in is taken for granted where it does
// not let us in; Unseen says so.
func (c *Checker) Check(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.ask(ctx); err != nil {
		c.drop()
		return fmt.Errorf("check the listener at %s: %w", c.check.Addr, err)
	}
	if c.cert != nil {
		return &CertificateError{Addr: c.check.Addr, Name: c.name(), Err: c.cert}
	}
	return nil
}

// Unseen says why the last good check saw the listener from outside only: that it
// answers, and not whom it names and advertises. nil if it saw all.
func (c *Checker) Unseen() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.unseen
}

func (c *Checker) name() string {
	if c.check.ServerName != "" {
		return c.check.ServerName
	}
	return c.check.AdvertisedHost
}

// ask asks on the connection there is and, if that has died since the last
// check or there is none, on a new one.
func (c *Checker) ask(ctx context.Context) error {
	if c.wire != nil {
		if err := c.question(ctx); err == nil || ctx.Err() != nil {
			return err
		}
		c.drop()
	}
	if c.protocol.lasts() {
		return c.protocol.why
	}
	err := c.askAnew(ctx)
	if _, other := errors.AsType[*otherProtocolError](err); other {
		c.protocol.begin(err, askSoon)
		c.check.Failures.note()
	}
	return err
}

// askAnew asks on a new connection.
func (c *Checker) askAnew(ctx context.Context) error {
	asked, err := c.connect(ctx)
	if err != nil && asked && !c.identity.lasts() && ctx.Err() == nil {
		// As a rule an alert says so; it can get lost, since the broker ends the
		// connection. What the listener answers to everybody decides.
		lasts := askSoon
		if aboutCertificate(err) || c.identity.why != nil {
			lasts = askAgain
		}
		c.identity.begin(err, lasts)
		c.check.Failures.note()
		_, err = c.connect(ctx)
	}
	if _, refused := errors.AsType[*refusedError](err); refused {
		c.login.begin(err, askAgain)
		c.check.Failures.note()
		c.drop()
		_, err = c.connect(ctx)
	}
	if err != nil {
		return err
	}
	if !c.inside() {
		// Before a login Kafka answers one request for the API versions, and ends the
		// connection at a second one (SaslServerAuthenticator, KAFKA-3618).
		c.drop()
		return nil
	}
	err = c.question(ctx)
	if errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) {
		// It has just answered, and ends the connection at the first request after that.
		err = &otherProtocolError{
			fmt.Errorf("it ends the connection at a request that needs no login in %s: %w", c.check.Protocol, err),
		}
	}
	return err
}

// otherProtocolError is a listener that seems to have another security protocol.
type otherProtocolError struct{ err error }

func (e *otherProtocolError) Error() string { return e.err.Error() }
func (e *otherProtocolError) Unwrap() error { return e.err }

// inside is true if the listener has let us in.
func (c *Checker) inside() bool { return c.unseen == nil }

// mechanism returns nil if we do not log in; mute says why not, if the listener
// talks only to those who do.
func (c *Checker) mechanism() (mech sasl.Mechanism, mute error) {
	login := c.credentials()
	switch {
	case !login.usesSASL():
		return nil, nil
	case c.cert != nil:
		return nil, errors.New("a password is not sent to a broker whose certificate is in doubt")
	case c.login.lasts():
		return nil, fmt.Errorf("it refused the agent's login: %w", explain(c.login.why))
	case login.Mechanism != "" && c.check.Failures.soon():
		return nil, errors.New(
			"less than a minute ago it logged a failed authentication of the agent; the login is tried again then")
	case login.Mechanism == "":
		return nil, errors.New(
			"it asks for a login, and the agent has none: give it one that this listener knows (kafka.sasl in its settings, or kafka.client_properties)")
	}
	mech, err := login.mechanism()
	return mech, err
}

// noIdentity says why the listener does not let us in for want of a certificate.
func (c *Checker) noIdentity() error {
	const give = "give it one that a CA in the listener's ssl.truststore has signed (kafka.tls.cert_file and kafka.tls.key_file in its settings, or ssl.keystore.location in kafka.client_properties)"
	cert, err := c.credentials().clientCertificate(nil)
	switch {
	case !c.identity.lasts():
		return errors.New(
			"it asks for a certificate (ssl.client.auth), and less than a minute ago it logged a failed authentication of the agent; it is shown one then")
	case err != nil:
		return fmt.Errorf("it asks for a certificate (ssl.client.auth), and the agent's cannot be used: %w",
			explain(err))
	case len(cert.Certificate) == 0:
		return errors.New("it asks for a certificate (ssl.client.auth), and the agent has none: " + give)
	}
	return fmt.Errorf("it does not accept the agent's certificate (%w): %s", c.identity.why, give)
}

func (c *Checker) credentials() Login {
	login := Login{}
	if c.check.Login != nil {
		login = *c.check.Login
	}
	login.Protocol = c.check.Protocol
	return login
}

func (c *Checker) question(ctx context.Context) error {
	req := kmsg.NewPtrMetadataRequest()
	req.Topics = []kmsg.MetadataRequestTopic{}
	resp, err := ask[*kmsg.MetadataResponse](ctx, c.wire, req)
	if err != nil {
		return err
	}
	return c.named(resp)
}

// errAsked ends a TLS handshake in which the listener has shown its certificate and
// asked for ours. It is an answer; and to a broker a connection that ends there is
// no failed authentication, as one with the wrong certificate is.
var errAsked = errors.New("it asks for a certificate")

// connect does not fail over the broker's certificate, which is for its
// clients to judge; it looks at it for a warning. Without a login, so without
// a CA, that is the name in it; with one, all of it. asked is true if the listener
// asked for our certificate. Where that is all it does, there is no connection.
func (c *Checker) connect(ctx context.Context) (asked bool, err error) {
	c.cert, c.unseen = nil, nil
	base := c.check.Dial
	if base == nil {
		base = (&net.Dialer{}).DialContext
	}
	var raw net.Conn
	dial := func(ctx context.Context, network, addr string) (_ net.Conn, err error) {
		raw, err = base(ctx, network, addr)
		return raw, err
	}
	config := func(string) (*tls.Config, error) {
		return c.tlsConfig(func(info *tls.CertificateRequestInfo) (*tls.Certificate, error) {
			asked = true
			if c.identity.lasts() || c.check.Failures.soon() {
				_ = raw.Close() // before crypto/tls tells the broker that something is wrong
				return nil, errAsked
			}
			if cert, err := c.credentials().clientCertificate(info); err == nil {
				return cert, nil
			}
			return &tls.Certificate{}, nil
		})
	}
	w, err := connect(ctx, secured(dial, config), c.check.Addr, c.check.Metrics)
	switch {
	case errors.Is(err, errAsked):
		c.unseen = c.noIdentity()
		return true, nil
	case err != nil:
		return asked, err
	}
	c.wire, c.identity = w, refusal{}
	mech, mute := c.mechanism()
	c.unseen = mute
	return false, w.login(ctx, mech)
}

// tlsConfig accepts every certificate of the broker and notes what is wrong with
// it. What is wrong with our own files makes no broker unfit to serve, either.
func (c *Checker) tlsConfig(own func(*tls.CertificateRequestInfo) (*tls.Certificate, error)) (*tls.Config, error) {
	login := c.credentials()
	cfg, err := Login{Protocol: login.Protocol}.tlsConfig(c.name())
	if err != nil || cfg == nil {
		return cfg, err
	}
	cfg.GetClientCertificate = own
	cfg.InsecureSkipVerify = true
	cfg.VerifyConnection = func(s tls.ConnectionState) error {
		if c.check.Login == nil {
			c.cert = s.PeerCertificates[0].VerifyHostname(c.name())
			return nil
		}
		roots, err := login.roots()
		if err == nil {
			err = verifyChain(s.PeerCertificates, roots, c.name())
		}
		c.cert = err
		return nil
	}
	return cfg, nil
}

// aboutCertificate is true if the broker ended a TLS handshake over our
// certificate, or over having got none.
func aboutCertificate(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == remoteAlert && strings.Contains(op.Err.Error(), "certificate")
}

// named checks that the metadata names the broker as it should.
func (c *Checker) named(resp *kmsg.MetadataResponse) error {
	want := net.JoinHostPort(c.check.AdvertisedHost, strconv.Itoa(c.check.AdvertisedPort))
	for _, b := range resp.Brokers {
		if b.NodeID != c.check.Broker {
			continue
		}
		if got := net.JoinHostPort(b.Host, strconv.Itoa(int(b.Port))); got != want {
			return fmt.Errorf("it advertises broker %d as %s and not as %s", b.NodeID, got, want)
		}
		return nil
	}
	return fmt.Errorf(
		"its metadata does not name broker %d: the broker is not registered with this listener, or is fenced",
		c.check.Broker)
}
