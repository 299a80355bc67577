package render

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// This file has what targets ask of a Network.

// brokers are those of the table; all listeners have the same.
func (n *Network) brokers() []Broker {
	if len(n.Listeners) == 0 {
		return nil
	}
	return n.Listeners[0].Brokers
}

// brokerIDs are the node ids of the table as text, in the order of numbers.
func (n *Network) brokerIDs() []string {
	all := []string{}
	for _, b := range n.brokers() {
		all = append(all, strconv.Itoa(int(b.ID)))
	}
	return all
}

// zones are the zones of all brokers, sorted; empty where the manifest has none.
func (n *Network) zones() []string {
	all := []string{}
	for _, b := range n.brokers() {
		if b.Zone != "" && !slices.Contains(all, b.Zone) {
			all = append(all, b.Zone)
		}
	}
	slices.Sort(all)
	return all
}

// zonePlace is where the manifest first has a zone in its table.
func (n *Network) zonePlace(zone string) string {
	at := slices.IndexFunc(n.brokers(), func(b Broker) bool { return b.Zone == zone })
	return fmt.Sprintf("brokers.%d.zone", n.brokers()[at].ID)
}

// targetPorts are the ports that a load balancer reaches on the VMs: of listeners and of probes, sorted.
func (n *Network) targetPorts() []int {
	set := map[int]bool{}
	for _, l := range n.Listeners {
		set[l.BindPort], set[l.ProbePort] = true, true
	}
	return slices.Sorted(maps.Keys(set))
}

// bindPorts are the ports of the VMs that Kafka binds, sorted.
func (n *Network) bindPorts() []int {
	set := map[int]bool{}
	for _, l := range n.Listeners {
		set[l.BindPort] = true
	}
	return slices.Sorted(maps.Keys(set))
}

// bootstrapOf is the bootstrap listener of a listener; nil is none.
func (n *Network) bootstrapOf(name string) *Listener {
	for i := range n.Listeners {
		if n.Listeners[i].BootstrapOf == name {
			return &n.Listeners[i]
		}
	}
	return nil
}

// isBootstrap is true for a listener whose one port leads to all brokers.
func (n *Network) isBootstrap(name string) bool {
	return slices.ContainsFunc(n.Listeners, func(l Listener) bool { return l.Name == name && l.BootstrapOf != "" })
}

// allLeads are all ports that the network has: those of brokers, and of bootstrap listeners. A listener whose port is
// written out has none (ownPorts).
func (n *Network) allLeads() []lead {
	var all []lead
	for _, l := range n.Listeners {
		if l.BootstrapOf == "" && !l.FixedPort {
			all = append(all, n.leads(l)...)
		}
	}
	for _, l := range n.Listeners {
		if l.BootstrapOf != "" {
			path := "listeners." + l.Name + ".bootstrap.port"
			all = append(all, lead{l.BootstrapPort, l.Name + ".bootstrap", path, "all brokers for " + l.BootstrapOf})
		}
	}
	return all
}

// mostBootstrapPorts bounds what is typed into a form: a client needs one broker that answers.
const mostBootstrapPorts = 3

// bootstrapPorts is what is typed into a customer's form for a listener: the port of its bootstrap listener, or those
// of at most three brokers, in the order of their ids. The first broker of each zone comes before any second one.
func (n *Network) bootstrapPorts(name string) string {
	if b := n.bootstrapOf(name); b != nil {
		return strconv.Itoa(b.BootstrapPort)
	}
	at := slices.IndexFunc(n.Listeners, func(l Listener) bool { return l.Name == name })
	brokers := n.Listeners[at].Brokers
	chosen, zones := map[int32]bool{}, map[string]bool{}
	for _, b := range brokers {
		if len(chosen) < mostBootstrapPorts && b.Zone != "" && !zones[b.Zone] {
			zones[b.Zone], chosen[b.ID] = true, true
		}
	}
	for _, b := range brokers {
		if len(chosen) < mostBootstrapPorts {
			chosen[b.ID] = true
		}
	}
	var ports []string
	for _, b := range brokers {
		if chosen[b.ID] {
			ports = append(ports, strconv.Itoa(b.Port))
		}
	}
	return strings.Join(ports, ",")
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
