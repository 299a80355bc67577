package login

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/youmark/pkcs8"

	"example.com/kpls-agent/internal/config"
)

const scramUser = `sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required \
    username="agent" password="planted-secret";
`

// TestStores reads what the JDK's keytool writes, and PEM in all its places.
func TestStores(t *testing.T) {
	ca := newAuthority(t)
	key, cert := ca.issue(t)
	caFile := put(t, certPEM(ca.cert))
	encrypted, err := pkcs8.MarshalPrivateKey(key, []byte("key-secret"), nil)
	if err != nil {
		t.Fatal(err)
	}
	inline := func(text string) string { return strings.ReplaceAll(strings.TrimSpace(text), "\n", " \\\n  ") }
	chain := certPEM(ca.cert) + certPEM(cert) // the order is not to matter
	for _, tt := range []struct {
		name, trust, store string
		subject            string // of our certificate
		certs              int
	}{
		{
			"JKS", "ssl.truststore.location=" + makeTrustStore(t, "JKS", caFile) + "\nssl.truststore.password=" + storePassword,
			"ssl.keystore.location=" + makeKeyStore(t, "JKS", "agent", "-keypass", "key-secret") + "\nssl.keystore.password=" + storePassword + "\nssl.key.password=key-secret", "CN=agent", 1,
		},
		{
			"PKCS12 in the type of JKS", "ssl.truststore.type=JKS\nssl.truststore.location=" + makeTrustStore(t, "PKCS12", caFile) + "\nssl.truststore.password=" + storePassword,
			"ssl.keystore.type=jks\nssl.keystore.location=" + makeKeyStore(t, "PKCS12", "agent") + "\nssl.keystore.password=" + storePassword, "CN=agent", 1,
		},
		{
			"PEM files", "ssl.truststore.type=PEM\nssl.truststore.location=" + caFile,
			"ssl.keystore.type=PEM\nssl.keystore.location=" + put(t, keyPEM(t, key)+chain), "CN=agent", 2,
		},
		{
			"encrypted PEM file", "ssl.truststore.type=PEM\nssl.truststore.location=" + caFile,
			"ssl.keystore.type=PEM\nssl.keystore.location=" + put(t, pemOf("ENCRYPTED PRIVATE KEY", encrypted)+chain) + "\nssl.key.password=key-secret", "CN=agent", 2,
		},
		{
			"PEM in the file", "ssl.truststore.type=PEM\nssl.truststore.certificates=" + inline(certPEM(ca.cert)),
			"ssl.keystore.type=PEM\nssl.keystore.key=" + inline(keyPEM(t, key)) + "\nssl.keystore.certificate.chain=" + inline(chain), "CN=agent", 2,
		},
		{"nothing", "", "", "", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := ReadClient(put(t, "security.protocol=SSL\n"+tt.trust+"\n"+tt.store+"\n"))
			if err != nil {
				t.Fatal(err)
			}
			pool, err := c.Roots()
			if err != nil || (pool == nil) != (tt.certs == 0) {
				t.Fatal(pool, err)
			}
			if pool != nil && len(pool.Subjects()) != 1 { //nolint:staticcheck // not the system's pool
				t.Errorf("%d trusted certificates", len(pool.Subjects())) //nolint:staticcheck // not the system's pool
			}
			got, err := c.Certificate()
			if err != nil || (got == nil) != (tt.certs == 0) {
				t.Fatal(got, err)
			}
			if got != nil && (got.Leaf.Subject.String() != tt.subject || len(got.Certificate) != tt.certs || got.PrivateKey == nil) {
				t.Errorf("got %s and %d certificates", got.Leaf.Subject, len(got.Certificate))
			}
		})
	}
}

func TestClient(t *testing.T) {
	trust := put(t, certPEM(newAuthority(t).cert))
	path := put(t, "bootstrap.servers = kafka-1:9092 , [fd00::1]:9092,\nsecurity.protocol=sasl_ssl\nsasl.mechanism=SCRAM-SHA-512\n"+scramUser+
		"ssl.truststore.type=PEM\nssl.truststore.location="+trust+"\nssl.endpoint.identification.algorithm=\nacks=all\ngroup.id=${x}\n")
	c, err := ReadClient(path)
	if err != nil {
		t.Fatal(err)
	}
	want := &Client{
		Path: path, Protocol: "SASL_SSL", Mechanism: "SCRAM-SHA-512", Bootstrap: []string{"kafka-1:9092", "[fd00::1]:9092"},
		AnyName: true, Files: []string{trust},
	}
	if diff := cmp.Diff(want, c); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	name, password, err := c.User()
	if name != "agent" || password != "planted-secret" || err != nil {
		t.Error(name, password, err)
	}
	// A new password needs no restart.
	text, _ := os.ReadFile(path)
	if err := os.WriteFile(path, []byte(strings.Replace(string(text), "planted", "renewed", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, password, err = c.User(); password != "renewed-secret" || err != nil {
		t.Error(password, err)
	}
	// Nothing needs to be said for a cluster without security.
	c, err = ReadClient(put(t, "bootstrap.servers=kafka-1:9092"))
	if err != nil || c.Protocol != "PLAINTEXT" || c.Mechanism != "" || c.AnyName || c.Files != nil {
		t.Errorf("%+v, %v", c, err)
	}
}

// TestClientRefused: what is not supported or wrong is refused by property,
// file, line and what to do; no secret is repeated.
func TestClientRefused(t *testing.T) {
	ca := newAuthority(t)
	key, cert := ca.issue(t)
	other, _ := ca.issue(t)
	caFile := put(t, certPEM(ca.cert))
	encrypted, err := pkcs8.MarshalPrivateKey(key, []byte("key-secret"), nil)
	if err != nil {
		t.Fatal(err)
	}
	jks, p12 := makeKeyStore(t, "JKS", "agent"), makeKeyStore(t, "PKCS12", "agent")
	two := makeKeyStore(t, "JKS", "agent")
	keytool(t, "-genkeypair", "-alias", "more", "-keyalg", "EC", "-dname", "CN=more", "-keystore", two, "-storetype", "JKS", "-storepass", storePassword)
	jceks := makeKeyStore(t, "JCEKS", "agent")
	trustJKS, trustP12 := makeTrustStore(t, "JKS", caFile), makeTrustStore(t, "PKCS12", caFile)
	const ssl, sasl = "security.protocol=SSL\n", "security.protocol=SASL_PLAINTEXT\nsasl.mechanism=PLAIN\n"
	keystore := func(path, password string) string {
		return ssl + "ssl.keystore.password=" + password + "\nssl.keystore.location=" + path + "\n"
	}
	truststore := func(path, password string) string {
		return ssl + "ssl.truststore.password=" + password + "\nssl.truststore.location=" + path + "\n"
	}
	jaas := func(value string) string { return sasl + "sasl.jaas.config=" + value + "\n" }
	for _, tt := range []struct{ name, text, want string }{
		{"protocol", "\nsecurity.protocol=TLS", `FILE:2: security.protocol is "TLS"; use PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL`},
		{"Kerberos by default", "security.protocol=SASL_SSL", "FILE: sasl.mechanism is not set, which means GSSAPI (Kerberos) to Kafka, and that is not supported; " + instead},
		{"Kerberos", "security.protocol=SASL_SSL\nsasl.mechanism=GSSAPI", "FILE:2: sasl.mechanism is GSSAPI, which is not supported; " + instead},
		{"AWS", "sasl.mechanism=AWS_MSK_IAM\nsecurity.protocol=SASL_SSL", "FILE:1: sasl.mechanism is AWS_MSK_IAM, which is not supported; " + instead},
		{"handler without a token", sasl + "sasl.login.callback.handler.class=" + tokenHandler, "FILE:3: sasl.login.callback.handler.class names a Java class, which the agent cannot run; write a file without it for the agent"},
		{"bootstrap", "bootstrap.servers=kafka-1", `FILE:1: bootstrap.servers has "kafka-1"; write HOST:PORT, with commas between`},
		{"placeholder", ssl + "ssl.keystore.password=${file:/etc/kafka/secret:x}", "FILE:2: ssl.keystore.password has a placeholder ${...}, which only Kafka's config providers fill in; write a file with the value itself for the agent, which only the agent's user can read"},
		{"class", sasl + "sasl.login.class=com.example.Login", "FILE:3: sasl.login.class names a Java class, which the agent cannot run; write a file without it for the agent"},
		{"name algorithm", ssl + "ssl.endpoint.identification.algorithm=LDAPS", `FILE:2: ssl.endpoint.identification.algorithm is "LDAPS"; write https, or nothing behind the = for no check of the name`},
		{"relative", truststore("trust.jks", "x"), "FILE:3: ssl.truststore.location is relative to wherever a program is started; write the whole path"},
		{"no file", truststore("/nowhere/trust.jks", "x"), "FILE:3: ssl.truststore.location cannot be read: open /nowhere/trust.jks: no such file or directory; correct the path, or let the agent's user read it"},
		{"type", "ssl.truststore.type=BCFKS\n" + truststore(trustJKS, storePassword), "FILE:1: ssl.truststore.type is BCFKS, which is not supported; use PEM, JKS or PKCS12"},
		{"JCEKS", keystore(jceks, storePassword), "FILE:3: ssl.keystore.location: PATH is a JCEKS store, which is not supported; convert it with keytool -importkeystore -deststoretype PKCS12"},
		{"garbage", truststore(put(t, "x"), "x"), "FILE:3: ssl.truststore.location: PATH is none of PEM, JKS and PKCS12; convert it with keytool -importkeystore -deststoretype PKCS12"},
		{"JKS without a password", truststore(trustJKS, ""), "FILE:3: ssl.truststore.location: PATH is a JKS store, which cannot be checked without a password; give its password"},
		{"JKS, wrong password", truststore(trustJKS, otherPassword), "FILE:3: ssl.truststore.location: PATH does not open with its password, or is damaged; correct the password"},
		{"PKCS12, wrong password", truststore(trustP12, otherPassword), "FILE:3: ssl.truststore.location: PATH does not open with its password, or is damaged; correct the password"},
		{"PKCS12 with a key, wrong password", keystore(p12, otherPassword), "FILE:3: ssl.keystore.location: PATH does not open with its password, or is damaged; correct the password"},
		{"wrong password of the key", keystore(jks, storePassword) + "ssl.key.password=" + otherPassword, "FILE:3: ssl.keystore.location: PATH holds a key that its password does not open; correct the password of the key"},
		{"two keys", keystore(two, storePassword), "FILE:3: ssl.keystore.location: PATH holds 2 keys and must hold one; make a store with the client's key alone"},
		{"no key", keystore(trustJKS, storePassword), "FILE:3: ssl.keystore.location: PATH holds 0 keys and must hold one; make a store with the client's key alone"},
		{"no key in PKCS12", keystore(trustP12, storePassword), "FILE:3: ssl.keystore.location: PATH is no PKCS12 store with one key and its certificate (pkcs12: private key missing); make one with the client's key alone"},
		{"no certificate", truststore(jks, storePassword), "FILE:3: ssl.truststore.location: PATH holds no trusted certificate; import the one that signs the brokers' with keytool -importcert"},
		{"no certificate in PEM", truststore(put(t, keyPEM(t, key)), ""), "FILE:3: ssl.truststore.location: PATH holds no PEM certificate; put the one there that signs the brokers'"},
		{"encrypted, no password", keystore(put(t, pemOf("ENCRYPTED PRIVATE KEY", encrypted)+certPEM(cert)), ""), "FILE:3: ssl.keystore.location: PATH holds an encrypted key; give its password as ssl.key.password, or a key that is not encrypted"},
		{"encrypted, wrong password", keystore(put(t, pemOf("ENCRYPTED PRIVATE KEY", encrypted)+certPEM(cert)), "") + "ssl.key.password=" + otherPassword, "FILE:3: ssl.keystore.location: PATH holds an encrypted key that its password does not open; correct the password, or encrypt the key with openssl pkcs8 -topk8"},
		{"another's key", keystore(put(t, keyPEM(t, other)+certPEM(cert)), ""), "FILE:3: ssl.keystore.location: PATH holds no certificate that belongs to its key; put the two of one request together"},
		{"key alone", ssl + "ssl.keystore.key=x", "FILE:2: ssl.keystore.key needs ssl.keystore.key and ssl.keystore.certificate.chain together; write both"},
		{"both trusts", truststore(trustJKS, storePassword) + "ssl.truststore.certificates=x", "FILE:4: ssl.truststore.certificates is given together with ssl.truststore.location; keep one of the two"},
		{"no user", sasl, "FILE: sasl.jaas.config is missing; write the user's login module there; a JAAS file of the JVM is not read"},
		{"module", jaas(`com.sun.security.auth.module.Krb5LoginModule required username="x" password="planted-secret";`), "FILE:3: sasl.jaas.config has the login module com.sun.security.auth.module.Krb5LoginModule, which is not supported; use ScramLoginModule or PlainLoginModule"},
		{"token", jaas(modules[1] + ` required username="x" password="planted-secret" tokenauth="true";`), "FILE:3: sasl.jaas.config logs in with a delegation token, which is not supported and would expire; give the agent a user with a password"},
		{"no password", jaas(modules[1] + ` required username="x";`), `FILE:3: sasl.jaas.config has no username or no password; write username="..." password="..." in it`},
		{"JAAS", jaas(modules[1] + ` required username="x" password="planted-secret"`), `FILE:3: sasl.jaas.config does not end with a semicolon; write org.apache.kafka.common.security.scram.ScramLoginModule required username="..." password="...";`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := put(t, tt.text)
			c, err := ReadClient(path)
			if err == nil || c == nil && tt.name != "placeholder" && tt.name != "class" && tt.name != "handler without a token" {
				t.Fatalf("got %+v, %v", c, err)
			}
			got := strings.ReplaceAll(err.Error(), path, "FILE")
			got = regexp.MustCompile(regexp.QuoteMeta(filepath.Dir(filepath.Dir(filepath.Dir(path))))+`\S+`).ReplaceAllString(got, "PATH")
			if got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
			if strings.Contains(got, "-secret") {
				t.Errorf("it tells a secret: %s", got)
			}
		})
	}
	if _, err := ReadClient("/nowhere/client.properties"); err == nil || err.Error() != "read the client properties: open /nowhere/client.properties: no such file or directory; name a readable file" {
		t.Error(err)
	}
}

func TestPEMFiles(t *testing.T) {
	ca := newAuthority(t)
	key, cert := ca.issue(t)
	certFile, keyFile := put(t, certPEM(cert)), put(t, keyPEM(t, key))
	if pool, err := PEMRoots(""); pool != nil || err != nil {
		t.Error(pool, err)
	}
	if cert, err := PEMCertificate("", ""); cert != nil || err != nil {
		t.Error(cert, err)
	}
	if pool, err := PEMRoots(certFile); pool == nil || err != nil {
		t.Error(pool, err)
	}
	if cert, err := PEMCertificate(certFile, keyFile); cert == nil || err != nil {
		t.Error(cert, err)
	}
	for want, f := range map[string]func() error{
		"read the CA file: open /nowhere: no such file or directory; name a readable one":                                         func() error { _, err := PEMRoots("/nowhere"); return err },
		fmt.Sprintf("read the CA file: %s holds no PEM certificate; put the one there that signs the brokers'", keyFile):          func() error { _, err := PEMRoots(keyFile); return err },
		fmt.Sprintf("read the client certificate %s and its key %s: tls: failed to find certificate PEM data", keyFile, certFile): func() error { _, err := PEMCertificate(keyFile, certFile); return err },
	} {
		if err := f(); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	}
}

func TestJAAS(t *testing.T) {
	for text, want := range map[string][]string{
		`m.M required;`: {"m.M"},
		`m.M required username="agent" password="p";`:               {"m.M", "password=p", "username=agent"},
		"m.M\n REQUIRED\n username='a' // c;\n /* d; */ p = word ;": {"m.M", "p=word", "username=a"},
		`m.M required p="a\"b\\c\tdé\101\0411";`:                    {"m.M", "p=a\"b\\c\tdéA!1"},
		`m.M required p='a"b' q="c'd";`:                             {"m.M", `p=a"b`, "q=c'd"},
		`m.M required p=a-b_c$1.2;`:                                 {"m.M", "p=a-b_c$1.2"},
		`m.M required p="a=b;c";`:                                   {"m.M", "p=a=b;c"},
		`m.M required p="";`:                                        {"m.M", "p="},
		`m.M sufficient p=a p=b;`:                                   {"m.M", "p=b"},
		``:                                                          nil,
		`m.M`:                                                       nil,
		`m.M needed p=a;`:                                           nil,
		`m.M required p=a`:                                          nil,
		`m.M required p="a`:                                         nil,
		`m.M required p=12ab;`:                                      nil,
		`m.M required p;`:                                           nil,
		`m.M required p=;`:                                          nil,
		`m.M required p=a; m.M required p=b;`:                       nil,
		`m.M required p=a@b;`:                                       nil,
	} {
		m, err := config.ParseJAAS(text)
		if want == nil {
			if err == nil {
				t.Errorf("%s is taken for %v", text, m)
			}
			continue
		}
		got := []string{m.Class}
		for k, v := range m.Options {
			got = append(got, k+"="+v)
		}
		slices.Sort(got[1:])
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%s: %v\n%s", text, err, diff)
		}
	}
}
