package config

import (
	"slices"
	"strings"
)

// brokerConfig is what Kafka makes of the listener properties of a file.
type brokerConfig struct {
	*propFile
	version Version
	roles   []string // of process.roles; none is ZooKeeper mode
	// controllers are the names of controller.listener.names as Kafka compares
	// them with the (upper-case) names of listeners: to the letter.
	controllers []string
	listeners   []listenerItem
	// advertised is the value of advertised.listeners, or its default: all
	// listeners that are not controllers.
	advertised []listenerItem
	// protocols is the value of the map, or its default.
	protocols []mapItem
}

// newBrokerConfig works out the listeners of a file. It fails where a list
// cannot be read at all; whether Kafka would start with it is for validate.
func newBrokerConfig(p *propFile, v Version) (*brokerConfig, error) {
	c := &brokerConfig{propFile: p, version: v}
	c.roles = splitList(c.text(keyRoles))
	c.controllers = controllerNames(c.text(keyControllerNames), v)
	var err error
	if c.listeners, err = c.list(keyListeners, c.textOr(keyListeners, defaultListeners)); err != nil {
		return nil, err
	}
	if c.has(keyAdvertised) {
		if c.advertised, err = c.list(keyAdvertised, c.text(keyAdvertised)); err != nil {
			return nil, err
		}
	} else {
		c.advertised = c.defaultAdvertised(c.listeners)
	}
	if !c.has(keyProtocolMap) {
		c.protocols = c.defaultProtocols(c.listeners)
		return c, nil
	}
	var fault *listFault
	if c.protocols, fault = parseProtocolMap(c.text(keyProtocolMap)); fault != nil {
		return nil, c.fault(fault.rule, keyProtocolMap, fault.text, "correct "+keyProtocolMap)
	}
	return c, nil
}

func (c *brokerConfig) list(key, value string) ([]listenerItem, error) {
	items, fault := parseListenerList(value)
	if fault != nil {
		return nil, c.fault(fault.rule, key, key+": "+fault.text, "correct "+key)
	}
	return items, nil
}

// has is true if the file sets a property, whatever to.
func (p *propFile) has(key string) bool {
	_, ok := p.last[key]
	return ok
}

// text is a property's value as ConfigDef trims it, empty if it is not set.
func (p *propFile) text(key string) string {
	value, _ := p.get(key)
	return trimJava(value)
}

func (p *propFile) textOr(key, def string) string {
	if p.has(key) {
		return p.text(key)
	}
	return def
}

// scoped is a property as a listener sees it: its own value, or the base value
// (AbstractConfig.valuesWithPrefixOverride).
func (p *propFile) scoped(listener, key, def string) string {
	return p.textOr(listenerPrefix(listener)+key, p.textOr(key, def))
}

// listenerPrefix is what the properties of one listener begin with (ListenerName.configPrefix).
func listenerPrefix(listener string) string {
	return prefixListener + strings.ToLower(listener) + "."
}

// kraft is true if the node needs no ZooKeeper.
func (c *brokerConfig) kraft() bool { return len(c.roles) > 0 }

func (c *brokerConfig) isController(listener string) bool {
	return slices.Contains(c.controllers, listener)
}

// controllerNames splits controller.listener.names. Before 4.1 Kafka splits it at
// the commas and leaves blanks in place.
func controllerNames(value string, v Version) []string {
	if v.surelySince(4, 1) {
		return splitNonEmpty(value)
	}
	if value == "" {
		return nil
	}
	names := strings.Split(value, ",")
	for len(names) > 0 && names[len(names)-1] == "" {
		names = names[:len(names)-1]
	}
	return names
}

// defaultAdvertised is what an absent advertised.listeners stands for.
func (c *brokerConfig) defaultAdvertised(listeners []listenerItem) []listenerItem {
	return slices.DeleteFunc(slices.Clone(listeners), func(i listenerItem) bool { return c.isController(i.name) })
}

// defaultProtocols is what an absent listener.security.protocol.map stands for
// (KafkaConfig.effectiveListenerSecurityProtocolMap): the protocols under their
// own names, and in KRaft mode PLAINTEXT for the controllers, unless one of the
// listeners or controllers is named after a protocol that is not PLAINTEXT.
func (c *brokerConfig) defaultProtocols(listeners []listenerItem) []mapItem {
	items, _ := parseProtocolMap(defaultProtocolMap)
	secured := func(name string) bool { return usesTLS(name) || usesSASL(name) }
	if !c.kraft() || slices.ContainsFunc(c.controllers, secured) ||
		slices.ContainsFunc(listeners, func(i listenerItem) bool { return secured(i.name) }) {
		return items
	}
	for _, name := range c.controllers {
		if name != "PLAINTEXT" {
			items = append(items, mapItem{name: name, protocol: "PLAINTEXT", text: name + ":PLAINTEXT"})
		}
	}
	return items
}

// interBroker is the name of the listener that brokers use among themselves.
func (p *propFile) interBroker() string {
	if p.has(keyInterBroker) {
		return strings.ToUpper(p.text(keyInterBroker))
	}
	return p.textOr(keyInterProtocol, "PLAINTEXT")
}

// fault makes the refusal of a property.
func (p *propFile) fault(rule, key, text, next string) *Refusal {
	return &Refusal{Rule: rule, Path: p.path, Line: p.line(key), key: key, Text: text, Next: next}
}

// Effective is one listener as the broker will run it.
type Effective struct {
	// Name is upper case.
	Name string
	// BindHost is as written in `listeners`, without brackets; empty binds all addresses.
	BindHost string
	BindPort int
	// Advertised is false for a listener that clients do not learn of, such as a controller's.
	Advertised bool
	// AdvertisedHost may be empty: then Kafka takes the host's own name.
	AdvertisedHost   string
	AdvertisedPort   int
	SecurityProtocol string
	Controller       bool
}

// effective lists the listeners in the order of `listeners`.
func (c *brokerConfig) effective() []Effective {
	out := make([]Effective, 0, len(c.listeners))
	for _, l := range c.listeners {
		e := Effective{Name: l.name, BindHost: l.host, BindPort: l.port, Controller: c.isController(l.name)}
		e.SecurityProtocol, _ = lookupProtocol(c.protocols, l.name)
		if i := findItem(c.advertised, l.name); i >= 0 {
			e.Advertised, e.AdvertisedHost, e.AdvertisedPort = true, c.advertised[i].host, c.advertised[i].port
		}
		out = append(out, e)
	}
	return out
}
