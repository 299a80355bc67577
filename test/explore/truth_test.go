package explore

import (
	"fmt"

	"example.com/kpls-agent/internal/restart"
)

// good is true for a good end: the newest manifest runs everywhere; or it is a bad one, all are rolled
// back, and its halt stands; or what keeps a broker from its end needs an operator, and its agent says so.
func (x *explorer) good(w *world) bool {
	v, given := x.views[w.log], w.given
	_, halted := v.Halts[hash(given)]
	bad, refused := x.version(given).bad != "", x.version(given).refusedBy != 0
	if bad && !halted || !bad && len(v.Requests) > 0 {
		return false
	}
	if refused {
		return len(v.Claims) == 0
	}
	waits := false // for an operator
	for i := range x.o.n {
		b, m := &w.b[i], x.vms[w.vm[i]]
		if x.needsOperator(w, i) {
			waits = true
			continue
		}
		if _, _, claimed := v.Claim(int32(i + 1)); claimed {
			return false
		}
		if m.dead || m.manifest != given || m.disk.Stage != restart.StageNone || !b.has(up|ready|listed|inSync) || m.planned {
			return false
		}
		if bad && x.version(b.runs).bad != "" || !bad && (!x.same(b.runs, given) || !x.same(m.file, given)) {
			return false
		}
	}
	if !bad && !waits {
		for _, name := range x.version(given).names() {
			if !v.Active[name] {
				return false
			}
		}
	}
	return true
}

// needsOperator is true where the last good copy is lost, so nothing can be restored, and the agent says
// what has failed.
func (x *explorer) needsOperator(w *world, i int) bool {
	m, b := x.vms[w.vm[i]], &w.b[i]
	if m.dead || m.good != none {
		return false
	}
	switch m.a.Status().Reason.Code {
	case restart.CodeActionFailed:
		return m.disk.Stage == restart.StageRestore
	case restart.CodeHalted, restart.CodeStopped, restart.CodeNoAnswer:
		return b.has(failed) && x.version(m.file).bad != ""
	default:
		return false
	}
}

// truth returns what is false in the reasons of a world in which nothing will happen any more by itself.
func (x *explorer) truth(w *world) string {
	for i := range x.o.n {
		m := x.vms[w.vm[i]]
		if m.dead {
			continue
		}
		if otherwise := x.falsehood(w, i, m); otherwise != "" {
			st := m.a.Status()
			return fmt.Sprintf("a true reason: agent %d says %s (%s) %s, and %s\n%s", i+1, st.Phase, st.Reason.Code, st.Reason.Text(), otherwise, x.describe(w))
		}
	}
	return ""
}

// falsehood is what makes the reason of an agent false, or "".
func (x *explorer) falsehood(w *world, i int, m *vm) string {
	b, v, st := &w.b[i], x.views[w.log], m.a.Status()
	must := func(holds bool, otherwise string) string {
		if holds {
			return ""
		}
		return otherwise
	}
	some := func(f func(o *broker, n int) bool) bool {
		for n := range x.o.n {
			if n != i && f(&w.b[n], n) {
				return true
			}
		}
		return false
	}
	away := func(o *broker, _ int) bool { return !o.has(ready | listed) }
	short := func(o *broker, _ int) bool { return !o.has(ready|listed|inSync) || o.any(blank|deaf) }
	claims := func(_ *broker, n int) bool { _, _, held := v.Claim(int32(n + 1)); return held }
	unfit := hazard | drops | edit | storage | dropped | denied | dynamic
	switch st.Reason.Code {
	case restart.CodeNoManifest:
		return must(m.manifest == none, "there is one")
	case restart.CodeInSync:
		return must(m.manifest != none && x.same(b.runs, m.manifest) || !b.has(up), "its process runs something else")
	case restart.CodeUnitUnknown:
		return must(b.has(blind), "its unit can be seen")
	case restart.CodeStopped:
		return must(!b.has(up), "it runs")
	case restart.CodeRefused:
		return must(x.version(m.manifest).refusedBy == i+1, "nothing refuses it")
	case restart.CodeUnitHazard:
		return must(b.has(hazard), "there is no hazard")
	case restart.CodeSettingsWouldDrop:
		return must(b.has(drops), "none would be dropped")
	case restart.CodePendingEdits:
		return must(b.has(edit), "there is no edit")
	case restart.CodeGateStorage:
		return must(b.has(storage), "no directory is offline")
	case restart.CodeRestartDenied:
		return must(b.has(denied), "the restart would be permitted")
	case restart.CodeSettingsDropped:
		return must(b.has(dropped), "no setting was dropped")
	case restart.CodeDynamicConfig:
		return must(b.has(dynamic), "there is none")
	case restart.CodePaused:
		return must(v.Pause != nil, "nothing is paused")
	case restart.CodeLogForeign:
		return must(w.b[0].has(stray), "every record can be read, or stops nobody")
	case restart.CodeHalted:
		_, halted := v.Halts[hash(m.manifest)]
		return must(halted || !x.local(w, i).writes(), "nothing is halted")
	case restart.CodeAgentMissing, restart.CodeAgentSilent:
		return must(some(func(o *broker, n int) bool { return x.dead(w, n) || o.has(mute) }), "every agent is there")
	case restart.CodeManifestDiffers:
		return must(some(func(_ *broker, n int) bool {
			o := x.vms[w.vm[n]]
			return o.dead || o.manifest != m.manifest || x.silenced(w, n) || v.Statuses[int32(n+1)].Target == ""
		}) ||
			!x.logUp(w), "all have the same, and could say so")
	case restart.CodeRefusedElsewhere:
		return must(some(func(o *broker, n int) bool {
			untold := o.has(mute) || x.dead(w, n) // what an agent has said that cannot say more stands
			return untold || o.any(unfit) || x.version(max(0, x.vms[w.vm[n]].manifest)).refusedBy == n+1
		}), "no broker refuses anything")
	case restart.CodeTurn, restart.CodeQueue:
		if x.o.silence && st.Reason.Broker != nil && x.silent(w, int(*st.Reason.Broker-1)) && x.logUp(w) {
			return "that agent is silent, and the reason does not say so"
		}
		return must(some(func(o *broker, n int) bool { return !x.finished(w, n) || claims(o, n) }), "every other broker is done")
	case restart.CodeClusterUnknown:
		return must(!b.has(ready) && !some(func(o *broker, _ int) bool { return o.has(ready) && !b.has(cutOff) }), "the cluster can be seen")
	case restart.CodeGateBrokers:
		return must(some(away) || some(claims), "no broker is down")
	case restart.CodeGatePartitions:
		return must(some(short) || some(claims) || b.any(blank|deaf), "every partition has its replicas in sync")
	case restart.CodeGateQuorum:
		lags := func(o *broker, n int) bool { return x.o.votes(n) && (o.has(late) || !o.has(ready)) }
		return must(w.leader == noBroker || some(lags) || lags(b, i) || some(claims), "every voter is caught up")
	case restart.CodeGateViews:
		shows := func(o *broker, _ int) bool { return !o.has(ready|listed) || o.has(blank) }
		answers := func(o *broker, _ int) bool { return o.has(ready) }
		if m.disk.Stage == restart.StageUndo && !b.has(ready) && !some(answers) {
			return "no broker answers, and this one listens to nobody: nobody needs it"
		}
		unasked := x.o.deafFirst && (b.has(deaf) || some(func(o *broker, _ int) bool { return o.has(deaf) }))
		return must(some(shows) || shows(b, i) || b.has(cutOff) || unasked, "every broker answers")
	case restart.CodeFenced:
		return must(!b.has(listed) || some(func(o *broker, _ int) bool { return o.has(deaf) }), "it is not fenced")
	case restart.CodeCatchingUp, restart.CodeStalled:
		return must(short(b, i) || some(short), "every partition has its replicas in sync")
	case restart.CodeNeedsOperator, restart.CodeNoAnswer, restart.CodeStarting, restart.CodeListener:
		return must(!b.has(ready) || short(b, i) || some(short), "it serves and is in sync")
	case restart.CodeRollingBack:
		return must(b.any(blind|cutOff) || short(b, i) || some(short), "all serve and are in sync")
	case restart.CodeActionFailed:
		return must(b.any(full|blind|mute|denied) || m.good == none, "nothing is in the way of its steps")
	case restart.CodeLogUnreadable:
		return must(!x.local(w, i).writes(), "the log can be read and written")
	case restart.CodeProbesClosing:
		return must(some(func(o *broker, n int) bool { return x.dead(w, n) || o.has(mute) }), "all probes are closed, or can be")
	default:
		return "that is no reason to rest with"
	}
}

// silent is true if nothing was heard of an agent for long, by the clock of the log, and it had not said that
// its broker is done.
func (x *explorer) silent(w *world, n int) bool {
	v := x.views[w.log]
	st := v.Statuses[int32(n+1)]
	return x.dead(w, n) && v.Clock.Sub(st.Seen) > 2*long && st.Drift
}

// finished is true if a broker and its agent are done with the newest manifest.
func (x *explorer) finished(w *world, n int) bool {
	o, b := x.vms[w.vm[n]], &w.b[n]
	return !o.dead && o.manifest == w.given && o.disk.Stage == restart.StageNone && b.has(up) && x.same(b.runs, w.given) && o.a.Status().Phase == restart.PhaseIdle
}

// silenced is true for an agent that knows nothing to say: its broker does not answer.
func (x *explorer) silenced(w *world, n int) bool {
	return !w.b[n].has(ready) || w.b[n].any(blind|mute)
}
