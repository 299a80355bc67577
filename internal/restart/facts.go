package restart

import (
	"maps"
	"time"
)

// Facts is everything an agent knows at one instant. The shell gathers it,
// Machine.Decide decides on it. A zero At means "never seen".
type Facts struct {
	Now time.Time
	// Nonce differs from that of every claim that this broker has appended.
	Nonce    string
	Manifest ManifestFacts
	Unit     UnitFacts
	Right    RightFacts
	Running  RunningFacts
	Log      LogFacts
	Cluster  ClusterFacts
	Probes   map[string]ProbeFacts // by managed listener
	// Journal is the local record as it is on disk.
	Journal Journal
	// LastGood is true when server.properties on disk is the last good copy.
	LastGood bool
	// Failed has the last failure of each kind of action, until one of that kind succeeds: two
	// kinds that fail in turn must not hide each other.
	Failed map[ActionKind]ActionError
}

// ActionError is an action that failed.
type ActionError struct {
	Err string
	At  time.Time
	// Count is how often in a row.
	Count int
}

// Done notes how an action went. It returns how often in a row this kind has failed now.
func (f *Facts) Done(kind ActionKind, err error, now time.Time) int {
	e, failed := f.Failed[kind]
	if err == nil && !failed {
		return 0
	}
	f.Failed = maps.Clone(f.Failed) // facts are copied by assignment
	if err == nil {
		delete(f.Failed, kind)
		return 0
	}
	if f.Failed == nil {
		f.Failed = map[ActionKind]ActionError{}
	}
	e = ActionError{Err: err.Error(), At: now, Count: e.Count + 1}
	f.Failed[kind] = e
	return e.Count
}

// ManifestFacts is the manifest in force, as far as a roll-out cares.
type ManifestFacts struct {
	// Hash is empty while no manifest was ever accepted.
	Hash    string
	Cluster string
	// Fault is why the manifest file is not in force (the last good one is, if there ever was one), for people.
	Fault string
	// NoFile is true where there is no manifest file, and never was a manifest in force: nothing is wrong yet.
	NoFile bool
	// Refusal is why the manifest in force cannot be applied to this broker: validation, a file that cannot be edited,
	// Kafka's own judgement of the new file; or that this judgement is still to come (CodeJudging).
	Refusal *Reason
	// Listeners is what this broker must serve: listener name -> fingerprint.
	Listeners map[string]string
	// Absent lists listeners that must not be served.
	Absent []string
	// FileChanges is true when server.properties on disk differs from what the manifest asks for.
	FileChanges bool
	// HiddenChanges is true when a value differs that DescribeConfigs does not
	// show (passwords): then only the file can tell that a restart is due.
	HiddenChanges bool
	// Zones maps every broker of the manifest's table to its zone.
	Zones map[int32]string
	// Optional are brokers of Zones, ascending, that nobody waits for while they are not among ClusterFacts.Brokers.
	Optional []int32
	// Level is the level of manifests that an agent has to read to take this one, and LevelField the field that needs
	// it.
	Level      int
	LevelField string
	// Table is true when Zones lists all brokers there are meant to be.
	Table             bool
	MaxUnavailable    int
	Soak              time.Duration
	RefuseUnprotected bool
	// Probes needed by the load balancer to take a broker back.
	HealthyThreshold int
	// Close lists the listeners whose probes close for a restart; Drain is the longest drain of them.
	Close []string
	Drain time.Duration

	// Pending are the properties of server.properties that somebody else changed and that the
	// process was not started with: a restart brings them too. PendingPolicy says what follows.
	Pending       []PendingEdit
	PendingPolicy PendingPolicy
	// Drops are dynamic settings that Kafka would refuse at its next start with the file as it is.
	Drops []DynamicDrop
}

// PendingPolicy is rollout.pending_edits of the manifest.
type PendingPolicy string

// What is done about other people's edits that a restart would bring.
const (
	PendingRefuseInvalid PendingPolicy = "refuse_invalid" // the default: only what Kafka would refuse blocks
	PendingRefuse        PendingPolicy = "refuse"         // any pending edit blocks
	PendingProceed       PendingPolicy = "proceed"        // none blocks
)

// PendingEdit is one property that differs between server.properties and the process.
// Values that Kafka does not tell (passwords) are no pending edits: they cannot be compared.
type PendingEdit struct {
	Name    string `json:"name"`
	Running string `json:"running"` // what the process was started with; empty: without the property
	File    string `json:"file"`    // what the file says now; empty: the line is gone
	// Invalid is why Kafka would refuse the value at its start; empty where it would not, or
	// where that is not known.
	Invalid string `json:"invalid,omitempty"`
	// Override is true where File is not a line of the file: the next start takes it from --override
	// on the broker's command line.
	Override bool `json:"override,omitempty"`
}

// DynamicDrop is a dynamic thread count that Kafka refuses at its next start, and with it every
// dynamic setting of the same level (KAFKA-20890): it accepts at most twice and at least half of
// the value in server.properties.
type DynamicDrop struct {
	Name    string `json:"name"`
	Level   string `json:"level"`   // "broker" or "default", as in kafka-configs
	Dynamic string `json:"dynamic"` // the dynamic value
	File    string `json:"file"`    // the value in the file, or Kafka's default
	// Fix is the line to put into server.properties.
	Fix string `json:"fix"`
}

// Dropped is a dynamic setting that the process does not have in force: it refused the settings
// of that level at its start.
type Dropped struct {
	Name    string `json:"name"`
	Level   string `json:"level"` // "broker" or "default"
	Dynamic string `json:"dynamic"`
	InForce string `json:"in_force"`
}

// LogDir is one log directory of the own broker.
type LogDir struct {
	Path string `json:"path"`
	// Free and Total are bytes; -1 where they are not known (Kafka before 3.3, KIP-827).
	Free  int64 `json:"free"`
	Total int64 `json:"total"`
	// Fault is why the broker must not be restarted with this directory, with numbers; empty for none.
	Fault string `json:"fault,omitempty"`
	// Unseen is what could not be looked at and why; empty where all could.
	Unseen string `json:"unseen,omitempty"`
}

// UnitState is what the service manager says of the broker's process.
type UnitState string

// The states of a unit.
const (
	UnitUnknown  UnitState = "unknown"  // cannot be asked
	UnitRunning  UnitState = "running"  // a process runs
	UnitStarting UnitState = "starting" // the service manager is starting it, or will restart it
	UnitStopping UnitState = "stopping"
	UnitStopped  UnitState = "stopped" // somebody stopped it, or nobody started it
	UnitFailed   UnitState = "failed"  // it ended by itself
)

// UnitFacts is the broker's process as the service manager sees it.
type UnitFacts struct {
	At    time.Time
	State UnitState
	// Invocation differs for each start of the process.
	Invocation string
	// Restarts counts the service manager's own restarts of a process that ended,
	// since somebody last asked for a start (systemd's NRestarts).
	Restarts int
	// Queued is true for a unit that is down and that the service manager has a job for: its start,
	// at once (between the stop and the start of a restart), or once this agent is ready (at boot).
	Queued bool
	// Ambiguous is true where UnitStopped may also mean that the process ended by
	// itself, because no service manager keeps the difference.
	Ambiguous bool
	// StartFailures counts those of Restarts in which the broker's own process never
	// ran: an ExecStartPre= failed, for example.
	StartFailures int
	// Hazard is what a stop or start of the unit would do beyond its own process, such as
	// ending another Kafka process or removing data, with the line to change; empty for nothing known.
	Hazard string
	// Detail is the service manager's own words, for people.
	Detail string
}

// RightFacts is whether the service manager would let this agent restart the unit.
type RightFacts struct {
	At time.Time
	// Denied is why it would not, and what to do; empty if it would, or where nobody can be asked.
	Denied string
}

// RunningFacts is the configuration of the broker's process, from its own memory.
type RunningFacts struct {
	At  time.Time
	Err string // why the last question got no answer
	// NobodyListens is when the last question was refused its connection: the process has not opened its port.
	// Zero where anything else came of it: a process that says nothing may have replicas that others need.
	NobodyListens time.Time
	// Listeners is every listener the process runs: name -> fingerprint.
	Listeners map[string]string
	// PortTaken is why the process could not have a port that the manifest gives it and that it does not
	// have yet; empty where it could, and where that cannot be seen.
	PortTaken string
	// Dynamic names managed properties that a dynamic configuration overrides.
	Dynamic []string
	// Dropped lists dynamic settings that are not in force.
	Dropped []Dropped
	// LogDirs are the broker's log directories; LogDirsErr is why they are not known.
	LogDirs    []LogDir
	LogDirsErr string
}

// LogFacts is the coordination log as this agent has read it.
type LogFacts struct {
	// At is an instant for which holds: the view has everything that was
	// appended before it. Zero until the log was read to its end once.
	At   time.Time
	Err  string // why it cannot be read or written now
	View *View  // never nil
	// Missing is true where the topic is not there, and nobody has needed it yet: no fault.
	Missing bool
}

// ClusterFacts is what several brokers answered about the cluster.
type ClusterFacts struct {
	// At is when the questions were sent, Took how long the answers took.
	At    time.Time
	Took  time.Duration
	Err   string
	Views []BrokerView
	// NoAnswer lists brokers that are said to be alive, were asked for their view and
	// did not give it: one that was killed is missed by the others only after some
	// seconds (broker.session.timeout.ms, 9 s).
	NoAnswer []int32
	// NobodyListens lists the brokers whose port refused a connection, ascending. It is tried only where no broker
	// answered: then a broker that is not listed here may be up, and out of reach for this agent alone.
	NobodyListens []int32
	// Quorum is nil where it could not be learnt; QuorumErr says why.
	Quorum    *Quorum
	QuorumErr string
	// MinISR maps a topic to its effective min.insync.replicas; it has every topic of every view.
	MinISR map[string]int
	// StrictISR has the topics without a value of their own for which some level of the cluster
	// (a broker's file, a dynamic setting, in force or not) asks for more than MinISR: that number.
	StrictISR map[string]int
	// Brokers is every broker known to exist, ascending: alive, or hosting a replica.
	Brokers []int32
}

// BrokerView is the cluster as one broker sees it.
type BrokerView struct {
	Broker int32
	Alive  []int32 // registered and not fenced, ascending
	// Controller is the active controller in ZooKeeper mode, -1 for none. In KRaft
	// brokers name anyone here, and the quorum tells.
	Controller int32
	Topics     []Topic
}

// Topic and Partition are packed for clusters with hundreds of thousands of partitions.
type Topic struct {
	Name       string
	Partitions []Partition
}

// Partition is one partition of a topic; Leader is -1 where there is none.
type Partition struct {
	ID       int32
	Leader   int32
	Replicas []int32
	ISR      []int32
}

// Quorum is who controls the cluster: the KRaft quorum as the active controller
// describes it, or the one controller of a cluster in ZooKeeper mode.
type Quorum struct {
	// Leader is the active controller; -1: there is none, or the brokers name
	// different ones (ZooKeeper mode).
	Leader int32
	// Voters with how far each is behind the leader in time; a voter that has
	// not been caught up within controller.quorum.fetch.timeout.ms is not healthy.
	// In ZooKeeper mode there are none: any broker can become the controller.
	Voters    []Voter
	ZooKeeper bool
}

// Voter is one voter of the quorum.
type Voter struct {
	ID int32
	// Behind is leader's last caught-up time minus this voter's; negative when unknown.
	Behind time.Duration
}

// ProbeFacts is one managed listener as the probe judges it.
type ProbeFacts struct {
	// At is when the last judgement was made.
	At      time.Time
	Serving bool
	Why     string // why not
	Open    bool
	// Balancer is true when probes arrived in the minute before the port was last closed
	// or held through a restart, so a load balancer is known to watch this port.
	Balancer bool
	// Answered counts the probes answered since the port was last opened, or since
	// the listener was last found serving where the port was held all the time.
	Answered int
	// Gap is true if the port was closed at any time since the restart of the broker began.
	Gap bool
}
