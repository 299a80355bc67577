package render

import (
	"bytes"
	_ "embed"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Limits of Azure: "Azure subscription and service limits" (Load Balancer, Private Link), and the ranges of its REST
// API (LoadBalancingRulePropertiesFormat, ProbePropertiesFormat) and of azurerm_lb_probe.
const (
	azureRules         = 1500  // of a load balancer
	azureServices      = 8     // private link services of a load balancer; so 300 rules of a NIC are never reached
	azureLongest       = 80    // characters of a name in Microsoft.Network
	azureHighestPort   = 65534 // of a frontend
	azureLeastInterval = 5     // seconds
	azureMostThreshold = 100   // probes in a row
	azureVMs           = 150   // of one pool, where each is in an availability set of its own or in none
)

// azureModule is the same for all manifests.
//
//go:embed azure/main.tf
var azureModule []byte

// azureNetwork is what a manifest says to azure/main.tf: its variable `kpls`.
type azureNetwork struct {
	GeneratedBy      string                  `json:"generated_by"`
	Name             string                  `json:"name"`
	Manifest         string                  `json:"manifest_sha256"`
	IntervalSeconds  int                     `json:"interval_seconds"`
	HealthyThreshold int                     `json:"healthy_threshold"`
	BrokerIDs        []string                `json:"broker_ids"`
	Listeners        ordered[azureListener]  `json:"listeners"` // by label
	Bootstraps       ordered[azureBootstrap] `json:"bootstraps,omitempty"`
}

type azureListener struct {
	BindPort       int          `json:"bind_port"`
	ProbePort      int          `json:"probe_port"`
	Brokers        ordered[int] `json:"brokers"`
	BootstrapPorts string       `json:"bootstrap_ports"`
}

// azureBootstrap is one port of a listener's frontend that leads to all brokers.
type azureBootstrap struct {
	Listener  string `json:"listener"`
	Port      int    `json:"port"`
	BindPort  int    `json:"bind_port"`
	ProbePort int    `json:"probe_port"`
}

// azureTerraform makes the module, what it reads, and an example of what the user writes.
func azureTerraform(n *Network) (*Output, error) {
	a, err := azure(n)
	if err != nil {
		return nil, err
	}
	text, err := indented(map[string]*azureNetwork{"kpls": a})
	if err != nil {
		return nil, err
	}
	return &Output{
		Files: []File{
			{Name: "main.tf", Mode: 0o644, Text: azureModule},
			{Name: "kpls.auto.tfvars.json", Mode: 0o644, Text: text},
			{Name: "terraform.tfvars.example", Mode: 0o644, Text: azureExample(a), Example: true},
		},
		Warnings: azureWarnings(n),
	}, nil
}

// azure refuses what Azure would refuse, and makes the module's variable.
func azure(n *Network) (*azureNetwork, error) {
	f := faults{origin: n.origin}
	f.names(n)
	f.reachable(n)
	f.ownPorts(n)
	f.probe(n, bounds{"Azure", azureLeastInterval, 0, 1, azureMostThreshold})
	a := &azureNetwork{
		GeneratedBy: Mark + "azure. The next render replaces this file.",
		Name:        label(n.Name), Manifest: n.Manifest,
		IntervalSeconds: int(n.Probe.IntervalSeconds), HealthyThreshold: n.Probe.HealthyThreshold,
	}
	for _, l := range n.Listeners {
		f.azureListener(n, l)
		if l.BootstrapOf != "" {
			a.Bootstraps = append(a.Bootstraps, entry[azureBootstrap]{label(l.Name), azureBootstrap{
				Listener: label(l.BootstrapOf), Port: l.BootstrapPort, BindPort: l.BindPort, ProbePort: l.ProbePort,
			}})
			continue
		}
		made := azureListener{BindPort: l.BindPort, ProbePort: l.ProbePort, BootstrapPorts: n.bootstrapPorts(l.Name)}
		a.BrokerIDs = nil // the same for each listener
		for _, b := range l.Brokers {
			id := strconv.Itoa(int(b.ID))
			a.BrokerIDs = append(a.BrokerIDs, id)
			made.Brokers = append(made.Brokers, entry[int]{id, b.Port})
		}
		a.Listeners = append(a.Listeners, entry[azureListener]{label(l.Name), made})
	}
	f.azureLimits(n)
	return a, f.err()
}

// azureListener refuses what Azure would refuse of one listener.
func (f *faults) azureListener(n *Network, l Listener) {
	if rule := label(l.Name) + "-b2147483647"; len(rule) > azureLongest {
		f.at(l.Name, "listeners."+l.Name, "makes names such as %s of %d characters for rules and pools of Azure, which "+
			"takes %d; give the listener a shorter name", rule, len(rule), azureLongest)
	}
	if l.BootstrapOf != "" {
		if !slices.ContainsFunc(n.Listeners, func(of Listener) bool { return of.Name == l.BootstrapOf }) {
			f.file("--listener %s: its port is one of the frontend of %s; add --listener %[2]s", l.Name, l.BootstrapOf)
		}
		return
	}
	service := label(n.Name) + "-" + label(l.Name)
	f.name(n, service, naming{thing: "a private link service of Azure", longest: azureLongest})
	ports := n.leads(l)
	if b := n.bootstrapOf(l.Name); b != nil {
		ports = append(ports, lead{
			b.BootstrapPort, b.Name + ".bootstrap", "listeners." + b.Name + ".bootstrap.port", "all brokers",
		})
	}
	for _, p := range ports {
		if p.port > azureHighestPort {
			f.at(p.place, p.path, "%d is above %d, the highest port of a frontend of Azure; give %s a lower one", p.port,
				azureHighestPort, p.to)
		}
	}
	f.once("the frontend of "+l.Name, ports)
}

// azureLimits refuses what is too much for one load balancer. A second one is no way out, since Azure takes the network
// interface of a broker into one internal load balancer only.
func (f *faults) azureLimits(n *Network) {
	services, rules := 0, 0
	for _, l := range n.Listeners {
		if l.BootstrapOf != "" {
			rules++
			continue
		}
		services++
		rules += len(l.Brokers)
	}
	const next = "; render fewer listeners with --listener. A second load balancer is no way out: Azure takes a network " +
		"interface into one internal load balancer"
	if services > azureServices {
		f.at("listeners", "listeners", "%d listeners need as many private link services, and a load balancer of Azure has "+
			"at most %d%s", services, azureServices, next)
	}
	if rules > azureRules {
		f.at("brokers", "brokers", "all listeners together need %d rules, and a load balancer of Azure has at most %d%s",
			rules, azureRules, next)
	}
}

// azureWarnings are about what Azure takes and the user might not want.
func azureWarnings(n *Network) []string {
	var out []string
	for _, l := range n.Listeners {
		if l.BootstrapOf == "" && l.DuringRestart == "close" {
			out = append(out, fmt.Sprintf("%s has `during_restart: close`, but each of its ports leads to one broker: a closed "+
				"probe moves no client to another one. Delete the line: `hold` is the default", l.Name))
		}
		if l.BootstrapOf != "" && len(l.Brokers) > azureVMs {
			out = append(out, fmt.Sprintf("the pool of %s has %d brokers, and Azure takes %d VMs into a pool where they are in "+
				"no availability set; let the customer bootstrap from ports of single brokers instead", l.Name, len(l.Brokers),
				azureVMs))
		}
	}
	return out
}

// azureExample is what only Azure knows, to be filled in.
func azureExample(a *azureNetwork) []byte {
	const id = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/kafka/providers/Microsoft.Network"
	var b bytes.Buffer
	fmt.Fprintf(&b, `# What only Azure knows. Copy this file to terraform.tfvars, and replace all values by your own.
azure = {
  location            = "eastus"
  resource_group_name = "kafka"
  # The frontends get an address of it.
  subnet_id = "%s/virtualNetworks/kafka-pls-vnet/subnets/brokers-subnet"
  # A subnet that is made for the private link services. For one that is there, give its id instead of the network's
  # name; its privateLinkServiceNetworkPolicies must be Disabled.
  nat_subnet = {
    address_prefix       = "10.0.2.0/27"
    virtual_network_name = "kafka-pls-vnet"
  }
  # The customer's subscription, by listener: it sees the service, and its connection needs no approval.
  consumers = {
`, id)
	for _, l := range a.Listeners {
		fmt.Fprintf(&b, "    %s = { subscription_ids = [\"00000000-0000-0000-0000-000000000000\"] }\n", l.key)
	}
	b.WriteString("  }\n  # The network interface of each broker's VM.\n  broker_nics = {\n")
	for _, broker := range a.BrokerIDs {
		fmt.Fprintf(&b, "    \"%[1]s\" = { network_interface_id = \"%[2]s/networkInterfaces/broker-node-%[1]s\" }\n",
			broker, id)
	}
	b.WriteString(strings.Join([]string{
		"  }",
		"  # Only where a network security group denies what Azure's own rules would allow:",
		"  # network_security_group = { name = \"brokers-nsg\" }",
		"}", "",
	}, "\n"))
	return b.Bytes()
}
