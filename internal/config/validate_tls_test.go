package config

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"maps"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// selfSigned returns a key and its certificate in PEM.
func selfSigned(t *testing.T) (key, chain string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "x"}, NotAfter: time.Now().Add(time.Hour)}
	cert, err1 := x509.CreateCertificate(rand.Reader, c, c, private.Public(), private)
	der, err2 := x509.MarshalPKCS8PrivateKey(private)
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	text := func(kind string, b []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: b}))
	}
	return text("PRIVATE KEY", der), text("CERTIFICATE", cert)
}

// TestTLSAgainstJava compares what is said of a listener's key and trust store with
// Kafka's own DefaultSslEngineFactory, which the broker asks when it opens the listener.
func TestTLSAgainstJava(t *testing.T) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	p12 := []string{"-genkeypair", "-alias", "k", "-keyalg", "EC", "-dname", "CN=x", "-storetype", "PKCS12", "-storepass", "secret", "-keystore", path("k.p12")}
	if out, err := exec.CommandContext(t.Context(), "keytool", p12...).CombinedOutput(); err != nil {
		t.Fatalf("keytool: %v\n%s", err, out)
	}
	key, chain := selfSigned(t)
	if err := os.WriteFile(path("k.pem"), []byte(key+chain), 0o600); err != nil {
		t.Fatal(err)
	}
	key, chain = strings.ReplaceAll(key, "\n", " "), strings.ReplaceAll(chain, "\n", " ")

	store := map[string]string{
		"ssl.keystore.type": "PKCS12", "ssl.keystore.location": path("k.p12"),
		"ssl.keystore.password": "secret", "ssl.key.password": "secret",
	}
	pemFile := map[string]string{"ssl.keystore.type": "PEM", "ssl.keystore.location": path("k.pem")}
	pemText := map[string]string{"ssl.keystore.type": "PEM", "ssl.keystore.key": key, "ssl.keystore.certificate.chain": chain}
	cases := []struct {
		name  string
		base  map[string]string // of the broker
		own   map[string]string // of EXTERNAL, over some store
		store map[string]string
		want  string // of the refusal; "" for none
	}{
		{name: "a key store with its passwords", store: store},
		{name: "a PEM file", store: pemFile},
		{name: "PEM text", store: pemText},
		{name: "all from the broker", base: store},
		{name: "no password", base: map[string]string{"ssl.keystore.type": "PKCS12", "ssl.keystore.location": path("k.p12")}, want: "its key store has no password"},
		{name: "a JKS by default without a password", own: map[string]string{"ssl.keystore.location": path("k.p12")}, want: "its key store has no password"},
		{name: "PEM with a password", store: pemFile, own: map[string]string{"ssl.keystore.password": "secret"}, want: "has ssl.keystore.password, which"},
		{name: "PEM with an empty password", store: pemFile, own: map[string]string{"ssl.keystore.password": ""}, want: "has ssl.keystore.password, which"},
		{name: "PEM in addition to the broker's key store", base: store, store: pemFile, want: "has ssl.keystore.password (from line "},
		{name: "PEM text in addition to the broker's key store", base: store, store: pemText, want: "has both ssl.keystore.key and ssl.keystore.location"},
		{name: "PEM in lower case", store: pemText, own: map[string]string{"ssl.keystore.type": "pem"}, want: "has ssl.keystore.key with a key store of another type than PEM"},
		{name: "PEM text in addition to the broker's password", base: map[string]string{"ssl.keystore.password": "secret"}, store: pemText, want: "has ssl.keystore.password (from line "},
		{name: "a trust store", store: store, own: map[string]string{"ssl.truststore.type": "PKCS12", "ssl.truststore.location": path("k.p12"), "ssl.truststore.password": "secret"}},
		{name: "a trust store in PEM", store: store, own: map[string]string{"ssl.truststore.type": "PEM", "ssl.truststore.certificates": chain}},
		{name: "certificates without the type", store: store, own: map[string]string{"ssl.truststore.certificates": chain}, want: "has ssl.truststore.certificates with a trust store of another type than PEM"},
		{name: "a PEM trust store with a password", store: store, own: map[string]string{"ssl.truststore.type": "PEM", "ssl.truststore.location": path("k.pem"), "ssl.truststore.password": "secret"}, want: "has ssl.truststore.password, which"},
		{name: "two trust stores", store: store, own: map[string]string{"ssl.truststore.type": "PEM", "ssl.truststore.location": path("k.pem"), "ssl.truststore.certificates": chain}, want: "has both ssl.truststore.certificates and ssl.truststore.location"},
		{name: "the password of no trust store", store: store, own: map[string]string{"ssl.truststore.password": "secret"}, want: "has ssl.truststore.password and no trust store"},
		{name: "the broker's password of no trust store", base: map[string]string{"ssl.truststore.password": "secret"}, store: pemFile, want: "has ssl.truststore.password (from line "},
	}
	for _, version := range judged {
		t.Run(version, func(t *testing.T) {
			j := newJudge(t, version)
			for _, tt := range cases {
				d := external()
				d.Endpoints[0].SecurityProtocol, d.Endpoints[0].Properties = "SSL", map[string]string{}
				maps.Copy(d.Endpoints[0].Properties, tt.store)
				maps.Copy(d.Endpoints[0].Properties, tt.own)
				file := reference
				for k, v := range tt.base {
					file += fmt.Sprintf("%s=%s\n", k, v)
				}
				_, err := render(file, d, v371)
				if tt.want == "" && err != nil || tt.want != "" && (ruleOf(err) != "R25" || !strings.Contains(err.Error(), tt.want)) {
					t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
				}
				out, _ := editOnly([]byte(file), d, v371)
				if ok, words := j.ask("tls", out); ok != (tt.want == "") {
					t.Errorf("%s: Kafka %s opens the stores: %t, %q", tt.name, version, ok, words)
				}
			}
		})
	}
}
