package render

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"example.com/kpls-agent/internal/config"
)

// dnsTTL is that of the records, in seconds: an endpoint that is made again has another address.
const dnsTTL = 300

// makeDNS writes the records that customers need where no service makes them: each advertised name leads to the
// customer's endpoint. They are absolute names without SOA and NS, to be put into any zone.
func makeDNS(n *Network) (*Output, error) {
	f := faults{origin: n.origin}
	f.endpoints(n)
	var b strings.Builder
	fmt.Fprintf(&b, "; %s\n; %s: the names that clients connect to, for the customer's private zone.\n", n.note("dns"),
		n.Cluster)
	fmt.Fprintf(&b, "$TTL %d\n", dnsTTL)
	out, seen, records := &Output{}, map[string]bool{}, 0
	for _, l := range n.Listeners {
		if l.BootstrapOf != "" && n.has(l.BootstrapOf) {
			continue // the same names
		}
		head := fmt.Sprintf("\n; %s\n", l.Name)
		for _, broker := range l.Brokers {
			name := strings.ToLower(broker.AdvertisedHost)
			if _, err := netip.ParseAddr(name); err == nil || seen[name] {
				continue // an address needs no record
			}
			seen[name] = true
			records++
			fmt.Fprintf(&b, "%s%s. IN %s ; port %d\n", head, name, f.record(n, broker), broker.Port)
			head = ""
		}
	}
	if records == 0 && len(f.list) == 0 {
		f.file("advertises addresses alone, and no name, so there is no record to write")
	}
	if err := f.err(); err != nil {
		return nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(seen)) {
		if strings.HasSuffix(name, tidbDomain) {
			out.Warnings = append(out.Warnings, fmt.Sprintf("TiDB Cloud makes the records of names such as %s itself; "+
				"`kpls-agent render console` says what it needs", name))
			break
		}
	}
	out.Files = []File{{Name: "kpls.zone", Mode: 0o644, Text: []byte(b.String())}}
	return out, nil
}

// has is true for a listener that is rendered.
func (n *Network) has(listener string) bool {
	return slices.ContainsFunc(n.Listeners, func(l Listener) bool { return l.Name == listener })
}

// endpoints checks what --endpoint says.
func (f *faults) endpoints(n *Network) {
	if len(n.endpoints) == 0 {
		f.file("dns needs the address of the customer's endpoint; give --endpoint ADDRESS, or --endpoint ZONE=ADDRESS " +
			"for each zone")
	}
	zones := map[string]bool{"": true}
	n.eachBroker(func(b Broker) bool {
		zones[b.Zone] = true
		if place := fmt.Sprintf("brokers.%d.zone", b.ID); len(n.endpoints) > 0 && n.endpoint(b) == "" {
			f.at(place, place, "zone %q has no endpoint; give --endpoint %s=ADDRESS", b.Zone, b.Zone)
		}
		return true
	})
	for _, zone := range slices.Sorted(maps.Keys(n.endpoints)) {
		if !zones[zone] {
			f.file("--endpoint %s=...: no broker of the table `brokers` is in zone %s", zone, zone)
		}
		if why := config.CheckHost(n.endpoints[zone]); why != "" {
			f.file("--endpoint %s: %s", n.endpoints[zone], why)
		}
	}
}

// endpoint is where a customer reaches a broker; empty if that is not given.
func (n *Network) endpoint(b Broker) string {
	if to := n.endpoints[b.Zone]; to != "" {
		return to
	}
	return n.endpoints[""]
}

// record is type and value for one broker.
func (f *faults) record(n *Network, b Broker) string {
	to := n.endpoint(b)
	ip, err := netip.ParseAddr(to)
	switch {
	case err == nil && ip.Is4():
		return "A " + to
	case err == nil:
		return "AAAA " + to
	case strings.EqualFold(strings.TrimSuffix(to, "."), b.AdvertisedHost):
		f.file("--endpoint %s: broker %d advertises that very name; give the endpoint's own one", to, b.ID)
	}
	return "CNAME " + to + "."
}
