package restart

// rule is one thing that an agent may do. It returns nil where it has nothing to do just now. The last rule of a
// list always decides.
type rule struct {
	name   string
	decide func(*round) *Decision
}

// The rules of each stage. The first one that has something to do decides, so the order is the design:
// what comes first is done first, and each rule may rely on those before it.

// restRules: no restart of ours is under way.
var restRules = []rule{
	{"end a planned restart", (*round).endPlanned},
	{"prove what somebody has started", (*round).proveHandStart},
	{"note the active listeners", (*round).noteActive},
	{"note or write the halt", (*round).noteHalt},
	{"no manifest", (*round).noManifest},
	{"broker stopped", (*round).whenStopped},
	{"vetoes on the manifest", vetoedIn(taking)},
	{"ask what the process runs", (*round).askProcess},
	{"note that it runs", (*round).noteServed},
	{"ask again for a new target", (*round).askForTarget},
	{"vetoes on the process", answeredVetoes},
	{"halt for dropped settings", (*round).haltAtRest},
	{"runs what is asked for", (*round).whenIdle},
	{"failed with the right file", (*round).failedRight},
	{"vetoes before a claim", vetoedIn(beforeClaim)},
	{"claim", (*round).claim},
	{"observe after the claim", (*round).observeClaimed},
	{"gates after the claim", (*round).gatesClaimed},
	{"observe once more", (*round).observeNear},
	{"ask the process once more", (*round).askClaimed},
	{"begin", (*round).begin},
}

// stoppedRules: the broker's unit is stopped, and there is a manifest.
var stoppedRules = []rule{
	{"manifest refused", (*round).stoppedRefused},
	{"ask whether it answers all the same", (*round).stoppedAsk},
	{"started outside of its unit", (*round).stoppedOutside},
	{"file must not be written", (*round).stoppedVetoed},
	{"write the file", (*round).stoppedWrite},
	{"wait for a start", (*round).stoppedWait},
}

// idleRules: the process runs what the manifest says.
var idleRules = []rule{
	{"give the claim back", (*round).idleClaim},
	{"end the request", (*round).endRequest},
	{"write the file alone", (*round).writeFileOnly},
	{"note that the file is proved", (*round).noteProved},
	{"observe whom there is", (*round).observeOthers},
	{"open and close probes", (*round).activate},
	{"ask now and then", (*round).idleAsk},
	{"rest", (*round).idleRest},
}

// restartRules: the file is written and the unit is restarted. Nothing irreversible has happened
// before StageRestart; from then on the unit may have been restarted, whatever this agent process remembers.
var restartRules = []rule{
	{"unit unknown", (*round).restartUnseen},
	{"restarted", (*round).wasRestarted},
	{"the service manager is at work", (*round).restartUnderWay},
	{"restart refused", (*round).restartRefused},
	{"somebody was quicker", (*round).restartedByHand},
	{"vetoes under way", (*round).restartVetoed},
	{"somebody stopped it", (*round).stoppedMeanwhile},
	{"write the file", (*round).writeFile},
	{"ask the process", (*round).lastAsk},
	{"prove that the claim stands", (*round).lastAppend},
	{"gates once more", (*round).lastGates},
	{"observe once more", (*round).lastObserve},
	{"inform the probes", (*round).lastProbes},
	{"drain", (*round).drain},
	{"note that it is restarted now", (*round).noteRestart},
	{"restart", (*round).restartNow},
}

// proveRules: the process was restarted and must prove itself.
var proveRules = []rule{
	{"follow the process", (*round).newProcess},
	{"let a newer manifest in", (*round).proveSuperseded},
	{"started while the file was written", (*round).proveOld},
	{"failed", (*round).proveFailed},
	{"take the probes over", (*round).proveTakeOver},
	{"wait for it", (*round).proveWait},
	{"end the planned restart", (*round).proveEndPlanned},
	{"wait for the load balancer", (*round).proveBalancer},
	{"soak", (*round).proveSoak},
	{"halt for dropped settings", (*round).proveDropped},
	{"proved", (*round).proved},
}

// A failed restart is undone: halt for everyone, last good file, restart, proof. The claim is never given
// back before the halt is in the log, so nobody can follow into the same failure. A halt that was read
// back and is gone again was ended by an operator, and is not repeated.

// restoreRules: the last good file may have been restored.
var restoreRules = []rule{
	{"note the halt", (*round).noteHalted},
	{"halt", (*round).haltFirst},
	{"restore the file", (*round).restoreFile},
	{"unit unknown", (*round).undoUnseen},
	{"no restart needed", (*round).undoNeedless},
	{"note that it is restarted now", (*round).noteUndo},
}

// undoRules: the unit may have been restarted on the last good file.
var undoRules = []rule{
	{"note the halt", (*round).noteHalted},
	{"restarted", (*round).undone},
	{"unit unknown", (*round).undoUnseen},
	{"the service manager is at work", (*round).undoQueued},
	{"others need it", (*round).undoNeeded},
	{"restart", (*round).undoRestart},
}

// proveUndoRules: the process runs the last good file and must prove itself.
var proveUndoRules = []rule{
	{"note the halt", (*round).noteHalted},
	{"follow the process", (*round).newProcess},
	{"halt", (*round).haltLate},
	{"failed", (*round).undoFailed},
	{"wait for it", (*round).undoWait},
	{"rolled back", (*round).putBack},
}

// operatorRules: the last good file is restored, and the broker does not serve with it either.
var operatorRules = []rule{
	{"note the halt", (*round).noteHalted},
	{"halt", (*round).operatorHalt},
	{"wait for a start", (*round).operatorDown},
	{"follow the process", (*round).operatorStarted},
	{"it serves, or will", (*round).operatorServes},
	{"ask it now and then", (*round).operatorAsk},
}

// rulesOf returns the rules of a stage, or nil for one that this agent does not know.
func rulesOf(stage Stage) []rule {
	switch stage {
	case StageNone:
		return restRules
	case StageApply, StageRestart:
		return restartRules
	case StageProve:
		return proveRules
	case StageRestore:
		return restoreRules
	case StageUndo:
		return undoRules
	case StageProveUndo:
		return proveUndoRules
	case StageNeedsOperator:
		return operatorRules
	default:
		return nil
	}
}

// decide applies the rules of the journal's stage.
func (s *round) decide() *Decision {
	list := rulesOf(s.j.Stage)
	if list == nil {
		return s.wait(
			PhaseUnknown,
			because(CodeNeedsOperator, "the journal names step %q, which this agent does not know; "+
				"install the agent version that wrote it", s.j.Stage),
			0,
		)
	}
	d := s.apply(list)
	if s.j.Stage != StageRestore && s.j.Stage != StageUndo || d.Do.Kind != ActNone {
		return d
	}
	// A rollback may wait for hours: for the service manager, for space, for brokers that need this one.
	if h := s.haltLate(); h != nil {
		h.Rule = "halt"
		return h
	}
	return d
}

// apply returns the decision of the first rule that has something to do; the last one always has.
func (s *round) apply(list []rule) *Decision {
	for i := range list {
		if d := list[i].decide(s); d != nil {
			if d.Rule == "" { // else a list within the list has named it
				d.Rule = list[i].name
			}
			return d
		}
	}
	return nil
}

// vetoedIn is the rule that does what the first veto that stands in a situation asks for.
func vetoedIn(when situation) func(*round) *Decision {
	return func(s *round) *Decision { return s.holdBack(when) }
}

func answeredVetoes(s *round) *Decision {
	if s.f.Unit.State == UnitFailed {
		return nil
	}
	return s.holdBack(answered)
}
