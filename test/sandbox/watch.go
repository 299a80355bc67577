package sandbox

import (
	"context"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"example.com/kpls-agent/test/sandbox/supervise"
)

// Intervals of a Watcher. Each look opens connections: the fine one takes a quarter
// of a core from brokers and watcher, and is for figures.
const (
	FineWatch   = 20 * time.Millisecond
	CoarseWatch = 100 * time.Millisecond
)

// Watcher notes, from the outside, when each broker's inter-broker port answers
// and when each broker is missing from an in-sync set.
type Watcher struct {
	cluster  *Cluster
	interval time.Duration

	mu     sync.Mutex
	port   map[int32][]Change // guarded by mu; Up: the port accepts
	synced map[int32][]Change // guarded by mu; Up: listed, and in every ISR it belongs to, as it knows itself
	away   []int32            // guarded by mu; the most brokers ever out of sync at once
}

// NewWatcher returns a watcher of a serving cluster that looks at this interval;
// Run runs it.
func NewWatcher(c *Cluster, interval time.Duration) *Watcher {
	return &Watcher{cluster: c, interval: interval, port: make(map[int32][]Change), synced: make(map[int32][]Change)}
}

// Run watches until ctx ends.
func (w *Watcher) Run(ctx context.Context) {
	var watches sync.WaitGroup
	for _, b := range w.cluster.Brokers {
		watches.Go(func() {
			Every(ctx, w.interval, func() { w.note(w.port, b.ID, accepts(ctx, b.Internal())) })
		})
	}
	watches.Go(func() { Every(ctx, w.interval, func() { w.lookAtISR(ctx) }) })
	watches.Wait()
}

// MostAway is the largest set of brokers that was out of sync at one time.
func (w *Watcher) MostAway() []int32 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.away)
}

// Restart is one planned stop and start of a broker, in its parts.
type Restart struct {
	Broker int32
	// Requested is when SIGTERM was sent, Exited and Started are the process's,
	// Open is when the inter-broker port answered, Synced when the broker was in every ISR again
	// and knew it: until it has replayed the metadata so far it does not lead what it could.
	Requested, Exited, Started, Open, Synced time.Time
}

// Stop is how long the process took to exit.
func (r Restart) Stop() time.Duration { return r.Exited.Sub(r.Requested) }

// Start is how long the process took to open its port.
func (r Restart) Start() time.Duration { return r.Open.Sub(r.Started) }

// CatchUp is how long the open broker took to be in sync.
func (r Restart) CatchUp() time.Duration { return r.Synced.Sub(r.Open) }

// Own is the broker's own part: stop, start and catch-up.
func (r Restart) Own() time.Duration { return r.Stop() + r.Start() + r.CatchUp() }

// Restarts are all restarts of all brokers that are over and that the watcher
// saw, by the time they began.
func (w *Watcher) Restarts() ([]Restart, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var restarts []Restart
	for _, b := range w.cluster.Brokers {
		events, err := b.Events()
		if err != nil {
			return nil, err
		}
		for _, r := range pair(b.ID, events) {
			r.Open, r.Synced = firstUp(w.port[b.ID], r.Started), firstUp(w.synced[b.ID], r.Started)
			if !r.Open.IsZero() && !r.Synced.IsZero() {
				r.Synced = latest(r.Synced, r.Open)
				restarts = append(restarts, r)
			}
		}
	}
	slices.SortFunc(restarts, func(a, b Restart) int { return a.Requested.Compare(b.Requested) })
	return restarts, nil
}

// pair makes restarts of the sequences stop requested, exited, started.
func pair(id int32, events []supervise.Event) []Restart {
	var restarts []Restart
	r := Restart{Broker: id}
	for _, e := range events {
		switch e.Kind {
		case supervise.StopRequested:
			r = Restart{Broker: id, Requested: e.At}
		case supervise.KillRequested: // not planned, or no longer
			r = Restart{Broker: id}
		case supervise.Exited:
			r.Exited = e.At
		case supervise.Started:
			if r.Started = e.At; !r.Requested.IsZero() {
				restarts = append(restarts, r)
			}
			r = Restart{Broker: id}
		}
	}
	return restarts
}

// firstUp is the first change to up after t, or zero.
func firstUp(changes []Change, t time.Time) time.Time {
	for _, c := range changes {
		if c.Up && c.At.After(t) {
			return c.At
		}
	}
	return time.Time{}
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// lookAtISR asks the first broker that answers, and one that is back also itself.
// Where none takes a connection, all are down: a cluster may have one broker.
func (w *Watcher) lookAtISR(ctx context.Context) {
	none := true
	for _, b := range w.cluster.Brokers {
		if !accepts(ctx, b.Internal()) {
			continue
		}
		none = false
		away, err := outOfSync(ctx, b.Internal(), nil, w.cluster.brokerIDs(), w.cluster.opts.Client...)
		if err != nil {
			continue
		}
		for _, b := range w.cluster.Brokers {
			synced := !slices.Contains(away, b.ID)
			if synced && !w.inSync(b.ID) {
				own, err := outOfSync(ctx, b.Internal(), nil, []int32{b.ID}, w.cluster.opts.Client...)
				synced = err == nil && len(own) == 0
			}
			w.note(w.synced, b.ID, synced)
		}
		w.noteAway(away)
		return
	}
	if none && ctx.Err() == nil {
		for _, b := range w.cluster.Brokers {
			w.note(w.synced, b.ID, false)
		}
		w.noteAway(w.cluster.brokerIDs())
	}
}

func (w *Watcher) noteAway(away []int32) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(away) > len(w.away) {
		w.away = away
	}
}

// inSync is what was noted last.
func (w *Watcher) inSync(id int32) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	seen := w.synced[id]
	return len(seen) > 0 && seen[len(seen)-1].Up
}

// OutOfSync asks whoever answers at addr which of these brokers it does not list,
// or sees missing from an in-sync set. dial may be nil.
func OutOfSync(ctx context.Context, addr string, dial DialFunc, brokers []int32) ([]int32, error) {
	return outOfSync(ctx, addr, dial, brokers)
}

func outOfSync(ctx context.Context, addr string, dial DialFunc, brokers []int32, login ...kgo.Opt) ([]int32, error) {
	response, err := metadata(ctx, addr, dial, login...)
	if err != nil {
		return nil, err
	}
	var away []int32
	for _, id := range brokers {
		listed := slices.ContainsFunc(response.Brokers,
			func(m kmsg.MetadataResponseBroker) bool { return m.NodeID == id })
		if !listed || missing(response, id) {
			away = append(away, id)
		}
	}
	return away, nil
}

func missing(response *kmsg.MetadataResponse, id int32) bool {
	for _, t := range response.Topics {
		for _, p := range t.Partitions {
			if slices.Contains(p.Replicas, id) && !slices.Contains(p.ISR, id) {
				return true
			}
		}
	}
	return false
}

// note adds a change unless it is none.
func (w *Watcher) note(changes map[int32][]Change, id int32, up bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	seen := changes[id]
	if len(seen) == 0 || seen[len(seen)-1].Up != up {
		changes[id] = append(seen, Change{At: time.Now(), Up: up})
	}
}

func accepts(ctx context.Context, addr string) bool {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return false
	}
	conn.Close()
	return true
}

// Every calls f at once and then at this interval, or slower if f takes longer, until ctx ends.
func Every(ctx context.Context, interval time.Duration, f func()) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		f()
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
