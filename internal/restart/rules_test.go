package restart

import (
	"maps"
	"reflect"
	"testing"
	"time"
)

// Every list of rules ends with one that always decides, and a name stands once in it.
func TestRules(t *testing.T) {
	for name, list := range map[string][]rule{
		"rest": restRules, "stopped": stoppedRules, "idle": idleRules, "restart": restartRules, "prove": proveRules,
		"restore": restoreRules, "undo": undoRules, "prove the rollback": proveUndoRules, "operator": operatorRules,
	} {
		seen := map[string]bool{}
		for _, r := range list {
			if seen[r.name] {
				t.Errorf("%s: two rules are named %q", name, r.name)
			}
			seen[r.name] = true
		}
	}
	for _, stage := range []Stage{StageNone, StageApply, StageRestart, StageProve, StageRestore, StageUndo, StageProveUndo, StageNeedsOperator} {
		f := going(stage)
		if d := machine().Decide(&f); d.Rule == "" {
			t.Errorf("stage %q: no rule decided: %+v", stage, d)
		}
	}
}

// A copy of a machine is one of its own: what one decides does not change what the other remembers.
func TestMachinesAreCopiedByAssignment(t *testing.T) {
	f := claiming()
	m := machine()
	settle(m, &f)
	for _, stage := range []Stage{StageNone, StageApply, StageRestart, StageProve, StageRestore, StageUndo} {
		g := going(stage)
		g.Log.View = f.Log.View
		before := *m
		kept := before.mem
		heardBefore := maps.Clone(before.mem.log.heard)
		later := *m
		g.Now = g.Now.Add(time.Minute)
		g.Unit.Invocation = "another"
		later.Decide(&g)
		if !reflect.DeepEqual(before.mem, kept) || !maps.Equal(before.mem.log.heard, heardBefore) || !reflect.DeepEqual(m.mem, kept) {
			t.Errorf("stage %q: the copy has changed the original", stage)
		}
	}
}
