package render

import (
	"bytes"
	_ "embed"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// armAPI is a version of Azure's network API that knows noHealthyBackendsBehavior (2024-01-01 and later).
const armAPI = "2024-05-01"

// azureIdleMinutes is more than the 10 minutes after which Kafka closes an idle connection (azure/main.tf has more).
const azureIdleMinutes = 15

// armNICs is the script that puts brokers into their pools, without the two lists of this manifest.
//
//go:embed azure/nics.sh
var armNICs string

type armObject = map[string]any

// azureARM is the same network as one template, and what a template cannot say: who is in a pool stands on the network
// interface, and is read-only in the load balancer (BackendAddressPoolPropertiesFormat).
func azureARM(n *Network) (*Output, error) {
	a, err := azure(n)
	if err != nil {
		return nil, err
	}
	template, err := indented(armObject{
		"$schema":        "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#",
		"contentVersion": "1.0.0.0",
		"metadata":       armObject{"generated_by": n.note("azure")},
		"parameters":     armParameters(),
		"resources":      a.armResources(),
		"outputs":        a.armOutputs(),
	})
	if err != nil {
		return nil, err
	}
	example, err := indented(a.armExample())
	if err != nil {
		return nil, err
	}
	return &Output{
		Files: []File{
			{Name: "kpls.arm.json", Mode: 0o644, Text: template},
			{Name: "nics.sh", Mode: 0o755, Text: a.armScript(n)},
			{Name: "kpls.parameters.json.example", Mode: 0o644, Text: example, Example: true},
		},
		Warnings: azureWarnings(n),
	}, nil
}

func armParameters() armObject {
	text := func(about string) armObject {
		return armObject{"type": "string", "metadata": armObject{"description": about}}
	}
	location := text("Region of the virtual network.")
	location["defaultValue"] = "[resourceGroup().location]"
	group := text("Network security group that denies what Azure's own rules allow; empty for none.")
	group["defaultValue"] = ""
	return armObject{
		"location":       location,
		"virtualNetwork": text("Virtual network of the brokers, in the same resource group."),
		"subnet":         text("Subnet of the frontends."),
		"natSubnet": text("Subnet of its own for the private link services. It is made, or its policies for private link " +
			"services are disabled."),
		"natSubnetPrefix": text("Address range of that subnet, such as 10.0.2.0/27."),
		"zones": armObject{
			"type": "array", "defaultValue": []string{"1", "2", "3"},
			"metadata": armObject{"description": "Zones of the frontends; [] in a region without zones."},
		},
		"consumers": armObject{
			"type": "object",
			"metadata": armObject{"description": "By listener: the subscriptions that see its service (visibility), and those " +
				"whose connections need no approval (autoApproval)."},
		},
		"networkSecurityGroup": group,
		"securityRulePriority": armObject{
			"type": "int", "defaultValue": 300,
			"metadata": armObject{"description": "Priority of the first of two rules of that group."},
		},
	}
}

func (a *azureNetwork) armResources() []armObject {
	lb := a.Name + "-lb"
	balancer := armResource("loadBalancers", lb)
	balancer["sku"] = armObject{"name": "Standard", "tier": "Regional"}
	balancer["tags"] = armObject{"kpls-manifest": a.Manifest}
	balancer["properties"] = armObject{
		"frontendIPConfigurations": a.armFrontends(),
		"backendAddressPools":      a.armPools(),
		"probes":                   a.armProbes(),
		"loadBalancingRules":       a.armRules(lb),
	}
	nat := armResource("virtualNetworks/subnets", "[concat(parameters('virtualNetwork'), '/', parameters('natSubnet'))]")
	delete(nat, "location")
	nat["properties"] = armObject{
		"addressPrefix": "[parameters('natSubnetPrefix')]",
		// Azure refuses a private link service in a subnet that has these policies.
		"privateLinkServiceNetworkPolicies": "Disabled",
	}
	all := []armObject{balancer, nat}
	for _, l := range a.Listeners {
		all = append(all, a.armService(lb, l.key))
	}
	return append(all, a.armSecurity()...)
}

func armResource(kind, name string) armObject {
	return armObject{
		"type": "Microsoft.Network/" + kind, "apiVersion": armAPI, "name": name, "location": "[parameters('location')]",
	}
}

func armID(kind string, names ...string) string {
	return fmt.Sprintf("[resourceId('Microsoft.Network/%s', %s)]", kind, strings.Join(names, ", "))
}

func quoted(name string) string { return "'" + name + "'" }

func (a *azureNetwork) armFrontends() []armObject {
	var all []armObject
	for _, l := range a.Listeners {
		all = append(all, armObject{
			"name": l.key, "zones": "[parameters('zones')]",
			"properties": armObject{
				"privateIPAllocationMethod": "Dynamic", "privateIPAddressVersion": "IPv4",
				"subnet": armObject{"id": armID("virtualNetworks/subnets", "parameters('virtualNetwork')", "parameters('subnet')")},
			},
		})
	}
	return all
}

// azureRule is one rule of the load balancer, with the pool that has its name.
type azureRule struct {
	name, frontend, probe string
	port, bindPort        int
	brokers               []string // ids
}

// rules are all rules of the load balancer, in the order of listeners and brokers.
func (a *azureNetwork) rules() []azureRule {
	var all []azureRule
	for _, l := range a.Listeners {
		for _, b := range l.value.Brokers {
			name := l.key + "-b" + b.key
			all = append(all, azureRule{name, l.key, l.key, b.value, l.value.BindPort, []string{b.key}})
		}
	}
	for _, b := range a.Bootstraps {
		all = append(all, azureRule{b.key + "-all", b.value.Listener, b.key, b.value.Port, b.value.BindPort, a.BrokerIDs})
	}
	return all
}

func (a *azureNetwork) armPools() []armObject {
	var all []armObject
	for _, r := range a.rules() {
		all = append(all, armObject{"name": r.name})
	}
	return all
}

func (a *azureNetwork) armProbes() []armObject {
	var all []armObject
	add := func(name string, port int) {
		all = append(all, armObject{"name": name, "properties": armObject{
			"protocol": "Tcp", "port": port, "intervalInSeconds": a.IntervalSeconds, "probeThreshold": a.HealthyThreshold,
			// Where no broker of a pool answers its probe, clients get through all the same: a pool of one has no
			// other that could take them.
			"noHealthyBackendsBehavior": "AllProbedUp",
		}})
	}
	for _, l := range a.Listeners {
		add(l.key, l.value.ProbePort)
	}
	for _, b := range a.Bootstraps {
		add(b.key, b.value.ProbePort)
	}
	return all
}

func (a *azureNetwork) armRules(lb string) []armObject {
	var all []armObject
	part := func(kind, name string) armObject {
		return armObject{"id": armID("loadBalancers/"+kind, quoted(lb), quoted(name))}
	}
	for _, r := range a.rules() {
		all = append(all, armObject{"name": r.name, "properties": armObject{
			"protocol": "Tcp", "frontendPort": r.port, "backendPort": r.bindPort,
			"enableFloatingIP": false, "enableTcpReset": true, "idleTimeoutInMinutes": azureIdleMinutes,
			"disableOutboundSnat": true, "loadDistribution": "Default",
			"frontendIPConfiguration": part("frontendIPConfigurations", r.frontend),
			"backendAddressPool":      part("backendAddressPools", r.name),
			"probe":                   part("probes", r.probe),
		}})
	}
	return all
}

func (a *azureNetwork) armService(lb, listener string) armObject {
	nat := armID("virtualNetworks/subnets", "parameters('virtualNetwork')", "parameters('natSubnet')")
	of := func(what string) armObject {
		return armObject{"subscriptions": fmt.Sprintf("[parameters('consumers')['%s'].%s]", listener, what)}
	}
	service := armResource("privateLinkServices", a.Name+"-"+listener)
	service["dependsOn"] = []string{armID("loadBalancers", quoted(lb)), nat}
	service["properties"] = armObject{
		"enableProxyProtocol": false, // Kafka does not speak it
		"visibility":          of("visibility"),
		"autoApproval":        of("autoApproval"),
		"loadBalancerFrontendIpConfigurations": []armObject{
			{"id": armID("loadBalancers/frontendIPConfigurations", quoted(lb), quoted(listener))},
		},
		"ipConfigurations": []armObject{{"name": "nat-1", "properties": armObject{
			"primary": true, "privateIPAllocationMethod": "Dynamic", "privateIPAddressVersion": "IPv4",
			"subnet": armObject{"id": nat},
		}}},
	}
	return service
}

// armSecurity is two rules: clients come from the services' addresses, probes from Azure's own.
func (a *azureNetwork) armSecurity() []armObject {
	binds, probes := map[int]bool{}, map[int]bool{}
	for _, l := range a.Listeners {
		binds[l.value.BindPort], probes[l.value.ProbePort] = true, true
	}
	for _, b := range a.Bootstraps {
		binds[b.value.BindPort], probes[b.value.ProbePort] = true, true
	}
	rule := func(name, priority, source string, ports map[int]bool) armObject {
		full := fmt.Sprintf("[concat(parameters('networkSecurityGroup'), '/%s-%s')]", a.Name, name)
		r := armResource("networkSecurityGroups/securityRules", full)
		delete(r, "location")
		r["condition"] = "[not(empty(parameters('networkSecurityGroup')))]"
		r["properties"] = armObject{
			"priority": priority, "direction": "Inbound", "access": "Allow", "protocol": "Tcp",
			"sourceAddressPrefix": source, "sourcePortRange": "*", "destinationAddressPrefix": "*",
			"destinationPortRanges": portTexts(ports),
		}
		return r
	}
	return []armObject{
		rule("clients", "[parameters('securityRulePriority')]", "[parameters('natSubnetPrefix')]", binds),
		rule("probes", "[add(parameters('securityRulePriority'), 1)]", "AzureLoadBalancer", probes),
	}
}

func portTexts(set map[int]bool) []string {
	var all []string
	for _, port := range slices.Sorted(maps.Keys(set)) {
		all = append(all, strconv.Itoa(port))
	}
	return all
}

func (a *azureNetwork) armOutputs() armObject {
	out := armObject{}
	for _, l := range a.Listeners {
		out[l.key] = armObject{"type": "object", "value": armObject{
			"aliasOfThePrivateLinkService": fmt.Sprintf(
				"[reference(resourceId('Microsoft.Network/privateLinkServices', '%s-%s'), '%s').alias]", a.Name, l.key, armAPI),
			"bootstrapPorts": l.value.BootstrapPorts,
		}}
	}
	return out
}

// armExample is what only Azure knows, to be filled in.
func (a *azureNetwork) armExample() armObject {
	consumers := armObject{}
	for _, l := range a.Listeners {
		subscription := []string{"00000000-0000-0000-0000-000000000000"}
		consumers[l.key] = armObject{"visibility": subscription, "autoApproval": subscription}
	}
	value := func(v any) armObject { return armObject{"value": v} }
	return armObject{
		"$schema":        "https://schema.management.azure.com/schemas/2019-04-01/deploymentParameters.json#",
		"contentVersion": "1.0.0.0",
		"parameters": armObject{
			"virtualNetwork": value("kafka-pls-vnet"), "subnet": value("brokers-subnet"),
			"natSubnet": value(a.Name + "-nat"), "natSubnetPrefix": value("10.0.2.0/27"), "consumers": value(consumers),
		},
	}
}

// armScript is the script with the pools of each broker.
func (a *azureNetwork) armScript(n *Network) []byte {
	pools := map[string][]string{}
	for _, r := range a.rules() {
		for _, id := range r.brokers {
			pools[id] = append(pools[id], r.name)
		}
	}
	var lists bytes.Buffer
	fmt.Fprintf(&lists, "lb=%s-lb\n", a.Name)
	fmt.Fprintf(&lists, "brokers=(%s)\n", strings.Join(a.BrokerIDs, " "))
	for _, id := range a.BrokerIDs {
		fmt.Fprintf(&lists, "pools[%s]=%q\n", id, strings.Join(pools[id], " "))
	}
	return []byte(strings.NewReplacer("@MARK@", n.note("azure"), "@LISTS@\n", lists.String()).Replace(armNICs))
}
