package config

import (
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
)

// Node is what a server.properties says of its broker without regard to any manifest.
type Node struct {
	// BrokerID is node.id or broker.id, 0 or more.
	BrokerID int32
	// KRaft is true if process.roles is set; false is ZooKeeper mode.
	KRaft bool
	// Controller is true if the node is a controller, too.
	Controller bool
	// InterBroker is the listener that the brokers use among themselves.
	InterBroker Effective
	// Controllers are the names of the controller listeners.
	Controllers []string
	// Listeners are all listeners, with the ports they bind.
	Listeners []Effective
	// Mechanisms are the SASL mechanisms of each listener with SASL, by its name, as
	// the file says; a dynamic configuration can have changed them since.
	Mechanisms map[string][]string
}

// Identity reads a broker's server.properties. The file need not be one that
// Kafka would start with, but one that names a broker and its inter-broker
// listener. An error is a *Refusal.
func Identity(path string, file []byte) (Node, error) {
	p, err := readProperties(path, file)
	if err != nil {
		return Node{}, already(err)
	}
	if err := p.crossCheck(ownReading); err != nil {
		return Node{}, already(err)
	}
	if err := p.checkNode(); err != nil {
		return Node{}, already(err)
	}
	c, err := newBrokerConfig(p, Version{})
	if err != nil {
		return Node{}, already(err)
	}
	n := Node{
		BrokerID: p.id(), KRaft: c.kraft(), Controller: slices.Contains(c.roles, "controller"),
		Controllers: splitNonEmpty(p.text(keyControllerNames)), Listeners: c.effective(),
	}
	name := c.interBroker()
	i := slices.IndexFunc(n.Listeners, func(e Effective) bool { return e.Name == name })
	if i < 0 || !n.Listeners[i].Advertised {
		return Node{}, already(
			c.fault("R14", keyInterBroker,
				fmt.Sprintf("the inter-broker listener %s is not among %s and %s", name, keyListeners, keyAdvertised),
				"correct "+keyInterBroker+" or the lists"),
		)
	}
	n.InterBroker = n.Listeners[i]
	for _, e := range n.Listeners {
		if usesSASL(e.SecurityProtocol) {
			if n.Mechanisms == nil {
				n.Mechanisms = map[string][]string{}
			}
			n.Mechanisms[e.Name] = splitNonEmpty(c.scoped(e.Name, keyMechanisms, "GSSAPI"))
		}
	}
	return n, nil
}

// Listener returns the listener with a name, in any case, that clients can use.
func (n Node) Listener(name string) (Effective, error) {
	name = strings.ToUpper(name)
	var others []string
	for _, e := range n.Listeners {
		switch serves := e.Advertised && !e.Controller; {
		case e.Name != name && serves:
			others = append(others, e.Name)
		case e.Name != name:
		case e.Controller:
			return e, fmt.Errorf("listener %s is for controllers alone", name)
		case !serves:
			return e, fmt.Errorf("listener %s is not in %s, so nobody learns of other brokers where it is", name,
				keyAdvertised)
		default:
			return e, nil
		}
	}
	return Effective{}, fmt.Errorf("there is no listener %s among the %s of this broker, which has %s for clients",
		name, keyListeners, strings.Join(others, ", "))
}

// Address is host:port of an advertised listener as seen from the broker's own
// machine. Where the listener advertises no host, Kafka registers the machine's
// own name; the address that the listener binds serves as well, and this
// machine's name where it binds all.
func (e Effective) Address() string {
	host, port := e.AdvertisedHost, e.AdvertisedPort
	if host == "" && !isUnspecified(e.BindHost) {
		host = e.BindHost
	}
	if host == "" {
		if name, err := os.Hostname(); err == nil {
			host = name
		} else {
			host = "127.0.0.1"
		}
	}
	if port == 0 {
		port = e.BindPort
	}
	return net.JoinHostPort(host, strconv.Itoa(port))
}
