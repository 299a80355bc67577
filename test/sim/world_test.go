package sim

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
)

// world is time, chance and the events so far.
type world struct {
	rng   *rand.Rand
	start time.Time
	now   time.Time
	// elapsed is the time since the start.
	elapsed time.Duration
	events  eventHeap
	seq     int
	played  int // events
	// recording keeps the events. It costs time, and a seed can always be played again.
	recording bool
	lines     []string
	failures  []string
	// changed is when anything last changed that an operator would see.
	changed time.Time
}

func newWorld(seed uint64, recording bool) *world {
	start := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	return &world{rng: rand.New(rand.NewPCG(seed, 1)), start: start, now: start, changed: start, recording: recording}
}

func (w *world) after(d time.Duration, do func()) {
	w.seq++
	w.events.push(event{w.elapsed + d, w.seq, do})
}

// next plays the next event; it returns false when there is none before end.
func (w *world) next(end time.Time) bool {
	if len(w.events) == 0 {
		return false
	}
	at := w.start.Add(w.events[0].at)
	if at.After(end) {
		return false
	}
	e := w.events.pop()
	w.now, w.elapsed = at, e.at
	w.played++
	e.do()
	return true
}

// between is a duration of lo to hi milliseconds.
func (w *world) between(lo, hi int) time.Duration {
	return time.Duration(lo+w.rng.IntN(hi-lo+1)) * time.Millisecond
}

// oneIn is true once in n times.
func (w *world) oneIn(n int) bool { return w.rng.IntN(n) == 0 }

func (w *world) note(format string, args ...any) {
	w.changed = w.now
	if w.recording {
		w.lines = append(w.lines, fmt.Sprintf("%9.3f  %s", w.now.Sub(w.start).Seconds(), fmt.Sprintf(format, args...)))
	}
}

// fail notes that a promise was broken. The first one ends the run.
func (w *world) fail(promise, format string, args ...any) {
	text := promise + ": " + fmt.Sprintf(format, args...)
	w.note("BROKEN %s", text)
	w.failures = append(w.failures, text)
}

func (w *world) transcript() string { return strings.Join(w.lines, "\n") }

// since is how long ago t was; a time that never was is long ago.
func (w *world) since(t time.Time) time.Duration { return w.now.Sub(t) }

// event is something that happens at an instant, counted from the start of the run. Events of one instant
// happen in the order in which they were scheduled.
type event struct {
	at  time.Duration
	seq int
	do  func()
}

func (e *event) before(o *event) bool { return e.at < o.at || e.at == o.at && e.seq < o.seq }

// eventHeap is a heap in which each event has up to four events below it, none of them earlier. container/heap
// would box every event: half of its time.
type eventHeap []event

func (h *eventHeap) push(e event) {
	*h = append(*h, e)
	list := *h
	at := len(list) - 1
	for at > 0 {
		up := (at - 1) / 4
		if !e.before(&list[up]) {
			break
		}
		list[at] = list[up]
		at = up
	}
	list[at] = e
}

// pop returns the earliest event. There must be one.
func (h *eventHeap) pop() event {
	list := *h
	first, last := list[0], list[len(list)-1]
	list[len(list)-1].do = nil // what it refers to can be collected
	list = list[:len(list)-1]
	*h = list
	at := 0
	for {
		down := 4*at + 1
		if down >= len(list) {
			break
		}
		for i := down + 1; i < min(down+4, len(list)); i++ {
			if list[i].before(&list[down]) {
				down = i
			}
		}
		if !list[down].before(&last) {
			break
		}
		list[at] = list[down]
		at = down
	}
	if len(list) > 0 {
		list[at] = last
	}
	return first
}
