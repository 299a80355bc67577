package login

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"example.com/kpls-agent/internal/config"
)

// Client is Kafka's own client.properties, as far as it says how to log in
// (CommonClientConfigs, SslConfigs and SaslConfigs). All else in it is ignored.
type Client struct {
	// Path of the file.
	Path string
	// Protocol is PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL.
	Protocol string
	// Mechanism is PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER; empty without SASL.
	Mechanism string
	// Bootstrap are addresses (host:port) of brokers.
	Bootstrap []string
	// AnyName is true if the broker's name is not looked for in its certificate.
	AnyName bool
	// Files are those that the file names.
	Files []string
}

// The properties that are read.
const (
	keyBootstrap = "bootstrap.servers"
	keyProtocol  = "security.protocol"
	keyMechanism = "sasl.mechanism"
	keyJAAS      = "sasl.jaas.config"
	keyAnyName   = "ssl.endpoint.identification.algorithm"

	keyTrust         = "ssl.truststore.location"
	keyTrustPassword = "ssl.truststore.password" //nolint:gosec // the name of a property
	keyTrustType     = "ssl.truststore.type"
	keyTrustText     = "ssl.truststore.certificates"

	keyStore         = "ssl.keystore.location"
	keyStorePassword = "ssl.keystore.password" //nolint:gosec // the name of a property
	keyStoreType     = "ssl.keystore.type"
	keyStoreKey      = "ssl.keystore.key"
	keyStoreChain    = "ssl.keystore.certificate.chain"
	keyKeyPassword   = "ssl.key.password"
)

// foreign are properties that put code in the place of what this package does.
// The login callback handler is one with a token, of which some are known.
var foreign = []string{"ssl.engine.factory.class", "sasl.client.callback.handler.class", "sasl.login.class"}

// ReadClient reads a client.properties and all that it names, so what is
// wrong is known now. Beside an error it returns what could be read of the file
// itself, nil if nothing.
func ReadClient(path string) (*Client, error) {
	f, err := read(path)
	if err != nil {
		return nil, err
	}
	c := &Client{Path: path}
	if err := f.fill(c); err != nil {
		return c, err
	}
	if c.usesTLS() {
		if _, err := f.roots(); err != nil {
			return c, err
		}
		if _, err := f.certificate(); err != nil {
			return c, err
		}
	}
	switch c.Mechanism {
	case "":
	case OAuthBearer:
		err = f.token(c)
	default:
		_, _, err = f.user()
	}
	return c, err
}

// token makes sure that it is known where a token comes from; whether it is valid
// now is asked at each login.
func (f *file) token(c *Client) error {
	s, err := f.source()
	if s == nil {
		return err
	}
	for _, path := range []string{s.file, s.roots} {
		if path != "" {
			c.Files = append(c.Files, path)
		}
	}
	if err == nil && s.file != "" {
		if _, err = os.ReadFile(s.file); err != nil {
			err = f.fault(keyEndpoint, "names a file that cannot be read: "+err.Error(),
				"correct the path, or let the agent's user read it")
		}
	}
	return err
}

func (c *Client) usesTLS() bool { return strings.HasSuffix(c.Protocol, "SSL") }

// Roots returns who may sign the brokers' certificates; nil for the system's.
func (c *Client) Roots() (*x509.CertPool, error) {
	f, err := read(c.Path)
	if err != nil {
		return nil, err
	}
	return f.roots()
}

// Certificate returns the client's own certificate, nil for none.
func (c *Client) Certificate() (*tls.Certificate, error) {
	f, err := read(c.Path)
	if err != nil {
		return nil, err
	}
	return f.certificate()
}

// User returns the user's name and password.
func (c *Client) User() (name, password string, err error) {
	f, err := read(c.Path)
	if err != nil {
		return "", "", err
	}
	return f.user()
}

// file is the properties as they are now.
type file struct {
	path string
	*config.Properties
}

func read(path string) (*file, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the client properties: %w; name a readable file", err)
	}
	p, err := config.ReadProperties(path, data)
	if err != nil {
		return nil, err
	}
	f := &file{path, p}
	for _, key := range []string{
		keyBootstrap, keyProtocol, keyMechanism, keyJAAS, keyAnyName,
		keyTrust, keyTrustPassword, keyTrustType, keyTrustText,
		keyStore, keyStorePassword, keyStoreType, keyStoreKey, keyStoreChain, keyKeyPassword,
		keyHandler, keyRetriever, keyEndpoint, keyClientID, keyClientKey, keyScope, keyURLEncode,
	} {
		if placeholder.MatchString(f.get(key)) {
			return nil, f.fault(key, "has a placeholder ${...}, which only Kafka's config providers fill in",
				"write a file with the value itself for the agent, which only the agent's user can read")
		}
	}
	for _, key := range foreign {
		if f.get(key) != "" {
			return nil, f.fault(key, "names a Java class, which the agent cannot run",
				"write a file without it for the agent")
		}
	}
	if handler := f.get(keyHandler); handler != "" && f.get(keyMechanism) != OAuthBearer {
		return nil, f.fault(keyHandler, "names a Java class, which the agent cannot run",
			"write a file without it for the agent")
	}
	return f, nil
}

var placeholder = regexp.MustCompile(`\$\{[^}]*\}`)

// get returns a value as ConfigDef has it: without blanks around.
func (f *file) get(key string) string {
	value, _ := f.Get(key)
	return strings.TrimSpace(value)
}

// fault says what is wrong with a property, and what to do.
func (f *file) fault(key, text, next string) error {
	return fmt.Errorf("%s: %s %s; %s", f.at(key), key, text, next)
}

// at is the file, and the line if the property is there.
func (f *file) at(key string) string {
	if line := f.Line(key); line > 0 {
		return fmt.Sprintf("%s:%d", f.path, line)
	}
	return f.path
}

// instead is what to do where a mechanism is not supported.
const instead = "add SCRAM-SHA-512 to sasl.enabled.mechanisms of the listener and give the agent a user with it, or name another listener of the brokers as kafka.listener"

func (f *file) fill(c *Client) error {
	c.Protocol = strings.ToUpper(f.get(keyProtocol))
	switch c.Protocol {
	case "":
		c.Protocol = "PLAINTEXT" // Kafka's default
	case "PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL":
	default:
		return f.fault(keyProtocol, fmt.Sprintf("is %q", f.get(keyProtocol)),
			"use PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL")
	}
	if strings.HasPrefix(c.Protocol, "SASL_") {
		c.Mechanism = f.get(keyMechanism)
		switch c.Mechanism {
		case "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", OAuthBearer:
		case "":
			return f.fault(keyMechanism,
				"is not set, which means GSSAPI (Kerberos) to Kafka, and that is not supported", instead)
		default:
			return f.fault(keyMechanism, fmt.Sprintf("is %s, which is not supported", c.Mechanism), instead)
		}
	}
	for address := range strings.SplitSeq(f.get(keyBootstrap), ",") {
		if address = strings.TrimSpace(address); address == "" {
			continue
		}
		if host, port, err := net.SplitHostPort(address); err != nil || host == "" || port == "" {
			return f.fault(keyBootstrap, fmt.Sprintf("has %q", address), "write HOST:PORT, with commas between")
		}
		c.Bootstrap = append(c.Bootstrap, address)
	}
	if !c.usesTLS() {
		return nil
	}
	if _, there := f.Get(keyAnyName); there && f.get(keyAnyName) == "" {
		c.AnyName = true
	} else if there && !strings.EqualFold(f.get(keyAnyName), "https") {
		return f.fault(keyAnyName, fmt.Sprintf("is %q", f.get(keyAnyName)),
			"write https, or nothing behind the = for no check of the name")
	}
	for _, key := range []string{keyTrust, keyStore} {
		switch path := f.get(key); {
		case path == "":
		case !filepath.IsAbs(path):
			return f.fault(key, "is relative to wherever a program is started", "write the whole path")
		default:
			c.Files = append(c.Files, path)
		}
	}
	return nil
}

func (f *file) roots() (*x509.CertPool, error) {
	if text := f.get(keyTrustText); text != "" {
		if f.get(keyTrust) != "" {
			return nil, f.fault(keyTrustText, "is given together with "+keyTrust, "keep one of the two")
		}
		pool, err := roots(pemLines(text), passwords{})
		return pool, f.wrap(keyTrustText, "", err)
	}
	if f.get(keyTrust) == "" {
		return nil, nil //nolint:nilnil // the system's, as crypto/tls has it
	}
	data, err := f.load(keyTrust, keyTrustType)
	if err != nil {
		return nil, err
	}
	pool, err := roots(data, passwords{store: f.get(keyTrustPassword)})
	return pool, f.wrap(keyTrust, f.get(keyTrust), err)
}

func (f *file) certificate() (*tls.Certificate, error) {
	key, chain := f.get(keyStoreKey), f.get(keyStoreChain)
	switch {
	case (key == "") != (chain == ""):
		return nil, f.fault(f.given(keyStoreKey, keyStoreChain), "needs "+keyStoreKey+" and "+keyStoreChain+" together",
			"write both")
	case key != "" && f.get(keyStore) != "":
		return nil, f.fault(keyStoreKey, "is given together with "+keyStore, "keep one of the two")
	case key != "":
		cert, err := certificate(append(pemLines(key), pemLines(chain)...), passwords{key: f.get(keyKeyPassword)})
		return cert, f.wrap(keyStoreKey, "", err)
	case f.get(keyStore) == "":
		return nil, nil //nolint:nilnil // no certificate is no error
	}
	data, err := f.load(keyStore, keyStoreType)
	if err != nil {
		return nil, err
	}
	cert, err := certificate(data, passwords{store: f.get(keyStorePassword), key: f.get(keyKeyPassword)})
	return cert, f.wrap(keyStore, f.get(keyStore), err)
}

// given returns the key that is there.
func (f *file) given(a, b string) string {
	if f.get(a) != "" {
		return a
	}
	return b
}

// load reads a store. Its type only has to be one that is known: the content decides.
func (f *file) load(key, typeKey string) ([]byte, error) {
	if kind := f.get(typeKey); kind != "" && !slices.Contains([]string{"JKS", "PKCS12", "PEM"}, strings.ToUpper(kind)) {
		return nil, f.fault(typeKey, fmt.Sprintf("is %s, which is not supported", kind), "use PEM, JKS or PKCS12")
	}
	data, err := os.ReadFile(f.get(key))
	if err != nil {
		return nil, f.fault(key, "cannot be read: "+err.Error(), "correct the path, or let the agent's user read it")
	}
	return data, nil
}

// wrap says which property an error is about; store is the file it names, if it does.
func (f *file) wrap(key, store string, err error) error {
	switch {
	case err == nil:
		return nil
	case store != "":
		return fmt.Errorf("%s: %s: %s %w", f.at(key), key, store, err)
	}
	return fmt.Errorf("%s: %s %w", f.at(key), key, err)
}

// modules are the login modules that carry a name and a password.
var modules = []string{
	"org.apache.kafka.common.security.plain.PlainLoginModule",
	"org.apache.kafka.common.security.scram.ScramLoginModule",
}

func (f *file) user() (name, password string, err error) {
	if f.get(keyJAAS) == "" {
		return "", "", f.fault(keyJAAS, "is missing",
			"write the user's login module there; a JAAS file of the JVM is not read")
	}
	m, err := config.ParseJAAS(f.get(keyJAAS))
	if err != nil {
		return "", "", f.wrap(keyJAAS, "",
			fmt.Errorf("%w; write %s required username=\"...\" password=\"...\";", err, modules[1]))
	}
	if !slices.Contains(modules, m.Class) {
		return "", "", f.fault(keyJAAS, fmt.Sprintf("has the login module %s, which is not supported", m.Class),
			"use ScramLoginModule or PlainLoginModule")
	}
	if strings.EqualFold(m.Options["tokenauth"], "true") {
		return "", "", f.fault(keyJAAS, "logs in with a delegation token, which is not supported and would expire",
			"give the agent a user with a password")
	}
	if m.Options["username"] == "" || m.Options["password"] == "" {
		return "", "", f.wrap(keyJAAS, "",
			errors.New(`has no username or no password; write username="..." password="..." in it`))
	}
	return m.Options["username"], m.Options["password"], nil
}
