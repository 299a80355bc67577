package report

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"example.com/kpls-agent/internal/restart"
)

// Facts is what is known of a cluster at one instant.
type Facts struct {
	At   time.Time
	View *restart.View // never nil
	// Manifest is this VM's manifest; nil where it has none, or it cannot be read by who asks.
	Manifest *Manifest
	// Brokers are those that the cluster names as alive, ascending; nil where it was not asked or did not answer.
	Brokers []int32
	// NoTopic is true where the coordination topic is not there: then no agent can have reported.
	NoTopic bool
}

// Manifest is what matters of a manifest here.
type Manifest struct {
	Hash  string
	Zones map[int32]string // every broker of the table
	// Optional are those of them that nobody waits for while they are not alive.
	Optional []int32
	// Table is true where the table lists all brokers there are meant to be.
	Table     bool
	Listeners []string
	// Absent are the listeners that it removes.
	Absent         []string
	MaxUnavailable int
	Soak           time.Duration
}

// Report is the whole cluster as `kpls-agent status` shows it. As JSON it only ever gets more fields.
type Report struct {
	At       time.Time        `json:"at"`
	Cluster  string           `json:"cluster,omitempty"`
	Manifest string           `json:"manifest,omitempty"` // the hash, where all agents have the same
	State    string           `json:"state"`              // of the roll-out: idle, rolling, waiting, paused, halted, unreadable
	Worst    Worst            `json:"worst"`              // of all brokers and agents
	Done     int              `json:"done"`               // brokers that need nothing any more
	Total    int              `json:"total"`
	Left     *Forecast        `json:"left,omitempty"` // only while a roll-out goes on
	Pause    *restart.Pause   `json:"pause,omitempty"`
	Halts    []restart.Halt   `json:"halts,omitempty"`
	Request  *restart.Request `json:"restart_request,omitempty"`
	Claims   []Claim          `json:"claims,omitempty"`
	Active   []string         `json:"active_listeners,omitempty"`
	Foreign  []string         `json:"unreadable_records,omitempty"`
	Ignored  []string         `json:"ignored_records,omitempty"`
	Brokers  []Broker         `json:"brokers"`
	// Unheard are the brokers of the manifest and of the cluster whose agent has never reported.
	Unheard []Unheard `json:"without_agent,omitempty"`
	// Awaited are optional brokers of the manifest that are not alive. Nothing else in the report is about them.
	Awaited []int32 `json:"optional_not_there,omitempty"`

	noTopic bool
}

// Claim is a broker's place in the queue.
type Claim struct {
	Broker int32     `json:"broker"`
	At     time.Time `json:"at"`
}

// Broker is what the agent of a broker reported last, and whether it can still be believed.
type Broker struct {
	restart.Status
	Seen time.Time `json:"seen"`
	// Silent is true where the other agents do not count on this one any more.
	Silent bool `json:"silent"`
	// State is the agent's own.
	State AgentState `json:"agent_state"`
	// Registered is whether the cluster names the broker as alive; nil where that is not known.
	Registered *bool `json:"registered,omitempty"`
	// Probes are the listeners of this broker.
	Probes []Probe `json:"probes,omitempty"`
}

// Unheard is a broker whose agent has never reported.
type Unheard struct {
	Broker     int32  `json:"broker"`
	Zone       string `json:"zone,omitempty"`
	Registered *bool  `json:"registered,omitempty"`
	// NotInManifest is true for a broker of the cluster that the manifest's table lacks.
	NotInManifest bool `json:"not_in_manifest,omitempty"`
}

// AgentState is what is known of an agent process.
type AgentState string

// The states of an agent.
const (
	Runs    AgentState = "runs"
	Stopped AgentState = "stopped" // its last record says so
	Silent  AgentState = "silent"  // a heartbeat is missing
)

// restarting is for how long a stopped agent is taken for one that is being restarted: an upgrade does that.
const restarting = 30 * time.Second

// awaited are the optional brokers that the cluster does not name. One that never said anything is among them also
// where the cluster cannot be asked.
func awaited(f Facts) []int32 {
	var ids []int32
	if f.Manifest == nil {
		return nil
	}
	for _, id := range f.Manifest.Optional {
		_, heard := f.View.Statuses[id]
		if f.Brokers != nil && !slices.Contains(f.Brokers, id) || f.Brokers == nil && !heard {
			ids = append(ids, id)
		}
	}
	return ids
}

// New makes the report of some facts.
func New(f Facts) Report {
	v := f.View
	r := Report{
		At: f.At, Pause: v.Pause, Request: v.Request(), Brokers: []Broker{}, Active: slices.Sorted(maps.Keys(v.Active)),
		Foreign: slices.Sorted(maps.Values(v.Foreign)), Ignored: slices.Sorted(maps.Values(v.Ignored)),
		noTopic: f.NoTopic, Awaited: awaited(f),
	}
	if v.Clock.After(r.At) {
		r.At = v.Clock // this VM's clock is behind that of the log's leader
	}
	hashes := map[string]bool{}
	for _, id := range slices.Sorted(maps.Keys(v.Statuses)) {
		st := v.Statuses[id]
		if slices.Contains(r.Awaited, id) {
			continue
		}
		r.Brokers = append(r.Brokers, r.broker(f, st))
		hashes[st.Manifest] = true
		r.Cluster = cmp.Or(r.Cluster, st.Cluster)
	}
	if len(hashes) == 1 {
		r.Manifest = slices.Collect(maps.Keys(hashes))[0]
	}
	for _, key := range slices.Sorted(maps.Keys(v.Halts)) {
		if h := v.Halts[key]; hashes[h.Manifest] {
			r.Halts = append(r.Halts, h)
		}
	}
	for _, c := range v.Claims {
		r.Claims = append(r.Claims, Claim{c.Broker, c.At})
	}
	r.unheard(f)
	r.probes(f.Manifest)
	r.State = r.state()
	r.Worst = r.worst()
	r.count(f)
	r.Left = r.forecast(f)
	return r
}

func (r *Report) broker(f Facts, st restart.Status) Broker {
	heartbeat := restart.Heartbeat(len(f.View.Statuses))
	b := Broker{
		Status: st, Seen: st.Seen, Silent: r.At.Sub(st.Seen) > 4*heartbeat, State: Runs,
		Registered: registered(f, st.Broker),
	}
	switch {
	case st.Ended:
		b.State = Stopped
	case r.At.Sub(st.Seen) > 2*heartbeat:
		b.State = Silent
	}
	return b
}

// unheard finds the brokers whose agent has never reported.
func (r *Report) unheard(f Facts) {
	zones, table := map[int32]string{}, false
	if m := f.Manifest; m != nil {
		zones, table = m.Zones, m.Table
	}
	ids := slices.AppendSeq(slices.Clone(f.Brokers), maps.Keys(zones))
	slices.Sort(ids)
	for _, id := range slices.Compact(ids) {
		if _, heard := f.View.Statuses[id]; heard || slices.Contains(r.Awaited, id) {
			continue
		}
		_, listed := zones[id]
		r.Unheard = append(r.Unheard, Unheard{id, zones[id], registered(f, id), table && !listed})
	}
}

func registered(f Facts, id int32) *bool {
	if f.Brokers == nil {
		return nil
	}
	is := slices.Contains(f.Brokers, id)
	return &is
}

// state is that of the roll-out.
func (r *Report) state() string {
	busy := slices.ContainsFunc(r.Brokers, Broker.busy)
	switch {
	case len(r.Foreign) > 0:
		return "unreadable"
	case r.Pause != nil:
		return "paused"
	case len(r.Halts) > 0 && !busy:
		return "halted"
	case busy:
		return "rolling"
	case len(r.Claims) > 0 || slices.ContainsFunc(r.Brokers, func(b Broker) bool { return b.Drift }):
		return "waiting"
	default:
		return "idle"
	}
}

// busy is true for a broker to which something is being done.
func (b Broker) busy() bool {
	switch b.Phase {
	case restart.PhaseApplying, restart.PhaseRestarting, restart.PhaseStarting, restart.PhaseCatchingUp,
		restart.PhaseBalancer, restart.PhaseSoaking, restart.PhaseRollback:
		return true
	default:
		return false
	}
}

// gone is true for an agent that is not there, and not only for the moment of a restart.
func (b Broker) gone(at time.Time) bool {
	return b.State == Silent || b.State == Stopped && at.Sub(b.Seen) > restarting
}

// down is true for a broker that the cluster does not name, and to which its agent is doing nothing.
func (b Broker) down() bool {
	return b.Registered != nil && !*b.Registered && !b.busy()
}

// done is true for a broker that needs nothing any more.
func (b Broker) done(manifest string) bool {
	return b.Phase == restart.PhaseIdle && !b.Drift && b.Up && !b.down() && b.Manifest == manifest &&
		b.ManifestFault == ""
}

// count counts the brokers, and those that are done. Where the agents have different manifests, that of this VM counts,
// or else the one that most have.
func (r *Report) count(f Facts) {
	r.Total = len(r.Brokers) + len(r.Unheard)
	manifest := r.target(f.Manifest)
	for _, b := range r.Brokers {
		if b.done(manifest) && (r.Request == nil || b.Target == manifest+"+"+r.Request.ID) {
			r.Done++
		}
	}
}

func (r *Report) target(m *Manifest) string {
	if r.Manifest != "" || m == nil {
		return cmp.Or(r.Manifest, r.usual())
	}
	return m.Hash
}

// usual is the manifest that most agents have.
func (r *Report) usual() string {
	n := map[string]int{}
	for _, b := range r.Brokers {
		n[b.Manifest]++
	}
	most := ""
	for _, hash := range slices.Sorted(maps.Keys(n)) {
		if most == "" || n[hash] > n[most] {
			most = hash
		}
	}
	return most
}
