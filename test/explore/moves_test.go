package explore

import (
	"errors"
	"strings"
	"time"

	"example.com/kpls-agent/internal/agent"
	"example.com/kpls-agent/internal/restart"
)

// instant is between any two events that time does not pass in.
const instant = time.Nanosecond

type stepKey struct {
	vm, view int32
	l        local
	i        int8
}

// step is what a decision comes to.
type step struct {
	vm   int32
	post int32 // a status to be appended; -1: none
}

// step is what decide comes to, computed once.
func (x *explorer) step(i int, id, view int32, l local) step {
	k := stepKey{id, view, l, int8(i)}
	if s, ok := x.stepped[k]; ok {
		return s
	}
	s := x.decide(i, *x.vms[id], view, l)
	x.stepped[k] = s
	return s
}

// decide lets an agent decide on what it sees.
func (x *explorer) decide(i int, v vm, view int32, l local) step {
	v.now = v.now.Add(instant)
	v.a.Notice(agent.Stale{Unit: true, Files: true}) // as their signals say
	if needs := v.a.Needs(v.now); needs.Unit && needs.Files {
		v.a.SawUnit(x.unit(l, v.now))
		lastGood := v.good != none && x.same(v.good, v.file)
		v.a.SawFiles(x.manifest(i, &v, l), lastGood, v.now)
	}
	f := restart.LogFacts{At: v.logAt, View: x.views[view]}
	switch {
	case !l.log:
		f.Err = "no leader"
	case v.logAt.IsZero():
		v.logAt = v.now
		f.At = v.now
	}
	if f.At.IsZero() {
		f.View = x.views[0]
	}
	if c, _, held := f.View.Claim(int32(i + 1)); !held {
		v.claim = ""
	} else if c.Key != v.claim {
		v.claim, v.claimAt = c.Key, v.now
	}
	probes := x.probes(&v, l)
	began := cpu()
	t := v.a.Decide(v.now, f, probes)
	x.deciding += cpu() - began
	x.decided++
	v.do = t.Do
	if t.Allowed != nil {
		v.allowed = x.bits(t.Allowed)
	}
	s := step{post: -1}
	if c := v; x.o.post {
		if p := x.publish(&c, l.writes()); p < 0 || x.known(p, view) {
			v = c // others would learn nothing from it
		}
	} else {
		s.post = x.publish(&v, l.writes())
	}
	if x.watch != nil {
		x.watch(i, &v, t)
	}
	s.vm = x.intern(&v)
	return s
}

// known is true if a view has a status already, but for its words.
func (x *explorer) known(post, view int32) bool {
	st, ok := x.views[view].Statuses[x.posts[post].Broker]
	return ok && x.internPost(st) == post
}

// publish takes the status that the agent wants to have appended, at once.
func (x *explorer) publish(v *vm, possible bool) int32 {
	at := v.a.PostAt()
	if at.Before(v.now) || !possible {
		at = v.now
	}
	st, ok := v.a.Post(at)
	if !ok {
		return -1
	}
	if !possible {
		v.a.Posted(errors.New("no leader"), at)
		return -1
	}
	v.a.Posted(nil, at)
	return x.internPost(st)
}

type moveKey struct {
	kind     byte
	i        int8
	arg      uint32
	vm, view int32
}

// moved is what a move comes to: another state of a VM, or of the log.
type moved struct{ vm, view int32 }

// move computes something about one VM and the log once.
func (x *explorer) move(k moveKey, do func(v *vm, m *moved)) moved {
	if m, ok := x.moved[k]; ok {
		return m
	}
	m := moved{k.vm, k.view}
	if k.vm >= 0 {
		v := *x.vms[k.vm]
		v.now = v.now.Add(instant)
		do(&v, &m)
		m.vm = x.intern(&v)
	} else {
		do(nil, &m)
	}
	x.moved[k] = m
	return m
}

// fold is the log with records appended.
func (x *explorer) fold(view int32, idle uint8, records ...restart.Record) int32 {
	v := x.views[view].Clone()
	at := time.Time{} // nobody is ever silent
	if x.o.silence {
		at = v.Clock.Add(time.Duration(idle) * long)
		if v.Clock.IsZero() {
			at = start
		}
	}
	for _, r := range records {
		r.Offset, r.Time = v.Next, at
		v.Fold(r)
	}
	return x.internView(v)
}

// commit appends a status.
func (x *explorer) commit(w *world, post int32) {
	if post < 0 {
		return
	}
	m := x.move(moveKey{kind: 'p', arg: uint32(post)<<4 | uint32(w.idle), vm: -1, view: w.log}, func(_ *vm, m *moved) {
		m.view = x.fold(w.log, w.idle, restart.NewStatus(x.posts[post]))
	})
	st := &x.posts[post]
	if was, ok := x.views[w.log].Statuses[st.Broker]; x.manifests && (!ok || was.Manifest != st.Manifest) {
		w.fresh[newManifest] = 0
	}
	w.log, w.idle = m.view, 0
}

// append appends records by whoever.
func (x *explorer) append(w *world, name byte, records ...restart.Record) {
	m := x.move(moveKey{kind: name, arg: uint32(w.idle), vm: -1, view: w.log}, func(_ *vm, m *moved) {
		m.view = x.fold(w.log, w.idle, records...)
	})
	w.log, w.idle = m.view, 0
}

var (
	errNoSpace = errors.New("no space left on device")
	errNoLog   = errors.New("not enough replicas, or no leader")
	errUnknown = errors.New("request timed out")
	errChanged = errors.New("the manifest has just changed")
	errNoCopy  = errors.New("there is no last good server.properties")
	errDenied  = errors.New("not permitted")
	errTooLate = errors.New("what allowed the restart is too old by now")
)

// free is a nonce that no claim of a broker has.
func (x *explorer) free(i int, view int32) string {
	for n := byte('0'); ; n++ {
		key := "claim/" + string(rune('1'+i)) + "/" + string(rune(n))
		used := false
		for _, c := range x.views[view].Claims {
			used = used || c.Key == key
		}
		if !used {
			return string(rune(n))
		}
	}
}

// answer is what an agent hears of what it appends.
type answer uint32

const (
	heard answer = iota
	unheard
	refused
)

// effect carries out what an agent does.
func (x *explorer) effect(w *world, i int, how answer) {
	v := x.vms[w.vm[i]]
	b := &w.b[i]
	k := moveKey{kind: 'e', i: int8(i), vm: w.vm[i], view: -1}
	switch v.do.Kind {
	case restart.ActAppend:
		x.effectAppend(w, i, how)
		return
	case restart.ActObserve:
		c := x.clusterKey(w, i)
		k.arg = c.packed()
		w.vm[i] = x.move(k, func(v *vm, _ *moved) {
			f := *x.observe(c)
			f.At, v.cluster = v.now, k.arg
			v.finish(agent.Result{Cluster: &f})
		}).vm
	case restart.ActRunning:
		k.arg = x.runningKey(w, i)
		w.vm[i] = x.move(k, func(v *vm, _ *moved) {
			f, r := x.askRunning(k.arg, v.now)
			v.running = k.arg
			v.finish(agent.Result{Running: &f, Right: &r})
		}).vm
	case restart.ActRestart:
		x.effectRestart(w, i)
	default:
		const undo = restart.StageRestore
		v := x.vms[w.vm[i]]
		if v.do.Kind == restart.ActSave && v.do.Journal.Stage == undo && v.disk.Stage != undo && !b.has(full) {
			b.from = max(0, versionOf(v.disk.Target))
		}
		k.arg = uint32(one(b.has(full))) | uint32(x.serves(b.is, b.runs))<<1
		w.vm[i] = x.move(k, func(v *vm, _ *moved) { x.onDisk(v, b.has(full), x.serves(b.is, b.runs)) }).vm
	}
}

// finish ends an action.
func (v *vm) finish(r agent.Result) {
	do := v.do
	v.do = restart.Action{}
	v.a.Done(do, r, v.now)
}

// onDisk carries out what concerns the VM's disk and its probes only.
func (x *explorer) onDisk(v *vm, isFull bool, serves uint8) {
	var err error
	switch v.do.Kind {
	case restart.ActSave:
		if isFull {
			err = errNoSpace
			break
		}
		v.disk = *v.do.Journal
		if !v.disk.Unproven {
			v.unproven = false
		}
	case restart.ActApply:
		err = x.apply(v, isFull)
	case restart.ActRestore:
		switch {
		case isFull:
			err = errNoSpace
		case v.good == none:
			err = errNoCopy
		default:
			v.file = v.good
		}
	case restart.ActBegin:
		if !v.planned {
			v.planned, v.held = true, x.open(v, serves)
			v.answered = 0
		}
	case restart.ActEnd:
		v.planned, v.held = false, 0
	default:
	}
	v.finish(agent.Result{Err: err})
}

// apply writes the manifest into server.properties: a file that no process has proved never becomes
// the last good one.
func (x *explorer) apply(v *vm, isFull bool) error {
	switch {
	case hash(max(v.manifest, 0)) != v.a.Facts().Manifest.Hash:
		return errChanged
	case isFull:
		return errNoSpace
	}
	if !v.unproven {
		v.good = v.file
	}
	if !x.same(v.file, v.manifest) {
		v.unproven, v.file = true, v.manifest
	}
	return nil
}

// effectAppend appends an agent's records. One that is unheard of is in the log, and the agent does not know it.
func (x *explorer) effectAppend(w *world, i int, how answer) {
	possible := x.local(w, i).writes() && how != refused
	k := moveKey{kind: 'e', i: int8(i), vm: w.vm[i], view: w.log, arg: uint32(w.idle) | uint32(one(possible))<<8 | uint32(one(how == unheard))<<9}
	m := x.move(k, func(v *vm, m *moved) {
		if !possible {
			x.nonce = x.free(i, w.log)
			v.finish(agent.Result{Err: errNoLog})
			return
		}
		m.view = x.fold(w.log, w.idle, v.do.Records...)
		x.nonce = x.free(i, m.view)
		if how == unheard {
			v.finish(agent.Result{Err: errUnknown})
			return
		}
		v.logAt = v.now
		v.finish(agent.Result{})
	})
	w.vm[i] = m.vm
	if possible {
		x.note(w, i, w.log, m.view)
		w.log, w.read[i], w.idle = m.view, 0, 0
	}
}

// note dates what a record brings.
func (x *explorer) note(w *world, i int, was, is int32) {
	before, after := x.views[was], x.views[is]
	for key := range after.Halts {
		if _, ok := before.Halts[key]; !ok {
			w.fresh[newHalt] = 0
		}
	}
	for _, c := range before.Claims {
		if _, _, held := after.Claim(c.Broker); !held && c.Broker != int32(i+1) {
			w.fresh[newRelease] = 0
		}
	}
	if st, ok := before.Statuses[int32(i+1)]; x.manifests && (!ok || st.Manifest != after.Statuses[int32(i+1)].Manifest) {
		w.fresh[newManifest] = 0
	}
}

// effectRestart is the service manager's job: stop and start, or only its beginning.
func (x *explorer) effectRestart(w *world, i int) {
	v, b := x.vms[w.vm[i]], &w.b[i]
	late := v.now.Add(instant).After(v.do.NotAfter)
	if !v.issued && !late && !b.has(denied) {
		b.clear(failed | stopped)
		b.ends = 0
		x.goDown(w, i)
		b.set(taken | job)
		if x.o.slow {
			w.vm[i] = x.move(moveKey{kind: 'i', i: int8(i), vm: w.vm[i], view: -1}, func(v *vm, _ *moved) { v.issued = true }).vm
			return
		}
		x.launch(w, i)
	}
	l := x.local(w, i)
	k := moveKey{kind: 'e', i: int8(i), vm: w.vm[i], view: -1}
	k.arg = uint32(l.is&(up|failed|job|stopped|blind))<<8 | uint32(b.inv) | uint32(b.ends)<<4
	if late && !v.issued {
		k.arg = 1 << 31
	} else if b.has(denied) && !v.issued {
		k.arg = 1 << 30
	}
	w.vm[i] = x.move(k, func(v *vm, _ *moved) {
		v.issued = false
		switch k.arg {
		case 1 << 31:
			v.finish(agent.Result{Err: errTooLate})
		case 1 << 30:
			v.finish(agent.Result{Err: errDenied})
		default:
			f := x.unit(l, v.now)
			v.finish(agent.Result{Unit: &f})
		}
	}).vm
}

// goDown ends a process in good order.
func (x *explorer) goDown(w *world, i int) {
	b := &w.b[i]
	b.clear(up | ready)
	x.leave(w, i)
	x.elect(w)
}

// leave fences a broker. The last in-sync replica stays.
func (x *explorer) leave(w *world, i int) {
	b := &w.b[i]
	b.clear(listed | blank | deaf)
	for n := range x.o.n {
		if n != i && w.b[n].has(inSync) {
			b.clear(inSync)
		}
	}
}

// elect finds another leader of the quorum where the present one is gone.
func (x *explorer) elect(w *world) {
	if len(x.o.voters) == 0 || w.leader != noBroker && w.b[w.leader].has(up) {
		return
	}
	votes, leader := 0, int8(noBroker)
	for _, id := range x.o.voters {
		if w.b[id-1].has(up) {
			votes++
			if leader == noBroker || w.b[leader].has(late) && !w.b[id-1].has(late) {
				leader = int8(id - 1)
			}
		}
	}
	if votes < len(x.o.voters)/2+1 {
		leader = noBroker
	}
	w.leader, w.fresh[newLeader] = leader, 0
}

// launch starts a process on what server.properties says now.
func (x *explorer) launch(w *world, i int) {
	b, v := &w.b[i], x.vms[w.vm[i]]
	x.leave(w, i)
	b.clear(job | failed | stopped | ready | dropped)
	b.set(up)
	b.inv = x.freeInvocation(w, i)
	if b.has(dynamic) {
		b.boot = v.file
	} else {
		b.runs = v.file
	}
	if x.version(b.runs).bad != "" {
		w.victims |= 1 << i
	}
	if b.has(drops) {
		b.set(dropped | struck)
	}
	x.elect(w)
}

// freeInvocation names a process as none that anybody remembers.
func (x *explorer) freeInvocation(w *world, i int) uint8 {
	used := uint32(1) << w.b[i].inv
	mark := func(s string) {
		if s != "" {
			used |= 1 << (s[0] - 'A')
		}
	}
	v := x.vms[w.vm[i]]
	f := v.a.Facts()
	for _, s := range []string{v.disk.Invocation, v.disk.DropNoted, f.Unit.Invocation, f.Journal.Invocation, v.a.Status().Invocation} {
		mark(s)
	}
	if v.do.Journal != nil {
		mark(v.do.Journal.Invocation)
	}
	mark(x.views[w.log].Statuses[int32(i+1)].Invocation)
	for n := range x.o.n {
		if w.read[n] != 0 {
			mark(x.views[w.read[n]].Statuses[int32(i+1)].Invocation)
		}
	}
	for n := uint8(0); ; n++ {
		if used>>n&1 == 0 {
			return n
		}
	}
}

var start = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)

// boot begins an agent process on what the disk says.
func (x *explorer) boot(v *vm, i int, view int32) {
	x.nonce = x.free(i, view)
	var planned bool
	v.a, planned = agent.New(agent.Options{Options: x.options(i), Nonce: func() string { return x.nonce }}, v.disk, v.now)
	v.dead, v.do, v.issued = false, restart.Action{}, false
	v.cluster, v.running, v.logAt, v.claim, v.claimAt = 0, 0, time.Time{}, "", time.Time{}
	v.planned, v.held = planned, 0
	if planned {
		v.held = v.allowed
	}
}

// crash ends an agent process, and begins the next one unless it stays dead. lose takes its state
// directory along.
func (x *explorer) crash(w *world, i int, lose, dead bool) {
	k := moveKey{kind: 'c', i: int8(i), vm: w.vm[i], view: w.log, arg: uint32(one(lose)) | uint32(one(dead))<<1}
	w.vm[i] = x.move(k, func(v *vm, _ *moved) {
		if lose {
			v.disk, v.good, v.unproven = restart.Journal{}, none, false
		}
		v.planned, v.held = false, 0
		if dead {
			v.dead, v.do, v.issued, v.a = true, restart.Action{}, false, agent.Agent{}
			return
		}
		x.boot(v, i, k.view)
	}).vm
	w.read[i] = 0
}

func (x *explorer) revive(w *world, i int) {
	k := moveKey{kind: 'b', i: int8(i), vm: w.vm[i], view: w.log}
	w.vm[i] = x.move(k, func(v *vm, _ *moved) { x.boot(v, i, k.view) }).vm
}

// pass lets time pass everywhere.
func (x *explorer) pass(w *world, d time.Duration) {
	for i := range x.o.n {
		w.vm[i] = x.move(moveKey{kind: 't', arg: uint32(d / time.Millisecond), vm: w.vm[i], view: -1}, func(v *vm, _ *moved) { v.now = v.now.Add(d) }).vm
		b := &w.b[i]
		b.gone, b.back = older(b.gone, d), older(b.back, d)
		if d == long && b.has(up) && !b.has(ready) {
			b.set(struck) // it takes too long to start
		}
	}
	for k := range w.fresh {
		w.fresh[k] = older(w.fresh[k], d)
	}
	if x.o.silence && d == long && w.idle < 5 {
		w.idle++
	}
}

func older(age uint8, d time.Duration) uint8 {
	if d == long {
		return old
	}
	return min(age+1, old)
}

func contains(text, part string) bool { return strings.Contains(text, part) }
