package login

import (
	"bytes"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
)

// store is a file of certificates and perhaps a key, whatever its format.
type store interface {
	// trusted returns the certificates that may sign others'.
	trusted() ([]*x509.Certificate, error)
	// pair returns the one key and all certificates with it, in no order.
	pair() (crypto.PrivateKey, []*x509.Certificate, error)
}

// passwords open a store; empty for none.
type passwords struct{ store, key string }

// open tells formats apart by their content, as Java does, whose type JKS reads
// PKCS12 too.
func open(data []byte, p passwords) (store, error) {
	switch {
	case bytes.HasPrefix(data, []byte{0xfe, 0xed, 0xfe, 0xed}):
		return openJKS(data, p)
	case bytes.HasPrefix(data, []byte{0xce, 0xce, 0xce, 0xce}):
		return nil, errors.New(
			"is a JCEKS store, which is not supported; convert it with keytool -importkeystore -deststoretype PKCS12")
	case bytes.HasPrefix(data, []byte{0x30}): // a DER sequence
		return pkcs12Store{data, p.store}, nil
	case bytes.Contains(data, []byte("-----BEGIN ")):
		return pemStore{data, p.key}, nil
	}
	return nil, errors.New(
		"is none of PEM, JKS and PKCS12; convert it with keytool -importkeystore -deststoretype PKCS12")
}

// roots makes a pool of what a store trusts.
func roots(data []byte, p passwords) (*x509.CertPool, error) {
	s, err := open(data, p)
	if err != nil {
		return nil, err
	}
	certs, err := s.trusted()
	if err != nil {
		return nil, err
	}
	if len(certs) == 0 {
		return nil, errors.New(
			"holds no trusted certificate; import the one that signs the brokers' with keytool -importcert")
	}
	pool := x509.NewCertPool()
	for _, c := range certs {
		pool.AddCert(c)
	}
	return pool, nil
}

// certificate makes a TLS certificate of what a store holds.
func certificate(data []byte, p passwords) (*tls.Certificate, error) {
	s, err := open(data, p)
	if err != nil {
		return nil, err
	}
	key, certs, err := s.pair()
	if err != nil {
		return nil, err
	}
	return assemble(key, certs)
}

// assemble puts the key's certificate first, and after it those that sign.
func assemble(key crypto.PrivateKey, certs []*x509.Certificate) (*tls.Certificate, error) {
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("holds a key of type %T, which cannot sign; use RSA, ECDSA or Ed25519", key)
	}
	public, ok := signer.Public().(interface{ Equal(crypto.PublicKey) bool })
	if !ok {
		return nil, fmt.Errorf("holds a key of type %T, which is not supported; use RSA, ECDSA or Ed25519", key)
	}
	at := slices.IndexFunc(certs, func(c *x509.Certificate) bool { return public.Equal(c.PublicKey) })
	if at < 0 {
		return nil, errors.New("holds no certificate that belongs to its key; put the two of one request together")
	}
	out := &tls.Certificate{PrivateKey: key, Leaf: certs[at]}
	for c := certs[at]; ; c = certs[at] {
		out.Certificate = append(out.Certificate, c.Raw)
		if bytes.Equal(c.RawSubject, c.RawIssuer) || len(out.Certificate) > len(certs) {
			return out, nil
		}
		at = slices.IndexFunc(certs, func(up *x509.Certificate) bool { return bytes.Equal(up.RawSubject, c.RawIssuer) })
		if at < 0 {
			return out, nil
		}
	}
}
