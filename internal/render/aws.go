package render

import (
	"embed"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// modules has what is the same for every cluster, one folder a cloud.
//
//go:embed aws gcp
var modules embed.FS

const (
	// awsName is the longest name of a load balancer and of a target group (API Reference of Elastic Load Balancing:
	// CreateLoadBalancer, CreateTargetGroup). It takes letters, digits and hyphens.
	awsName = 32
	// awsListeners is how many listeners a load balancer may have. The quota cannot be raised, and a load balancer
	// with more cannot be published by an endpoint service (AWS PrivateLink, "Create a service").
	awsListeners = 50
	// awsIdleSeconds is longer than Kafka's connections.max.idle.ms of 10 minutes, so the broker's close comes first.
	// A listener takes 60 to 6000.
	awsIdleSeconds = 900
	// awsTimeoutSeconds is how long a probe may take, at most the interval. It is the default of AWS.
	awsTimeoutSeconds = 10
	// awsUnhealthyThreshold is how many probes in a row fail before a target is left out: the least that AWS takes.
	awsUnhealthyThreshold = 2
	// awsDeregistrationSeconds is how long connections of a removed target go on.
	awsDeregistrationSeconds = 60
)

// awsGroup is a port of the load balancer with its target group: one broker, or all of a bootstrap listener.
type awsGroup struct {
	// Name is that of the target group.
	Name string `json:"name"`
	// Listener is the managed listener; Clients the one whose customers use the port. They differ for a bootstrap
	// listener.
	Listener  string `json:"listener"`
	Clients   string `json:"clients"`
	Port      int    `json:"port"`
	BindPort  int    `json:"bind_port"`
	ProbePort int    `json:"probe_port"`
	// Brokers are the node ids, as keys of Terraform's maps.
	Brokers []string `json:"brokers"`
	// CrossZone is false where the client has already chosen the zone by the name, and the broker is there.
	CrossZone bool `json:"cross_zone"`
	// Bootstrap is true for the port that leads to all brokers.
	Bootstrap bool `json:"bootstrap"`

	key string // of the group among all
}

// awsRange is a range of ports of the load balancer that the customers of one listener may reach.
type awsRange struct {
	From int `json:"from"`
	To   int `json:"to"`
}

// awsKpls is the variable `kpls` of the Terraform module.
type awsKpls struct {
	GeneratedBy      string            `json:"generated_by"`
	Cluster          string            `json:"cluster"`
	Manifest         string            `json:"manifest_sha256"`
	Name             string            `json:"name"` // of the load balancer
	IntervalSeconds  int               `json:"interval_seconds"`
	HealthyThreshold int               `json:"healthy_threshold"`
	Zones            []string          `json:"zones"`
	Brokers          []string          `json:"brokers"`
	TargetPorts      []int             `json:"target_ports"` // what the load balancer reaches on the brokers' VMs
	Clients          ordered[awsPorts] `json:"clients"`      // by listener
	Groups           ordered[awsGroup] `json:"groups"`
}

// awsPorts is what the customers of a listener use.
type awsPorts struct {
	// Open are the ports that they reach.
	Open []awsRange `json:"open_ports"`
	// Bootstrap is what is typed into the form as bootstrap ports.
	Bootstrap string `json:"bootstrap_ports"`
}

// awsTerraform is the static module with the manifest's data.
func awsTerraform(n *Network) (*Output, error) {
	groups, warnings, err := awsResolve(n, true)
	if err != nil {
		return nil, err
	}
	kpls := awsKpls{
		GeneratedBy: n.note("aws"), Cluster: n.Cluster, Manifest: n.Manifest, Name: label(n.Name),
		IntervalSeconds: int(n.Probe.IntervalSeconds), HealthyThreshold: n.Probe.HealthyThreshold,
		Zones: n.zones(), Brokers: n.brokerIDs(), TargetPorts: n.targetPorts(),
		Clients: awsClients(n, groups),
	}
	for _, g := range groups {
		kpls.Groups = append(kpls.Groups, entry[awsGroup]{g.key, g})
	}
	return terraform("aws", kpls, awsExample(kpls), warnings)
}

// terraform is a module's files: the program, its data, and an example of what the user gives.
func terraform(target string, kpls any, example string, warnings []string) (*Output, error) {
	main, err := modules.ReadFile(target + "/main.tf")
	if err != nil {
		return nil, err
	}
	head := "# " + Mark + target + ". The next render replaces it.\n"
	data, err := indented(map[string]any{"kpls": kpls})
	if err != nil {
		return nil, err
	}
	return &Output{
		Files: []File{
			{Name: "main.tf", Mode: 0o644, Text: append([]byte(head), main...)},
			{Name: "kpls.auto.tfvars.json", Mode: 0o644, Text: data},
			{Name: "terraform.tfvars.example", Mode: 0o644, Text: []byte(example), Example: true},
		},
		Warnings: warnings,
	}, nil
}

// awsResolve makes the groups, in the order of their ports, or refuses. named is false where AWS makes the names.
func awsResolve(n *Network, named bool) ([]awsGroup, []string, error) {
	f := faults{origin: n.origin}
	groups := awsGroups(n)
	f.ownPorts(n)
	f.reachable(n)
	f.once("one load balancer of AWS", n.allLeads())
	f.probe(n, bounds{target: "AWS", leastSeconds: 5, mostSeconds: 300, leastThreshold: 2, mostThreshold: 10})
	f.awsZones(n)
	if len(groups) > awsListeners {
		f.file("needs %d ports of a load balancer (brokers x listeners, and one for each bootstrap listener), and an "+
			"endpoint service of AWS publishes at most %d; render one listener at a time by --listener, each with its own "+
			"--name and folder", len(groups), awsListeners)
	}
	if named {
		f.awsNames(n, groups)
	}
	return groups, awsWarnings(n), f.err()
}

// awsGroups are the ports of the load balancer.
func awsGroups(n *Network) []awsGroup {
	var all []awsGroup
	for _, l := range n.Listeners {
		g := awsGroup{Listener: l.Name, Clients: l.Name, BindPort: l.BindPort, ProbePort: l.ProbePort}
		if l.BootstrapOf != "" {
			g.Clients, g.Port, g.Bootstrap, g.CrossZone = l.BootstrapOf, l.BootstrapPort, true, true
			g.key, g.Brokers = label(l.Name), n.brokerIDs()
			all = append(all, g)
			continue
		}
		for _, b := range l.Brokers {
			one := g
			one.key = fmt.Sprintf("%s-b%d", label(l.Name), b.ID)
			one.Port, one.Brokers, one.CrossZone = b.Port, []string{strconv.Itoa(int(b.ID))}, !l.ByZone
			all = append(all, one)
		}
	}
	for i := range all {
		all[i].Name = label(n.Name) + "-" + all[i].key
	}
	slices.SortStableFunc(all, func(a, b awsGroup) int { return a.Port - b.Port })
	return all
}

// awsClients are the ports of each listener that customers know.
func awsClients(n *Network, groups []awsGroup) ordered[awsPorts] {
	ports := map[string][]int{}
	for _, g := range groups {
		ports[g.Clients] = append(ports[g.Clients], g.Port)
	}
	var out ordered[awsPorts]
	for _, name := range sortedKeys(ports) {
		out = append(out, entry[awsPorts]{name, awsPorts{Open: ranges(ports[name]), Bootstrap: n.bootstrapPorts(name)}})
	}
	return out
}

// ranges are ascending ports as ranges without gaps: a security group takes 60 rules, and each range is one for each
// CIDR.
func ranges(ports []int) []awsRange {
	var all []awsRange
	for _, p := range ports {
		if last := len(all) - 1; last >= 0 && all[last].To == p-1 {
			all[last].To = p
			continue
		}
		all = append(all, awsRange{p, p})
	}
	return all
}

// zoneName is the name of an availability zone; its id is such as usw2-az1.
var zoneName = regexp.MustCompile(`^[a-z]{2,4}(-[a-z]+)+-[0-9]+[a-z]$`)

// awsZones refuses names of zones: customers compare ids, since a name means another zone in each account.
func (f *faults) awsZones(n *Network) {
	for _, z := range n.zones() {
		if zoneName.MatchString(z) {
			place := n.zonePlace(z)
			f.at(place, place, "%s is the name of an availability zone, which means another zone in each account; write its id, "+
				"such as usw2-az1, here and in advertised_by_zone (`aws ec2 describe-availability-zones` shows both)", z)
		}
	}
}

// awsNames refuses names that AWS would not take. One fault a listener is enough.
func (f *faults) awsNames(n *Network, groups []awsGroup) {
	f.names(n)
	f.name(n, label(n.Name), naming{thing: "a load balancer of AWS", longest: awsName})
	if strings.HasPrefix(label(n.Name), "internal-") {
		f.named(n, "makes the name %s for a load balancer of AWS, which must not begin with internal-", label(n.Name))
	}
	longest := map[string]string{}
	for _, g := range groups {
		if len(g.Name) > len(longest[g.Listener]) {
			longest[g.Listener] = g.Name
		}
	}
	for _, l := range n.Listeners {
		f.name(n, longest[l.Name], naming{thing: "a target group of AWS", longest: awsName})
	}
}

// awsWarnings are what AWS takes and a customer might not.
func awsWarnings(n *Network) []string {
	var out []string
	for _, l := range n.Listeners {
		if l.ByZone && l.BootstrapOf == "" && n.bootstrapOf(l.Name) == nil {
			out = append(out, fmt.Sprintf("%s has no bootstrap listener, so its customers are given ports that lead to one "+
				"broker each, and reach it only by the endpoint of that broker's zone; add a listener with "+
				"`bootstrap: {of: %s, port: 9092}`", l.Name, l.Name))
		}
	}
	return out
}

// awsExample is terraform.tfvars.example.
func awsExample(k awsKpls) string {
	zones := k.Zones
	if len(zones) == 0 {
		zones = []string{"usw2-az1"}
	}
	var subnets, targets, cidrs ordered[string]
	for i, z := range zones {
		subnets = append(subnets, entry[string]{z, fmt.Sprintf("%q", fmt.Sprintf("subnet-%017d", i+1))})
	}
	for _, id := range k.Brokers {
		targets = append(targets, entry[string]{id, fmt.Sprintf("%q", fmt.Sprintf("i-%017s", id))})
	}
	for _, c := range k.Clients {
		cidrs = append(cidrs, entry[string]{c.key, `["10.250.0.0/16"]`})
	}
	return `# What only AWS knows. Copy this file to terraform.tfvars and fill it in.

vpc_id = "vpc-0123456789abcdef0"

# One subnet of the load balancer in each zone, by the zone's id.
subnet_ids = ` + hcl(subnets) + `

# The security groups of the brokers' VMs. The load balancer is let in on the ports of listeners and probes.
broker_security_group_ids = ["sg-0123456789abcdef0"]

# The instance of each broker, by node.id; or its address, with target_type = "ip".
broker_targets = ` + hcl(targets) + `

# Where the customers of each listener come from: the CIDR of the customer's network.
client_cidrs = ` + hcl(cidrs) + `

# Who may ask for a connection. Each one is accepted by hand.
allowed_principals = ["arn:aws:iam::123456789012:root"]
`
}

// hcl is a map as `terraform fmt` writes it: the values, which are expressions, stand below each other.
func hcl(entries ordered[string]) string {
	longest := 0
	for _, e := range entries {
		longest = max(longest, len(e.key)+len(`""`))
	}
	var b strings.Builder
	b.WriteString("{\n")
	for _, e := range entries {
		fmt.Fprintf(&b, "  %-*s = %s\n", longest, `"`+e.key+`"`, e.value)
	}
	b.WriteString("}")
	return b.String()
}
