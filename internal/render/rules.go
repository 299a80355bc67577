package render

import (
	"cmp"
	"fmt"
	"math"
	"net/netip"
	"strings"
)

// This file has what more than one target refuses. Each fault has the manifest's line and the next step.

// label is a name as all clouds take it in theirs: small letters, digits and hyphens.
func label(name string) string {
	return strings.Map(func(r rune) rune {
		if r == '_' || r == '.' {
			return '-'
		}
		return r
	}, strings.ToLower(name))
}

// naming is what a target takes as the name of one thing that it makes.
type naming struct {
	// thing is what gets the name, such as "a target group of AWS".
	thing string
	// longest is in characters.
	longest int
	// letterFirst is true if the name must not begin with a digit.
	letterFirst bool
}

// names refuses listeners that get the same label, and names that make none: a cloud's names begin and end with a
// letter or digit.
func (f *faults) names(n *Network) {
	if made := label(n.Name); strings.Trim(made, "-") != made {
		f.named(n, "makes no name for a cloud, which begins and ends with a letter or digit")
	}
	first := map[string]string{}
	for _, l := range n.Listeners {
		name := label(l.Name)
		if strings.HasSuffix(name, "-") {
			f.at(l.Name, "listeners."+l.Name, "makes no name for a cloud, which ends with a letter or digit; "+
				"name the listener %s", strings.TrimRight(l.Name, "-_"))
		}
		if other, taken := first[name]; taken {
			f.at(l.Name, "listeners."+l.Name, "and %s both become %s in the names that a cloud takes, where `_` is no "+
				"different from `-`; give one of them another name", other, name)
			continue
		}
		first[name] = l.Name
	}
}

// name refuses what a target would not take as the name of one thing that it makes from Network.Name.
func (f *faults) name(n *Network, made string, rule naming) {
	if len(made) > rule.longest {
		f.named(n, "makes the name %s of %d characters for %s, which takes %d", made, len(made), rule.thing,
			rule.longest)
	}
	if rule.letterFirst && (made == "" || made[0] < 'a' || made[0] > 'z') {
		f.named(n, "makes the name %s for %s, which must begin with a letter", made, rule.thing)
	}
}

// named is a fault of Network.Name. A cluster's name can no longer be changed, so the next step is the option.
func (f *faults) named(n *Network, format string, args ...any) {
	text := n.Name + " " + fmt.Sprintf(format, args...)
	if n.Name != n.Cluster {
		f.file("--name %s; give another one", text)
		return
	}
	f.at("cluster", "cluster", "%s; begin the names with another one by --name", text)
}

// reachable refuses a bind to an address that no load balancer can connect to. [::] takes IPv4 as well.
func (f *faults) reachable(n *Network) { f.reachableBy(n, unreachable) }

// reachableBy does so by what why says of an address; "" is nothing.
func (f *faults) reachableBy(n *Network, unreachable func(host string) string) {
	for _, l := range n.Listeners {
		seen := map[string]bool{}
		for _, b := range l.Brokers {
			why := unreachable(b.BindHost)
			place, path := l.Name+".bind", "listeners."+l.Name+".bind"
			if l.BindsHost {
				place = fmt.Sprintf("brokers.%d.host", b.ID)
				path = place
			}
			if why == "" || seen[place] {
				continue
			}
			seen[place] = true
			f.at(place, path, "%s is %s, so no load balancer can connect to %s; bind an IPv4 address of the VM, "+
				"or all by 0.0.0.0:%d", b.BindHost, why, l.Name, l.BindPort)
		}
	}
}

// unreachable says why a load balancer cannot connect to a bind host; "" is nothing.
func unreachable(host string) string {
	if why := loopback(host); why != "" {
		return why
	}
	ip, err := netip.ParseAddr(host) // else a DNS name
	if err == nil && !ip.IsUnspecified() && ip.Is6() && !ip.Is4In6() {
		return "an IPv6 address"
	}
	return ""
}

// loopback says why nothing outside the VM can connect to a bind host; "" is nothing.
func loopback(host string) string {
	ip, err := netip.ParseAddr(host)
	if strings.EqualFold(host, "localhost") || err == nil && ip.Unmap().IsLoopback() {
		return "this VM's own address"
	}
	return ""
}

// ownPorts refuses a listener whose pattern has its port written out: then each broker has a name of its own, and no
// port of a load balancer leads to one broker.
func (f *faults) ownPorts(n *Network) {
	for _, l := range n.Listeners {
		if l.FixedPort && l.BootstrapOf == "" { // which has the pattern of another listener
			f.at(l.Name+".advertised", "listeners."+l.Name+".advertised", "has a port written out, so a port does not "+
				"tell one broker from another; write <port>, and give each broker its own under `brokers`")
		}
	}
}

// lead is one port of a load balancer that leads to a broker, or to all of a listener.
type lead struct {
	port int
	// place and path are where the manifest has the port.
	place, path string
	// to is what it leads to, for a message.
	to string
}

// leads are the ports of a listener.
func (n *Network) leads(l Listener) []lead {
	if l.FixedPort { // then none of them leads to one broker
		return nil
	}
	if l.BootstrapOf != "" {
		place := l.Name + ".bootstrap"
		return []lead{{l.BootstrapPort, place, "listeners." + place + ".port", "all brokers of " + l.Name}}
	}
	var all []lead
	for _, b := range l.Brokers {
		place, path := n.portPlace(l.Name, b.ID)
		all = append(all, lead{b.Port, place, path, fmt.Sprintf("broker %d of %s", b.ID, l.Name)})
	}
	return all
}

// portPlace is where the manifest has the advertised port of a broker: in its row, or in the listener's port_base.
func (n *Network) portPlace(listener string, broker int32) (place, path string) {
	row := fmt.Sprintf("brokers.%d.ports.%s", broker, listener)
	if _, ok := n.origin.Lines[row]; ok {
		return row, row
	}
	return listener + ".port_base", fmt.Sprintf("listeners.%s.port_base", listener)
}

// once refuses a port that leads to two brokers, with one fault for each place: a wrong port_base is one. on is where
// each port must be given once, such as "the load balancer".
func (f *faults) once(on string, ports []lead) {
	first, said := map[int]lead{}, map[string]bool{}
	for _, p := range ports {
		other, taken := first[p.port]
		if !taken {
			first[p.port] = p
			continue
		}
		if said[p.place] {
			continue
		}
		said[p.place] = true
		f.at(p.place, p.path, "%d leads to %s on %s already, so it cannot lead to %s; give %s a port that is not taken",
			p.port, other.to, on, p.to, p.to)
	}
}

// bounds are what a target takes of the manifest's load_balancer.
type bounds struct {
	// target is how a message calls it, such as "Azure".
	target string
	// Seconds between two probes; most is 0 for no bound.
	leastSeconds, mostSeconds int
	// Probes in a row; most is 0 for no bound.
	leastThreshold, mostThreshold int
}

// probe refuses an interval or a threshold that a target does not take.
func (f *faults) probe(n *Network, b bounds) {
	s := n.Probe.IntervalSeconds
	const interval, threshold = "load_balancer.interval", "load_balancer.healthy_threshold"
	if s != math.Trunc(s) {
		f.at(interval, interval, "%gs is no whole number of seconds, which %s needs; write %ds", s, b.target,
			max(b.leastSeconds, int(math.Ceil(s))))
	} else if why := outside(int(s), b.leastSeconds, b.mostSeconds); why != "" {
		f.at(interval, interval, "%gs is outside what %s takes; write %s seconds", s, b.target, why)
	}
	if why := outside(n.Probe.HealthyThreshold, b.leastThreshold, b.mostThreshold); why != "" {
		f.at(threshold, threshold, "%d is outside what %s takes; write %s", n.Probe.HealthyThreshold, b.target, why)
	}
}

// outside says what would be right where a number is not; most is 0 for no bound.
func outside(n, least, most int) string {
	switch {
	case n >= least && (most == 0 || n <= most):
		return ""
	case most == 0:
		return fmt.Sprintf("%d or more", least)
	}
	return fmt.Sprintf("%d to %d", cmp.Or(least, 1), most)
}
