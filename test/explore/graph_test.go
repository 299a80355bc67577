package explore

import (
	"fmt"
	"hash/maphash"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"
	"unsafe"
)

// graph is every state that was visited, and how one comes from another.
type graph struct {
	x      *explorer
	worlds []world
	parent []int32
	by     []event
	// edges of state n are to[first[n]:first[n+1]], twice the number of the state, plus 1 where somebody has
	// something to do at once. Forced ones are left out, since a good end must not need them.
	to    []int32
	first []uint32
	goals []int32

	index []int32 // open addressing: a number of worlds plus 1; 0 is empty
	seed  maphash.Seed
	depth int
	took  time.Duration
	full  bool // the limit was reached
}

func newGraph(o config) *graph {
	return &graph{x: newExplorer(o), seed: maphash.MakeSeed(), index: make([]int32, 1<<12)}
}

// number returns the number of a world, and whether it was new.
func (g *graph) number(w *world) (int32, bool) {
	if len(g.worlds)*4 >= len(g.index)*3 {
		g.grow()
	}
	mask := uint64(len(g.index) - 1)
	for at := g.hash(w) & mask; ; at = (at + 1) & mask {
		n := g.index[at]
		if n == 0 {
			g.worlds = append(g.worlds, *w)
			g.index[at] = int32(len(g.worlds))
			return int32(len(g.worlds) - 1), true
		}
		if g.worlds[n-1] == *w {
			return n - 1, false
		}
	}
}

func (g *graph) hash(w *world) uint64 { return maphash.Comparable(g.seed, *w) }

func (g *graph) grow() {
	g.index = make([]int32, 2*len(g.index))
	mask := uint64(len(g.index) - 1)
	for n := range g.worlds {
		at := g.hash(&g.worlds[n]) & mask
		for g.index[at] != 0 {
			at = (at + 1) & mask
		}
		g.index[at] = int32(n + 1)
	}
}

// explore visits every state. It returns what is broken, with the way to it, or "".
func explore(o config, watch watcher) (*graph, string) {
	g := newGraph(o)
	g.x.watch = watch
	return g, g.visit()
}

// visit visits every state.
func (g *graph) visit() string {
	o := g.x.o
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	began := cpu()
	defer func() { g.took = cpu() - began }()
	w := g.x.begin()
	g.number(&w)
	g.parent, g.by = append(g.parent, -1), append(g.by, event{})
	wrong, level := "", 1
	for n := 0; n < len(g.worlds) && wrong == ""; n++ {
		if n == level {
			level = len(g.worlds)
			g.depth++
		}
		g.first = append(g.first, uint32(len(g.to)))
		w := g.worlds[n]
		if g.x.good(&w) {
			g.goals = append(g.goals, int32(n))
		}
		g.x.next(&w, func(e event, urgent bool, after *world, broken string) {
			if broken != "" && wrong == "" {
				wrong = fmt.Sprintf("%s\n%s", broken, g.trace(int32(n), e))
			}
			if g.full {
				return
			}
			to, isNew := g.number(after)
			if isNew {
				g.parent, g.by = append(g.parent, int32(n)), append(g.by, e)
			}
			delayed := g.x.delay >= 0 && after.left[g.x.delay] < w.left[g.x.delay]
			if !e.forced() && !delayed {
				g.to = append(g.to, to<<1|int32(one(urgent)))
			}
		})
		if o.limit > 0 && len(g.worlds) >= o.limit {
			g.full = true
			break
		}
	}
	g.first = append(g.first, uint32(len(g.to)))
	if wrong == "" && !g.full {
		wrong = g.stuck()
	}
	if wrong == "" && !g.full {
		wrong = g.restless()
	}
	return wrong
}

// stuck returns a state from which no good end can be reached, unless something goes wrong again.
func (g *graph) stuck() string {
	count := make([]uint32, len(g.worlds)+1)
	for _, to := range g.to {
		count[to>>1+1]++
	}
	for n := range g.worlds {
		count[n+1] += count[n]
	}
	from, at := make([]int32, len(g.to)), slices.Clone(count)
	for n := range g.worlds {
		for _, to := range g.to[g.first[n]:g.first[n+1]] {
			from[at[to>>1]] = int32(n)
			at[to>>1]++
		}
	}
	can := make([]bool, len(g.worlds))
	queue := slices.Clone(g.goals)
	for _, n := range queue {
		can[n] = true
	}
	for len(queue) > 0 {
		n := queue[len(queue)-1]
		queue = queue[:len(queue)-1]
		for _, p := range from[count[n]:count[n+1]] {
			if !can[p] {
				can[p] = true
				queue = append(queue, p)
			}
		}
	}
	stuck, first := 0, -1
	for n, ok := range can {
		if !ok {
			if stuck++; first < 0 {
				first = n
			}
		}
	}
	if stuck == 0 {
		return ""
	}
	last := first
	for n := first; n < len(can); n++ {
		if !can[n] {
			last = n
		}
	}
	return fmt.Sprintf("%d states from which no good end can be reached: the first one:\n%s%s\nthe last one:\n%s%s", stuck,
		g.trace(int32(first)), g.x.describe(&g.worlds[first]), g.trace(int32(last)), g.x.describe(&g.worlds[last]))
}

// restless returns a state that comes again without any time passing: somebody tries something for ever.
func (g *graph) restless() string {
	open := make([]int32, len(g.worlds)) // edges to a state that are not known to end
	for _, to := range g.to {
		open[to>>1] += to & 1
	}
	var queue []int32
	for n, k := range open {
		if k == 0 {
			queue = append(queue, int32(n))
		}
	}
	for len(queue) > 0 {
		n := queue[len(queue)-1]
		queue = queue[:len(queue)-1]
		for _, to := range g.to[g.first[n]:g.first[n+1]] {
			if to&1 == 0 {
				continue
			}
			if open[to>>1]--; open[to>>1] == 0 {
				queue = append(queue, to>>1)
			}
		}
	}
	for n, k := range open {
		if k > 0 {
			return fmt.Sprintf("what is tried here is tried again without a pause:\n%s%s", g.trace(int32(n)), g.x.describe(&g.worlds[n]))
		}
	}
	return ""
}

// trace is the way to a state, and one event more.
func (g *graph) trace(n int32, last ...event) string {
	var way []int32
	for at := n; at >= 0; at = g.parent[at] {
		way = append(way, at)
	}
	slices.Reverse(way)
	var out strings.Builder
	for k, at := range way {
		var e event
		switch {
		case k+1 < len(way):
			e = g.by[way[k+1]]
		case len(last) > 0:
			e = last[0]
		default:
			return out.String()
		}
		g.x.next(&g.worlds[at], func(f event, _ bool, after *world, _ string) {
			if f == e {
				fmt.Fprintf(&out, "  %s\n", g.x.line(&g.worlds[at], e, after))
			}
		})
	}
	return out.String()
}

// line is one event as text.
func (x *explorer) line(before *world, e event, after *world) string {
	text := x.label(e)
	switch e.kind {
	case decides, decidesOnOld:
		v := x.vms[after.vm[e.arg]]
		st := v.a.Status()
		text += fmt.Sprintf(": %s (%s) %s", st.Phase, st.Reason.Code, st.Reason.Text())
		if v.do.Kind != "" {
			text += " -> " + string(v.do.Kind)
		}
		if j := v.do.Journal; j != nil {
			text += " " + string(j.Stage)
		}
		for _, r := range v.do.Records {
			text += fmt.Sprintf(" %s(%d)", r.Key, len(r.Value))
		}
	case acts, actsUnheard:
		text += ": " + string(x.vms[before.vm[e.arg]].do.Kind)
	default:
	}
	return text
}

// describe shows a state.
func (x *explorer) describe(w *world) string {
	var out strings.Builder
	for i := range x.o.n {
		v, b := x.vms[w.vm[i]], &w.b[i]
		st := v.a.Status()
		fmt.Fprintf(&out, "  broker %d: is %b runs %s, file %s, step %q; agent dead %t: %s (%s) %s, does %q\n",
			i+1, b.is, hash(b.runs), hash(v.file), v.disk.Stage, v.dead, st.Phase, st.Reason.Code, st.Reason.Text(), v.do.Kind)
	}
	v := x.views[w.log]
	fmt.Fprintf(&out, "  log: claims %v halts %d active %v paused %t\n", v.Claims, len(v.Halts), v.Active, v.Pause != nil)
	return out.String()
}

// summary is one line for a configuration.
func (g *graph) summary() string {
	x := g.x
	return fmt.Sprintf("%-44s %9d states, %9d edges, depth %3d, %6d good ends, %5d at rest, %7d states of a VM, %8d decisions, %6s, %4.0f k states/s, deciding %2.0f %%, %3d MiB%s",
		x.o.name, len(g.worlds), len(g.to), g.depth, len(g.goals), x.rested, len(x.vms), x.decided, g.took.Round(time.Millisecond),
		float64(len(g.worlds))/g.took.Seconds()/1000, 100*x.deciding.Seconds()/g.took.Seconds(), g.bytes()>>20,
		map[bool]string{true: ", limit reached"}[g.full])
}

// cpu is the processor time of this thread until now.
func cpu() time.Duration {
	const thread = 1 // RUSAGE_THREAD
	var u syscall.Rusage
	if err := syscall.Getrusage(thread, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// bytes is the memory of what is stored for each state.
func (g *graph) bytes() int {
	return cap(g.worlds)*int(unsafe.Sizeof(world{})) + 4*(cap(g.parent)+cap(g.to)+cap(g.first)+cap(g.index)) + cap(g.by)*int(unsafe.Sizeof(event{}))
}
