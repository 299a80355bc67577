package kafka

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"
)

// Login says how to talk to a listener and who we are. The zero value is
// PLAINTEXT without a user.
type Login struct {
	// Protocol is the listener's security protocol: PLAINTEXT, SSL,
	// SASL_PLAINTEXT or SASL_SSL. Empty is PLAINTEXT.
	Protocol string
	// CAFile holds the certificates (PEM) that may sign the broker's; empty trusts the system's.
	CAFile string
	// CertFile and KeyFile (PEM) identify us to a listener with
	// ssl.client.auth. They are read again for every connection, so that a
	// renewed certificate needs no restart.
	CertFile, KeyFile string
	// ServerName replaces the dialled host in the check of the broker's certificate.
	ServerName string
	// Mechanism is PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512.
	Mechanism string
	User      string
	// Password is asked for each time a connection logs in, and never kept.
	Password func() (string, error)
}

func (l Login) usesTLS() bool  { return l.Protocol == "SSL" || l.Protocol == "SASL_SSL" }
func (l Login) usesSASL() bool { return strings.HasPrefix(l.Protocol, "SASL_") }

// tlsConfig returns nil for a protocol without TLS.
func (l Login) tlsConfig() (*tls.Config, error) {
	if !slices.Contains([]string{"", "PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"}, l.Protocol) {
		return nil, fmt.Errorf("security protocol %q is unknown; use PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL", l.Protocol)
	}
	if !l.usesTLS() {
		return nil, nil //nolint:nilnil // nil is the configuration of a listener without TLS
	}
	cfg := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: l.ServerName}
	if l.CAFile != "" {
		pem, err := os.ReadFile(l.CAFile)
		if err != nil {
			return nil, fmt.Errorf("read CA file: %w", err)
		}
		cfg.RootCAs = x509.NewCertPool()
		if !cfg.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("read CA file: %s holds no PEM certificate", l.CAFile)
		}
	}
	if (l.CertFile == "") != (l.KeyFile == "") {
		return nil, errors.New("a client certificate needs both its certificate file and its key file")
	}
	if l.CertFile != "" {
		if _, err := l.certificate(nil); err != nil {
			return nil, err
		}
		cfg.GetClientCertificate = l.certificate
	}
	return cfg, nil
}

func (l Login) certificate(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
	cert, err := tls.LoadX509KeyPair(l.CertFile, l.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("read client certificate: %w", err)
	}
	return &cert, nil
}

// mechanism returns nil for a protocol without SASL.
func (l Login) mechanism() (sasl.Mechanism, error) {
	if !l.usesSASL() {
		return nil, nil //nolint:nilnil // nil is the mechanism of a listener without SASL
	}
	if l.User == "" || l.Password == nil {
		return nil, fmt.Errorf("security protocol %s needs a user and a password", l.Protocol)
	}
	switch l.Mechanism {
	case "PLAIN":
		return plain.Plain(func(context.Context) (plain.Auth, error) {
			pass, err := l.Password()
			return plain.Auth{User: l.User, Pass: pass}, err
		}), nil
	case "SCRAM-SHA-256":
		return scram.Sha256(l.scramAuth), nil
	case "SCRAM-SHA-512":
		return scram.Sha512(l.scramAuth), nil
	}
	return nil, fmt.Errorf("SASL mechanism %q is not supported; use PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512", l.Mechanism)
}

func (l Login) scramAuth(context.Context) (scram.Auth, error) {
	pass, err := l.Password()
	return scram.Auth{User: l.User, Pass: pass}, err
}

// DialFunc opens a connection; it is (*net.Dialer).DialContext, or a test's own network.
type DialFunc func(ctx context.Context, network, addr string) (net.Conn, error)

// dialTimeout bounds connecting and the TLS handshake. Brokers are in the
// neighbourhood; one that does not answer within this is away.
const dialTimeout = 1500 * time.Millisecond

// dialer returns a dial function that speaks TLS where cfg is not nil.
func dialer(base DialFunc, cfg *tls.Config) DialFunc {
	if base == nil {
		base = (&net.Dialer{}).DialContext
	}
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		ctx, cancel := context.WithTimeout(ctx, dialTimeout)
		defer cancel()
		conn, err := base(ctx, network, addr)
		if err != nil || cfg == nil {
			return conn, err
		}
		own := cfg.Clone()
		if own.ServerName == "" {
			own.ServerName, _, _ = net.SplitHostPort(addr)
		}
		secure := tls.Client(conn, own)
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
