package config

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// CheckSuccession says why next must not follow previous, the manifest in
// force; nil allows it. Each error says what to do.
func CheckSuccession(previous, next *Manifest) error {
	if previous == nil {
		return nil
	}
	if previous.Cluster != next.Cluster {
		return fmt.Errorf("the manifest is for cluster %q, and this agent serves cluster %q; put the right file here",
			next.Cluster, previous.Cluster)
	}
	var errs []error
	for _, l := range previous.Listeners {
		kept := slices.ContainsFunc(next.Listeners, func(n Listener) bool { return n.Name == l.Name })
		if !kept && !slices.Contains(next.Absent, l.Name) {
			errs = append(
				errs,
				fmt.Errorf(
					"listener %s has vanished from the manifest, and its clients would be cut off; restore it, or list it under `absent` to remove it",
					l.Name),
			)
		}
	}
	for _, l := range next.Listeners {
		if l.Bootstrap.Of == "" { // else its ports are another listener's
			errs = append(errs, portsTaken(previous, next, l.Name)...)
		}
	}
	return errors.Join(errs...)
}

// portsTaken names the ports of a listener that a broker takes from another one that stays. While the roll-out goes on,
// and until the load balancer's rules are changed, such a port leads to the wrong broker.
func portsTaken(previous, next *Manifest, listener string) []error {
	now, owners := portsOf(next, listener), map[int]int32{}
	for id, port := range portsOf(previous, listener) {
		owners[port] = id // a manifest gives each port to one broker
	}
	var errs []error
	for _, id := range slices.Sorted(maps.Keys(now)) {
		owner, taken := owners[now[id]]
		if _, stays := now[owner]; taken && stays && owner != id {
			errs = append(errs, fmt.Errorf("port %d of listener %s leads to broker %d, and this manifest gives it to broker %d; "+
				"give broker %d a port that no broker has. To take over the port of a broker that stays, move that broker to "+
				"another port in an earlier manifest, and change the load balancer's rules", now[id], listener, owner, id, id))
		}
	}
	return errs
}

// portsOf are the advertised ports of a listener by broker, of those that the table lists.
func portsOf(m *Manifest, listener string) map[int32]int {
	ports := map[int32]int{}
	for _, row := range m.Brokers {
		for i := range m.Listeners {
			if l := &m.Listeners[i]; l.Name == listener {
				if e, p := l.resolve(row); p == nil && !l.samePort() {
					ports[row.ID] = e.AdvertisedPort
				}
			}
		}
	}
	return ports
}

// samePort is true where the pattern has a port that all brokers share.
func (l *Listener) samePort() bool {
	if l.Advertised != "" {
		return !strings.Contains(l.Advertised, placeholderPort)
	}
	return !slices.ContainsFunc(slices.Collect(maps.Values(l.AdvertisedByZone)),
		func(p string) bool { return strings.Contains(p, placeholderPort) })
}

// Moves says, one line each, what a manifest moves that the load balancer has to follow.
func Moves(previous, next *Manifest) []string {
	var out []string
	for _, l := range next.Listeners {
		i := slices.IndexFunc(previous.Listeners, func(p Listener) bool { return p.Name == l.Name })
		if i < 0 || previous.Listeners[i].ProbePort == l.ProbePort {
			continue
		}
		out = append(out, fmt.Sprintf("the probe port of %s moves from %d to %d on each VM as soon as that VM has this manifest; "+
			"both are answered until a probe comes to %d: point the load balancer's check there", l.Name,
			previous.Listeners[i].ProbePort, l.ProbePort, l.ProbePort))
	}
	return out
}
