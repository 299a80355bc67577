package report

import (
	"slices"

	"example.com/kpls-agent/internal/restart"
)

// Worst is the worst that is said of any broker, its agent, or the cluster as a whole.
type Worst string

// What can be said, the worst first.
const (
	Unreadable Worst = "unreadable"       // the log has a record that this version must not ignore
	Halted     Worst = "halted"           // a broker failed, and no other one continues
	Failed     Worst = "failed"           // a broker needs an operator, or is being rolled back
	Down       Worst = "broker_down"      // a broker is stopped, or the cluster does not name it
	Refused    Worst = "refused"          // a manifest cannot be applied to a broker, or is not taken over
	Missing    Worst = "agent_gone"       // an agent has never reported, was stopped or is silent
	Lacking    Worst = "manifest_missing" // an agent has no manifest, and others have one
	Paused     Worst = "paused"           // an operator has paused all roll-outs
	Waiting    Worst = "waiting"          // brokers are to be restarted, and something must happen first
	Upgrading  Worst = "agent_restarting" // an agent was stopped a moment ago
	Rolling    Worst = "rolling"          // a roll-out goes on
	NoManifest Worst = "no_manifest"      // no agent has a manifest
	Idle       Worst = "idle"             // every broker runs what the manifest says
	Unheardof  Worst = "nobody_there"     // no agent has reported at all
)

// Urgency says what is to be done about it: nothing, wait, or see to it.
type Urgency int

// The urgencies, in their order.
const (
	Fine Urgency = iota
	Wait
	Act
)

// Urgency is how much something matters.
func (w Worst) Urgency() Urgency {
	switch w {
	case Idle, NoManifest:
		return Fine
	case Paused, Waiting, Upgrading, Rolling:
		return Wait
	default:
		return Act
	}
}

// words are for people.
func (w Worst) words() string {
	switch w {
	case Down:
		return "broker down"
	case Missing:
		return "agent gone"
	case Upgrading:
		return "agent restarting"
	case Lacking:
		return "manifest missing"
	case NoManifest:
		return "no manifest"
	case Unheardof:
		return "no agent has reported"
	default:
		return string(w)
	}
}

func (r *Report) worst() Worst {
	if len(r.Brokers) == 0 {
		return Unheardof
	}
	for _, w := range []struct {
		word   Worst
		stands bool
	}{
		{Unreadable, len(r.Foreign) > 0},
		{Halted, len(r.Halts) > 0},
		{Failed, r.any(func(b Broker) bool { return b.of() == Failed })},
		{Down, r.any(func(b Broker) bool { return b.of() == Down || b.down() })},
		{Refused, r.any(func(b Broker) bool { return b.of() == Refused || b.ManifestFault != "" })},
		{Missing, len(r.Unheard) > 0 || r.any(func(b Broker) bool { return b.gone(r.At) })},
		{Lacking, r.any(without) && !r.all(without)},
		{Paused, r.Pause != nil},
		{Rolling, r.State == "rolling"},
		{Waiting, r.State == "waiting" || r.any(func(b Broker) bool { return b.of() == Waiting })},
		{Upgrading, r.any(func(b Broker) bool { return b.State == Stopped })},
		{NoManifest, r.any(without)},
	} {
		if w.stands {
			return w.word
		}
	}
	return Idle
}

func (r *Report) any(is func(Broker) bool) bool {
	return slices.ContainsFunc(r.Brokers, is)
}

func (r *Report) all(is func(Broker) bool) bool {
	return !r.any(func(b Broker) bool { return !is(b) })
}

// without is true for a broker whose agent has no manifest: its probes are closed.
func without(b Broker) bool { return b.of() == NoManifest }

// of is what a broker's own agent says of it.
func (b Broker) of() Worst {
	switch b.Phase {
	case restart.PhaseFailed, restart.PhaseRollback:
		return Failed
	case restart.PhaseStopped:
		return Down
	case restart.PhaseRefused:
		return Refused
	case restart.PhaseUnmanaged:
		return NoManifest
	case restart.PhaseUnknown, restart.PhaseWaiting, restart.PhaseClaimed:
		return Waiting
	case restart.PhaseIdle:
		if b.Drift {
			return Waiting // it has just seen that there is something to do
		}
		return Idle
	default:
		return Rolling
	}
}

// urgency is that of a broker's row.
func (b Broker) urgency(r *Report) Urgency {
	switch u := b.of().Urgency(); {
	case b.gone(r.At) || b.down() || b.ManifestFault != "":
		return Act
	case b.State == Stopped:
		return max(u, Wait)
	default:
		return u
	}
}
