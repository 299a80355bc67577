package agent

import (
	"slices"
	"time"

	"example.com/kpls-agent/internal/restart"
)

// postPace is the least time between two statuses of this agent, postRetry the
// first pause after one that could not be appended; it doubles up to postRetryMax.
const (
	postPace     = 100 * time.Millisecond
	postRetry    = 200 * time.Millisecond
	postRetryMax = 5 * time.Second
)

// outbox keeps the newest status until it is appended: what others see of this
// agent must not delay what it does. Short phases that follow one another are published
// as one, so a busy agent writes few records and its claims and releases need not
// queue behind them.
type outbox struct {
	waiting  bool
	newest   restart.Status // while waiting
	inFlight bool
	sent     restart.Status // while in flight
	offered  restart.Status // the last one that was due
	at0      time.Time      // when
	next     time.Time      // no earlier than then
	pause    time.Duration  // after a failure; 0 after a success
}

// offer takes a status over if it is due.
func (o *outbox) offer(st *restart.Status, now time.Time, agents int) {
	if !due(st, &o.offered, now.Sub(o.at0), agents) {
		return
	}
	o.offered, o.at0 = *st, now
	o.newest, o.waiting = *st, true
	if o.pause > 0 && !o.inFlight {
		o.next = now // news is worth a try
	}
}

// again makes the next status due that is offered, if none is on its way.
func (o *outbox) again() {
	if !o.waiting && !o.inFlight {
		o.offered = restart.Status{}
	}
}

func (o *outbox) take(now time.Time) (restart.Status, bool) {
	if !o.waiting || o.inFlight || now.Before(o.next) {
		return restart.Status{}, false
	}
	o.waiting, o.inFlight, o.sent = false, true, o.newest
	return o.sent, true
}

func (o *outbox) at() time.Time {
	if !o.waiting || o.inFlight {
		return time.Time{}
	}
	return o.next
}

func (o *outbox) done(ok bool, now time.Time) (first bool) {
	o.inFlight = false
	if ok {
		o.pause, o.next = 0, now.Add(postPace)
		return false
	}
	first = o.pause == 0
	o.pause = min(max(2*o.pause, postRetry), postRetryMax)
	o.next = now
	if !o.waiting {
		o.newest, o.waiting, o.next = o.sent, true, now.Add(o.pause)
	}
	return first
}

// due is true if a status is to be published after another one that was published some
// time ago: others learn something new from it, or it is time for a sign of life.
//
// The broker that one waits for changes at every hand-over. If each waiting agent published
// that at once, the number of records would grow with the square of the cluster's size: in a
// large cluster it waits for the next sign of life.
func due(st, published *restart.Status, ago time.Duration, agents int) bool {
	heartbeat := restart.Heartbeat(agents)
	if ago >= heartbeat || !same(st, published) {
		return true
	}
	return !st.Reason.Equal(published.Reason) && (!st.Reason.Code.Queueing() || ago >= heartbeat-restart.Heartbeat(0))
}

// same is true if others learn nothing new from b after a, but for the words.
func same(a, b *restart.Status) bool {
	return a.Cluster == b.Cluster && a.Manifest == b.Manifest && a.Target == b.Target && a.Phase == b.Phase &&
		a.Reason.Code == b.Reason.Code && a.Up == b.Up && a.Drift == b.Drift && a.Passed == b.Passed &&
		slices.Equal(a.Serving,
			b.Serving) && slices.Equal(a.Open, b.Open) && slices.Equal(a.Unprotected, b.Unprotected) &&
		a.Invocation == b.Invocation && a.Storage == b.Storage && a.Zone == b.Zone && a.ManifestFault == b.ManifestFault
}
