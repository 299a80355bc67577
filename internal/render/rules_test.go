package render

import (
	"strings"
	"testing"
)

// resolved is the network of a manifest that Resolve takes.
func resolved(t *testing.T, text string) *Network {
	t.Helper()
	n, err := Resolve(parsed(t, text), Options{})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestRules: what clouds have in common is refused at the manifest's line, with the next step.
func TestRules(t *testing.T) {
	changed := func(from, to string) string {
		if !strings.Contains(manifest, from) {
			t.Fatalf("the manifest has no %q", from)
		}
		return strings.ReplaceAll(manifest, from, to)
	}
	cases := []struct {
		name, manifest string
		rule           func(*faults, *Network)
		want           string // empty for nothing
	}{
		{"names", manifest, (*faults).names, ""},
		{
			"equal names", changed("EXTERNAL2", "EXTERNAL-2") + "#\n",
			func(f *faults, n *Network) {
				n.Listeners[0].Name = "EXTERNAL_2"
				f.names(n)
			},
			"manifest.yaml:9: listeners.EXTERNAL-2: and EXTERNAL_2 both become external-2 in the names that a cloud takes, " +
				"where `_` is no different from `-`; give one of them another name",
		},
		{
			"ends of names", strings.Replace(changed("EXTERNAL2", "EXTERNAL_"), "kafka-pls", ".kafka", 1), (*faults).names,
			"manifest.yaml:2: cluster: .kafka makes no name for a cloud, which begins and ends with a letter or digit; begin " +
				"the names with another one by --name\n" +
				"manifest.yaml:9: listeners.EXTERNAL_: makes no name for a cloud, which ends with a letter or digit; name the " +
				"listener EXTERNAL",
		},
		{"bind", changed("0.0.0.0", "10.0.0.1"), (*faults).reachable, ""},
		{"bind all of IPv6", changed("bind: 0.0.0.0:39092", `bind: "[::]:39092"`), (*faults).reachable, ""},
		{
			"loopback, and a host of IPv6", strings.Replace(changed("0.0.0.0", "127.0.1.1"), "host: 10.0.0.2", `host: "fd00::2"`, 1),
			(*faults).reachable,
			"manifest.yaml:5: listeners.EXTERNAL.bind: 127.0.1.1 is this VM's own address, so no load balancer can connect to " +
				"EXTERNAL; bind an IPv4 address of the VM, or all by 0.0.0.0:39092\n" +
				"manifest.yaml:20: brokers.2.host: fd00::2 is an IPv6 address, so no load balancer can connect to EXTERNAL2; " +
				"bind an IPv4 address of the VM, or all by 0.0.0.0:39093",
		},
		{
			"fixed port", strings.Replace(strings.Replace(changed("abc.example.com:<port>", "abc.example.com:9093"),
				"ports: {EXTERNAL: 9103}, ", "", 1), "ports: {EXTERNAL: 9094}, ", "", 1), (*faults).ownPorts,
			"manifest.yaml:7: listeners.EXTERNAL.advertised: has a port written out, so a port does not tell one broker from " +
				"another; write <port>, and give each broker its own under `brokers`",
		},
		{"ports", manifest, func(f *faults, n *Network) { f.once("x", n.leads(n.Listeners[0])) }, ""},
		{
			"ports of two listeners", strings.Replace(changed("EXTERNAL: 9094", "EXTERNAL: 9110"), "EXTERNAL: 9103", "EXTERNAL: 9101", 1),
			func(f *faults, n *Network) {
				f.once("the load balancer", append(n.leads(n.Listeners[1]), n.leads(n.Listeners[0])...))
				f.once("the load balancer", append(n.leads(n.Listeners[0]), n.leads(n.Listeners[1])...))
			},
			"manifest.yaml:20: brokers.2.ports.EXTERNAL: 9110 leads to broker 10 of EXTERNAL2 on the load balancer already, so " +
				"it cannot lead to broker 2 of EXTERNAL; give broker 2 of EXTERNAL a port that is not taken\n" +
				"manifest.yaml:15: listeners.EXTERNAL2.port_base: 9110 leads to broker 2 of EXTERNAL on the load balancer already, " +
				"so it cannot lead to broker 10 of EXTERNAL2; give broker 10 of EXTERNAL2 a port that is not taken",
		},
		{"probe", manifest, func(f *faults, n *Network) { f.probe(n, bounds{"Azure", 5, 0, 1, 100}) }, ""},
		{
			"a fraction", changed("interval: 5s", "interval: 1500ms"),
			func(f *faults, n *Network) { f.probe(n, bounds{"Azure", 5, 0, 1, 100}) },
			"manifest.yaml:21: load_balancer.interval: 1.5s is no whole number of seconds, which Azure needs; write 5s",
		},
		{
			"outside", strings.Replace(changed("interval: 5s", "interval: 4s"), "threshold: 2", "threshold: 1", 1),
			func(f *faults, n *Network) {
				f.probe(n, bounds{"AWS", 5, 300, 2, 10})
				f.probe(n, bounds{"Azure", 5, 0, 1, 100})
			},
			"manifest.yaml:21: load_balancer.interval: 4s is outside what AWS takes; write 5 to 300 seconds\n" +
				"manifest.yaml:21: load_balancer.healthy_threshold: 1 is outside what AWS takes; write 2 to 10\n" +
				"manifest.yaml:21: load_balancer.interval: 4s is outside what Azure takes; write 5 or more seconds",
		},
		{
			"long names", manifest,
			func(f *faults, n *Network) {
				f.name(n, "kafka-pls-external-b2", naming{thing: "a target group", longest: 20})
				n.Name = "1kafka"
				f.name(n, "1kafka", naming{thing: "a subnet", longest: 20, letterFirst: true})
			},
			"manifest.yaml:2: cluster: kafka-pls makes the name kafka-pls-external-b2 of 21 characters for a target group, which " +
				"takes 20; begin the names with another one by --name\n" +
				"manifest.yaml: --name 1kafka makes the name 1kafka for a subnet, which must begin with a letter; give another one",
		},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			n := resolved(t, c.manifest)
			f := faults{origin: n.origin}
			c.rule(&f, n)
			got := ""
			if err := f.err(); err != nil {
				got = err.Error()
			}
			if got != c.want {
				t.Errorf("\ngot  %s\nwant %s", got, c.want)
			}
		})
	}
}
