package balancer

import (
	"fmt"
	"slices"
	"strings"
)

// Document is one input, such as the answer of `az network lb show -o json`.
type Document struct {
	// Name is that of the file, for messages.
	Name string
	Data []byte
}

// Options are what neither manifest nor documents say.
type Options struct {
	// Hosts are further names of a broker's VM by node.id, as a document calls it: a network interface, an instance,
	// an address.
	Hosts map[int32][]string
	// Listener is the one to compare, in any case; empty is all. The ports of the others are known, and not judged.
	Listener string
}

// Report is what came of a comparison. As JSON it is part of the interface.
type Report struct {
	// OK is true if nothing differs and nothing was unseen that matters.
	OK      bool   `json:"ok"`
	Cluster string `json:"cluster"`
	// Cloud is azure, aws, gcp or haproxy.
	Cloud    string    `json:"cloud"`
	Rows     []Row     `json:"rows"`
	Findings []Finding `json:"findings"`
	Unseen   []Unseen  `json:"unseen"`
	// Notes may explain differences, and are none.
	Notes []string `json:"notes"`
	// Fault is why nothing was compared.
	Fault *Fault `json:"fault,omitempty"`
}

// Row is one port: of the manifest, of the documents, or of both.
type Row struct {
	Listener string `json:"listener,omitempty"`
	Broker   *int32 `json:"broker,omitempty"`
	Port     int    `json:"port"`
	// Found is how the documents call what is there, with where it leads; empty is nothing.
	Found string `json:"found,omitempty"`
	// Verdict is "ok", "not shown", or the codes of this port's findings.
	Verdict string `json:"verdict"`
}

// Finding is one difference.
type Finding struct {
	Code     string `json:"code"`
	Listener string `json:"listener,omitempty"`
	Broker   *int32 `json:"broker,omitempty"`
	Port     int    `json:"port,omitempty"`
	// Where is what has to be changed, as the documents call it.
	Where string `json:"where"`
	Text  string `json:"text"`
	ToDo  string `json:"to_do"`
}

// Unseen is what no document shows.
type Unseen struct {
	What  string   `json:"what"`
	Where []string `json:"where"`
	ToDo  string   `json:"to_do"`
	// Matters is true where clients might not reach the right broker, whatever else agrees.
	Matters bool `json:"matters"`
}

// Fault is about input with which nothing can be compared.
type Fault struct {
	Code string `json:"code"` // always "usage"
	Text string `json:"text"`
}

// Unusable is the report of a comparison that could not begin.
func Unusable(err error) *Report {
	return &Report{
		Rows: []Row{}, Findings: []Finding{}, Unseen: []Unseen{}, Notes: []string{},
		Fault: &Fault{"usage", err.Error()},
	}
}

// codes of findings, with what they mean; docs/network-mistakes.md has them with examples.
const (
	missingPort      = "missing_port"
	extraPort        = "extra_port"
	duplicatePort    = "duplicate_port"
	wrongBroker      = "wrong_broker"
	noTarget         = "no_target"
	missingTarget    = "missing_target"
	wrongBackendPort = "wrong_backend_port"
	wrongProtocol    = "wrong_protocol"
	missingProbe     = "missing_probe"
	wrongProbePort   = "wrong_probe_port"
	probeOnKafka     = "probe_on_kafka"
	probeProtocol    = "probe_protocol"
	probeInterval    = "probe_interval"
	probeThreshold   = "probe_threshold"
	healthCheck      = "health_check"
	idleTime         = "idle_time"
	tcpReset         = "tcp_reset"
	floatingIP       = "floating_ip"
	proxyProtocol    = "proxy_protocol"
	noHealthy        = "no_healthy_backends"
	cutsConnections  = "cuts_connections"
	crossZone        = "cross_zone"
	clientAddress    = "client_address"
	missingService   = "missing_service"
	wrongService     = "wrong_service"
	notAllPorts      = "not_all_ports"
	groupType        = "group_type"
	halfOpen         = "half_open_check"
	targetState      = "target_state"
)

// add appends a finding.
func (r *Report) add(f Finding) { r.Findings = append(r.Findings, f) }

// unseen notes what is not shown; the same thing at several places is one entry.
func (r *Report) unseen(what, where, todo string, matters bool) {
	for i := range r.Unseen {
		if u := &r.Unseen[i]; u.What == what && u.ToDo == todo {
			if !slices.Contains(u.Where, where) {
				u.Where = append(u.Where, where)
			}
			u.Matters = u.Matters || matters
			return
		}
	}
	r.Unseen = append(r.Unseen, Unseen{what, []string{where}, todo, matters})
}

// Advice is for people: the differences by what is to be done, then what was not shown.
func (r *Report) Advice() string {
	var order []string
	by := map[string][]string{}
	for _, f := range r.Findings {
		todo := "to do: " + f.ToDo
		if by[todo] == nil {
			order = append(order, todo)
		}
		by[todo] = append(by[todo], f.Text)
	}
	var b strings.Builder
	for _, todo := range order {
		b.WriteString("\n")
		for _, text := range by[todo] {
			b.WriteString(text + "\n")
		}
		b.WriteString("  " + todo + "\n")
	}
	for _, u := range r.Unseen {
		mark := "not shown"
		if u.Matters {
			mark = "NOT SHOWN"
		}
		fmt.Fprintf(&b, "\n%s: %s (%s)\n  to do: %s\n", mark, u.What, some(u.Where), u.ToDo)
	}
	for _, note := range r.Notes {
		b.WriteString("\nnote: " + note + "\n")
	}
	return b.String()
}

// some is a list for people, cut short.
func some(all []string) string {
	const shown = 3
	if len(all) <= shown {
		return strings.Join(all, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(all[:shown], ", "), len(all)-shown)
}
