package render

import (
	"cmp"
	"fmt"
	"net/netip"
	"strings"
)

// haproxyHead is what does not depend on the manifest. It needs HAProxy 2.4 or later, and names the folders of the
// packages of Debian, Ubuntu and Red Hat.
//
// server-state-file and the ports in the servers' names belong together. After a reload HAProxy takes each server for
// up until its first check, unless it finds the server's state in that file; and from there it takes the ports of the
// past without a word, unless the server has a new name (issues 1412 and 2103 of haproxy/haproxy).
const haproxyHead = `
global
    user haproxy
    group haproxy
    chroot /var/lib/haproxy
    # systemd's journal has what is logged here.
    log stdout format short daemon
    stats socket /run/haproxy/admin.sock mode 660 level admin expose-fd listeners
    # After a reload each server is up until its first check, unless this file has its state. Save it before a reload:
    #   echo "show servers state" | socat - /run/haproxy/admin.sock >/var/lib/haproxy/server-state
    server-state-file /var/lib/haproxy/server-state
    # A server that the file does not know, as a new one, is checked within this time and not within a whole interval.
    max-spread-checks 100ms
    # No maxconn: HAProxy takes as many connections as its limit of open files allows, two files for each.

defaults
    mode tcp
    log global
    option tcplog
    option log-health-checks
    load-server-state-from-file global
    timeout connect 5s
    # Longer than the 10 minutes after which Kafka ends an idle connection (connections.max.idle.ms): then Kafka ends
    # it, and the client sees an end instead of a time-out.
    timeout client 15m
    timeout server 15m
    # Finds peers that are gone without an end.
    option clitcpka
    option srvtcpka
    # A port leads to one broker: a second try would reach the same one. The client tries again by itself.
    retries 0
    # The probe is a whole connection to the agent. Without linger HAProxy resets it before it is made, and the agent
    # cannot see that it is asked.
    option tcp-check
    tcp-check connect linger
    # No on-marked-down shutdown-sessions: an agent that is stopped must not end connections to a healthy broker.
    # The address of a host that is a name: looked up at each start and reload, else the one before.
    default-server init-addr libc,last inter %s rise %d fall %d
`

// makeHAProxy is a whole configuration of HAProxy: a proxy for each broker's port, and one for each bootstrap port.
func makeHAProxy(n *Network) (*Output, error) {
	f := faults{origin: n.origin}
	if len(n.Listeners) == 0 {
		f.file("has no listener, so no port leads anywhere; add one under `listeners`")
	}
	f.reachableBy(n, loopback)
	f.ownPorts(n)
	var ports []lead
	for _, l := range n.Listeners {
		ports = append(ports, n.leads(l)...)
	}
	f.once("HAProxy", ports)
	f.hosts(n)
	if err := f.err(); err != nil {
		return nil, err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "# %s\n# %s: the load balancer of Kafka. Test a change with: haproxy -c -f haproxy.cfg\n",
		n.note("haproxy"), n.Cluster)
	interval := fmt.Sprintf("%dms", int(n.Probe.IntervalSeconds*1000))
	fmt.Fprintf(&b, haproxyHead, interval, n.Probe.HealthyThreshold, n.Probe.HealthyThreshold)
	out := &Output{}
	for _, l := range n.Listeners {
		if l.BootstrapOf != "" {
			haproxyPool(&b, l)
			continue
		}
		fmt.Fprintf(&b, "\n# %s: each port leads to one broker. Kafka binds %d, the agents answer the probe at %d.\n",
			l.Name, l.BindPort, l.ProbePort)
		for _, broker := range l.Brokers {
			fmt.Fprintf(&b, "listen %s-b%d\n    bind :%d\n%s", strings.ToLower(l.Name), broker.ID, broker.Port,
				haproxyServer(l, broker))
		}
	}
	out.Files = []File{{Name: "haproxy.cfg", Mode: 0o644, Text: []byte(b.String())}}
	out.Warnings = haproxyWarnings(n)
	return out, nil
}

// haproxyPool is the proxy of a bootstrap port.
func haproxyPool(b *strings.Builder, l Listener) {
	fmt.Fprintf(b, "\n# %s: the port leads to all brokers. Clients learn the addresses of %s there.\n", l.Name, l.BootstrapOf)
	fmt.Fprintf(b, "listen %s\n    bind :%d\n    balance leastconn\n", strings.ToLower(l.Name), l.BootstrapPort)
	b.WriteString("    # Where one broker refuses, another one answers.\n    retries 3\n    option redispatch 1\n")
	for _, broker := range l.Brokers {
		b.WriteString(haproxyServer(l, broker))
	}
}

func haproxyServer(l Listener, b Broker) string {
	return fmt.Sprintf("    server b%d-%d-%d %s:%d check port %d\n", b.ID, l.BindPort, l.ProbePort,
		bracketed(address(b)), l.BindPort, l.ProbePort)
}

// address is where a load balancer without a cloud reaches a broker; empty where that is not known.
func address(b Broker) string {
	if ip, err := netip.ParseAddr(b.BindHost); err == nil && !ip.IsUnspecified() {
		return cmp.Or(b.Host, b.BindHost)
	}
	return b.Host
}

// bracketed is a host before a colon and a port.
func bracketed(host string) string {
	if strings.Contains(host, ":") {
		return "[" + host + "]"
	}
	return host
}

// hosts refuses brokers whose address is not known.
func (f *faults) hosts(n *Network) {
	n.eachBroker(func(b Broker) bool {
		if address(b) != "" {
			return false
		}
		row := fmt.Sprintf("brokers.%d", b.ID)
		f.at(row, row+".host", "is missing, so it is not known where HAProxy reaches broker %d; add `host: ADDRESS`, "+
			"or give --host %d=ADDRESS", b.ID, b.ID)
		return true
	})
}

// haproxyWarnings are about hosts that are names.
func haproxyWarnings(n *Network) []string {
	var out []string
	n.eachBroker(func(b Broker) bool {
		if _, err := netip.ParseAddr(address(b)); err == nil {
			return false
		}
		out = append(out, fmt.Sprintf("broker %d: HAProxy looks the name %s up when it starts and at each reload, and "+
			"never in between; reload it after the address has changed", b.ID, address(b)))
		return true
	})
	return out
}

// eachBroker goes through the brokers by id, and through the listeners of each until do is done with it. Each listener
// has all brokers of the table.
func (n *Network) eachBroker(do func(Broker) (done bool)) {
	if len(n.Listeners) == 0 {
		return
	}
	for i := range n.Listeners[0].Brokers {
		for _, l := range n.Listeners {
			if do(l.Brokers[i]) {
				break
			}
		}
	}
}
