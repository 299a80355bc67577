package balancer

import "strings"

// gcpService are the switches of a service attachment.
var gcpService = []want{
	{
		proxyProtocol, "enableProxyProtocol", "false", is("false"), "false",
		"each connection then begins with bytes that Kafka refuses",
		"set enableProxyProtocol of the service attachment to false", true,
	},
}

// readGCP reads a port mapping: the endpoints of a group are its ports.
func readGCP(in *inputs) *seen {
	s := &seen{cloud: "gcp"}
	for _, doc := range in.by[kindGCPEndpoint] {
		for _, e := range doc.objects("networkEndpoint") {
			s.ports = append(s.ports, gcpPort(e))
		}
	}
	for _, g := range in.by[kindGCPGroup] {
		s.name = g.text("name")
		s.shared = append(s.shared, want{
			groupType, "networkEndpointType", "GCE_VM_IP_PORT", is("GCE_VM_IP_PORTMAP"), "GCE_VM_IP_PORTMAP",
			"no other type leads one port to one broker", "make a group with --network-endpoint-type=GCE_VM_IP_PORTMAP",
			true,
		}.judge("network endpoint group "+s.name, g.fact("networkEndpointType")))
	}
	for _, b := range in.by[kindGCPBackend] {
		gcpBackend(s, b)
	}
	for _, f := range in.by[kindGCPRule] {
		gcpRule(s, f)
	}
	for _, a := range in.by[kindGCPService] {
		where := "service attachment " + a.text("name")
		s.services = append(s.services, service{where: where, settings: judged(where, a, gcpService)})
	}
	gcpChain(s, in)
	s.portsHidden = len(in.by[kindGCPEndpoint]) == 0
	for _, d := range []struct {
		kind, what, command string
		matters             bool
	}{
		{kindGCPEndpoint, "the ports", "network-endpoint-groups list-network-endpoints", true},
		{kindGCPBackend, "whether there is a health check", "backend-services describe", false},
		{kindGCPRule, "whether all ports are forwarded", "forwarding-rules describe", false},
		{
			kindGCPService, "the service attachment, and with it whether PROXY protocol is on",
			"service-attachments describe", true,
		},
	} {
		if len(in.by[d.kind]) == 0 {
			s.hint(d.what, "gcloud compute "+d.command+" --format json", d.matters)
		}
	}
	return s
}

func gcpPort(e object) *port {
	number := e.fact("clientDestinationPort")
	p := &port{
		where: "endpoint " + number.text, number: number.port(), to: e.fact("port"), noProbe: true,
		protocol: fact{given, "TCP"},
	}
	m := member{}
	if vm := e.text("instance"); vm != "" {
		m.names, m.shown = append(m.names, last(vm), vm), last(vm)
	}
	if ip := e.text("ipAddress"); ip != "" {
		m.names = append(m.names, ip)
		if m.shown == "" {
			m.shown = ip
		}
	}
	if m.shown != "" {
		p.members, p.membersShown = []member{m}, true
	}
	return p
}

// gcpBackend is right without a health check: traffic is not balanced, and a check would only say that it fails.
func gcpBackend(s *seen, b object) {
	where := "backend service " + b.text("name")
	checks := b.texts("healthChecks")
	s.shared = append(s.shared,
		setting{
			code: healthCheck, where: where, shown: true, fits: len(checks) == 0,
			text: where + " has a health check; expected none: a port mapping sends each port to one VM, whatever a check says",
			todo: "remove the health check from the backend service",
		},
		want{
			wrongProtocol, "protocol", "TCP", is("TCP"), "TCP", "Kafka's clients do not get through",
			"set protocol of the backend service to TCP", true,
		}.judge(where, b.fact("protocol")))
}

func gcpRule(s *seen, f object) {
	where := "forwarding rule " + f.text("name")
	all := want{
		notAllPorts, "allPorts", "false", is("true"), "true", "ports of the manifest do not get to the port mapping",
		"make the forwarding rule with --ports=all", true,
	}
	fact := f.fact("allPorts")
	if ports, limited := f.value("ports"); fact.state == hidden && limited && ports != nil {
		fact.state, fact.text = given, "false"
	}
	s.shared = append(s.shared, all.judge(where, fact))
}

// gcpChain follows attachment, forwarding rule, backend service and group, as far as they are given.
func gcpChain(s *seen, in *inputs) {
	first := func(kind string) (object, bool) {
		if len(in.by[kind]) == 0 {
			return object{}, false
		}
		return in.by[kind][0], true
	}
	broken := func(from, to object, leads, kind string) {
		if name := last(leads); name != "" && name != strings.ToLower(to.text("name")) {
			s.shared = append(s.shared, setting{
				code: wrongService, where: from.text("name"), shown: true,
				text: from.text("name") + " leads to " + name + " and not to the given " + kind + " " + to.text("name"),
				todo: "correct what it leads to, or give the document of " + name,
			})
		}
	}
	rule, haveRule := first(kindGCPRule)
	backend, haveBackend := first(kindGCPBackend)
	group, haveGroup := first(kindGCPGroup)
	if haveRule && haveBackend {
		broken(rule, backend, rule.text("backendService"), "backend service")
	}
	if haveRule {
		for _, a := range in.by[kindGCPService] {
			broken(a, rule, a.text("targetService"), "forwarding rule")
		}
	}
	if haveBackend && haveGroup {
		for _, b := range backend.objects("backends") {
			broken(backend, group, b.text("group"), "network endpoint group")
		}
	}
}
