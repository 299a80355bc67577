package balancer

import (
	"cmp"
	"fmt"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"example.com/kpls-agent/internal/config"
	"example.com/kpls-agent/internal/render"
)

// Compare says what differs between a manifest and what the documents show. The error is config.Faults, with all of
// them: documents that cannot be used, or that are of another cluster.
func Compare(n *render.Network, docs []Document, o Options) (*Report, error) {
	in, err := read(docs)
	if err != nil {
		return nil, err
	}
	s, err := in.seen()
	if err != nil {
		return nil, err
	}
	c := &comparison{
		network: n, seen: s, ids: map[string]int32{}, forms: map[int32][2]bool{}, fronts: map[string]string{},
		report: &Report{
			Cluster: n.Cluster, Cloud: s.cloud, Rows: []Row{}, Findings: []Finding{}, Unseen: []Unseen{},
			Notes: []string{},
		},
	}
	if err := c.usable(in.names); err != nil {
		return nil, err
	}
	c.names(o)
	c.all(o)
	r := c.report
	if s.manifest != "" && s.manifest != n.Manifest {
		r.Notes = append(r.Notes, fmt.Sprintf("what is there was rendered for the manifest with SHA-256 %.12s..., and this "+
			"manifest has %.12s...: render and apply again", s.manifest, n.Manifest))
	}
	r.OK = len(r.Findings) == 0 && !slices.ContainsFunc(r.Unseen, func(u Unseen) bool { return u.Matters })
	return r, nil
}

// seen reads the documents, which must be of one cloud.
func (in *inputs) seen() (*seen, error) {
	clouds := in.clouds()
	if len(clouds) > 1 {
		in.fault("", "the documents are of %s; compare one load balancer at a time", strings.Join(clouds, " and "))
		return nil, in.faults
	}
	in.cloud = clouds[0]
	if in.cloud == "terraform" {
		readTerraform(in)
	}
	if len(in.faults) > 0 {
		return nil, in.faults
	}
	switch in.cloud {
	case "azure":
		return readAzure(in), nil
	case "aws":
		return readAWS(in), nil
	case "gcp":
		return readGCP(in), nil
	default:
		return readHAProxy(in), nil
	}
}

// comparison is one manifest with what is there.
type comparison struct {
	network *render.Network
	seen    *seen
	report  *Report
	// ids are brokers by the names of their VMs, in lower case; forms says for a broker whether it has an address and
	// whether it has another name.
	ids   map[string]int32
	forms map[int32][2]bool
	// fronts are the frontends by listener.
	fronts map[string]string
}

// usable refuses documents of another cluster: each port would be called missing.
func (c *comparison) usable(files []string) error {
	s, n := c.seen, c.network
	fault := func(format string, args ...any) error {
		return config.Faults{{File: strings.Join(files, ", "), Text: fmt.Sprintf(format, args...)}}
	}
	if s.cluster != "" && s.cluster != n.Cluster {
		return fault("is of cluster %s, and the manifest is of %s; name the manifest of %s with --manifest, or give "+
			"the documents of %s", s.cluster, n.Cluster, s.cluster, n.Cluster)
	}
	if len(s.ports) == 0 {
		return nil
	}
	var theirs []string
	for _, p := range s.ports {
		for _, l := range n.Listeners {
			if l.BootstrapOf != "" && l.BootstrapPort == p.number ||
				slices.ContainsFunc(l.Brokers, func(b render.Broker) bool { return b.Port == p.number }) {
				return nil
			}
		}
		theirs = append(theirs, strconv.Itoa(p.number))
	}
	return fault("has none of the manifest's ports; it has %s: it is of another cluster%s, or the manifest is. Give the "+
		"documents of cluster %s", some(theirs), parens(s.name), n.Cluster)
}

func parens(name string) string {
	if name == "" {
		return ""
	}
	return " (" + name + ")"
}

// names collects what brokers' VMs are called.
func (c *comparison) names(o Options) {
	add := func(id int32, name string) {
		if name == "" {
			return
		}
		c.ids[strings.ToLower(name)] = id
		f := c.forms[id]
		if net.ParseIP(name) != nil {
			f[0] = true
		} else {
			f[1] = true
		}
		c.forms[id] = f
	}
	for _, l := range c.network.Listeners {
		for _, b := range l.Brokers {
			add(b.ID, b.Host)
		}
	}
	for id, names := range o.Hosts {
		for _, name := range names {
			add(id, name)
		}
	}
}

// all compares everything.
func (c *comparison) all(o Options) {
	c.pairFronts()
	for i := range c.network.Listeners {
		l := &c.network.Listeners[i]
		wanted := o.Listener == "" || strings.EqualFold(o.Listener, l.Name)
		for _, e := range expectations(l) {
			if found := c.take(l, e.port); wanted {
				c.compare(l, e, found)
			}
		}
	}
	for _, p := range c.seen.ports {
		if !p.used {
			c.extra(p)
		}
	}
	c.carriers(o)
	for _, s := range c.seen.shared {
		c.setting("", s)
	}
	c.report.Unseen = append(c.report.Unseen, c.seen.hints...)
}

// pairFronts finds for each listener the frontend whose rules are most like it.
func (c *comparison) pairFronts() {
	if !c.seen.fronts {
		return
	}
	for i := range c.network.Listeners {
		l := &c.network.Listeners[i]
		if l.BootstrapOf != "" {
			continue // at the frontend of the other one
		}
		scores, best := map[string]int{}, ""
		numbers := map[int]bool{}
		for _, b := range l.Brokers {
			numbers[b.Port] = true
		}
		for _, p := range c.seen.ports {
			score := 0
			if numbers[p.number] {
				score++
			}
			if p.to.port() == l.BindPort {
				score += 2
			}
			if p.probe != nil && p.probe.port.port() == l.ProbePort {
				score++
			}
			if plain(p.label) == plain(l.Name) {
				score++
			}
			scores[p.front] += score
			if scores[p.front] > scores[best] {
				best = p.front
			}
		}
		c.fronts[l.Name] = best
	}
}

// plain is a name without what clouds do not allow in names.
func plain(name string) string {
	return strings.NewReplacer("_", "", "-", "").Replace(strings.ToLower(name))
}

// expectation is one port that the manifest needs, with the brokers that it leads to.
type expectation struct {
	port    int
	brokers []render.Broker
	// bootstrap is true for the port that leads to all.
	bootstrap bool
}

// expectations are the ports of a listener: one for each broker, or one for all.
func expectations(l *render.Listener) []expectation {
	if l.BootstrapOf != "" {
		return []expectation{{l.BootstrapPort, l.Brokers, true}}
	}
	var out []expectation
	for _, b := range l.Brokers {
		out = append(out, expectation{b.Port, []render.Broker{b}, false})
	}
	return out
}

// take finds the ports of the load balancer that are one of the manifest. A bootstrap port is at the frontend of those
// that it is for.
func (c *comparison) take(l *render.Listener, number int) []*port {
	var found []*port
	front := c.fronts[cmp.Or(l.BootstrapOf, l.Name)]
	for _, p := range c.seen.ports {
		if p.number == number && !p.used && (!c.seen.fronts || p.front == front) {
			p.used = true
			found = append(found, p)
		}
	}
	return found
}

// compare compares one port of the manifest.
func (c *comparison) compare(l *render.Listener, e expectation, found []*port) {
	row := Row{Listener: l.Name, Port: e.port}
	if !e.bootstrap {
		row.Broker = &e.brokers[0].ID
	}
	if len(found) == 0 {
		c.noPort(row)
		return
	}
	p := found[0]
	j := &judgement{comparison: c, listener: l, expected: e, port: p}
	if len(found) > 1 {
		j.found(duplicatePort, p.where, fmt.Sprintf("%s and %s have the same port %d: which one counts is left to chance",
			p.where, found[1].where, e.port), "remove one of them")
	}
	j.all()
	row.Found, row.Verdict = p.found(), j.verdict()
	c.report.Rows = append(c.report.Rows, row)
}

// noPort is a port of the manifest that is not there, or that could not be.
func (c *comparison) noPort(row Row) {
	if c.seen.portsHidden {
		row.Verdict = "not shown"
		c.report.Rows = append(c.report.Rows, row)
		return
	}
	row.Verdict = missingPort
	c.report.Rows = append(c.report.Rows, row)
	c.report.add(Finding{
		missingPort, row.Listener, row.Broker, row.Port, "load balancer",
		fmt.Sprintf("%s: nothing has port %d: clients cannot connect", subject(row.Listener, row.Broker), row.Port),
		"add what is missing, as `kpls-agent render` writes it",
	})
}

// subject is a listener, with the broker where there is one.
func subject(listener string, broker *int32) string {
	if broker == nil {
		return listener
	}
	return fmt.Sprintf("%s, broker %d", listener, *broker)
}

// found is a port as people read it.
func (p *port) found() string {
	var to []string
	for _, m := range p.members {
		to = append(to, m.shown)
	}
	out := p.where
	switch {
	case len(to) > 0:
		out += " -> " + some(to)
	case p.pool != "":
		out += " -> " + p.pool
	}
	if p.to.state == given {
		out += ":" + p.to.text
	}
	return out
}

// extra is a port that nobody asked for.
func (c *comparison) extra(p *port) {
	c.report.Rows = append(c.report.Rows, Row{Port: p.number, Found: p.found(), Verdict: extraPort})
	c.report.add(Finding{
		Code: extraPort, Port: p.number, Where: p.where,
		Text: fmt.Sprintf("%s: the manifest has no port %d%s", p.where, p.number, c.at(p)),
		ToDo: "remove it; where it is a broker's, add it to the manifest, or as a listener with `bootstrap` where it leads to all",
	})
}

// at names the frontend, where a port is known only with it.
func (c *comparison) at(p *port) string {
	if !c.seen.fronts {
		return ""
	}
	return " at frontend " + p.label
}

// carriers are the services that lead to the load balancer.
func (c *comparison) carriers(o Options) {
	s := c.seen
	for _, v := range s.services {
		for _, x := range v.settings {
			c.setting("", x)
		}
	}
	if !s.fronts || len(s.services) == 0 || len(s.ports) == 0 {
		return
	}
	ours := map[string]bool{}
	for _, l := range c.network.Listeners {
		front := c.fronts[l.Name]
		ours[front] = true
		leads := func(v service) bool { return slices.Contains(v.fronts, front) }
		if front == "" || (o.Listener != "" && !strings.EqualFold(o.Listener, l.Name)) ||
			slices.ContainsFunc(s.services, leads) ||
			slices.ContainsFunc(s.services, func(v service) bool { return len(v.fronts) == 0 }) {
			continue
		}
		c.report.add(Finding{
			missingService, l.Name, nil, 0, "frontend " + front,
			fmt.Sprintf("%s: no private link service of the documents leads to frontend %s: customers cannot connect",
				l.Name, front),
			"make a private link service for that frontend, or give its document, too",
		})
	}
	for _, v := range s.services {
		if len(v.fronts) == 0 {
			const todo = "give the document again after the apply"
			c.report.unseen("which frontend the service leads to", v.where, todo, true)
		} else if !slices.ContainsFunc(v.fronts, func(f string) bool { return ours[f] }) {
			c.report.add(Finding{
				Code: wrongService, Where: v.where,
				Text: fmt.Sprintf("%s leads to frontend %s, which no listener of the manifest uses", v.where, some(v.fronts)),
				ToDo: "lead the service to the frontend of its listener",
			})
		}
	}
}

// setting reports one switch, and gives its code if it is wrong.
func (c *comparison) setting(listener string, s setting) string {
	if !s.shown {
		c.report.unseen(s.text, s.where, "look at it by hand, or give a document that has it", s.matters)
		return ""
	}
	if s.fits {
		return ""
	}
	f := Finding{Code: s.code, Listener: listener, Where: s.where, Text: s.text, ToDo: s.todo}
	if !slices.Contains(c.report.Findings, f) {
		c.report.add(f)
	}
	return s.code
}

// byName is what a rendered name says: the broker's id at its end.
var byName = regexp.MustCompile(`(?i)(?:^|[^a-z0-9])b(\d+)(?:-\d+)*$`)

// named is the broker that a pool's or server's name speaks of.
func named(name string) (int32, bool) {
	m := byName.FindStringSubmatch(name)
	if m == nil {
		return 0, false
	}
	id, err := strconv.ParseInt(m[1], 10, 32)
	return int32(id), err == nil
}
