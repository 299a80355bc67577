package config

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// validate refuses a file that a broker of Kafka's version would not start with,
// as far as its listeners are concerned. The rules come from
// kafka.server.KafkaConfig and the classes it uses, read at the releases 3.3 to
// 4.4; the tests let several of these releases judge the same files.
func (c *brokerConfig) validate() error {
	for _, rule := range []func() error{
		c.checkListSyntax, c.checkNames, c.checkPorts, c.checkProtocols,
		c.checkMode, c.checkReservedID, c.checkControllers, c.checkVoters,
		c.checkAdvertised, c.checkMetaAddress, c.checkInterBroker,
		c.checkControlPlane, c.checkOtherListenerProperties,
	} {
		if err := rule(); err != nil {
			return err
		}
	}
	return nil
}

// checkListSyntax is S2': since 4.2 (KIP-1161) all lists are of type LIST, and an empty item is refused. Repeated ones
// are dropped with a warning.
func (c *brokerConfig) checkListSyntax() error {
	if !c.version.maybeSince(4, 2) {
		return nil
	}
	if err := c.checkOtherLists(); err != nil {
		return err
	}
	for _, key := range []string{keyListeners, keyAdvertised, keyControllerNames} {
		items := splitList(c.text(key))
		if c.has(key) && (len(items) == 0 && c.kraft() || slices.Contains(items, "")) {
			return c.fault("S2", key, key+" has an empty item, which Kafka 4.2 and later refuse",
				"remove the spare comma, or the line")
		}
	}
	return nil
}

// checkOtherLists looks at every other list of the file, those that a listener has of its own included: Kafka judges
// these when it builds the listener's channels.
func (c *brokerConfig) checkOtherLists() error {
	for i, e := range c.entries {
		switch {
		case c.last[e.key] != i, placeholder(e.value),
			slices.Contains([]string{keyListeners, keyAdvertised, keyControllerNames}, e.key):
			continue
		}
		for _, p := range kinds(baseName(e.key), c.version) {
			if p.kind == typeList && p.refusesList(trimJava(e.value)) == emptyItem {
				return c.fault("S2", e.key, e.key+" has an empty item, which Kafka 4.2 and later refuse",
					"remove the spare comma")
			}
		}
	}
	return nil
}

// checkNames is R1: a name is there once.
func (c *brokerConfig) checkNames() error {
	for _, list := range []struct {
		key   string
		items []listenerItem
	}{{keyListeners, c.listeners}, {keyAdvertised, c.advertised}} {
		for i, item := range list.items {
			if findItem(list.items, item.name) != i {
				return c.fault("R1", list.key, fmt.Sprintf("listener %s is there twice in %s", item.name, list.key),
					"keep one of them")
			}
		}
	}
	return nil
}

// checkPorts is R2, and what KafkaConfig does not look at but binding and
// registering the broker do later: that ports are possible ones (R9, R26).
func (c *brokerConfig) checkPorts() error {
	for i, a := range c.listeners {
		if a.port < 0 || a.port > 65535 {
			return c.fault("R26", keyListeners, fmt.Sprintf("listener %s cannot bind port %d", a.name, a.port),
				"choose a port from 1 to 65535")
		}
		for _, b := range c.listeners[:i] {
			if a.port != b.port || a.port == 0 {
				continue
			}
			if c.version.maybeBefore(3, 6) || !differentFamilies(a.host, b.host) || c.thirdOnPort(a.port) {
				return c.fault("R2", keyListeners,
					fmt.Sprintf("listeners %s and %s bind the same port %d", b.name, a.name, a.port),
					"give each listener a port of its own")
			}
		}
	}
	for _, a := range c.advertised {
		if a.port < 0 || a.port > 65535 {
			return c.fault("R9", keyAdvertised, fmt.Sprintf("listener %s cannot advertise port %d", a.name, a.port),
				"choose a port from 1 to 65535")
		}
	}
	return nil
}

func (c *brokerConfig) thirdOnPort(port int) bool {
	n := 0
	for _, l := range c.listeners {
		if l.port == port {
			n++
		}
	}
	return n > 2
}

// differentFamilies is true for one IPv4 and one IPv6 address (KIP-797).
func differentFamilies(a, b string) bool {
	x, err1 := netip.ParseAddr(a)
	y, err2 := netip.ParseAddr(b)
	return err1 == nil && err2 == nil && x.Zone() == "" && y.Zone() == "" && x.Is4() != y.Is4()
}

// checkProtocols is S9: every listener has a protocol.
func (c *brokerConfig) checkProtocols() error {
	for _, item := range slices.Concat(c.listeners, c.advertised) {
		if _, ok := lookupProtocol(c.protocols, item.name); !ok {
			return c.fault("S9", keyProtocolMap,
				fmt.Sprintf("listener %s has no entry in %s", item.name, keyProtocolMap),
				"add "+item.name+":PROTOCOL to it")
		}
	}
	return nil
}

// checkMode looks at what KRaft and ZooKeeper mode ask for in addition to listeners.
func (c *brokerConfig) checkMode() error {
	if c.kraft() {
		if c.version.maybeBefore(4, 0) && c.has(keyControlPlane) {
			return c.fault("R21", keyControlPlane, keyControlPlane+" is not supported with "+keyRoles,
				"remove the line")
		}
		return nil
	}
	switch {
	case c.version.surelySince(4, 0):
		return c.fault("R21", keyRoles,
			fmt.Sprintf("%s is not set, and Kafka %s has no ZooKeeper mode", keyRoles, c.version), "set "+keyRoles)
	case !c.has(keyZooKeeper):
		return c.fault("R21", keyZooKeeper, "neither "+keyRoles+" nor "+keyZooKeeper+" is set", "set one of them")
	case len(c.controllers) > 0:
		return c.fault("R21", keyControllerNames, keyControllerNames+" must be empty without "+keyRoles,
			"remove the line")
	}
	return nil
}

// checkControllers is R16, R17 and R18.
func (c *brokerConfig) checkControllers() error {
	if !c.kraft() {
		return nil
	}
	if len(c.controllers) == 0 {
		return c.fault("R17", keyControllerNames, keyControllerNames+" is empty",
			"name the listener that the controllers use")
	}
	for _, name := range c.controllers {
		bound := findItem(c.listeners, name) >= 0
		if slices.Contains(c.roles, "controller") {
			if !bound {
				return c.fault("R17", keyControllerNames,
					fmt.Sprintf("controller listener %q is not in %s", name, keyListeners),
					"write it there in upper case, and without blanks in "+keyControllerNames)
			}
			continue
		}
		if bound {
			return c.fault("R18", keyListeners,
				fmt.Sprintf("controller listener %s is in %s of a node that is only a broker", name, keyListeners),
				"remove it there")
		}
		if _, ok := lookupProtocol(c.protocols, strings.ToUpper(name)); !ok {
			return c.fault("R18", keyProtocolMap,
				fmt.Sprintf("controller listener %q has no entry in %s", name, keyProtocolMap), "add it there")
		}
	}
	return nil
}

// voterPattern is what Kafka reads of an element of controller.quorum.voters.
var voterPattern = regexp.MustCompile(`^([+-]?[0-9]+)@[^@]*?\[?[0-9a-zA-Z\-%._:]*\]?:[0-9]+$`)

// checkVoters is R18 and R20, as far as the voters' ids go.
func (c *brokerConfig) checkVoters() error {
	value := c.text(keyVoters)
	if !c.kraft() || strings.Contains(value, "${") {
		return nil
	}
	voters := splitList(value)
	if len(voters) == 0 {
		if c.has(keyBootstrap) && c.text(keyBootstrap) != "" && (c.version.IsZero() || c.version.surelySince(3, 9)) {
			return nil // a dynamic quorum (KIP-853)
		}
		return c.fault("R20", keyVoters, keyVoters+" is not set", "name the controllers in it")
	}
	self, found := c.id(), false
	for _, voter := range voters {
		m := voterPattern.FindStringSubmatch(voter)
		if m == nil {
			return c.fault("R20", keyVoters, fmt.Sprintf("%q in %s is not ID@host:port", voter, keyVoters),
				"correct it")
		}
		id, err := strconv.ParseInt(m[1], 10, 32)
		found = found || err == nil && int32(id) == self
	}
	switch isController := slices.Contains(c.roles, "controller"); {
	case isController && !found:
		return c.fault("R20", keyVoters, fmt.Sprintf("node %d is a controller and not in %s", self, keyVoters),
			"add it there")
	case !isController && found:
		return c.fault("R18", keyVoters, fmt.Sprintf("node %d is only a broker and is in %s", self, keyVoters),
			"remove it there, or add the role controller")
	}
	return nil
}

// checkAdvertised is R5, R6 and R10.
func (c *brokerConfig) checkAdvertised() error {
	brokers := 0
	for _, a := range c.advertised {
		switch {
		case !c.isController(a.name):
			brokers++
			if findItem(c.listeners, a.name) < 0 {
				return c.fault("R5", keyAdvertised,
					fmt.Sprintf("listener %s is advertised and not in %s", a.name, keyListeners),
					"add it there, or remove it here")
			}
		case c.version.maybeBefore(3, 9):
			next := "remove it from " + keyAdvertised
			if c.version.IsZero() {
				next += ", or say which version this is if it is 3.9 or later"
			}
			return c.fault("R10", keyAdvertised,
				fmt.Sprintf("controller listener %s is advertised, which Kafka refuses before 3.9", a.name), next)
		}
	}
	if brokers == 0 {
		return c.fault("R6", keyAdvertised, "no listener for clients is advertised", "name one in "+keyAdvertised)
	}
	return nil
}

// checkMetaAddress is R7 and R12. Kafka looks for the text 0.0.0.0 only; other
// spellings of "any address" are no better an address for a client.
func (c *brokerConfig) checkMetaAddress() error {
	for _, a := range c.advertised {
		if isUnspecified(a.host) {
			return c.fault("R7", keyAdvertised,
				fmt.Sprintf("listener %s advertises %s, which is no address to connect to", a.name, a.host),
				"advertise a name or an address that clients reach")
		}
	}
	if c.version != (Version{3, 9, 0}) {
		return nil
	}
	for _, name := range c.controllers {
		items := c.listeners
		if findItem(c.advertised, name) >= 0 {
			items = c.advertised
		}
		if i := findItem(items, name); i >= 0 && items[i].host == "0.0.0.0" {
			return c.fault("R12", keyListeners,
				fmt.Sprintf("Kafka 3.9.0 refuses the controller listener %s on 0.0.0.0 (KAFKA-18281)", name),
				"upgrade to 3.9.1")
		}
	}
	return nil
}

// checkInterBroker is R13, R14, R15 and R23.
func (c *brokerConfig) checkInterBroker() error {
	if c.has(keyInterBroker) && c.has(keyInterProtocol) {
		return c.fault("R13", keyInterProtocol, "both "+keyInterBroker+" and "+keyInterProtocol+" are set",
			"keep one of them")
	}
	name, key := c.interBroker(), keyInterBroker
	if !c.has(keyInterBroker) {
		key = keyInterProtocol
		if !isProtocol(name) {
			return c.fault("S7", key, fmt.Sprintf("%s is none of PLAINTEXT, SSL, SASL_PLAINTEXT, SASL_SSL", key),
				"correct it")
		}
	}
	protocol, ok := lookupProtocol(c.protocols, name)
	if !ok && c.has(keyInterBroker) {
		return c.fault("R14", key, fmt.Sprintf("the inter-broker listener %q has no entry in %s", name, keyProtocolMap),
			"correct "+key)
	}
	if !c.has(keyInterBroker) {
		protocol = name
	}
	if findItem(c.advertised, name) < 0 || c.isController(name) {
		rule := "R14"
		if !c.has(keyInterBroker) {
			rule = "R15"
		}
		return c.fault(rule, key, fmt.Sprintf("the inter-broker listener %s is not advertised", name),
			"add it to "+keyAdvertised+" or set "+keyInterBroker)
	}
	mechanism := c.textOr(keyInterMechanism, "GSSAPI")
	if usesSASL(protocol) && !slices.Contains(splitList(c.scoped(name, keyMechanisms, "GSSAPI")), mechanism) {
		return c.fault("R23", keyInterMechanism,
			fmt.Sprintf("%s is not among the %s of listener %s", keyInterMechanism, keyMechanisms, name),
			"add it there")
	}
	return nil
}

// checkControlPlane is R21 of ZooKeeper mode.
func (c *brokerConfig) checkControlPlane() error {
	if c.kraft() || !c.has(keyControlPlane) {
		return nil
	}
	name := strings.ToUpper(c.text(keyControlPlane))
	switch _, mapped := lookupProtocol(c.protocols, name); {
	case !mapped || findItem(c.advertised, name) < 0:
		return c.fault("R21", keyControlPlane, fmt.Sprintf("the control plane listener %q is not advertised", name),
			"add it to "+keyAdvertised)
	case name == c.interBroker():
		return c.fault("R21", keyControlPlane, "the control plane listener is the inter-broker listener",
			"choose another one")
	}
	return nil
}

// checkOtherListenerProperties is R22.
func (c *brokerConfig) checkOtherListenerProperties() error {
	for _, name := range splitNonEmpty(c.text(keyEarlyStart)) {
		if findItem(c.listeners, name) < 0 {
			return c.fault("R22", keyEarlyStart,
				fmt.Sprintf("%s names %q, which is not in %s", keyEarlyStart, name, keyListeners),
				"write it in upper case, or remove it")
		}
	}
	name := strings.ToUpper(c.text(keyRemoteListener))
	if strings.EqualFold(c.text(keyRemoteStorage), "true") && name != "" && findItem(c.advertised, name) < 0 {
		return c.fault("R22", keyRemoteListener,
			fmt.Sprintf("%s names %q, which is not advertised", keyRemoteListener, name), "name a listener that is")
	}
	return nil
}
