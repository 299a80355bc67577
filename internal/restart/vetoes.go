package restart

import (
	"fmt"
	"maps"
	"slices"
	"time"
)

// situation is what this broker is about to do. A veto names those in which it counts.
type situation uint16

const (
	// taking: can this broker take the manifest at all, whether it has to be restarted for it or not?
	taking situation = 1 << iota
	// answered is taking, for what the process has to be asked first.
	answered
	// beforeClaim: the process differs from the manifest; may a restart be claimed?
	beforeClaim
	// lastLook: the claim was read back; may the broker go now? Asked once more right before the unit is restarted.
	lastLook
	// underWay: the restart has begun, and the unit may still be to be restarted; may it continue?
	underWay
	// downAndDeaf is underWay for a broker that is down and cannot read the log, which it may be holding itself.
	downAndDeaf
	// whileStopped: the broker was seen running once and is stopped; may its file be written?
	whileStopped
	// fileOnly: the process is right; may the file be written, may the probes of a new listener open?
	fileOnly
	// planning: what `kpls-agent plan` looks for.
	planning
	// checking: what `kpls-agent check` looks for, that is what one VM knows without the log.
	checking
	// anyBroker: what `kpls-agent plan` looks for on a broker that needs nothing: it keeps every other one from going.
	anyBroker
)

// veto is one thing that can be in the way.
type veto struct {
	name string
	when situation
	// check returns why this is in the way, or nil.
	check func(*round) *Reason
	// rest is what the agent does while it is, in the situations taking, answered and beforeClaim.
	rest func(*round, *Reason) *Decision
}

// vetoes is all that can be in the way of a restart, in the order in which it is looked
// for. The agent in each of its situations, `kpls-agent plan` and the metrics walk this list.
//
// What is not checked in a situation, and why:
//   - What the process says is checked under way, too: it is asked within 10 s before the unit is restarted.
//     A dynamic configuration that is set later is found by the proof, which waits until it is deleted.
//   - probes_closing is not checked under way: the active record that opens a probe is gone
//     from the log by then, and nobody writes it again while the listener is on its way out.
//   - What a restart would destroy is no matter for a broker that is stopped (whileStopped):
//     whoever starts it does that.
//   - The order is no matter for a stopped broker: its file alone is written.
//   - A broker that is down while the log is down with it is started whatever the log says.
var vetoes = slices.Concat([]veto{
	{"unit_unknown", taking | planning | checking, (*round).vetoUnit, (*round).restUnseen},
	{"stopped", planning | checking, (*round).vetoStopped, nil},
	{"refused", taking | underWay | downAndDeaf | planning | checking, (*round).vetoRefused, (*round).restRefused},
	{"port_taken", answered | underWay | planning | checking, (*round).vetoPort, (*round).restAsk},
	{"dynamic_config", answered | underWay | planning | checking, (*round).vetoDynamic, (*round).restAsk},
	{"unit_hazard", beforeClaim | underWay | planning | checking, (*round).vetoHazard, (*round).restRefused},
	{"restart_denied", beforeClaim | underWay | planning | checking, (*round).vetoDenied, (*round).restAsk},
	{"settings_dropped", beforeClaim | underWay | planning | checking, (*round).vetoDropped, (*round).restAsk},
	{"settings_would_drop", beforeClaim | underWay | planning | checking, (*round).vetoDrops, (*round).restAsk},
	{"pending_edits", beforeClaim | underWay | planning | checking, (*round).vetoPending, (*round).restRefused},
	{"gate_storage", beforeClaim | underWay | planning | checking, (*round).vetoStorage, (*round).restAsk},
	{"manifest_changed", underWay | downAndDeaf, (*round).vetoManifestChanged, nil},
	{"log_away", beforeClaim | planning | anyBroker, (*round).vetoLogAway, (*round).restAway},
	{"log", beforeClaim | underWay | whileStopped | fileOnly | planning | anyBroker, (*round).vetoLog, (*round).restLog},
	{
		"paused", beforeClaim | underWay | whileStopped | fileOnly | planning | anyBroker, (*round).vetoPaused,
		(*round).restDrop,
	},
	{
		"halted", beforeClaim | underWay | whileStopped | fileOnly | planning | anyBroker, (*round).vetoHalted,
		(*round).restHalted,
	},
	{"request_changed", underWay, (*round).vetoRequestChanged, nil},
	{"claim_gone", underWay, (*round).vetoClaimGone, nil},
	{"cluster_unknown", beforeClaim | planning | anyBroker, (*round).vetoUnseen, (*round).restLook},
	{
		"agreement", beforeClaim | underWay | whileStopped | fileOnly | planning | anyBroker, (*round).agreed,
		(*round).restDrop,
	},
	{"probes_closing", beforeClaim | planning | anyBroker, (*round).closing, (*round).closeFirst},
	{"waiting_for_turn", beforeClaim | underWay | planning, (*round).turn, (*round).restTurn},
	{"waiting_for_claim", beforeClaim | underWay | whileStopped | planning, (*round).queue, (*round).restQueue},
	{"action_failed", beforeClaim, (*round).vetoFailing, (*round).restFailing},
}, gateVetoes())

// gate is a veto that is checked right before a restart, on what was seen after the claim was
// read back. It gets the other brokers that count as down.
type gate struct {
	name  string
	check func(*round, []away) *Reason
}

// gates are the end of that list. They stand alone since the order (turn) asks them, too, who may go together.
var gates = []gate{
	{"gate_views", (*round).gateViews},
	{"gate_brokers", (*round).gateBrokers},
	{"gate_partitions", (*round).gatePartitions},
	{"gate_unprotected", (*round).gateUnprotected},
	{"gate_quorum", (*round).gateQuorum},
}

// gateVetoes are the gates as vetoes: with the brokers that count as down by the log alone.
func gateVetoes() []veto {
	out := make([]veto, len(gates))
	for i, g := range gates {
		out[i] = veto{
			name:  g.name,
			when:  lastLook | planning,
			check: func(s *round) *Reason { return g.check(s, s.down(nil)) },
		}
	}
	return out
}

// inTheWay returns the first veto that stands in a situation, and its reason; nil if none does.
func (s *round) inTheWay(when situation) (*veto, *Reason) {
	for i := range s.vetoes {
		if v := &s.vetoes[i]; v.when&when != 0 {
			if r := v.check(s); r != nil {
				return v, r
			}
		}
	}
	return nil, nil
}

// blocked returns why the gates do not let this broker go while others count as down, or nil.
func (s *round) blocked(counted []away) *Reason {
	for i := range gates {
		if r := gates[i].check(s, counted); r != nil {
			return r
		}
	}
	return nil
}

// vetoed returns the reason of the first veto that stands in a situation, or nil.
func (s *round) vetoed(when situation) *Reason {
	_, r := s.inTheWay(when)
	return r
}

// holdBack is what this broker does about the first veto that stands, if there is one.
func (s *round) holdBack(when situation) *Decision {
	v, r := s.inTheWay(when)
	if r == nil {
		return nil
	}
	return v.rest(s, r)
}

func (s *round) vetoUnit() *Reason {
	if s.f.Unit.State == UnitUnknown || s.f.Unit.At.IsZero() {
		return s.unseen()
	}
	return nil
}

// vetoStopped: the broker is stopped, or it has failed and a restart would change nothing.
func (s *round) vetoStopped() *Reason {
	switch {
	case s.f.Unit.State == UnitFailed && s.f.Manifest.Hash != "" && !s.f.Manifest.FileChanges && !s.drifts():
		return because(CodeStopped, "the broker has failed (%s) with the server.properties the manifest asks for; "+
			"see its log, correct the manifest if that is the cause, repair the broker and start it", orNot(s.f.Unit.Detail, "no detail"))
	case s.f.Unit.State != UnitStopped:
		return nil
	}
	if s.f.Running.Err == "" && !s.f.Running.At.IsZero() {
		return s.outside()
	}
	return because(CodeStopped, "the broker is stopped (%s); start it when you are done",
		orNot(s.f.Unit.Detail, "by somebody, or never started"))
}

// outside: the unit is stopped and its broker answers.
func (s *round) outside() *Reason {
	return because(
		CodeOutsideUnit,
		"broker %d answers and its unit is stopped (%s): it was started outside of the unit, "+
			"so that the agent cannot restart it; stop it (kafka-server-stop.sh) and start the unit",
		s.m.opts.Self,
		orNot(s.f.Unit.Detail, "no detail"),
	)
}

func (s *round) vetoRefused() *Reason { return s.f.Manifest.Refusal }

// vetoPort: the process could not bind a port that it gets with the manifest. Of a broker that is down nothing is
// known: what it said last is of the process before.
func (s *round) vetoPort() *Reason {
	if s.f.Running.PortTaken == "" || !s.up() {
		return nil
	}
	return because(CodeRefused, "%s", s.f.Running.PortTaken)
}

func (s *round) vetoDynamic() *Reason {
	if len(s.f.Running.Dynamic) == 0 || !s.up() {
		return nil
	}
	name := s.f.Running.Dynamic[0]
	return because(
		CodeDynamicConfig,
		"a dynamic configuration overrides %s on this broker, so server.properties decides nothing; "+
			"delete it with kafka-configs --alter --entity-type brokers --entity-name %d --delete-config %s",
		name,
		s.m.opts.Self,
		name,
	)
}

func (s *round) vetoHazard() *Reason {
	if s.f.Unit.Hazard == "" || !s.up() {
		return nil
	}
	return because(CodeUnitHazard, "a restart of the unit does more than restart this broker: %s", s.f.Unit.Hazard)
}

func (s *round) vetoDenied() *Reason {
	if s.f.Right.Denied == "" {
		return nil
	}
	return because(CodeRestartDenied, "the service manager would refuse the restart, so nothing is begun: %s",
		s.f.Right.Denied)
}

// vetoDropped: Kafka has refused the dynamic settings of a level at the start of this process.
func (s *round) vetoDropped() *Reason {
	if len(s.f.Running.Dropped) == 0 || !s.up() {
		return nil
	}
	return because(
		CodeSettingsDropped,
		"Kafka dropped dynamic settings when broker %d started: %s; see `Dynamic thread count update validation failed` "+
			"in its server.log, put the thread count into server.properties or delete its dynamic value, then set the others again with kafka-configs",
		s.m.opts.Self,
		droppedText(s.f.Running.Dropped),
	)
}

func droppedText(list []Dropped) string {
	d := list[0]
	out := fmt.Sprintf("%s is %s in force, and the dynamic value (%s) is %s", d.Name, d.InForce, d.Level, d.Dynamic)
	if len(list) > 1 {
		out += fmt.Sprintf(", and %d more", len(list)-1)
	}
	return out
}

// vetoDrops: a restart would make Kafka refuse all dynamic settings of a level, min.insync.replicas
// among them: acks=all would get weaker (KAFKA-20890).
func (s *round) vetoDrops() *Reason {
	if len(s.f.Manifest.Drops) == 0 || !s.up() {
		return nil
	}
	d := s.f.Manifest.Drops[0]
	return because(
		CodeSettingsWouldDrop,
		"a restart of broker %d would drop every dynamic setting of level %s: %s is %s dynamically and %s in server.properties, "+
			"and at its start Kafka takes at most twice and at least half of that; put `%s` into server.properties",
		s.m.opts.Self,
		d.Level,
		d.Name,
		d.Dynamic,
		d.File,
		d.Fix,
	)
}

// vetoPending: edits of others that the process was not started with.
func (s *round) vetoPending() *Reason {
	if !s.up() {
		return nil
	}
	var list []PendingEdit
	switch s.f.Manifest.PendingPolicy {
	case PendingProceed:
		return nil
	case PendingRefuse:
		list = s.f.Manifest.Pending
	default:
		for _, e := range s.f.Manifest.Pending {
			if e.Invalid != "" {
				list = append(list, e)
			}
		}
	}
	if len(list) == 0 {
		return nil
	}
	e := list[0]
	if e.Invalid != "" {
		return because(CodePendingEdits,
			"server.properties has an edit that Kafka would refuse at its start: %s: %s; correct that line%s",
			editText(e), e.Invalid, andMore(list))
	}
	return because(
		CodePendingEdits,
		"a restart would bring an edit of server.properties that the process was not started with: %s; "+
			"restart the broker by hand, take the edit back, or set rollout.pending_edits: refuse_invalid%s",
		editText(e),
		andMore(list),
	)
}

func editText(e PendingEdit) string {
	const most = 60
	cut := func(v string) string {
		if v == "" {
			return "nothing"
		}
		if len(v) > most {
			v = v[:most] + "..."
		}
		return "`" + v + "`"
	}
	text := fmt.Sprintf("%s from %s to %s", e.Name, cut(e.Running), cut(e.File))
	if e.Override {
		text += " (by --override on the broker's command line)"
	}
	return text
}

func andMore(list []PendingEdit) string {
	if len(list) < 2 {
		return ""
	}
	return fmt.Sprintf(" (and %d more: see `kpls-agent plan`)", len(list)-1)
}

// vetoStorage: a broker whose log directory is offline or full might not come up again. What
// could not be looked at is no veto.
func (s *round) vetoStorage() *Reason {
	if !s.up() || s.f.Running.Err != "" {
		return nil
	}
	if s.f.Running.LogDirsErr != "" {
		return because(CodeGateStorage, "the broker does not tell the state of its log directories: %s",
			s.f.Running.LogDirsErr)
	}
	if f := s.storage(); f != "" {
		return because(CodeGateStorage, "%s; repair it, and restart the broker by hand if the directory is offline", f)
	}
	return nil
}

// storage is the first fault of this broker's log directories, or "".
func (s *round) storage() string {
	if i := slices.IndexFunc(s.f.Running.LogDirs, func(d LogDir) bool { return d.Fault != "" }); i >= 0 {
		return s.f.Running.LogDirs[i].Fault
	}
	return ""
}

// vetoLogAway: what the log said last is no reason any more once it could not be reached for a while. A broker that is
// down and has its claim is started all the same: it may be the one that has the log.
func (s *round) vetoLogAway() *Reason {
	if _, _, held := s.v.Claim(s.m.opts.Self); s.deafFor() < deaf || held && !s.up() {
		return nil
	}
	failed := ""
	if s.failedHere() != nil {
		failed = fmt.Sprintf("the restart failed here (%s), and ", s.j.Why)
	}
	return because(CodeLogUnreadable, "%sthe coordination log cannot be used for %s: %s", failed,
		s.deafFor().Round(time.Second), s.f.Log.Err)
}

// deafFor is how long the log has not been reached; 0 if it is.
func (s *round) deafFor() time.Duration {
	if s.m.mem.log.deafSince.IsZero() {
		return 0
	}
	return s.f.Now.Sub(s.m.mem.log.deafSince)
}

// vetoLog: the log says nothing one may rely on.
func (s *round) vetoLog() *Reason {
	switch {
	case s.f.Log.At.IsZero() && s.f.Log.Err != "":
		return because(CodeLogUnreadable, "the coordination log cannot be read: %s", s.f.Log.Err)
	case s.f.Log.At.IsZero():
		return because(CodeLogUnreadable, "the coordination log has not been read to its end yet")
	}
	if len(s.v.Foreign) > 0 {
		first := slices.Min(slices.Collect(maps.Keys(s.v.Foreign)))
		return because(CodeLogForeign, "the coordination log has what this agent must not ignore: %s",
			s.v.Foreign[first])
	}
	return nil
}

func (s *round) vetoPaused() *Reason {
	if p := s.v.Pause; p != nil {
		return because(CodePaused, "paused by %s%s; `kpls-agent resume` ends it", p.By, detail(p.Why))
	}
	return nil
}

func (s *round) vetoHalted() *Reason {
	if h, ok := s.v.Halts[s.f.Manifest.Hash]; ok {
		return because(CodeHalted, "%s", s.haltText(h)).of(h.Broker)
	}
	return s.failedHere()
}

// failedHere: by the journal, the manifest has failed on this broker.
func (s *round) failedHere() *Reason {
	if s.j.Failed == "" || s.j.Failed != s.f.Manifest.Hash {
		return nil
	}
	if r := s.haltCannotBeWritten(); r != nil {
		return r
	}
	return because(CodeHalted, "%s", s.haltText(s.newHalt(s.j.Failed)))
}

func (s *round) vetoManifestChanged() *Reason {
	if manifestOf(s.j.Target) == s.f.Manifest.Hash {
		return nil
	}
	return because(CodeClaiming, "the manifest has changed since this restart was begun")
}

func (s *round) vetoRequestChanged() *Reason {
	if s.j.Target == s.target { // only the log knows what was asked for
		return nil
	}
	return because(CodeClaiming, "a rolling restart was asked for, ended or taken back since this restart was begun")
}

func (s *round) vetoClaimGone() *Reason {
	if _, _, held := s.v.Claim(s.m.opts.Self); held {
		return nil
	}
	return because(CodeClaiming, "this broker's claim was removed")
}

// vetoFailing: what a restart needs has just failed, and is tried again after a pause.
func (s *round) vetoFailing() *Reason {
	for _, kind := range []ActionKind{ActSave, ActApply, ActRestart} {
		if s.tooSoon(kind) {
			return s.failed(kind)
		}
	}
	return nil
}

func (s *round) vetoUnseen() *Reason {
	if !s.f.Cluster.At.IsZero() {
		return nil
	}
	return because(CodeClusterUnknown, "the cluster has not been seen yet%s", detail(s.f.Cluster.Err))
}

func (s *round) restUnseen(r *Reason) *Decision { return s.wait(PhaseUnknown, r, paceWaiting) }

func (s *round) restRefused(r *Reason) *Decision {
	if r.Code == CodeJudging { // no refusal yet: the others wait for what comes of it
		return s.drop(PhaseWaiting, r, paceBlocked)
	}
	return s.drop(PhaseRefused, r, paceWaiting)
}

// restAsk is restRefused for what only the process or the service manager can tell: they are asked again.
func (s *round) restAsk(r *Reason) *Decision {
	if !s.recent(s.f.Running.At, paceWaiting) {
		return s.do(PhaseRefused, r, Action{Kind: ActRunning}, 0)
	}
	return s.drop(PhaseRefused, r, paceWaiting)
}

func (s *round) restBlocked(r *Reason) *Decision { return s.wait(PhaseWaiting, r, paceBlocked) }

func (s *round) restDrop(r *Reason) *Decision { return s.drop(PhaseWaiting, r, paceRest) }

// restFailing gives the claim back and tries again soon: how soon is for vetoFailing to say.
func (s *round) restFailing(r *Reason) *Decision { return s.drop(PhaseWaiting, r, paceBlocked) }

func (s *round) restAway(r *Reason) *Decision {
	if s.failedHere() != nil {
		return s.wait(PhaseFailed, r, paceBlocked)
	}
	return s.restBlocked(r)
}

func (s *round) restLog(r *Reason) *Decision {
	if r.Code == CodeLogForeign {
		return s.restDrop(r)
	}
	return s.restBlocked(r)
}

func (s *round) restHalted(r *Reason) *Decision {
	if s.j.Failed == s.f.Manifest.Hash {
		return s.drop(PhaseFailed, r, paceRest)
	}
	return s.restDrop(r)
}

func (s *round) restLook(r *Reason) *Decision { return s.observe(PhaseWaiting, r, paceBlocked) }

func (s *round) restTurn(r *Reason) *Decision {
	if d := s.takeover(); d != nil {
		return d
	}
	if _, _, held := s.v.Claim(s.m.opts.Self); held {
		return s.drop(PhaseWaiting, r, paceRest) // the active controller has moved here: to the end of the queue
	}
	// Only the order among the next ones hangs on what the cluster looks like. All
	// who wait look at it once a second together, however many they are.
	return s.observe(PhaseWaiting, r, paceWaiting*time.Duration(len(s.ahead())))
}

func (s *round) restQueue(r *Reason) *Decision {
	if d := s.takeover(); d != nil {
		return d
	}
	return s.observe(PhaseWaiting, r, paceWaiting)
}
