package sim

import (
	"container/heap"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
)

// world is time, chance and the story.
type world struct {
	rng    *rand.Rand
	start  time.Time
	now    time.Time
	events eventHeap
	seq    int
	// telling keeps the story. It costs time, and a seed can always be told again.
	telling  bool
	story    []string
	failures []string
	// changed is when anything last changed that a person would see.
	changed time.Time
}

func newWorld(seed uint64, telling bool) *world {
	start := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	return &world{rng: rand.New(rand.NewPCG(seed, 1)), start: start, now: start, changed: start, telling: telling}
}

func (w *world) after(d time.Duration, do func()) {
	w.seq++
	heap.Push(&w.events, event{w.now.Add(d), w.seq, do})
}

// next plays the next event; it returns false when there is none before end.
func (w *world) next(end time.Time) bool {
	if len(w.events) == 0 || w.events[0].at.After(end) {
		return false
	}
	e := heap.Pop(&w.events).(event)
	w.now = e.at
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
	if w.telling {
		w.story = append(w.story, fmt.Sprintf("%9.3f  %s", w.now.Sub(w.start).Seconds(), fmt.Sprintf(format, args...)))
	}
}

// fail notes that a promise was broken. The first one ends the story.
func (w *world) fail(promise, format string, args ...any) {
	text := promise + ": " + fmt.Sprintf(format, args...)
	w.note("BROKEN %s", text)
	w.failures = append(w.failures, text)
}

func (w *world) tell() string { return strings.Join(w.story, "\n") }

// since is how long ago t was; a time that never was is long ago.
func (w *world) since(t time.Time) time.Duration { return w.now.Sub(t) }

type event struct {
	at  time.Time
	seq int
	do  func()
}

type eventHeap []event

func (h eventHeap) Len() int { return len(h) }
func (h eventHeap) Less(i, j int) bool {
	if !h[i].at.Equal(h[j].at) {
		return h[i].at.Before(h[j].at)
	}
	return h[i].seq < h[j].seq
}
func (h eventHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *eventHeap) Push(x any)   { *h = append(*h, x.(event)) }
func (h *eventHeap) Pop() any {
	old := *h
	e := old[len(old)-1]
	*h = old[:len(old)-1]
	return e
}
