package balancer

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"example.com/kpls-agent/internal/config"
	"example.com/kpls-agent/internal/render"
	"example.com/kpls-agent/test/tables"
)

var update = flag.Bool("update", false, "write the table of docs/network-mistakes.md")

// form is one set of documents that agrees with its manifest.
type form struct {
	name, cloud string
	// docs are files below testdata.
	docs  []string
	hosts map[int32][]string
	// unseen is what these documents never show, and which does not matter.
	unseen []string
}

// forms are all there are. Where each came from: aws is what moto answers (aws/read_back.py), haproxy what HAProxy 2.6
// was given and said of itself, terraform what OpenTofu made of rendered modules (terraform/make.sh); azure and gcp are
// written by hand after the APIs' own definitions.
var forms = []form{
	{
		"az rest", "azure",
		[]string{"azure/lb.rest.json", "azure/external.rest.json", "azure/external2.rest.json"},
		map[int32][]string{1: {"kafka-1-nic"}, 2: {"KAFKA-2-NIC"}, 3: {"kafka-3-nic"}},
		nil,
	},
	{
		"az network lb show", "azure",
		[]string{"azure/lb.show.json", "azure/external.show.json", "azure/external2.show.json"},
		map[int32][]string{1: {"kafka-1-nic"}, 2: {"KAFKA-2-NIC"}, 3: {"kafka-3-nic"}},
		nil,
	},
	{
		"aws", "aws",
		[]string{
			"aws/load-balancers.json", "aws/listeners.json", "aws/target-groups.json", "aws/target-health.jsonl",
			"aws/attributes.jsonl", "aws/endpoint-services.json",
		},
		map[int32][]string{1: {"i-00000000000000001"}, 2: {"i-00000000000000002"}, 3: {"i-00000000000000003"}},
		nil,
	},
	{
		"gcloud", "gcp",
		[]string{
			"gcp/endpoints.json", "gcp/group.json", "gcp/backend-service.json", "gcp/forwarding-rule.json",
			"gcp/service-attachment.json",
		},
		map[int32][]string{1: {"kafka-1"}, 2: {"kafka-2", "10.0.0.5"}, 3: {"kafka-3"}},
		nil,
	},
	{"haproxy.cfg", "haproxy", []string{"haproxy/haproxy.cfg"}, nil, nil},
	{
		"HAProxy's socket", "haproxy",
		[]string{"haproxy/haproxy.cfg", "haproxy/show-stat.csv", "haproxy/servers-state.txt"},
		nil, nil,
	},
	{
		"terraform show (azurerm)", "azure",
		[]string{azureState},
		map[int32][]string{1: {"broker-node-1"}, 2: {"broker-node-2"}, 3: {"broker-node-3"}},
		[]string{"noHealthyBackendsBehavior"}, // azurerm has no such argument
	},
	{
		"terraform show (aws)", "aws",
		[]string{awsState},
		map[int32][]string{1: {"i-00000000000000001"}, 2: {"i-00000000000000002"}, 3: {"i-00000000000000003"}},
		nil,
	},
	{
		"terraform show (google)", "gcp",
		[]string{gcpState},
		map[int32][]string{1: {"kafka-1"}, 2: {"kafka-2"}, 3: {"kafka-3"}},
		nil,
	},
	{
		"terraform show of a plan (google)", "gcp",
		[]string{"terraform/gcp.plan.json"},
		map[int32][]string{1: {"kafka-1"}, 2: {"kafka-2"}, 3: {"kafka-3"}},
		nil,
	},
}

func network(t testing.TB, file string) *render.Network {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", file))
	if err != nil {
		t.Fatal(err)
	}
	m, err := config.ParseManifest(file, data)
	if err != nil {
		t.Fatal(err)
	}
	n, err := render.Resolve(m, render.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func documents(t testing.TB, f form) []Document {
	t.Helper()
	var docs []Document
	for _, name := range f.docs {
		data, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		docs = append(docs, Document{name, data})
	}
	return docs
}

// edit is one change of a document. In JSON `at` is a path such as "probes.0.port", after the number of the value
// where the file has several ("0:Attributes.3.Value"); a nil value removes the field. In text it is what is replaced.
type edit struct {
	file, at string
	value    any
}

// mistake is what somebody got wrong, with the finding of each form that can have it.
type mistake struct {
	form, what string
	codes      []string
	edits      []edit
}

func one(file, at string, value any) []edit { return []edit{{file, at, value}} }

const (
	rest, show = "azure/lb.rest.json", "azure/lb.show.json"
	attrs      = "aws/attributes.jsonl"
	cfg        = "haproxy/haproxy.cfg"
	nic        = "/x/networkInterfaces/kafka-%d-nic/ipConfigurations/ipconfig1"
	azureState = "terraform/azure.state.json"
	awsState   = "terraform/aws.state.json"
	gcpState   = "terraform/gcp.state.json"
)

// poolOf is the id of a pool, as a rule refers to it.
func poolOf(name string) string { return "/x/backendAddressPools/" + name }

// swapAzure leads two rules to each other's pools.
func swapAzure(file, properties string) []edit {
	rule := "loadBalancingRules.%d." + properties + "backendAddressPool.id"
	at := properties + rule
	return []edit{
		{file, fmt.Sprintf(at, 0), poolOf("EXTERNAL-b2")}, {file, fmt.Sprintf(at, 1), poolOf("EXTERNAL-b1")},
	}
}

// mistakes are planted one at a time into documents that agree. docs/network-mistakes.md has them all.
var mistakes = []mistake{
	{"az rest", "two rules lead to each other's pools", []string{wrongBroker, wrongBroker}, swapAzure(rest, "properties.")},
	{"az network lb show", "two rules lead to each other's pools", []string{wrongBroker, wrongBroker}, swapAzure(show, "")},
	{"az rest", "the VMs of two pools are swapped", []string{wrongBroker, wrongBroker}, []edit{
		{rest, "properties.backendAddressPools.0.properties.backendIPConfigurations.0.id", fmt.Sprintf(nic, 2)},
		{rest, "properties.backendAddressPools.0.properties.loadBalancerBackendAddresses", nil},
		{rest, "properties.backendAddressPools.1.properties.backendIPConfigurations.0.id", fmt.Sprintf(nic, 1)},
		{rest, "properties.backendAddressPools.1.properties.loadBalancerBackendAddresses", nil},
	}},
	{"az rest", "a VM of no broker in a pool", []string{wrongBroker}, []edit{
		{rest, "properties.backendAddressPools.0.properties.backendIPConfigurations.0.id", fmt.Sprintf(nic, 9)},
		{rest, "properties.backendAddressPools.0.properties.loadBalancerBackendAddresses", nil},
	}},
	{"az rest", "all VMs in one pool, as for a web server", []string{wrongBroker, wrongBroker}, one(rest,
		"properties.backendAddressPools.0.properties.backendIPConfigurations",
		[]any{map[string]any{"id": fmt.Sprintf(nic, 1)}, map[string]any{"id": fmt.Sprintf(nic, 2)}, map[string]any{"id": fmt.Sprintf(nic, 3)}})},
	{"az rest", "an empty pool", []string{noTarget}, []edit{
		{rest, "properties.backendAddressPools.0.properties.backendIPConfigurations", nil},
		{rest, "properties.backendAddressPools.0.properties.loadBalancerBackendAddresses", nil},
	}},
	{"az rest", "no rule for a broker", []string{missingPort}, one(rest, "properties.loadBalancingRules.2", nil)},
	{"az network lb show", "no rule for a broker", []string{missingPort}, one(show, "loadBalancingRules.2", nil)},
	{"az rest", "the port of a rule is another one", []string{missingPort, extraPort}, one(rest, "properties.loadBalancingRules.2.properties.frontendPort", 9096)},
	{"az rest", "a rule that nobody asked for", []string{extraPort}, one(rest, "properties.loadBalancingRules.+", map[string]any{
		"name": "ssh", "properties": map[string]any{
			"frontendPort": 22, "backendPort": 22, "protocol": "Tcp",
			"frontendIPConfiguration": map[string]any{"id": "/x/frontendIPConfigurations/EXTERNAL"},
		},
	})},
	{"az rest", "two rules of one port", []string{duplicatePort, missingPort}, one(rest, "properties.loadBalancingRules.1.properties.frontendPort", 9093)},
	{"az rest", "a rule of the other listener's port at the VM", []string{wrongBackendPort}, one(rest, "properties.loadBalancingRules.0.properties.backendPort", 39093)},
	{"az network lb show", "the advertised port also at the VM", []string{wrongBackendPort}, one(show, "loadBalancingRules.0.backendPort", 9093)},
	{"az rest", "a rule for UDP", []string{wrongProtocol}, one(rest, "properties.loadBalancingRules.0.properties.protocol", "Udp")},
	{"az rest", "a rule without a probe", []string{missingProbe}, one(rest, "properties.loadBalancingRules.0.properties.probe", nil)},
	{"az network lb show", "a rule without a probe", []string{missingProbe}, one(show, "loadBalancingRules.0.probe", nil)},
	{"az rest", "the probe asks Kafka's port", []string{probeOnKafka}, one(rest, "properties.probes.0.properties.port", 39092)},
	{"az network lb show", "the probe asks the other listener's probe port", []string{wrongProbePort}, one(show, "probes.0.port", 39193)},
	{"az rest", "a probe of HTTP", []string{probeProtocol}, one(rest, "properties.probes.0.properties.protocol", "Http")},
	{"az rest", "the probe's interval is Azure's own", []string{probeInterval}, one(rest, "properties.probes.0.properties.intervalInSeconds", 15)},
	{"az rest", "the probe's threshold is not set", []string{probeThreshold}, one(rest, "properties.probes.0.properties.probeThreshold", nil)},
	{"az network lb show", "the probe's threshold is another one", []string{probeThreshold}, one(show, "probes.1.probeThreshold", 1)},
	{"az rest", "noHealthyBackendsBehavior is not set, or was lost", []string{noHealthy}, one(rest, "properties.probes.0.properties.noHealthyBackendsBehavior", nil)},
	{"az network lb show", "noHealthyBackendsBehavior is AllProbedDown", []string{noHealthy}, one(show, "probes.0.noHealthyBackendsBehavior", "AllProbedDown")},
	{"az rest", "an idle time of 4 minutes", []string{idleTime}, one(rest, "properties.loadBalancingRules.0.properties.idleTimeoutInMinutes", 4)},
	{"az rest", "no TCP reset", []string{tcpReset}, one(rest, "properties.loadBalancingRules.0.properties.enableTcpReset", nil)},
	{"az network lb show", "no TCP reset", []string{tcpReset}, one(show, "loadBalancingRules.0.enableTcpReset", false)},
	{"az rest", "floating IP", []string{floatingIP}, one(rest, "properties.loadBalancingRules.0.properties.enableFloatingIP", true)},
	{"az rest", "PROXY protocol on", []string{proxyProtocol}, one("azure/external.rest.json", "properties.enableProxyProtocol", true)},
	{"az network lb show", "PROXY protocol on", []string{proxyProtocol}, one("azure/external2.show.json", "enableProxyProtocol", true)},
	{"az rest", "an inbound NAT rule in place of a rule", []string{missingProbe}, []edit{
		{rest, "properties.loadBalancingRules.0", nil},
		{rest, "properties.inboundNatRules.+", map[string]any{"name": "b1", "properties": map[string]any{
			"frontendPort": 9093, "backendPort": 39092, "protocol": "Tcp", "enableTcpReset": true, "idleTimeoutInMinutes": 15, "enableFloatingIP": false,
			"frontendIPConfiguration": map[string]any{"id": "/x/frontendIPConfigurations/EXTERNAL"},
			"backendIPConfiguration":  map[string]any{"id": fmt.Sprintf(nic, 1)},
		}}},
	}},
	{"az rest", "two services at one frontend", []string{missingService}, one("azure/external2.rest.json", "properties.loadBalancerFrontendIpConfigurations.0.id", "/x/frontendIPConfigurations/EXTERNAL")},
	{"az rest", "a service at another frontend", []string{missingService, wrongService}, one("azure/external2.rest.json", "properties.loadBalancerFrontendIpConfigurations.0.id", "/x/frontendIPConfigurations/web")},

	{"az rest", "the bootstrap port leads to one broker", []string{missingTarget, missingTarget}, one(rest, "properties.loadBalancingRules.6.properties.backendAddressPool.id", poolOf("EXTERNAL-b1"))},
	{"az rest", "the bootstrap port at another frontend", []string{missingPort, extraPort}, one(rest, "properties.loadBalancingRules.6.properties.frontendIPConfiguration.id", "/x/frontendIPConfigurations/EXTERNAL2")},
	{"az rest", "the bootstrap port leads to the port of EXTERNAL", []string{wrongBackendPort}, one(rest, "properties.loadBalancingRules.6.properties.backendPort", 39092)},
	{"az rest", "the bootstrap port has the probe of EXTERNAL", []string{wrongProbePort}, one(rest, "properties.loadBalancingRules.6.properties.probe.id", "/x/probes/EXTERNAL")},

	{"aws", "two listeners lead to each other's groups", []string{wrongBroker, wrongBroker}, []edit{
		{"aws/listeners.json", "Listeners.0.DefaultActions.0.TargetGroupArn", "arn:aws:elasticloadbalancing:us-west-2:123456789012:targetgroup/kafka-pls-external-b2/0000000000000004"},
		{"aws/listeners.json", "Listeners.1.DefaultActions.0.TargetGroupArn", "arn:aws:elasticloadbalancing:us-west-2:123456789012:targetgroup/kafka-pls-external-b1/0000000000000001"},
	}},
	{"aws", "a listener shares connections between two groups", []string{wrongBroker}, one("aws/listeners.json", "Listeners.0.DefaultActions.0.ForwardConfig", map[string]any{"TargetGroups": []any{
		map[string]any{"TargetGroupArn": "arn:aws:elasticloadbalancing:us-west-2:123456789012:targetgroup/kafka-pls-external-b1/0000000000000001"},
		map[string]any{"TargetGroupArn": "arn:aws:elasticloadbalancing:us-west-2:123456789012:targetgroup/kafka-pls-external-b2/0000000000000004"},
	}})},
	{"aws", "the instances of two groups are swapped", []string{wrongBroker, wrongBroker}, []edit{
		{"aws/target-health.jsonl", "0:TargetHealthDescriptions.0.Target.Id", "i-00000000000000002"},
		{"aws/target-health.jsonl", "1:TargetHealthDescriptions.0.Target.Id", "i-00000000000000001"},
	}},
	{"aws", "an instance of no broker", []string{wrongBroker}, one("aws/target-health.jsonl", "0:TargetHealthDescriptions.0.Target.Id", "i-00000000000000099")},
	{"aws", "an empty target group", []string{noTarget}, one("aws/target-health.jsonl", "0:TargetHealthDescriptions.0", nil)},
	{"aws", "no listener for a broker", []string{missingPort}, one("aws/listeners.json", "Listeners.2", nil)},
	{"aws", "a listener that nobody asked for", []string{extraPort}, one("aws/listeners.json", "Listeners.+", map[string]any{"Port": 22, "Protocol": "TCP"})},
	{"aws", "a target at the other listener's port", []string{wrongBackendPort}, one("aws/target-health.jsonl", "0:TargetHealthDescriptions.0.Target.Port", 39093)},
	{"aws", "a listener of TLS", []string{wrongProtocol}, one("aws/listeners.json", "Listeners.0.Protocol", "TLS")},
	{"aws", "a load balancer of type application", []string{wrongProtocol}, one("aws/load-balancers.json", "LoadBalancers.0.Type", "application")},
	{"aws", "health checks are off", []string{missingProbe}, one("aws/target-groups.json", "TargetGroups.0.HealthCheckEnabled", false)},
	{"aws", "the health check asks the traffic port, which is AWS's own", []string{probeOnKafka}, one("aws/target-groups.json", "TargetGroups.0.HealthCheckPort", "traffic-port")},
	{"aws", "the health check asks another port", []string{wrongProbePort}, one("aws/target-groups.json", "TargetGroups.0.HealthCheckPort", "8080")},
	{"aws", "a health check of HTTP", []string{probeProtocol}, one("aws/target-groups.json", "TargetGroups.0.HealthCheckProtocol", "HTTP")},
	{"aws", "the interval is AWS's own", []string{probeInterval}, one("aws/target-groups.json", "TargetGroups.0.HealthCheckIntervalSeconds", 30)},
	{"aws", "the threshold is AWS's own", []string{probeThreshold}, one("aws/target-groups.json", "TargetGroups.0.HealthyThresholdCount", 5)},
	{"aws", "the idle time is AWS's own", []string{idleTime}, one(attrs, "1:Attributes.0.Value", "350")},
	{"aws", "PROXY protocol on", []string{proxyProtocol}, one(attrs, "0:Attributes.=proxy_protocol_v2.enabled", "true")},
	{"aws", "the client's address is kept", []string{clientAddress}, one(attrs, "0:Attributes.=preserve_client_ip.enabled", "true")},
	{"aws", "a closed probe cuts the connections of a group of one broker", []string{cutsConnections}, one(attrs, "0:Attributes.=target_health_state.unhealthy.connection_termination.enabled", "true")},
	{"aws", "no cross-zone where one name serves all zones", []string{crossZone}, one(attrs, "6:Attributes.=load_balancing.cross_zone.enabled", "false")},
	{"aws", "the bootstrap group lacks a broker", []string{missingTarget}, one("aws/target-health.jsonl", "6:TargetHealthDescriptions.2", nil)},
	{"aws", "no cross-zone at the bootstrap port", []string{crossZone}, one(attrs, "12:Attributes.=load_balancing.cross_zone.enabled", "false")},
	{"aws", "an endpoint service of another load balancer", []string{missingService}, one("aws/endpoint-services.json", "ServiceConfigurations.0.NetworkLoadBalancerArns.0", "arn:aws:elasticloadbalancing:us-west-2:123456789012:loadbalancer/net/web/00000000000000ff")},

	{"gcloud", "two endpoints lead to each other's VM", []string{wrongBroker, wrongBroker}, []edit{
		{"gcp/endpoints.json", "0.networkEndpoint.clientDestinationPort", 9094},
		{"gcp/endpoints.json", "1.networkEndpoint.clientDestinationPort", 9093},
	}},
	{"gcloud", "a VM of no broker", []string{wrongBroker}, []edit{
		{"gcp/endpoints.json", "0.networkEndpoint.instance", "https://x/instances/web"}, {"gcp/endpoints.json", "0.networkEndpoint.ipAddress", nil},
	}},
	{"gcloud", "no endpoint for a broker", []string{missingPort}, one("gcp/endpoints.json", "2", nil)},
	{"gcloud", "one client port twice", []string{duplicatePort, missingPort}, one("gcp/endpoints.json", "1.networkEndpoint.clientDestinationPort", 9093)},
	{"gcloud", "an endpoint that nobody asked for", []string{extraPort}, one("gcp/endpoints.json", "+", map[string]any{"networkEndpoint": map[string]any{"clientDestinationPort": 22, "port": 22}})},
	{"gcloud", "an endpoint at the other listener's port", []string{wrongBackendPort}, one("gcp/endpoints.json", "0.networkEndpoint.port", 39093)},
	{"gcloud", "a backend service with a health check", []string{healthCheck}, one("gcp/backend-service.json", "healthChecks", []any{"https://x/healthChecks/kafka"})},
	{"gcloud", "a backend service of UDP", []string{wrongProtocol}, one("gcp/backend-service.json", "protocol", "UDP")},
	{"gcloud", "a forwarding rule of some ports", []string{notAllPorts}, []edit{
		{"gcp/forwarding-rule.json", "allPorts", nil}, {"gcp/forwarding-rule.json", "ports", []any{"9093", "9094", "9095"}},
	}},
	{"gcloud", "a group of another type", []string{groupType}, one("gcp/group.json", "networkEndpointType", "GCE_VM_IP_PORT")},
	{"gcloud", "PROXY protocol on", []string{proxyProtocol}, one("gcp/service-attachment.json", "enableProxyProtocol", true)},
	{"gcloud", "an attachment of another forwarding rule", []string{wrongService}, one("gcp/service-attachment.json", "targetService", "https://x/forwardingRules/web")},
	{"gcloud", "a backend service of another group", []string{wrongService}, one("gcp/backend-service.json", "backends.0.group", "https://x/networkEndpointGroups/web")},

	{"haproxy.cfg", "two servers are swapped", []string{wrongBroker, wrongBroker}, []edit{
		{cfg, "server b1 127.0.0.11:39092", "server x 127.0.0.12:39092"}, {cfg, "server b2 127.0.0.12:39092", "server b2 127.0.0.11:39092"},
	}},
	{"haproxy.cfg", "a server of no broker", []string{wrongBroker}, one(cfg, "b1 127.0.0.11:39092", "b1 127.0.0.19:39092")},
	{"haproxy.cfg", "all servers in one backend", []string{wrongBroker}, one(cfg, "    server b1 127.0.0.11:39092", "    server b1 127.0.0.11:39092\n    server b2 127.0.0.12:39092")},
	{"haproxy.cfg", "a backend without a server", []string{missingProbe, noTarget}, one(cfg, "    server b1 127.0.0.11:39092\n", "")},
	{"haproxy.cfg", "no frontend for a broker", []string{missingPort, extraPort}, one(cfg, "127.0.0.1:9095", "127.0.0.1:9099")},
	{"haproxy.cfg", "one port is bound twice", []string{duplicatePort, missingPort}, one(cfg, "127.0.0.1:9094", "127.0.0.1:9093")},
	{"haproxy.cfg", "the other listener's port at the VM", []string{wrongBackendPort}, one(cfg, "127.0.0.11:39092", "127.0.0.11:39093")},
	{"haproxy.cfg", "mode http", slices.Repeat([]string{wrongProtocol}, 7), one(cfg, "mode tcp", "mode http")},
	{"haproxy.cfg", "the bootstrap backend lacks a broker", []string{missingTarget}, one(cfg, "    server b3 127.0.0.13:39090\n", "")},
	{"haproxy.cfg", "one server of the bootstrap backend has another port", []string{wrongBackendPort}, one(cfg, "127.0.0.13:39090", "127.0.0.13:39092")},
	{"haproxy.cfg", "no check", []string{missingProbe}, one(cfg, "fall 2 check port 39192", "fall 2")},
	{"haproxy.cfg", "the check asks Kafka's port", []string{probeOnKafka}, one(cfg, "check port 39192", "check")},
	{"haproxy.cfg", "the check asks another port", []string{wrongProbePort}, one(cfg, "check port 39192", "check port 39193")},
	{"haproxy.cfg", "a check of HTTP", []string{probeProtocol}, []edit{{cfg, "option tcp-check\n    tcp-check connect linger", "option httpchk"}}},
	{"haproxy.cfg", "a half-open check", []string{halfOpen}, one(cfg, "    tcp-check connect linger\n", "")},
	{"haproxy.cfg", "the check's interval is another one", []string{probeInterval}, one(cfg, "inter 5s", "inter 1s")},
	{"haproxy.cfg", "the check's threshold is another one", []string{probeThreshold}, one(cfg, "rise 2", "rise 3")},
	{"haproxy.cfg", "an idle time of a minute for clients", slices.Repeat([]string{idleTime}, 7), one(cfg, "timeout client  15m", "timeout client 1m")},
	{"haproxy.cfg", "PROXY protocol towards Kafka", []string{proxyProtocol}, one(cfg, "b1 127.0.0.11:39092", "b1 127.0.0.11:39092 send-proxy-v2")},
	{"haproxy.cfg", "PROXY protocol expected of clients", []string{proxyProtocol}, one(cfg, "bind 127.0.0.1:9093", "bind 127.0.0.1:9093 accept-proxy")},
	{"haproxy.cfg", "a closed probe cuts connections", []string{cutsConnections}, one(cfg, "check port 39192", "check port 39192 on-marked-down shutdown-sessions")},
	{"HAProxy's socket", "the process kept the check's port through a reload", []string{targetState, wrongProbePort}, one("haproxy/servers-state.txt", "0 39192 - -", "0 39199 - -")},
	{"HAProxy's socket", "the process kept the server's port through a reload", []string{targetState, wrongBackendPort}, one("haproxy/servers-state.txt", "- 39092 -", "- 39999 -")},
	{"HAProxy's socket", "a server in maintenance", []string{targetState}, one("haproxy/show-stat.csv", "external-b1,b1,0,0,0,0,,0,0,0,,0,,0,0,0,0,DOWN", "external-b1,b1,0,0,0,0,,0,0,0,,0,,0,0,0,0,MAINT")},
	{"HAProxy's socket", "a server that was drained", []string{targetState}, one("haproxy/show-stat.csv", "external-b1,b1,0,0,0,0,,0,0,0,,0,,0,0,0,0,DOWN", "external-b1,b1,0,0,0,0,,0,0,0,,0,,0,0,0,0,DRAIN")},

	{"terraform show (azurerm)", "two rules lead to each other's pools", []string{wrongBroker, wrongBroker}, []edit{
		{azureState, `"backend_address_pool_ids": ["/azurerm_lb_backend_address_pool/external-b1/id"]`, `"backend_address_pool_ids": ["/azurerm_lb_backend_address_pool/external-b0/id"]`},
		{azureState, `"backend_address_pool_ids": ["/azurerm_lb_backend_address_pool/external-b2/id"]`, `"backend_address_pool_ids": ["/azurerm_lb_backend_address_pool/external-b1/id"]`},
		{azureState, `"backend_address_pool_ids": ["/azurerm_lb_backend_address_pool/external-b0/id"]`, `"backend_address_pool_ids": ["/azurerm_lb_backend_address_pool/external-b2/id"]`},
	}},
	{"terraform show (azurerm)", "an interface in another broker's pool", []string{wrongBroker, noTarget}, one(azureState, `"backend_address_pool_id": "/azurerm_lb_backend_address_pool/external-b1/id"`, `"backend_address_pool_id": "/azurerm_lb_backend_address_pool/external-b2/id"`)},
	{"terraform show (azurerm)", "the probe asks Kafka's port", []string{probeOnKafka}, one(azureState, `"port": 39192`, `"port": 39092`)},
	{"terraform show (azurerm)", "the probe's threshold is azurerm's own", []string{probeThreshold}, one(azureState, `"probe_threshold": 2`, `"probe_threshold": 1`)},
	{"terraform show (azurerm)", "no TCP reset", []string{tcpReset}, one(azureState, `"tcp_reset_enabled": true`, `"tcp_reset_enabled": null`)},
	{"terraform show (azurerm)", "floating IP", []string{floatingIP}, one(azureState, `"floating_ip_enabled": false`, `"floating_ip_enabled": true`)},
	{"terraform show (azurerm)", "an idle time of azurerm's own", []string{idleTime}, one(azureState, `"idle_timeout_in_minutes": 15`, `"idle_timeout_in_minutes": null`)},
	{"terraform show (azurerm)", "a rule without a probe", []string{missingProbe}, one(azureState, `"probe_id": "/azurerm_lb_probe/external/id"`, `"probe_id": null`)},
	{"terraform show (azurerm)", "PROXY protocol on", []string{proxyProtocol}, one(azureState, `"proxy_protocol_enabled": false`, `"proxy_protocol_enabled": true`)},
	{"terraform show (aws)", "two targets are swapped", []string{wrongBroker, wrongBroker}, []edit{
		{awsState, `"target_group_arn": "/aws_lb_target_group/kafka-pls-external-b1/arn", "target_id": "i-00000000000000001"`, `"target_group_arn": "/aws_lb_target_group/kafka-pls-external-b1/arn", "target_id": "i-00000000000000002"`},
		{awsState, `"target_group_arn": "/aws_lb_target_group/kafka-pls-external-b2/arn", "target_id": "i-00000000000000002"`, `"target_group_arn": "/aws_lb_target_group/kafka-pls-external-b2/arn", "target_id": "i-00000000000000001"`},
	}},
	{"terraform show (aws)", "the health check asks Kafka's port", []string{probeOnKafka}, one(awsState, `"port": "39192"`, `"port": "39092"`)},
	{"terraform show (aws)", "a closed probe cuts the connections of a group of one broker", []string{cutsConnections}, one(awsState, `"enable_unhealthy_connection_termination": false`, `"enable_unhealthy_connection_termination": true`)},
	{"terraform show (aws)", "the idle time is AWS's own", []string{idleTime}, one(awsState, `"tcp_idle_timeout_seconds": 900`, `"tcp_idle_timeout_seconds": null`)},
	{"terraform show (aws)", "the client's address is kept", []string{clientAddress}, one(awsState, `"preserve_client_ip": "false"`, `"preserve_client_ip": null`)},
	{"terraform show (aws)", "PROXY protocol on", []string{proxyProtocol}, one(awsState, `"proxy_protocol_v2": false`, `"proxy_protocol_v2": true`)},
	{"terraform show (google)", "two endpoints lead to each other's VM", []string{wrongBroker, wrongBroker}, []edit{
		{gcpState, `"client_destination_port": 9093`, `"client_destination_port": 9000`},
		{gcpState, `"client_destination_port": 9094`, `"client_destination_port": 9093`},
		{gcpState, `"client_destination_port": 9000`, `"client_destination_port": 9094`},
	}},
	{"terraform show (google)", "an attachment of another forwarding rule", []string{wrongService}, one(gcpState, `"target_service": "/google_compute_forwarding_rule/kafka-pls/id"`, `"target_service": "projects/p/regions/r/forwardingRules/web"`)},
	{"terraform show (google)", "PROXY protocol on", []string{proxyProtocol}, one(gcpState, `"enable_proxy_protocol": false`, `"enable_proxy_protocol": true`)},
	{"terraform show of a plan (google)", "an endpoint at the other listener's port", []string{wrongBackendPort}, one("terraform/gcp.plan.json", `"port": 39092`, `"port": 39093`)},
}

func formOf(t testing.TB, name string) form {
	t.Helper()
	i := slices.IndexFunc(forms, func(f form) bool { return f.name == name })
	if i < 0 {
		t.Fatalf("no form %q", name)
	}
	return forms[i]
}

// TestClean: documents that agree have no finding, and nothing in them that matters is unseen.
func TestClean(t *testing.T) {
	for _, f := range forms {
		r, err := Compare(network(t, "manifest."+f.cloud+".yaml"), documents(t, f), Options{Hosts: f.hosts})
		if err != nil {
			t.Errorf("%s: %v", f.name, err)
			continue
		}
		var unseen []string
		for _, u := range r.Unseen {
			unseen = append(unseen, u.What)
		}
		if !r.OK || !slices.Equal(unseen, f.unseen) || len(r.Notes) > 0 {
			t.Errorf("%s: %s", f.name, r.Advice())
		}
		if want := map[bool]int{true: 6, false: 7}[f.cloud == "gcp"]; len(r.Rows) != want {
			t.Errorf("%s: %d rows", f.name, len(r.Rows))
		}
		for _, row := range r.Rows {
			if row.Verdict != "ok" {
				t.Errorf("%s: %+v", f.name, row)
			}
		}
	}
}

// TestMistakes: each mistake is found, as what it is, and nothing else is.
func TestMistakes(t *testing.T) {
	for _, m := range mistakes {
		f := formOf(t, m.form)
		docs := documents(t, f)
		for _, e := range m.edits {
			plant(t, docs, e)
		}
		r, err := Compare(network(t, "manifest."+f.cloud+".yaml"), docs, Options{Hosts: f.hosts})
		if err != nil {
			t.Errorf("%s, %s: %v", m.form, m.what, err)
			continue
		}
		var got []string
		for _, f := range r.Findings {
			got = append(got, f.Code)
			if f.Text == "" || f.ToDo == "" || f.Where == "" {
				t.Errorf("%s, %s: %+v lacks something", m.form, m.what, f)
			}
		}
		slices.Sort(got)
		if want := slices.Sorted(slices.Values(m.codes)); !slices.Equal(got, want) || r.OK {
			t.Errorf("%s, %s: found %v, expected %v\n%s", m.form, m.what, got, want, r.Advice())
		}
	}
}

// TestMistakesAreDocumented writes the table that a reader sees.
func TestMistakesAreDocumented(t *testing.T) {
	var b strings.Builder
	b.WriteString("\n| document of | mistake | found as |\n| --- | --- | --- |\n")
	for _, m := range mistakes {
		codes := slices.Compact(slices.Sorted(slices.Values(m.codes)))
		fmt.Fprintf(&b, "| %s | %s | `%s` |\n", m.form, m.what, strings.Join(codes, "`, `"))
	}
	b.WriteString("\n")
	if err := tables.Hold("../../docs/network-mistakes.md", "verify mistakes", b.String(), *update); err != nil {
		t.Error(err)
	}
}

// plant makes one edit.
func plant(t testing.TB, docs []Document, e edit) {
	t.Helper()
	i := slices.IndexFunc(docs, func(d Document) bool { return d.Name == e.file })
	if i < 0 {
		t.Fatalf("no document %s", e.file)
	}
	d := &docs[i]
	if !strings.Contains(e.file, ".json") || strings.HasPrefix(e.file, "terraform/") {
		text, ok := e.value.(string)
		if !ok || !bytes.Contains(d.Data, []byte(e.at)) {
			t.Fatalf("%s has no %q", e.file, e.at)
		}
		d.Data = bytes.Replace(d.Data, []byte(e.at), []byte(text), 1)
		return
	}
	var values []any
	dec := json.NewDecoder(bytes.NewReader(d.Data))
	dec.UseNumber()
	for dec.More() {
		var v any
		if err := dec.Decode(&v); err != nil {
			t.Fatal(err)
		}
		values = append(values, v)
	}
	at := e.at
	n := 0
	if first, rest, ok := strings.Cut(at, ":"); ok && len(first) <= 2 {
		n, _ = strconv.Atoi(first)
		at = rest
	}
	values[n] = set(t, values[n], strings.SplitN(at, ".", 2), e)
	var out bytes.Buffer
	for _, v := range values {
		text, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		out.Write(append(text, '\n'))
	}
	d.Data = out.Bytes()
}

// set is v with one place in it changed. "+" appends to a list, "=KEY" is the value of a pair of Key and Value.
func set(t testing.TB, v any, path []string, e edit) any {
	t.Helper()
	name := path[0]
	if len(path) == 1 {
		return put(t, v, name, e)
	}
	if key, ok := strings.CutPrefix(name+"."+path[1], "="); ok {
		return put(t, v, "="+key, e)
	}
	rest := strings.SplitN(path[1], ".", 2)
	switch v := v.(type) {
	case map[string]any:
		if _, ok := v[name]; !ok {
			t.Fatalf("%s has no %s", e.file, e.at)
		}
		v[name] = set(t, v[name], rest, e)
		return v
	case []any:
		i, err := strconv.Atoi(name)
		if err != nil || i >= len(v) {
			t.Fatalf("%s has no %s", e.file, e.at)
		}
		v[i] = set(t, v[i], rest, e)
		return v
	}
	t.Fatalf("%s has no %s", e.file, e.at)
	return nil
}

func put(t testing.TB, v any, name string, e edit) any {
	t.Helper()
	switch v := v.(type) {
	case map[string]any:
		if e.value == nil {
			if _, ok := v[name]; !ok {
				t.Fatalf("%s has no %s", e.file, e.at)
			}
			delete(v, name)
			return v
		}
		v[name] = e.value
		return v
	case []any:
		if key, ok := strings.CutPrefix(name, "="); ok {
			for _, pair := range v {
				if pair := pair.(map[string]any); pair["Key"] == key {
					pair["Value"] = e.value
					return v
				}
			}
			t.Fatalf("%s has no %s", e.file, e.at)
		}
		if name == "+" {
			return append(v, e.value)
		}
		i, err := strconv.Atoi(name)
		if err != nil || i >= len(v) {
			t.Fatalf("%s has no %s", e.file, e.at)
		}
		if e.value == nil {
			return slices.Delete(v, i, i+1)
		}
		v[i] = e.value
		return v
	}
	t.Fatalf("%s has no %s", e.file, e.at)
	return nil
}
