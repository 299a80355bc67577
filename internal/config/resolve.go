package config

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
)

// ErrNotInManifest is a broker that the manifest says nothing of.
var ErrNotInManifest = errors.New("broker is not in the manifest")

// For returns what the manifest asks of one broker, with every pattern
// resolved. A broker that the table does not list has only what needs no row:
// ports by port_base, one name for all zones, no <host>.
func (m *Manifest) For(id int32) (Desired, error) {
	row, listed := m.Row(id)
	if !listed {
		if id < 0 || m.NeedsTable() {
			return Desired{}, fmt.Errorf(
				"%w: it lists %s, and not %d; check node.id in server.properties, or add a row `%d:` under `brokers`",
				ErrNotInManifest, m.ids(), id, id)
		}
		row = Broker{ID: id}
	}
	d := Desired{Absent: slices.Clone(m.Absent), BrokerProperties: maps.Clone(m.BrokerProperties)}
	for i := range m.Listeners {
		l := &m.Listeners[i]
		e, p := l.resolve(row)
		if p == nil && !listed {
			p = m.taken(l, e, id)
		}
		if p != nil {
			return Desired{}, fmt.Errorf("resolve listener %s for broker %d: %s: %s", l.Name, id, p.field, p.text)
		}
		d.Endpoints = append(d.Endpoints, e)
	}
	return d, nil
}

// Row returns the broker's row of the table.
func (m *Manifest) Row(id int32) (Broker, bool) {
	i, ok := slices.BinarySearchFunc(m.Brokers, id, func(b Broker, id int32) int { return cmp.Compare(b.ID, id) })
	if !ok {
		return Broker{}, false
	}
	return m.Brokers[i], true
}

// Zones maps every broker of the table to its zone, which may be empty.
func (m *Manifest) Zones() map[int32]string {
	zones := make(map[int32]string, len(m.Brokers))
	for _, b := range m.Brokers {
		zones[b.ID] = b.Zone
	}
	return zones
}

// Optional are the brokers of the table that nobody waits for while the cluster does not have them, ascending.
func (m *Manifest) Optional() []int32 {
	var ids []int32
	for _, b := range m.Brokers {
		if b.Optional {
			ids = append(ids, b.ID)
		}
	}
	return ids
}

// NeedsTable is true if a broker without a row in the table cannot be served,
// so that the table lists all brokers there are meant to be.
func (m *Manifest) NeedsTable() bool {
	return slices.ContainsFunc(m.Listeners, func(l Listener) bool { return l.needsRow() != "" })
}

// needsRow names the field that a broker without a row would lack; "" is none.
func (l *Listener) needsRow() string {
	switch {
	case l.BindHost == placeholderHost:
		return "host"
	case len(l.AdvertisedByZone) > 0:
		return "zone"
	case l.PortBase == 0 && strings.Contains(l.Advertised, placeholderPort):
		return "ports"
	}
	return ""
}

// ids lists the brokers of the table, with runs drawn together.
func (m *Manifest) ids() string {
	var parts []string
	for i := 0; i < len(m.Brokers); {
		first, j := m.Brokers[i].ID, i+1
		for j < len(m.Brokers) && m.Brokers[j].ID == m.Brokers[j-1].ID+1 {
			j++
		}
		last := m.Brokers[j-1].ID
		switch j - i {
		case 1:
			parts = append(parts, strconv.Itoa(int(first)))
		case 2:
			parts = append(parts, strconv.Itoa(int(first)), strconv.Itoa(int(last)))
		default:
			parts = append(parts, fmt.Sprintf("%d-%d", first, last))
		}
		i = j
	}
	if len(parts) == 0 {
		return "no brokers"
	}
	return strings.Join(parts, ", ")
}

// unresolved is why a listener cannot be resolved for a broker: the field of
// the broker's row (host, zone, ports) or of the listener (port_base,
// advertised) that is to blame, and what is wrong with it.
type unresolved struct{ field, text string }

// resolve makes the endpoint of one broker.
func (l *Listener) resolve(b Broker) (Endpoint, *unresolved) {
	e := Endpoint{
		Name: l.Name, BindHost: l.BindHost, BindPort: l.BindPort,
		SecurityProtocol: l.SecurityProtocol, Properties: maps.Clone(l.Properties),
		ProbePort: l.ProbePort, DuringRestart: l.DuringRestart, HoldLimit: l.HoldLimit, Drain: l.Drain,
	}
	if l.BindHost == placeholderHost {
		if b.Host == "" {
			return e, &unresolved{
				"host",
				fmt.Sprintf("is missing: listener %s binds %s; give the broker's own address", l.Name, placeholderHost),
			}
		}
		e.BindHost = b.Host
	}
	if !wildcard(e.BindHost) {
		e.ProbeHost = e.BindHost
	}
	pattern, p := l.patternFor(b.Zone)
	if p != nil {
		return e, p
	}
	port, p := l.portFor(b, pattern)
	if p != nil {
		return e, p
	}
	var text string
	if e.AdvertisedHost, e.AdvertisedPort, text = splitAddress(expand(pattern, b.ID, port)); text != "" {
		return e, &unresolved{"advertised", text}
	}
	return e, nil
}

func (l *Listener) patternFor(zone string) (string, *unresolved) {
	if len(l.AdvertisedByZone) == 0 {
		return l.Advertised, nil
	}
	pattern, ok := l.AdvertisedByZone[zone]
	if !ok {
		known := slices.Sorted(maps.Keys(l.AdvertisedByZone))
		for i, z := range known {
			known[i] = strconv.Quote(z)
		}
		zones := oneOf(known)
		if zone == "" {
			return "", &unresolved{
				"zone", fmt.Sprintf("is missing: listener %s advertises by zone; expected %s", l.Name, zones),
			}
		}
		return "", &unresolved{
			"zone",
			fmt.Sprintf("listener %s has no name for zone %q under advertised_by_zone; expected %s", l.Name, zone,
				zones),
		}
	}
	return pattern, nil
}

// portFor returns the advertised port; 0 where the pattern has a fixed one.
func (l *Listener) portFor(b Broker, pattern string) (int, *unresolved) {
	port, listed := b.Ports[l.portsName()]
	switch {
	case !strings.Contains(pattern, placeholderPort):
		if listed {
			return 0, &unresolved{
				"ports",
				fmt.Sprintf(
					"has no effect for listener %s: its advertised address has a fixed port; write %s there, or delete the port here",
					l.portsName(), placeholderPort),
			}
		}
		return 0, nil
	case listed:
		return port, nil
	case l.PortBase == 0:
		return 0, &unresolved{
			"ports",
			fmt.Sprintf("has no port for listener %s; add `%s: PORT`, or give the listener a port_base", l.portsName(),
				l.portsName()),
		}
	case int64(l.PortBase)+int64(b.ID) > maxPort:
		return 0, &unresolved{
			"port_base",
			fmt.Sprintf("%d plus broker id %d is more than %d; list the broker's port under `brokers`", l.PortBase,
				b.ID, maxPort),
		}
	}
	return l.PortBase + int(b.ID), nil
}

// taken says that a broker without a row would get the place of one that has one.
func (m *Manifest) taken(l *Listener, e Endpoint, id int32) *unresolved {
	places := placesOf(l)
	for _, b := range m.Brokers {
		if other, p := l.resolve(b); p == nil {
			places.add(b, other)
		}
	}
	if text := places.add(Broker{ID: id}, e); text != "" {
		return &unresolved{"advertised", text}
	}
	return nil
}

// places finds two brokers that a client could not distinguish.
type places struct {
	l         *Listener
	addresses map[string]int32
	ports     map[string]int32
}

func placesOf(l *Listener) places {
	return places{l, map[string]int32{}, map[string]int32{}}
}

// add returns why the broker cannot have the endpoint, or "". Behind a private
// link it is the port that leads to a broker, whatever its name: so the same
// port in the same pattern is a mistake too.
func (p places) add(b Broker, e Endpoint) string {
	address := strings.ToLower(net.JoinHostPort(e.AdvertisedHost, strconv.Itoa(e.AdvertisedPort)))
	if other, ok := p.addresses[address]; ok {
		return fmt.Sprintf("brokers %d and %d would both be %s for clients; expected an address for each", other, b.ID,
			address)
	}
	p.addresses[address] = b.ID
	pattern, _ := p.l.patternFor(b.Zone)
	if !strings.Contains(pattern, placeholderPort) {
		return ""
	}
	place := fmt.Sprintf("%s %d", pattern, e.AdvertisedPort)
	if other, ok := p.ports[place]; ok {
		return fmt.Sprintf(
			"brokers %d and %d would both have port %d of listener %s, and the port is what leads to a broker; expected a port for each",
			other, b.ID, e.AdvertisedPort, p.l.Name)
	}
	p.ports[place] = b.ID
	return ""
}
