package balancer

import "strings"

// azureRule are the switches of a load balancing rule. Presets and ranges: armnetwork v9, LoadBalancingRule.
var azureRule = []want{
	{
		tcpReset, "enableTcpReset", "false", is("true"), "true",
		"a client hears nothing of an idle connection that the load balancer has dropped, and waits for its own time-out",
		"set enableTcpReset of the rule to true", false,
	},
	{
		floatingIP, "enableFloatingIP", "false", is("false"), "false",
		"packets then carry the frontend's address, which Kafka does not listen at",
		"set enableFloatingIP of the rule to false", true,
	},
	{
		idleTime, "idleTimeoutInMinutes", "4", moreThan(kafkaIdle / 60),
		"more than 10 (Kafka's connections.max.idle.ms)",
		"the load balancer drops idle connections before Kafka closes them",
		"set idleTimeoutInMinutes of the rule to 15", false,
	},
}

// azureProbe are the switches of a probe.
var azureProbe = []want{
	{
		noHealthy, "noHealthyBackendsBehavior", "AllProbedDown", is("AllProbedUp"), "AllProbedUp",
		"where no broker's probe is open, such as while no agent runs, all connections are cut",
		"set noHealthyBackendsBehavior of the probe to AllProbedUp with `az network lb update --set` or ARM, as the last " +
			"change: `az network lb rule` and `az network lb probe` send the load balancer without it", false,
	},
}

// azureService are the switches of a private link service.
var azureService = []want{
	{
		proxyProtocol, "enableProxyProtocol", "false", is("false"), "false",
		"each connection then begins with bytes that Kafka refuses",
		"set enableProxyProtocol of the private link service to false", true,
	},
}

// readAzure reads a load balancer and its private link services, as ARM or az show them.
func readAzure(in *inputs) *seen {
	s := &seen{cloud: "azure", fronts: true}
	probes, pools, fronts := map[string]object{}, map[string]object{}, map[string]string{}
	if len(in.by[kindAzureLB]) == 0 {
		s.portsHidden = true
		s.hint("the load balancer", "az network lb show -o json", true)
	}
	for _, lb := range in.by[kindAzureLB] {
		s.tags(lb, "tags")
		s.name = lb.text("name")
		for _, f := range lb.objects("frontendIPConfigurations") {
			fronts[strings.ToLower(f.text("name"))] = f.text("name")
		}
		index(probes, lb.objects("probes"))
		index(pools, lb.objects("backendAddressPools"))
		for _, rule := range lb.objects("loadBalancingRules") {
			s.ports = append(s.ports, azurePort(rule, probes, pools))
		}
		for _, rule := range lb.objects("inboundNatRules") {
			s.ports = append(s.ports, azureNAT(rule))
		}
	}
	if len(in.by[kindAzureService]) == 0 {
		s.hint("the private link service, and with it whether PROXY protocol is on",
			"az network private-link-service show -o json", true)
	}
	for _, o := range in.by[kindAzureService] {
		where := "private link service " + o.text("name")
		v := service{where: where, settings: judged(where, o, azureService)}
		for _, f := range o.objects("loadBalancerFrontendIpConfigurations") {
			v.fronts = append(v.fronts, last(f.text("id")))
		}
		s.services = append(s.services, v)
	}
	for _, p := range s.ports {
		p.label = fronts[p.front]
		if p.label == "" {
			p.label = p.front
		}
	}
	return s
}

// index sorts objects by name, in lower case.
func index(into map[string]object, all []object) {
	for _, o := range all {
		into[strings.ToLower(o.text("name"))] = o
	}
}

// reference is the last part of the id that a field refers to; empty where there is none.
func reference(o object, name string) string {
	for _, r := range o.objects(name) {
		if id := r.text("id"); id != "" {
			return last(id)
		}
	}
	return ""
}

func azurePort(rule object, probes, pools map[string]object) *port {
	where := "rule " + rule.text("name")
	p := &port{
		where: where, front: reference(rule, "frontendIPConfiguration"),
		number: rule.fact("frontendPort").port(), to: rule.fact("backendPort"),
		protocol: rule.fact("protocol"), settings: judged(where, rule, azureRule), probeShown: true,
	}
	if rule.fact("frontendIPConfiguration").state == hidden && p.front == "" {
		p.front = reference(rule, "frontendIpConfiguration")
	}
	if name := reference(rule, "probe"); name != "" {
		p.probe = azureProbeOf(name, probes)
	} else if v, ok := rule.value("probe"); ok {
		_, later := v.(unknown)
		p.probeShown = !later
	}
	pool := reference(rule, "backendAddressPool")
	if pool == "" {
		pool = reference(rule, "backendAddressPools")
	}
	p.pool = pool
	if o, ok := pools[pool]; ok {
		p.pool = o.text("name")
		p.members, p.membersShown = azureMembers(o)
	}
	return p
}

// azureNAT is an inbound NAT rule: a port of one VM, which has no probe.
func azureNAT(rule object) *port {
	where := "inbound NAT rule " + rule.text("name")
	p := &port{
		where: where, front: reference(rule, "frontendIPConfiguration"),
		number: rule.fact("frontendPort").port(), to: rule.fact("backendPort"), protocol: rule.fact("protocol"),
		settings: judged(where, rule, azureRule), probeShown: true, membersShown: true,
	}
	for _, c := range rule.objects("backendIPConfiguration") {
		p.members = append(p.members, azureMember(c.text("id"), ""))
	}
	return p
}

func azureProbeOf(name string, probes map[string]object) *probe {
	o, ok := probes[name]
	if !ok {
		return &probe{where: "probe " + name}
	}
	where := "probe " + o.text("name")
	q := &probe{
		where: where, port: o.fact("port"), protocol: o.fact("protocol"), protocols: []string{"tcp"},
		interval: o.fact("intervalInSeconds"), threshold: o.fact("probeThreshold"),
	}
	if q.threshold.state == unset {
		q.threshold = fact{given, "1"} // Azure's own
	}
	for _, w := range azureProbe {
		// azurerm has no such argument: Terraform neither sets nor shows it.
		q.settings = append(q.settings, w.judge(where, o.fact(w.key)))
	}
	return q
}

// azureMembers are the interfaces and addresses of a pool.
func azureMembers(pool object) ([]member, bool) {
	var out []member
	known := map[string]bool{}
	add := func(id, address string) {
		m := azureMember(id, address)
		if m.shown != "" && !known[m.shown] {
			known[m.shown] = true
			out = append(out, m)
		}
	}
	for _, c := range pool.objects("backendIPConfigurations") {
		add(c.text("id"), "")
	}
	for _, a := range pool.objects("loadBalancerBackendAddresses") {
		id := ""
		for _, c := range a.objects("networkInterfaceIPConfiguration") {
			id = c.text("id")
		}
		add(id, a.text("ipAddress"))
	}
	v, later := pool.value("backendIPConfigurations")
	_, unseen := v.(unknown)
	return out, !later || !unseen
}

// azureMember is one by the id of its network interface's configuration, or by its address.
func azureMember(id, address string) member {
	m := member{}
	if nic := after(id, "networkInterfaces"); nic != "" {
		m.names, m.shown = []string{nic, id}, nic
		if set := after(id, "virtualMachineScaleSets"); set != "" {
			m.shown = set + "_" + after(id, "virtualMachines")
			m.names = []string{m.shown, id} // the interface's name is the same in each VM of a scale set
		}
	}
	if address != "" {
		m.names = append(m.names, address)
		if m.shown == "" {
			m.shown = address
		}
	}
	return m
}

// tags reads what rendered files leave on a load balancer.
func (s *seen) tags(o object, name string) {
	for _, t := range o.objects(name) {
		if f := t.fact("kpls-manifest"); f.state == given {
			s.manifest = f.text
		}
		if f := t.fact("kpls-cluster"); f.state == given {
			s.cluster = f.text
		}
	}
}

// hint notes a document that was not given.
func (s *seen) hint(what, command string, matters bool) {
	s.hints = append(s.hints, Unseen{what, []string{"no such document was given"}, "give what `" + command +
		"` prints, too", matters})
}
