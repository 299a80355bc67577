package sim

import (
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"example.com/kpls-agent/internal/restart"
)

// appendPatience is how long an append is tried before its outcome is called unknown.
const appendPatience = 5 * time.Second

// coordLog is the coordination topic: one partition, replicated like any other.
type coordLog struct {
	*cluster
	// views[n] is the log folded up to offset base+n. A view is never changed again.
	views  []*restart.View
	base   int
	leader int32
	ready  time.Time // a new leader answers from then on
	// uncertain lets some appends end with an error, whatever they did.
	uncertain bool
	// clock is how far the clock of a broker's VM is off.
	clock func(id int32) time.Duration
	// committed gets every record.
	committed func(restart.Record)
}

func newCoordLog(c *cluster) *coordLog {
	return &coordLog{cluster: c, views: []*restart.View{restart.NewView()}, leader: c.logPartition().isr[0]}
}

func (l *coordLog) now() *restart.View { return l.views[len(l.views)-1] }

// end is the offset of the next record.
func (l *coordLog) end() int { return l.base + len(l.views) - 1 }

// forget drops views that nobody will ask for any more.
func (l *coordLog) forget(before int) {
	if n := min(before-l.base, len(l.views)-2); n > 0 {
		l.views = append([]*restart.View(nil), l.views[n:]...)
		l.base += n
	}
}

// up is true if a record can be written and read: the leader is there, and so
// are all in-sync replicas, which acks=all waits for.
func (l *coordLog) up() bool {
	p := l.logPartition()
	leads := false
	for _, id := range p.isr {
		leads = leads || id == l.leader && l.broker(id).alive
	}
	if !leads {
		for _, id := range p.isr {
			if l.broker(id).alive && l.broker(id).answers() {
				l.leader, l.ready = id, l.cluster.now.Add(l.between(50, 500))
				break
			}
		}
	}
	if len(p.isr) < p.need || l.cluster.now.Before(l.ready) || !l.broker(l.leader).answers() {
		return false
	}
	for _, id := range p.isr {
		if !l.broker(id).answers() {
			return false
		}
	}
	return true
}

// write is what one agent appends at once: records, or its status.
type write struct {
	records []restart.Record
	status  *restart.Status
	newer   bool // a later version writes it
	// skew is how far the clock of who wrote it is off.
	skew  time.Duration
	reach func(*broker) bool
	// alive is false when the writer has died: what was sent may still arrive.
	alive func() bool
}

// mishaps says that one in so many appends ends with an error, where some do. More of the halts do: they are few, and
// much hangs on each.
func (w write) mishaps() int {
	for _, r := range w.records {
		if r.Value != nil && strings.HasPrefix(r.Key, "halt/") {
			return 3
		}
	}
	return 50
}

var errUnknown = errors.New("request timed out")

// append tries until it is written, or until patience ends with an error that
// says nothing: the records may be in the log, or get there within seconds.
func (l *coordLog) append(w write, done func(error)) {
	l.try(w, l.cluster.now.Add(appendPatience), done)
}

func (l *coordLog) try(w write, until time.Time, done func(error)) {
	if !l.up() || !w.reach(l.broker(l.leader)) {
		l.after(l.between(50, 300), func() {
			switch {
			case !w.alive():
			case l.cluster.now.Before(until):
				l.try(w, until, done)
			default:
				done(errors.New("not enough replicas, or no leader"))
			}
		})
		return
	}
	fate := 0
	if l.uncertain && l.oneIn(w.mishaps()) {
		fate = 1 + l.rng.IntN(3)
	}
	l.after(l.between(1, 15), func() {
		switch fate {
		case 0:
			if !l.up() { // the leader has gone down in between: try again, if it is not written
				l.try(w, until, done)
				return
			}
			l.commit(w)
			l.after(l.between(1, 15), func() { done(nil) })
			return
		case 1: // it had no effect
		case 2: // it took effect, and the answer was lost
			l.commit(w)
		case 3: // it takes effect later
			l.after(l.between(100, 4000)+appendPatience, func() {
				if l.up() {
					l.commit(w)
				}
			})
		}
		l.after(appendPatience, func() { done(errUnknown) })
	})
}

// commit appends what was written. The leader's clock dates it.
func (l *coordLog) commit(w write) {
	if w.status != nil {
		l.commitStatus(w)
	}
	for _, r := range w.records {
		if w.newer {
			r = dress(r)
		}
		r = l.dated(r)
		v := l.now().With(r)
		if w.skew != 0 && strings.HasPrefix(r.Key, "claim/") {
			for i := range v.Claims {
				if v.Claims[i].Key == r.Key && v.Claims[i].Offset == r.Offset {
					v.Claims[i].At = v.Claims[i].At.Add(w.skew)
				}
			}
		}
		l.add(r, v)
	}
}

func (l *coordLog) dated(r restart.Record) restart.Record {
	r.Offset, r.Time = int64(l.end()), l.cluster.now.Add(l.clock(l.leader))
	return r
}

func (l *coordLog) add(r restart.Record, v *restart.View) {
	l.views = append(l.views, v)
	l.committed(r)
}

// commitStatus appends a status. One in ten is encoded and decoded, as all are in the product, and must come out as it
// was. The others are added as they are, since JSON would take a tenth of all time.
func (l *coordLog) commitStatus(w write) {
	st := *w.status
	r := l.dated(restart.Record{Key: "status/" + strconv.Itoa(int(st.Broker))})
	st.Version, st.Seen = restart.RecordVersion, r.Time
	if _, foreign := l.now().Foreign[r.Key]; !foreign && !w.newer && r.Offset%10 != 0 {
		v := *l.now()
		v.Statuses = maps.Clone(v.Statuses)
		v.SetClock(r.Time)
		v.Statuses[st.Broker] = st
		v.Next = r.Offset + 1
		l.add(r, &v)
		return
	}
	r.Value = restart.NewStatus(st).Value
	encoded := r
	if w.newer {
		encoded = dress(r)
	}
	v := l.now().With(encoded)
	if again := restart.NewStatus(v.Statuses[st.Broker]); string(again.Value) != string(r.Value) {
		l.fail("status records", "%s was read as %s", r.Value, again.Value)
	}
	l.add(r, v)
}

// as is the view up to an offset as a VM sees it whose clock is off: the
// records have other clocks' times.
func (l *coordLog) as(offset int, skew time.Duration) *restart.View {
	if offset == 0 {
		return restart.NewView()
	}
	v := l.views[offset-l.base]
	if skew == 0 {
		return v
	}
	own := *v // what is not copied here is never changed
	own.Clock = v.Clock.Add(-skew)
	own.Claims = slices.Clone(v.Claims)
	for i := range own.Claims {
		own.Claims[i].At = own.Claims[i].At.Add(-skew)
	}
	own.Statuses = make(map[int32]restart.Status, len(v.Statuses))
	for id, st := range v.Statuses {
		st.Seen, st.Since = st.Seen.Add(-skew), st.Since.Add(-skew)
		own.Statuses[id] = st
	}
	return &own
}
