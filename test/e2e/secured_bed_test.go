package e2e

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"io/fs"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"software.sslmate.com/src/go-pkcs12"

	"example.com/kpls-agent/test/fleet"
)

// authority signs the certificates of a test, and keeps them in files.
type authority struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t, dir: t.TempDir()}
	a.cert, a.key = a.sign(&x509.Certificate{Subject: pkix.Name{CommonName: "test CA"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	a.put("ca.pem", pemOf("CERTIFICATE", a.cert.Raw))
	return a
}

func pemOf(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

func (a *authority) path(name string) string { return filepath.Join(a.dir, name) }

func (a *authority) put(name, text string) string {
	a.t.Helper()
	if err := os.WriteFile(a.path(name), []byte(text), 0o600); err != nil {
		a.t.Fatal(err)
	}
	return a.path(name)
}

// sign completes a certificate, by itself if there is no other yet.
func (a *authority) sign(c *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	c.SerialNumber = big.NewInt(time.Now().UnixNano())
	if c.NotAfter.IsZero() {
		c.NotAfter = time.Now().Add(24 * time.Hour)
	}
	c.NotBefore = c.NotAfter.Add(-48 * time.Hour)
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, signer)
	if err != nil {
		a.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return cert, key
}

// leaf is a certificate for servers and clients, for these names and addresses.
func leaf(cn string, names ...string) *x509.Certificate {
	c := &x509.Certificate{Subject: pkix.Name{CommonName: cn}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
	for _, n := range names {
		if ip := net.ParseIP(n); ip != nil {
			c.IPAddresses = append(c.IPAddresses, ip)
		} else {
			c.DNSNames = append(c.DNSNames, n)
		}
	}
	return c
}

// pem writes a key and its certificate as one PEM file.
func (a *authority) pem(name string, c *x509.Certificate) string {
	a.t.Helper()
	cert, key := a.sign(c)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	return a.put(name, pemOf("PRIVATE KEY", der)+pemOf("CERTIFICATE", cert.Raw)+pemOf("CERTIFICATE", a.cert.Raw))
}

// p12 writes them as a PKCS12 store.
func (a *authority) p12(name, password string, c *x509.Certificate) string {
	a.t.Helper()
	cert, key := a.sign(c)
	data, err := pkcs12.Modern.Encode(key, cert, []*x509.Certificate{a.cert}, password)
	if err != nil {
		a.t.Fatal(err)
	}
	return a.put(name, string(data))
}

// pair is a key and its certificate.
func (a *authority) pair(c *x509.Certificate) tls.Certificate {
	a.t.Helper()
	cert, key := a.sign(c)
	return tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key}
}

// dialer speaks TLS with brokers that this authority vouches for.
func (a *authority) dialer(own ...tls.Certificate) kgo.Opt {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	d := &tls.Dialer{NetDialer: &net.Dialer{Timeout: 2 * time.Second}, Config: &tls.Config{RootCAs: pool, Certificates: own, MinVersion: tls.VersionTLS12}}
	return kgo.Dialer(d.DialContext)
}

// acl is one rule for the agent's user.
type acl struct {
	topic string // empty: the cluster
	op    kadm.ACLOperation
}

// String is how the agent names it.
func (a acl) String() string {
	op := map[kadm.ACLOperation]string{
		kadm.OpDescribe: "Describe", kadm.OpDescribeConfigs: "DescribeConfigs", kadm.OpCreate: "Create", kadm.OpRead: "Read", kadm.OpWrite: "Write",
	}[a.op]
	if a.topic == "" {
		return op + " on the cluster"
	}
	return op + " on topic " + a.topic
}

func (a acl) builder(principal string) *kadm.ACLBuilder {
	b := kadm.NewACLs().Allow(principal).AllowHosts("*").Operations(a.op).ResourcePatternType(kadm.ACLPatternLiteral)
	if a.topic == "" {
		return b.Clusters()
	}
	return b.Topics(a.topic)
}

// agentACLs are the fewest that the agent works with, as docs/security.md has
// them. Read and Write imply Describe.
var agentACLs = []acl{
	{"", kadm.OpDescribe},
	{"", kadm.OpDescribeConfigs},
	{"*", kadm.OpDescribe},
	{"*", kadm.OpDescribeConfigs},
	{"__kpls_agent", kadm.OpRead},
	{"__kpls_agent", kadm.OpWrite},
	{"__kpls_agent", kadm.OpCreate},
}

// allow gives a user rules, and returns when every broker knows of them.
func (b *bed) allow(principal string, rules ...acl) {
	b.Helper()
	b.admin(func(ctx context.Context, cl *kgo.Client) error {
		adm := kadm.NewClient(cl)
		for _, r := range rules {
			results, err := adm.CreateACLs(ctx, r.builder(principal))
			if err != nil {
				return err
			}
			for _, result := range results {
				if result.Err != nil {
					return result.Err
				}
			}
		}
		return nil
	})
	b.known(principal, true, rules...)
}

// revoke removes rules again.
func (b *bed) revoke(principal string, rules ...acl) {
	b.Helper()
	b.admin(func(ctx context.Context, cl *kgo.Client) error {
		adm := kadm.NewClient(cl)
		for _, r := range rules {
			if _, err := adm.DeleteACLs(ctx, r.builder(principal)); err != nil {
				return err
			}
		}
		return nil
	})
	b.known(principal, false, rules...)
}

func (b *bed) admin(f func(context.Context, *kgo.Client) error) {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), patience)
	defer cancel()
	cl, err := b.NewClient()
	if err != nil {
		b.Fatal(err)
	}
	defer cl.Close()
	if err := f(ctx, cl); err != nil {
		b.Fatal(err)
	}
}

// known waits until every broker has these rules, or has them no more.
func (b *bed) known(principal string, want bool, rules ...acl) {
	b.Helper()
	b.admin(func(ctx context.Context, cl *kgo.Client) error {
		for _, br := range b.Brokers {
			for _, r := range rules {
				b.until("broker knows the rule "+r.String(), func() bool {
					req := kmsg.NewPtrDescribeACLsRequest()
					req.ResourceType, req.ResourceName = kmsg.ACLResourceTypeCluster, new("kafka-cluster")
					if r.topic != "" {
						req.ResourceType, req.ResourceName = kmsg.ACLResourceTypeTopic, new(r.topic)
					}
					req.ResourcePatternType, req.Operation, req.PermissionType = kmsg.ACLResourcePatternTypeLiteral, r.op, kmsg.ACLPermissionTypeAllow
					req.Principal = new(principal)
					resp, err := cl.Broker(int(br.ID)).Request(ctx, req)
					if err != nil {
						return false
					}
					list, ok := resp.(*kmsg.DescribeACLsResponse)
					return ok && kerr.ErrorForCode(list.ErrorCode) == nil && (len(list.Resources) > 0) == want
				})
			}
		}
		return nil
	})
}

// names is true if an agent has logged since the marks, which are the sizes of
// the logs then, that it needs a rule, or if a status says so. Without some rules
// the command that asks for the status waits in vain.
func (b *bed) names(rule acl, marks []int) bool {
	b.Helper()
	want := "the ACL " + rule.String()
	for i, a := range b.fleet.Agents {
		if text, err := os.ReadFile(a.Log()); err == nil && strings.Contains(string(text[min(marks[i], len(text)):]), want) {
			return true
		}
	}
	ctx, cancel := context.WithTimeout(b.Context(), 3*time.Second)
	defer cancel()
	out, _, _ := b.fleet.Agents[0].Command(ctx, "status", "-o", "json")
	return strings.Contains(out, want)
}

func (b *bed) marks() []int {
	marks := make([]int, len(b.fleet.Agents))
	for i, a := range b.fleet.Agents {
		if info, err := os.Stat(a.Log()); err == nil {
			marks[i] = int(info.Size())
		}
	}
	return marks
}

// settings adds lines to the settings of every agent.
func (b *bed) settings(more string) {
	b.Helper()
	for _, a := range b.fleet.Agents {
		text, err := os.ReadFile(a.Settings())
		if err == nil {
			err = os.WriteFile(a.Settings(), append(text, more...), 0o600)
		}
		if err != nil {
			b.Fatal(err)
		}
	}
}

// command runs a command of the first agent.
func (b *bed) command(args ...string) (string, int) {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), patience)
	defer cancel()
	out, errOut, code := b.fleet.Agents[0].Command(ctx, args...)
	return out + errOut, code
}

// noneTells holds promise 10 for all that agents say and keep: what has a secret
// by its purpose, the copies of the manifest and of server.properties, is for its
// owner's eyes alone.
func (b *bed) noneTells(secrets ...string) {
	b.Helper()
	texts := map[string]string{}
	for _, args := range [][]string{{"status"}, {"status", "-o", "json"}, {"plan"}, {"check"}, {"check", "-o", "json"}} {
		texts[strings.Join(args, " ")], _ = b.command(args...)
	}
	for _, a := range b.fleet.Agents {
		for _, path := range []string{"/metrics", "/healthz", "/readyz/EXTERNAL"} {
			texts[path] += b.get("http://" + a.HTTP() + path)
		}
		log, err := os.ReadFile(a.Log())
		if err != nil {
			b.Fatal(err)
		}
		texts[a.Log()] = string(log)
		copies := []string{"manifest.yaml", "server.properties.last-good", "server.properties.failed"}
		err = filepath.WalkDir(a.State(), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			info, err := d.Info()
			if err != nil {
				return err
			}
			if slices.Contains(copies, d.Name()) {
				if info.Mode().Perm()&0o077 != 0 {
					b.Errorf("%s has mode %s", path, info.Mode())
				}
				return nil
			}
			data, err := os.ReadFile(path)
			texts[path] = string(data)
			return err
		})
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			b.Fatal(err)
		}
	}
	for where, text := range texts {
		if text == "" && !strings.HasPrefix(where, "/readyz") {
			b.Errorf("%s is empty: nothing was looked at", where)
		}
		for _, s := range secrets {
			if strings.Contains(text, s) {
				b.Errorf("%s tells %s", where, s)
			}
		}
	}
}

func (b *bed) get(url string) string {
	b.Helper()
	req, err := http.NewRequestWithContext(b.Context(), http.MethodGet, url, http.NoBody)
	if err != nil {
		b.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		b.Fatal(err)
	}
	defer resp.Body.Close()
	var text bytes.Buffer
	if _, err := io.Copy(&text, resp.Body); err != nil {
		b.Fatal(err)
	}
	return text.String()
}

// verifyAs connects as a customer would, through the load balancer, with a login.
func (b *bed) verifyAs(host, client string) (string, int) {
	b.Helper()
	return b.command("verify", "--listener", "EXTERNAL", "--bootstrap", net.JoinHostPort("b1."+fleet.Domain, "9093"), "--map", "*."+fleet.Domain+"="+host, "--client-properties", client)
}

// allowCustomer gives the customer's user what verify needs.
func allowCustomer(ctx context.Context, cl *kgo.Client) error {
	ops := []kadm.ACLOperation{kadm.OpCreate, kadm.OpDescribe, kadm.OpWrite, kadm.OpRead, kadm.OpDelete}
	rules := kadm.NewACLs().Allow("User:tidb").AllowHosts("*").Topics("kpls-agent-verify-").Operations(ops...).ResourcePatternType(kadm.ACLPatternPrefixed)
	results, err := kadm.NewClient(cl).CreateACLs(ctx, rules)
	for _, r := range results {
		err = errors.Join(err, r.Err)
	}
	return err
}
