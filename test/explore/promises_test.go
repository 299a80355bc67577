package explore

import (
	"fmt"
	"math/bits"
	"slices"
	"time"

	"example.com/kpls-agent/internal/restart"
)

// takedown is one broker being taken down by its agent, as the promises judge it.
type takedown struct {
	*explorer
	w    *world
	v    *vm
	b    *broker
	i    int
	log  *restart.View
	undo bool  // the way back from a bad manifest
	m    int8  // the manifest in force when it was decided on
	down uint8 // other brokers that are down, as far as that can be known
}

// promises are judged whenever an agent takes its broker down; the list to add to. Each returns what is
// wrong, or "". They are those of test/sim, by the same names.
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

// judge judges what an agent is about to do.
func (x *explorer) judge(w *world, i int) string {
	v, b := x.vms[w.vm[i]], &w.b[i]
	switch v.do.Kind {
	case restart.ActRestart:
	case restart.ActBegin:
		switch v.disk.Stage {
		case restart.StageApply, restart.StageRestart, restart.StageProve:
		default:
			return fmt.Sprintf("promise 8, hold: probes are held at step %q", v.disk.Stage)
		}
		return ""
	case restart.ActRestore:
		if v.good > 0 && x.version(v.good).bad != "" && !b.has(full) {
			return "promise 4, last good: what is restored never ran"
		}
		return ""
	default:
		return ""
	}
	if v.issued || v.now.Add(instant).After(v.do.NotAfter) || b.has(denied) || !b.has(up) {
		return "" // it takes nothing down
	}
	t := takedown{explorer: x, w: w, v: v, b: b, i: i, log: x.views[w.log], undo: v.disk.Stage == restart.StageUndo, m: versionOf(v.a.Facts().Manifest.Hash)}
	if t.undo && b.back < old {
		return "" // it came back just now, and nobody can know
	}
	for n := range x.o.n {
		if o := &w.b[n]; n != i && (o.has(taken) || !o.has(ready) && o.gone == old) {
			t.down |= 1 << n
		}
	}
	for _, p := range promises {
		if wrong := p.holds(t); wrong != "" {
			return fmt.Sprintf("%s: broker %d is taken down: %s", p.name, i+1, wrong)
		}
	}
	return ""
}

func (t takedown) isDown(n int) bool { return t.down>>n&1 != 0 }

// let is true for a moment after an operator removed a claim: the others may then go on.
func (t takedown) let() bool { return t.w.fresh[newRelease] < old }

func (t takedown) maxUnavailable() string {
	if n := bits.OnesCount8(t.down); !t.undo && t.b.has(listed) && n+1 > t.o.maxUnavailable() && !t.let() {
		return fmt.Sprintf("%d others are down and max_unavailable is %d", n, t.o.maxUnavailable())
	}
	return ""
}

func (t takedown) oneZone() string {
	for n := range t.o.n {
		_, _, claimed := t.log.Claim(int32(n + 1))
		if n != t.i && t.w.b[n].has(taken) && claimed && t.o.zone(n) != t.o.zone(t.i) && !t.undo && t.b.has(listed) && !t.let() {
			return fmt.Sprintf("broker %d of another zone, which its agent took down, is not back", n+1)
		}
	}
	return ""
}

func (t takedown) inSync() string {
	need := t.o.minISR()
	if !t.b.has(listed|inSync) || t.o.n <= need || t.let() {
		return ""
	}
	in := 0
	for n := range t.o.n {
		o := &t.w.b[n]
		if n != t.i && (o.has(inSync) || o.gone < old) && !o.has(taken) && !t.isDown(n) {
			in++
		}
	}
	if in < need {
		return fmt.Sprintf("its partition comes to %d in-sync replicas and needs %d", in, need)
	}
	return ""
}

func (t takedown) majority() string {
	if len(t.o.voters) == 0 || !t.b.has(listed) || t.let() {
		return ""
	}
	remain, with := 0, 0
	for _, id := range t.o.voters {
		o := &t.w.b[id-1]
		if o.has(ready) && !o.has(late) {
			with++
		}
		if id-1 == t.i || o.has(taken) {
			continue
		}
		if o.has(ready) && !o.has(late) || o.gone < old || o.has(late) && t.w.fresh[newHarm] < old {
			remain++
		}
	}
	need := len(t.o.voters)/2 + 1
	if len(t.o.voters) <= 2 && t.o.votes(t.i) {
		need = len(t.o.voters) - 1
	}
	if remain < need && (!t.undo || with >= len(t.o.voters)/2+1) {
		return fmt.Sprintf("%d caught-up voters remain and %d are needed", remain, need)
	}
	return ""
}

func (t takedown) controllerLast() string {
	if t.undo || int(t.w.leader) != t.i {
		return ""
	}
	for n := range t.o.n {
		o := &t.w.b[n]
		_, _, claimed := t.log.Claim(int32(n + 1))
		if n != t.i && o.has(up) && !o.any(taken|struck) && !claimed && !t.let() && !t.same(o.runs, t.m) && t.w.fresh[newLeader] == old {
			return fmt.Sprintf("it is the active controller, and broker %d is still to go", n+1)
		}
	}
	return ""
}

func (t takedown) freshFacts() string {
	const fresh = 2 * time.Second
	at := t.v.a.Facts().Cluster.At
	switch {
	case t.v.now.Sub(at) > fresh && t.b.has(listed):
		return fmt.Sprintf("the cluster was observed %s ago", t.v.now.Sub(at))
	case !t.undo && t.v.now.Sub(t.v.logAt) > fresh:
		return fmt.Sprintf("the log was read %s ago", t.v.now.Sub(t.v.logAt))
	case !t.undo && at.Before(t.v.claimAt):
		return "the cluster was not observed since the claim was won"
	}
	return ""
}

func (t takedown) twoViews() string {
	n, other := 0, false
	for _, v := range t.v.a.Facts().Cluster.Views {
		if len(v.Alive) > 0 && len(v.Topics) > 0 {
			n++
			other = other || int(v.Broker) != t.i+1
		}
	}
	if t.o.n > 1 && (n < 2 || !other) && t.b.has(listed) && (!t.undo || t.b.has(inSync)) {
		return fmt.Sprintf("as %d brokers say", n)
	}
	return ""
}

func (t takedown) claimStands() string {
	if _, _, held := t.log.Claim(int32(t.i + 1)); !t.undo && !held && !t.let() {
		return "it has no claim"
	}
	return ""
}

func (t takedown) notPaused() string {
	if !t.undo && t.log.Pause != nil && t.w.fresh[newPause] == old {
		return "the roll-out is paused"
	}
	return ""
}

func (t takedown) allRead() string {
	if !t.undo && t.w.b[0].has(stray) && t.w.fresh[newForeign] == old {
		return "the log has a record of a later version"
	}
	return ""
}

func (t takedown) agreed() string {
	for n := range t.o.n {
		st, ok := t.log.Statuses[int32(n+1)]
		if !t.undo && n != t.i && (!ok || st.Manifest != t.v.a.Facts().Manifest.Hash) && t.w.fresh[newManifest] == old {
			return fmt.Sprintf("for %s, while broker %d has %q", t.v.a.Facts().Manifest.Hash, n+1, st.Manifest)
		}
	}
	return ""
}

func (t takedown) unitSeen() string {
	if t.v.a.Facts().Unit.State == restart.UnitUnknown {
		return "its unit cannot be seen"
	}
	return ""
}

func (t takedown) notHalted() string {
	if _, ok := t.log.Halts[t.v.a.Facts().Manifest.Hash]; ok && !t.undo && t.w.fresh[newHalt] == old {
		return "its manifest is halted"
	}
	return ""
}

// fewVictims: one broker at most, whatever max_unavailable says.
func (t takedown) fewVictims() string {
	if t.version(t.v.file).bad != "" && !t.undo && t.w.victims&^(1<<t.i) != 0 {
		return fmt.Sprintf("it follows others (%b) into a bad manifest", t.w.victims)
	}
	return ""
}

// notAgain: a manifest that failed here is tried again only after an operator's order.
func (t takedown) notAgain() string {
	if !t.undo && t.b.from > 0 && t.b.from == t.m {
		return fmt.Sprintf("it was rolled back from %s, and nobody has resumed that", hash(t.m))
	}
	return ""
}

func (t takedown) refusedBefore() string {
	const asked = 10 * time.Second // what a process says is as old at most when it is restarted
	switch m := t.m; {
	case t.undo || m == none:
	case t.version(m).refusedBy == t.i+1:
		return "it cannot take the manifest"
	case t.version(m).refusedBy != 0 && t.w.b[t.version(m).refusedBy-1].has(ready):
		return "another broker cannot take the manifest"
	case t.b.has(dynamic) && t.w.fresh[newHarm] == old && (t.v.running&(1<<5) != 0 || t.v.now.Sub(t.v.a.Facts().Running.At) > asked):
		return "a dynamic configuration overrides what it gets"
	}
	return ""
}

func (t takedown) harmless() string {
	if known := t.v.running & (1<<6 | 1<<7); known != 0 && t.b.any(storage|dropped) && !t.undo {
		return "a restart does harm beyond itself, and its broker has said so"
	}
	if t.b.any(hazard|drops|edit) && !t.undo && t.w.fresh[newHarm] == old {
		return "a restart does harm beyond itself, and its VM knows"
	}
	return ""
}

func (t takedown) needed() string {
	if !t.undo && t.b.gone == old && t.version(t.b.runs).bad == "" && t.same(t.b.runs, t.v.file) && len(t.log.Requests) == 0 && t.w.fresh[newCancel] == old && !t.v.disk.Hidden {
		return "it runs what its file says, and nobody asked for a restart"
	}
	return ""
}

func (t takedown) probesClosed() string {
	if t.m == none || t.undo {
		return ""
	}
	for _, name := range t.version(t.m).absent {
		if t.log.Active[name] {
			return fmt.Sprintf("the log allows the probes of %s, which is being removed", name)
		}
		for n := range t.o.n {
			o := &t.w.b[n]
			if p := t.vms[t.w.vm[n]]; !p.dead && t.open(p, t.serves(o.is, o.runs))&t.bit(name) != 0 {
				return fmt.Sprintf("the probe of %s on broker %d is open, which is being removed", name, n+1)
			}
		}
	}
	return ""
}

// after judges what an action has done: a halt, an activation, what was taken for proved.
func (x *explorer) after(w, c *world, i int) string {
	was, is := x.views[w.log], x.views[c.log]
	b, before, v := &c.b[i], x.vms[w.vm[i]], x.vms[c.vm[i]]
	if before.do.Kind == restart.ActAppend {
		for name := range is.Active {
			if was.Active[name] {
				continue
			}
			if len(was.Claims) > 0 {
				return fmt.Sprintf("promise 9, activation: %s while broker %d has a claim", name, was.Claims[0].Broker)
			}
			for n := range x.o.n {
				if o := &c.b[n]; o.has(up) && !slices.Contains(x.version(o.runs).names(), name) {
					return fmt.Sprintf("promise 9, activation: %s is activated and broker %d does not have it", name, n+1)
				}
			}
		}
		for key := range is.Halts {
			if _, ok := was.Halts[key]; !ok && x.version(int8(key[1]-'0')).bad == "" && !x.troubled(c) {
				return fmt.Sprintf("promise 5, false alarm: %s is halted, and nothing has happened to broker %d", key, i+1)
			}
		}
	}
	if before.do.Kind == restart.ActSave && !b.has(full) && before.a.Facts().Journal.Stage == restart.StageProve && v.disk.Stage == restart.StageNone && !v.disk.Unproven {
		switch {
		case b.has(up) && (!x.same(b.runs, versionOf(before.disk.Target)) || x.version(b.runs).bad != "") && !b.has(dynamic):
			return fmt.Sprintf("promise 5, proof: broker %d is taken for proved and runs %s", i+1, hash(b.runs))
		case !b.has(inSync) && b.gone == old:
			return fmt.Sprintf("promise 5, proof: broker %d is taken for proved and is not in sync", i+1)
		}
	}
	return ""
}

// waitsInVain judges a world in which everybody waits: a process that has ended, or keeps ending, is a failure at once.
func (x *explorer) waitsInVain(w *world) string {
	for i := range x.o.n {
		v, b := x.vms[w.vm[i]], &w.b[i]
		ended := b.has(failed) && !b.any(up|job) || b.ends == 7
		if ended && !v.dead && v.disk.Stage == restart.StageProve && v.do.Kind == restart.ActNone && !b.any(full|blind) && len(v.a.Facts().Failed) == 0 {
			return fmt.Sprintf("promise 5, at once: the process of broker %d has ended, and its agent waits", i+1)
		}
	}
	return ""
}

// troubled is true if anything has befallen a broker, so a failure need not be the manifest's.
func (x *explorer) troubled(w *world) bool {
	for i := range x.o.n {
		if w.b[i].any(struck | dropped | slow) {
			return true
		}
	}
	return false
}

// intends judges a decision: nothing to judge yet but what was published with it.
func (x *explorer) intends(w *world, i int, s step) string {
	v := x.vms[s.vm]
	for _, r := range v.do.Records {
		if r.Value != nil && contains(r.Key, "active/") && len(x.views[w.log].Claims) > 0 && w.read[i] == 0 {
			return fmt.Sprintf("promise 9, activation: %s while broker %d has a claim", r.Key, x.views[w.log].Claims[0].Broker)
		}
	}
	return ""
}
