package restart

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Freshness and pace. They bound how old a fact may be where it allows
// something, and how often a question is repeated where something is awaited.
const (
	// fresh is how old the log and the cluster's views may be at the instant a unit is restarted.
	fresh = 2 * time.Second
	// near is how old they may be when the restart is decided on, so some of
	// that time is left for it to be carried out.
	near = 3 * fresh / 4

	// AnswersWithin is how long the brokers may take to answer: views that come later are older than near at once.
	AnswersWithin = near

	// quick is how long an observation of the cluster may take and still be repeated at
	// any pace: it is a small cluster, or a broker that has just begun to answer.
	quick = 100 * time.Millisecond

	paceProve   = 50 * time.Millisecond // while a broker comes back
	paceSoak    = time.Second           // while it must stay healthy
	paceBlocked = time.Second           // while a gate does not pass
	paceWaiting = 10 * time.Second      // while others are at work
	paceRest    = 30 * time.Second      // at rest: somebody may have restarted the broker by hand

	// deaf is how long the log may be unavailable, since its leader moves within seconds,
	// until what it said last is no reason to show any more.
	deaf = 30 * time.Second
)

// Heartbeat is how often an agent repeats its status when nothing changes. It
// grows with the number of brokers, so all agents together write at most
// one record a second and what each of them reads stays bounded.
func Heartbeat(brokers int) time.Duration {
	return max(15*time.Second, time.Duration(brokers)*time.Second)
}

// Options of a Machine.
type Options struct {
	// Self is this broker's id.
	Self int32
	// Agent is this agent's version, shown to operators.
	Agent string
	// Level is the newest level of manifests that this agent reads.
	Level int
	// StartTimeout bounds the time from the restart to a broker that answers.
	StartTimeout time.Duration
	// ProgressTimeout bounds the time in which a broker that catches up makes no progress at all.
	ProgressTimeout time.Duration
	// Takeover is how long an agent must have been silent before another one may
	// remove its claim, and then only if its broker is provably healthy.
	Takeover time.Duration
}

// Machine decides for one agent. It has no goroutine, clock or I/O: the shell
// gives it Facts and carries out what it returns. What must survive a crash is
// in the Journal, which is a fact like any other. A copy by assignment is a machine of
// its own: nothing that it holds is changed in place.
type Machine struct {
	opts Options
	mem  memory
}

// memory is what a Machine keeps from one decision to the next. A new agent process
// learns it again from what it observes. Each part has one lifetime and is reset as a whole.
type memory struct {
	shown   shownMemory
	process processMemory
	claim   claimMemory
	log     logMemory
	stage   stageMemory
	judged  judgedMemory
	// begun is when the probes were informed of a planned restart; zero: they were not, or of its end since.
	begun time.Time
	// wrote is of when the unit's state was on which a write of server.properties was decided on; zero once a newer one
	// was seen: that is of after the write.
	wrote time.Time
	// nonce is that of the claim that was written and not seen since: repeated as it is, it counts once.
	nonce string
	walk  walkMemory
	// sawUnit is true once this agent process has seen how the unit is: what it finds there the first time may have
	// been started at any time.
	sawUnit bool
}

// shownMemory is of one phase.
type shownMemory struct {
	phase Phase
	since time.Time
}

// processMemory is of one process of the broker.
type processMemory struct {
	invocation string
	at         time.Time // when this agent process first saw it
	// stoppedAt is when it was first seen stopped; zero: it is not.
	stoppedAt time.Time
	// mayBeOld is true where it was started while this agent process wrote server.properties, or before this agent
	// process saw the unit: it may run the file before.
	mayBeOld bool
}

// claimMemory is of one claim of this broker.
type claimMemory struct {
	key string
	at  time.Time // when this agent process first saw it in the log
}

// logMemory is what was heard by this agent process's own clock.
type logMemory struct {
	heard map[int32]heard
	// deafSince is since when the log cannot be read or written; zero: it can.
	deafSince time.Time
}

// heard is the newest status of another broker's agent, and when this agent process first saw it.
type heard struct{ seen, at time.Time }

// stageMemory is of one stage of the journal.
type stageMemory struct {
	stage     Stage
	at        time.Time // when this agent process first saw it
	issued    time.Time // when it last asked for a restart of the unit
	healthy   time.Time // since when the process has been healthy without a break; of one process, too
	moving    string    // what the catch-up looked like when it last changed
	movedAt   time.Time
	haltTried bool
	kept      bool // the last good copy was made
}

// judgedMemory is the target for which the process was last asked what it runs.
type judgedMemory struct {
	target string
	at     time.Time // when it was asked
}

// walkMemory keeps what a walk over all partitions found, since that takes long.
type walkMemory struct {
	unprotected []string
	at          time.Time // of the observation
}

// NewMachine returns a machine that has seen nothing yet.
func NewMachine(opts Options) Machine { return Machine{opts: opts} }

// Announced notes that the probes were informed of a planned restart: an earlier agent process
// was in the middle of it.
func (m *Machine) Announced(at time.Time) { m.mem.begun = at }

// Room is the memory in which a decision is worked out. Each decision needs some, and whoever decides thousands of
// times a second can use the same one: the decision in it is then valid until the next one. Its zero value is ready.
type Room struct{ round round }

// Decide decides on what is known now. It changes nothing of the facts but for a View that is nil.
func (m *Machine) Decide(f *Facts) *Decision { return m.DecideIn(new(Room), f) }

// DecideIn is Decide with memory that was used before.
func (m *Machine) DecideIn(room *Room, f *Facts) *Decision {
	if f.Log.View == nil {
		f.Log.View = NewView()
	}
	m.mem.follow(f)
	s := &room.round
	s.start(m, f)
	s.listen()
	if _, _, held := s.v.Claim(m.opts.Self); held {
		m.mem.nonce = ""
	}
	d := s.decide()
	d.Allowed = s.allowed()
	return d
}

// follow begins again what belongs to a process or a stage that is another one now.
func (m *memory) follow(f *Facts) {
	if f.Unit.Invocation != m.process.invocation {
		m.process = processMemory{
			invocation: f.Unit.Invocation,
			at:         f.Now,
			stoppedAt:  m.process.stoppedAt,
			mayBeOld:   !m.wrote.IsZero() || !m.sawUnit,
		}
		m.stage.healthy = time.Time{}
	}
	if f.Unit.State != UnitUnknown && !f.Unit.At.IsZero() {
		m.sawUnit = true
		if f.Unit.At.After(m.wrote) {
			m.wrote = time.Time{}
		}
	}
	switch {
	case f.Unit.State != UnitStopped:
		m.process.stoppedAt = time.Time{}
	case m.process.stoppedAt.IsZero():
		m.process.stoppedAt = f.Now
	}
	if f.Journal.Stage != m.stage.stage {
		m.stage = stageMemory{stage: f.Journal.Stage, at: f.Now}
	}
}

// round is one decision: what is known, and what was worked out on the way.
type round struct {
	m        *Machine
	f        *Facts
	j        *Journal // of the facts: never changed
	v        *View
	vetoes   []veto // the list; a field, since what they do at rest may walk it again
	target   string
	rest     []int32        // what others returned
	few      [few]int32     // room for rest
	held     map[int32]bool // brokers with a claim
	compared bool           // drifted is of this round
	drifted  difference     // what drift returned
	examined bool           // proof is of this round
	proof    proof          // of the process that was restarted
	out      Decision       // what do returns: it is large, so rules hand it on by its address
}

func newRound(m *Machine, f *Facts) *round {
	s := new(round)
	s.start(m, f)
	return s
}

// start begins a decision. Nothing is left of an earlier one.
func (s *round) start(m *Machine, f *Facts) {
	*s = round{m: m, f: f, j: &f.Journal, v: f.Log.View, vetoes: vetoes, target: f.Manifest.Hash}
	if q := s.v.Request(); q != nil && s.target != "" {
		s.target += "+" + q.ID
	}
}

// listen notes, by this agent process's own clock, since when the log is unavailable, when the
// own claim was first seen, and what was heard of the agents that hold one. Times
// in records are of other clocks, and clocks may be wrong by hours.
func (s *round) listen() {
	m, now := &s.m.mem, s.f.Now
	switch {
	case s.f.Log.Err == "":
		m.log.deafSince = time.Time{}
	case m.log.deafSince.IsZero():
		m.log.deafSince = now
	}
	held := ""
	for i := range s.v.Claims {
		if c := &s.v.Claims[i]; c.Broker == s.m.opts.Self {
			held = c.Key
			break
		}
	}
	m.log.hear(s.v, now)
	if held != m.claim.key {
		m.claim = claimMemory{held, now}
	}
}

// hear notes what is new of the agents that hold a claim. The map is never changed in place: machines are copied.
func (l *logMemory) hear(v *View, now time.Time) {
	if len(v.Claims) == 0 {
		l.heard = nil
		return
	}
	news := len(l.heard) > len(v.Claims)
	for i := range v.Claims {
		h, known := l.heard[v.Claims[i].Broker]
		news = news || !known || !h.seen.Equal(v.Statuses[v.Claims[i].Broker].Seen)
	}
	if !news {
		return
	}
	was := l.heard
	l.heard = make(map[int32]heard, len(v.Claims))
	for i := range v.Claims {
		id := v.Claims[i].Broker
		h, known := was[id]
		if seen := v.Statuses[id].Seen; !known || !h.seen.Equal(seen) {
			h = heard{seen, now}
		}
		l.heard[id] = h
	}
}

// looked is true if the cluster was observed since the claim was won.
func (s *round) looked() bool {
	return !s.f.Cluster.At.IsZero() && !s.f.Cluster.At.Before(s.m.mem.claim.at)
}

// wait does nothing but say why, and looks again after at most wake.
func (s *round) wait(p Phase, r *Reason, wake time.Duration) *Decision {
	return s.do(p, r, Action{}, wake)
}

func (s *round) do(p Phase, r *Reason, a Action, wake time.Duration) *Decision {
	if s.triedAgain(a.Kind) {
		r = s.failed(a.Kind) // while it is tried, too: one reason, not two in turn
	}
	if s.m.mem.shown.phase != p {
		s.m.mem.shown.phase, s.m.mem.shown.since = p, s.f.Now
		// After a restart of the agent the phase is older than this agent process.
		if old, ok := s.v.Statuses[s.m.opts.Self]; ok && s.m.mem.process.invocation == old.Invocation &&
			old.Phase == p &&
			old.Since.Before(s.f.Now) {
			s.m.mem.shown.since = old.Since
		}
	}
	s.out = Decision{Do: a, Status: s.status(p, *r), Wake: wake}
	return &s.out
}

// triedAgain is true for an action that changes something and failed when it was last tried. A restart of another stage
// was another restart.
func (s *round) triedAgain(kind ActionKind) bool {
	switch kind {
	case ActSave, ActApply, ActRestore, ActRestart:
		e, failed := s.f.Failed[kind]
		return failed && (kind != ActRestart || e.At.After(s.m.mem.stage.at))
	default:
		return false
	}
}

// write has server.properties written. A process that somebody starts just then may run the file before.
func (s *round) write(p Phase, r *Reason) *Decision {
	s.m.mem.wrote = s.f.Unit.At
	return s.do(p, r, Action{Kind: ActApply}, 0)
}

func (s *round) save(p Phase, r *Reason, change func(*Journal)) *Decision {
	if s.tooSoon(ActSave) {
		return s.wait(p, s.failed(ActSave), time.Second) // a full disk, for one
	}
	j := *s.j
	j.Version = JournalVersion
	change(&j)
	return s.do(p, r, Action{Kind: ActSave, Journal: &j}, 0)
}

// look repeats a question when its last answer is older than pace, at once
// where pace is 0, and waits otherwise.
func (s *round) look(p Phase, r *Reason, kind ActionKind, at time.Time, pace time.Duration) *Decision {
	if kind == ActObserve && pace > 0 && s.f.Cluster.Took > quick {
		pace = max(pace, 4*s.f.Cluster.Took) // a large cluster is asked less often
	}
	if age := s.f.Now.Sub(at); at.IsZero() || age >= pace {
		return s.do(p, r, Action{Kind: kind}, 0)
	}
	return s.wait(p, r, pace-s.f.Now.Sub(at))
}

func (s *round) observe(p Phase, r *Reason, pace time.Duration) *Decision {
	return s.look(p, r, ActObserve, s.f.Cluster.At, pace)
}

func (s *round) status(p Phase, r Reason) Status {
	st := Status{
		Version:    RecordVersion,
		Broker:     s.m.opts.Self,
		Agent:      s.m.opts.Agent,
		Level:      s.m.opts.Level,
		Cluster:    s.f.Manifest.Cluster,
		Manifest:   s.f.Manifest.Hash,
		Target:     s.judged(p),
		Phase:      p,
		Since:      s.m.mem.shown.since,
		Reason:     r,
		Drift:      s.drifts() || s.j.Stage != StageNone && s.j.Stage != StageProve,
		Up:         s.up(),
		Passed:     s.j.Passed,
		Failed:     s.unhalted(),
		Unproven:   s.unproven(),
		Invocation: s.f.Unit.Invocation,
		Zone:       s.f.Manifest.Zones[s.m.opts.Self],
	}
	if !s.f.Manifest.NoFile {
		st.ManifestFault = s.f.Manifest.Fault
	}
	for _, name := range sortedKeys(s.f.Probes, make([]string, 0, few)) {
		p := s.f.Probes[name]
		if p.Serving {
			st.Serving = append(st.Serving, name)
		}
		if p.Open {
			st.Open = append(st.Open, name)
		}
	}
	st.Unprotected, st.Storage = s.unprotected(), s.storage()
	return st
}

// judged is the target once it is known what it means for this broker: others
// must not begin with it before, since what can be refused is refused first. A decision that comes before
// the vetoes in the list of rules, such as to note that the broker runs, names no target while one stands.
func (s *round) judged(p Phase) string {
	if s.j.Stage != StageNone || !s.up() {
		return s.target
	}
	if s.m.mem.judged.target != s.target || s.f.Running.Err != "" || s.f.Running.At.Before(s.m.mem.judged.at) {
		return ""
	}
	if p != PhaseRefused && (s.vetoed(taking|answered) != nil || s.drifts() && s.vetoed(checking) != nil) {
		return ""
	}
	return s.target
}

func (s *round) up() bool {
	return s.f.Unit.State == UnitRunning || s.f.Unit.State == UnitStarting || s.f.Unit.State == UnitStopping
}

// others returns the brokers that there are in addition to this one, ascending, and
// whether that is known: from the manifest's table, and from the cluster. An optional one is there once the cluster has
// it.
func (s *round) others() ([]int32, bool) {
	known := s.f.Manifest.Table || len(s.f.Cluster.Brokers) > 0
	if s.rest != nil {
		return s.rest, known
	}
	s.rest = s.few[:0]
	for id := range s.f.Manifest.Zones {
		if !slices.Contains(s.f.Manifest.Optional, id) {
			s.rest = append(s.rest, id)
		}
	}
	s.rest = append(s.rest, s.f.Cluster.Brokers...)
	slices.Sort(s.rest)
	s.rest = slices.DeleteFunc(slices.Compact(s.rest), func(id int32) bool { return id == s.m.opts.Self })
	return s.rest, known
}

// mayBeOld is true if nobody knows whether the process was started on the server.properties that is to be proved.
func (s *round) mayBeOld() bool {
	return s.j.Unproven && s.j.MayBeOld && s.j.Invocation == s.f.Unit.Invocation
}

// unproven is true while the process may run a server.properties that none has proved: by the journal, or since
// somebody else has just started it.
func (s *round) unproven() bool {
	if !s.up() {
		return false
	}
	if !s.j.Unproven {
		return s.unexplained()
	}
	byOthers := s.j.Stage == StageNone || s.j.Stage == StageApply
	return s.j.MayBeOld || byOthers && s.j.Invocation != s.f.Unit.Invocation
}

// unexplained is true for a process that was started under the eyes of this agent process, on a server.properties that
// is as the manifest says, and runs something else, while the journal knows of no file that was written here: that is
// lost, or somebody else wrote the file. Nobody has proved it, and it looks bad. A process that was there before this
// agent process may just be older than the file, unless this broker still has a claim: then its restart was under way
// when the journal was lost.
func (s *round) unexplained() bool {
	if s.j.Stage != StageNone || s.j.Target != "" || s.f.Manifest.FileChanges || !s.up() {
		return false
	}
	if _, _, claimed := s.v.Claim(s.m.opts.Self); s.m.mem.process.mayBeOld && !claimed {
		return false
	}
	switch s.drift().kind {
	case listenerMissing, listenerOther, listenerLeft:
		return !s.f.Running.At.Before(s.m.mem.process.at)
	default:
		return false
	}
}

func (s *round) maxUnavailable() int { return max(1, s.f.Manifest.MaxUnavailable) }

func (s *round) zone(id int32) string {
	if z, ok := s.f.Manifest.Zones[id]; ok {
		return z
	}
	return s.v.Statuses[id].Zone
}

// recent is true if t is known and not older than d.
func (s *round) recent(t time.Time, d time.Duration) bool {
	return !t.IsZero() && s.f.Now.Sub(t) <= d
}

// few is how many listeners, and the like, are usual: so many names need no memory of their own.
const few = 8

// sortedKeys appends the keys of a small map to a buffer, in their order.
func sortedKeys[V any](m map[string]V, b []string) []string {
	for k := range m {
		b = append(b, k)
	}
	if len(b) > 1 {
		slices.Sort(b)
	}
	return b
}

func ids(list []int32) string {
	out := make([]string, len(list))
	for i, id := range list {
		out[i] = fmt.Sprint(id)
	}
	return strings.Join(out, ", ")
}

// manifestOf is the manifest's hash in a target.
func manifestOf(target string) string {
	hash, _, _ := strings.Cut(target, "+")
	return hash
}

// Short cuts a hash to 12 digits, as people read it; what follows a "+" (a request for a rolling restart) stays.
func Short(hash string) string {
	if i := strings.IndexByte(hash, '+'); i > 12 {
		return hash[:12] + hash[i:]
	}
	if len(hash) > 12 {
		return hash[:12]
	}
	return hash
}
