package kafka

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/oauth"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"
)

// Login says how to talk to a listener and who we are. The zero value is
// PLAINTEXT without a user. What formats certificates and passwords are kept in
// is the caller's business: it gives functions, and each is asked again for every
// connection, so what was renewed needs no restart. Nothing is kept.
type Login struct {
	// Protocol is the listener's security protocol: PLAINTEXT, SSL,
	// SASL_PLAINTEXT or SASL_SSL. Empty is PLAINTEXT.
	Protocol string
	// Roots returns who may sign the broker's certificate. Without it, or with a
	// nil pool, that are the system's.
	Roots func() (*x509.CertPool, error)
	// Certificate identifies us to a listener with ssl.client.auth. Without it, or
	// with a nil one, we have none.
	Certificate func() (*tls.Certificate, error)
	// ServerName replaces the dialled host in the check of the broker's certificate.
	ServerName string
	// AnyName accepts a broker's certificate whatever name is in it, if one of
	// Roots has signed it.
	AnyName bool
	// Mechanism is PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER.
	Mechanism string
	// User returns the user's name and password.
	User func() (name, password string, err error)
	// Token returns, for OAUTHBEARER, a token and the SASL extensions (KIP-342) that go
	// along with it.
	Token func(ctx context.Context) (token string, extensions map[string]string, err error)
	// TokenFrom names, for OAUTHBEARER, all that decides about the next token: another answer is
	// another login. It asks nobody. nil is always the same.
	TokenFrom func() (string, error)
	// Refused is called when a broker has refused the login; nil is fine.
	Refused func()
}

func (l Login) usesTLS() bool  { return l.Protocol == "SSL" || l.Protocol == "SASL_SSL" }
func (l Login) usesSASL() bool { return strings.HasPrefix(l.Protocol, "SASL_") }

// check finds out now what would be wrong with the first connection.
func (l Login) check() error {
	cfg, err := l.tlsConfig("")
	if err != nil {
		return err
	}
	if cfg != nil {
		if _, err = cfg.GetClientCertificate(nil); err != nil {
			return err
		}
	}
	_, err = l.mechanism()
	return err
}

// tlsConfig is for a connection to a host; nil for a protocol without TLS.
func (l Login) tlsConfig(host string) (*tls.Config, error) {
	if !slices.Contains([]string{"", "PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"}, l.Protocol) {
		return nil, fmt.Errorf("security protocol %q is unknown; use PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL",
			l.Protocol)
	}
	if !l.usesTLS() {
		return nil, nil //nolint:nilnil // nil is the configuration of a listener without TLS
	}
	cfg := &tls.Config{
		MinVersion:           tls.VersionTLS12,
		ServerName:           cmp.Or(l.ServerName, host),
		GetClientCertificate: l.clientCertificate,
	}
	var err error
	if cfg.RootCAs, err = l.roots(); err != nil {
		return nil, err
	}
	if l.AnyName {
		cfg.InsecureSkipVerify = true // of the name, which stands in for all of it
		cfg.VerifyConnection = func(s tls.ConnectionState) error {
			if err := verifyChain(s.PeerCertificates, cfg.RootCAs, ""); err != nil {
				return &tls.CertificateVerificationError{UnverifiedCertificates: s.PeerCertificates, Err: err}
			}
			return nil
		}
	}
	return cfg, nil
}

func (l Login) roots() (*x509.CertPool, error) {
	if l.Roots == nil {
		return nil, nil //nolint:nilnil // the system's, as crypto/tls has it
	}
	return l.Roots()
}

// verifyChain checks a broker's certificates, and the name if there is one.
func verifyChain(chain []*x509.Certificate, roots *x509.CertPool, name string) error {
	opts := x509.VerifyOptions{DNSName: name, Roots: roots, Intermediates: x509.NewCertPool()}
	for _, cert := range chain[1:] {
		opts.Intermediates.AddCert(cert)
	}
	_, err := chain[0].Verify(opts)
	return err
}

// clientCertificate is asked when a listener wants to know who we are. One that
// has expired is refused here: what the broker says of it is no more than that it
// does not like it.
func (l Login) clientCertificate(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
	if l.Certificate == nil {
		return &tls.Certificate{}, nil
	}
	cert, err := l.Certificate()
	if err != nil || cert == nil {
		return &tls.Certificate{}, err
	}
	leaf := cert.Leaf
	if leaf == nil && len(cert.Certificate) > 0 {
		if leaf, err = x509.ParseCertificate(cert.Certificate[0]); err != nil {
			return nil, fmt.Errorf("read our certificate: %w", err)
		}
	}
	if leaf != nil && time.Now().After(leaf.NotAfter) {
		return nil, &expiredError{leaf}
	}
	return cert, nil
}

// expiredError is about our own certificate.
type expiredError struct{ cert *x509.Certificate }

func (e *expiredError) Error() string {
	return fmt.Sprintf("the agent's own certificate (%s) has expired at %s", e.cert.Subject,
		e.cert.NotAfter.UTC().Format(time.RFC3339))
}

// mechanism returns nil for a protocol without SASL.
func (l Login) mechanism() (sasl.Mechanism, error) {
	if !l.usesSASL() {
		return nil, nil //nolint:nilnil // nil is the mechanism of a listener without SASL
	}
	switch {
	case l.Mechanism == "":
		return nil, fmt.Errorf("security protocol %s needs a login, and none is set", l.Protocol)
	case l.Mechanism == oauthBearer && l.Token != nil:
		return tokenMechanism{oauth.Oauth(l.tokenAuth)}, nil
	case l.User == nil || l.Mechanism == oauthBearer:
		return nil, fmt.Errorf("security protocol %s with %s needs who logs in, and nobody is set", l.Protocol,
			l.Mechanism)
	}
	switch l.Mechanism {
	case "PLAIN":
		return plain.Plain(func(context.Context) (plain.Auth, error) {
			name, password, err := l.User()
			return plain.Auth{User: name, Pass: password}, err
		}), nil
	case "SCRAM-SHA-256":
		return scram.Sha256(l.scramAuth), nil
	case "SCRAM-SHA-512":
		return scram.Sha512(l.scramAuth), nil
	}
	return nil, fmt.Errorf("SASL mechanism %q is not supported; use PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER",
		l.Mechanism)
}

// oauthBearer is the mechanism of RFC 7628.
const oauthBearer = "OAUTHBEARER"

func (l Login) tokenAuth(ctx context.Context) (oauth.Auth, error) {
	token, extensions, err := l.Token(ctx)
	return oauth.Auth{Token: token, Extensions: extensions}, err
}

// tokenMechanism is OAUTHBEARER with a refusal that can be told from others.
type tokenMechanism struct{ sasl.Mechanism }

// Authenticate implements sasl.Mechanism.
func (m tokenMechanism) Authenticate(ctx context.Context, host string) (sasl.Session, []byte, error) {
	session, first, err := m.Mechanism.Authenticate(ctx, host)
	return tokenSession{session}, first, err
}

type tokenSession struct{ sasl.Session }

// Challenge implements sasl.Session. A broker that accepts a token has nothing to
// add; with any text it refuses it (RFC 7628, section 3.2.2).
func (s tokenSession) Challenge(text []byte) (done bool, next []byte, err error) {
	if len(text) > 0 {
		return false, nil, &tokenError{string(text)}
	}
	return s.Session.Challenge(text)
}

// tokenError is a token that the broker does not accept.
type tokenError struct{ says string }

func (e *tokenError) Error() string { return "the broker does not accept the token: " + e.says }

func (l Login) scramAuth(context.Context) (scram.Auth, error) {
	name, password, err := l.User()
	return scram.Auth{User: name, Pass: password}, err
}

// DialFunc opens a connection; it is (*net.Dialer).DialContext, or a test's own network.
type DialFunc func(ctx context.Context, network, addr string) (net.Conn, error)

// dialTimeout bounds connecting and the TLS handshake. Brokers are in the
// neighbourhood; one that does not answer within this is down.
const dialTimeout = 1500 * time.Millisecond

// secured speaks TLS with what config returns for a host, unless that is nil.
func secured(base DialFunc, config func(host string) (*tls.Config, error)) DialFunc {
	if base == nil {
		base = (&net.Dialer{}).DialContext
	}
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		ctx, cancel := context.WithTimeout(ctx, dialTimeout)
		defer cancel()
		host, _, _ := net.SplitHostPort(addr)
		cfg, err := config(host)
		if err != nil {
			return nil, err
		}
		conn, err := base(ctx, network, addr)
		if err != nil || cfg == nil {
			return conn, err
		}
		secure := tls.Client(conn, cfg)
		if err := secure.HandshakeContext(ctx); err != nil {
			_ = conn.Close()
			return nil, &handshakeError{addr, err}
		}
		return secure, nil
	}
}

// handshakeError is a TLS handshake that did not come about.
type handshakeError struct {
	addr string
	err  error
}

func (e *handshakeError) Error() string {
	return fmt.Sprintf("TLS handshake with %s: %v", e.addr, e.err)
}
func (e *handshakeError) Unwrap() error { return e.err }
