package restart

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Freshness and pace. They bound how old a fact may be where it allows
// something, and how often a question is repeated where something is awaited.
const (
	// fresh is how old the log and the cluster's views may be at the instant a unit is restarted.
	fresh = 2 * time.Second
	// near is how old they may be when the restart is decided on, so that some of
	// that time is left for it to be carried out.
	near = 3 * fresh / 4

	// quick is how long a look at the cluster may take and still be repeated at
	// any pace: it is a small cluster, or a broker that has just begun to answer.
	quick = 100 * time.Millisecond

	paceProve   = 50 * time.Millisecond // while a broker comes back
	paceSoak    = time.Second           // while it must stay healthy
	paceBlocked = time.Second           // while a gate does not pass
	paceWaiting = 10 * time.Second      // while others are at work
	paceRest    = 30 * time.Second      // at rest: somebody may have restarted the broker by hand

	// deaf is how long the log may be away, since its leader moves within seconds,
	// until what it said last is no reason to show any more.
	deaf = 30 * time.Second
)

// Heartbeat is how often an agent repeats its status when nothing changes. It
// grows with the number of brokers, so that all agents together write at most
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
	// StartTimeout bounds the time from the restart to a broker that answers.
	StartTimeout time.Duration
	// ProgressTimeout bounds the time in which a broker that catches up makes no progress at all.
	ProgressTimeout time.Duration
	// Takeover is how long an agent must have been silent before another one may
	// take its claim away, and then only if its broker is provably healthy.
	Takeover time.Duration
}

// Machine decides for one agent. It has no goroutine, clock or I/O: the shell
// gives it Facts and carries out what it returns. What must survive a crash is
// in the Journal, which is a fact like any other; what is kept here is only
// what a new life may learn again.
type Machine struct {
	opts Options

	phase Phase
	since time.Time

	judged    string    // target for which the process was last asked what it runs
	judgedAt  time.Time // when it was asked
	process   string    // invocation of the process last seen
	processAt time.Time // when this life first saw it
	stoppedAt time.Time // when this life first saw that it is stopped; zero: it is not
	begun     time.Time // when the probes were told of a planned restart; zero: they were not
	claimed   string    // key of this broker's claim
	claimedAt time.Time // when this life first saw it in the log
	heard     map[int32]heard
	deafSince time.Time // since when the log cannot be read or written; zero: it can
	step      Step      // of the journal last seen; what follows is of that step only
	stepAt    time.Time // when this life first saw it
	issued    time.Time // when this life last asked for a restart of the unit
	healthy   time.Time // since when the restarted broker has been healthy without a break
	moving    string    // what the catch-up looked like when it last changed
	movedAt   time.Time
	haltTried bool
	nonce     string // of the claim that was written and not seen since: repeated as it is, it counts once
	kept      bool   // the last good copy was made in this step

	unprotected   []string // as of unprotectedAt, since the walk over all partitions is long
	unprotectedAt time.Time
}

// NewMachine returns a machine that has seen nothing yet.
func NewMachine(opts Options) Machine { return Machine{opts: opts} }

// Announced notes that the probes were informed of a planned restart: an earlier process was in the middle of it.
func (m *Machine) Announced(at time.Time) { m.begun = at }

// Step decides on what is known now.
func (m *Machine) Step(f Facts) Decision {
	if f.Log.View == nil {
		f.Log.View = NewView()
	}
	if f.Unit.Invocation != m.process {
		m.process, m.processAt, m.healthy = f.Unit.Invocation, f.Now, time.Time{}
	}
	switch {
	case f.Unit.State != UnitStopped:
		m.stoppedAt = time.Time{}
	case m.stoppedAt.IsZero():
		m.stoppedAt = f.Now
	}
	if f.Journal.Step != m.step {
		m.stepAt = f.Now
		m.step, m.issued, m.healthy, m.moving, m.haltTried, m.kept = f.Journal.Step, time.Time{}, time.Time{}, "", false, false
	}
	s := &step{m: m, f: &f, j: f.Journal, v: f.Log.View}
	s.listen()
	if _, _, held := s.v.Claim(m.opts.Self); held {
		m.nonce = ""
	}
	s.target = f.Manifest.Hash
	if q := s.v.Request(); q != nil && s.target != "" {
		s.target += "+" + q.ID
	}
	var d Decision
	switch f.Journal.Step {
	case StepNone:
		d = s.atRest()
	case StepApply, StepRestart:
		d = s.goDown()
	case StepProve:
		d = s.prove()
	case StepRestore, StepUndo, StepProveUndo, StepNeedPerson:
		d = s.undo()
	default:
		d = s.wait(PhaseUnknown, because(CodeNeedsOperator, "the journal names step %q, which this agent does not know; install the agent version that wrote it", f.Journal.Step), 0)
	}
	d.Allowed = s.allowed()
	return d
}

// heard is the newest status of another broker's agent, and when this life first saw it.
type heard struct{ seen, at time.Time }

// listen notes, by this life's own clock, since when the log is away, when the
// own claim was first seen, and what was heard of the agents that hold one. Times
// in records are of other clocks, and clocks may be wrong by hours.
func (s *step) listen() {
	m, now := s.m, s.f.Now
	switch {
	case s.f.Log.Err == "":
		m.deafSince = time.Time{}
	case m.deafSince.IsZero():
		m.deafSince = now
	}
	was := m.heard
	m.heard = make(map[int32]heard, len(s.v.Claims))
	held := ""
	for _, c := range s.v.Claims {
		if c.Broker == m.opts.Self && held == "" {
			held = c.Key
		}
		h, known := was[c.Broker]
		if seen := s.v.Statuses[c.Broker].Seen; !known || !h.seen.Equal(seen) {
			h = heard{seen, now}
		}
		m.heard[c.Broker] = h
	}
	if held != m.claimed {
		m.claimed, m.claimedAt = held, now
	}
}

// looked is true if the cluster was looked at since the claim was won.
func (s *step) looked() bool {
	return !s.f.Cluster.At.IsZero() && !s.f.Cluster.At.Before(s.m.claimedAt)
}

// step is one run of Machine.Step.
type step struct {
	m      *Machine
	f      *Facts
	j      Journal
	v      *View
	target string
	rest   []int32        // what others returned
	held   map[int32]bool // brokers with a claim
	soon   []int32        // brokers that the gates count as if they had one
}

// wait does nothing but say why, and looks again after at most wake.
func (s *step) wait(p Phase, r *Reason, wake time.Duration) Decision {
	return s.do(p, r, Action{}, wake)
}

func (s *step) do(p Phase, r *Reason, a Action, wake time.Duration) Decision {
	if s.m.phase != p {
		s.m.phase, s.m.since = p, s.f.Now
		// After a restart of the agent the phase is older than this life.
		if old, ok := s.v.Statuses[s.m.opts.Self]; ok && s.m.process == old.Invocation && old.Phase == p && old.Since.Before(s.f.Now) {
			s.m.since = old.Since
		}
	}
	return Decision{Do: a, Status: s.status(p, *r), Wake: wake}
}

func (s *step) save(p Phase, r *Reason, change func(*Journal)) Decision {
	if s.tooSoon(ActSave) {
		return s.wait(p, s.failed(ActSave), time.Second) // a full disk, for one
	}
	j := s.j
	j.Version = JournalVersion
	change(&j)
	return s.do(p, r, Action{Kind: ActSave, Journal: j}, 0)
}

// look repeats a question when its last answer is older than pace, at once
// where pace is 0, and waits otherwise.
func (s *step) look(p Phase, r *Reason, kind ActionKind, at time.Time, pace time.Duration) Decision {
	if kind == ActObserve && pace > 0 && s.f.Cluster.Took > quick {
		pace = max(pace, 4*s.f.Cluster.Took) // a large cluster is asked less often
	}
	if age := s.f.Now.Sub(at); at.IsZero() || age >= pace {
		return s.do(p, r, Action{Kind: kind}, 0)
	}
	return s.wait(p, r, pace-s.f.Now.Sub(at))
}

func (s *step) observe(p Phase, r *Reason, pace time.Duration) Decision {
	return s.look(p, r, ActObserve, s.f.Cluster.At, pace)
}

func (s *step) status(p Phase, r Reason) Status {
	st := Status{
		Version: RecordVersion, Broker: s.m.opts.Self, Agent: s.m.opts.Agent,
		Cluster: s.f.Manifest.Cluster, Manifest: s.f.Manifest.Hash, Target: s.judged(),
		Phase: p, Since: s.m.since, Reason: r, Drift: s.drift() != "" || s.j.Step != StepNone && s.j.Step != StepProve,
		Up: s.up(), Passed: s.j.Passed, Invocation: s.f.Unit.Invocation,
		Zone: s.f.Manifest.Zones[s.m.opts.Self], ManifestFault: s.f.Manifest.Fault,
	}
	for _, name := range slices.Sorted(maps.Keys(s.f.Probes)) {
		if s.f.Probes[name].Serving {
			st.Serving = append(st.Serving, name)
		}
		if s.f.Probes[name].Open {
			st.Open = append(st.Open, name)
		}
	}
	st.Unprotected, st.Storage = s.unprotected(), s.storage()
	return st
}

// judged is the target once it is known what it means for this broker: others
// must not begin with it before, since what can be refused is refused first.
func (s *step) judged() string {
	if s.j.Step == StepNone && s.up() && (s.m.judged != s.target || s.f.Running.Err != "" || s.f.Running.At.Before(s.m.judgedAt)) {
		return ""
	}
	return s.target
}

func (s *step) up() bool {
	return s.f.Unit.State == UnitRunning || s.f.Unit.State == UnitStarting || s.f.Unit.State == UnitStopping
}

// drift says how the process differs from what is asked, or "" if it does not
// or if that is not known.
func (s *step) drift() string {
	if s.f.Manifest.Hash == "" || s.f.Running.At.IsZero() || s.f.Running.Listeners == nil {
		return ""
	}
	if d := differs(s.f.Running.Listeners, s.f.Manifest.Listeners, s.f.Manifest.Absent); d != "" {
		return d
	}
	if s.f.Manifest.HiddenChanges || s.j.Hidden {
		return "a hidden value, such as a password, is to change"
	}
	if q := s.v.Request(); q != nil && q.ID != s.j.Request {
		return "a rolling restart was asked for by " + q.By
	}
	return ""
}

// differs compares what a process runs with what it should run.
func differs(running, want map[string]string, absent []string) string {
	for _, name := range slices.Sorted(maps.Keys(want)) {
		switch got, ok := running[name]; {
		case !ok:
			return fmt.Sprintf("the process does not have %s yet", name)
		case got != want[name]:
			return fmt.Sprintf("the process has %s as %q, wanted is %q", name, got, want[name])
		}
	}
	for _, name := range absent {
		if _, ok := running[name]; ok {
			return fmt.Sprintf("the process still has %s", name)
		}
	}
	return ""
}

// others returns the brokers that there are beside this one, ascending, and
// whether that is known: from the manifest's table, and from the cluster.
func (s *step) others() ([]int32, bool) {
	known := s.f.Manifest.Table || len(s.f.Cluster.Brokers) > 0
	if s.rest != nil {
		return s.rest, known
	}
	ids := map[int32]bool{}
	for id := range s.f.Manifest.Zones {
		ids[id] = true
	}
	for _, id := range s.f.Cluster.Brokers {
		ids[id] = true
	}
	delete(ids, s.m.opts.Self)
	s.rest = slices.AppendSeq(make([]int32, 0, len(ids)), maps.Keys(ids))
	slices.Sort(s.rest)
	return s.rest, known
}

func (s *step) maxUnavailable() int { return max(1, s.f.Manifest.MaxUnavailable) }

func (s *step) zone(id int32) string {
	if z, ok := s.f.Manifest.Zones[id]; ok {
		return z
	}
	return s.v.Statuses[id].Zone
}

// recent is true if t is known and not older than d.
func (s *step) recent(t time.Time, d time.Duration) bool {
	return !t.IsZero() && s.f.Now.Sub(t) <= d
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
