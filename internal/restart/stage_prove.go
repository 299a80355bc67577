package restart

import (
	"fmt"
	"slices"
	"strconv"
	"time"
)

// balancerGone is how long without a single probe means that there is no load
// balancer, and that what was seen before was somebody's hand.
const balancerGone = 2 * time.Minute

// maxStarts is how many processes may be seen in one proof: a reboot of the VM
// or a restart by hand is no failure, a process that keeps ending is.
const maxStarts = 3

// proof is what a process that was restarted has to show.
type proof struct {
	want   map[string]string
	absent []string
	// waiting is why it is not proved yet; failure is why it never will be.
	waiting *Reason
	failure string
	// differs is true for a failure that is no more than this: the process runs something else.
	differs bool
	phase   Phase
	ask     ActionKind // the question that brings it on
}

// The restarted process must serve, have caught up, be seen by the load balancer and stay so for
// the soak time. judgement judges it, once in a round.
func (s *round) judgement() *proof {
	if !s.examined {
		s.proof, s.examined = s.examine(s.j.Listeners, s.j.Absent), true
	}
	return &s.proof
}

// proveSuperseded: the broker is up, and what it waits for may be just what the newer manifest corrects.
func (s *round) proveSuperseded() *Decision {
	p := s.judgement()
	if p.failure != "" || p.waiting == nil || !s.superseded() ||
		p.waiting.Code != CodeListener && p.waiting.Code != CodeDynamicConfig {
		return nil
	}
	return s.giveUp(PhaseWaiting, because(CodeClaiming, "a newer manifest is there, and %s", p.waiting.Text()))
}

// proveOld: the process was started at about the time at which server.properties was written, and may run the one
// before. Where it does not run what is asked for, that says nothing of the new one; where a value is to change that
// it does not show, nothing else can say which one it runs. The restart is claimed like any other.
func (s *round) proveOld() *Decision {
	p := s.judgement()
	if !s.mayBeOld() {
		return nil
	}
	switch {
	case p.differs:
		return s.giveUp(PhaseWaiting, because(CodeClaiming,
			"the broker was started at about the time of the write of server.properties, and may run the one before"))
	case s.j.Hidden && p.failure == "" && p.waiting == nil:
		return s.giveUp(PhaseWaiting, because(CodeClaiming, "the broker was started at about the time of the write of "+
			"server.properties, and does not show whether it has a hidden value, such as a password, of the new one"))
	}
	return nil
}

func (s *round) proveFailed() *Decision {
	p := s.judgement()
	if p.failure == "" {
		return nil
	}
	r := because(CodeRollingBack, "%s; restoring the last good server.properties", p.failure)
	return s.saveStage(StageRestore, PhaseRollback, r, func(j *Journal) { j.Why, j.Halted = p.failure, false })
}

// proveTakeOver: an earlier agent process informed the probes, and they were its own.
func (s *round) proveTakeOver() *Decision {
	p := s.judgement()
	if p.waiting == nil {
		return nil
	}
	s.m.mem.stage.healthy = time.Time{}
	if !s.m.mem.begun.IsZero() || !s.j.Planned(s.f.Now) {
		return nil
	}
	s.m.mem.begun = s.f.Now
	return s.do(p.phase, p.waiting, Action{Kind: ActBegin}, 0)
}

func (s *round) proveWait() *Decision {
	p := s.judgement()
	if p.waiting == nil {
		return nil
	}
	return s.lookOn(p)
}

func (s *round) proveEndPlanned() *Decision {
	if !s.m.mem.stage.healthy.IsZero() {
		return nil
	}
	s.m.mem.stage.healthy = s.f.Now
	if s.m.mem.begun.IsZero() {
		return nil
	}
	s.m.mem.begun = time.Time{}
	r := because(CodeSoaking, "healthy; the probes are judged as usual again")
	return s.do(PhaseSoaking, r, Action{Kind: ActEnd}, 0)
}

func (s *round) proveBalancer() *Decision {
	r := s.balancer()
	if r == nil {
		return nil
	}
	return s.observe(PhaseBalancer, r, paceSoak)
}

func (s *round) proveSoak() *Decision {
	soak := s.soak()
	left := s.m.mem.stage.healthy.Add(soak).Sub(s.f.Now)
	switch {
	case left > 0:
		return s.soakOn(soak, left)
	case s.recent(s.f.Cluster.At, 2*paceSoak+s.f.Cluster.Took):
		return nil
	}
	// A cluster whose answers take long is asked less often: once more, since much may have changed meanwhile.
	return s.observe(PhaseSoaking, because(CodeSoaking, "healthy; looking at the cluster once more"), 0)
}

// proveDropped comes before the claim is given back, so nobody follows.
func (s *round) proveDropped() *Decision { return s.haltDropped(PhaseSoaking) }

func (s *round) proved() *Decision {
	r := because(CodeSaving, "writing to the journal that the restart is proved")
	return s.saveStage(StageNone, PhaseSoaking, r, func(j *Journal) {
		if j.Starts == 1 && len(s.f.Running.Dropped) == 0 {
			j.Passed = j.Target
		}
		if j.RequestID != "" {
			j.Request = j.RequestID
		}
		j.Served, j.FileState, j.Failure = true, FileState{}, Failure{}
	})
}

// superseded is true if another manifest is in force than the one that is being proved, and asks for another file.
func (s *round) superseded() bool {
	m := s.f.Manifest
	return m.Hash != "" && m.Hash != manifestOf(s.j.Target) && m.Refusal == nil && m.FileChanges
}

func (s *round) soakOn(soak, left time.Duration) *Decision {
	r := because(CodeSoaking, "healthy; must stay so for %s", soak).lasting(s.m.mem.stage.healthy.Add(soak))
	d := s.observe(PhaseSoaking, r, min(paceSoak, max(left, paceProve)))
	d.Wake = min(d.Wake, left)
	return d
}

// soak is shorter once two brokers have passed cleanly: brokers that freeze
// after they rejoined do so within 20-50 s (KAFKA-19586), and the first ones show it.
func (s *round) soak() time.Duration {
	passed := 0
	for id, st := range s.v.Statuses {
		if id != s.m.opts.Self && st.Passed == s.j.Target {
			passed++
		}
	}
	if passed >= 2 && s.j.Starts <= 1 {
		return s.f.Manifest.Soak / 4
	}
	return s.f.Manifest.Soak
}

// newProcess follows the process if it is another one than the journal knows.
func (s *round) newProcess() *Decision {
	inv := s.f.Unit.Invocation
	if inv == "" || inv == s.j.Invocation {
		return nil
	}
	s.m.mem.stage.healthy = time.Time{}
	return s.save(PhaseStarting, because(CodeStarting, "another process has been started"), func(j *Journal) {
		j.Invocation, j.MayBeOld = inv, false // the file was written before this stage began
		j.Starts++
	})
}

// keepsEnding judges the service manager's own restarts. A process that ends on a new file has
// failed at the first one. Where the file is one that a process has run before, or where the
// process never got to run (an ExecStartPre= failed), a few are waited for: Java may be
// replaced just then, or a mount may come late.
func (s *round) keepsEnding() bool {
	u := s.f.Unit
	more := u.Restarts - s.j.Restarts
	if s.j.Stage == StageProve && !s.j.unchanged() && more > u.StartFailures {
		return true
	}
	return more > maxStarts || s.j.Starts > maxStarts
}

// lookOn repeats the question that the proof waits for.
func (s *round) lookOn(p *proof) *Decision {
	switch p.ask {
	case ActRunning:
		return s.look(p.phase, p.waiting, ActRunning, s.f.Running.At, paceProve)
	case ActObserve:
		return s.observe(p.phase, p.waiting, paceProve)
	default:
		return s.wait(p.phase, p.waiting, paceProve)
	}
}

// examine judges the process against what it should run.
func (s *round) examine(want map[string]string, absent []string) proof {
	f, u := s.f, s.f.Unit
	p := proof{want: want, absent: absent, phase: PhaseStarting}
	fail := func(format string, args ...any) proof {
		p.failure = fmt.Sprintf(format, args...)
		return p
	}
	hold := func(phase Phase, ask ActionKind, r *Reason) proof {
		p.phase, p.ask, p.waiting = phase, ask, r
		return p
	}
	switch {
	case u.Queued:
		return hold(PhaseStarting, ActNone, because(CodeStarting, "the service manager is about to start the broker"))
	case u.State == UnitFailed || u.State == UnitStopped && u.Ambiguous:
		return fail("the process ended after its restart (%s)", orNot(u.Detail, "no detail"))
	case s.keepsEnding():
		return fail("the process keeps ending and being started again (%s)", orNot(u.Detail, "no detail"))
	case u.State == UnitStopped:
		return hold(PhaseStopped, ActNone,
			because(CodeStopped, "somebody stopped the broker in the middle of its restart; start it"))
	case u.State == UnitUnknown:
		return hold(PhaseStarting, ActNone, because(CodeUnitUnknown, "the broker's unit cannot be seen: %s", u.Detail))
	}
	// By what this agent process has seen itself: the journal's time is of a clock that may have been set since.
	// And only since it has been asked: with a full disk the proof begins late.
	began := s.m.mem.process.at
	if s.m.mem.stage.at.After(began) {
		began = s.m.mem.stage.at
	}
	// late is asked of an answer's time: an agent that was frozen (SIGSTOP, a suspended VM) asks once more.
	late := func(asked time.Time) bool {
		return s.m.opts.StartTimeout > 0 && asked.Sub(began) > s.m.opts.StartTimeout
	}
	if f.Running.Err != "" || f.Running.At.Before(s.m.mem.process.at) {
		if late(f.Running.At) {
			return fail("the broker did not answer within %s (%s)", s.m.opts.StartTimeout, f.Running.Err)
		}
		return hold(PhaseStarting, ActRunning, because(CodeStarting, "the process runs and does not answer yet"))
	}
	if d := differs(f.Running.Listeners, want, absent); d.kind != noDifference {
		// It says nothing of the file, and the file before would be covered just the same.
		if r := s.vetoDynamic(); r != nil {
			return hold(PhaseStarting, ActRunning, r)
		}
		p.differs = true
		return fail("%s%s", d, s.whyDifferent())
	}
	for _, name := range sortedKeys(want, make([]string, 0, few)) {
		if pr, watched := f.Probes[name]; watched && (!pr.Serving || pr.At.Before(s.m.mem.process.at)) {
			if late(pr.At) {
				return fail("%s does not serve after %s (%s)", name, s.m.opts.StartTimeout, pr.Why)
			}
			return hold(PhaseStarting, ActNone, because(CodeListener, "%s does not serve yet%s", name, detail(pr.Why)))
		}
	}
	return s.rejoined(p)
}

// whyDifferent says how a process comes to run something else than was written for it.
func (s *round) whyDifferent() string {
	switch {
	case s.j.Stage != StageProve || len(s.f.Running.Dynamic) > 0 || s.f.Manifest.Hash != manifestOf(s.j.Target):
		return ""
	case s.f.Manifest.FileChanges:
		return "; server.properties was changed between the agent's writing and the process's start (ExecStartPre=, a wrapper, " +
			"configuration management): put the listener into its template (`kpls-agent plan --offline`)"
	default:
		return "; server.properties is as the agent wrote it: the process reads another file (see the command line of the unit, and `server_properties` in the settings)"
	}
}

// rejoined judges the broker's place in the cluster. Its own view is needed: a
// broker answers only after it has replayed the metadata up to its own return,
// so that its picture cannot be older than the restart, as others' may be.
func (s *round) rejoined(p proof) proof {
	f := s.f
	p.phase, p.ask = PhaseCatchingUp, ActObserve
	if f.Cluster.At.Before(s.m.mem.process.at) || f.Cluster.At.Before(f.Running.At) {
		p.waiting = because(CodeCatchingUp, "asking the brokers for their view of the cluster")
		return p
	}
	own := slices.ContainsFunc(f.Cluster.Views, func(v BrokerView) bool { return v.Broker == s.m.opts.Self })
	if r := s.gateViews(nil); r != nil || !own {
		if r == nil {
			r = because(CodeGateViews, "this broker's own view of the cluster is missing")
		}
		p.waiting = r
		return p
	}
	if !s.inAll(s.m.opts.Self) {
		p.waiting = because(CodeFenced, "the other brokers do not see this broker unfenced yet")
		return p
	}
	n := s.missing(s.m.opts.Self)
	if n == 0 {
		s.m.mem.stage.moving = ""
		return p
	}
	if now := strconv.Itoa(n); now != s.m.mem.stage.moving {
		s.m.mem.stage.moving, s.m.mem.stage.movedAt = now, f.Now
	}
	if stuck := f.Now.Sub(s.m.mem.stage.movedAt); s.m.opts.ProgressTimeout > 0 && stuck > s.m.opts.ProgressTimeout {
		p.waiting = because(CodeStalled,
			"%s not in sync on this broker, and none came in sync for %s (%s); see its server.log and disks",
			partitions(n), stuck.Round(time.Second), s.example(s.m.opts.Self)).counting(0, n)
		return p
	}
	p.waiting = because(CodeCatchingUp, "%s not in sync on this broker yet (%s)", partitions(n),
		s.example(s.m.opts.Self)).counting(0, n)
	return p
}

// example names a few partitions in which a broker is a replica and not in sync.
func (s *round) example(id int32) (e example) {
	for _, v := range s.f.Cluster.Views {
		for i := range v.Topics {
			t := &v.Topics[i]
			for k := range t.Partitions {
				p := &t.Partitions[k]
				if !slices.Contains(p.Replicas, id) || slices.Contains(p.ISR, id) {
					continue
				}
				if e.n++; e.n > len(e.first) {
					return e
				}
				e.first[e.n-1] = partitionName{t.Name, p.ID}
			}
		}
		if e.n > 0 {
			break
		}
	}
	return e
}

// example is the first of some partitions. They are put into words where they are shown.
type example struct {
	first [3]partitionName
	n     int // how many there are; more than three are not counted
}

type partitionName struct {
	topic string
	id    int32
}

func (e example) String() string {
	var out []byte
	for i, p := range e.first[:min(e.n, len(e.first))] {
		if i > 0 {
			out = append(out, ", "...)
		}
		out = strconv.AppendInt(append(append(out, p.topic...), '-'), int64(p.id), 10)
	}
	if e.n > len(e.first) {
		out = append(out, ", ..."...)
	}
	return string(out)
}

// balancer waits until a load balancer that watched a port, and has seen it
// closed, has found it open as often as it needs: else it is still blind for
// this broker when the next one goes.
func (s *round) balancer() *Reason {
	for _, name := range sortedKeys(s.j.Listeners, make([]string, 0, few)) {
		p := s.f.Probes[name]
		if p.Answered == 0 && s.f.Now.Sub(s.m.mem.stage.healthy) > balancerGone {
			continue
		}
		if p.Balancer && p.Gap && p.Open && p.Answered < s.f.Manifest.HealthyThreshold {
			return because(CodeBalancer, "the load balancer has seen %s up %d times of %d since it was closed", name,
				p.Answered, s.f.Manifest.HealthyThreshold).
				counting(s.f.Manifest.HealthyThreshold, p.Answered)
		}
	}
	return nil
}
