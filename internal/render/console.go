package render

import (
	"fmt"
	"slices"
	"strings"
)

// tidbDomain is the end of every name that TiDB Cloud makes.
const tidbDomain = ".tidbcloud.com"

// mostBootstraps is how many ports are typed: clients take the first that answers.
const mostBootstraps = 3

// form is what TiDB Cloud calls the way to a cluster on one cloud, the field for the other end, and its value. What is
// typed is in TiDB Cloud's documents on a self-hosted Kafka on each cloud. The titles of the fields on AWS and Google
// Cloud were not seen, so they may read a little different there.
type form struct{ way, field, value string }

var forms = map[string]form{
	"azure": {"Private Link", "Alias of the Private Link Service", "the alias of the private link service"},
	"aws":   {"Private Link", "Endpoint Service Name", "the name of the endpoint service"},
	"gcp":   {"Private Service Connect", "Service Attachment", "the name of the service attachment"},
}

// makeConsole writes what is typed into the customer's form.
func makeConsole(n *Network) (*Output, error) {
	f := faults{origin: n.origin}
	f.ownPorts(n)
	own := func(l Listener) bool { return l.BootstrapOf == "" }
	if !slices.ContainsFunc(n.Listeners, own) {
		f.file("has no listener with addresses of its own to render, so there is nothing to type; name one with --listener")
	}
	if err := f.err(); err != nil {
		return nil, err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "# %s\n# What is typed into the customer's form. What stands in angle brackets only the network knows.\n",
		n.note("console"))
	for _, l := range n.Listeners {
		if own(l) {
			n.consoleOf(&b, l)
		}
	}
	return &Output{Files: []File{{Name: "console.txt", Mode: 0o644, Text: []byte(b.String())}}}, nil
}

// consoleOf is the form for one listener.
func (n *Network) consoleOf(b *strings.Builder, l Listener) {
	name, cloud, ours := tidbName(l.Brokers[0], l.ByZone)
	form, known := forms[cloud]
	if !ours || !known {
		fmt.Fprintf(b, "\n%s of %s\n", l.Name, n.Cluster)
		fmt.Fprintf(b, "  Bootstrap servers  %s\n", strings.Join(n.bootstraps(l, cloud, true), ","))
		fmt.Fprintf(b, "  Security protocol  %s\n", l.SecurityProtocol)
		names := "the customer makes them: kpls-agent render dns --listener " + l.Name
		if strings.HasSuffix(l.Brokers[0].AdvertisedHost, tidbDomain) { // a form that is not known here
			names = "TiDB Cloud makes them"
		}
		fmt.Fprintf(b, "  Names              %s\n", names)
		return
	}
	fmt.Fprintf(b, "\n%s of %s, in TiDB Cloud: Create Changefeed > Kafka > %s\n", l.Name, n.Cluster, form.way)
	for _, row := range [][2]string{
		{"Kafka Advertised Listener Pattern", name},
		{form.field, "<" + form.value + ">"},
		{"Bootstrap Ports", strings.Join(n.bootstraps(l, cloud, false), ",")},
	} {
		fmt.Fprintf(b, "  %-33s  %s\n", row[0], row[1])
	}
}

// tidbName is the unique part of the pattern that TiDB Cloud made, and the cloud in it. Names are
// b1.UNIQUE.REGION.CLOUD.PROJECT.tidbcloud.com, with the zone's id before UNIQUE on AWS.
func tidbName(b Broker, byZone bool) (unique, cloud string, ok bool) {
	labels := strings.Split(strings.TrimSuffix(b.AdvertisedHost, tidbDomain), ".")
	if byZone && len(labels) > 1 {
		labels = slices.Delete(labels, 1, 2)
	}
	if !strings.HasSuffix(b.AdvertisedHost, tidbDomain) || len(labels) != 5 {
		return "", "", false
	}
	return labels[1], labels[3], true
}

// bootstraps are the ports, or the whole addresses, at which clients begin: the shared port, if there is one, else that
// of the first broker of each zone. A broker without a zone is one of its own. Google Cloud's form wants two at least.
func (n *Network) bootstraps(l Listener, cloud string, whole bool) []string {
	var chosen, others []Broker
	zones := map[string]bool{}
	for _, b := range l.Brokers {
		if b.Zone != "" && zones[b.Zone] {
			others = append(others, b)
			continue
		}
		zones[b.Zone] = true
		chosen = append(chosen, b)
	}
	if len(chosen) == 1 && len(others) > 0 && cloud == "gcp" {
		chosen = append(chosen, others[0])
	}
	port := n.shared[l.Name]
	if port != 0 {
		chosen = chosen[:1]
	}
	var out []string
	for _, b := range chosen[:min(len(chosen), mostBootstraps)] {
		if port != 0 {
			b.Port = port
		}
		if text := fmt.Sprint(b.Port); whole {
			out = append(out, bracketed(b.AdvertisedHost)+":"+text)
		} else {
			out = append(out, text)
		}
	}
	return out
}
