package probe

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"example.com/kpls-agent/internal/restart"
	"example.com/kpls-agent/internal/wait"
)

// listener is one managed listener: its judge, its socket, and what ties them.
// All fields are guarded by the Prober's mu, except arrivals, asked and looks, which have their own.
type listener struct {
	name      string
	prober    *Prober
	target    Target
	hasTarget bool // false only for what was inherited, until SetTargets

	judge     *judge // nil until Run starts one
	endJudge  context.CancelFunc
	at        time.Time // when the last judgement was begun
	serving   bool      // the last answer
	why       string    // why not
	inherited bool      // open since before this agent process

	heldUntil time.Time // held open through a planned restart until then
	sock      *socket   // nil: closed
	former    *former   // nil: the port was not moved, or the load balancer has followed
	openedAt  time.Time
	bindErr   error // why the port cannot be opened
	retryAt   time.Time
	gap       bool
	balancer  bool
	told      transition

	arrivals arrivals
	asked    atomic.Bool // a probe has come to sock
	looks    looks
}

// transition is what the last log line said.
type transition struct {
	allowed, open, serving bool
	former                 int    // the port that is answered as well, 0 where there is none
	fault                  string // why the port cannot be opened
}

// want is whether the port should be open.
func (l *listener) want(now time.Time) bool {
	switch {
	case !l.mayOpen():
		return false
	case now.Before(l.closedUntil()):
		return false
	case now.Before(l.heldUntil):
		return true
	default:
		return (l.serving || l.presumed()) && now.Before(l.standsUntil())
	}
}

// presumed is true while the answer of an earlier agent process stands, for want of one of this.
func (l *listener) presumed() bool { return l.inherited && l.at.IsZero() }

// standsUntil is when the last answer ends for want of a newer one: what nobody can
// judge is not called open for ever.
func (l *listener) standsUntil() time.Time {
	since := l.at
	if since.IsZero() {
		since = l.prober.born
	}
	return since.Add(l.prober.o.StandFor)
}

// closedUntil is when a close for a planned restart ends, whether that came or not;
// zero where there is none.
func (l *listener) closedUntil() time.Time {
	if l.prober.begun.IsZero() || !l.target.Close {
		return time.Time{}
	}
	return l.prober.begun.Add(l.target.CloseLimit)
}

// mayOpen is what Set said; before its first word an inherited socket stays.
func (l *listener) mayOpen() bool {
	if l.prober.allowed == nil {
		return l.inherited
	}
	return l.prober.allowed[l.name]
}

// settle opens or closes the socket as it should be now.
func (l *listener) settle(now time.Time) {
	switch want := l.want(now); {
	case want:
		l.leaveFormer()
		if l.sock == nil {
			l.open(now)
		}
		if l.prober.spawn != nil {
			l.openFormer()
		}
	case l.isOpen():
		l.close(now)
	}
	if l.sock != nil || !l.want(now) {
		l.bindErr, l.retryAt = nil, time.Time{}
	}
	if !l.isOpen() {
		l.gap = true
	}
	l.tell()
}

func (l *listener) open(now time.Time) {
	spawn := l.prober.spawn
	if spawn == nil || !l.hasTarget || now.Before(l.retryAt) {
		return
	}
	tcp, err := l.listen()
	if err != nil {
		l.bindErr, l.retryAt = err, now.Add(bindRetry)
		return
	}
	if !l.closedUntil().IsZero() { // it was closed for a restart that is not over
		l.prober.o.Logger.Warn("the planned restart is not over in time; the probe tells the truth from now on",
			"listener", l.name, "limit", l.target.CloseLimit)
	}
	if !l.isOpen() {
		l.arrivals.reset()
	}
	l.sock, l.openedAt = newSocket(tcp, l.arrived, l.looked), now
	spawn(l.sock.serve)
	l.prober.o.OnListen(l.name, tcp)
}

func (l *listener) close(now time.Time) {
	l.watchBalancer(now)
	l.gap = true
	l.shutFormer()
	if l.sock != nil {
		l.sock.shut()
		l.sock = nil
		l.prober.o.OnClose(l.name)
	}
}

// watchBalancer remembers whether a load balancer watches this port, as far as
// could be seen while it was open: within a minute of its opening what was known before counts as well.
func (l *listener) watchBalancer(now time.Time) {
	seen := l.arrivals.since(now.Add(-balancerMemory))
	l.balancer = seen || l.balancer && now.Sub(l.openedAt) < balancerMemory
}

// balancerMemory is how far back an arrival counts (restart.ProbeFacts.Balancer).
const balancerMemory = time.Minute

func (l *listener) begin(now time.Time) {
	l.gap = false
	if !l.isOpen() {
		return
	}
	l.watchBalancer(now)
	if !l.target.Close {
		l.heldUntil = now.Add(l.target.HoldLimit)
	}
}

func (l *listener) retarget(t Target) {
	old := l.target
	known := l.hasTarget
	l.target, l.hasTarget = t, true
	if known && old.Dial == t.Dial && old.Key == t.Key {
		l.target.Check = old.Check
	}
	l.prober.metrics.introduce(t.Name)
	moved := known && (old.Host != t.Host || old.Port != t.Port)
	switch {
	case l.sock == nil && l.formerIs(t):
		l.comeBack()
	case l.sock == nil:
	case moved:
		l.move(old)
	case !known && !l.sock.at(t.Host, t.Port): // it was moved while no agent ran
		host, port := l.sock.place()
		l.move(Target{Host: host, Port: port})
	}
	if moved {
		l.bindErr, l.retryAt = nil, time.Time{}
	}
}

func (l *listener) remove(now time.Time) {
	if l.endJudge != nil {
		l.endJudge()
	}
	l.judge = nil
	if l.isOpen() {
		l.close(now)
	}
	l.prober.o.Logger.Info("probe port is given up", "listener", l.name)
	l.prober.metrics.forget(l.name)
	wait.Wake(l.prober.changed)
}

// judgeAnew starts a judge for the target as it is, in place of one for what it was.
func (l *listener) judgeAnew() {
	spawn := l.prober.spawn
	if spawn == nil || !l.hasTarget {
		return
	}
	if l.judge != nil {
		if l.judge.addr == l.target.Dial && l.judge.key == l.target.Key {
			return
		}
		l.endJudge()
	}
	j := &judge{
		addr: l.target.Dial, key: l.target.Key, check: l.target.Check,
		interval: l.prober.o.Interval, dial: l.prober.o.dial, serving: l.serving || l.presumed(),
	}
	j.report = func(v verdict) { l.judged(j, v) }
	l.judge, l.endJudge = j, spawn(j.run)
}

// judged takes a judgement over.
func (l *listener) judged(j *judge, v verdict) {
	p := l.prober
	p.mu.Lock()
	defer p.mu.Unlock()
	if l.judge != j {
		return // of a target that is no more
	}
	p.metrics.judged(l.name, v)
	if v.answer == keep {
		return
	}
	now, was := time.Now(), l.serving
	l.at, l.serving, l.why = v.at, v.answer == up, v.why
	if l.serving && !was && now.Before(l.heldUntil) {
		l.arrivals.reset()
	}
	l.settle(now)
	wait.Wake(p.wake)
}

func (l *listener) facts() restart.ProbeFacts {
	f := restart.ProbeFacts{
		At: l.at, Serving: l.serving, Open: l.isOpen(),
		Balancer: l.balancer, Answered: l.arrivals.count(), Gap: l.gap,
	}
	now := time.Now()
	switch {
	case l.bindErr != nil:
		f.Why = l.bindErr.Error()
	case !l.isOpen() && (l.serving || l.presumed()) && !now.Before(l.standsUntil()):
		f.Why = fmt.Sprintf("could not be judged for %s; the agent's log says why",
			now.Sub(l.standsUntil().Add(-l.prober.o.StandFor)).Round(time.Second))
	case l.serving:
	case l.at.IsZero():
		f.Why = "not judged yet"
	default:
		f.Why = l.why
	}
	return f
}

// closedBecause is why the port should not be open.
func (l *listener) closedBecause() string {
	f := l.facts()
	switch {
	case f.Why != "":
		return f.Why
	case time.Now().Before(l.closedUntil()):
		return "closed for a planned restart"
	case !l.mayOpen():
		return "serves, and is not activated on all brokers yet"
	}
	return ""
}

// arrived is called for each probe that came to a socket.
func (l *listener) arrived(s *socket) {
	if !s.former.Load() && !l.asked.Swap(true) {
		wait.Wake(l.prober.wake) // the former place is not needed any more
	}
	l.answered()
}

// answered counts a probe that was answered, over TCP at whichever place, or HTTP.
func (l *listener) answered() {
	now := time.Now()
	l.prober.metrics.arrived(l.name, now)
	// Who waits for some probes needs to know of each; at rest nobody does.
	if l.arrivals.add(now) <= tellAnswers {
		wait.Wake(l.prober.changed)
	}
}

// tellAnswers is how many of the first answered probes are a change each.
const tellAnswers = 16

// tell logs a transition, counts it, and signals the change.
func (l *listener) tell() {
	now := transition{allowed: l.mayOpen(), open: l.isOpen(), serving: l.serving}
	if l.former != nil {
		now.former = l.former.port
	}
	if l.bindErr != nil {
		now.fault = l.bindErr.Error()
	}
	was := l.told
	if now == was {
		return
	}
	l.told = now
	l.prober.metrics.set(l.name, was, now)
	log := l.prober.o.Logger.With(slog.String("listener", l.name))
	switch {
	case now.fault != "" && now.fault != was.fault:
		log.Warn("probe port cannot be opened", "err", l.bindErr)
	case now.open && !was.open:
		log.Info("probe port opens", "port", l.target.Port)
	case !now.open && was.open:
		log.Info("probe port closes", "port", l.target.Port, "why", l.closedBecause())
	case now.serving && !was.serving:
		log.Info("listener serves", "open", now.open)
	case !now.serving && was.serving:
		log.Info("listener does not serve", "open", now.open, "why", l.why)
	}
	wait.Wake(l.prober.changed)
}

// arrivals is the memory of the probes that were answered.
type arrivals struct {
	mu       sync.Mutex
	last     time.Time
	answered int
}

func (a *arrivals) add(now time.Time) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.last = now
	a.answered++
	return a.answered
}

func (a *arrivals) reset() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.answered = 0
}

func (a *arrivals) count() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.answered
}

// since is true if a probe was answered at t or later.
func (a *arrivals) since(t time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return !a.last.IsZero() && !a.last.Before(t)
}

func (l *listener) line(now time.Time) (bool, string) {
	if l.want(now) {
		switch {
		case l.serving:
			return true, fmt.Sprintf("%s serves", l.name)
		case now.Before(l.heldUntil):
			return true, fmt.Sprintf("%s is held open through a planned restart", l.name)
		default:
			return true, fmt.Sprintf("%s is not judged yet", l.name)
		}
	}
	return false, fmt.Sprintf("%s is closed: %s", l.name, l.closedBecause())
}
