package render

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// gcpName is the longest name of a resource of Google Cloud, by RFC 1035: a small letter, then small letters, digits
// and hyphens, and no hyphen at the end.
const gcpName = 63

// gcpEndpoint is a port of the service attachment that leads to one broker.
type gcpEndpoint struct {
	Listener string `json:"listener"`
	Broker   string `json:"broker"`
	// Port is what customers connect to; BindPort the port of the VM.
	Port     int `json:"port"`
	BindPort int `json:"bind_port"`
}

// gcpKpls is the variable `kpls` of the Terraform module.
type gcpKpls struct {
	GeneratedBy string               `json:"generated_by"`
	Cluster     string               `json:"cluster"`
	Manifest    string               `json:"manifest_sha256"`
	Name        string               `json:"name"`
	Brokers     []string             `json:"brokers"`
	BindPorts   []int                `json:"bind_ports"`
	Bootstrap   ordered[string]      `json:"bootstrap_ports"` // by listener
	Endpoints   ordered[gcpEndpoint] `json:"endpoints"`
}

// gcpResolve makes the endpoints, in the order of their ports, or refuses.
func gcpResolve(n *Network) ([]gcpEndpoint, []string, error) {
	f := faults{origin: n.origin}
	f.ownPorts(n)
	f.reachable(n)
	f.once("one service attachment of Google Cloud", n.allLeads())
	f.name(n, label(n.Name)+"-psc", naming{thing: "a subnet of Google Cloud", longest: gcpName, letterFirst: true})
	f.names(n)
	var all []gcpEndpoint
	for _, l := range n.Listeners {
		if l.BootstrapOf != "" {
			path := "listeners." + l.Name + ".bootstrap"
			f.at(l.Name+".bootstrap", path, "one port to all brokers cannot be had from the "+
				"port mapping of Google Cloud, where each port leads to one VM; leave this listener out by naming the others "+
				"with --listener, and give customers the ports of brokers as bootstrap ports")
			continue
		}
		for _, b := range l.Brokers {
			all = append(all, gcpEndpoint{l.Name, strconv.Itoa(int(b.ID)), b.Port, l.BindPort})
		}
	}
	slices.SortStableFunc(all, func(a, b gcpEndpoint) int { return a.Port - b.Port })
	return all, gcpWarnings(n), f.err()
}

// gcpWarnings are what Google Cloud's port mapping does not do.
func gcpWarnings(n *Network) []string {
	out := []string{"the port mapping of Google Cloud asks no probe: customers reach a new listener's ports before all " +
		"brokers serve it, so publish the ports after the roll-out"}
	for _, l := range n.Listeners {
		if l.DuringRestart == "close" {
			out = append(out, fmt.Sprintf("`during_restart: close` of %s does nothing on Google Cloud: nobody asks the probe, "+
				"and customers connect to a broker until it stops", l.Name))
		}
	}
	return out
}

// gcpGcloud is one script for the gcloud command: data, then a program that is the same for every cluster.
func gcpGcloud(n *Network) (*Output, error) {
	endpoints, warnings, err := gcpResolve(n)
	if err != nil {
		return nil, err
	}
	program, err := modules.ReadFile("gcp/kpls.sh")
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "#!/usr/bin/env bash\n# %s\nset -euo pipefail\n\n", n.note("gcp"))
	fmt.Fprintf(&b, "readonly name=%s\nreadonly brokers=(%s)\n", label(n.Name), strings.Join(n.brokerIDs(), " "))
	b.WriteString("# Each customer's port, the broker that it leads to, and that broker's own port.\nreadonly ports=(\n")
	for _, e := range endpoints {
		fmt.Fprintf(&b, "  \"%d %s %d\" # %s\n", e.Port, e.Broker, e.BindPort, e.Listener)
	}
	fmt.Fprintf(&b, ")\nreadonly bind_ports=(%s)\nreadonly bootstrap=(", joined(n.bindPorts()))
	for i, l := range n.Listeners {
		if i > 0 {
			b.WriteString(" ")
		}
		fmt.Fprintf(&b, "%q", l.Name+" "+n.bootstrapPorts(l.Name))
	}
	b.WriteString(")\n\n")
	b.Write(program)
	return &Output{Files: []File{{Name: "kpls.sh", Mode: 0o755, Text: b.Bytes()}}, Warnings: warnings}, nil
}

// gcpTerraform is the static module with the manifest's data.
func gcpTerraform(n *Network) (*Output, error) {
	endpoints, warnings, err := gcpResolve(n)
	if err != nil {
		return nil, err
	}
	kpls := gcpKpls{
		GeneratedBy: n.note("gcp"), Cluster: n.Cluster, Manifest: n.Manifest, Name: label(n.Name),
		Brokers: n.brokerIDs(), BindPorts: n.bindPorts(),
	}
	for _, e := range endpoints {
		kpls.Endpoints = append(kpls.Endpoints, entry[gcpEndpoint]{label(e.Listener) + "-b" + e.Broker, e})
	}
	for _, l := range n.Listeners {
		kpls.Bootstrap = append(kpls.Bootstrap, entry[string]{l.Name, n.bootstrapPorts(l.Name)})
	}
	return terraform("gcp", kpls, gcpExample(n), warnings)
}

// gcpExample is terraform.tfvars.example.
func gcpExample(n *Network) string {
	var vms ordered[string]
	for _, broker := range n.brokers() {
		id := strconv.Itoa(int(broker.ID))
		vms = append(vms, entry[string]{id, fmt.Sprintf("{ instance = %q, ip_address = %q }",
			"projects/my-project/zones/us-west1-a/instances/kafka-"+id, cmp.Or(broker.Host, "10.64.0."+id))})
	}
	return `# What only Google Cloud knows. Copy this file to terraform.tfvars and fill it in.

project = "my-project"
region  = "us-west1"

network    = "projects/my-project/global/networks/kafka-vpc"
subnetwork = "projects/my-project/regions/us-west1/subnetworks/brokers"

# A new range: one address for each customer's endpoint.
nat_cidr = "10.128.0.0/24"

# Who may connect: projects, with how many connections each may have.
consumer_projects = { "customer-project" = 10 }

# Network tags of the brokers' VMs, for the firewall rule.
broker_tags = ["kafka"]

# The VM of each broker and the address of its first network interface, by node.id.
brokers = ` + hcl(vms) + "\n"
}

func joined(ports []int) string {
	var all []string
	for _, p := range ports {
		all = append(all, strconv.Itoa(p))
	}
	return strings.Join(all, " ")
}
