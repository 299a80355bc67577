package probe

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"

	"example.com/kpls-agent/internal/restart"
)

// ErrUnknown is what a check returns, wrapped or not, when it cannot judge.
var ErrUnknown = errors.New("cannot judge")

// Target is one managed listener.
type Target struct {
	Name string
	// Dial is where Kafka listens, host:port, on this machine.
	Dial string
	// Check asks the listener, on the protocol's level, whether it serves this broker rightly.
	Check func(context.Context) error
	// Key changes when Check means something else, so that a watch that is under
	// way is begun anew.
	Key string
	// Host and Port are what the load balancer probes; an empty host is all addresses.
	Host string
	Port int
	// Close closes the port for a planned restart; otherwise it is held for at most HoldLimit.
	Close     bool
	HoldLimit time.Duration
}

// Options of a Prober.
type Options struct {
	// Interval is the time between two checks of a listener that serves; 0 is 2 s.
	Interval time.Duration
	Logger   *slog.Logger
	// Inherited are listening sockets of an earlier life, by listener. They stay
	// open until the first judgement says otherwise.
	Inherited map[string]*net.TCPListener
	// OnListen and OnClose tell of sockets that are opened and closed; nil is nobody.
	OnListen func(name string, l *net.TCPListener)
	OnClose  func(name string)
}

// Times of the judgement. A broker that hangs, accepting and never answering,
// is down after three checks, about 5 s.
const (
	defaultInterval = 2 * time.Second
	checkTimeout    = 1500 * time.Millisecond
	retryFast       = 100 * time.Millisecond // after a failure, while the broker may come back
	retrySlow       = time.Second            // once it has been away for long
	awayLong        = time.Minute
	failuresToDown  = 3
	balancerSeen    = time.Minute // probes in this time before mean that a load balancer is there
	portRetry       = time.Second
)

// Prober judges and answers. It implements restart.Probes.
type Prober struct {
	o       Options
	metrics *metrics
	changed chan struct{}
	wake    chan struct{}

	mu        sync.Mutex
	listeners map[string]*listener
	allowed   map[string]bool
	told      bool // Set was called
	planned   bool
	begun     time.Time
	watches   sync.WaitGroup
}

var _ restart.Probes = (*Prober)(nil)

// listener is one target and everything known of it; guarded by Prober.mu.
type listener struct {
	target  Target
	cancel  context.CancelFunc // of its watch
	judged  time.Time
	serving bool
	why     string
	socket  *net.TCPListener
	portErr string
	retryAt time.Time
	// held is true from the begin of a planned restart for a port that was open then.
	held     bool
	gap      bool
	balancer bool
	arrived  time.Time
	answered int
}

// New returns a Prober without targets.
func New(o Options) *Prober {
	if o.Interval == 0 {
		o.Interval = defaultInterval
	}
	if o.OnListen == nil {
		o.OnListen = func(string, *net.TCPListener) {}
	}
	if o.OnClose == nil {
		o.OnClose = func(string) {}
	}
	return &Prober{
		o: o, metrics: newMetrics(), changed: make(chan struct{}, 1), wake: make(chan struct{}, 1),
		listeners: map[string]*listener{}, allowed: map[string]bool{},
	}
}

// Run watches the targets until ctx ends. The sockets are left to the process's
// end then, so that a service manager that holds copies of them loses no probe.
func (p *Prober) Run(ctx context.Context) error {
	defer p.watches.Wait()
	for ctx.Err() == nil {
		p.mu.Lock()
		for _, l := range p.listeners {
			p.watch(ctx, l)
		}
		next := p.reconcile()
		p.mu.Unlock()
		timer := time.NewTimer(next)
		select {
		case <-ctx.Done():
		case <-p.wake:
		case <-timer.C:
		}
		timer.Stop()
	}
	return nil
}

// SetTargets replaces the targets. One that is the same but for its addresses
// and check keeps its socket and its judgement until the next one.
func (p *Prober) SetTargets(targets []Target) {
	p.mu.Lock()
	defer p.mu.Unlock()
	keep := map[string]bool{}
	for _, t := range targets {
		keep[t.Name] = true
		l, ok := p.listeners[t.Name]
		if !ok {
			l = &listener{target: t, why: "not judged yet"}
			if s := p.o.Inherited[t.Name]; s != nil {
				delete(p.o.Inherited, t.Name)
				if sameAddr(s.Addr(), t) {
					l.socket, l.why = s, "inherited from an earlier life of the agent"
					go p.accept(t.Name, s)
				} else {
					_ = s.Close() // the probe has moved
					p.o.OnClose(t.Name)
				}
			}
			p.listeners[t.Name] = l
			continue
		}
		moved := l.target.Host != t.Host || l.target.Port != t.Port
		if l.target.Dial != t.Dial || l.target.Key != t.Key {
			l.stop()
		}
		l.target = t
		if moved {
			p.close(l, "the probe port has moved")
		}
	}
	for _, name := range slices.Sorted(maps.Keys(p.listeners)) {
		if l := p.listeners[name]; !keep[name] {
			l.stop()
			p.close(l, "the listener is not managed any more")
			delete(p.listeners, name)
			p.metrics.forget(name)
		}
	}
	p.signal(p.wake)
}

func sameAddr(a net.Addr, t Target) bool {
	tcp, ok := a.(*net.TCPAddr)
	if !ok || tcp.Port != t.Port {
		return false
	}
	if t.Host == "" {
		return tcp.IP.IsUnspecified()
	}
	ip := net.ParseIP(t.Host)
	return ip != nil && (ip.Equal(tcp.IP) || ip.IsUnspecified() && tcp.IP.IsUnspecified())
}

func (l *listener) stop() {
	if l.cancel != nil {
		l.cancel()
		l.cancel = nil
	}
}

// Set implements restart.Probes.
func (p *Prober) Set(allowed []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.told = true
	if len(p.allowed) == len(allowed) && !slices.ContainsFunc(allowed, func(n string) bool { return !p.allowed[n] }) {
		return
	}
	clear(p.allowed)
	for _, n := range allowed {
		p.allowed[n] = true
	}
	p.reconcile()
}

// Begin implements restart.Probes.
func (p *Prober) Begin() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.planned, p.begun = true, time.Now()
	for _, l := range p.listeners {
		l.gap = l.socket == nil
		l.held = l.socket != nil && !l.target.Close
		l.balancer = p.begun.Sub(l.arrived) <= balancerSeen
	}
	p.reconcile()
	p.signal(p.wake)
}

// End implements restart.Probes.
func (p *Prober) End() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.planned = false
	for _, l := range p.listeners {
		l.held = false
	}
	p.reconcile()
}

// Changed implements restart.Probes.
func (p *Prober) Changed() <-chan struct{} { return p.changed }

// Facts implements restart.Probes.
func (p *Prober) Facts() map[string]restart.ProbeFacts {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := make(map[string]restart.ProbeFacts, len(p.listeners))
	for name, l := range p.listeners {
		why := l.why
		if l.portErr != "" {
			why = l.portErr
		}
		out[name] = restart.ProbeFacts{
			At: l.judged, Serving: l.serving, Why: why, Open: l.socket != nil, Balancer: l.balancer, Answered: l.answered, Gap: l.gap,
		}
	}
	return out
}

func (p *Prober) signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// want is whether a port should be open now, and until when that holds at most.
func (p *Prober) want(l *listener, now time.Time) (open bool, until time.Duration) {
	switch {
	case l.judged.IsZero() && l.socket != nil && (!p.told || p.allowed[l.target.Name]):
		return true, 0 // inherited: cannot judge yet, so the last answer stands
	case !p.allowed[l.target.Name]:
		return false, 0
	case p.planned && l.target.Close:
		return false, 0
	case p.planned && l.held && now.Before(p.begun.Add(l.target.HoldLimit)):
		return true, p.begun.Add(l.target.HoldLimit).Sub(now)
	default:
		return l.serving, 0
	}
}

// reconcile opens and closes ports, and returns when to look again at the latest.
func (p *Prober) reconcile() time.Duration {
	now := time.Now()
	next := time.Hour
	for _, name := range slices.Sorted(maps.Keys(p.listeners)) {
		l := p.listeners[name]
		open, until := p.want(l, now)
		switch {
		case open && l.socket == nil && !now.Before(l.retryAt):
			p.open(l, now)
		case !open && l.socket != nil:
			p.close(l, l.why)
		}
		if open && l.socket == nil {
			next = min(next, max(l.retryAt.Sub(now), time.Millisecond))
		}
		if until > 0 {
			next = min(next, until)
		}
		p.metrics.set(name, l.serving, l.socket != nil)
	}
	return next
}

func (p *Prober) open(l *listener, now time.Time) {
	t := l.target
	s, err := net.Listen("tcp", net.JoinHostPort(t.Host, strconv.Itoa(t.Port))) //nolint:noctx // does not block: it binds a local address
	if err != nil {
		l.retryAt = now.Add(portRetry)
		if l.portErr == "" {
			l.portErr = "the probe port cannot be opened: " + err.Error() + "; end the process that holds it, or choose another probe_port"
			p.o.Logger.Error("probe port cannot be opened", "listener", t.Name, "err", err)
			p.signal(p.changed)
		}
		return
	}
	tcp, ok := s.(*net.TCPListener)
	if !ok {
		return // net.Listen("tcp") gives nothing else
	}
	l.socket, l.portErr, l.answered = tcp, "", 0
	p.o.Logger.Info("probe port opened", "listener", t.Name, "port", t.Port)
	p.metrics.transition(t.Name, "open")
	p.o.OnListen(t.Name, tcp)
	go p.accept(t.Name, tcp)
	p.signal(p.changed)
}

func (p *Prober) close(l *listener, why string) {
	if l.socket == nil {
		return
	}
	_ = l.socket.Close() // nothing to be done about a socket that is gone
	if !p.planned {
		l.balancer = time.Since(l.arrived) <= balancerSeen
	}
	l.socket, l.gap, l.answered = nil, true, 0
	p.o.Logger.Info("probe port closed", "listener", l.target.Name, "port", l.target.Port, "why", why)
	p.metrics.transition(l.target.Name, "close")
	p.o.OnClose(l.target.Name)
	p.signal(p.changed)
}

// accept answers probes one after the other: accepting is the answer. No
// goroutine, buffer or time is spent on a connection, whoever opens it.
func (p *Prober) accept(name string, s *net.TCPListener) {
	for {
		c, err := s.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // out of descriptors, or a connection reset before it was accepted
			p.o.Logger.Warn("probe connection could not be accepted", "listener", name, "err", err)
			time.Sleep(retryFast) //nolint:forbidigo // a pause in an accept loop that a closed socket ends
			continue
		}
		_ = c.Close()
		p.metrics.answered(name)
		p.mu.Lock()
		if l := p.listeners[name]; l != nil && l.socket == s {
			l.arrived = time.Now()
			if l.answered++; p.planned || l.answered < 100 {
				p.signal(p.changed)
			}
		}
		p.mu.Unlock()
	}
}
