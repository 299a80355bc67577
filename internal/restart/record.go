package restart

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// RecordVersion is the major version of the records this agent writes. Records
// of another major version make it stand still, since agents are upgraded one
// by one and an older one cannot know what a newer one promised.
const RecordVersion = 1

// Record is one record of the coordination log. A nil Value deletes the key.
type Record struct {
	Key   string
	Value []byte
	// Offset and Time (the leader's clock, LogAppendTime) are set on records
	// that were read. Time is shown to people and used to notice silence; it never orders.
	Offset int64
	Time   time.Time
}

// Key prefixes. A claim has a key of its own and is written once and then only
// ever deleted, so compaction, which keeps the last record of a key at
// its own offset, can never change the order of the queue.
const (
	keyStatus  = "status/"  // status/<broker id>
	keyClaim   = "claim/"   // claim/<broker id>/<nonce>
	keyHalt    = "halt/"    // halt/<manifest hash>
	keyActive  = "active/"  // active/<listener>
	keyPause   = "pause"    //
	keyRequest = "restart/" // restart/<request id>
	keyGuard   = "takeover" // takeover: who removed whose claim, for people
)

// Phase says what an agent is doing, in one word.
type Phase string

// The phases of an agent.
const (
	PhaseUnknown    Phase = "unknown"      // has not seen enough yet
	PhaseIdle       Phase = "idle"         // the process runs what the manifest says
	PhaseUnmanaged  Phase = "unmanaged"    // no manifest
	PhaseRefused    Phase = "refused"      // the manifest cannot be applied to this broker
	PhaseWaiting    Phase = "waiting"      // drift, and something must happen first
	PhaseClaimed    Phase = "claimed"      // first in the queue, gates not passed yet
	PhaseApplying   Phase = "applying"     // writing the file, closing or holding probes
	PhaseRestarting Phase = "restarting"   // the unit is being restarted
	PhaseStarting   Phase = "starting"     // the process runs and does not serve yet
	PhaseCatchingUp Phase = "catching_up"  // serves, some replicas are not in sync
	PhaseBalancer   Phase = "balancer"     // waits until the load balancer's probes have found it
	PhaseSoaking    Phase = "soaking"      // healthy, and must stay so
	PhaseRollback   Phase = "rolling_back" // puts the last good file back
	PhaseFailed     Phase = "failed"       // rolled back and serving, or in need of a person
	PhaseStopped    Phase = "stopped"      // somebody stopped the broker
)

// underWay is true if an agent that holds a claim may have begun with its restart.
func (p Phase) underWay() bool {
	switch p {
	case PhaseUnknown, PhaseIdle, PhaseUnmanaged, PhaseRefused, PhaseWaiting, PhaseClaimed:
		return false
	default:
		return true
	}
}

// Status is what one agent tells the others and the operator.
type Status struct {
	Version  int       `json:"version"`
	Broker   int32     `json:"broker"`
	Cluster  string    `json:"cluster,omitempty"`
	Manifest string    `json:"manifest,omitempty"` // hash of the manifest in force
	Target   string    `json:"target,omitempty"`   // manifest hash, and with a request for a rolling restart "+" and its id
	Phase    Phase     `json:"phase"`
	Since    time.Time `json:"since"`
	Reason   Reason    `json:"reason"`
	// Up is true while the broker's process runs.
	Up bool `json:"up"`
	// Drift is true while the process does not run what Target asks for.
	Drift bool `json:"drift"`
	// Passed is the target this broker was restarted for without anything odd.
	Passed string `json:"passed,omitempty"`
	// Failed is the hash of the manifest that failed here, until its halt is in the log. The log can refuse the halt
	// and take the next status, so the status says it, too. Agents of earlier builds wait for the halt alone.
	Failed string `json:"failed,omitempty"`
	// Unproven is true while the process may have been started on a server.properties that none has proved: nobody
	// follows before it has proved itself or has been restarted. Agents of earlier builds do not wait for that.
	Unproven bool `json:"unproven,omitempty"`
	// Serving lists the managed listeners the process serves, as the probe judges.
	Serving []string `json:"serving,omitempty"`
	// Open lists the probe ports that are open.
	Open []string `json:"open,omitempty"`
	// Invocation identifies the running process (systemd's invocation id).
	Invocation string `json:"invocation,omitempty"`
	Zone       string `json:"zone,omitempty"`
	Agent      string `json:"agent,omitempty"` // agent version
	// Level is the newest level of manifests that the agent reads. Agents of earlier builds do not tell it: it is 0.
	Level int `json:"manifest_level,omitempty"`
	// ManifestFault is why the manifest file is not in force; empty where there is none yet.
	ManifestFault string `json:"manifest_fault,omitempty"`
	// Unprotected lists topics that no roll-out can protect, at most 10.
	Unprotected []string `json:"unprotected,omitempty"`
	// Storage is the first fault of the broker's log directories.
	Storage string `json:"storage,omitempty"`
	// Ended is true in the last record of an agent process that was asked to end. It is no sign of life. Agents of
	// earlier builds do not read it: they take the record for a heartbeat, and miss the next one.
	Ended bool `json:"ended,omitempty"`
	// Took is how many seconds this broker's last restart took, from its beginning to its end, proof included; 0 where
	// the agent has not seen both. Only people are told.
	Took float64 `json:"restart_seconds,omitempty"`

	// Seen is when the record was appended; it is not part of the record.
	Seen time.Time `json:"-"`
}

// Claim is a broker's place in the queue.
type Claim struct {
	Version int       `json:"version"`
	Broker  int32     `json:"broker"`
	Zone    string    `json:"zone,omitempty"`
	Target  string    `json:"target"`
	At      time.Time `json:"at"`

	Key    string `json:"-"`
	Offset int64  `json:"-"`
}

// Halt stops every roll-out of one manifest, also one that only restarts.
type Halt struct {
	Version  int       `json:"version"`
	Broker   int32     `json:"broker"`
	Manifest string    `json:"manifest"` // its hash
	Why      string    `json:"why"`
	Cause    Cause     `json:"cause,omitempty"`
	At       time.Time `json:"at"`
}

// Cause says what kind of failure a halt is for.
type Cause string

// The causes of a halt.
const (
	CauseManifest Cause = ""         // a process did not work with the server.properties of the manifest
	CauseBroker   Cause = "broker"   // a process did not come back, and the restart had changed nothing
	CauseEdits    Cause = "edits"    // the same with edits of server.properties that are not the manifest's
	CauseRequest  Cause = "request"  // a rolling restart was asked for, and what the process ran before was not known
	CauseSettings Cause = "settings" // a process serves, and Kafka has dropped dynamic settings at its start
)

// Pause stops every roll-out until it is taken back.
type Pause struct {
	Version int       `json:"version"`
	By      string    `json:"by"`
	Why     string    `json:"why,omitempty"`
	At      time.Time `json:"at"`
}

// Request asks for a rolling restart without a change of configuration.
type Request struct {
	Version int       `json:"version"`
	ID      string    `json:"id"`
	By      string    `json:"by"`
	At      time.Time `json:"at"`
}

// View is the coordination log folded into what it says now.
type View struct {
	Claims   []Claim // live, in offset order
	Statuses map[int32]Status
	Halts    map[string]Halt // by manifest hash
	Active   map[string]bool // listeners whose probes are open on all brokers
	Pause    *Pause
	// Requests are those for a rolling restart that are not done, in offset order.
	Requests []Request
	// Foreign describes records that this version cannot read; while there is
	// one the agent stands still.
	Foreign map[string]string
	// Ignored describes records under keys that this build does not know and that stop nobody (see unknown).
	Ignored map[string]string
	// Clock is the time of the last folded record: the leader's clock.
	Clock time.Time
	// Next is the offset after the last folded record.
	Next int64
}

// NewView returns the view of an empty log.
func NewView() *View {
	return &View{
		Statuses: map[int32]Status{},
		Halts:    map[string]Halt{},
		Active:   map[string]bool{},
		Foreign:  map[string]string{},
		Ignored:  map[string]string{},
	}
}

// Clone returns a copy that shares nothing with v.
func (v *View) Clone() *View {
	c := NewView()
	c.Next, c.Clock, c.Pause = v.Next, v.Clock, v.Pause
	c.Claims, c.Requests = slices.Clone(v.Claims), slices.Clone(v.Requests)
	maps.Copy(c.Statuses, v.Statuses)
	maps.Copy(c.Halts, v.Halts)
	maps.Copy(c.Active, v.Active)
	maps.Copy(c.Foreign, v.Foreign)
	maps.Copy(c.Ignored, v.Ignored)
	return c
}

// Fold applies one record that was read from the log, in offset order. A
// record under a known key that cannot be read is kept in Foreign until its key
// is deleted or rewritten: ignorance is a veto.
func (v *View) Fold(r Record) {
	v.Next = r.Offset + 1
	v.SetClock(r.Time)
	delete(v.Foreign, r.Key)
	delete(v.Ignored, r.Key)
	if k, rest := kindOf(r.Key); k != nil {
		k.fold(v, r, rest)
		return
	}
	if r.Value != nil {
		v.unknown(r)
	}
}

// SetClock sets the leader's clock. Where it goes back, because it was corrected or another broker leads, no status can
// have been seen later than now: else the silence of its agent would begin only when the clock is there again, which
// may be hours later. The map of statuses is replaced then, not changed: other views may share it.
func (v *View) SetClock(now time.Time) {
	if now.Before(v.Clock) {
		v.Statuses = maps.Clone(v.Statuses)
		for id, st := range v.Statuses {
			if st.Seen.After(now) {
				st.Seen = now
				v.Statuses[id] = st
			}
		}
	}
	v.Clock = now
}

// With returns a view with one more record. v stays as it is. The two share what the record does not change, so
// neither must be folded into from then on.
func (v *View) With(r Record) *View {
	c := *v
	c.Foreign, c.Ignored = cloned(v.Foreign), cloned(v.Ignored)
	if k, _ := kindOf(r.Key); k != nil {
		k.own(&c)
	}
	c.Fold(r)
	return &c
}

// cloned copies a map that is to be changed. For an empty one it makes a new map.
func cloned[K comparable, V any](m map[K]V) map[K]V {
	if len(m) == 0 {
		return map[K]V{}
	}
	return maps.Clone(m)
}

// kind is one kind of record. rest is what follows the prefix of its key; whole is a key without any.
type kind struct {
	prefix string
	whole  bool
	fold   func(v *View, r Record, rest string)
	// own makes what fold changes a copy, where v shares it with another view.
	own func(v *View)
}

// kinds are the kinds of records, by their keys.
var kinds = []kind{
	{keyStatus, false, (*View).foldStatus, func(v *View) { v.Statuses = cloned(v.Statuses) }},
	{keyClaim, false, (*View).foldClaim, func(v *View) { v.Claims = slices.Clone(v.Claims) }},
	{keyHalt, false, (*View).foldHalt, func(v *View) { v.Halts = cloned(v.Halts) }},
	{keyActive, false, (*View).foldActive, func(v *View) { v.Active = cloned(v.Active) }},
	{keyPause, true, (*View).foldPause, func(*View) {}},
	{keyRequest, false, (*View).foldRequest, func(v *View) { v.Requests = slices.Clone(v.Requests) }},
	{keyGuard, true, func(*View, Record, string) {}, func(*View) {}}, // a note for people; nothing is decided by it
}

// kindOf returns the kind of a key and what follows its prefix, or nil for a key that this build does not know.
func kindOf(key string) (k *kind, rest string) {
	for i := range kinds {
		k = &kinds[i]
		if rest, ok := strings.CutPrefix(key, k.prefix); ok && (!k.whole || rest == "") {
			return k, rest
		}
	}
	return nil, ""
}

func (v *View) foldStatus(r Record, rest string) {
	id, err := strconv.ParseInt(rest, 10, 32)
	if r.Value == nil {
		delete(v.Statuses, int32(id))
		return
	}
	if err != nil {
		v.foreign(r, "its key names no broker")
		return
	}
	var s Status
	if v.decode(r, &s, func() (int, bool) { return s.Version, int64(s.Broker) == id }) {
		s.Seen = r.Time
		v.Statuses[s.Broker] = s
	}
}

func (v *View) foldClaim(r Record, _ string) {
	v.Claims = slices.DeleteFunc(v.Claims, func(c Claim) bool { return c.Key == r.Key && r.Value == nil })
	if r.Value == nil || slices.ContainsFunc(v.Claims, func(c Claim) bool { return c.Key == r.Key }) {
		return // a claim is written once; a repeated append of it keeps the first place
	}
	var c Claim
	if v.decode(r, &c, func() (int, bool) {
		return c.Version, strings.HasPrefix(r.Key, fmt.Sprintf("%s%d/", keyClaim, c.Broker))
	}) {
		c.Key, c.Offset = r.Key, r.Offset
		v.Claims = append(v.Claims, c)
	}
}

func (v *View) foldHalt(r Record, manifest string) {
	if r.Value == nil {
		delete(v.Halts, manifest)
		return
	}
	var h Halt
	if v.decode(r, &h, func() (int, bool) { return h.Version, h.Manifest == manifest }) {
		v.Halts[manifest] = h
	}
}

func (v *View) foldActive(r Record, listener string) {
	if r.Value == nil {
		delete(v.Active, listener)
		return
	}
	var a struct {
		Version int `json:"version"`
	}
	if v.decode(r, &a, func() (int, bool) { return a.Version, true }) {
		v.Active[listener] = true
	}
}

func (v *View) foldPause(r Record, _ string) {
	if r.Value == nil {
		v.Pause = nil
		return
	}
	var p Pause
	if v.decode(r, &p, func() (int, bool) { return p.Version, true }) {
		v.Pause = &p
	}
}

func (v *View) foldRequest(r Record, id string) {
	v.Requests = slices.DeleteFunc(v.Requests, func(q Request) bool { return q.ID == id && r.Value == nil })
	if r.Value == nil || slices.ContainsFunc(v.Requests, func(q Request) bool { return q.ID == id }) {
		return // written once, as a claim is
	}
	var q Request
	if v.decode(r, &q, func() (int, bool) { return q.Version, q.ID == id && id != "" }) {
		v.Requests = append(v.Requests, q)
	}
}

// unknown takes note of a record under a key that this build does not know.
//
// Agents are upgraded one by one, and a key outlives a downgrade: the topic is compacted. So a later build must be
// able to add a key without stopping the agents of the build before. A record under an unknown key stops this agent
// only if its value says so: it is a JSON object whose version is above RecordVersion. Every record of every build is
// a JSON object with a version, so anything else under an unknown key was written by mistake and promises nothing.
func (v *View) unknown(r Record) {
	var said struct {
		Version float64 `json:"version"`
	}
	err := json.Unmarshal(r.Value, &said)
	switch {
	case err == nil && said.Version > RecordVersion:
		v.foreign(
			r,
			fmt.Sprintf(
				"its key is unknown to this agent, its version is %v and this agent reads version %d; upgrade this agent",
				said.Version, RecordVersion),
		)
	case err == nil && said.Version == RecordVersion:
		v.Ignored[r.Key] = fmt.Sprintf("%s is ignored: a later version of kpls-agent has written it", named(r))
	default:
		v.Ignored[r.Key] = fmt.Sprintf("%s is ignored: no version of kpls-agent writes such a record; "+
			"find out who writes to the topic and delete the key", named(r))
	}
}

func (v *View) decode(r Record, into any, check func() (version int, consistent bool)) bool {
	if err := json.Unmarshal(r.Value, into); err != nil {
		v.foreign(r, "its value is not the JSON this agent expects")
		return false
	}
	version, consistent := check()
	switch {
	case version != RecordVersion:
		v.foreign(
			r,
			fmt.Sprintf("its version is %d and this agent reads version %d; upgrade this agent", version,
				RecordVersion),
		)
	case !consistent:
		v.foreign(r, "its key and its value contradict each other")
	default:
		return true
	}
	return false
}

func (v *View) foreign(r Record, why string) {
	v.Foreign[r.Key] = fmt.Sprintf("%s cannot be read: %s", named(r), why)
}

// named names a record in a message, however long its key is.
func named(r Record) string {
	return fmt.Sprintf("record %q at offset %d", r.Key[:min(len(r.Key), 80)], r.Offset)
}

// Claim returns the live claim of a broker and its place in the queue.
func (v *View) Claim(broker int32) (c Claim, place int, ok bool) {
	for i, c := range v.Claims {
		if c.Broker == broker {
			return c, i, true
		}
	}
	return Claim{}, 0, false
}

// Request returns the rolling restart that is to be done now, or nil. The newest
// stands for those before it: who has been restarted for it has been for them.
func (v *View) Request() *Request {
	if len(v.Requests) == 0 {
		return nil
	}
	return &v.Requests[len(v.Requests)-1]
}

// EndRequests returns what ends every open request for a rolling restart: those that are done, and those that an
// operator takes back. A broker whose restart has begun finishes it; no other one begins. All builds read it so.
func (v *View) EndRequests() []Record {
	records := make([]Record, 0, len(v.Requests))
	for _, q := range v.Requests {
		records = append(records, NewRequestDone(q.ID))
	}
	return records
}

// Progress is how far the brokers have come with a request for a rolling restart, as their agents said last.
type Progress struct {
	// Done have been restarted for it, UnderWay are being restarted just now, Left have not begun. All ascending.
	Done, UnderWay, Left []int32
}

// Progress returns how far the brokers have come with a request. An agent that writes server.properties or drains
// has not begun: it stops there when the request is taken back.
func (v *View) Progress(q Request) Progress {
	var p Progress
	for _, id := range slices.Sorted(maps.Keys(v.Statuses)) {
		st := v.Statuses[id]
		_, _, held := v.Claim(id)
		switch heard := strings.HasSuffix(st.Target, "+"+q.ID); {
		case heard && held && st.Phase.underWay() && st.Phase != PhaseApplying:
			p.UnderWay = append(p.UnderWay, id)
		case heard && !st.Drift && st.Phase == PhaseIdle:
			p.Done = append(p.Done, id)
		default:
			p.Left = append(p.Left, id)
		}
	}
	return p
}

// NewStatus makes the record by which an agent tells how it is.
func NewStatus(s Status) Record {
	s.Version = RecordVersion
	type plain Status
	return encode(keyStatus+strconv.Itoa(int(s.Broker)), struct {
		*plain
		Reason wireReason `json:"reason"` // in place of the other one, which would be encoded apart and read once more
	}{(*plain)(&s), s.Reason.wire()})
}

// NewClaim makes a claim; nonce must differ between any two claims of one broker.
func NewClaim(c Claim, nonce string) Record {
	c.Version = RecordVersion
	return encode(fmt.Sprintf("%s%d/%s", keyClaim, c.Broker, nonce), c)
}

// NewRelease deletes a claim by its key.
func NewRelease(claimKey string) Record { return Record{Key: claimKey} }

// NewHalt halts a manifest.
func NewHalt(h Halt) Record {
	h.Version = RecordVersion
	return encode(keyHalt+h.Manifest, h)
}

// NewUnhalt takes the halt of a manifest back, by its hash.
func NewUnhalt(manifest string) Record { return Record{Key: keyHalt + manifest} }

// NewActive says that all brokers serve a listener, so its probes open.
func NewActive(listener string) Record {
	return encode(keyActive+listener, struct {
		Version int `json:"version"`
	}{RecordVersion})
}

// NewInactive says that a listener is being removed.
func NewInactive(listener string) Record { return Record{Key: keyActive + listener} }

// NewPause pauses all roll-outs.
func NewPause(p Pause) Record {
	p.Version = RecordVersion
	return encode(keyPause, p)
}

// NewResume takes a pause back.
func NewResume() Record { return Record{Key: keyPause} }

// NewRequest asks for a rolling restart.
func NewRequest(q Request) Record {
	q.Version = RecordVersion
	return encode(keyRequest+q.ID, q)
}

// NewRequestDone ends a rolling restart by its request's id: written late, it ends no newer one.
func NewRequestDone(id string) Record { return Record{Key: keyRequest + id} }

// NewTakeover notes for people who removed whose claim and why.
func NewTakeover(by string, c Claim, why string, at time.Time) Record {
	return encode(keyGuard, struct {
		Version int       `json:"version"`
		By      string    `json:"by"`
		Claim   string    `json:"claim"`
		Why     string    `json:"why"`
		At      time.Time `json:"at"`
	}{RecordVersion, by, c.Key, why, at})
}

func encode(key string, v any) Record {
	b, err := json.Marshal(v)
	if err != nil {
		// Only values of this package's own types come here, and all of them marshal.
		return Record{Key: key, Value: []byte("{}")}
	}
	return Record{Key: key, Value: b}
}
