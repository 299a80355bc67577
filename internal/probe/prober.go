package probe

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"example.com/kpls-agent/internal/restart"
	"example.com/kpls-agent/internal/wait"
)

// ErrUnknown is what a Target's Check returns (wrapped) when it cannot judge.
var ErrUnknown = errors.New("cannot judge")

// Target is one managed listener of this broker.
type Target struct {
	Name string
	// Dial is where the broker's process listens, host:port, as seen from here.
	Dial string
	// Check asks the listener whether it serves; nil error means it does. It must
	// return soon after its context ends. One check runs at a time.
	Check func(context.Context) error
	// Key changes whenever Check checks something else: functions cannot be compared.
	Key string
	// Host and Port are where the probe is answered; an empty Host is all addresses.
	Host string
	Port int
	// Close closes the probe for a planned restart (during_restart: close), for at
	// most CloseLimit from its Begin: a restart that never comes must not keep a
	// healthy broker from its clients. Otherwise an open probe is held open through
	// the restart for at most HoldLimit.
	Close      bool
	CloseLimit time.Duration
	HoldLimit  time.Duration
}

// Options are the parts of a Prober.
type Options struct {
	// Interval is the time between two checks of a listener that serves; 0 is 2 s.
	Interval time.Duration
	// StandFor is how long the last answer stands when no judgement can be made,
	// also that of an earlier agent process; 0 is 10 min.
	StandFor time.Duration
	Logger   *slog.Logger
	// Inherited are sockets of an earlier agent process, by the names that OnListen got. Each
	// stays open until the first judgement, Set or SetTargets says otherwise, and
	// for StandFor at most. What waits in it is thrown away.
	Inherited map[string]*net.TCPListener
	// OnListen and OnClose get each socket that is opened, and closed for
	// good (not at the end of Run), by the listener's name, or that and ".former" for
	// the place that a port was moved from. They are called one at a time and must be
	// quick; nil is nobody.
	OnListen func(name string, l *net.TCPListener)
	OnClose  func(name string)

	dial dialFunc // nil is TCP
}

// defaultStandFor is the default of Options.StandFor. kpls-agent-expire.timer (systemd/)
// gives a socket that systemd keeps for an agent that is stopped the same time.
const defaultStandFor = 10 * time.Minute

// bindRetry is how long to wait before a port that could not be had is tried again.
const bindRetry = time.Second

// Prober judges this broker's listeners and answers for them.
type Prober struct {
	o       Options
	metrics *metrics
	changed chan struct{}
	wake    chan struct{} // Run looks at targets and deadlines again
	born    time.Time

	mu        sync.Mutex
	listeners map[string]*listener // guarded by mu, as all they have
	allowed   map[string]bool      // nil until the first Set
	begun     time.Time            // of the planned restart; zero outside of Begin and End
	// spawn starts a goroutine of Run and returns what ends it early; nil while
	// Run does not run. Guarded by mu.
	spawn spawner
}

type spawner func(func(context.Context)) context.CancelFunc

// New returns a Prober without targets. Nothing happens before Run.
func New(o Options) *Prober {
	if o.Interval == 0 {
		o.Interval = defaultInterval
	}
	if o.StandFor == 0 {
		o.StandFor = defaultStandFor
	}
	if o.dial == nil {
		o.dial = (&net.Dialer{}).DialContext
	}
	if o.OnListen == nil {
		o.OnListen = func(string, *net.TCPListener) {}
	}
	if o.OnClose == nil {
		o.OnClose = func(string) {}
	}
	p := &Prober{
		o: o, metrics: newMetrics(), changed: make(chan struct{}, 1), wake: make(chan struct{}, 1),
		listeners: map[string]*listener{}, born: time.Now(),
	}
	for name, l := range o.Inherited {
		if err := queue(l); err != nil {
			o.Logger.Warn("what waits in a kept probe port is not bounded", "listener", name, "err", err)
		}
		empty(l)
		name, isFormer := strings.CutSuffix(name, formerName)
		li := p.listeners[name]
		if li == nil {
			li = p.newListener(name)
		}
		li.inherited = true
		if isFormer {
			li.inheritFormer(l)
		} else {
			li.sock = newSocket(l, li.arrived, li.looked)
		}
		li.openedAt, li.told.open = time.Now(), true
	}
	return p
}

func (p *Prober) newListener(name string) *listener {
	l := &listener{name: name, prober: p}
	p.listeners[name] = l
	return l
}

// Changed is signalled (capacity 1) after a change of Facts that may matter to a decision.
func (p *Prober) Changed() <-chan struct{} { return p.changed }

// SetTargets replaces the targets. One that is unchanged is not touched, and one
// that only moved to another Dial keeps its socket and its last answer.
func (p *Prober) SetTargets(targets []Target) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	keep := map[string]bool{}
	for _, t := range targets {
		keep[t.Name] = true
		l := p.listeners[t.Name]
		if l == nil {
			l = p.newListener(t.Name)
		}
		l.retarget(t)
	}
	for name, l := range p.listeners {
		if !keep[name] {
			l.remove(now)
			delete(p.listeners, name)
		}
	}
	p.settle(now)
	wait.Wake(p.wake)
}

// Set says which listeners may be open at all: each is while it serves.
func (p *Prober) Set(allowed []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	next := map[string]bool{}
	for _, name := range allowed {
		next[name] = true
	}
	if p.allowed != nil && maps.Equal(p.allowed, next) {
		return
	}
	p.allowed = next
	p.settle(time.Now())
}

// Begin starts a planned restart: listeners that are held and are open stay so
// for at most their HoldLimit, those of kind Close close now, for at most their CloseLimit.
func (p *Prober) Begin() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.begun.IsZero() {
		return // the limits count from the first
	}
	now := time.Now()
	p.begun = now
	for _, l := range p.listeners {
		l.begin(now)
	}
	p.settle(now)
}

// End ends a planned restart: from now on the truth.
func (p *Prober) End() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.begun = time.Time{}
	for _, l := range p.listeners {
		l.heldUntil = time.Time{}
	}
	p.settle(time.Now())
}

// Facts returns every target as it is judged now.
func (p *Prober) Facts() map[string]restart.ProbeFacts {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := make(map[string]restart.ProbeFacts, len(p.listeners))
	for name, l := range p.listeners {
		if l.hasTarget {
			out[name] = l.facts()
		}
	}
	return out
}

// settle brings every socket to what it should be now, and has Run look at the deadlines again.
func (p *Prober) settle(now time.Time) {
	for _, name := range slices.Sorted(maps.Keys(p.listeners)) {
		p.listeners[name].settle(now)
	}
	wait.Wake(p.wake)
}

// Run judges and answers until ctx ends; it returns nil then. The sockets are
// left as they are: who else has a copy, as systemd has, keeps them open.
func (p *Prober) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	p.start(func(f func(context.Context)) context.CancelFunc {
		ctx, end := context.WithCancel(ctx)
		wg.Go(func() { defer end(); f(ctx) })
		return end
	})
	for ctx.Err() == nil {
		p.wait(ctx, p.round())
	}
	p.stop()
	cancel()
	wg.Wait()
	return nil
}

func (p *Prober) start(spawn spawner) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.spawn = spawn
	for _, l := range p.listeners {
		if l.sock != nil {
			p.spawn(l.sock.serve)
		}
		if l.former != nil && l.former.sock != nil {
			p.spawn(l.former.sock.serve)
		}
	}
}

func (p *Prober) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.spawn = nil
	for _, l := range p.listeners {
		if l.sock != nil {
			l.sock.release()
			l.sock = nil
		}
		if l.former != nil && l.former.sock != nil {
			l.former.sock.release()
			l.former.sock = nil
		}
	}
}

// round starts the judges that are missing, does what is due, and returns when
// something is due next; zero is never.
func (p *Prober) round() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	var next time.Time
	for _, name := range slices.Sorted(maps.Keys(p.listeners)) {
		l := p.listeners[name]
		l.judgeAnew()
		l.settle(now)
		for _, t := range []time.Time{l.heldUntil, l.closedUntil(), l.retryAt, l.standsUntil()} {
			if t.After(now) && (next.IsZero() || t.Before(next)) {
				next = t
			}
		}
	}
	return next
}

func (p *Prober) wait(ctx context.Context, next time.Time) {
	var due <-chan time.Time
	if !next.IsZero() {
		timer := time.NewTimer(time.Until(next))
		defer timer.Stop()
		due = timer.C
	}
	select {
	case <-ctx.Done():
	case <-p.wake:
	case <-due:
	}
}
