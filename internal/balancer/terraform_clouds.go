package balancer

import (
	"maps"
	"slices"
	"strings"
)

// azure makes the documents of Azure.
func (t *terraform) azure(in *inputs) {
	balancers := t.of("azurerm_lb")
	if len(balancers) > 1 {
		in.fault(in.from[kindTerraform], "has %d load balancers (%s); give one with `az network lb show -o json`",
			len(balancers), addresses(balancers))
		return
	}
	members, whole := t.azureMembers()
	var pools, probes, rules []any
	for _, p := range t.of("azurerm_lb_backend_address_pool") {
		fields := map[string]any{"name": p.text("name")}
		name := strings.ToLower(p.text("name"))
		switch v, known := p.value("backend_ip_configurations"); {
		case len(members[name]) > 0:
			fields["backendIPConfigurations"] = members[name]
		case whole && t.has("azurerm_network_interface_backend_address_pool_association"):
			fields["backendIPConfigurations"] = []any{}
		case known && whole:
			fields["backendIPConfigurations"] = ids(v)
		default:
			fields["backendIPConfigurations"] = unknown{}
		}
		pools = append(pools, fields)
	}
	for _, p := range t.of("azurerm_lb_probe") {
		fields := renamed(p.object, map[string]string{
			"name": "name", "port": "port", "protocol": "protocol", "intervalInSeconds": "interval_in_seconds",
			"probeThreshold": "probe_threshold",
		})
		fields["noHealthyBackendsBehavior"] = unknown{} // no argument of azurerm
		probes = append(probes, fields)
	}
	for _, r := range t.of("azurerm_lb_rule") {
		rules = append(rules, t.azureRule(r))
	}
	lb := renamed(balancers[0].object, map[string]string{
		"name": "name", "frontendIPConfigurations": "frontend_ip_configuration", "tags": "tags",
	})
	lb["loadBalancingRules"], lb["backendAddressPools"], lb["probes"] = rules, pools, probes
	in.by[kindAzureLB] = []object{{lb, true}}
	for _, s := range t.of("azurerm_private_link_service") {
		fields := renamed(s.object, map[string]string{
			"name": "name", "enableProxyProtocol": "proxy_protocol_enabled enable_proxy_protocol",
		})
		v, _ := s.value("load_balancer_frontend_ip_configuration_ids")
		fields["loadBalancerFrontendIpConfigurations"] = ids(v)
		in.by[kindAzureService] = append(in.by[kindAzureService], object{fields, true})
	}
}

func addresses(all []resource) string {
	var out []string
	for _, r := range all {
		out = append(out, r.address)
	}
	return some(out)
}

// ids makes objects with an id of a list of ids.
func ids(v any) any {
	list, ok := v.([]any)
	if !ok {
		return v
	}
	var out []any
	for _, id := range list {
		out = append(out, map[string]any{"id": id})
	}
	return out
}

// azureMembers are the interfaces of each pool, by its name in lower case; false if the pool of one is not known yet.
func (t *terraform) azureMembers() (map[string][]any, bool) {
	out, whole := map[string][]any{}, true
	for _, a := range t.of("azurerm_network_interface_backend_address_pool_association") {
		pool := last(t.refer(a, "", "backend_address_pool_id"))
		if pool == "" {
			whole = false
			continue
		}
		nic := t.refer(a, "", "network_interface_id")
		out[pool] = append(out[pool], map[string]any{
			"id": nic + "/ipConfigurations/" + a.text("ip_configuration_name"),
		})
	}
	return out, whole
}

func (t *terraform) azureRule(r resource) map[string]any {
	fields := renamed(r.object, map[string]string{
		"name": "name", "protocol": "protocol", "frontendPort": "frontend_port", "backendPort": "backend_port",
		"enableTcpReset":       "tcp_reset_enabled enable_tcp_reset",
		"enableFloatingIP":     "floating_ip_enabled enable_floating_ip",
		"idleTimeoutInMinutes": "idle_timeout_in_minutes",
	})
	fields["frontendIPConfiguration"] = map[string]any{"id": "/" + r.text("frontend_ip_configuration_name")}
	if pool := t.refer(r, "", "backend_address_pool_ids"); pool != "" {
		fields["backendAddressPool"] = map[string]any{"id": pool}
	}
	v, _ := r.value("probe_id")
	switch probe := t.refer(r, "", "probe_id"); {
	case probe != "":
		fields["probe"] = map[string]any{"id": probe}
	case v == unknown{}:
		fields["probe"] = unknown{}
	}
	return fields
}

// aws makes the documents of AWS.
func (t *terraform) aws(in *inputs) {
	var balancers, listeners, groups, services []any
	for _, b := range t.of("aws_lb") {
		fields := renamed(b.object, map[string]string{
			"LoadBalancerName": "name", "Type": "load_balancer_type", "Tags": "tags",
		})
		fields["LoadBalancerArn"] = b.id()
		balancers = append(balancers, fields)
		t.attributes(in, "LoadBalancerArn", b.id(), renamed(b.object, map[string]string{
			crossZoneKey: "enable_cross_zone_load_balancing",
		}))
	}
	for _, l := range t.of("aws_lb_listener") {
		fields := renamed(l.object, map[string]string{"Port": "port", "Protocol": "protocol"})
		fields["ListenerArn"] = l.id()
		fields["LoadBalancerArn"] = t.refer(l, "", "load_balancer_arn")
		fields["DefaultActions"] = []any{map[string]any{
			"TargetGroupArn": orUnknown(t.refer(l, "default_action", "target_group_arn")),
		}}
		listeners = append(listeners, fields)
		t.attributes(in, "ListenerArn", l.id(), renamed(l.object, map[string]string{
			"tcp.idle_timeout.seconds": "tcp_idle_timeout_seconds",
		}))
	}
	for _, g := range t.of("aws_lb_target_group") {
		groups = append(groups, t.awsGroup(in, g))
	}
	t.awsTargets(in)
	for _, s := range t.of("aws_vpc_endpoint_service") {
		fields := map[string]any{"ServiceId": s.id()}
		if lb := t.refer(s, "", "network_load_balancer_arns"); lb != "" {
			fields["NetworkLoadBalancerArns"] = []any{lb}
		} else {
			fields["NetworkLoadBalancerArns"] = unknown{}
		}
		services = append(services, fields)
	}
	in.by[kindAWSBalancers] = []object{list("LoadBalancers", balancers)}
	in.by[kindAWSListeners] = []object{list("Listeners", listeners)}
	in.by[kindAWSGroups] = []object{list("TargetGroups", groups)}
	if len(services) > 0 {
		in.by[kindAWSServices] = []object{list("ServiceConfigurations", services)}
	}
}

// attributes makes the document of one thing's attributes.
func (*terraform) attributes(in *inputs, name, arn string, values map[string]any) {
	var all []any
	for _, key := range slices.Sorted(maps.Keys(values)) {
		all = append(all, map[string]any{"Key": key, "Value": values[key]})
	}
	doc := list("Attributes", all)
	doc.fields[name] = arn
	in.by[kindAWSAttribute] = append(in.by[kindAWSAttribute], doc)
}

func (t *terraform) awsGroup(in *inputs, g resource) map[string]any {
	fields := renamed(g.object, map[string]string{"TargetGroupName": "name", "Port": "port"})
	fields["TargetGroupArn"] = g.id()
	for _, c := range g.objects("health_check") {
		maps.Copy(fields, renamed(c, map[string]string{
			"HealthCheckPort": "port", "HealthCheckProtocol": "protocol", "HealthCheckEnabled": "enabled",
			"HealthCheckIntervalSeconds": "interval", "HealthyThresholdCount": "healthy_threshold",
		}))
	}
	values := renamed(g.object, map[string]string{
		"proxy_protocol_v2.enabled": "proxy_protocol_v2", "preserve_client_ip.enabled": "preserve_client_ip",
		crossZoneKey: "load_balancing_cross_zone_enabled",
	})
	for _, s := range g.objects("target_health_state") {
		maps.Copy(values, renamed(s, map[string]string{
			"target_health_state.unhealthy.connection_termination.enabled": "enable_unhealthy_connection_termination",
		}))
	}
	t.attributes(in, "TargetGroupArn", g.id(), values)
	return fields
}

// awsTargets makes the targets of each group.
func (t *terraform) awsTargets(in *inputs) {
	targets, whole := map[string][]any{}, true
	for _, a := range t.of("aws_lb_target_group_attachment") {
		arn := t.refer(a, "", "target_group_arn")
		id := a.text("target_id")
		if id == "" {
			id = t.refer(a, "", "target_id")
		}
		if arn == "" {
			whole = false
			continue
		}
		target := renamed(a.object, map[string]string{"Port": "port"})
		target["Id"] = id
		targets[arn] = append(targets[arn], map[string]any{"Target": target})
	}
	if !t.has("aws_lb_target_group_attachment") {
		return
	}
	for _, g := range t.of("aws_lb_target_group") {
		if !whole && len(targets[g.id()]) == 0 {
			continue // what a plan does not know yet may lead here
		}
		doc := list("TargetHealthDescriptions", targets[g.id()])
		doc.fields["TargetGroupArn"] = g.id()
		in.by[kindAWSHealth] = append(in.by[kindAWSHealth], doc)
	}
}

// gcp makes the documents of Google Cloud.
func (t *terraform) gcp(in *inputs) {
	for _, e := range t.of("google_compute_region_network_endpoint") {
		fields := renamed(e.object, map[string]string{
			"clientDestinationPort": "client_destination_port", "port": "port", "ipAddress": "ip_address",
			"instance": "instance",
		})
		in.by[kindGCPEndpoint] = append(in.by[kindGCPEndpoint], object{map[string]any{"networkEndpoint": fields}, true})
	}
	for _, k := range []struct {
		resource, kind string
		names          map[string]string
	}{
		{"google_compute_region_network_endpoint_group", kindGCPGroup, map[string]string{
			"name": "name", "networkEndpointType": "network_endpoint_type",
		}},
		{"google_compute_region_backend_service", kindGCPBackend, map[string]string{
			"name": "name", "protocol": "protocol", "healthChecks": "health_checks",
		}},
		{"google_compute_forwarding_rule", kindGCPRule, map[string]string{
			"name": "name", "allPorts": "all_ports", "ports": "ports", "backendService": "backend_service",
		}},
		{"google_compute_service_attachment", kindGCPService, map[string]string{
			"name": "name", "enableProxyProtocol": "enable_proxy_protocol", "targetService": "target_service",
		}},
	} {
		for _, r := range t.of(k.resource) {
			fields := renamed(r.object, k.names)
			for _, name := range []string{"targetService", "backendService"} {
				if id, ok := fields[name].(string); ok {
					fields[name] = t.link(id)
				}
			}
			var backends []any
			for _, b := range r.objects("backend") {
				backends = append(backends, map[string]any{"group": t.link(b.text("group"))})
			}
			fields["backends"] = backends
			in.by[k.kind] = append(in.by[k.kind], object{fields, true})
		}
	}
}
