package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Safe readers for a document that has faults: what is bad reads as missing.

func (v *Value) text() string {
	if v == nil || v.Bad {
		return ""
	}
	return v.Text
}

func (v *Value) number() int {
	if v == nil || v.Bad {
		return 0
	}
	return v.Int
}

func (v *Value) duration() time.Duration {
	if v == nil || v.Bad {
		return 0
	}
	return v.Duration
}

func (v *Value) entries() []Entry {
	if v == nil {
		return nil
	}
	return v.Entries
}

func (v *Value) items() []*Value {
	if v == nil {
		return nil
	}
	return v.Items
}

// check reports what the shape alone cannot see. What is bad already is left out.
func (b *manifestBuilder) check() {
	root := b.doc.Root
	if !root.Bad && len(b.m.Listeners) == 0 && len(b.m.Absent) == 0 {
		b.doc.Fault(root, "names no listener, neither under `listeners` nor under `absent`; add one")
	}
	b.checkAbsent()
	for i := range b.m.Listeners {
		if l := &b.m.Listeners[i]; b.listeners[l.Name].Get("bootstrap").Given {
			b.checkBootstrap(l)
		} else {
			b.checkAdvertised(l)
		}
	}
	b.checkRows()
	b.checkPorts()
}

func (b *manifestBuilder) checkAbsent() {
	seen := map[string]bool{}
	for _, v := range b.doc.Root.Get("absent").items() {
		name := v.text()
		switch {
		case name == "":
			continue
		case b.listeners[name] != nil:
			b.doc.Fault(v, "%s is also under `listeners`; delete it from one of the two", name)
		case seen[name]:
			b.doc.Fault(v, "%s is listed twice; delete one", name)
		}
		seen[name] = true
	}
}

// checkAdvertised checks one listener's patterns by themselves.
func (b *manifestBuilder) checkAdvertised(l *Listener) {
	v := b.listeners[l.Name]
	one, base := v.Get("advertised"), v.Get("port_base")
	if base.Bad || !b.advertisedOnce(one, v.Get("advertised_by_zone")) {
		return
	}
	patterns := slices.Collect(maps.Values(l.AdvertisedByZone))
	if one.Given {
		patterns = append(patterns, l.Advertised)
	}
	if base.Given &&
		!slices.ContainsFunc(patterns, func(p string) bool { return strings.Contains(p, placeholderPort) }) {
		b.doc.Fault(base,
			"has no effect: the advertised address has a fixed port; write <port> there, or delete port_base")
	}
	brokers := b.doc.Root.Get("brokers")
	if need := l.needsRow(); need != "" && !brokers.Bad && len(b.m.Brokers) == 0 {
		b.doc.FaultAtKey(v, "needs a table: no broker has a %s; list them under `brokers`%s",
			strings.TrimSuffix(need, "s"), map[string]string{"ports": ", or give the listener a port_base"}[need])
	}
	if one.Given && !brokers.Bad && len(b.m.Brokers) != 1 && !strings.Contains(l.Advertised, placeholderID) &&
		!strings.Contains(l.Advertised, placeholderPort) {
		b.doc.Fault(one,
			"has neither <broker_id> nor <port>, so all brokers would have the address %s; expected an address for each",
			l.Advertised)
	}
}

// advertisedOnce is true if one of the two ways to give an address is given, and right.
func (b *manifestBuilder) advertisedOnce(one, zones *Value) bool {
	switch {
	case one.Bad || zones.Bad:
		return false
	case one.Given && zones.Given:
		b.doc.Fault(zones, "is given together with advertised; keep one of the two")
		return false
	case !one.Given && !zones.Given:
		one.Bad = true
		b.doc.FaultAtKey(one,
			"is missing: expected HOST:PORT, such as <broker_id>.example.com:<port>, or advertised_by_zone")
		return false
	case zones.Given && len(zones.Entries) == 0:
		b.doc.Fault(zones, "is empty; expected a pattern for each zone")
		return false
	}
	return true
}

// checkRows resolves every listener for every broker of the table.
func (b *manifestBuilder) checkRows() {
	for _, row := range b.m.Brokers {
		for _, e := range b.brokers[row.ID].Get("ports").entries() {
			if b.listeners[e.Key] == nil && !slices.Contains(b.m.Absent, e.Key) && !b.doc.Root.Get("listeners").Bad {
				b.doc.FaultAtKey(e.Value, "there is no listener %s under `listeners`%s", e.Key, b.hint(e.Key))
			}
			if l := b.listeners[e.Key]; l != nil && l.Get("bootstrap").Given {
				b.doc.FaultAtKey(e.Value, "has no effect: listener %s has a bootstrap, and its addresses are those of "+
					"another one; delete the port here", e.Key)
			}
		}
	}
	for i := range b.m.Listeners {
		l := &b.m.Listeners[i]
		if b.unusable(l) {
			continue
		}
		places := placesOf(l)
		for _, row := range b.m.Brokers {
			v := b.brokers[row.ID]
			if v.Bad {
				continue // what is missing may only be misspelt
			}
			e, p := l.resolve(row)
			if l.Bootstrap.Of != "" { // its addresses, and their faults, are another listener's
				if p != nil && p.field == "host" {
					b.report(p, l, row)
				}
				continue
			}
			if p == nil {
				if text := places.add(row, e); text != "" {
					p = &unresolved{"advertised", text}
				}
			}
			if p != nil {
				b.report(p, l, row)
			}
		}
	}
}

// unusable is true if a listener has faults that would show again at every broker.
func (b *manifestBuilder) unusable(l *Listener) bool {
	v := b.listeners[l.Name]
	return slices.ContainsFunc([]string{"bind", "advertised", "advertised_by_zone", "port_base", "bootstrap"},
		func(name string) bool { return v.fields[name].Bad })
}

// report puts what resolve says where the file is to be changed.
func (b *manifestBuilder) report(p *unresolved, l *Listener, row Broker) {
	v := b.brokers[row.ID]
	given := func(value *Value) bool { return value != nil && value.Given }
	ports := v.Get("ports")
	switch p.field {
	case "host":
		b.doc.add(v.Get("host").key, v.Get("host").Path, "%s", p.text)
	case "zone":
		at := v.Get("zone").at
		if !given(v.Get("zone")) {
			at = v.key
		}
		b.doc.add(at, v.Get("zone").Path, "%s", p.text)
	case "port_base":
		b.doc.add(v.key, v.Path, "port_base of listener %s: %s", l.Name, p.text)
	default:
		at, path := v.key, v.Path
		if given(ports) {
			at, path = ports.at, ports.Path
		}
		for _, e := range ports.entries() {
			if e.Key == l.Name {
				at, path = e.Value.at, e.Value.Path
			}
		}
		b.doc.add(at, path, "%s", p.text)
	}
}

func (b *manifestBuilder) hint(name string) string {
	if near := nearest(name, slices.Sorted(maps.Keys(b.listeners))); near != "" {
		return fmt.Sprintf("; did you mean %s?", near)
	}
	return "; add it there, or delete the port here"
}

// socket is one port that something on the broker's host binds.
type socket struct {
	host  string
	port  int
	probe bool
	name  string // of the listener
	value *Value
}

// checkPorts finds two sockets that cannot be bound at the same time. Kafka
// wants different ports for its listeners whatever their hosts are
// (kafka.utils.CoreUtils.validate); between processes the hosts matter.
func (b *manifestBuilder) checkPorts() {
	var sockets []socket
	for _, l := range b.m.Listeners {
		v := b.listeners[l.Name]
		for _, s := range []socket{
			{l.BindHost, l.BindPort, false, l.Name, v.Get("bind")},
			{l.BindHost, l.ProbePort, true, l.Name, v.Get("probe_port")},
		} {
			if s.port == 0 || s.probe && v.Get("bind").Bad {
				continue
			}
			for _, other := range sockets {
				if s.port == other.port && (!s.probe && !other.probe || b.overlap(s.host, other.host)) {
					b.doc.Fault(s.value, "port %d is %s already; expected another port", s.port, other.use())
					break
				}
			}
			sockets = append(sockets, s)
		}
	}
}

func (s socket) use() string {
	if s.probe {
		return "the probe port of listener " + s.name
	}
	return "bound by listener " + s.name
}

// overlap is true if two bind hosts share an address on some broker.
func (b *manifestBuilder) overlap(x, y string) bool {
	if x == y || wildcard(x) || wildcard(y) {
		return true
	}
	if x == placeholderHost {
		x, y = y, x
	}
	return y == placeholderHost && slices.ContainsFunc(b.m.Brokers, func(row Broker) bool { return row.Host == x })
}
