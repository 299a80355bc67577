package config

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

var (
	managedName  = regexp.MustCompile(`^[A-Z][A-Z0-9_-]*$`)
	kafkaHost    = regexp.MustCompile(`^[0-9a-zA-Z\-%._:]*$`)
	propertyName = regexp.MustCompile(`^[0-9A-Za-z._-]+$`)
)

// check refuses a Desired that cannot be written, whatever the file. A manifest
// that has passed ParseManifest does not get here with most of it; a listener's
// own properties do.
func (d Desired) check(path string) error {
	seen := map[string]bool{}
	for _, name := range d.names() {
		if !managedName.MatchString(name) {
			return valueRefusal(path, "NAME", fmt.Sprintf("%q is no name for a managed listener", name),
				"use upper-case letters, digits, '_' and '-'").by(name, "")
		}
		if seen[name] {
			return valueRefusal(path, "NAME", fmt.Sprintf("listener %s is named twice", name),
				"name it once in the manifest").by(name, "")
		}
		seen[name] = true
	}
	for _, e := range d.Endpoints {
		if r := e.check(path); r != nil {
			return r
		}
	}
	return nil
}

func (e Endpoint) check(path string) *Refusal {
	switch {
	case !isProtocol(e.SecurityProtocol):
		return valueRefusal(path, "S7",
			fmt.Sprintf("listener %s: %q is no security protocol", e.Name, e.SecurityProtocol),
			"use PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL").by(e.Name, "security_protocol")
	case e.BindPort < 1 || e.BindPort > 65535 || !kafkaHost.MatchString(e.BindHost):
		return valueRefusal(path, "S3", fmt.Sprintf("listener %s cannot bind %s:%d", e.Name, e.BindHost, e.BindPort),
			"correct `bind` in the manifest").by(e.Name, "bind")
	case e.AdvertisedPort < 1 || e.AdvertisedPort > 65535 || !kafkaHost.MatchString(e.AdvertisedHost) ||
		e.AdvertisedHost == "" || isUnspecified(e.AdvertisedHost):
		return valueRefusal(path, "R7",
			fmt.Sprintf("listener %s cannot advertise %q, port %d", e.Name, e.AdvertisedHost, e.AdvertisedPort),
			"correct `advertised` in the manifest").by(e.Name, "advertised")
	}
	for _, key := range slices.Sorted(maps.Keys(e.Properties)) {
		if r := e.checkProperty(path, key, trimJava(e.Properties[key])); r != nil {
			return r.by(e.Name, "properties."+key)
		}
	}
	return nil
}

func (e Endpoint) checkProperty(path, key, value string) *Refusal {
	where := fmt.Sprintf("listener %s, property %s", e.Name, key)
	switch {
	case !propertyName.MatchString(key):
		return valueRefusal(path, "VALUE", fmt.Sprintf("listener %s: %q is no name of a property", e.Name, key),
			"use the names of Kafka's documentation, without listener.name")
	case key == "sasl.jaas.config":
		return valueRefusal(path, "VALUE", where+": Kafka ignores it without a mechanism",
			"write MECHANISM.sasl.jaas.config, such as scram-sha-512.sasl.jaas.config")
	case shownByBroker(key) && strings.Contains(value, "${"):
		return valueRefusal(path, "PLACEHOLDER",
			where+": the broker shows this value resolved, so it can never be compared with a placeholder",
			"write the value itself")
	}
	if strings.Contains(value, "${") {
		return nil
	}
	if strings.HasSuffix(key, ".sasl.jaas.config") {
		if _, err := ParseJAAS(value); err != nil { // the error has nothing of the value
			return valueRefusal(path, "VALUE", where+": the entry "+err.Error(), `write CLASS required option="value";`)
		}
	}
	if isList(baseProperty(key)) && slices.Contains(splitList(value), "") {
		return valueRefusal(path, "VALUE", where+": it has an empty item, which Kafka 4.2 and later refuse (KIP-1161)",
			"remove the spare comma")
	}
	if check, ok := propertyValues[baseProperty(key)]; ok && !check.ok(value) {
		return valueRefusal(path, "VALUE", fmt.Sprintf("%s: %q is not %s", where, value, check.want),
			"correct it in the manifest")
	}
	return nil
}

func valueRefusal(path, rule, text, next string) *Refusal {
	return &Refusal{Rule: rule, Path: path, Text: text, Next: next}
}

// propertyCheck is what Kafka's ConfigDef asks of a value.
type propertyCheck struct {
	want string
	ok   func(string) bool
}

func wholeNumber(want string, bits int, low int64) propertyCheck {
	return propertyCheck{want, func(s string) bool {
		n, err := strconv.ParseInt(s, 10, bits)
		return err == nil && n >= low
	}}
}

// propertyValues are the checks of listener properties that make the broker fail
// when it opens the listener.
var propertyValues = map[string]propertyCheck{
	"max.connections":                       wholeNumber("a number from 0 up", 32, 0),
	"max.connection.creation.rate":          wholeNumber("a number from 0 up", 32, 0),
	"num.network.threads":                   wholeNumber("a number from 1 up", 32, 1),
	"connections.max.reauth.ms":             wholeNumber("a number", 64, -1<<63),
	"sasl.server.max.receive.size":          wholeNumber("a number", 32, -1<<31),
	"sasl.kerberos.min.time.before.relogin": wholeNumber("a number", 64, -1<<63),
	"ssl.client.auth": {"required, requested or none", func(s string) bool {
		return s == "required" || s == "requested" || s == "none"
	}},
}

// shown are the properties a listener can have of its own whose type every
// supported version knows and does not keep secret: DescribeConfigs tells their
// value. Of all others it tells at most the name.
var shown = map[string]bool{
	"ssl.protocol":                             true,
	"ssl.provider":                             true,
	"ssl.cipher.suites":                        true,
	"ssl.enabled.protocols":                    true,
	"ssl.keystore.type":                        true,
	"ssl.keystore.location":                    true,
	"ssl.truststore.type":                      true,
	"ssl.truststore.location":                  true,
	"ssl.keymanager.algorithm":                 true,
	"ssl.trustmanager.algorithm":               true,
	"ssl.endpoint.identification.algorithm":    true,
	"ssl.secure.random.implementation":         true,
	"ssl.client.auth":                          true,
	"ssl.principal.mapping.rules":              true,
	"ssl.engine.factory.class":                 true,
	"principal.builder.class":                  true,
	"connections.max.reauth.ms":                true,
	"sasl.enabled.mechanisms":                  true,
	"sasl.server.callback.handler.class":       true,
	"sasl.login.class":                         true,
	"sasl.login.callback.handler.class":        true,
	"sasl.kerberos.service.name":               true,
	"sasl.kerberos.kinit.cmd":                  true,
	"sasl.kerberos.ticket.renew.window.factor": true,
	"sasl.kerberos.ticket.renew.jitter":        true,
	"sasl.kerberos.min.time.before.relogin":    true,
	"sasl.kerberos.principal.to.local.rules":   true,
	"sasl.login.refresh.window.factor":         true,
	"sasl.login.refresh.window.jitter":         true,
	"sasl.login.refresh.min.period.seconds":    true,
	"sasl.login.refresh.buffer.seconds":        true,
	"max.connections":                          true,
	"max.connection.creation.rate":             true,
	"num.network.threads":                      true,
}

// hiddenButKnown are the others that Kafka knows; for a warning about names it does not know.
var hiddenButKnown = map[string]bool{
	"ssl.keystore.password": true, "ssl.key.password": true, "ssl.truststore.password": true, "ssl.keystore.key": true,
	"ssl.keystore.certificate.chain": true, "ssl.truststore.certificates": true, "sasl.jaas.config": true,
	"sasl.server.max.receive.size": true, "ssl.allow.dn.changes": true, "ssl.allow.san.changes": true,
}

// isList is true for a property that any version takes for a list.
func isList(name string) bool {
	return slices.ContainsFunc(kinds(name, Version{}), func(p property) bool { return p.kind == typeList })
}

// known is true for a property that a listener can have of its own. Those of OAUTHBEARER and of a login are read with
// the listener's prefix, and with the mechanism's (ConfigurationUtils; KIP-768).
func known(key string) bool {
	base := baseProperty(key)
	if shown[base] || hiddenButKnown[base] {
		return true
	}
	base = strings.TrimPrefix(base, "oauthbearer.")
	return (strings.HasPrefix(base, "sasl.oauthbearer.") || strings.HasPrefix(base, "sasl.login.")) &&
		len(kinds(base, Version{})) > 0
}

// mechanismProperties may have a SASL mechanism before their name
// (DynamicBrokerConfig.ListenerMechanismConfigs).
var mechanismProperties = []string{
	"sasl.jaas.config", "sasl.login.callback.handler.class", "sasl.login.class",
	"sasl.server.callback.handler.class", "connections.max.reauth.ms",
}

// baseProperty takes the mechanism off a listener's property.
func baseProperty(key string) string {
	for _, base := range mechanismProperties {
		if strings.HasSuffix(key, "."+base) {
			return base
		}
	}
	return key
}

// shownByBroker is true if DescribeConfigs tells the value of a listener's
// property; key is without listener.name.NAME.
func shownByBroker(key string) bool { return shown[baseProperty(key)] }
