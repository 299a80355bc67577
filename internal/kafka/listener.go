package kafka

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"

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
	// after the listener refused it, a SASL listener is only asked for its API
	// versions, which Kafka answers before any login; and a listener that does
	// not accept our certificate is only seen to ask for one. A login that is
	// wrong, or meant for another listener, makes no broker unfit to serve.
	Login *Login
	// ServerName is the name the certificate must be valid for; empty is AdvertisedHost.
	ServerName string
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
	return fmt.Sprintf("the certificate that the listener at %s shows is in doubt for %s: %v; clients that verify it will refuse the broker: %s", e.Addr, e.Name, e.Err, next)
}

// Unwrap returns what is wrong with the certificate.
func (e *CertificateError) Unwrap() error { return e.Err }

// CheckListener checks a listener once, over a connection of its own.
func CheckListener(ctx context.Context, check ListenerCheck) error {
	c := NewChecker(check)
	defer c.Close()
	return c.Check(ctx)
}

// Checker checks one listener again and again over one connection, so that the
// broker is spared a TCP and TLS handshake and a login for each check.
type Checker struct {
	check ListenerCheck

	mu      sync.Mutex // held through a check: they are made one after another
	wire    *wire
	cert    error // what is wrong with the certificate of the connection
	refused bool  // the login was refused: it is not tried again
}

// NewChecker returns a checker that has not connected yet.
func NewChecker(check ListenerCheck) *Checker { return &Checker{check: check} }

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
// After any other error the next check begins with a new connection.
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
	err := c.connect(ctx)
	if wantsCertificate(err) {
		return nil
	}
	if _, refused := errors.AsType[*refusedError](err); refused {
		c.refused = true
		c.drop()
		err = c.connect(ctx)
	}
	if err != nil {
		return err
	}
	return c.question(ctx)
}

// mechanism returns nil if we do not log in; mute is true if the listener
// talks only to those who do.
func (c *Checker) mechanism() (mech sasl.Mechanism, mute bool) {
	login := c.login()
	if !login.usesSASL() {
		return nil, false
	}
	if c.refused || c.cert != nil { // a password is for brokers whose certificate holds
		return nil, true
	}
	mech, err := login.mechanism()
	return mech, err != nil
}

func (c *Checker) login() Login {
	login := Login{}
	if c.check.Login != nil {
		login = *c.check.Login
	}
	login.Protocol = c.check.Protocol
	return login
}

func (c *Checker) question(ctx context.Context) error {
	if _, mute := c.mechanism(); mute {
		_, err := c.wire.hello(ctx)
		return err
	}
	req := kmsg.NewPtrMetadataRequest()
	req.Topics = []kmsg.MetadataRequestTopic{}
	resp, err := ask[*kmsg.MetadataResponse](ctx, c.wire, req)
	if err != nil {
		return err
	}
	return c.named(resp)
}

// connect does not fail over the broker's certificate, which is for its
// clients to judge; it looks at it for a warning. Without a login, so without
// a CA, that is the name in it; with one, all of it.
func (c *Checker) connect(ctx context.Context) error {
	c.cert = nil
	w, err := connect(ctx, secured(c.check.Dial, c.tlsConfig), c.check.Addr, c.check.Metrics)
	if err != nil {
		return err
	}
	c.wire = w
	mech, _ := c.mechanism()
	return w.login(ctx, mech)
}

// tlsConfig accepts every certificate of the broker and notes what is wrong with
// it. What is wrong with our own files makes no broker unfit to serve, either.
func (c *Checker) tlsConfig(string) (*tls.Config, error) {
	login := c.login()
	cfg, err := Login{Protocol: login.Protocol}.tlsConfig(c.name())
	if err != nil || cfg == nil {
		return cfg, err
	}
	cfg.GetClientCertificate = func(info *tls.CertificateRequestInfo) (*tls.Certificate, error) {
		if cert, err := login.clientCertificate(info); err == nil {
			return cert, nil
		}
		return &tls.Certificate{}, nil
	}
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

// wantsCertificate is true if the broker ended a TLS handshake over our
// certificate, or over having got none.
func wantsCertificate(err error) bool {
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
	return fmt.Errorf("its metadata does not name broker %d: the broker is not registered with this listener, or is fenced", c.check.Broker)
}
