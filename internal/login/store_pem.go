package login

import (
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/youmark/pkcs8"
)

// pemStore is PEM text.
type pemStore struct {
	data     []byte
	password string // of the key; empty if it is not encrypted
}

// pemMark begins or ends a block. In a properties file the lines of a block may
// have been joined, which Kafka allows and encoding/pem does not.
var pemMark = regexp.MustCompile(`[ \t\r\n]*(-----(?:BEGIN|END) [A-Z0-9 ]+-----)[ \t\r\n]*`)

func pemLines(text string) []byte { return pemMark.ReplaceAll([]byte(text), []byte("\n$1\n")) }

func (s pemStore) trusted() ([]*x509.Certificate, error) {
	_, certs, err := s.blocks(false)
	if err == nil && len(certs) == 0 {
		err = errors.New("holds no PEM certificate; put the one there that signs the brokers'")
	}
	return certs, err
}

func (s pemStore) pair() (crypto.PrivateKey, []*x509.Certificate, error) {
	key, certs, err := s.blocks(true)
	switch {
	case err != nil:
		return nil, nil, err
	case key == nil:
		return nil, nil, errors.New("holds no PEM key; put the certificate and its key there")
	case len(certs) == 0:
		return nil, nil, errors.New("holds no PEM certificate; put the certificate and its key there")
	}
	return key, certs, nil
}

// blocks decodes the certificates and, if asked to, the first key.
func (s pemStore) blocks(withKey bool) (key crypto.PrivateKey, certs []*x509.Certificate, err error) {
	for rest := s.data; ; {
		var b *pem.Block
		if b, rest = pem.Decode(rest); b == nil {
			return key, certs, nil
		}
		switch {
		case b.Type == "CERTIFICATE":
			c, err := x509.ParseCertificate(b.Bytes)
			if err != nil {
				return nil, nil, fmt.Errorf("holds a certificate that cannot be read (%w); make it again", err)
			}
			certs = append(certs, c)
		case withKey && key == nil && strings.HasSuffix(b.Type, privateKey):
			if key, err = s.key(b); err != nil {
				return nil, nil, err
			}
		}
	}
}

const privateKey = "PRIVATE KEY"

func (s pemStore) key(b *pem.Block) (key crypto.PrivateKey, err error) {
	switch {
	case b.Headers["DEK-Info"] != "":
		return nil, errors.New(
			"holds a key in OpenSSL's old encryption, which nobody should use; convert it with openssl pkcs8 -topk8")
	case b.Type == "ENCRYPTED "+privateKey && s.password == "":
		return nil, errors.New(
			"holds an encrypted key; give its password as ssl.key.password, or a key that is not encrypted")
	case b.Type == "ENCRYPTED "+privateKey:
		key, _, err = pkcs8.ParsePrivateKey(b.Bytes, []byte(s.password))
		if err != nil { // the library's words may be about what a wrong password made of the key
			return nil, errors.New(
				"holds an encrypted key that its password does not open; correct the password, or encrypt the key with openssl pkcs8 -topk8")
		}
		return key, nil
	case b.Type == "RSA "+privateKey:
		key, err = x509.ParsePKCS1PrivateKey(b.Bytes)
	case b.Type == "EC "+privateKey:
		key, err = x509.ParseECPrivateKey(b.Bytes)
	default:
		key, err = x509.ParsePKCS8PrivateKey(b.Bytes)
	}
	if err != nil {
		return nil, errors.New("holds a key that cannot be read; convert it with openssl pkcs8 -topk8")
	}
	return key, nil
}
