package config

import (
	"slices"
	"strings"
)

// Bootstrap makes a listener the one behind a shared bootstrap port: a port of the load balancer that leads to all
// brokers. Clients learn there the addresses of another listener, and go on at the port of each broker.
type Bootstrap struct {
	// Of is the listener whose addresses this one advertises, upper case; empty for an ordinary listener.
	Of string
	// Port is the load balancer's port that leads to all brokers, 1-65535.
	Port int
}

func bootstrapFields() []Field {
	return []Field{
		{
			Name:     "of",
			Required: true,
			Doc:      "The managed listener whose addresses this one advertises. It has the same `security_protocol`.",
			Shape:    *listenerNameShape(),
		},
		{
			Name:     "port",
			Required: true,
			Doc:      "The load balancer's port that leads to all brokers. No broker has it as its own port.",
			Shape:    portShape(),
		},
	}
}

// shareAddresses gives each bootstrap listener the addresses of the listener that it is of.
func (b *manifestBuilder) shareAddresses() {
	for i := range b.m.Listeners {
		l := &b.m.Listeners[i]
		if of := b.bootstrapOf(l); of != nil {
			l.Advertised, l.AdvertisedByZone, l.PortBase = of.Advertised, of.AdvertisedByZone, of.PortBase
		}
	}
}

// bootstrapOf is the listener whose addresses a listener advertises; nil where there is none, or none that may be.
func (b *manifestBuilder) bootstrapOf(l *Listener) *Listener {
	i := slices.IndexFunc(b.m.Listeners, func(o Listener) bool { return o.Name == l.Bootstrap.Of })
	if i < 0 || b.listeners[l.Bootstrap.Of].Get("bootstrap").Given {
		return nil
	}
	return &b.m.Listeners[i]
}

// checkBootstrap checks a listener that is behind a shared bootstrap port.
func (b *manifestBuilder) checkBootstrap(l *Listener) {
	v := b.listeners[l.Name]
	given := v.Get("bootstrap")
	for _, name := range []string{"advertised", "advertised_by_zone", "port_base"} {
		if other := v.Get(name); other.Given {
			b.doc.Fault(other, "is given together with bootstrap, and the addresses are those of the listener in `of`; "+
				"keep one of the two")
		}
	}
	name := given.Get("of")
	of := b.bootstrapOf(l)
	switch {
	case given.Bad:
		return
	case b.listeners[l.Bootstrap.Of] == nil:
		b.doc.Fault(name, "there is no listener %s under `listeners`%s", l.Bootstrap.Of, b.hintOf(l.Bootstrap.Of))
		return
	case of == nil:
		b.doc.Fault(name, "%s has a bootstrap itself; expected a listener with addresses of its own", l.Bootstrap.Of)
		return
	case l.SecurityProtocol != of.SecurityProtocol && !v.Get("security_protocol").Bad:
		b.doc.Fault(v.Get("security_protocol"), "is %s, and that of %s is %s; clients go on from here to there, so "+
			"expected the same", l.SecurityProtocol, of.Name, of.SecurityProtocol)
	}
	b.checkBootstrapPort(l, of, given.Get("port"))
}

// checkBootstrapPort refuses a port that leads to one broker, or to another listener.
func (b *manifestBuilder) checkBootstrapPort(l, of *Listener, port *Value) {
	for _, row := range b.m.Brokers {
		if e, p := of.resolve(row); p == nil && e.AdvertisedPort == l.Bootstrap.Port {
			b.doc.Fault(port, "%d is the port of broker %d in %s, and leads to it alone; expected a port that no broker has",
				l.Bootstrap.Port, row.ID, of.Name)
			return
		}
	}
	for _, o := range b.m.Listeners {
		if o.Name == l.Name {
			return
		}
		if o.Bootstrap == l.Bootstrap {
			b.doc.Fault(port, "%d is the bootstrap port of listener %s already; expected another port", l.Bootstrap.Port,
				o.Name)
			return
		}
	}
}

// hintOf completes a fault about a listener that is not there.
func (b *manifestBuilder) hintOf(name string) string {
	if hint := b.hint(name); strings.HasPrefix(hint, "; did you mean") {
		return hint
	}
	return "; name one that is"
}

// portsName is the listener whose ports of the table count for this one.
func (l *Listener) portsName() string {
	if l.Bootstrap.Of != "" {
		return l.Bootstrap.Of
	}
	return l.Name
}
