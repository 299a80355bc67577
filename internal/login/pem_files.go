package login

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
)

// PEMRoots reads the certificates that may sign the brokers'; a nil pool, for
// no file, stands for the system's.
func PEMRoots(path string) (*x509.CertPool, error) {
	if path == "" {
		return nil, nil //nolint:nilnil // as crypto/tls has it
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the CA file: %w; name a readable one", err)
	}
	pool := x509.NewCertPool()
	certs, err := pemStore{data: data}.trusted()
	if err != nil {
		return nil, fmt.Errorf("read the CA file: %s %w", path, err)
	}
	for _, c := range certs {
		pool.AddCert(c)
	}
	return pool, nil
}

// PEMCertificate reads the client's certificate and its key; nil for no file.
func PEMCertificate(certFile, keyFile string) (*tls.Certificate, error) {
	if certFile == "" {
		return nil, nil //nolint:nilnil // no certificate is no error
	}
	cert, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return nil, fmt.Errorf("read the client certificate %s and its key %s: %w", certFile, keyFile, err)
	}
	return &cert, nil
}
