package restart

import (
	"reflect"
	"slices"
	"testing"
)

// atRest is a cluster in which every broker runs what the manifest says.
func atRest() Facts {
	f := unclaimed()
	f.Running.Listeners, f.Manifest.FileChanges = f.Manifest.Listeners, false
	for id, st := range f.Log.View.Statuses {
		st.Phase, st.Drift = PhaseIdle, false
		f.Log.View.Statuses[id] = st
	}
	return f
}

// TestPlanAgrees holds plan, check and the agent of broker 1 to one another on the same facts: who is to go and who is
// on its way, what is in the way, and whether the gates matter at all. The agent's own words are its phase and reason.
func TestPlanAgrees(t *testing.T) {
	asked := func(f *Facts) string {
		q := NewRequest(Request{ID: "r", By: "ann"})
		q.Offset, q.Time = f.Log.View.Next, f.Now
		f.Log.View.Fold(q)
		for id, st := range f.Log.View.Statuses {
			st.Target, st.Phase, st.Drift = "h+r", PhaseWaiting, true
			f.Log.View.Statuses[id] = st
		}
		return "h+r"
	}
	say := func(f *Facts, id int32, target string, p Phase) {
		f.Log.View.Statuses[id] = Status{
			Broker: id, Cluster: "c", Manifest: "h", Target: target, Phase: p, Drift: p != PhaseIdle && p != PhaseSoaking, Up: true,
			Invocation: "i", Seen: f.Now,
		}
	}
	for _, c := range []struct {
		name    string
		change  func(*Facts)
		order   []int32
		onWay   []int32
		blocked Code // of plan, and of the agent unless its reason is given
		agent   Code
		gates   bool
	}{
		{"at rest", func(*Facts) {}, nil, nil, "", CodeInSync, false},
		{"at rest, and paused", func(f *Facts) { f.Log.View.Fold(NewPause(Pause{By: "ann"})) }, nil, nil, "", CodeInSync, false},
		{"at rest, and a gate would block", func(f *Facts) { f.Cluster.Views[0].Alive = []int32{1, 2} }, nil, nil, "", CodeInSync, false},
		{"refused, though it needs nothing", func(f *Facts) {
			f.Manifest.Refusal = NewReason(CodeRefused, "broker 1 is not in the manifest")
		}, nil, nil, CodeRefused, CodeRefused, false},
		{"done for a request", func(f *Facts) {
			asked(f)
			f.Journal.Request = "r"
		}, []int32{3, 2}, nil, "", CodeInSync, false},
		{"done for a request, and the others are paused", func(f *Facts) {
			asked(f)
			f.Journal.Request = "r"
			f.Log.View.Fold(NewPause(Pause{By: "ann"}))
		}, []int32{3, 2}, nil, CodePaused, CodeInSync, false},
		{"to go for a request", func(f *Facts) {
			asked(f)
			f.Cluster.Quorum.Leader = 2
		}, []int32{1, 3, 2}, nil, "", "", true},
		{"another one is on its way", func(f *Facts) {
			target := asked(f)
			say(f, 2, target, PhaseCatchingUp)
			claimOf(f, 2)
		}, []int32{1, 3}, []int32{2}, CodeQueue, CodeQueue, true},
		{"another one soaks", func(f *Facts) {
			target := asked(f)
			say(f, 2, target, PhaseSoaking)
			claimOf(f, 2)
		}, []int32{1, 3}, []int32{2}, CodeQueue, CodeQueue, true},
		{"another one was rolled back", func(f *Facts) {
			target := asked(f)
			say(f, 2, target, PhaseFailed)
			f.Log.View.Fold(NewHalt(Halt{Manifest: "h", Broker: 2, Why: "it failed"}))
		}, []int32{1, 3, 2}, nil, CodeHalted, CodeHalted, true},
		{"another one is done", func(f *Facts) {
			target := asked(f)
			say(f, 2, target, PhaseIdle)
		}, []int32{1, 3}, nil, "", "", true},
		{"the cluster has one that the manifest lacks", func(f *Facts) {
			asked(f)
			f.Cluster.Brokers = []int32{1, 2, 3, 9}
		}, []int32{1, 3, 2}, nil, CodeNotInManifest, CodeNotInManifest, true},
		{"another one serves another cluster", func(f *Facts) {
			target := asked(f)
			say(f, 2, target, PhaseWaiting)
			st := f.Log.View.Statuses[2]
			st.Cluster = "other"
			f.Log.View.Statuses[2] = st
		}, []int32{1, 3, 2}, nil, CodeManifestDiffers, CodeManifestDiffers, true},
		{"its agent could not write to the log since its last restart", func(f *Facts) {
			say(f, 1, asked(f), PhaseStarting)
		}, []int32{1, 3, 2}, nil, "", "", true},
	} {
		f := atRest()
		f.Cluster.Quorum.Leader = 2
		c.change(&f)
		p := NewPlan(1, f)
		if !slices.Equal(p.Order, c.order) || !slices.Equal(p.UnderWay, c.onWay) || (len(p.Gates) > 0) != c.gates {
			t.Errorf("%s: plan has the order %v, on their way %v, and %d gates; want %v, %v, gates %v", c.name, p.Order, p.UnderWay,
				len(p.Gates), c.order, c.onWay, c.gates)
		}
		if (p.Blocked == nil) != (c.blocked == "") || p.Blocked != nil && p.Blocked.Code != c.blocked {
			t.Errorf("%s: plan says %v is in the way, want %q", c.name, p.Blocked, c.blocked)
		}
		if c.order == nil && p.Drift != "" {
			t.Errorf("%s: plan says that the broker differs: %s", c.name, p.Drift)
		}
		unfit := Unfit(1, f)
		if own := c.blocked == CodeRefused; own != (len(unfit) == 1) {
			t.Errorf("%s: check says %v", c.name, unfit)
		}
		d := settle(machine(), &f)
		if c.agent != "" && d.Status.Reason.Code != c.agent {
			t.Errorf("%s: the agent says %q, want %q", c.name, d.Status.Reason, c.agent)
		}
		if begins := d.Do.Kind == ActSave && d.Do.Journal.Stage == StageApply; begins != (c.agent == "") {
			t.Errorf("%s: the agent does %q (%s), and plan says %v is in the way", c.name, d.Do.Kind, d.Status.Reason, p.Blocked)
		}
	}
}

// TestPlanOfOneUnderWay: of a broker whose restart has begun its agent says what it waits for. With a journal, or with
// what the agent has written to the log.
func TestPlanOfOneUnderWay(t *testing.T) {
	for _, stage := range []Stage{StageApply, StageRestart, StageProve} {
		f := going(stage)
		f.Cluster.Views[0].Alive, f.Cluster.Views[1].Alive = []int32{2, 3}, []int32{2, 3}
		logged := f
		logged.Journal = Journal{}
		logged.Log.View = f.Log.View.Clone()
		logged.Log.View.Statuses[1] = Status{Broker: 1, Cluster: "c", Manifest: "h", Target: "h", Phase: PhaseStarting, Up: true}
		old := f // its agent could not write to the log since the claim
		old.Log.View = f.Log.View.Clone()
		old.Log.View.Statuses[1] = Status{Broker: 1, Cluster: "c", Manifest: "h", Target: "h", Phase: PhaseClaimed, Up: true}
		for name, f := range map[string]Facts{"journal": f, "log": logged, "journal, and a status from before": old} {
			p := NewPlan(1, f)
			if !slices.Equal(p.UnderWay, []int32{1}) || slices.Contains(p.Order, 1) || p.Blocked != nil || len(p.Gates) > 0 {
				t.Errorf("%s, stage %q: order %v, under way %v, in the way %v, gates %v", name, stage, p.Order, p.UnderWay, p.Blocked, p.Gates)
			}
		}
	}
}

// TestPlanWithoutJournal: who cannot read the journal learns from the log that the broker has been restarted.
func TestPlanWithoutJournal(t *testing.T) {
	f := atRest()
	q := NewRequest(Request{ID: "r", By: "ann"})
	q.Offset, q.Time = f.Log.View.Next, f.Now
	f.Log.View.Fold(q)
	f.Journal = Journal{}
	f.Log.View.Statuses[1] = Status{Broker: 1, Cluster: "c", Manifest: "h", Target: "h+r", Phase: PhaseIdle, Up: true, Seen: f.Now}
	if p := NewPlan(1, f); p.Drift != "" || slices.Contains(p.Order, 1) {
		t.Errorf("done: order %v, %s", p.Order, p.Drift)
	}
	st := f.Log.View.Statuses[1]
	st.Drift, st.Phase = true, PhaseWaiting
	f.Log.View.Statuses[1] = st
	if p := NewPlan(1, f); p.Drift == "" || !slices.Contains(p.Order, 1) {
		t.Errorf("to go: order %v, %q", p.Order, p.Drift)
	}
}

// TestPlanAfter: what an order would start, before it is given.
func TestPlanAfter(t *testing.T) {
	q := NewRequest(Request{ID: "r", By: "ann"})
	f := atRest()
	f.Cluster.Quorum.Leader = 1
	f.Log.View.Fold(NewPause(Pause{By: "ann"}))
	if p := NewPlan(1, f); len(p.Order) > 0 {
		t.Fatalf("at rest %v are to be restarted", p.Order)
	}

	p := PlanAfter(1, f, q)
	if want := []int32{2, 3, 1}; !reflect.DeepEqual(p.Order, want) {
		t.Errorf("order %v, want %v: the active controller goes last", p.Order, want)
	}
	// That broker 2 goes first, and that nobody has heard of the request yet, is not in the way.
	if got := p.Obstacles(); len(got) != 1 || got[0].Code != CodePaused {
		t.Errorf("in the way is %v, want the pause", got)
	}
	if got := PlanAfter(1, f, NewResume(), q).Obstacles(); len(got) > 0 {
		t.Errorf("in the way after the pause is %v", got)
	}
	if v := f.Log.View; v.Request() != nil || v.Pause == nil || v.Statuses[2].Target != "h" {
		t.Error("planning has changed the view")
	}

	f.Log.View.Fold(NewResume())
	f.Cluster.Views[0].Topics[0].Partitions[0].ISR = []int32{1, 2}
	got := PlanAfter(1, f, q).Obstacles()
	if len(got) != 1 || got[0].Code != CodeGatePartitions {
		t.Errorf("in the way is %v, want the partition", got)
	}
	f.Cluster = ClusterFacts{At: f.Now, Err: "connection refused"}
	if got := PlanAfter(1, f, q).Obstacles(); len(got) == 0 {
		t.Error("nothing is in the way of a cluster that cannot be seen")
	}
}

// TestPlanBeforeAnyReport: before the first roll-out no agent has reported, and no sentence has a hole for what it said.
func TestPlanBeforeAnyReport(t *testing.T) {
	f := unclaimed()
	f.Cluster.Quorum.Leader = 1
	clear(f.Log.View.Statuses)
	p := NewPlan(1, f)
	var texts []string
	for _, r := range append(p.Also, *p.Blocked) {
		texts = append(texts, r.Text())
	}
	if !slices.Contains(texts, "broker 2 goes first (its agent has not reported)") {
		t.Errorf("in the way is %q", texts)
	}
}
