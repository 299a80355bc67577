package explore

import (
	"fmt"

	"example.com/kpls-agent/internal/restart"
)

// event is one thing that may happen: what, and to whom.
type event struct {
	kind eventKind
	arg  uint8 // the broker; for a fault 4*budget + broker; for time 0 or 1
}

type eventKind uint8

const (
	decides eventKind = iota
	decidesOnOld
	acts
	actsUnheard
	actsInVain
	posts
	answers
	syncs
	exits
	fenced
	starts
	takes
	handsOut
	resumes
	passes
	goesWrong
	corrected
)

// forced is true for an event that must not be needed for a good end: a fault, or a newer manifest.
func (e event) forced() bool {
	return e.kind == goesWrong || e.kind == decidesOnOld || e.kind == actsUnheard || e.kind == actsInVain || e.kind == handsOut
}

func (x *explorer) label(e event) string {
	who := name(int(e.arg))
	switch e.kind {
	case decides:
		return "agent " + who[7:] + " decides"
	case decidesOnOld:
		return "agent " + who[7:] + " decides on a log that it has not read to its end"
	case acts:
		return "agent " + who[7:] + " does it"
	case actsUnheard:
		return "agent " + who[7:] + " does it, and hears no answer"
	case actsInVain:
		return "agent " + who[7:] + " does it, and the log refuses it"
	case posts:
		return "agent " + who[7:] + " publishes its status"
	case answers:
		return who + " answers"
	case syncs:
		return who + " is in sync"
	case exits:
		return who + " exits"
	case fenced:
		return who + " is fenced"
	case starts:
		return who + " is started by the service manager"
	case takes:
		return "the manifest reaches " + who
	case handsOut:
		return "the next manifest is handed out"
	case resumes:
		return "an operator resumes the roll-out"
	case passes:
		return fmt.Sprintf("time passes: %s", []any{short, long}[e.arg])
	case goesWrong:
		return fmt.Sprintf("fault on broker %d: %s", e.arg&3+1, x.o.budgets[e.arg>>2].fault)
	default:
		return fmt.Sprintf("ends on broker %d: %s", e.arg&3+1, x.o.budgets[e.arg>>2].fault)
	}
}

// next yields every event that may happen in a world, and the world after it. A promise that the event
// breaks is named.
func (x *explorer) next(w *world, yield func(e event, urgent bool, after *world, broken string)) {
	quiet := true
	give := func(kind eventKind, arg int, urgent bool, after *world, broken string) {
		quiet = quiet && !urgent
		x.settle(w, after)
		yield(event{kind, uint8(arg)}, urgent, after, broken)
	}
	for i := range x.o.n {
		x.nextOfAgent(w, i, give)
		x.nextOfBroker(w, i, give)
	}
	x.nextOfCluster(w, give)
	for k, b := range x.o.budgets {
		f := faultOf(b.fault)
		for i := range x.o.n {
			if befalls := x.o.only == 0 || x.o.only == i+1; befalls && w.left[k] > 0 && f.begin != nil {
				c := *w
				c.left[k]--
				if f.begin(x, &c, i) {
					give(goesWrong, 4*k+i, false, &c, "")
				}
			}
			if f.end != nil && w.left[k] < b.n {
				c := *w
				if f.end(x, &c, i) {
					give(corrected, 4*k+i, false, &c, "")
				}
			}
		}
	}
	x.nextOfTime(w, quiet, give)
}

// nextOfTime lets time pass where nobody has anything to do; and from the budget of delays, although
// somebody has.
func (x *explorer) nextOfTime(w *world, quiet bool, give giver) {
	c := *w
	if !quiet {
		if x.delay < 0 || w.left[x.delay] == 0 {
			return
		}
		c.left[x.delay]--
	}
	d := c
	x.pass(&c, short)
	waits := ""
	if quiet {
		waits = x.waitsInVain(w)
	}
	give(passes, 0, false, &c, waits)
	x.pass(&d, long)
	broken := ""
	if x.settle(w, &d); quiet && !x.good(w) && x.returns(w, d) {
		x.rested++
		broken = x.truth(w)
	}
	give(passes, 1, false, &d, broken)
}

// returns is true if a world comes again after a long while, when everybody has done what there is to do: nothing
// will happen any more by itself.
func (x *explorer) returns(w *world, c world) bool {
	for k := range w.fresh {
		if w.fresh[k] < old {
			return false
		}
	}
	for range 60 {
		if c == *w {
			return true
		}
		moved := false
		see := func(_ eventKind, _ int, urgent bool, after *world, _ string) {
			if urgent && !moved {
				moved = true
				x.settle(&c, after)
				c = *after
			}
		}
		for i := range x.o.n {
			if x.nextOfBroker(&c, i, see); !moved {
				x.nextOfAgent(&c, i, see)
			}
			if moved {
				break
			}
		}
		if !moved {
			return false
		}
	}
	return false
}

// settle names equal worlds alike.
func (x *explorer) settle(before, w *world) {
	if x.lag < 0 || w.left[x.lag] == 0 {
		w.read = [maxBrokers]int32{}
		return
	}
	for i := range x.o.n {
		switch {
		case w.log != before.log && w.read[i] == 0 && before.vm[i] == w.vm[i]:
			w.read[i] = before.log
		case w.read[i] == w.log:
			w.read[i] = 0
		}
	}
}

type giver func(kind eventKind, arg int, urgent bool, after *world, broken string)

func (x *explorer) nextOfAgent(w *world, i int, give giver) {
	v := x.vms[w.vm[i]]
	switch {
	case v.dead:
	case v.do.Kind == restart.ActNone:
		s := x.step(i, w.vm[i], w.log, x.local(w, i))
		c := *w
		c.vm[i], c.read[i] = s.vm, 0
		x.commit(&c, s.post)
		if x.settle(w, &c); c != *w {
			give(decides, i, true, &c, x.intends(w, i, s))
		}
		if x.lag >= 0 && w.left[x.lag] > 0 && w.read[i] != 0 {
			s := x.step(i, w.vm[i], w.read[i], x.local(w, i))
			c := *w
			c.vm[i] = s.vm
			c.left[x.lag]--
			x.commit(&c, s.post)
			give(decidesOnOld, i, false, &c, x.intends(w, i, s))
		}
	case v.issued && w.b[i].has(job):
	default:
		broken := x.judge(w, i)
		c := *w
		x.effect(&c, i, heard)
		if broken == "" {
			broken = x.after(w, &c, i)
		}
		give(acts, i, true, &c, broken)
		x.nextOfAppend(w, i, x.lost, unheard, actsUnheard, give)
		x.nextOfAppend(w, i, x.deny, refused, actsInVain, give)
	}
	if x.o.post && !v.dead && x.local(w, i).writes() {
		m := x.move(moveKey{kind: 'o', i: int8(i), vm: w.vm[i], view: -1}, func(v *vm, m *moved) { m.view = x.publish(v, true) })
		if m.view >= 0 {
			c := *w
			c.vm[i] = m.vm
			x.commit(&c, m.view)
			give(posts, i, true, &c, "")
		}
	}
}

// nextOfAppend is an append that does not go well, where the budget allows it.
func (x *explorer) nextOfAppend(w *world, i, budget int, how answer, kind eventKind, give giver) {
	befalls := x.o.only == 0 || x.o.only == i+1
	if x.vms[w.vm[i]].do.Kind != restart.ActAppend || budget < 0 || w.left[budget] == 0 || !befalls || !x.local(w, i).writes() {
		return
	}
	c := *w
	c.left[budget]--
	x.effect(&c, i, how)
	give(kind, i, false, &c, "")
}

func (x *explorer) nextOfBroker(w *world, i int, give giver) {
	b := &w.b[i]
	bad := x.version(b.runs).bad
	switch {
	case b.has(up) && !b.has(ready) && (bad == "" || bad == "wrong"):
		c := *w
		d := &c.b[i]
		d.set(ready | listed)
		d.clear(taken)
		if x.vms[w.vm[i]].disk.Stage == restart.StageUndo {
			d.back = 0
		}
		give(answers, i, true, &c, "")
	case b.has(up) && !b.has(ready) && bad != "hangs":
		c := *w
		d := &c.b[i]
		if bad == "loops" {
			d.ends = min(d.ends+1, 7)
			ends := d.ends
			x.launch(&c, i)
			d.ends = ends
		} else {
			d.clear(up)
			d.set(failed)
			x.elect(&c)
		}
		give(exits, i, bad != "loops" || b.ends < 7, &c, "")
	case b.has(ready|listed) && !b.any(inSync|slow):
		for n := range x.o.n {
			if w.b[n].has(ready | listed | inSync) {
				c := *w
				c.b[i].set(inSync)
				give(syncs, i, true, &c, "")
				break
			}
		}
	case b.has(listed) && !b.has(ready):
		c := *w
		x.leave(&c, i)
		give(fenced, i, true, &c, "")
	case b.has(job):
		c := *w
		x.launch(&c, i)
		give(starts, i, true, &c, "")
	}
	if v := x.vms[w.vm[i]]; v.manifest < w.given && x.o.oneByOne {
		c := *w
		x.take(&c, i)
		give(takes, i, false, &c, "")
	}
}

func (x *explorer) nextOfCluster(w *world, give giver) {
	if int(w.given) < len(x.o.versions) {
		c := *w
		c.given++
		if !x.o.oneByOne {
			for i := range x.o.n {
				x.take(&c, i)
			}
		}
		give(handsOut, 0, false, &c, "")
	}
	if _, halted := x.views[w.log].Halts[hash(w.given)]; halted && x.version(w.given).bad == "" && x.logUp(w) {
		c := *w
		x.append(&c, 'U'+32+byte(w.given)*8, restart.NewUnhalt(hash(w.given)))
		for i := range c.b {
			if c.b[i].from == w.given {
				c.b[i].from = 0
			}
		}
		give(resumes, 0, false, &c, "")
	}
}

// take lets one VM have the newest manifest.
func (x *explorer) take(w *world, i int) {
	k := moveKey{kind: 'm', i: int8(i), arg: uint32(w.given), vm: w.vm[i], view: -1}
	w.vm[i] = x.move(k, func(v *vm, _ *moved) { v.manifest = int8(k.arg) }).vm
}
