package sim

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"example.com/kpls-agent/internal/restart"
)

const (
	// fresh is how old a fact may be when a unit is restarted (docs/architecture.md).
	fresh = 2 * time.Second
	// knowable is how long ago a thing must have happened for an agent to have
	// to know it: the age its facts may have, and a second for metadata and records on their way.
	knowable = fresh + time.Second
)

// takedown is one broker being taken down by its agent, as the promises judge it.
type takedown struct {
	*judge
	a    *agent
	b    *broker
	undo bool // the way back from a bad manifest
	// manifest is the one in force, as the agent has read it last.
	manifest string
	down     []int32 // other brokers that are down, as far as that can be known
}

// promises are judged whenever an agent takes its broker down; the list to add
// to. Each returns what is wrong, or "".
var promises = []struct {
	name  string
	holds func(takedown) string
}{
	{"promise 1, max_unavailable", takedown.maxUnavailable},
	{"promise 1, min.insync.replicas", takedown.inSync},
	{"promise 1, one zone at a time", takedown.oneZone},
	{"promise 2, majority", takedown.majority},
	{"promise 2, controller last", takedown.controllerLast},
	{"promise 3, fresh facts", takedown.freshFacts},
	{"promise 3, two views", takedown.twoViews},
	{"promise 3, claim", takedown.claimStands},
	{"promise 3, pause", takedown.notPaused},
	{"promise 3, foreign records", takedown.allRead},
	{"promise 3, agreement", takedown.agreed},
	{"promise 3, ignorance of the unit", takedown.unitSeen},
	{"promise 5, halt", takedown.notHalted},
	{"promise 5, one victim", takedown.fewVictims},
	{"promise 5, not tried again", takedown.notAgain},
	{"promise 5, refused before", takedown.refusedBefore},
	{"promise 1, no harm beyond the restart", takedown.harmless},
	{"promise 7, no needless restart", takedown.needed},
	{"promise 9, probes close first", takedown.probesClosed},
}

// takesDown judges a restart that is about to happen.
func (j *judge) takesDown(a *agent) {
	t := takedown{judge: j, a: a, b: j.broker(a.id), undo: a.journal.Stage == restart.StageUndo, manifest: a.Facts().Manifest.Hash}
	if !t.b.running {
		return // its restart takes nothing from anybody
	}
	for _, o := range j.brokers {
		if o != t.b && (o.takenDown && !j.let(o.id) || j.gone(t.b, o)) {
			t.down = append(t.down, o.id)
		}
	}
	j.wentDown[a.id] = j.now
	for _, p := range promises {
		if wrong := p.holds(t); wrong != "" {
			j.fail(p.name, "broker %d is taken down: %s", a.id, wrong)
		}
	}
}

// gone is true if a broker is down and the agent of another one can know: it
// is fenced; or it is one of those that are asked first, and does not answer.
func (j *judge) gone(asker, o *broker) bool {
	if !o.alive {
		return j.since(o.left) > knowable
	}
	if o.answers() || j.since(o.badAt) <= knowable {
		return false
	}
	answers := 0
	for i := range j.brokers {
		b := j.brokers[(int(asker.id)-1+i)%len(j.brokers)]
		if answers == 3 {
			return false
		}
		if b == o {
			return true
		}
		if (b.answers() || j.since(b.badAt) <= knowable) && b.alive { // it was asked before it went bad
			answers++
		}
	}
	return false
}

func (t takedown) maxUnavailable() string {
	back := t.since(t.b.returned) <= knowable // as far as its agent knows it is still fenced, and takes nothing from anybody
	if most := t.versions[t.manifest].maxUnavailable; !t.undo && t.b.alive && !back && len(t.down)+1 > most {
		return fmt.Sprintf("%v are down and max_unavailable is %d", t.down, most)
	}
	return ""
}

// oneZone: brokers of several zones may be down at the same time, but not by the roll-out.
func (t takedown) oneZone() string {
	for _, o := range t.brokers {
		_, _, claimed := t.log.now().Claim(o.id)
		if o != t.b && o.takenDown && claimed && o.zone != t.b.zone && !t.undo && !t.careless && t.b.alive {
			return fmt.Sprintf("it is of zone %s, and broker %d of zone %s, which its agent took down, is not back", t.b.zone, o.id, o.zone)
		}
	}
	return ""
}

// unserved is true for a broker on its way back that serves nobody: nobody listens on its port, whatever the controllers
// still say of the process before.
func (t takedown) unserved() bool { return t.undo && t.b.running && !t.b.ready }

func (t takedown) inSync() string {
	if t.unserved() || t.since(t.b.returned) <= knowable {
		return "" // as far as others know it holds nothing yet
	}
	for _, p := range t.partitions {
		if !t.b.alive || len(p.replicas) <= p.need {
			continue
		}
		if !slices.Contains(p.isr, t.b.id) {
			if slices.Contains(p.replicas, t.b.id) && !t.undo && len(p.isr) > 0 && len(p.isr) < p.need && t.settled(p) {
				return fmt.Sprintf("%s has %d in-sync replicas and needs %d, and the broker is catching up with it", p.topic, len(p.isr), p.need)
			}
			continue
		}
		if t.since(p.in[t.b.id]) <= knowable {
			continue // as far as its agent knows the partition is below already without it
		}
		left := 0
		for _, id := range p.replicas {
			o := t.broker(id)
			in := slices.Contains(p.isr, id) || t.since(p.out[id]) <= knowable
			if o != t.b && in && (!o.takenDown || t.let(id)) && !t.gone(t.b, o) {
				left++
			}
		}
		if left < p.need {
			return fmt.Sprintf("%s comes to %d in-sync replicas and needs %d", p.topic, left, p.need)
		}
	}
	return ""
}

// settled is true if nothing has changed in a partition's in-sync replicas for so long that every agent can know it.
func (t takedown) settled(p *partition) bool {
	for _, id := range p.replicas {
		if t.since(p.in[id]) <= knowable || t.since(p.out[id]) <= knowable {
			return false
		}
	}
	return true
}

func (t takedown) majority() string {
	if t.voter(t.b.id) == nil && (!t.b.alive || t.since(t.b.returned) <= knowable) {
		return "" // it holds nothing, and takes nothing from anybody
	}
	if t.undo && (t.since(t.b.started) <= knowable || t.since(t.elected) <= knowable) {
		return "" // its vote counts again only just now, or there was no quorum a moment ago
	}
	remain, with := 0, 0
	for _, v := range t.voters {
		if t.caughtUp(v) {
			with++
		}
		if v.broker == t.b || v.broker != nil && v.broker.takenDown && !t.let(v.id) {
			continue
		}
		bad := v.since
		if v.broker != nil && v.broker.badAt.After(bad) {
			bad = v.broker.badAt
		}
		if t.caughtUp(v) || t.since(bad) <= knowable {
			remain++
		}
	}
	need := len(t.voters)/2 + 1
	if len(t.voters) <= 2 && t.voter(t.b.id) != nil {
		need = len(t.voters) - 1
	}
	lost := with < len(t.voters)/2+1 || !slices.ContainsFunc(t.brokers, (*broker).answers)
	if remain < need && (!t.undo || !lost) {
		return fmt.Sprintf("%d caught-up voters remain and %d are needed", remain, need)
	}
	return ""
}

func (t takedown) controllerLast() string {
	if t.undo || t.leader != t.b.id || t.since(t.elected) <= knowable {
		return ""
	}
	if t.a.journal.MayBeOld {
		return "" // its process may run a file that none has proved: nobody follows before it was restarted
	}
	for _, o := range t.brokers {
		_, _, claimed := t.log.now().Claim(o.id)
		claimed = claimed || t.since(t.unclaimed[o.id]) <= knowable // it has just given its claim back
		if !t.agents[o.id-1].able() && t.saidDone(o.id, t.a.Status().Target) {
			continue // it was rolled back since, and its agent could not say so
		}
		if o != t.b && o.running && !o.takenDown && !claimed && !o.runs.equal(t.wants(o, t.manifest)) {
			return fmt.Sprintf("it is the active controller, and broker %d is still to go", o.id)
		}
	}
	return ""
}

func (t takedown) freshFacts() string {
	f := t.a.Facts()
	if age := t.since(f.Cluster.At); age > fresh && t.b.alive && !t.unserved() {
		return fmt.Sprintf("the cluster was observed %s ago", age)
	}
	if age := t.since(t.a.filesAt); age > knowable {
		return fmt.Sprintf("the manifest was read %s ago", age)
	}
	if age := t.since(f.Log.At); !t.undo && age > fresh {
		return fmt.Sprintf("the log was read %s ago", age)
	}
	started := t.since(t.b.started) <= knowable // by somebody, just when its agent was about to
	if !t.undo && !started && f.Cluster.At.Before(t.a.claimAt) {
		return "the cluster was not observed since the claim was won"
	}
	return ""
}

func (t takedown) twoViews() string {
	if t.unserved() || t.undo && t.since(t.b.returned) <= knowable {
		return "" // fenced, as far as others know: it takes nothing from anybody
	}
	n, other := 0, false
	for _, v := range t.a.Facts().Cluster.Views {
		if len(v.Alive) > 0 && len(v.Topics) > 0 {
			n++
			other = other || v.Broker != t.b.id
		}
	}
	if len(t.brokers) > 1 && (n < 2 || !other) && t.b.alive {
		return fmt.Sprintf("by the word of %d brokers", n)
	}
	return ""
}

func (t takedown) claimStands() string {
	if _, _, held := t.log.now().Claim(t.b.id); !t.undo && !held && t.since(t.unclaimed[t.b.id]) > knowable {
		return "it has no claim"
	}
	return ""
}

func (t takedown) notPaused() string {
	if !t.undo && t.log.now().Pause != nil && t.since(t.paused) > knowable {
		return fmt.Sprintf("paused %s ago", t.since(t.paused))
	}
	return ""
}

func (t takedown) allRead() string {
	if !t.undo && len(t.unread) > 0 && t.since(t.foreign) > knowable {
		return fmt.Sprintf("the log cannot be understood since %s", t.since(t.foreign))
	}
	return ""
}

func (t takedown) agreed() string {
	for _, o := range t.brokers {
		if st, ok := t.log.now().Statuses[o.id]; !t.undo && o != t.b && (!ok || st.Manifest != t.manifest) && t.since(t.saidAt[o.id]) > knowable {
			return fmt.Sprintf("for %s, while broker %d has %q", t.manifest, o.id, st.Manifest)
		}
	}
	return ""
}

func (t takedown) unitSeen() string {
	if t.a.Facts().Unit.State == restart.UnitUnknown {
		return "its unit cannot be seen"
	}
	return ""
}

func (t takedown) notHalted() string {
	if _, ok := t.log.now().Halts[t.manifest]; ok && !t.undo && t.since(t.halted[t.manifest]) > knowable {
		return fmt.Sprintf("%s was halted %s ago", t.manifest, t.since(t.halted[t.manifest]))
	}
	return ""
}

// fewVictims: one broker at most, whatever max_unavailable says. The first broker of a roll-out
// goes alone, and a manifest that is bad here is bad for the first one.
func (t takedown) fewVictims() string {
	v := t.versions[t.a.file]
	if v.bad != "" && !t.undo && len(v.victims) > 0 && !slices.Contains(v.victims, t.b.id) {
		return fmt.Sprintf("it follows %v into %s", v.victims, t.a.file)
	}
	return ""
}

// notAgain: a manifest that failed here is tried again only after an operator's order.
func (t takedown) notAgain() string {
	if t.failedHere[t.b.id] == t.manifest && !t.undo && !t.careless {
		return fmt.Sprintf("it was rolled back from %s, and nobody has resumed that", t.manifest)
	}
	return ""
}

func (t takedown) refusedBefore() string {
	switch {
	case t.undo:
	case t.versions[t.manifest].refusedBy == t.b.id && !t.versions[t.manifest].portTaken:
		return "it cannot take the manifest"
	case t.a.portTaken() != "":
		return "it cannot have a port of the manifest"
	case t.b.dynamic && t.a.begun.Sub(t.b.dynamicAt) > 12*time.Second:
		// It is not checked under way, and what the process said may be 10 s old when a restart begins.
		return "a dynamic configuration overrides what it gets"
	}
	return ""
}

// harmless: what is known to do harm is not restarted. What the process and its directories
// say may be 10 s old, since the agent asks once for each claim.
func (t takedown) harmless() string {
	if t.a.harm != "" && !t.undo && t.since(t.a.harmAt) > 12*time.Second {
		return fmt.Sprintf("%s since %s", t.a.harm, t.since(t.a.harmAt))
	}
	return ""
}

func (t takedown) needed() string {
	asked := t.requested != "" && (t.endedAt.IsZero() || t.since(t.endedAt) <= knowable)
	byHand := t.since(t.b.started) <= knowable // at the same time as the agent's own restart
	if !t.undo && t.b.runs.equal(t.versions[t.a.file].wants) && !asked && !t.a.journal.Hidden && !byHand {
		return "it runs what its file says, and nobody asked for a restart"
	}
	return ""
}

func (t takedown) probesClosed() string {
	for _, name := range t.versions[t.manifest].absent {
		if t.log.now().Active[name] && !t.undo {
			return fmt.Sprintf("the log allows the probes of %s, which is being removed", name)
		}
		for _, o := range t.agents {
			if p := o.probes.find(name); p != nil && p.open && !t.undo {
				return fmt.Sprintf("the probe of %s on broker %d is open, which is being removed", name, o.id)
			}
		}
	}
	return ""
}

// judge keeps what the promises need to know of the past.
type judge struct {
	facts restart.Facts // of the decision that is judged
	*run
	paused, foreign   time.Time
	unread            map[string]bool // records that agents must stand still for, by key
	requested         string          // the last rolling restart that was asked for
	endedAt           time.Time       // when the log said that it has ended; zero before
	cancelled         map[string]bool // rolling restarts that an operator took back
	halted            map[string]time.Time
	unclaimed, saidAt map[int32]time.Time
	wentDown          map[int32]time.Time // by its agent
	failedHere        map[int32]string    // the manifest from which a broker was rolled back last, until it is resumed
	letGo             map[int32]time.Time // claims removed by an operator
	careless          bool                // an operator did what costs a guarantee
	unsure            map[int32]string    // a file that no process had proved when its agent's state directory was lost
}

func newJudge(r *run) *judge {
	return &judge{
		run: r, halted: map[string]time.Time{}, unclaimed: map[int32]time.Time{}, saidAt: map[int32]time.Time{}, wentDown: map[int32]time.Time{}, failedHere: map[int32]string{},
		letGo: map[int32]time.Time{}, unsure: map[int32]string{}, unread: map[string]bool{}, cancelled: map[string]bool{},
	}
}

// let is true for a moment after an operator removed a claim: the others may
// then go on before they can see that this broker goes, too. `release` says so.
func (j *judge) let(id int32) bool {
	at, ok := j.letGo[id]
	return ok && j.since(at) <= 2*knowable
}

func (j *judge) releases(c restart.Claim) {
	j.careless = true
	j.letGo[c.Broker] = j.now.Add(appendPatience) // it may take that long to get there
}

// wants is what a broker has to run, as far as that can be known: a state
// directory that is lost takes along that a hidden value was to change.
func (j *judge) wants(b *broker, manifest string) config {
	wants := j.versions[manifest].wants
	if j.careless {
		wants.hidden = b.runs.hidden
	}
	return wants
}

// lostState is a state directory that is gone in the middle of anything. That a manifest has failed here is lost with
// it, unless its halt is in the log.
func (j *judge) lostState(a *agent) {
	j.careless = true
	if a.unproven {
		j.unsure[a.id] = a.file // whether it ever ran is not known any more: a new agent takes it for the last good one
	}
	for name, v := range j.versions {
		if _, halted := j.log.now().Halts[name]; !halted {
			v.victims = slices.DeleteFunc(v.victims, func(id int32) bool { return id == a.id })
		}
	}
}

// corrects: an operator corrects a broker's file, and not the manifest that it is of, although its agent has said so.
// Where the agent has lost its state directory, no halt keeps the others from that manifest.
func (j *judge) corrects(id int32, version string) {
	v := j.versions[version]
	v.victims = slices.DeleteFunc(v.victims, func(victim int32) bool { return victim == id })
}

// committed follows the log.
func (j *judge) committed(r restart.Record) {
	kind, rest, _ := strings.Cut(r.Key, "/")
	v := j.log.now()
	switch kind {
	case "pause":
		j.paused = j.now
	case "halt":
		j.halted[rest] = j.now
		j.falseAlarm(rest, r)
		if r.Value == nil && j.versions[rest] != nil {
			j.versions[rest].victims = nil
			maps.DeleteFunc(j.failedHere, func(_ int32, manifest string) bool { return manifest == rest })
		}
	case "restart":
		if r.Value != nil {
			j.requested, j.endedAt = rest, time.Time{}
		} else if rest == j.requested {
			j.endedAt = j.now
		}
	case "claim":
		if r.Value == nil {
			for _, a := range j.agents {
				if _, _, held := v.Claim(a.id); !held && strings.HasPrefix(rest, fmt.Sprint(a.id, "/")) {
					j.unclaimed[a.id] = j.now
				}
			}
		}
	case "status":
		id, _ := strconv.Atoi(rest)
		was, ok := j.log.views[len(j.log.views)-2].Statuses[int32(id)]
		if st, now := v.Statuses[int32(id)]; now && (!ok || was.Manifest != st.Manifest) {
			j.saidAt[st.Broker] = j.now
		}
	case "active":
		if r.Value != nil {
			j.activated(rest)
		}
	}
	j.strays(r)
}

// kinds are the first parts of the keys that agents of this build write. A build that adds one follows a build that
// ignores it: docs/architecture.md.
var kinds = []string{"status", "claim", "halt", "active", "pause", "restart", "takeover"}

// strays follows the records that no agent of this build writes.
func (j *judge) strays(r restart.Record) {
	kind, _, _ := strings.Cut(r.Key, "/")
	switch known := slices.Contains(kinds, kind); {
	case slices.Contains(stops, r.Key) && r.Value == nil:
		delete(j.unread, r.Key)
	case slices.Contains(stops, r.Key):
		if len(j.unread) == 0 {
			j.foreign = j.now
		}
		j.unread[r.Key] = true
	case !known && r.Key != "mark/7777" && r.Key != "user-7":
		j.fail("upgrade, known keys", "an agent writes %q, for which every agent of an earlier build stands still", r.Key)
	}
}

// falseAlarm is promise 5 from the other side: a manifest that works is halted
// only when something has happened to the broker that tried it.
func (j *judge) falseAlarm(hash string, r restart.Record) {
	v := j.versions[hash]
	if r.Value == nil || v == nil || v.bad != "" || j.careless {
		return
	}
	var halt restart.Halt
	if err := json.Unmarshal(r.Value, &halt); err != nil {
		j.fail("promise 5, false alarm", "the halt of %s cannot be read: %v", hash, err)
		return
	}
	b, a := j.broker(halt.Broker), j.agents[halt.Broker-1]
	_, _, held := j.log.now().Claim(b.id)
	tried := held && a.journal.Stage == restart.StageRestore && b.running && !b.frozen && b.struck.Before(j.wentDown[b.id]) && b.restarts == 0
	switch {
	case !tried:
	case b.version != hash:
		j.fail("promise 5, false alarm", "%s is halted, and broker %d never ran it", hash, b.id)
	case b.ready && b.runs.equal(v.wants) && b.calm(j.now):
		j.fail("promise 5, false alarm", "%s is halted, and broker %d serves it well", hash, b.id)
	}
}

// activated is promise 9: a listener's probes open when all brokers serve it.
func (j *judge) activated(listener string) {
	for _, b := range j.brokers {
		if _, has := b.runs.listeners[listener]; b.running && !has {
			j.fail("promise 9, activation", "%s is activated and broker %d does not have it", listener, b.id)
		}
	}
}

// decided judges what an agent is about to do by what it knows: probes open when
// the last restart is over and proved (promise 9), not in the middle of it.
func (j *judge) decided(a *agent, do restart.Action) {
	for _, r := range do.Records {
		if claims := a.view.Claims; strings.HasPrefix(r.Key, "active/") && r.Value != nil && len(claims) > 0 {
			j.fail("promise 9, activation", "%s while broker %d has a claim", r.Key, claims[0].Broker)
		}
	}
}

// announced is promise 8: a probe is held only through the agent's own restart.
func (j *judge) announced(a *agent) {
	switch a.journal.Stage {
	case restart.StageApply, restart.StageRestart, restart.StageProve:
	default:
		j.fail("promise 8, hold", "agent %d has probes held at step %q", a.id, a.journal.Stage)
	}
}

// closed is promise 6: what an agent does or forgets closes no probe of a
// healthy broker.
func (j *judge) closed(a *agent, name string) {
	planned := !a.probes.planned.IsZero()
	if j.log.now().Active[name] && j.broker(a.id).serves(name) && !planned && !slices.Contains(j.versions[a.manifest].absent, name) && a.offset > 0 {
		j.fail("promise 6, probes", "the probe of %s on broker %d closes while it serves", name, a.id)
	}
}

// moved judges a step that an agent has written down: what it took for proved,
// and how long it took a failure for none.
func (j *judge) moved(a *agent, was restart.Stage) {
	b := j.broker(a.id)
	switch now := a.journal.Stage; {
	case was == restart.StageProve && now == restart.StageNone && !a.journal.Unproven: // else a newer manifest came before it
		if !b.runs.equal(j.versions[a.file].wants) && !b.dynamic && b.running {
			j.fail("promise 5, proof", "broker %d is taken for proved and runs %v", a.id, b.runs)
		}
		_, decided := a.Doing()
		for _, p := range j.hosted[a.id] {
			// An agent may hang before it saves, and something befall the broker meanwhile.
			if b.running && !slices.Contains(p.isr, a.id) && j.since(p.out[a.id]) > knowable && !p.out[a.id].After(decided) {
				j.fail("promise 5, proof", "broker %d is taken for proved and is not in sync in %s", a.id, p.topic)
			}
		}
	case was == restart.StageProve && now == restart.StageRestore:
		j.failedHere[a.id], _, _ = strings.Cut(a.journal.Target, "+")
		// An agent may hang for 90 s, and then needs a moment. It learns from the service manager.
		known := b.badAt
		for _, at := range []time.Time{a.seesAt, a.fullEnd} { // nor does it go on before it can write that down
			if at.After(known) {
				known = at
			}
		}
		if b.failed && b.badAt.After(a.born) && j.since(known) > startTimeout-10*time.Second {
			j.fail("promise 5, at once", "broker %d ended %s ago", a.id, j.since(b.badAt))
		}
	}
}

// restored is promise 4: what is restored has been proved.
func (j *judge) restored(a *agent) {
	if a.lastGood != "" && j.versions[a.lastGood].bad != "" && j.unsure[a.id] != a.lastGood {
		j.fail("promise 4, last good", "broker %d gets %s back, which never ran", a.id, a.lastGood)
	}
}
