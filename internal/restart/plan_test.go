package restart

import (
	"reflect"
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
