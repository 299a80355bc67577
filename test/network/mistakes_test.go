//go:build network

package network

import (
	"flag"
	"fmt"
	"strings"
	"testing"

	"example.com/kpls-agent/test/tables"
)

var update = flag.Bool("update", false, "write the table of docs/network-mistakes.md")

// mistake is planted into what stands without one, in one place.
type mistake struct {
	target, in string // in is manifest, main.tf, values, or template
	what       string
	from, to   string
	// found is a part of what is said, and by says by whom: render, OpenTofu, a tool for templates, verify (of what was
	// made with the mistake), or nobody.
	by, found string
}

// mistakes are tried one at a time. docs/network-mistakes.md has them all, those that nobody finds, too.
var mistakes = []mistake{
	// What validators do not see: the manifest.
	{"aws", "manifest", "one port in two zones", "EXTERNAL: 9094", "EXTERNAL: 9093", "render", "9093 leads to broker 1 of EXTERNAL"},
	{"aws", "manifest", "a second listener with the ports of the first", "port_base: 9200", "port_base: 9092", "render", "9093 leads to broker 1 of EXTERNAL"},
	{"aws", "manifest", "a bootstrap port that another listener's broker has", "port: 9092}", "port: 9202}", "render", "9202 leads to broker 2 of EXTERNAL2"},
	{"aws", "manifest", "the name of a zone in place of its id", "usw2-az2", "us-west-2b", "render", "another zone in each account"},
	{"aws", "manifest", "an interval of 3 s", "interval: 5s", "interval: 3s", "render", "write 5 to 300 seconds"},
	{"aws", "manifest", "an interval of 4.5 s", "interval: 5s", "interval: 4500ms", "render", "no whole number of seconds"},
	{"aws", "manifest", "a threshold of 1", "healthy_threshold: 2", "healthy_threshold: 1", "render", "write 2 to 10"},
	{"aws", "manifest", "a name of more than 32 characters", "kafka-pls", "kafka-of-the-third-data-center", "render", "which takes 32"},
	{"aws", "manifest", "a bind to this VM alone", "0.0.0.0:39093", "127.0.0.1:39093", "render", "no load balancer can connect"},
	{"aws", "manifest", "a port written out in the pattern", "example.com:<port>\n    port_base: 9200", "example.com:9200", "render", "has a port written out"},
	{"gcp", "manifest", "a second listener with the ports of the first", "port_base: 10092", "port_base: 9092", "render", "9093 leads to broker 1 of EXTERNAL"},
	{"gcp", "manifest", "a bootstrap listener", "advertised: <broker_id>.external2.example.com:<port>\n    port_base: 10092", "bootstrap: {of: EXTERNAL, port: 9092}", "render", "one port to all brokers"},
	{"gcp", "manifest", "a name that begins with a digit", "kafka-pls", "3kafka", "render", "must begin with a letter"},
	{"gcp", "manifest", "a bind to this VM alone", "0.0.0.0:39093", "127.0.0.1:39093", "render", "no load balancer can connect"},

	// The modules, as somebody might edit them.
	{"aws", "main.tf", "an argument that is misspelt", "preserve_client_ip =", "preserve_client_addr =", "OpenTofu", "Unsupported argument"},
	{"aws", "main.tf", "a listener without its load balancer", "  load_balancer_arn = aws_lb.kpls.arn\n", "", "OpenTofu", "Missing required argument"},
	{"aws", "main.tf", "a listener without an action", "default_action {", "mutual_authentication {", "OpenTofu", "default_action"},
	{"aws", "main.tf", "a reference to no resource", "aws_lb_target_group.kpls[each.key].arn", "aws_lb_target_group.kafka[each.key].arn", "OpenTofu", "Reference to undeclared resource"},
	{"aws", "main.tf", "an attribute that is none", "aws_lb.kpls.arn]", "aws_lb.kpls.amazon_name]", "OpenTofu", "Unsupported attribute"},
	{"aws", "main.tf", "a text for a number", "tcp_idle_timeout_seconds = 900", `tcp_idle_timeout_seconds = "long"`, "OpenTofu", "Incorrect attribute value type"},
	{"aws", "main.tf", "a protocol that is none", `protocol    = "TCP"`, `protocol    = "TCPP"`, "nobody", ""},
	{"aws", "main.tf", "an idle time of 9000 s", "tcp_idle_timeout_seconds = 900", "tcp_idle_timeout_seconds = 9000", "nobody", ""},
	{"aws", "values", "a broker without a target", `  "2" = "i-00000000000000002"` + "\n", "", "OpenTofu", "broker_targets must have the brokers"},
	{"aws", "values", "one VM for two brokers", `"3" = "i-00000000000000003"`, `"3" = "i-00000000000000002"`, "OpenTofu", "Two brokers have the same target"},
	{"aws", "values", "no subnet in a zone", `"usw2-az3" = `, `"usw2-az9" = `, "OpenTofu", "subnet_ids needs a subnet in each zone"},
	{"aws", "values", "the VMs of two brokers swapped", `"2" = "i-00000000000000002"` + "\n" + `  "3" = "i-00000000000000003"`, `"2" = "i-00000000000000003"` + "\n" + `  "3" = "i-00000000000000002"`, "nobody", ""},
	{"gcp", "main.tf", "endpoints by the provider without beta", "  provider                      = google-beta\n", "", "OpenTofu", "An argument named \"instance\" is not expected here"},
	{"gcp", "main.tf", "an argument that is misspelt", "enable_proxy_protocol =", "proxy_protocol =", "OpenTofu", "Unsupported argument"},
	{"gcp", "main.tf", "no subnet for customers' addresses", "  nat_subnets           = [google_compute_subnetwork.psc.id]\n", "", "OpenTofu", "Missing required argument"},
	{"gcp", "main.tf", "a type of group that is none", "GCE_VM_IP_PORTMAP", "GCE_VM_PORTMAP", "nobody", ""},
	{"gcp", "values", "a broker without a VM", `  "2" = `, `  "9" = `, "OpenTofu", "brokers must have the brokers"},
	{"gcp", "values", "one VM for two brokers", "instances/kafka-2\"", "instances/kafka-1\"", "OpenTofu", "Two brokers have the same VM"},

	// The template.
	{"aws", "template", "a property that is misspelt", `"HealthCheckPort"`, `"HealthCheckPortt"`, "cfn-lint", "E3002"},
	{"aws", "template", "a listener without its load balancer", `"LoadBalancerArn": {`, `"LoadBalancer": {`, "cfn-lint", "E3003"},
	{"aws", "template", "a protocol that is none", `"Protocol": "TCP"`, `"Protocol": "TCPP"`, "cfn-lint", "E3030"},
	{"aws", "template", "an interval of 3 s", `"HealthCheckIntervalSeconds": 5`, `"HealthCheckIntervalSeconds": 3`, "cfn-lint", "E3034"},
	{"aws", "template", "a threshold of 1", `"HealthyThresholdCount": 2`, `"HealthyThresholdCount": 1`, "cfn-lint", "E3034"},
	{"aws", "template", "port 70000", `"Port": 9093`, `"Port": 70000`, "cfn-lint", "E3034"},
	{"aws", "template", "a text for a switch", `"AcceptanceRequired": true`, `"AcceptanceRequired": "perhaps"`, "cfn-lint", "E3012"},
	{"aws", "template", "a reference to nothing", `"Ref": "BrokerSecurityGroupId"`, `"Ref": "BrokersGroup"`, "cfn-lint", "E1"},
	{"aws", "template", "a scheme that is none", `"Scheme": "internal"`, `"Scheme": "private"`, "cfn-lint", "E3030"},
	{"aws", "template", "a type that is none", "AWS::EC2::VPCEndpointService\"", "AWS::EC2::EndpointService\"", "cfn-lint", "E3006"},
	{"aws", "template", "a parameter that nobody uses", `"Ref": "AllowedPrincipals"`, `"Ref": "SubnetIds"`, "cfn-lint", "W2001"},
	{"aws", "template", "one port for two listeners", `"Port": 9094`, `"Port": 9093`, "nobody", ""},
	{"aws", "template", "an attribute that is misspelt", "preserve_client_ip.enabled", "preserve_client_address.enabled", "nobody", ""},
	{"aws", "template", "an idle time of 9000 s", `"Value": "900"`, `"Value": "9000"`, "nobody", ""},
	{"aws", "template", "a time-out longer than the interval", `"HealthCheckTimeoutSeconds": 5`, `"HealthCheckTimeoutSeconds": 10`, "nobody", ""},

	// Azure.
	{"azure", "manifest", "one port in two zones", "EXTERNAL: 9094", "EXTERNAL: 9093", "render", "9093 leads to broker 1 of EXTERNAL"},
	{"azure", "manifest", "port 65535", "EXTERNAL: 9094", "EXTERNAL: 65535", "render", "65535 is above 65534"},
	{"azure", "manifest", "an interval of 3 s", "interval: 5s", "interval: 3s", "render", "write 5 or more seconds"},
	{"azure", "manifest", "an interval of 5.5 s", "interval: 5s", "interval: 5500ms", "render", "no whole number of seconds"},
	{"azure", "manifest", "a threshold of 101", "healthy_threshold: 2", "healthy_threshold: 101", "render", "expected an integer from 1 to 100"},
	{"azure", "manifest", "a bind to this VM alone", "0.0.0.0:39093", "127.0.0.1:39093", "render", "no load balancer can connect"},
	{"azure", "manifest", "a port written out in the pattern", "example.com:<port>\n    port_base: 9200", "example.com:9200", "render", "has a port written out"},
	{"azure", "manifest", "two listeners that differ by `_` and `-`", "EXTERNAL2:", "EXTERNAL2:\n    bind: 0.0.0.0:39094\n    security_protocol: PLAINTEXT\n    advertised: <broker_id>.x.example.com:<port>\n    port_base: 9300\n    probe_port: 39194\n  EXTERNAL-A:\n    bind: 0.0.0.0:39095\n    security_protocol: PLAINTEXT\n    advertised: <broker_id>.y.example.com:<port>\n    port_base: 9300\n    probe_port: 39195\n  EXTERNAL_A:", "render", "both become external-a"},
	{"azure", "main.tf", "an argument that is misspelt", "disable_outbound_snat ", "disable_outbound_nat ", "OpenTofu", "Unsupported argument"},
	{"azure", "main.tf", "a rule without its backend port", "  backend_port                   = each.value.bind_port\n", "", "OpenTofu", "Missing required argument"},
	{"azure", "main.tf", "a reference to no resource", "azurerm_lb_probe.listener[", "azurerm_lb_probe.kafka[", "OpenTofu", "Reference to undeclared resource"},
	{"azure", "main.tf", "an attribute that is none", ".listener[name].alias", ".listener[name].name_of_alias", "OpenTofu", "Unsupported attribute"},
	{"azure", "main.tf", "a text for a number", "idle_timeout_in_minutes = 15", `idle_timeout_in_minutes = "long"`, "OpenTofu", "a number is required"},
	{"azure", "main.tf", "a service without its addresses", `dynamic "nat_ip_configuration"`, `dynamic "nat_address"`, "OpenTofu", "nat_ip_configuration"},
	{"azure", "main.tf", "a protocol that is none", `protocol                       = "Tcp"`, `protocol                       = "Tcpp"`, "verify", "Tcpp"},
	{"azure", "main.tf", "all ports lead to the pool of broker 1", "[local.pool_ids[each.key]]", `[local.pool_ids["external-b1"]]`, "verify", "broker 1"},
	{"azure", "main.tf", "a rule without a probe", "  probe_id                       = azurerm_lb_probe.listener[each.value.probe].id\n", "", "verify", "probe"},
	{"azure", "main.tf", "a rule to the frontend's port on the VM", "backend_port                   = each.value.bind_port", "backend_port                   = each.value.port", "verify", "39092"},
	{"azure", "main.tf", "a probe of Kafka's own port", "name => l.probe_port }", "name => l.bind_port }", "verify", "39192"},
	{"azure", "main.tf", "the provider's threshold", "  probe_threshold     = var.kpls.healthy_threshold\n", "", "verify", "the threshold is 1"},
	{"azure", "main.tf", "one frontend port for all rules", "frontend_port                  = each.value.port", "frontend_port                  = 9093", "verify", "9094"},
	{"azure", "main.tf", "floating IP", "floating_ip_enabled = false", "floating_ip_enabled = true", "verify", "enableFloatingIP is true"},
	{"azure", "main.tf", "no TCP reset", "tcp_reset_enabled = true", "tcp_reset_enabled = false", "verify", "enableTcpReset is false"},
	{"azure", "main.tf", "an idle time of 4 minutes", "idle_timeout_in_minutes = 15", "idle_timeout_in_minutes = 4", "verify", "4"},
	{"azure", "main.tf", "an idle time of 40 minutes", "idle_timeout_in_minutes = 15", "idle_timeout_in_minutes = 40", "nobody", ""},
	{"azure", "main.tf", "the PROXY protocol", "proxy_protocol_enabled = false", "proxy_protocol_enabled = true", "verify", "enableProxyProtocol is true"},
	{"azure", "main.tf", "policies that Azure refuses a service with", "  private_link_service_network_policies_enabled = false\n", "", "nobody", ""},
	{"azure", "values", "a broker without a network interface", `    "2" = `, `    "9" = `, "OpenTofu", "must have exactly the brokers of the manifest"},
	{"azure", "values", "a network interface for two brokers", "broker-node-2", "broker-node-1", "OpenTofu", "Two brokers have the same network interface"},
	{"azure", "values", "a listener without a customer", "    external2 = ", "    external3 = ", "OpenTofu", "must have exactly the listeners"},
	{"azure", "values", "nine addresses for a service", `virtual_network_name = "kafka-pls-vnet"`, `virtual_network_name = "kafka-pls-vnet", addresses = 9`, "OpenTofu", "must be 1 to 8"},
	{"azure", "values", "the interfaces of two brokers swapped", nics("1", "2"), nics("2", "1"), "verify", "broker 2"},
	{"azure", "template", "a property that is misspelt", `"probeThreshold"`, `"probeTreshold"`, "Azure's types", "probeTreshold: no property"},
	{"azure", "template", "a property in capitals", `"enableTcpReset"`, `"enableTCPReset"`, "Azure's types", "enableTCPReset: no property"},
	{"azure", "template", "a text for a number", `"frontendPort": 9093`, `"frontendPort": "9093"`, "Azure's types", "cannot unmarshal string"},
	{"azure", "template", "a type that is none", `Microsoft.Network/privateLinkServices"`, `Microsoft.Network/privateLinkService"`, "Azure's types", "no type for"},
	{"azure", "template", "one port for two rules", `"frontendPort": 9094`, `"frontendPort": 9093`, "nobody", ""},
	{"azure", "template", "a threshold of 101", `"probeThreshold": 2`, `"probeThreshold": 101`, "nobody", ""},
	{"azure", "template", "a behaviour that is none", "AllProbedUp", "AllProbesUp", "nobody", ""},
}

// nics are the first two lines of the network interfaces of the example.
func nics(first, second string) string {
	const line = `    "%s" = { network_interface_id = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/kafka` +
		`/providers/Microsoft.Network/networkInterfaces/broker-node-%s" }` + "\n"
	return fmt.Sprintf(line+line, "1", first, "2", second)
}

// TestMistakes: each mistake is found by whom the table says, or by nobody.
func TestMistakes(t *testing.T) {
	manifests := map[string]string{"aws": awsManifest(3, "EXTERNAL2"), "gcp": gcpManifest(3, "EXTERNAL", "EXTERNAL2"), "azure": azureMistaken}
	modules := map[string]module{}
	for target, manifest := range manifests {
		modules[target] = rendered(t, target, "terraform", manifest)
		modules[target].tofu("validate")
	}
	for _, m := range mistakes {
		t.Run(m.target+" "+m.in+" "+m.what, func(t *testing.T) {
			said := m.said(t, manifests[m.target], modules[m.target])
			if m.by == "nobody" {
				if said != "" {
					t.Errorf("somebody finds it now; say so in the table:\n%s", said)
				}
			} else if !strings.Contains(strings.Join(strings.Fields(strings.ReplaceAll(said, "│", "")), " "), m.found) {
				t.Errorf("not found: %q\n%s", m.found, said)
			}
		})
	}
	var b strings.Builder
	b.WriteString("\n| target | in | mistake | found by |\n| --- | --- | --- | --- |\n")
	for _, m := range mistakes {
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", m.target, m.in, m.what, m.by)
	}
	b.WriteString("\n")
	if err := tables.Hold("../../docs/network-mistakes.md", "render mistakes", b.String(), *update); err != nil {
		t.Error(err)
	}
}

// said is what is said of the mistake; empty if everybody takes it.
func (m mistake) said(t *testing.T, manifest string, right module) string {
	t.Helper()
	plant := func(text string) string {
		if !strings.Contains(text, m.from) {
			t.Fatalf("there is no %q to begin with", m.from)
		}
		return strings.ReplaceAll(text, m.from, m.to)
	}
	switch m.in {
	case "manifest":
		if _, err := made(m.target, "terraform", plant(manifest)); err != nil {
			return err.Error()
		}
		return ""
	case "template":
		if m.target == "azure" {
			return azureTypes(t, plant(string(files(t, "azure", "arm", manifest).Files[0].Text)))
		}
		return cfnLint(t, plant(template(t, manifest)))
	}
	wrong := right.copied(t)
	wrong.edit(map[string]string{"main.tf": "main.tf", "values": "terraform.tfvars"}[m.in], m.from, m.to)
	if out, err := wrong.try("validate"); err != nil {
		return out
	}
	if out, err := wrong.try("plan"); err != nil {
		return out
	}
	if m.target != "azure" {
		return ""
	}
	wrong.tofu("apply", "-auto-approve")
	return wrong.compared(manifest, azureHosts(3))
}
