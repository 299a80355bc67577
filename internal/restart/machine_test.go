package restart

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
)

// claiming is broker 1, which drifts, holds the claim and may go.
func claiming() Facts {
	f := cluster3()
	f.Cluster.Quorum.Leader = 3
	f.Manifest.Listeners, f.Manifest.FileChanges = map[string]string{"EXTERNAL": "x"}, true
	f.Running = RunningFacts{At: f.Now, Listeners: map[string]string{"INTERNAL": "i"}}
	f.Journal = Journal{Version: JournalVersion, Past: Past{Served: true}}
	for _, id := range []int32{2, 3} {
		f.Log.View.Statuses[id] = Status{Broker: id, Cluster: "c", Manifest: "h", Target: "h", Phase: PhaseWaiting, Drift: true, Up: true, Seen: f.Now}
	}
	f.Log.View.Clock = f.Now
	claimOf(&f, 1)
	return f
}

// going is broker 1 at a step, with everything seen and nothing in the way.
func going(s Stage) Facts {
	f := claiming()
	f.Manifest.FileChanges = false
	f.Journal.Stage, f.Journal.Target, f.Journal.Listeners, f.Journal.Invocation = s, "h", f.Manifest.Listeners, "i"
	f.Journal.Before = map[string]string{}
	if s == StageUndo {
		f.Log.View.Halts["h"], f.Journal.Halted = Halt{Broker: 1, Manifest: "h"}, true
	}
	return f
}

func newMachine(o Options) *Machine {
	m := NewMachine(o)
	return &m
}

func machine() *Machine {
	return newMachine(Options{Self: 1, StartTimeout: time.Minute, Takeover: 2 * time.Minute})
}

// settle steps until the machine waits or wants something irreversible or durable.
func settle(m *Machine, f *Facts) *Decision {
	for range 10 {
		d := m.Decide(f)
		switch d.Do.Kind {
		case ActObserve:
			f.Cluster.At = f.Now
		case ActRunning:
			f.Running.At = f.Now
		case ActBegin, ActEnd:
		case ActAppend:
			f.Log.At = f.Now
			v := f.Log.View.Clone()
			for _, r := range d.Do.Records {
				r.Offset, r.Time = v.Next, v.Clock
				v.Fold(r)
			}
			f.Log.View = v
		case ActNone, ActSave, ActApply, ActRestore, ActRestart:
			return d
		}
	}
	return &Decision{}
}

func TestUnitThatCannotBeSeen(t *testing.T) {
	for _, step := range []Stage{StageNone, StageApply, StageRestart, StageUndo, StageNeedsOperator} {
		f := going(step)
		f.Journal.Halted = step == StageNeedsOperator || step == StageUndo
		f.Unit = UnitFacts{At: f.Now, State: UnitUnknown, Detail: "no answer"}
		if d := settle(machine(), &f); d.Do.Kind != ActNone || d.Status.Reason.Code != CodeUnitUnknown {
			t.Errorf("at step %q: %q, %+v", step, d.Do.Kind, d.Status.Reason)
		}
	}
}

// What allowed a restart is at most 2 s old when it happens, not when it is decided on.
func TestRestartIsBounded(t *testing.T) {
	f := going(StageRestart)
	m := machine()
	m.mem.begun = f.Now
	read := f.Now
	f.Now = f.Now.Add(time.Second)
	f.Cluster.At = f.Now
	d := settle(m, &f)
	if d.Do.Kind != ActRestart || !d.Do.NotAfter.Equal(read.Add(fresh)) {
		t.Errorf("%q, not after %s, the log was read at %s", d.Do.Kind, d.Do.NotAfter, read)
	}
	f = going(StageUndo)
	f.Now = f.Now.Add(time.Second)
	if d := settle(machine(), &f); d.Do.Kind != ActRestart || d.Do.NotAfter.After(f.Cluster.At.Add(fresh)) {
		t.Errorf("on the way back: %q, not after %s, the cluster was seen at %s", d.Do.Kind, d.Do.NotAfter, f.Cluster.At)
	}
}

func TestFailedStepsAreSpaced(t *testing.T) {
	for _, kind := range []ActionKind{ActSave, ActApply, ActRestart, ActAppend} {
		f := claiming()
		f.Failed = map[ActionKind]ActionError{kind: {Err: "no space left", At: f.Now, Count: 1}}
		d := settle(machine(), &f)
		if d.Do.Kind != ActNone || d.Status.Reason.Code != CodeActionFailed {
			t.Errorf("after a failed %s: %q, %+v", kind, d.Do.Kind, d.Status.Reason)
		}
		// A claim that cannot be used keeps others waiting, unless nothing can be written to the log.
		if _, _, held := f.Log.View.Claim(1); held != (kind == ActAppend) {
			t.Errorf("after a failed %s: claim held: %t", kind, held)
		}
	}
	f := proving()
	f.Failed = map[ActionKind]ActionError{ActSave: {Err: "no space left", At: f.Now, Count: 1}}
	if d := settle(machine(), &f); d.Do.Kind != ActNone || d.Status.Reason.Code != CodeActionFailed {
		t.Errorf("a proof with a full disk: %q, %+v", d.Do.Kind, d.Status.Reason)
	}
}

// A password that is in the file already is to be run, too.
func TestHiddenValueIsCarriedThrough(t *testing.T) {
	f := claiming()
	f.Running.Listeners = f.Manifest.Listeners
	f.Manifest.HiddenChanges = true
	d := settle(machine(), &f)
	if d.Do.Kind != ActSave || !d.Do.Journal.Hidden {
		t.Fatalf("got %+v", d)
	}
	f.Journal = *d.Do.Journal
	f.Journal.Stage = StageNone // the gates did not let it go on
	f.Manifest.HiddenChanges, f.Manifest.FileChanges = false, false
	if d = settle(machine(), &f); d.Do.Kind != ActSave || d.Do.Journal.Stage != StageApply {
		t.Errorf("it is forgotten: %q, %+v", d.Do.Kind, d.Status.Reason)
	}
	p := proving()
	p.Journal.Hidden = true
	if d = settle(machine(), &p); d.Do.Kind != ActSave || d.Do.Journal.Stage != StageNone || d.Do.Journal.Hidden {
		t.Errorf("it is never done: %+v", d)
	}
}

// Where nobody knows what a broker ran before it went down, a rollback may
// bring back anything that serves.
func TestBeforeUnknown(t *testing.T) {
	f := claiming()
	f.Unit.State, f.Running = UnitFailed, RunningFacts{}
	d := settle(machine(), &f)
	if d.Do.Kind != ActSave || !d.Do.Journal.BeforeUnknown {
		t.Fatalf("got %+v", d)
	}
	f = proving()
	f.Journal.Stage, f.Journal.Before, f.Journal.BeforeUnknown, f.Journal.Halted = StageProveUndo, nil, true, true
	f.Running.Listeners = map[string]string{"EXTERNAL": "as it was"}
	if d = settle(machine(), &f); d.Do.Kind != ActSave || d.Do.Journal.Stage != StageNone {
		t.Errorf("got %+v", d)
	}
}

// The clocks of agents and of the log's leader may differ by hours.
func TestClocksDiffer(t *testing.T) {
	f := claiming()
	f.Log.View.Claims[0].At = f.Now.Add(time.Hour)
	if d := settle(machine(), &f); d.Do.Kind != ActSave {
		t.Errorf("a claim of an hour ahead: %q, %+v", d.Do.Kind, d.Status.Reason)
	}
	f = claiming()
	for id, st := range f.Log.View.Statuses {
		st.Seen = f.Now.Add(-time.Hour)
		f.Log.View.Statuses[id] = st
	}
	f.Log.View.Clock = f.Now.Add(-time.Hour + time.Second)
	if d := settle(machine(), &f); d.Do.Kind != ActSave {
		t.Errorf("the log's clock an hour behind: %q, %+v", d.Do.Kind, d.Status.Reason)
	}
}

// A claim is removed whose agent was silent by the log's clock and for as long
// as this agent process has listened.
func TestTakeoverListensFirst(t *testing.T) {
	f := claiming()
	f.Log.View.Claims = nil
	claimOf(&f, 2)
	silent := f.Log.View.Statuses[2]
	silent.Seen = f.Now.Add(-time.Hour)
	silent.Drift, silent.Phase = false, PhaseSoaking // it died before it gave its claim back
	f.Log.View.Statuses[2] = silent
	m := machine()
	if d := settle(m, &f); d.Do.Kind != ActNone || d.Status.Reason.Code != CodeQueue {
		t.Fatalf("at once: %q, %+v", d.Do.Kind, d.Status.Reason)
	}
	f.Now = f.Now.Add(2*time.Minute + time.Second)
	f.Log.At, f.Cluster.At = f.Now, f.Now
	if d := m.Decide(&f); d.Do.Kind != ActAppend || len(d.Do.Records) != 2 || d.Do.Records[1].Value != nil {
		t.Errorf("after listening: %q, %+v", d.Do.Kind, d.Status.Reason)
	}
}

// To forbid, an old observation is enough: without a quorum every observation takes so long
// that none would ever be young enough.
func TestBlockedNeedsNoFreshLook(t *testing.T) {
	f := claiming()
	m := machine()
	m.Decide(&f)
	f.Cluster.At = f.Now
	f.Now = f.Now.Add(5 * time.Second)
	f.Cluster.Quorum, f.Cluster.QuorumErr, f.Cluster.Took = nil, "timed out", 3*time.Second
	if d := m.Decide(&f); d.Status.Reason.Code != CodeGateQuorum {
		t.Errorf("got %+v", d.Status.Reason)
	}
}

// A broker that others see fenced may still have the vote that makes the majority.
func TestUndoKeepsTheMajority(t *testing.T) {
	f := going(StageUndo)
	for i := range f.Cluster.Views {
		f.Cluster.Views[i].Alive = []int32{2, 3}
	}
	if d := settle(machine(), &f); d.Do.Kind != ActRestart {
		t.Fatalf("got %q, %+v", d.Do.Kind, d.Status.Reason)
	}
	f.Cluster.Quorum.Voters[1].Behind = time.Minute
	if d := settle(machine(), &f); d.Status.Reason.Code != CodeGateQuorum {
		t.Errorf("got %q, %+v", d.Do.Kind, d.Status.Reason)
	}
	f.Cluster.Quorum.Voters[0].Behind = time.Minute // its own vote is lost already
	if d := settle(machine(), &f); d.Do.Kind != ActRestart {
		t.Errorf("got %q, %+v", d.Do.Kind, d.Status.Reason)
	}
}

// The process that runs on the wrong file must be known before it is restarted.
func TestUndoKnowsTheProcess(t *testing.T) {
	f := going(StageRestore)
	f.LastGood, f.Unit = true, UnitFacts{At: f.Now, State: UnitUnknown, Detail: "no answer"}
	f.Log.View.Halts["h"], f.Journal.Halted = Halt{Broker: 1, Manifest: "h"}, true
	if d := settle(machine(), &f); d.Do.Kind != ActNone || d.Status.Reason.Code != CodeUnitUnknown {
		t.Errorf("got %q to step %q, %+v", d.Do.Kind, d.Do.Journal.Stage, d.Status.Reason)
	}
	f.Unit = UnitFacts{At: f.Now, State: UnitRunning, Invocation: "i"}
	if d := settle(machine(), &f); d.Do.Kind != ActSave || d.Do.Journal.Stage != StageProveUndo {
		t.Errorf("it runs what it ran before: %q to step %q, %+v", d.Do.Kind, d.Do.Journal.Stage, d.Status.Reason)
	}
	f.Running.Listeners = f.Manifest.Listeners
	if d := settle(machine(), &f); d.Do.Kind != ActSave || d.Do.Journal.Stage != StageUndo || d.Do.Journal.Invocation != "i" {
		t.Errorf("got %q to step %q, %+v", d.Do.Kind, d.Do.Journal.Stage, d.Status.Reason)
	}
}

// What ran before the first attempt is what a rollback brings back, whatever somebody has started since on the file that
// the attempt had written. Edits of others are those of the last one that saw any.
func TestSecondAttempt(t *testing.T) {
	f := claiming()
	f.Running.Listeners = map[string]string{"EXTERNAL": "nonsense"}
	f.Journal.Unproven, f.Journal.Target, f.Journal.Invocation = true, "h", f.Unit.Invocation
	f.Journal.Origin = Origin{Before: map[string]string{"EXTERNAL": "old"}, Edits: "num.io.threads"}
	d := settle(machine(), &f)
	if d.Do.Kind != ActSave || d.Do.Journal.Stage != StageApply || d.Do.Journal.Before["EXTERNAL"] != "old" || d.Do.Journal.Edits != "num.io.threads" {
		t.Errorf("%q: %+v, %+v", d.Do.Kind, d.Status.Reason, d.Do.Journal)
	}
	f.Manifest.Pending = []PendingEdit{{Name: "log.dirs", Running: "/a", File: "/b"}}
	if d := settle(machine(), &f); d.Do.Journal == nil || !strings.Contains(d.Do.Journal.Edits, "log.dirs") {
		t.Errorf("with an edit: %q, %+v", d.Do.Kind, d.Do.Journal)
	}
	f.Manifest.Pending, f.Journal.Target = nil, "another"
	if d := settle(machine(), &f); d.Do.Journal == nil || d.Do.Journal.Before["EXTERNAL"] != "nonsense" || d.Do.Journal.Edits != "" {
		t.Errorf("for another manifest: %q, %+v", d.Do.Kind, d.Do.Journal)
	}
}

// Where nobody can be asked, nobody says that a broker is not needed, unless there is no other.
func TestUndoSeesNobody(t *testing.T) {
	f := going(StageUndo)
	f.Cluster.Views, f.Cluster.Err = nil, "no broker answers"
	if d := settle(machine(), &f); d.Do.Kind == ActRestart || d.Status.Reason.Code != CodeGateViews {
		t.Errorf("got %q, %+v", d.Do.Kind, d.Status.Reason)
	}
	f.Cluster.Brokers, f.Manifest.Zones = nil, nil // but other agents have been heard of
	if d := settle(machine(), &f); d.Do.Kind == ActRestart || d.Status.Reason.Code != CodeGateViews {
		t.Errorf("without a table: got %q, %+v", d.Do.Kind, d.Status.Reason)
	}
	f.Log.View.Statuses = map[int32]Status{1: {Broker: 1}}
	if d := settle(machine(), &f); d.Do.Kind != ActRestart {
		t.Errorf("alone: got %q, %+v", d.Do.Kind, d.Status.Reason)
	}
}

// Where no broker answers and nobody listens on the own port, nobody needs this one: but both must be of this moment,
// and a process that listens and says nothing may have replicas that others need.
func TestUndoWhereNobodyListens(t *testing.T) {
	f := going(StageUndo)
	f.Cluster.Views, f.Cluster.Err = nil, "no broker answers"
	m := machine()
	turn := func(what string, do ActionKind) *Decision {
		t.Helper()
		d := m.Decide(&f)
		if d.Do.Kind != do {
			t.Fatalf("%s: got %q, %+v", what, d.Do.Kind, d.Status.Reason)
		}
		return d
	}
	f.Cluster.At, f.Running = f.Now, RunningFacts{At: f.Now, Err: "connection refused", NobodyListens: f.Now}
	f.Now = f.Now.Add(time.Millisecond)
	turn("views of before this step", ActObserve)
	f.Cluster.At, f.Cluster.NobodyListens = f.Now, []int32{1, 2, 3}
	turn("its port was tried before", ActRunning)
	f.Now = f.Now.Add(time.Millisecond)
	f.Running = RunningFacts{At: f.Now, Err: "timed out"}
	turn("it listens", ActNone)
	f.Cluster.At, f.Cluster.NobodyListens = f.Now, []int32{3} // broker 2 may be up, and out of reach from here
	f.Running = RunningFacts{At: f.Now, Err: "connection refused", NobodyListens: f.Now}
	turn("broker 2 may listen", ActNone)
	f.Cluster.NobodyListens = []int32{2, 3}
	f.Running = RunningFacts{At: f.Now, Err: "connection refused", NobodyListens: f.Now}
	f.Now = f.Now.Add(near)
	d := turn("nobody listens", ActRestart)
	if want := f.Running.NobodyListens.Add(fresh); !d.Do.NotAfter.Equal(want) {
		t.Errorf("not after %s, want %s", d.Do.NotAfter, want)
	}
	f.Now = f.Now.Add(time.Millisecond)
	if d := turn("its port was tried long ago", ActObserve); d.Status.Reason.Code != CodeGateViews {
		t.Errorf("%+v", d.Status.Reason)
	}
}

// Answers that come late allow nothing: whoever waits for quicker ones says so, whatever it is about to do, and asks
// less often than it would be answered.
func TestAnswersComeLate(t *testing.T) {
	claimed, apply, undo := claiming(), going(StageApply), going(StageUndo)
	for name, f := range map[string]*Facts{"after the claim": &claimed, "right before the restart": &apply, "in a rollback": &undo} {
		m := machine()
		m.Decide(f) // it has a claim, and has seen the process
		f.Cluster.Took = 2400 * time.Millisecond
		f.Now = f.Now.Add(f.Cluster.Took)
		f.Cluster.At, f.Log.At, f.Running.At = f.Now.Add(-f.Cluster.Took), f.Now, f.Now
		d := m.Decide(f)
		if d.Do.Kind != ActNone || d.Status.Reason.Code != CodeGateViews || !strings.Contains(d.Status.Reason.Text(), "took 2.4s to answer") {
			t.Errorf("%s: %q, %+v", name, d.Do.Kind, d.Status.Reason)
		}
		if want := 4*f.Cluster.Took - f.Cluster.Took; d.Wake != want {
			t.Errorf("%s: looks again after %s, want %s", name, d.Wake, want)
		}
		f.Now = f.Now.Add(3 * f.Cluster.Took)
		f.Log.At, f.Running.At = f.Now, f.Now
		if d := m.Decide(f); d.Do.Kind != ActObserve {
			t.Errorf("%s: then %q, %+v", name, d.Do.Kind, d.Status.Reason)
		}
	}
}

// Empty metadata name no broker: that is no word that this one is fenced.
func TestUndoIsToldNothing(t *testing.T) {
	f := going(StageUndo)
	for i := range f.Cluster.Views {
		f.Cluster.Views[i] = BrokerView{Broker: f.Cluster.Views[i].Broker}
	}
	if d := settle(machine(), &f); d.Do.Kind == ActRestart || d.Status.Reason.Code != CodeGateViews {
		t.Errorf("got %q, %+v", d.Do.Kind, d.Status.Reason)
	}
}

// One broker that says that this one is fenced may be cut off itself, and say what was. Two brokers are believed, and one
// where nobody listens on the own port.
func TestUndoOfAFencedBroker(t *testing.T) {
	f := going(StageUndo)
	for i := range f.Cluster.Views {
		f.Cluster.Views[i].Broker, f.Cluster.Views[i].Alive = int32(i+2), []int32{2, 3}
	}
	if d := settle(machine(), &f); d.Do.Kind != ActRestart {
		t.Errorf("by the word of two: got %q, %+v", d.Do.Kind, d.Status.Reason)
	}
	f.Cluster.Views = f.Cluster.Views[:1]
	if d := settle(machine(), &f); d.Do.Kind == ActRestart || d.Status.Reason.Code != CodeGateViews {
		t.Errorf("by the word of one: got %q, %+v", d.Do.Kind, d.Status.Reason)
	}
	f.Running = RunningFacts{At: f.Now, Err: "connection refused", NobodyListens: f.Now}
	if d := settle(machine(), &f); d.Do.Kind != ActRestart {
		t.Errorf("nobody listens: got %q, %+v", d.Do.Kind, d.Status.Reason)
	}
	f.Cluster.Quorum = &Quorum{Leader: 2, Voters: []Voter{{ID: 1}, {ID: 2}, {ID: 3, Behind: time.Minute}}}
	if d := settle(machine(), &f); d.Do.Kind == ActRestart || d.Status.Reason.Code != CodeGateQuorum {
		t.Errorf("its vote is needed: got %q, %+v", d.Do.Kind, d.Status.Reason)
	}
}

// A process that kept ending may have been started on the last good file, and serve.
func TestUndoAsksForWhatServesAgain(t *testing.T) {
	f := going(StageUndo)
	f.Unit.Restarts = 4
	f.Cluster.Views[0].Topics[0].Partitions[0].ISR = []int32{1, 2}
	if d := settle(machine(), &f); d.Status.Reason.Code != CodeGatePartitions {
		t.Errorf("got %q, %+v", d.Do.Kind, d.Status.Reason)
	}
}

// A process that does not come up on the last good file either needs an operator,
// also where something else has failed before: the log could not be reached.
func TestUndoThatDoesNotComeUp(t *testing.T) {
	f := going(StageUndo)
	f.Failed = map[ActionKind]ActionError{ActAppend: {Err: "no leader", At: f.Now, Count: 3}}
	m := machine()
	if d := settle(m, &f); d.Do.Kind != ActRestart {
		t.Fatalf("got %q, %+v", d.Do.Kind, d.Status.Reason)
	}
	f.Unit.State = UnitFailed
	if d := settle(m, &f); d.Do.Kind != ActSave || d.Do.Journal.Stage != StageProveUndo {
		t.Errorf("got %q, %+v", d.Do.Kind, d.Status.Reason)
	}
}

// Who resumes while the broker is still away need not do it again: the halt is not
// repeated, and the failure is forgotten once the broker serves.
func TestResumeBeforeTheBrokerServes(t *testing.T) {
	for _, step := range []Stage{StageRestore, StageUndo, StageProveUndo, StageNeedsOperator} {
		f := going(step)
		f.Unit.State, f.Journal.Halted = UnitFailed, false
		m := machine()
		f.Log.View.Halts["h"] = Halt{Broker: 1, Manifest: "h"}
		d := settle(m, &f)
		if d.Do.Kind != ActSave || !d.Do.Journal.Halted || d.Do.Journal.Stage != step {
			t.Fatalf("at step %q: %q, %+v", step, d.Do.Kind, d.Do.Journal)
		}
		f.Journal = *d.Do.Journal
		delete(f.Log.View.Halts, "h")
		if d := m.Decide(&f); d.Do.Kind == ActAppend {
			t.Errorf("at step %q: the halt is repeated", step)
		}
	}
	f := proving()
	f.Journal.Stage, f.Journal.Halted, f.Unit.State = StageNeedsOperator, true, UnitFailed
	m := machine()
	if d := settle(m, &f); !strings.Contains(d.Status.Reason.Text(), "resume` was heard") {
		t.Errorf("%+v", d.Status.Reason)
	}
	f.Unit.State = UnitRunning
	f.Cluster.Views[1].Alive = []int32{2, 3}
	if d := settle(m, &f); d.Status.Phase != PhaseFailed || d.Status.Reason.Code != CodeFenced {
		t.Errorf("it serves again: %s, %+v", d.Status.Phase, d.Status.Reason)
	}
	f.Cluster.Views[1].Alive = []int32{1, 2, 3}
	d := settle(m, &f)
	if d.Do.Kind != ActSave || d.Do.Journal.Stage != StageNone || d.Do.Journal.Failed != "h" {
		t.Fatalf("%q, %+v, %+v", d.Do.Kind, d.Status.Reason, d.Do.Journal)
	}
	f.Journal = *d.Do.Journal
	if d := settle(m, &f); d.Do.Kind != ActSave || d.Do.Journal.Failed != "" {
		t.Errorf("%q, %+v, %+v", d.Do.Kind, d.Status.Reason, d.Do.Journal)
	}
	// A new life that has not read the log yet does not know.
	f = going(StageNeedsOperator)
	f.Journal.Halted, f.Unit.State, f.Log = true, UnitFailed, LogFacts{View: NewView()}
	if d := settle(machine(), &f); d.Do.Kind == ActAppend || strings.Contains(d.Status.Reason.Text(), "resume") {
		t.Errorf("the log unread: %q, %+v", d.Do.Kind, d.Status.Reason)
	}
}

// A newer manifest may allow less than the one under which another broker went down.
func TestMaxUnavailableShrinks(t *testing.T) {
	f := claiming()
	claimOf(&f, 2)
	st := f.Log.View.Statuses[2]
	st.Phase = PhaseStarting
	f.Log.View.Statuses[2] = st
	if b := stepOn(f).vetoed(lastLook); b == nil || b.Code != CodeGateBrokers {
		t.Errorf("got %+v", b)
	}
}

// Who restarts a broker by hand in the middle of it is no failure of the manifest.
func TestRestartedByHandMeanwhile(t *testing.T) {
	f := going(StageApply)
	f.Manifest.FileChanges, f.Journal.Unproven = true, true
	f.Unit.Invocation = "j"
	m := machine()
	for range 2 { // the step is given up, and then the intention, for nothing was written
		d := settle(m, &f)
		if d.Do.Kind != ActSave || d.Do.Journal.Stage != StageNone {
			t.Fatalf("got %q, %+v", d.Do.Kind, d.Do.Journal)
		}
		f.Journal = *d.Do.Journal
	}
	if f.Journal.Unproven {
		t.Errorf("a process on the old file is to be proved: %+v", f.Journal)
	}
	f.Manifest.FileChanges, f.Journal.Unproven = false, true
	if d := settle(m, &f); d.Do.Journal.Stage != StageProve {
		t.Errorf("a process on the new file is not proved: %+v", d)
	}
}

// What the log said last is no reason to show once it cannot be reached for longer than a
// move of its leader takes. A broker that is down may be the one that has it: with its claim, it is started.
func TestLogIsAway(t *testing.T) {
	for _, c := range []struct {
		name  string
		spoil func(*Facts)
		away  time.Duration
		want  Code
	}{
		{"not for long", func(*Facts) {}, 10 * time.Second, CodeQueue},
		{"for long", func(*Facts) {}, 31 * time.Second, CodeLogUnreadable},
		{"for long, and the broker is down", func(f *Facts) { f.Unit.State = UnitFailed }, 31 * time.Second, CodeLogUnreadable},
		{
			"for long, and the broker is down and has its claim", func(f *Facts) {
				f.Unit.State, f.Log.View.Claims = UnitFailed, nil
				claimOf(f, 1)
			}, 31 * time.Second, CodeApplying,
		},
		{"for long, and all is done", func(f *Facts) { f.Running.Listeners = f.Manifest.Listeners }, 31 * time.Second, CodeInSync},
	} {
		f := claiming()
		f.Log.View.Claims = nil
		claimOf(&f, 2)
		f.Manifest.FileChanges = false
		c.spoil(&f)
		f.Log.Err = "the batch at offset 7 is too large"
		m := machine()
		settle(m, &f)
		f.Now = f.Now.Add(c.away)
		f.Cluster.At, f.Running.At = f.Now, f.Now
		f.Log.View.Clock = f.Now
		if d := settle(m, &f); d.Status.Reason.Code != c.want {
			t.Errorf("%s: %+v", c.name, d.Status.Reason)
		}
		f.Log.Err = ""
		if d := settle(m, &f); d.Status.Reason.Code == CodeLogUnreadable {
			t.Errorf("%s, and it is back: %+v", c.name, d.Status.Reason)
		}
	}
}

// TestLogIsAwayFromAStoppedBroker: its agent does not name what the log said last, either.
func TestLogIsAwayFromAStoppedBroker(t *testing.T) {
	f, m := claiming(), machine()
	f.Log.View.Claims = nil
	f.Log.View.Pause = &Pause{By: "ann"}
	f.Unit.State, f.Running.Err = UnitStopped, "connection refused"
	if d := settle(m, &f); !strings.Contains(d.Status.Reason.Text(), "paused by ann") {
		t.Fatalf("%q, %+v", d.Do.Kind, d.Status.Reason)
	}
	f.Log.Err = "no leader"
	settle(m, &f)
	f.Now = f.Now.Add(deaf)
	f.Running.At = f.Now
	if d := settle(m, &f); d.Do.Kind != ActNone || d.Status.Reason.Code != CodeStopped ||
		!strings.Contains(d.Status.Reason.Text(), "the coordination log cannot be used for 30s") {
		t.Errorf("%q, %+v", d.Do.Kind, d.Status.Reason)
	}
}

func TestWhoKnowsNothingLeavesProbesAlone(t *testing.T) {
	f := claiming()
	f.Log = LogFacts{Err: "not read yet", View: NewView()}
	f.Journal = Journal{}
	if d := machine().Decide(&f); d.Allowed != nil {
		t.Errorf("got %v", d.Allowed)
	}
	f.Journal = Journal{Version: JournalVersion}
	if d := machine().Decide(&f); d.Allowed == nil {
		t.Error("a journal that says none is a word")
	}
}

// All who wait look at the cluster once in 10 s divided by their place: however
// many they are, together about once a second.
func TestWaitingLooksSeldom(t *testing.T) {
	looks := 0
	for ahead := 1; ahead <= 300; ahead++ {
		f := claiming()
		f.Log.View.Claims = nil
		f.Manifest.Zones = map[int32]string{1: "b"}
		for id := range int32(ahead) {
			f.Manifest.Zones[id+2] = "a"
			f.Log.View.Statuses[id+2] = Status{Broker: id + 2, Cluster: "c", Manifest: "h", Target: "h", Phase: PhaseWaiting, Drift: true, Up: true, Seen: f.Now}
		}
		f.Manifest.Zones[2], f.Manifest.Zones[3] = "a", "a"
		f.Cluster.Quorum.Leader = 1000
		f.Log.View.Statuses[3] = Status{Broker: 3, Cluster: "c", Manifest: "h", Target: "h", Phase: PhaseWaiting, Drift: true, Up: true, Seen: f.Now}
		d := settle(machine(), &f)
		if d.Status.Reason.Code != CodeTurn {
			t.Fatalf("%d ahead: %+v", ahead, d.Status.Reason)
		}
		looks += int(100 * time.Second / d.Wake)
	}
	if looks > 100 {
		t.Errorf("%d looks in 100 s", looks)
	}
}

// appends steps until records are to be appended, and returns their keys.
func appends(m *Machine, f *Facts) (keys []string) {
	for range 10 {
		switch d := m.Decide(f); d.Do.Kind {
		case ActObserve:
			f.Cluster.At = f.Now
		case ActRunning:
			f.Running.At = f.Now
		case ActAppend:
			for _, r := range d.Do.Records {
				keys = append(keys, r.Key)
			}
			return keys
		default:
			return nil
		}
	}
	return nil
}

// A claim that is blocked is kept, but for a broker on its way back, which may wait
// for nothing else; and it is not made again meanwhile.
func TestClaimGivesWay(t *testing.T) {
	for _, phase := range []Phase{PhaseWaiting, PhaseRollback} {
		f := claiming()
		st := f.Log.View.Statuses[2]
		st.Phase = phase
		f.Log.View.Statuses[2] = st
		for _, v := range f.Cluster.Views {
			v.Topics[0].Partitions[0].ISR = []int32{1, 3}
		}
		gives := slices.Contains(appends(machine(), &f), f.Log.View.Claims[0].Key)
		if gives != (phase == PhaseRollback) {
			t.Errorf("broker 2 is %s: the claim is given back: %v", phase, gives)
		}
		f.Log.View.Claims = nil
		claims := len(appends(machine(), &f)) > 0
		if claims != (phase == PhaseWaiting) {
			t.Errorf("broker 2 is %s: a claim is made: %v", phase, claims)
		}
	}
}

// A life whose journal is lost cannot see whether a hidden value was to change.
func TestClaimOfALostLife(t *testing.T) {
	f := claiming()
	f.Manifest.FileChanges, f.Running.Listeners = false, f.Manifest.Listeners
	f.Log.View.Claims[0].Target = "h"
	d := settle(machine(), &f)
	if d.Do.Kind != ActSave || !d.Do.Journal.Hidden {
		t.Fatalf("%q, %+v", d.Do.Kind, d.Do.Journal)
	}
	f.Journal = *d.Do.Journal
	if d := settle(machine(), &f); d.Do.Kind != ActSave || d.Do.Journal.Stage != StageApply {
		t.Errorf("%q, %+v", d.Do.Kind, d.Status.Reason)
	}
	f.Journal = Journal{Version: JournalVersion, Past: Past{Served: true}, Intent: Intent{Target: "h"}}
	if keys := appends(machine(), &f); !slices.Contains(keys, f.Log.View.Claims[0].Key) {
		t.Errorf("a claim that the journal knows is not given back: %v", keys)
	}
}

// A halt that cannot be written is one reason, not two in turn.
func TestHaltThatCannotBeWritten(t *testing.T) {
	f := claiming()
	f.Log.View.Claims = nil
	f.Journal.Failed, f.Journal.Why = "old", "it did not come up"
	f.Failed = map[ActionKind]ActionError{ActAppend: {Err: "no leader", At: f.Now.Add(-time.Hour), Count: 3}}
	if d := machine().Decide(&f); d.Do.Kind != ActAppend || d.Status.Reason.Code != CodeLogUnreadable || !strings.Contains(d.Status.Reason.Text(), "the halt cannot be written: no leader") {
		t.Errorf("%q, %+v", d.Do.Kind, d.Status.Reason)
	}
	f.Journal.Failed, f.Failed[ActAppend] = "h", ActionError{Err: "no leader", At: f.Now, Count: 4}
	if d := settle(machine(), &f); d.Do.Kind != ActNone || d.Status.Phase != PhaseFailed || !strings.Contains(d.Status.Reason.Text(), "the halt cannot be written: no leader") {
		t.Errorf("until it is tried again: %q, %s, %+v", d.Do.Kind, d.Status.Phase, d.Status.Reason)
	}
}

// Nor is a last good copy that is missing.
func TestNothingToPutBack(t *testing.T) {
	f := going(StageRestore)
	f.Journal.Halted, f.Log.View.Halts["h"] = true, Halt{Broker: 1, Manifest: "h"}
	f.Failed = map[ActionKind]ActionError{ActRestore: {Err: "no such file", At: f.Now.Add(-time.Hour), Count: 3}}
	if d := machine().Decide(&f); d.Do.Kind != ActRestore || d.Status.Reason.Code != CodeActionFailed {
		t.Errorf("%q, %+v", d.Do.Kind, d.Status.Reason)
	}
}

// TestTriedAgain: whoever looks while something is tried again sees why it failed. A restart of an earlier stage was
// another one.
func TestTriedAgain(t *testing.T) {
	save := proving()
	save.Failed = map[ActionKind]ActionError{ActSave: {Err: "no space", At: save.Now.Add(-time.Hour), Count: 1}}
	if d := settle(machine(), &save); d.Do.Kind != ActSave || d.Status.Reason.Code != CodeActionFailed {
		t.Errorf("the proof is saved again: %q, %+v", d.Do.Kind, d.Status.Reason)
	}
	for _, step := range []Stage{StageUndo, StageRestart} {
		f, m := going(step), machine()
		if step == StageRestart { // else it is given up
			f.Unit.State = UnitFailed
		}
		f.Done(ActRestart, errors.New("the start job has failed"), f.Now.Add(-time.Hour))
		if d := settle(m, &f); d.Do.Kind != ActRestart || d.Status.Reason.Code == CodeActionFailed {
			t.Errorf("%s, after a restart of another stage: %q, %+v", step, d.Do.Kind, d.Status.Reason)
		}
		for range 2 {
			f.Now = f.Now.Add(time.Second)
			f.Done(ActRestart, errors.New("not permitted"), f.Now)
			f.Now = f.Now.Add(time.Minute)
			f.Log.At, f.Unit.At = f.Now, f.Now
			for range 3 {
				d := m.Decide(&f)
				if d.Status.Reason.Code != CodeActionFailed || d.Status.Reason.Text() != "not permitted" {
					t.Errorf("%s, again: %q, %+v", step, d.Do.Kind, d.Status.Reason)
				}
				if d.Do.Kind == ActObserve {
					f.Cluster.At = f.Now
				}
			}
		}
	}
}

// TestStateLostBeforeAStart: an agent whose state directory was lost while its broker was stopped does not know that its
// file was never proved. A process that is started on it and runs something else goes first, and there is a copy to go
// back to.
func TestStateLostBeforeAStart(t *testing.T) {
	start := func(m *Machine, f *Facts) *Decision {
		f.Unit.State, f.Unit.Invocation, f.Now = UnitRunning, "another", f.Now.Add(time.Second)
		f.Unit.At, f.Log.At, f.Cluster.At = f.Now, f.Now, f.Now
		f.Running = RunningFacts{At: f.Now, Listeners: map[string]string{"INTERNAL": "i", "EXTERNAL": "nonsense"}}
		return settle(m, f)
	}
	stopped := func() Facts {
		f := claiming()
		f.Log.View.Claims, f.Journal, f.Manifest.FileChanges = nil, Journal{}, false
		f.Unit.State, f.Running.Err = UnitStopped, "connection refused"
		f.Cluster.Quorum.Leader = 1
		return f
	}
	f, m := stopped(), machine()
	settle(m, &f)
	d := start(m, &f)
	if d.Do.Kind != ActSave || !d.Do.Journal.Served || !d.Status.Unproven {
		t.Fatalf("started: %q, %+v", d.Do.Kind, d.Status)
	}
	f.Journal = *d.Do.Journal
	if d = settle(m, &f); d.Do.Kind != ActSave || d.Do.Journal.Stage != StageApply || !d.Do.Journal.MayBeOld {
		t.Fatalf("it does not go before the others: %q, %+v", d.Do.Kind, d.Status.Reason)
	}
	f.Journal = *d.Do.Journal
	if d = settle(m, &f); d.Do.Kind != ActApply {
		t.Errorf("no copy is kept: %q, %+v", d.Do.Kind, d.Status.Reason)
	}
	for name, spoil := range map[string]func(*Machine, *Facts){
		"a process that was there before": func(m *Machine, _ *Facts) { *m = *machine() },
		"a file that is not right":        func(_ *Machine, f *Facts) { f.Manifest.FileChanges = true },
		"a journal that knows of a file":  func(_ *Machine, f *Facts) { f.Journal.Target = "older" },
	} {
		f, m := stopped(), machine()
		settle(m, &f)
		spoil(m, &f)
		f.Journal.Served = true
		if d := start(m, &f); d.Status.Unproven {
			t.Errorf("%s: %+v", name, d.Status)
		}
	}

	// The state is lost in the middle of a restart: the claim is still there, and says so.
	f, m = stopped(), machine()
	f.Log.View.Claims = claiming().Log.View.Claims
	d = start(m, &f)
	if d.Do.Kind != ActSave || !d.Status.Unproven {
		t.Fatalf("a claim that the journal does not know: %q, %+v", d.Do.Kind, d.Status)
	}
	f.Journal = *d.Do.Journal
	if d = settle(m, &f); d.Do.Kind != ActSave || d.Do.Journal.Stage != StageApply || !d.Do.Journal.MayBeOld {
		t.Errorf("it does not go on with its claim: %q, %+v", d.Do.Kind, d.Status.Reason)
	}
}

// TestHaltWhileNothingCanBeRestored: the halt is tried again where the log has refused it and the restore keeps failing.
func TestHaltWhileNothingCanBeRestored(t *testing.T) {
	f, m := going(StageRestore), machine()
	delete(f.Log.View.Halts, "h")
	if d := m.Decide(&f); d.Do.Kind != ActAppend {
		t.Fatalf("first %q, %+v", d.Do.Kind, d.Status.Reason)
	}
	f.Failed = map[ActionKind]ActionError{
		ActAppend: {Err: "no leader", At: f.Now.Add(-time.Hour), Count: 1}, ActRestore: {Err: "no such file", At: f.Now, Count: 1},
	}
	if d := m.Decide(&f); d.Do.Kind != ActAppend || d.Status.Failed != "h" {
		t.Errorf("the restore has failed: %q, %+v", d.Do.Kind, d.Status)
	}
	f.Failed[ActAppend] = ActionError{Err: "no leader", At: f.Now, Count: 2}
	if d := m.Decide(&f); d.Do.Kind != ActNone || d.Status.Reason.Code != CodeActionFailed {
		t.Errorf("both have just failed: %q, %+v", d.Do.Kind, d.Status.Reason)
	}
}

// TestHaltWhileOthersNeedIt: it is tried again, too, where the rollback waits for other brokers.
func TestHaltWhileOthersNeedIt(t *testing.T) {
	f := going(StageUndo)
	delete(f.Log.View.Halts, "h")
	f.Journal.Halted = false
	f.Cluster.Views[0].Topics[0].Partitions[0].ISR = []int32{1, 2}
	// What settle appends is in the log, and the agent takes note of it.
	if d := settle(machine(), &f); d.Do.Kind != ActSave || !d.Do.Journal.Halted || d.Do.Journal.Stage != StageUndo {
		t.Errorf("got %q, %+v", d.Do.Kind, d.Status.Reason)
	}
}

// TestRestartThatCameTooLate: a process that had ended before the order is no process that was restarted.
func TestRestartThatCameTooLate(t *testing.T) {
	f, m := going(StageRestart), machine()
	f.Unit.State, f.Unit.Detail = UnitFailed, "killed"
	f.Running.Err = "connection refused"
	if d := settle(m, &f); d.Do.Kind != ActRestart {
		t.Fatalf("first %q, %+v", d.Do.Kind, d.Status.Reason)
	}
	f.Done(ActRestart, errors.New("too old by now"), f.Now)
	if d := m.Decide(&f); d.Do.Kind != ActNone || d.Status.Reason.Code != CodeActionFailed {
		t.Errorf("too late: %q, %+v", d.Do.Kind, d.Status.Reason)
	}
	f.Now = f.Now.Add(time.Minute)
	f.Log.At, f.Cluster.At, f.Unit.At = f.Now, f.Now, f.Now
	if d := settle(m, &f); d.Do.Kind != ActRestart {
		t.Errorf("a minute later: %q, %+v", d.Do.Kind, d.Status.Reason)
	}
	f.Done(ActRestart, nil, f.Now)
	if d := m.Decide(&f); d.Do.Kind != ActSave || d.Do.Journal.Stage != StageProve {
		t.Errorf("restarted, and ended again: %q, %+v", d.Do.Kind, d.Status.Reason)
	}
	f.Unit.Invocation = ""
	f.Done(ActRestart, errors.New("exit status 1"), f.Now)
	f.Journal.Invocation = ""
	if d := m.Decide(&f); d.Do.Kind != ActSave || d.Do.Journal.Stage != StageProve {
		t.Errorf("by commands: %q, %+v", d.Do.Kind, d.Status.Reason)
	}
}

// TestSecondDecidesOnSlowAnswers: where a broker hangs, the answers take longer than they may be old for a restart. Who
// asks whether two may go together must not ask for ever.
func TestSecondDecidesOnSlowAnswers(t *testing.T) {
	f := cluster3()
	claimOf(&f, 3)
	f.Cluster.Took, f.Cluster.At = 5*time.Second, f.Now.Add(-6*time.Second)
	f.Cluster.NoAnswer = []int32{3}
	if d := stepOn(f).second(); d == nil || d.Status.Reason.Code != CodeGateBrokers {
		t.Errorf("on answers that have just come: %+v", d)
	}
	f.Cluster.At = f.Now.Add(-8 * time.Second)
	if d := stepOn(f).second(); d == nil || d.Do.Kind != ActObserve || d.Status.Reason.Code != CodeClaiming {
		t.Errorf("on older ones: %+v", d)
	}
}

// TestTargetIsToldOnceJudged: others must not begin with a manifest before this
// broker knows whether it can take it.
func TestTargetIsToldOnceJudged(t *testing.T) {
	f, m := claiming(), machine()
	f.Now = f.Now.Add(time.Second)
	d := m.Decide(&f)
	if d.Do.Kind != ActRunning || d.Status.Manifest != "h" || d.Status.Target != "" {
		t.Fatalf("before the process was asked: %+v", d)
	}
	f.Running.At, f.Running.Dynamic = f.Now, []string{"listeners"}
	if d = m.Decide(&f); d.Status.Phase != PhaseRefused || d.Status.Target != "h" {
		t.Errorf("after it: %+v", d)
	}
}

// Whether a rolling restart is still asked for only the log knows: a new agent process that has
// not read it yet says so, and goes on where nothing more can be lost.
func TestRollingRestartAfterACrash(t *testing.T) {
	for _, c := range []struct {
		name  string
		spoil func(*Facts)
		want  Code
		goes  bool
	}{
		{"still asked for", func(*Facts) {}, CodeRestarting, true},
		{"log not read yet", func(f *Facts) { f.Log = LogFacts{View: NewView()} }, CodeLogUnreadable, false},
		{"log not read yet, and the broker is down", func(f *Facts) {
			f.Log, f.Unit.State = LogFacts{View: NewView()}, UnitFailed
		}, CodeRestarting, true},
		{"not asked for any more", func(f *Facts) { f.Log.View.Requests = nil }, CodeClaiming, false},
		{"another manifest", func(f *Facts) { f.Manifest.Hash = "h2" }, CodeClaiming, false},
	} {
		f := going(StageRestart)
		f.Journal.Target = "h+r"
		f.Log.View.Requests = []Request{{ID: "r", At: f.Now}}
		for id, st := range f.Log.View.Statuses {
			st.Target = "h+r"
			f.Log.View.Statuses[id] = st
		}
		c.spoil(&f)
		m := machine()
		m.mem.begun = f.Now
		d := settle(m, &f)
		if goes := d.Do.Kind == ActRestart; goes != c.goes || d.Status.Reason.Code != c.want || !goes && d.Do.Journal.Stage != StageNone {
			t.Errorf("%s: %q to step %q, %+v", c.name, d.Do.Kind, d.Do.Journal.Stage, d.Status.Reason)
		}
	}
}

// A stopped broker's file was written for one manifest, and another one came that was noted and not
// written yet: whoever starts the broker starts it on the first one, which nobody has proved.
func TestStartedOnTheOlderUnprovenFile(t *testing.T) {
	f := claiming()
	f.Log.View.Claims = nil
	f.Unit.State = UnitStopped
	f.Running = RunningFacts{At: f.Now, Err: "connection refused"}
	f.Journal.Unproven, f.Journal.Target, f.Journal.Invocation = true, "older", f.Unit.Invocation
	f.Journal.Listeners = map[string]string{"EXTERNAL": "older"}
	m := machine()
	d := settle(m, &f)
	if d.Do.Kind != ActSave || d.Do.Journal.Target != "h" {
		t.Fatalf("got %q, %+v", d.Do.Kind, d.Do.Journal)
	}
	f.Journal = *d.Do.Journal
	f.Unit.State, f.Unit.Invocation = UnitRunning, "started by hand"
	d = m.Decide(&f)
	if j := d.Do.Journal; d.Do.Kind != ActSave || j.Stage != StageProve || j.Target != "older" || j.Listeners["EXTERNAL"] != "older" || !j.Unproven || j.Prior != nil {
		t.Errorf("got %q, %+v", d.Do.Kind, j)
	}
}

// Two kinds of action that fail in turn do not hide each other: each keeps its pause.
func TestFailuresByKind(t *testing.T) {
	kinds := []ActionKind{ActAppend, ActSave, ActApply, ActRestore, ActRestart}
	for _, a := range kinds {
		for _, b := range kinds {
			if a == b {
				continue
			}
			f := claiming()
			f.Done(a, errors.New("first"), f.Now)
			f.Done(b, errors.New("second"), f.Now)
			s := stepOn(f)
			if !s.tooSoon(a) || !s.tooSoon(b) {
				t.Errorf("%s and %s: paused %t, %t", a, b, s.tooSoon(a), s.tooSoon(b))
			}
			f.Done(b, nil, f.Now)
			if s = stepOn(f); !s.tooSoon(a) || s.tooSoon(b) {
				t.Errorf("%s, and %s that has succeeded: paused %t, %t", a, b, s.tooSoon(a), s.tooSoon(b))
			}
		}
	}
	f := claiming()
	for n := 1; n <= 3; n++ {
		if got := f.Done(ActSave, errors.New("full"), f.Now); got != n {
			t.Errorf("failure %d counts as %d", n, got)
		}
	}
}

// At boot the start of the broker is queued and waits until this agent is ready: its file is made
// right before. In mid restart the same answer is no stop by somebody's hand.
func TestQueuedStart(t *testing.T) {
	f := claiming()
	f.Log = LogFacts{View: NewView()} // no broker runs that could hold it
	f.Journal.Served = false
	f.Unit.State, f.Unit.Invocation, f.Unit.Queued = UnitStopped, "", true
	f.Running = RunningFacts{Err: "connection refused"}
	m := machine()
	d := settle(m, &f)
	if d.Do.Kind != ActSave || !d.Do.Journal.Unproven {
		t.Fatalf("at boot: %q, %+v", d.Do.Kind, d.Status.Reason)
	}
	f.Journal = *d.Do.Journal
	if d = settle(m, &f); d.Do.Kind != ActApply {
		t.Fatalf("at boot: %q, %+v", d.Do.Kind, d.Status.Reason)
	}
	for _, c := range []struct {
		step Stage
		code Code
	}{{StageRestart, CodeRestarting}, {StageProve, CodeStarting}, {StageUndo, CodeRollingBack}, {StageProveUndo, CodeRollingBack}} {
		f := going(c.step)
		f.Journal.Halted, f.Log.View.Halts["h"] = true, Halt{Broker: 1, Manifest: "h"}
		if c.step == StageRestart || c.step == StageProve {
			f.Journal.Halted, f.Log.View.Halts = false, map[string]Halt{}
		}
		f.Unit.State, f.Unit.Queued = UnitStopped, true
		if d := settle(machine(), &f); d.Do.Kind != ActNone || d.Status.Reason.Code != c.code {
			t.Errorf("at %q: %q to %q, %+v", c.step, d.Do.Kind, d.Do.Journal.Stage, d.Status.Reason)
		}
	}
}

// TestCause: a rolling restart never blames the manifest, unless the manifest has changed something as well.
func TestCause(t *testing.T) {
	asked := Intent{RequestID: "r", Listeners: map[string]string{"E": "x"}}
	same := map[string]string{"E": "x"}
	for _, c := range []struct {
		name string
		j    Journal
		want Cause
	}{
		{"a restart that was asked for", Journal{Intent: asked, Origin: Origin{Before: same}}, CauseBroker},
		{"the same after the state was lost", Journal{Intent: asked, Origin: Origin{BeforeUnknown: true}}, CauseRequest},
		{"the same with edits of others", Journal{Intent: asked, Origin: Origin{Before: same, Edits: "log.dirs"}}, CauseEdits},
		{"a manifest that changes a listener", Journal{Intent: asked}, CauseManifest},
		{"a manifest that changes a password", Journal{Intent: asked, Origin: Origin{Before: same}, FileState: FileState{Hidden: true}}, CauseManifest},
	} {
		if got := c.j.cause(); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}
