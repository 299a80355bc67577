package restart

import (
	"strings"
	"testing"
	"time"
)

// spoiled has one thing in the way of broker 1, which differs from the manifest and has no claim.
var spoiled = []struct {
	name  string
	spoil func(*Facts)
	want  Code
	says  []string // words that the reason must have: what, where, what next
	// others is true if the other brokers must not begin either.
	others bool
}{
	{"the unit cannot be seen", func(f *Facts) { f.Unit.State, f.Unit.Detail = UnitUnknown, "no bus" }, CodeUnitUnknown, []string{"no bus"}, false},
	{"stopped", func(f *Facts) {
		f.Unit.State, f.Manifest.FileChanges = UnitStopped, false
		f.Running = RunningFacts{At: f.Now, Err: "connection refused"}
	}, CodeStopped, []string{"start it"}, false},
	{"stopped, and its broker answers", func(f *Facts) { f.Unit.State = UnitStopped }, CodeOutsideUnit, []string{"broker 1 answers", "start the unit"}, true},
	{"refused", func(f *Facts) { f.Manifest.Refusal = because(CodeRefused, "port 1 is taken") }, CodeRefused, []string{"port 1"}, true},
	{"being judged", func(f *Facts) { f.Manifest.Refusal = because(CodeJudging, "Kafka itself judges the file") }, CodeJudging, []string{"judges"}, false},
	{"a port that another process has", func(f *Facts) { f.Running.PortTaken = "listener EXTERNAL: port 1 is taken" }, CodeRefused, []string{"port 1 is taken"}, true},
	{"dynamic configuration", func(f *Facts) { f.Running.Dynamic = []string{"listeners"} }, CodeDynamicConfig, []string{"--delete-config listeners"}, true},
	{"the unit would do harm", func(f *Facts) { f.Unit.Hazard = "ExecStop= ends every Kafka process; remove it" }, CodeUnitHazard, []string{"ExecStop=", "remove it"}, true},
	{"the restart would be refused", func(f *Facts) { f.Right.Denied = "not permitted; run `kpls-agent setup`" }, CodeRestartDenied, []string{"setup"}, true},
	{"settings were dropped", func(f *Facts) {
		f.Running.Dropped = []Dropped{{"num.io.threads", "default", "32", "8"}}
		f.Journal.DropNoted = f.Unit.Invocation
	}, CodeSettingsDropped, []string{"broker 1", "num.io.threads", "32", "8"}, true},
	{"settings would be dropped", func(f *Facts) {
		f.Manifest.Drops = []DynamicDrop{{"num.io.threads", "default", "32", "8", "num.io.threads=16"}}
	}, CodeSettingsWouldDrop, []string{"broker 1", "num.io.threads=16"}, true},
	{"an edit that Kafka would refuse", func(f *Facts) {
		f.Manifest.Pending = []PendingEdit{{Name: "a", Running: "1", File: "2"}, {Name: "num.io.threads", Running: "8", File: "8 # tuned", Invalid: "no number"}}
	}, CodePendingEdits, []string{"num.io.threads", "8 # tuned", "no number"}, true},
	{"any edit, and none is allowed", func(f *Facts) {
		f.Manifest.Pending, f.Manifest.PendingPolicy = []PendingEdit{{Name: "a", Running: "1", File: "2"}}, PendingRefuse
	}, CodePendingEdits, []string{"a from `1` to `2`", "rollout.pending_edits"}, true},
	{"an override on the command line", func(f *Facts) {
		f.Manifest.Pending, f.Manifest.PendingPolicy = []PendingEdit{{Name: "a", Running: "1", File: "2", Override: true}}, PendingRefuse
	}, CodePendingEdits, []string{"a from `1` to `2` (by --override on the broker's command line)"}, true},
	{"a log directory in error", func(f *Facts) { f.Running.LogDirs = []LogDir{{Path: "/d"}, {Path: "/e", Fault: "/e is offline"}} }, CodeGateStorage, []string{"/e is offline"}, true},
	{"log directories that are not told", func(f *Facts) { f.Running.LogDirsErr = "CLUSTER_AUTHORIZATION_FAILED" }, CodeGateStorage, []string{"CLUSTER_AUTHORIZATION_FAILED"}, true},
	{"the log was never read", func(f *Facts) { f.Log.At = time.Time{} }, CodeLogUnreadable, nil, false},
	{"paused", func(f *Facts) { f.Log.View.Pause = &Pause{By: "ann"} }, CodePaused, []string{"ann", "resume"}, false},
	{"halted", func(f *Facts) { f.Log.View.Halts["h"] = Halt{Broker: 3, Why: "exits"} }, CodeHalted, []string{"broker 3", "exits", "correct the manifest"}, false},
	{"halted by the broker itself", func(f *Facts) { f.Log.View.Halts["h"] = Halt{Broker: 3, Why: "exits", Cause: CauseBroker} }, CodeHalted, []string{"changed nothing", "resume"}, false},
	{"halted by others' edits", func(f *Facts) { f.Log.View.Halts["h"] = Halt{Broker: 3, Why: "exits", Cause: CauseEdits} }, CodeHalted, []string{"edits", "resume"}, false},
	{"halted by a rolling restart", func(f *Facts) { f.Log.View.Halts["h"] = Halt{Broker: 3, Why: "exits", Cause: CauseRequest} }, CodeHalted, []string{"rolling restart", "on that broker", "resume"}, false},
	{"halted by dropped settings", func(f *Facts) { f.Log.View.Halts["h"] = Halt{Broker: 3, Why: "x", Cause: CauseSettings} }, CodeHalted, []string{"broker 3 serves", "resume"}, false},
	{"no agreement", func(f *Facts) {
		st := f.Log.View.Statuses[2]
		st.Manifest = "other"
		f.Log.View.Statuses[2] = st
	}, CodeManifestDiffers, []string{"broker 2"}, false},
	{"a probe of a listener on its way out", func(f *Facts) {
		f.Manifest.Absent = []string{"OLD"}
		st := f.Log.View.Statuses[2]
		st.Open = []string{"OLD"}
		f.Log.View.Statuses[2] = st
	}, CodeProbesClosing, []string{"broker 2"}, false},
	{"another one goes first", func(f *Facts) { f.Cluster.Quorum.Leader = 1 }, CodeTurn, []string{"broker 2"}, false},
	{"another one has the claim", func(f *Facts) { claimOf(f, 3) }, CodeQueue, []string{"broker 3"}, false},
}

// unclaimed is broker 1 with a process that differs, nothing in the way, and no claim.
func unclaimed() Facts {
	f := claiming()
	f.Log.View.Claims = nil
	return f
}

// What the agent says at rest and what `plan` says is in the way are one and the same.
func TestPlanSaysWhatTheAgentSays(t *testing.T) {
	for _, c := range spoiled {
		f := unclaimed()
		c.spoil(&f)
		p := NewPlan(1, f)
		d := settle(machine(), &f)
		if d.Status.Reason.Code != c.want || p.Blocked == nil || p.Blocked.Code != c.want {
			t.Errorf("%s: the agent says %+v, plan %+v; want %q", c.name, d.Status.Reason, p.Blocked, c.want)
			continue
		}
		if d.Do.Kind == ActSave || d.Do.Kind == ActRestart || d.Do.Kind == ActApply {
			t.Errorf("%s: and yet it does %q", c.name, d.Do.Kind)
		}
		for _, word := range c.says {
			if !strings.Contains(d.Status.Reason.Text(), word) {
				t.Errorf("%s: %q does not say %q", c.name, d.Status.Reason.Text(), word)
			}
		}
		if (d.Status.Phase == PhaseRefused) != c.others {
			t.Errorf("%s: phase %s", c.name, d.Status.Phase)
		}
	}
	f := unclaimed()
	if p := NewPlan(1, f); p.Blocked != nil {
		t.Errorf("nothing is in the way, and plan says %+v", p.Blocked)
	}
}

// What one VM knows to be in the way is what keeps the other brokers from beginning, and
// `kpls-agent check` says all of it without the log.
func TestCheckSaysWhatOneVMKnows(t *testing.T) {
	for _, c := range spoiled {
		f := unclaimed()
		c.spoil(&f)
		f.Log = LogFacts{}
		got := Unfit(1, f)
		own := c.others || c.want == CodeUnitUnknown || c.want == CodeStopped || c.want == CodeJudging
		if own != (len(got) == 1 && got[0].Code == c.want) || !own && len(got) > 0 {
			t.Errorf("%s: %+v", c.name, got)
		}
	}
}

// What stands in the way before a claim stops a restart under way, too, or the comment of
// vetoes says why not.
func TestVetoesUnderWay(t *testing.T) {
	not := map[Code]bool{CodeUnitUnknown: true, CodeStopped: true, CodeOutsideUnit: true, CodeDynamicConfig: true, CodeProbesClosing: true, CodeLogUnreadable: true}
	for _, c := range spoiled {
		if not[c.want] {
			continue
		}
		f := going(StageApply)
		c.spoil(&f)
		if c.want == CodeQueue { // its own claim comes later
			f.Log.View.Claims[0], f.Log.View.Claims[1] = f.Log.View.Claims[1], f.Log.View.Claims[0]
		}
		if d := settle(machine(), &f); d.Do.Kind != ActSave || d.Do.Journal.Stage != StageNone || d.Status.Reason.Code != c.want {
			t.Errorf("%s: %q to step %q, %+v", c.name, d.Do.Kind, d.Do.Journal.Stage, d.Status.Reason)
		}
	}
}

// Every veto that `plan` looks at stands in one case at least: of spoiled, or of the gates.
func TestEveryVetoHasItsCase(t *testing.T) {
	stood := map[string]bool{}
	look := func(f Facts) {
		s := planned(1, &f)
		for i := range vetoes {
			if v := &vetoes[i]; v.when&planning != 0 && v.check(s) != nil {
				stood[v.name] = true
			}
		}
	}
	for _, c := range spoiled {
		f := unclaimed()
		c.spoil(&f)
		look(f)
	}
	for _, c := range spoiledGates {
		f := cluster3()
		c.spoil(&f)
		look(f)
	}
	deaf := unclaimed() // an agent says so after half a minute
	deaf.Log.Err = "no leader"
	look(deaf)
	for _, v := range vetoes {
		if v.when&planning != 0 && !stood[v.name] {
			t.Errorf("%s stands in no case of spoiled (vetoes_test.go) or spoiledGates (gates_test.go)", v.name)
		}
	}
}

// Each name stands once, and every situation has its vetoes.
func TestVetoesAreNamed(t *testing.T) {
	seen, situations := map[string]bool{}, situation(0)
	for _, v := range vetoes {
		if seen[v.name] || v.name == "" || v.when == 0 {
			t.Errorf("%q", v.name)
		}
		seen[v.name] = true
		situations |= v.when
		if v.when&(taking|answered|beforeClaim) != 0 && v.rest == nil {
			t.Errorf("%s: nobody says what the agent does at rest", v.name)
		}
	}
	if situations != anyBroker<<1-1 {
		t.Errorf("situations %b", situations)
	}
}

// A restart that the service manager refuses leaves the probes and the claim as they were before it.
func TestRefusedRestart(t *testing.T) {
	f := going(StageRestart)
	m := machine()
	m.mem.begun = f.Now
	f.Failed = map[ActionKind]ActionError{ActRestart: {Err: "not permitted", At: f.Now, Count: 1}}
	d := settle(m, &f)
	if d.Do.Kind != ActSave || d.Do.Journal.Stage != StageNone || d.Status.Reason.Code != CodeActionFailed {
		t.Fatalf("got %q to %q, %+v", d.Do.Kind, d.Do.Journal.Stage, d.Status.Reason)
	}
	f.Journal = *d.Do.Journal
	if d = m.Decide(&f); d.Do.Kind != ActEnd {
		t.Fatalf("the probes are not told: %q", d.Do.Kind)
	}
	d = settle(m, &f)
	if _, _, held := f.Log.View.Claim(1); held || d.Do.Kind != ActNone {
		t.Errorf("claim held: %t, %q, %+v", held, d.Do.Kind, d.Status.Reason)
	}
}

// Kafka dropped its dynamic settings at our own restart: everybody stops, nothing is rolled back,
// and the claim stays until the halt is in the log.
func TestDroppedSettingsHalt(t *testing.T) {
	f := proving()
	claimOf(&f, 1)
	f.Running.Dropped = []Dropped{{"num.io.threads", "default", "32", "8"}}
	f.Manifest.Soak = 20 * time.Second // longer than what the process said stays fresh
	m := machine()
	var d *Decision
	for range 200 {
		d = m.Decide(&f)
		if d.Do.Kind == ActAppend {
			break
		}
		running := f.Running.At
		if d.Do.Kind == ActNone {
			f.after(d.Wake)
		}
		f.Cluster.At = f.Now
		if d.Do.Kind != ActRunning { // asked once for this process, and not again while it soaks
			f.Running.At = running
		}
	}
	if len(d.Do.Records) != 1 {
		t.Fatalf("got %+v", d)
	}
	v := NewView()
	v.Fold(d.Do.Records[0])
	h, ok := v.Halts["h"]
	if !ok || h.Cause != CauseSettings || !strings.Contains(h.Why, "num.io.threads") {
		t.Fatalf("got %+v", h)
	}
	f.Log.View.Halts["h"] = h
	d = settle(m, &f)
	if d.Do.Kind != ActSave || d.Do.Journal.DropNoted != f.Unit.Invocation || d.Do.Journal.Stage != StageProve {
		t.Fatalf("got %q, %+v", d.Do.Kind, d.Do.Journal)
	}
	f.Journal = *d.Do.Journal
	d = settle(m, &f)
	if d.Do.Kind != ActSave || d.Do.Journal.Stage != StageNone || d.Do.Journal.Passed != "" || d.Do.Journal.Failed != "" {
		t.Fatalf("got %q, %+v", d.Do.Kind, d.Do.Journal)
	}
	f.Journal = *d.Do.Journal
	delete(f.Log.View.Halts, "h") // resume
	if d = settle(m, &f); d.Status.Reason.Code != CodeSettingsDropped || d.Status.Phase != PhaseIdle {
		t.Errorf("after resume: %+v", d.Status)
	}
	if _, ok := f.Log.View.Halts["h"]; ok {
		t.Error("it halts again after resume")
	}
}

// The service manager's own restart is waited for where the file is one that a process has run,
// or where no process came to run; on a new file it is a failure.
func TestAutomaticRestart(t *testing.T) {
	for _, c := range []struct {
		name              string
		unchanged         bool
		restarts, without int
		fails             bool
	}{
		{"a new file", false, 1, 0, true},
		{"a new file, and ExecStartPre= failed", false, 1, 1, false},
		{"a new file, ExecStartPre= failed and then the process ended", false, 2, 1, true},
		{"the file as it was", true, 1, 0, false},
		{"the file as it was, again and again", true, maxStarts + 1, 0, true},
		{"ExecStartPre= fails again and again", false, maxStarts + 1, maxStarts + 1, true},
	} {
		f := proving()
		if c.unchanged {
			f.Journal.Before = f.Journal.Listeners
		}
		f.Unit.Restarts, f.Unit.StartFailures = c.restarts, c.without
		d := settle(machine(), &f)
		if fails := d.Do.Kind == ActSave && d.Do.Journal.Stage == StageRestore; fails != c.fails {
			t.Errorf("%s: %q to %q, %+v", c.name, d.Do.Kind, d.Do.Journal.Stage, d.Status.Reason)
		}
	}
}

// A newer manifest ends a proof that waits for a listener, since it may be just what corrects it.
func TestNewerManifestEndsAProof(t *testing.T) {
	for _, c := range []struct {
		name  string
		newer func(*Facts)
		ends  bool
	}{
		{"no newer one", func(*Facts) {}, false},
		{"a newer one with another file", func(f *Facts) { f.Manifest.Hash, f.Manifest.FileChanges = "newer", true }, true},
		{"a newer one with the same file", func(f *Facts) { f.Manifest.Hash = "newer" }, false},
		{"a newer one that is refused", func(f *Facts) {
			f.Manifest.Hash, f.Manifest.FileChanges, f.Manifest.Refusal = "newer", true, because(CodeRefused, "x")
		}, false},
	} {
		f := proving()
		f.Probes = map[string]ProbeFacts{"EXTERNAL": {At: f.Now, Why: "EOF"}}
		f.Journal.Unproven = true
		c.newer(&f)
		d := settle(machine(), &f)
		ends := d.Do.Kind == ActSave && d.Do.Journal.Stage == StageNone
		if ends != c.ends || ends && !d.Do.Journal.Unproven {
			t.Errorf("%s: %q to %q, %+v", c.name, d.Do.Kind, d.Do.Journal.Stage, d.Status.Reason)
		}
	}
}

// timeouts.start ends a proof that waits for a listener, whatever else happens meanwhile.
func TestStartTimeoutEndsAProof(t *testing.T) {
	f := proving()
	f.Journal.Before = map[string]string{}
	f.Probes = map[string]ProbeFacts{"EXTERNAL": {At: f.Now, Why: "EOF"}}
	m := machine()
	for waited := time.Duration(0); waited < 2*time.Minute; waited += time.Second {
		d := settle(m, &f)
		if d.Do.Kind == ActSave && d.Do.Journal.Stage == StageRestore {
			if waited < time.Minute || !strings.Contains(d.Do.Journal.Why, "EOF") {
				t.Errorf("after %s: %q", waited, d.Do.Journal.Why)
			}
			return
		}
		f.after(time.Second)
		f.Probes["EXTERNAL"] = ProbeFacts{At: f.Now, Why: "EOF"}
	}
	t.Error("it never ends")
}

// Only a topic's effective minimum makes it unprotected; a higher one of any level must hold, too.
func TestStrictISR(t *testing.T) {
	for _, c := range []struct {
		need, strict int
		isr          []int32
		passes       bool
	}{
		{1, 0, []int32{1, 2}, true},
		{1, 2, []int32{1, 2, 3}, true},
		{1, 2, []int32{1, 2}, false},
		{2, 1, []int32{1, 2, 3}, true},
		{1, 3, []int32{1, 2, 3}, false},
	} {
		f := cluster3()
		f.Cluster.MinISR["orders"], f.Cluster.StrictISR = c.need, map[string]int{"orders": c.strict}
		for _, v := range f.Cluster.Views {
			for i := range v.Topics[0].Partitions {
				v.Topics[0].Partitions[i].ISR = c.isr
			}
		}
		if r := stepOn(f).blockedBy("gate_partitions"); (r == nil) != c.passes {
			t.Errorf("%+v: %+v", c, r)
		}
	}
}

// An agent process that begins during a restart, or one that has hung, knows nothing of the log directories:
// the process is asked before it is taken down.
func TestProcessIsAskedBeforeItGoes(t *testing.T) {
	for _, step := range []Stage{StageApply, StageRestart} {
		f := going(step)
		f.Running = RunningFacts{}
		m := machine()
		if d := m.Decide(&f); d.Do.Kind != ActRunning {
			t.Errorf("at %q: %q, %+v", step, d.Do.Kind, d.Status.Reason)
		}
		f.Running = RunningFacts{At: f.Now, Err: "timed out"}
		if d := settle(m, &f); d.Do.Kind != ActSave || d.Do.Journal.Stage != StageNone || d.Status.Reason.Code != CodeNoAnswer {
			t.Errorf("at %q, no answer: %q, %+v", step, d.Do.Kind, d.Status.Reason)
		}
	}
}

// Probes close by a record: where it cannot be written, that is what is in the way.
func TestClosingCannotBeWritten(t *testing.T) {
	f := unclaimed()
	f.Manifest.Absent, f.Log.View.Active["OLD"], f.Journal.Active = []string{"OLD"}, true, []string{"OLD"}
	f.Failed = map[ActionKind]ActionError{ActAppend: {Err: "no leader", At: f.Now, Count: 1}}
	if d := settle(machine(), &f); d.Status.Reason.Code != CodeLogUnreadable || !strings.Contains(d.Status.Reason.Text(), "no leader") {
		t.Errorf("got %+v", d.Status.Reason)
	}
}

// A claim is given back by a record: where it cannot be written, that is what keeps the others waiting.
func TestClaimCannotBeGivenBack(t *testing.T) {
	f := claiming()
	f.Running.Listeners, f.Manifest.FileChanges = f.Manifest.Listeners, false
	f.Failed = map[ActionKind]ActionError{ActAppend: {Err: "no leader", At: f.Now, Count: 1}}
	d := settle(machine(), &f)
	if want := "the claim cannot be given back: no leader"; d.Status.Phase != PhaseIdle || d.Status.Reason.Text() != want {
		t.Errorf("got %s, %+v, want %q", d.Status.Phase, d.Status.Reason, want)
	}
}

// An agent that hung with a claim asks the process once more: what was set meanwhile ends the restart before the
// broker is taken down.
func TestDynamicConfigurationUnderWay(t *testing.T) {
	for _, step := range []Stage{StageApply, StageRestart} {
		f := going(step)
		f.Running.Dynamic = []string{"listeners"}
		d := settle(machine(), &f)
		if d.Do.Kind != ActSave || d.Do.Journal.Stage != StageNone || d.Status.Reason.Code != CodeDynamicConfig {
			t.Errorf("at step %q: %q, %+v", step, d.Do.Kind, d.Status.Reason)
		}
	}
}

// The first decisions of an agent note things down. Others must not begin on such a status, before the vetoes of
// this broker have been looked at: the port may be taken here.
func TestNoTargetBeforeTheVetoes(t *testing.T) {
	for _, c := range []struct {
		name string
		set  func(*Facts)
	}{
		{"a port that another process has", func(f *Facts) { f.Running.PortTaken = "port 39092 is taken" }},
		{"a dynamic configuration", func(f *Facts) { f.Running.Dynamic = []string{"listeners"} }},
		{"a restart that would do harm", func(f *Facts) { f.Unit.Hazard = "its ExecStop= ends every Kafka process" }},
	} {
		f := unclaimed()
		f.Journal.Served = false
		c.set(&f)
		m := machine()
		asked := m.Decide(&f) // asks the process for the target
		for range 5 {
			if asked.Do.Kind == ActRunning {
				f.Running.At = f.Now
			}
			if asked.Do.Kind == ActSave {
				f.Journal = *asked.Do.Journal
			}
			if st := asked.Status; st.Phase != PhaseRefused && st.Target != "" {
				t.Errorf("%s: %s (%s) with target %q", c.name, st.Phase, asked.Rule, st.Target)
			}
			if asked.Status.Phase == PhaseRefused {
				break
			}
			asked = m.Decide(&f)
		}
		if asked.Status.Phase != PhaseRefused {
			t.Errorf("%s: ends with %s (%s)", c.name, asked.Status.Phase, asked.Rule)
		}
	}
}

// What the process has said holds while it runs. The restart of a broker that has failed was given up for a port that
// the process before could not have, and claimed again at once: the journal was saved twice in each turn, without a
// pause.
func TestPortOfAFailedBroker(t *testing.T) {
	f := going(StageApply)
	f.Unit.State, f.Running.PortTaken, f.Running.Dynamic = UnitFailed, "port 39092 is taken", []string{"listeners"}
	if d := settle(machine(), &f); d.Do.Kind == ActSave && d.Do.Journal.Stage == StageNone {
		t.Errorf("given up: %+v", d.Status.Reason)
	}
	if p := NewPlan(1, f); p.Blocked != nil && p.Blocked.Code == CodeRefused {
		t.Errorf("plan says %+v", p.Blocked)
	}
}
