package kafka

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"

	"github.com/twmb/franz-go/pkg/kmsg"
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
	// Login logs in to the listener; its Protocol is not used. Without one a
	// SASL listener is only asked for its API versions, which Kafka answers
	// before any login, and a listener that insists on a client certificate is
	// only seen to insist.
	Login *Login
	// ServerName is the name the certificate must be valid for; empty is AdvertisedHost.
	ServerName string
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
	return fmt.Sprintf("the listener at %s shows a certificate that is not valid for %s: %v; clients that verify names will refuse it", e.Addr, e.Name, e.Err)
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

	mu   sync.Mutex // held through a check: they are made one after another
	wire *wire
	cert error // what is wrong with the certificate of the connection
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
	if c.check.Login == nil && wantsCertificate(err) {
		return nil
	}
	if err != nil {
		return err
	}
	return c.question(ctx)
}

// mute is true if the listener talks only to those who log in, and we cannot.
func (c *Checker) mute() bool { return c.check.Login == nil && c.login().usesSASL() }

func (c *Checker) login() Login {
	login := Login{}
	if c.check.Login != nil {
		login = *c.check.Login
	}
	login.Protocol = c.check.Protocol
	return login
}

func (c *Checker) question(ctx context.Context) error {
	if c.mute() {
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

// connect does not verify the chain of the broker's certificate and does not
// fail over the name in it: it dials an address, with no CA at hand, to learn
// whether the broker serves. Only the name is looked at, for a warning. The
// password of a login is not at risk: with Login the chain is verified.
func (c *Checker) connect(ctx context.Context) error {
	c.cert = nil
	login := c.login()
	cfg, err := login.tlsConfig()
	if err != nil {
		return err
	}
	if cfg != nil {
		cfg.ServerName = c.name()
		if c.check.Login == nil {
			cfg.InsecureSkipVerify = true //nolint:gosec // see above
			cfg.VerifyConnection = func(s tls.ConnectionState) error {
				c.cert = s.PeerCertificates[0].VerifyHostname(c.name())
				return nil
			}
		}
	}
	w, err := connect(ctx, dialer(c.check.Dial, cfg), c.check.Addr)
	if err != nil {
		return err
	}
	c.wire = w
	if c.mute() {
		return nil
	}
	mech, err := login.mechanism()
	if err != nil {
		return err
	}
	return w.login(ctx, mech)
}

// wantsCertificate is true if the broker ended a TLS handshake only because it
// wants a client certificate; "bad certificate" is what Java says of none in TLS 1.2.
func wantsCertificate(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == remoteAlert &&
		(op.Err.Error() == "tls: certificate required" || op.Err.Error() == "tls: bad certificate")
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
