package config

import (
	"fmt"
	"strings"
)

// tlsStore is a key store or a trust store of a listener as DefaultSslEngineFactory
// (createKeystore, createTruststore) takes it: from a file, or written out as PEM.
type tlsStore struct {
	kind     string // "key store" or "trust store"
	typeKey  string
	location string
	password string
	inline   string // the property that holds the PEM text
}

var (
	keyStore = tlsStore{
		"key store", "ssl.keystore.type", "ssl.keystore.location", "ssl.keystore.password", "ssl.keystore.key",
	}
	trustStore = tlsStore{
		"trust store", "ssl.truststore.type", "ssl.truststore.location", "ssl.truststore.password",
		"ssl.truststore.certificates",
	}
)

const (
	keyEngine = "ssl.engine.factory.class"
	keyChain  = "ssl.keystore.certificate.chain"
	typePEM   = "PEM" // to the letter
	typeJKS   = "JKS" // Kafka's default
)

// checkTLS refuses a listener whose stores Kafka does not open. A property that the
// listener does not have of its own it takes from the broker's property of that name.
func (c *brokerConfig) checkTLS(name string, exists func(string) bool) (warnings []string, err error) {
	if c.scoped(name, keyEngine, "") != "" {
		return nil, nil
	}
	if text, next := c.checkKeyStore(name); text != "" {
		return nil, c.refuseTLS(name, text, next)
	}
	if text, next := c.checkStore(name, trustStore); text != "" {
		return nil, c.refuseTLS(name, text, next)
	}
	for _, key := range []string{keyStore.location, trustStore.location} {
		path := c.scoped(name, key, "")
		if exists != nil && path != "" && !strings.Contains(path, "${") && !exists(path) {
			warnings = append(warnings,
				fmt.Sprintf("listener %s: %s %s is not there, or not visible to kpls-agent", name, key, path))
		}
	}
	return warnings, nil
}

func (c *brokerConfig) refuseTLS(name, text, next string) error {
	r := &Refusal{
		Rule: "R25", Path: c.path, Line: c.line(keyProtocolMap),
		Text: fmt.Sprintf("listener %s uses TLS and %s", name, text), Next: next,
	}
	return r.by(name, "security_protocol")
}

func (c *brokerConfig) checkKeyStore(name string) (text, next string) {
	location, key, chain := c.given(name, keyStore.location), c.given(name, keyStore.inline), c.given(name, keyChain)
	switch {
	case !location && !key && !chain:
		return "has no key store",
			"add ssl.keystore.location, or ssl.keystore.key and ssl.keystore.certificate.chain, " +
				"to its properties in the manifest"
	case key != chain:
		return "has only one of ssl.keystore.key and ssl.keystore.certificate.chain", "add the other one"
	}
	if text, next = c.checkStore(name, keyStore); text != "" || c.storeType(name, keyStore) == "" {
		return text, next
	}
	if c.storeType(name, keyStore) != typePEM && !c.hasScoped(name, keyStore.password) {
		return "its key store has no password, which Kafka refuses for any type but PEM",
			"add ssl.keystore.password to its properties in the manifest, or set ssl.keystore.type: PEM"
	}
	return "", ""
}

// checkStore is what holds for both kinds of stores.
func (c *brokerConfig) checkStore(name string, s tlsStore) (text, next string) {
	kind := c.storeType(name, s)
	location, inline, password := c.given(name, s.location), c.given(name, s.inline), c.hasScoped(name, s.password)
	switch {
	case inline && location:
		return fmt.Sprintf("has both %s and %s", s.inline, s.location), "remove one of them"
	case kind == "": // only Kafka can tell
	case inline && kind != typePEM:
		return fmt.Sprintf("has %s with a %s of another type than PEM", s.inline, s.kind), "set " + s.typeKey + ": PEM"
	case kind == typePEM && (inline || location) && password:
		return fmt.Sprintf("has %s%s, which Kafka refuses for a %s of type PEM",
				s.password, c.inherited(name, s.password), s.kind),
			"remove it, or take a " + s.kind + " of another type"
	}
	if !location && !inline && password {
		return fmt.Sprintf("has %s%s and no %s", s.password, c.inherited(name, s.password), s.kind),
			"remove it, or add " + s.location
	}
	return "", ""
}

// storeType is the type of a store, "" if a placeholder hides it.
func (c *brokerConfig) storeType(name string, s tlsStore) string {
	kind := c.scoped(name, s.typeKey, typeJKS)
	if strings.Contains(kind, "${") {
		return ""
	}
	return kind
}

// given is true if a listener has a value for a property, its own or the broker's.
func (c *brokerConfig) given(name, key string) bool { return c.scoped(name, key, "") != "" }

// hasScoped is given for a password, which counts also if it is empty.
func (c *brokerConfig) hasScoped(name, key string) bool {
	return c.has(listenerPrefix(name)+key) || c.has(key)
}

// inherited says where a property stands that a listener does not have of its own.
func (c *brokerConfig) inherited(name, key string) string {
	if c.has(listenerPrefix(name) + key) {
		return ""
	}
	return fmt.Sprintf(" (from line %d of %s, which is for all listeners)", c.line(key), c.path)
}
