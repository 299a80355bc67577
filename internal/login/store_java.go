package login

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"

	"github.com/pavlo-v-chernykh/keystore-go/v4"
	"software.sslmate.com/src/go-pkcs12"
)

var errWrongPassword = errors.New("does not open with its password, or is damaged; correct the password")

// jksStore is Java's own format.
type jksStore struct {
	store       keystore.KeyStore
	keyPassword string
}

func openJKS(data []byte, p passwords) (store, error) {
	if p.store == "" {
		return nil, errors.New("is a JKS store, which cannot be checked without a password; give its password")
	}
	s := jksStore{keystore.New(keystore.WithOrderedAliases()), p.key}
	if s.keyPassword == "" {
		s.keyPassword = p.store
	}
	if err := s.store.Load(bytes.NewReader(data), []byte(p.store)); err != nil {
		return nil, errWrongPassword
	}
	return s, nil
}

func (s jksStore) trusted() ([]*x509.Certificate, error) {
	var list []keystore.Certificate
	for _, alias := range s.store.Aliases() {
		if e, err := s.store.GetTrustedCertificateEntry(alias); err == nil {
			list = append(list, e.Certificate)
		}
	}
	return parseJKS(list)
}

func (s jksStore) pair() (crypto.PrivateKey, []*x509.Certificate, error) {
	var entries []string
	for _, alias := range s.store.Aliases() {
		if s.store.IsPrivateKeyEntry(alias) {
			entries = append(entries, alias)
		}
	}
	if len(entries) != 1 {
		return nil, nil, fmt.Errorf("holds %d keys and must hold one; make a store with the client's key alone",
			len(entries))
	}
	e, err := s.store.GetPrivateKeyEntry(entries[0], []byte(s.keyPassword))
	if err != nil {
		return nil, nil, errors.New("holds a key that its password does not open; correct the password of the key")
	}
	key, err := x509.ParsePKCS8PrivateKey(e.PrivateKey)
	if err != nil {
		return nil, nil, errors.New("holds a key that is not supported; use RSA, ECDSA or Ed25519")
	}
	certs, err := parseJKS(e.CertificateChain)
	return key, certs, err
}

func parseJKS(list []keystore.Certificate) ([]*x509.Certificate, error) {
	var out []*x509.Certificate
	for _, c := range list {
		cert, err := x509.ParseCertificate(c.Content)
		if err != nil {
			return nil, fmt.Errorf("holds a certificate that cannot be read (%w); make it again", err)
		}
		out = append(out, cert)
	}
	return out, nil
}

// pkcs12Store is the format of keytool since Java 9, and of OpenSSL.
type pkcs12Store struct {
	data     []byte
	password string
}

func (s pkcs12Store) trusted() ([]*x509.Certificate, error) {
	certs, err := pkcs12.DecodeTrustStore(s.data, s.password)
	switch {
	case errors.Is(err, pkcs12.ErrIncorrectPassword), errors.Is(err, pkcs12.ErrDecryption):
		return nil, errWrongPassword
	case err != nil:
		return nil, fmt.Errorf("is no PKCS12 trust store (%w); Java trusts only what keytool -importcert put there",
			err)
	}
	return certs, nil
}

func (s pkcs12Store) pair() (crypto.PrivateKey, []*x509.Certificate, error) {
	key, cert, more, err := pkcs12.DecodeChain(s.data, s.password)
	switch {
	case errors.Is(err, pkcs12.ErrIncorrectPassword), errors.Is(err, pkcs12.ErrDecryption):
		return nil, nil, errWrongPassword
	case err != nil:
		return nil, nil, fmt.Errorf(
			"is no PKCS12 store with one key and its certificate (%w); make one with the client's key alone", err)
	}
	return key, append(more, cert), nil
}
