package sim

import (
	"fmt"
	"slices"

	"example.com/kpls-agent/internal/restart"
	"example.com/kpls-agent/test/truth"
)

// atTheEnd is promise 7 and liveness: the roll-out has ended, or every agent
// shows a reason that is true, and what they wait for is not one another.
func (j *judge) atTheEnd() {
	if j.rest() {
		j.ended()
		return
	}
	waits := map[int32]int32{}
	for _, a := range j.agents {
		j.note("agent %d at the end: %s (%s) %s; step %q, file %s, dead %v", a.id, a.Status().Phase, a.Status().Reason.Code, a.Status().Reason.Text(), a.journal.Stage, a.file, a.dead)
	}
	for _, a := range j.agents {
		if a.dead {
			continue
		}
		// Whatever keeps an agent from its restart, the probes of a broker that serves say so.
		if a.journal.Stage == restart.StageNone && !a.probes.planned.IsZero() && !a.full {
			j.fail("promise 6, probes", "the probes of broker %d are still those of a planned restart", a.id)
		}
		on, wrong := j.truth(a)
		if wrong != "" {
			j.fail("liveness, a true reason", "agent %d says %s (%s), and %s", a.id, a.Status().Reason.Code, a.Status().Reason.Text(), wrong)
		}
		if on != 0 {
			waits[a.id] = on
		}
	}
	for id := range waits {
		seen := map[int32]bool{}
		for at := id; at != 0 && len(j.failures) == 0; at = waits[at] {
			if seen[at] {
				j.fail("liveness, deadlock", "agents wait for one another: %v", waits)
			}
			seen[at] = true
		}
	}
	j.putBack()
}

// ended is what holds when all are done.
func (j *judge) ended() {
	if speaker := j.agents[0]; j.log.now().Request() != nil && !speaker.blind && !speaker.silent { // the lowest id ends it
		j.fail("liveness, request", "every broker was restarted, and the rolling restart has not ended")
	}
	for _, a := range j.agents {
		// Of one that was taken back, those that had begun were restarted.
		if a.journal.Request != j.requested && !j.cancelled[j.requested] && !j.careless && !a.blind { // who cannot read the log has not heard of it
			j.fail("promise 7, request", "broker %d was restarted for %q last, asked for was %q", a.id, a.journal.Request, j.requested)
		}
	}
	for _, b := range j.brokers {
		a := j.agents[b.id-1]
		if want := j.wants(b, j.latest); !b.runs.equal(want) {
			j.fail("promise 7, end", "broker %d runs %v in the end, wanted is %v", b.id, b.runs, want)
		}
		if !a.probes.planned.IsZero() {
			j.fail("promise 8, hold", "the probes of broker %d are still held", b.id)
		}
		for _, name := range j.versions[j.latest].names() {
			stands := j.log.now().Pause != nil || len(j.unread) > 0 // nothing is activated then
			stands = stands || a.blind                              // it has not heard of it
			if p := a.probes.find(name); !stands && (p == nil || !p.open) {
				j.fail("promise 9, end", "the probe of %s on broker %d is closed in the end", name, b.id)
			}
		}
	}
}

// putBack is promise 5: a broker that a bad manifest has hurt is rolled back by itself.
func (j *judge) putBack() {
	for name, v := range j.versions {
		for _, id := range v.victims {
			a, b := j.agents[id-1], j.broker(id)
			if b.version == name && !j.careless && !a.dead && !a.full && !a.dbus && len(j.standing) == 0 {
				j.fail("promise 5, rollback", "broker %d was left with %s", id, name)
			}
		}
	}
}

// shown judges the reason of every decision by the facts that it was made on.
func (j *judge) shown(a *agent, d *restart.Decision) {
	j.facts = a.Facts() // in a place that is there already: it is large, and there are many decisions
	if wrong := truth.Known(a.id, &j.facts, d); wrong != "" {
		j.fail("a true reason", "agent %d: %s", a.id, wrong)
	}
}

// truth judges what an agent says in the end. It returns the broker that the
// agent waits for, and what makes its reason false.
func (j *judge) truth(a *agent) (on int32, wrong string) {
	b, st, v := j.broker(a.id), a.Status(), j.log.now()
	must := func(holds bool, otherwise string) (int32, string) {
		if holds {
			return 0, ""
		}
		return 0, otherwise
	}
	other := int32(0)
	if st.Reason.Broker != nil {
		other = *st.Reason.Broker
	}
	known := other > 0 && int(other) <= len(j.brokers)
	// gone is true if nothing can be heard of the agent that is named, and it had not said that its broker is done.
	gone := false
	if _, ok := v.Statuses[other]; known && ok {
		gone = (j.agents[other-1].dead || j.agents[other-1].silent) && !j.saidDone(other, st.Target)
	}
	switch st.Reason.Code {
	case restart.CodeInSync:
		return must(b.runs.equal(j.wants(b, a.manifest)) || !b.running, "its process runs something else")
	case restart.CodeUnitUnknown:
		return must(a.dbus, "its unit can be seen")
	case restart.CodeStopped:
		return must(!b.running, "it runs")
	case restart.CodeRefused:
		return must(j.versions[a.manifest].refusedBy == a.id, "nothing refuses it")
	case restart.CodeUnitHazard, restart.CodePendingEdits, restart.CodeGateStorage, restart.CodeSettingsWouldDrop:
		want := map[restart.Code]harm{
			restart.CodeUnitHazard: hazard, restart.CodePendingEdits: edit, restart.CodeGateStorage: storage, restart.CodeSettingsWouldDrop: drops,
		}
		return must(a.harm == want[st.Reason.Code], "nothing of the kind is there")
	case restart.CodeRestartDenied:
		return must(a.denied, "the restart would be permitted")
	case restart.CodeSettingsDropped:
		return must(b.dropped, "no setting was dropped")
	case restart.CodeDynamicConfig:
		return must(b.dynamic, "there is none")
	case restart.CodePaused:
		return must(v.Pause != nil, "nothing is paused")
	case restart.CodeLogForeign:
		return must(len(j.unread) > 0, "every record can be read, or stops nobody")
	case restart.CodeHalted:
		_, halted := v.Halts[a.manifest]
		untold := a.silent && a.journal.Failed == a.manifest // it failed here, and cannot say so
		return must(halted || untold, "nothing is halted")
	case restart.CodeAgentMissing:
		return must(known && j.agents[other-1].dead, "that agent runs")
	case restart.CodeAgentSilent:
		return must(gone, "that agent runs, or has said that all is done")
	case restart.CodeManifestDiffers:
		if gone && j.log.up() {
			return 0, "that agent is silent, and the reason does not say so"
		}
		if last, ok := v.Statuses[other]; ok && last.Target == "" && last.Reason.Code == restart.CodeNoAnswer {
			return other, "" // its broker hangs, and that agent does not know what it runs
		}
		return must(known && (j.agents[other-1].manifest != a.manifest || j.agents[other-1].blind) || !j.log.up(), "they have the same, and could say so")
	case restart.CodeRefusedElsewhere:
		// It failed, and cannot write its halt, or does not since it cannot read it back.
		untold := known && v.Statuses[other].Failed == a.manifest && !j.agents[other-1].able()
		return must(known && (untold || j.versions[a.manifest].refusedBy == other || j.broker(other).dynamic || j.unfit(other)), "that broker refuses nothing")
	case restart.CodeTurn, restart.CodeQueue:
		if !known {
			return 0, "it names nobody"
		}
		if gone && j.log.up() {
			return 0, "that agent is silent, and the reason does not say so"
		}
		return other, j.notDone(a, other)
	case restart.CodeGateBrokers:
		return must(j.othersClaim(a) || slices.ContainsFunc(j.brokers, func(o *broker) bool { return o != b && !o.alive }), "no broker is down")
	case restart.CodeGatePartitions:
		return must(j.short() != "" || j.othersClaim(a), "every partition has its replicas in sync")
	case restart.CodeGateQuorum:
		return must(j.leader < 0 || j.othersClaim(a) || slices.ContainsFunc(j.voters, func(v *voter) bool { return !j.caughtUp(v) }), "every voter is caught up")
	case restart.CodeGateViews:
		if a.journal.Stage == restart.StageUndo && b.running && !b.ready && !slices.ContainsFunc(j.brokers, (*broker).answers) {
			return 0, "no broker answers, and this one listens to nobody: nobody needs it"
		}
		return must(slices.ContainsFunc(j.brokers, func(o *broker) bool { return !j.shows(o) }), "every broker answers")
	case restart.CodeFenced:
		return must(!b.alive, "it is not fenced")
	case restart.CodeCatchingUp, restart.CodeStalled:
		return must(j.short() != "", "every partition has its replicas in sync")
	case restart.CodeNeedsOperator:
		return must(!j.shows(b) || j.short() != "", "it serves and is in sync")
	case restart.CodeNoAnswer, restart.CodeStarting, restart.CodeListener:
		return must(!b.answers() || j.short() != "", "it serves and is in sync")
	case restart.CodeRollingBack:
		return must(a.dbus || j.short() != "" || slices.ContainsFunc(j.brokers, func(o *broker) bool { return !j.shows(o) }), "all serve and are in sync")
	case restart.CodeActionFailed:
		// A restart that would be denied is not begun, unless the broker is down or its restart has begun.
		denied := a.denied && (!b.running || a.journal.Stage != restart.StageNone)
		return must(a.full || a.dbus || a.silent || denied || a.lastGood == "", "nothing is in the way of its steps")
	case restart.CodeLogUnreadable:
		return must(!j.log.up() || a.silent || a.blind, "the log can be read and written")
	case restart.CodeProbesClosing:
		return must(known && j.agents[other-1].dead, "all probes are closed, or can be")
	default:
		return 0, "that is no reason to end with"
	}
}

// saidDone is true if an agent has last said that its broker needs nothing for a target.
func (j *judge) saidDone(id int32, target string) bool {
	last, ok := j.log.now().Statuses[id]
	return ok && last.Up && !last.Drift && last.Target == target &&
		slices.Contains([]restart.Phase{restart.PhaseIdle, restart.PhaseSoaking, restart.PhaseBalancer}, last.Phase)
}

// unfit is true for a broker that must not be restarted.
func (j *judge) unfit(id int32) bool {
	a := j.agents[id-1]
	return a.harm != "" || a.denied || j.broker(id).dropped
}

// notDone says why it is false that a broker is not done, or "".
func (j *judge) notDone(a *agent, id int32) string {
	o, b := j.agents[id-1], j.broker(id)
	_, _, claimed := j.log.now().Claim(id)
	if o.dead || claimed || !b.running || o.Status().Phase != restart.PhaseIdle || o.manifest != a.manifest || o.journal.Stage != restart.StageNone {
		return ""
	}
	return fmt.Sprintf("broker %d is done", id)
}

// othersClaim is true if another broker counts as down: it has a claim, or is being rolled back without one.
func (j *judge) othersClaim(a *agent) bool {
	v := j.log.now()
	for id, st := range v.Statuses {
		if id != a.id && st.Phase == restart.PhaseRollback {
			return true
		}
	}
	return slices.ContainsFunc(v.Claims, func(c restart.Claim) bool { return c.Broker != a.id })
}

// short names a partition that lacks an in-sync replica.
func (j *judge) short() string {
	for _, p := range j.partitions {
		if len(p.isr) < len(p.replicas) {
			return p.topic
		}
	}
	return ""
}
