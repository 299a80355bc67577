package config

import "time"

// ManifestLevel is the newest level of manifests that this build reads. An agent refuses a manifest with a field that
// it does not know, so each field that is added gets the next level (Field.Level), and agents tell each other theirs.
const ManifestLevel = 2

// Manifest is the desired state of the whole cluster: one YAML file, the same
// bytes on every broker VM. A value of this type has passed ParseManifest, so
// that every rule that one file alone can break holds for it.
type Manifest struct {
	// Cluster names the cluster; an agent never accepts a manifest with
	// another name than the one it accepted first.
	Cluster string
	// Listeners are the managed listeners in the order of the file. Names are upper case.
	Listeners []Listener
	// Brokers are the brokers of the table `brokers`, by ascending id.
	Brokers []Broker
	// Absent names listeners that are to be removed wherever they still are.
	Absent []string
	// BrokerProperties are properties of the whole broker, of a closed list.
	BrokerProperties map[string]string
	// Rollout says how the cluster may be restarted.
	Rollout Rollout
	// LoadBalancer says what the load balancer asks of a broker that comes back.
	LoadBalancer LoadBalancer
	// Origin is where the file has its listeners.
	Origin Origin
	// Level is what an agent's ManifestLevel has to be at least to read the file, and LevelField the first field that
	// needs that; empty where it is 0.
	Level      int
	LevelField string
	// Hash is the SHA-256 of the file's bytes in hexadecimal. Agents agree on it.
	Hash string
}

// Listener is one managed listener as the manifest writes it.
type Listener struct {
	// Name is the Kafka listener name, upper case.
	Name string
	// BindHost is an address, empty for all, or "<host>" for the broker's own `host`.
	BindHost string
	// BindPort is the port Kafka binds, 1-65535.
	BindPort int
	// SecurityProtocol is PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL.
	SecurityProtocol string
	// Advertised is the pattern with <broker_id> and <port>, as the console of
	// the cloud service prints it. With a Bootstrap, this and the next two are
	// those of the listener that it is of.
	Advertised string
	// AdvertisedByZone replaces Advertised for the brokers of a zone (AWS puts
	// the availability zone id into the name).
	AdvertisedByZone map[string]string
	// PortBase plus the broker id is the advertised port of a broker that the
	// table gives none; 0 means the table must give one.
	PortBase int
	// Bootstrap is set if a port of the load balancer leads to this listener of all brokers.
	Bootstrap Bootstrap
	// ProbePort is the TCP port the agent answers the load balancer's probe on, 1-65535.
	ProbePort int
	// Properties are written as listener.name.<name>.<key>.
	Properties map[string]string
	// DuringRestart is "hold" or "close".
	DuringRestart string
	// HoldLimit bounds how long a held probe stays open through a planned restart.
	HoldLimit time.Duration
	// Drain is how long a closed probe is left closed before the broker is stopped.
	Drain time.Duration
}

// Broker is one row of the manifest's table.
type Broker struct {
	ID int32
	// Zone groups brokers that may be restarted together; empty is a zone of its own for each broker.
	Zone string
	// Host stands for <host> in a bind address; the probe then binds there too.
	Host string
	// Ports are the advertised ports by listener name.
	Ports map[string]int
	// Optional is true for `presence: optional`: nobody waits for the broker while the cluster does not have it.
	Optional bool
}

// Rollout is the manifest's `rollout`.
type Rollout struct {
	// MaxUnavailable brokers may be down at the same time, 1 or more.
	MaxUnavailable int
	// Soak is how long a restarted broker stays continuously healthy before the next may go. 0 is none.
	Soak time.Duration
	// RefuseUnprotected is true for `unprotected_topics: refuse`: a topic that no
	// roll-out can protect (replicas <= min.insync.replicas) blocks the roll-out.
	RefuseUnprotected bool
	// PendingEdits is "refuse_invalid", "refuse" or "proceed": what follows from edits of
	// others in server.properties that a restart would bring.
	PendingEdits string
}

// LoadBalancer is the manifest's `load_balancer`.
type LoadBalancer struct {
	// HealthyThreshold probes in a row bring a broker back.
	HealthyThreshold int
	// Interval is the time between two probes.
	Interval time.Duration
}

// Desired is what a manifest asks of one broker.
type Desired struct {
	Endpoints []Endpoint
	Absent    []string
	// BrokerProperties are Manifest.BrokerProperties.
	BrokerProperties map[string]string
}

// Endpoint is one managed listener of one broker, with every pattern resolved.
type Endpoint struct {
	Name             string
	BindHost         string // as it is written in `listeners`; empty binds all addresses
	BindPort         int
	AdvertisedHost   string
	AdvertisedPort   int
	SecurityProtocol string
	Properties       map[string]string // key without the listener.name.<name>. prefix

	ProbeHost     string // address the probe binds; empty is all
	ProbePort     int
	DuringRestart string
	HoldLimit     time.Duration
	Drain         time.Duration
}
