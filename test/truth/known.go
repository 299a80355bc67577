package truth

import (
	"fmt"
	"slices"

	"example.com/kpls-agent/internal/restart"
)

// decided is one decision with what it was made on.
type decided struct {
	self int32
	f    *restart.Facts
	d    *restart.Decision
	st   *restart.Status
	v    *restart.View
	// other is the broker that the reason is about; 0 for none.
	other int32
}

// Known returns what is false in the reason of a decision, by the facts that it was made on; "" for nothing.
func Known(self int32, f *restart.Facts, d *restart.Decision) string {
	x := decided{self: self, f: f, d: d, st: &d.Status, v: f.Log.View}
	if b := x.st.Reason.Broker; b != nil {
		x.other = *b
	}
	code := x.st.Reason.Code
	rule, ok := rules[code]
	switch {
	case !ok:
		return fmt.Sprintf("the reason %q has no meaning here", code)
	case rule.of != nil && !rule.of(x):
		return fmt.Sprintf("%s (%s) %q: it is not true that %s", x.st.Phase, code, x.st.Reason.Text(), rule.means)
	case x.triedAgain() && code != restart.CodeActionFailed:
		return fmt.Sprintf("%s (%s) %q: %s is tried again, and the reason does not say that it failed", x.st.Phase, code,
			x.st.Reason.Text(), x.d.Do.Kind)
	case x.st.Phase == restart.PhaseRefused && !slices.Contains(refusals, code):
		return fmt.Sprintf("refused (%s) %q: that is no reason to refuse", code, x.st.Reason.Text())
	}
	return ""
}

// refusals may stand under the phase refused: what refuses, and what an agent does for an instant before it judges
// again.
var refusals = []restart.Code{
	restart.CodeRefused, restart.CodeOutsideUnit, restart.CodeDynamicConfig, restart.CodeUnitHazard,
	restart.CodeRestartDenied, restart.CodeSettingsDropped, restart.CodeSettingsWouldDrop, restart.CodePendingEdits,
	restart.CodeGateStorage, restart.CodeAsking, restart.CodeSaving, restart.CodeStarting, restart.CodeLogUnreadable,
	restart.CodeActionFailed,
}

// meaning is what a reason says.
type meaning struct {
	means string
	of    func(decided) bool // nil where the text says no more than what the agent is about to do
}

// rules is the list to add to.
var rules = map[restart.Code]meaning{
	restart.CodeNoManifest: {"no manifest is in force", func(x decided) bool { return x.f.Manifest.Hash == "" }},
	restart.CodeInSync:     {"the process runs what the manifest says", decided.runsAll},
	restart.CodeUnitUnknown: {"the unit cannot be seen", func(x decided) bool {
		return x.f.Unit.State == restart.UnitUnknown || x.f.Unit.At.IsZero()
	}},
	restart.CodeStopped:     {"the broker is down", decided.down},
	restart.CodeOutsideUnit: {"the unit is down and its broker answers", func(x decided) bool { return x.down() && x.f.Running.Err == "" }},
	restart.CodeRefused: {"something refuses the manifest", func(x decided) bool {
		return x.f.Manifest.Refusal != nil || x.f.Running.PortTaken != ""
	}},
	restart.CodeDynamicConfig: {"a dynamic configuration is set", func(x decided) bool { return len(x.f.Running.Dynamic) > 0 }},
	restart.CodeUnitHazard:    {"a restart would do harm", func(x decided) bool { return x.f.Unit.Hazard != "" }},
	restart.CodeRestartDenied: {"the restart would be refused", func(x decided) bool {
		return x.f.Right.Denied != ""
	}},
	restart.CodeSettingsDropped:   {"settings were dropped", func(x decided) bool { return len(x.f.Running.Dropped) > 0 }},
	restart.CodeSettingsWouldDrop: {"settings would be dropped", func(x decided) bool { return len(x.f.Manifest.Drops) > 0 }},
	restart.CodePendingEdits:      {"there are edits of others", func(x decided) bool { return len(x.f.Manifest.Pending) > 0 }},
	restart.CodeGateStorage: {"a log directory is in a bad state", func(x decided) bool {
		return x.f.Running.LogDirsErr != "" ||
			slices.ContainsFunc(x.f.Running.LogDirs, func(d restart.LogDir) bool { return d.Fault != "" })
	}},
	restart.CodeAsking: {"the process is asked, or was not asked since it started", func(x decided) bool {
		return x.d.Do.Kind == restart.ActRunning || x.f.Running.Err == ""
	}},
	restart.CodeNoAnswer:     {"the broker did not answer", func(x decided) bool { return x.f.Running.Err != "" }},
	restart.CodeActionFailed: {"an action has failed", func(x decided) bool { return len(x.f.Failed) > 0 }},
	restart.CodeLogUnreadable: {"the log cannot be used, or was not read yet", func(x decided) bool {
		_, failed := x.f.Failed[restart.ActAppend]
		return failed || x.f.Log.Err != "" || x.f.Log.At.IsZero()
	}},
	restart.CodeLogForeign: {"the log has a foreign record", func(x decided) bool { return len(x.v.Foreign) > 0 }},
	restart.CodePaused:     {"roll-outs are paused", func(x decided) bool { return x.v.Pause != nil }},
	restart.CodeHalted: {"the roll-out is halted, or this broker has failed", func(x decided) bool {
		_, halted := x.v.Halts[x.f.Manifest.Hash]
		return halted || x.f.Journal.Failed != "" || x.at(restart.StageProveUndo, restart.StageNeedsOperator)
	}},
	restart.CodeClusterUnknown: {"the brokers are not known", func(x decided) bool {
		return x.f.Cluster.At.IsZero() || len(x.f.Cluster.Brokers) == 0
	}},
	restart.CodeAgentMissing: {"nothing was ever heard of that agent", func(x decided) bool {
		_, heard := x.v.Statuses[x.other]
		return x.other != 0 && !heard
	}},
	restart.CodeAgentSilent: {"that agent was stopped, or has been silent for a minute", func(x decided) bool {
		o, heard := x.v.Statuses[x.other]
		return heard && (o.Ended || x.v.Clock.Sub(o.Seen) > 4*restart.Heartbeat(1))
	}},
	restart.CodeManifestDiffers: {"that broker has another manifest or target, or is still to judge it", func(x decided) bool {
		o, heard := x.v.Statuses[x.other]
		same := o.Manifest == x.f.Manifest.Hash && o.Cluster == x.f.Manifest.Cluster
		return heard && (!same || o.Target != x.target() || o.Phase == restart.PhaseRefused)
	}},
	restart.CodeRefusedElsewhere: {"that broker refuses, or has failed", func(x decided) bool {
		o := x.v.Statuses[x.other]
		return o.Phase == restart.PhaseRefused || o.Failed == x.f.Manifest.Hash
	}},
	restart.CodeNotInManifest: {"that broker is not in the manifest", func(x decided) bool {
		_, listed := x.f.Manifest.Zones[x.other]
		return !listed
	}},
	restart.CodeProbesClosing: {"a probe of a listener that goes is not closed", decided.probesOpen},
	restart.CodeTurn:          {"that broker is not done", func(x decided) bool { return x.other != 0 && !x.done() }},
	restart.CodeQueue:         {"that broker has a claim", func(x decided) bool { return x.holds(x.other) }},
	restart.CodeClaiming:      {},
	restart.CodeGateViews: {"too few views are good, or they came late", func(x decided) bool {
		c := x.f.Cluster
		empty := func(v restart.BrokerView) bool { return len(v.Alive) == 0 || len(v.Topics) == 0 }
		return c.Err != "" || c.At.IsZero() || len(c.Views) < 2 || !slices.ContainsFunc(c.Views, x.ownView) ||
			slices.ContainsFunc(c.Views, empty) || c.Took > restart.AnswersWithin
	}},
	restart.CodeGateBrokers:     {"another broker is down, or counts so", func(x decided) bool { return x.other != 0 && x.other != x.self }},
	restart.CodeGatePartitions:  {"a partition is below what it needs, or would come below it", decided.short},
	restart.CodeGateUnprotected: {"topics without protection are refused", func(x decided) bool { return x.f.Manifest.RefuseUnprotected }},
	restart.CodeGateQuorum:      {},
	restart.CodeApplying: {"server.properties is being written for a restart, or alone", func(x decided) bool {
		return x.at(restart.StageApply, restart.StageRestart) || x.enters(restart.StageApply) ||
			x.f.Manifest.FileChanges
	}},
	restart.CodeDraining: {"probes close for the restart", func(x decided) bool { return len(x.f.Manifest.Close) > 0 }},
	restart.CodeRestarting: {"the unit is being restarted", func(x decided) bool {
		return x.at(restart.StageRestart) || x.enters(restart.StageRestart)
	}},
	restart.CodeNoEffect: {"the unit was asked for a restart", func(x decided) bool {
		return x.at(restart.StageRestart, restart.StageUndo)
	}},
	restart.CodeStarting: {"a process has been started", func(x decided) bool {
		return x.at(restart.StageProve, restart.StageProveUndo, restart.StageNeedsOperator) ||
			x.enters(restart.StageProve) || x.f.Unit.Invocation != x.f.Journal.Invocation
	}},
	restart.CodeListener: {"a listener does not serve, or was not judged yet", func(x decided) bool {
		for name := range x.f.Journal.Listeners {
			if p, ok := x.f.Probes[name]; !ok || !p.Serving || p.At.Before(x.f.Now) {
				return true
			}
		}
		return len(x.f.Journal.Before) > 0
	}},
	restart.CodeFenced: {"another view lacks this broker", func(x decided) bool {
		return slices.Contains(x.f.Cluster.NoAnswer, x.self) || slices.ContainsFunc(x.f.Cluster.Views,
			func(v restart.BrokerView) bool { return !slices.Contains(v.Alive, x.self) })
	}},
	restart.CodeCatchingUp: {"the cluster is asked, or a replica is not in sync", func(x decided) bool {
		return x.d.Do.Kind == restart.ActObserve || x.behind() || x.f.Cluster.At.Before(x.f.Running.At)
	}},
	restart.CodeStalled: {"a replica is not in sync", decided.behind},
	restart.CodeBalancer: {"the load balancer has not asked often enough", func(x decided) bool {
		for _, p := range x.f.Probes {
			if p.Answered < x.f.Manifest.HealthyThreshold {
				return true
			}
		}
		return false
	}},
	restart.CodeSoaking: {"the broker runs", func(x decided) bool { return x.f.Unit.State != restart.UnitFailed && !x.down() }},
	restart.CodeSaving: {"the journal is written, or the probes are informed", func(x decided) bool {
		return x.d.Do.Kind == restart.ActSave || x.d.Do.Kind == restart.ActEnd
	}},
	restart.CodeRollingBack: {"the broker is being rolled back", func(x decided) bool {
		return x.at(restart.StageRestore, restart.StageUndo, restart.StageProveUndo) || x.enters(restart.StageRestore)
	}},
	restart.CodeNeedsOperator: {"it was rolled back and does not serve", func(x decided) bool {
		return x.at(restart.StageNeedsOperator) || x.enters(restart.StageNeedsOperator)
	}},
}

// triedAgain is true for a decision that repeats what has failed. A restart may be the first one of its stage.
func (x decided) triedAgain() bool {
	switch kind := x.d.Do.Kind; kind {
	case restart.ActSave, restart.ActApply, restart.ActRestore:
		_, failed := x.f.Failed[kind]
		return failed
	default:
		return false
	}
}

// at is true in one of some stages.
func (x decided) at(stages ...restart.Stage) bool { return slices.Contains(stages, x.f.Journal.Stage) }

// enters is true for a decision that begins a stage.
func (x decided) enters(stage restart.Stage) bool {
	return x.d.Do.Journal != nil && x.d.Do.Journal.Stage == stage
}

func (x decided) down() bool {
	return x.f.Unit.State == restart.UnitStopped || x.f.Unit.State == restart.UnitFailed
}

// target is what this broker's process is to run.
func (x decided) target() string {
	if q := x.v.Request(); q != nil {
		return x.f.Manifest.Hash + "+" + q.ID
	}
	return x.f.Manifest.Hash
}

func (x decided) runsAll() bool {
	for name, want := range x.f.Manifest.Listeners {
		if x.f.Running.Listeners[name] != want {
			return false
		}
	}
	return x.f.Manifest.Hash != "" && !slices.ContainsFunc(x.f.Manifest.Absent, func(name string) bool {
		_, there := x.f.Running.Listeners[name]
		return there
	})
}

func (x decided) holds(broker int32) bool {
	return slices.ContainsFunc(x.v.Claims, func(c restart.Claim) bool { return c.Broker == broker })
}

// done is true if the other broker needs nothing any more, as its agent said last.
func (x decided) done() bool {
	o := x.v.Statuses[x.other]
	rests := o.Phase == restart.PhaseIdle || o.Phase == restart.PhaseSoaking || o.Phase == restart.PhaseBalancer
	return rests && o.Up && !o.Drift && o.Target == x.target() && !x.holds(x.other)
}

func (x decided) probesOpen() bool {
	for _, name := range x.f.Manifest.Absent {
		if x.v.Active[name] {
			return true
		}
		for _, st := range x.v.Statuses {
			if slices.Contains(st.Open, name) {
				return true
			}
		}
	}
	return false
}

func (x decided) ownView(v restart.BrokerView) bool { return v.Broker == x.self }

// short is true if the partition that is named has this broker in sync, and no more others than it needs.
func (x decided) short() bool {
	if x.st.Reason.Partition == "" {
		return len(x.f.Cluster.MinISR) == 0 || x.st.Reason.Need == 0 // not known
	}
	return slices.ContainsFunc(x.f.Cluster.Views, func(v restart.BrokerView) bool {
		for _, t := range v.Topics {
			for _, p := range t.Partitions {
				waits := slices.Contains(p.Replicas, x.self) && len(p.ISR) < x.st.Reason.Need
				if fmt.Sprintf("%s-%d", t.Name, p.ID) == x.st.Reason.Partition && (waits || slices.Contains(p.ISR, x.self)) {
					return x.st.Reason.Have == len(p.ISR)
				}
			}
		}
		return false
	})
}

// behind is true if some view has a replica of this broker out of sync.
func (x decided) behind() bool {
	return slices.ContainsFunc(x.f.Cluster.Views, func(v restart.BrokerView) bool {
		return slices.ContainsFunc(v.Topics, func(t restart.Topic) bool {
			return slices.ContainsFunc(t.Partitions, func(p restart.Partition) bool {
				return slices.Contains(p.Replicas, x.self) && !slices.Contains(p.ISR, x.self)
			})
		})
	})
}
