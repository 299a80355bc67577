package explore

import (
	"fmt"

	"example.com/kpls-agent/internal/agent"
	"example.com/kpls-agent/internal/restart"
)

// planAgrees holds `kpls-agent plan` against what the agent decides on the same facts: where a broker has
// to be restarted and its agent waits, both say the same reason; where it begins, plan says that nothing is
// in the way. It returns what differs, or "".
func planAgrees(i int, after *vm, t agent.Turn) string {
	f, code := after.a.Facts(), t.Status.Reason.Code
	begins := t.Do.Kind == restart.ActSave && t.Do.Journal.Stage == restart.StageApply
	if f.Journal.Stage != restart.StageNone || t.Do.Kind != restart.ActNone && !begins {
		return ""
	}
	p := restart.NewPlan(int32(i+1), f)
	planned := restart.Code("")
	if p.Blocked != nil {
		planned = p.Blocked.Code
	}
	if begins {
		code = ""
	}
	switch {
	case !begins && p.Drift == "" && t.Status.Phase != restart.PhaseRefused && t.Status.Phase != restart.PhaseStopped:
		return "" // nothing is to be done by the agent
	case code == restart.CodeAsking, code == restart.CodeNoAnswer, len(f.Failed) > 0:
		return "" // it asks again, or tries again: plan does neither
	case planned == restart.CodeLogUnreadable && f.Log.Err != "":
		return "" // the agent goes by what the log said last for some seconds, plan asks once
	}
	if planned != code {
		return fmt.Sprintf("agent %d says %q (%s), and plan %q", i+1, code, t.Status.Reason, planned)
	}
	return ""
}
