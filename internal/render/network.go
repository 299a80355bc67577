package render

import (
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"example.com/kpls-agent/internal/config"
)

// SchemaVersion is that of Network as JSON. A field may be added without a new version; programs ignore what they do
// not know.
const SchemaVersion = 1

// Options are what a manifest does not say.
type Options struct {
	// Listeners are the names of those to render, in any case; empty is all.
	Listeners []string
	// Hosts are addresses of brokers' VMs by node.id. They win over `host` of the manifest's table.
	Hosts map[int32]string
	// Name is what the names of resources begin with; empty is the manifest's cluster. Clouds have short limits, and a
	// cluster's name can no longer be changed.
	Name string
	// Endpoints are where customers reach the private link, by zone; that of "" is for all other brokers.
	Endpoints map[string]string
}

// Network is a manifest with every pattern resolved: what leads where.
type Network struct {
	// Version is SchemaVersion.
	Version int    `json:"version"`
	Cluster string `json:"cluster"`
	// Manifest is the SHA-256 of the manifest's bytes in hexadecimal.
	Manifest  string     `json:"manifest_sha256"`
	Probe     Probe      `json:"probe"`
	Listeners []Listener `json:"listeners"` // in the order of the manifest
	// Name is what the names of resources begin with (Options.Name).
	Name string `json:"-"`

	origin    config.Origin
	endpoints map[string]string
	// shared are the bootstrap ports by the listener that they lead to, also of listeners that are not rendered.
	shared map[string]int
}

// Probe is what the load balancer asks of every probe port.
type Probe struct {
	IntervalSeconds  float64 `json:"interval_seconds"`
	HealthyThreshold int     `json:"healthy_threshold"`
}

// Listener is one managed listener.
type Listener struct {
	Name             string `json:"name"` // upper case
	SecurityProtocol string `json:"security_protocol"`
	// BindPort is the port of each VM that Kafka binds; ProbePort the one that the agent answers the probe on.
	BindPort  int `json:"bind_port"`
	ProbePort int `json:"probe_port"`
	// DuringRestart is "hold" or "close": what the probe does through a planned restart.
	DuringRestart string `json:"during_restart"`
	// BootstrapOf and BootstrapPort are set for the listener behind a shared bootstrap port: BootstrapPort of the load
	// balancer leads to BindPort of all Brokers. Their ports are those of the listener BootstrapOf, and lead there.
	BootstrapOf   string   `json:"bootstrap_of,omitempty"`
	BootstrapPort int      `json:"bootstrap_port,omitempty"`
	Brokers       []Broker `json:"brokers"` // by id
	// FixedPort is true if the pattern has a port written out, so no port leads to one broker.
	FixedPort bool `json:"-"`
	// BindsHost is true if `bind` says <host>, so each broker binds the `host` of its row.
	BindsHost bool `json:"-"`
	// ByZone is true if the advertised name carries the broker's zone.
	ByZone bool `json:"-"`
}

// Broker is one broker of a listener.
type Broker struct {
	ID   int32  `json:"id"`
	Zone string `json:"zone,omitempty"`
	// Host is the VM's address; empty where neither manifest nor options have one.
	Host string `json:"host,omitempty"`
	// AdvertisedHost and Port are what clients connect to: the load balancer's port that leads to this broker.
	AdvertisedHost string `json:"advertised_host"`
	Port           int    `json:"port"`
	// BindHost is the address that Kafka binds; empty is all.
	BindHost string `json:"-"`
}

// nameOption is what Options.Name takes: the same as `cluster` of a manifest.
var nameOption = regexp.MustCompile(`^[A-Za-z0-9._-]+$`)

// Resolve makes the neutral form of a manifest. The error is config.Faults, with all of them: a listener that the
// manifest does not have, a broker that it does not have, no table of brokers.
func Resolve(m *config.Manifest, o Options) (*Network, error) {
	n := &Network{
		Version: SchemaVersion, Cluster: m.Cluster, Manifest: m.Hash, Listeners: []Listener{},
		Probe:  Probe{m.LoadBalancer.Interval.Seconds(), m.LoadBalancer.HealthyThreshold},
		Name:   cmp.Or(o.Name, m.Cluster),
		origin: m.Origin, endpoints: o.Endpoints, shared: map[string]int{},
	}
	f := faults{origin: m.Origin}
	for _, id := range slices.Sorted(maps.Keys(o.Hosts)) {
		if _, ok := m.Row(id); !ok {
			f.file("--host %d=...: the manifest has no broker %d in its table; expected a node.id of `brokers`", id, id)
		}
	}
	if !nameOption.MatchString(n.Name) {
		f.file("--name %q: expected letters, digits, `.`, `_` or `-`, as in a cluster's name", o.Name)
	}
	if len(m.Brokers) == 0 {
		f.file("has no table `brokers`, so it is not known which brokers there are; add a row for each, such as " +
			"`1: {ports: {EXTERNAL: 9093}}`")
	}
	wanted := map[string]bool{}
	for _, name := range o.Listeners {
		name = strings.ToUpper(name)
		wanted[name] = true
		if !slices.ContainsFunc(m.Listeners, func(l config.Listener) bool { return l.Name == name }) {
			f.file("--listener %s: there is no such managed listener; expected %s", name, names(m))
		}
	}
	for _, l := range m.Listeners {
		if of := l.Bootstrap.Of; of != "" {
			n.shared[of] = cmp.Or(n.shared[of], l.Bootstrap.Port)
		}
		if len(o.Listeners) == 0 || wanted[l.Name] {
			n.Listeners = append(n.Listeners, Listener{
				Name: l.Name, SecurityProtocol: l.SecurityProtocol, BindPort: l.BindPort, ProbePort: l.ProbePort,
				DuringRestart: l.DuringRestart, Brokers: []Broker{},
				BootstrapOf: l.Bootstrap.Of, BootstrapPort: l.Bootstrap.Port,
				ByZone:    len(l.AdvertisedByZone) > 0,
				BindsHost: l.BindHost == "<host>",
				FixedPort: len(l.AdvertisedByZone) == 0 && !strings.Contains(l.Advertised, "<port>"),
			})
		}
	}
	for _, row := range m.Brokers {
		f.broker(n, m, row, o)
	}
	return n, f.err()
}

// broker adds one broker to each listener.
func (f *faults) broker(n *Network, m *config.Manifest, row config.Broker, o Options) {
	desired, err := m.For(row.ID)
	if err != nil { // ParseManifest has tried each row of the table
		f.file("%v", err)
		return
	}
	host := row.Host
	if given := o.Hosts[row.ID]; given != "" {
		host = given
	}
	for i := range n.Listeners {
		l := &n.Listeners[i]
		at := slices.IndexFunc(desired.Endpoints, func(e config.Endpoint) bool { return e.Name == l.Name })
		e := desired.Endpoints[at]
		l.Brokers = append(l.Brokers, Broker{
			ID: row.ID, Zone: row.Zone, Host: host, AdvertisedHost: e.AdvertisedHost, Port: e.AdvertisedPort,
			BindHost: e.BindHost,
		})
	}
}

// names are those of a manifest's listeners, for a message.
func names(m *config.Manifest) string {
	var all []string
	for _, l := range m.Listeners {
		all = append(all, l.Name)
	}
	if len(all) == 0 {
		return "one of its listeners, and it has none"
	}
	return strings.Join(all, ", ")
}

// faults collects what is wrong, so all is said at once.
type faults struct {
	origin config.Origin
	list   config.Faults
}

// file is a fault of the manifest as a whole, or of an option.
func (f *faults) file(format string, args ...any) {
	f.list = append(f.list, config.Fault{File: f.origin.File, Text: fmt.Sprintf(format, args...)})
}

// at is a fault at a place of the manifest, as in config.Origin.Lines; path is how the place is called.
func (f *faults) at(place, path, format string, args ...any) {
	f.list = append(f.list, config.Fault{
		File: f.origin.File, Line: f.origin.Lines[place], Path: path, Text: fmt.Sprintf(format, args...),
	})
}

func (f *faults) err() error {
	if len(f.list) == 0 {
		return nil
	}
	return f.list
}
