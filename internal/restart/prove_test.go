package restart

import (
	"slices"
	"testing"
	"time"
)

// proving is a broker that has come back and is healthy in every respect.
func proving() Facts {
	f := cluster3()
	f.Cluster.Views[0].Broker, f.Cluster.Views[1].Broker = 1, 2
	f.Manifest.Listeners = map[string]string{"EXTERNAL": "x"}
	f.Manifest.HealthyThreshold = 2
	f.Running = RunningFacts{At: f.Now, Listeners: map[string]string{"EXTERNAL": "x"}}
	f.Cluster.At = f.Now
	f.Probes = map[string]ProbeFacts{"EXTERNAL": {At: f.Now, Serving: true, Open: true}}
	f.Journal = Journal{
		Version: JournalVersion, Stage: StageProve, Intent: Intent{Target: "h", Listeners: f.Manifest.Listeners},
		Followed: Followed{Invocation: "i", Starts: 1, Started: f.Now.Add(-time.Second)},
	}
	return f
}

// after lets time pass with every fact as fresh as before.
func (f *Facts) after(d time.Duration) {
	f.Now = f.Now.Add(d)
	f.Cluster.At = f.Now
	for name, p := range f.Probes {
		p.At = f.Now
		f.Probes[name] = p
	}
}

func TestProof(t *testing.T) {
	for _, c := range []struct {
		name  string
		spoil func(*Facts)
		phase Phase
		code  Code
		kind  ActionKind
	}{
		{"proved at once without a soak", func(*Facts) {}, PhaseSoaking, CodeSaving, ActSave},
		{"soaks", func(f *Facts) { f.Manifest.Soak = time.Minute }, PhaseSoaking, CodeSoaking, ActNone},
		{"the process ended", func(f *Facts) { f.Unit.State = UnitFailed }, PhaseRollback, CodeRollingBack, ActSave},
		{"the process ended, by a command's word", func(f *Facts) { f.Unit.State, f.Unit.Ambiguous = UnitStopped, true }, PhaseRollback, CodeRollingBack, ActSave},
		{"somebody stopped it", func(f *Facts) { f.Unit.State = UnitStopped }, PhaseStopped, CodeStopped, ActBegin},
		{"a loop", func(f *Facts) { f.Unit.Restarts = 1 }, PhaseRollback, CodeRollingBack, ActSave},
		{"wrong configuration", func(f *Facts) { f.Running.Listeners = map[string]string{"EXTERNAL": "y"} }, PhaseRollback, CodeRollingBack, ActSave},
		{"wrong configuration, by kafka-configs", func(f *Facts) {
			f.Running.Listeners, f.Running.Dynamic = map[string]string{"EXTERNAL": "y"}, []string{"listeners"}
		}, PhaseStarting, CodeDynamicConfig, ActBegin},
		{"kafka-configs covers the same", func(f *Facts) { f.Running.Dynamic = []string{"listeners"} }, PhaseSoaking, CodeSaving, ActSave},
		{"no answer yet", func(f *Facts) { f.Running.Err = "refused" }, PhaseStarting, CodeStarting, ActBegin},
		{"a listener does not serve", func(f *Facts) { f.Probes["EXTERNAL"] = ProbeFacts{At: f.Now, Why: "refused"} }, PhaseStarting, CodeListener, ActBegin},
		{"fenced in another's view", func(f *Facts) { f.Cluster.Views[1].Alive = []int32{2, 3} }, PhaseCatchingUp, CodeFenced, ActBegin},
		{"not in sync", func(f *Facts) { f.Cluster.Views[0].Topics[0].Partitions[0].ISR = []int32{2, 3} }, PhaseCatchingUp, CodeCatchingUp, ActBegin},
		{"own view missing", func(f *Facts) { f.Cluster.Views[0].Broker = 3 }, PhaseCatchingUp, CodeGateViews, ActBegin},
		{"the load balancer saw it closed", func(f *Facts) {
			f.Probes["EXTERNAL"] = ProbeFacts{At: f.Now, Serving: true, Open: true, Balancer: true, Gap: true, Answered: 1}
		}, PhaseBalancer, CodeBalancer, ActNone},
		{"the load balancer saw it held", func(f *Facts) {
			f.Probes["EXTERNAL"] = ProbeFacts{At: f.Now, Serving: true, Open: true, Balancer: true}
		}, PhaseSoaking, CodeSaving, ActSave},
		{"another process by a hand or a reboot", func(f *Facts) { f.Unit.Invocation = "j" }, PhaseStarting, CodeStarting, ActSave},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := newMachine(Options{Self: 1, StartTimeout: time.Minute, ProgressTimeout: time.Minute})
			f := proving()
			c.spoil(&f)
			d := m.Decide(&f)
			if d.Status.Phase != c.phase || d.Status.Reason.Code != c.code || d.Do.Kind != c.kind {
				t.Errorf("got %s %s %q: %s", d.Status.Phase, d.Status.Reason.Code, d.Do.Kind, d.Status.Reason.Text())
			}
		})
	}
}

// The time is counted by what this agent process has seen: the journal's is of a clock
// that may have been set meanwhile.
func TestNoAnswerForTooLong(t *testing.T) {
	m := newMachine(Options{Self: 1, StartTimeout: time.Minute})
	f := proving()
	f.Running.Err = "refused"
	f.Journal.Started = f.Now.Add(-time.Hour)
	if d := m.Decide(&f); d.Status.Reason.Code != CodeStarting {
		t.Errorf("rolled back at once: %+v", d.Status)
	}
	// An agent process that was frozen finds the last answer old, not the broker late: it asks once more.
	asked := f.Running.At
	f.after(time.Minute + time.Second)
	f.Running.At = asked
	if d := m.Decide(&f); d.Status.Reason.Code != CodeStarting || d.Do.Kind != ActRunning {
		t.Errorf("rolled back unasked: %+v", d)
	}
	f.Running.At = f.Now
	if d := m.Decide(&f); d.Status.Reason.Code != CodeRollingBack || d.Do.Journal.Stage != StageRestore {
		t.Errorf("got %+v", d)
	}
}

// The same for a listener: the probe's judgement must be of after the time-out.
func TestListenerDownForTooLong(t *testing.T) {
	m := newMachine(Options{Self: 1, StartTimeout: time.Minute})
	f := proving()
	p := f.Probes["EXTERNAL"]
	p.Serving = false
	f.Probes = map[string]ProbeFacts{"EXTERNAL": p}
	m.Decide(&f)
	judged := p.At
	f.after(time.Minute + time.Second)
	p.At = judged
	f.Probes = map[string]ProbeFacts{"EXTERNAL": p}
	if d := m.Decide(&f); d.Status.Reason.Code != CodeListener {
		t.Errorf("rolled back for an old judgement: %+v", d.Status)
	}
	p.At = f.Now
	f.Probes = map[string]ProbeFacts{"EXTERNAL": p}
	if d := m.Decide(&f); d.Status.Reason.Code != CodeRollingBack {
		t.Errorf("got %+v", d.Status)
	}
}

// A process that somebody starts while server.properties is written may run the file before: that is no failure of the
// new one, and no proof of a value that it does not show. Nobody follows it before it was restarted. One that was
// started later must run the new one.
func TestStartedWhileTheFileIsWritten(t *testing.T) {
	const unit, agent, unseen = "the unit is seen between the write and the start", "the agent has died after the write", "the unit cannot be seen after the write"
	for _, c := range []struct {
		name    string
		between string
		hidden  bool
		runs    string // listener EXTERNAL
		want    Stage
	}{
		{"old, as far as anybody knows", "", false, "y", StageNone},
		{"the same to look at", "", false, "x", StageProve},
		{"the same to look at, with a hidden value", "", true, "x", StageNone},
		{"surely new, and wrong", unit, false, "y", StageRestore},
		{"surely new, with a hidden value", unit, true, "x", StageProve},
		{"new or old", agent, false, "y", StageNone},
		{"new or old, with a hidden value", agent, true, "x", StageNone},
		{"not seen", unseen, false, "y", StageNone},
		{"not seen, with a hidden value", unseen, true, "x", StageNone},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := claiming()
			f.Manifest.HiddenChanges, f.Manifest.Soak = c.hidden, time.Minute
			f.Unit.State = UnitStopped
			f.Running = RunningFacts{At: f.Now, Err: "connection refused"}
			m := machine()
			d := settle(m, &f)
			if d.Do.Kind != ActSave {
				t.Fatalf("got %+v", d)
			}
			f.Journal = *d.Do.Journal
			if d = settle(m, &f); d.Do.Kind != ActApply {
				t.Fatalf("got %+v", d)
			}
			f.Manifest.FileChanges, f.Manifest.HiddenChanges = false, false
			f.after(10 * time.Millisecond)
			switch c.between {
			case unit:
				f.Unit.At = f.Now
				m.Decide(&f)
			case agent:
				m = machine()
			case unseen:
				f.Unit.At, f.Unit.State = f.Now, UnitUnknown
				m.Decide(&f)
			}
			f.after(10 * time.Millisecond)
			f.Unit.At, f.Unit.State, f.Unit.Invocation = f.Now, UnitRunning, "started by hand"
			f.Running = RunningFacts{At: f.Now, Listeners: map[string]string{"EXTERNAL": c.runs}}
			f.Probes = map[string]ProbeFacts{"EXTERNAL": {At: f.Now, Serving: true, Open: true}}
			f.Cluster.Views[0].Broker, f.Cluster.Views[1].Broker = 1, 2
			d = settle(m, &f)
			if d.Do.Kind != ActSave || d.Do.Journal.Stage != StageProve || !d.Status.Unproven {
				t.Fatalf("got %+v", d)
			}
			f.Journal = *d.Do.Journal
			m = machine() // what is known of the process is in the journal
			f.after(10 * time.Millisecond)
			f.Running.At = f.Now
			d = settle(m, &f)
			if c.want == StageProve {
				if d.Status.Phase != PhaseSoaking || d.Do.Kind != ActNone {
					t.Errorf("got %s %+v", d.Rule, d)
				}
				return
			}
			j := d.Do.Journal
			if d.Do.Kind != ActSave || j.Stage != c.want || !j.Unproven || d.Status.Unproven != (c.want == StageNone) {
				t.Fatalf("got %s %+v", d.Rule, d)
			}
			if c.want == StageRestore {
				return
			}
			// It is claimed as any other restart is, and it stays the first in the order up to that restart.
			f.Journal = *j
			f.after(10 * time.Millisecond)
			if d = settle(m, &f); d.Do.Kind != ActSave || d.Do.Journal.Stage != StageApply || !d.Do.Journal.MayBeOld || !d.Status.Unproven {
				t.Fatalf("got %s %+v", d.Rule, d)
			}
			f.Journal = *d.Do.Journal
			f.Journal.Stage, f.Unit.Invocation = StageRestart, "its own"
			if d = settle(m, &f); d.Do.Kind != ActSave || d.Do.Journal.Stage != StageProve || d.Do.Journal.MayBeOld {
				t.Errorf("got %s %+v", d.Rule, d)
			}
		})
	}
}

// The process that the agent's own restart starts reads the file that was written before: one that runs
// something else is a failure, also where the unit was not asked between the write and the restart.
func TestOwnRestartReadsTheNewFile(t *testing.T) {
	f := claiming()
	m := machine()
	var did []ActionKind
	for range 12 {
		d := settle(m, &f)
		did = append(did, d.Do.Kind)
		switch d.Do.Kind {
		case ActSave:
			f.Journal = *d.Do.Journal
		case ActApply:
			f.Unit.At, f.Manifest.FileChanges = f.Now, false
		case ActRestart:
			f.after(3 * time.Second)
			f.Unit.At, f.Unit.State, f.Unit.Invocation = f.Now, UnitRunning, "its own"
			f.Running = RunningFacts{At: f.Now, Listeners: map[string]string{"EXTERNAL": "nonsense"}}
		default:
			f.after(10 * time.Millisecond)
		}
		if slices.Contains(did, ActRestart) && f.Journal.Stage != StageRestart && f.Journal.Stage != StageProve {
			break
		}
	}
	if !slices.Contains(did, ActApply) || f.Journal.Stage != StageRestore {
		t.Errorf("after %v the stage is %q", did, f.Journal.Stage)
	}
}

// While the step could not be written down, nobody asked the process anything.
func TestProofThatBeginsLate(t *testing.T) {
	m := newMachine(Options{Self: 1, StartTimeout: time.Minute})
	f := proving()
	f.Journal.Stage = StageRestart
	m.Decide(&f)
	f.after(10 * time.Minute) // of a full disk
	f.Journal.Stage = StageProve
	f.Running.At = time.Time{}
	if d := m.Decide(&f); d.Status.Reason.Code != CodeStarting {
		t.Errorf("rolled back unasked: %+v", d.Status)
	}
}

func TestStalledIsNotPutBack(t *testing.T) {
	m := newMachine(Options{Self: 1, StartTimeout: time.Minute, ProgressTimeout: time.Minute})
	f := proving()
	f.Cluster.Views[0].Topics[0].Partitions[0].ISR = []int32{2, 3}
	m.Decide(&f)
	f.after(2 * time.Minute)
	if d := m.Decide(&f); d.Status.Reason.Code != CodeStalled || d.Do.Kind == ActSave {
		t.Errorf("got %+v", d)
	}
	f.Cluster.Views[0].Topics[0].Partitions[0].ISR = []int32{1, 2, 3}
	f.after(time.Second)
	var last *Decision
	for range 3 { // the probes are told, then it is proved
		last = m.Decide(&f)
	}
	if last.Do.Kind != ActSave || last.Do.Journal.Stage != StageNone {
		t.Errorf("it does not go on by itself: %+v", last)
	}
}

func TestSoakStartsAgain(t *testing.T) {
	m := newMachine(Options{Self: 1})
	f := proving()
	f.Manifest.Soak = time.Minute
	m.Decide(&f)
	f.after(50 * time.Second)
	f.Cluster.Views[1].Alive = []int32{2, 3}
	m.Decide(&f)
	f.after(time.Second)
	f.Cluster.Views[1].Alive = []int32{1, 2, 3}
	m.Decide(&f)
	f.after(50 * time.Second)
	if d := m.Decide(&f); d.Status.Reason.Code != CodeSoaking {
		t.Errorf("a break of the health did not start the soak again: %+v", d.Status)
	}
}

// TestSoakEndsOnAFreshView: a cluster whose answers take long is asked less often, but always once more at the end.
func TestSoakEndsOnAFreshView(t *testing.T) {
	m := newMachine(Options{Self: 1})
	f := proving()
	f.Manifest.Soak, f.Cluster.Took = time.Minute, 2*time.Second
	m.Decide(&f)
	f.after(55 * time.Second)
	m.Decide(&f)
	seen := f.Cluster.At
	f.after(6 * time.Second)
	f.Cluster.At = seen
	if d := m.Decide(&f); d.Do.Kind != ActObserve || d.Status.Reason.Code != CodeSoaking {
		t.Errorf("on a view of 6 s ago it does %q: %+v", d.Do.Kind, d.Status)
	}
	f.Cluster.At = f.Now.Add(-3 * time.Second)
	if d := m.Decide(&f); d.Do.Kind != ActSave || d.Do.Journal.Stage != StageNone {
		t.Errorf("on a view that has just come it does %q: %+v", d.Do.Kind, d.Status)
	}
}

func TestBalancerThatIsNone(t *testing.T) {
	m := newMachine(Options{Self: 1})
	f := proving()
	f.Probes["EXTERNAL"] = ProbeFacts{At: f.Now, Serving: true, Open: true, Balancer: true, Gap: true}
	if d := m.Decide(&f); d.Status.Reason.Code != CodeBalancer {
		t.Fatalf("got %+v", d.Status)
	}
	f.after(balancerGone + time.Second)
	if d := m.Decide(&f); d.Do.Kind != ActSave {
		t.Errorf("it waits for a load balancer that is none: %+v", d.Status)
	}
}
