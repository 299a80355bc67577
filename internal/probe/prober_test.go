package probe

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"example.com/kpls-agent/internal/restart"
	"example.com/kpls-agent/test/patience"
)

// kafka is a real listener on loopback that can be killed and started again.
type kafka struct {
	t    *testing.T
	addr string
	bad  atomic.Bool // accepts, and serves wrongly

	mu    sync.Mutex
	l     net.Listener
	conns []net.Conn
}

func newKafka(t *testing.T) *kafka {
	k := &kafka{t: t, addr: "127.0.0.1:0"}
	k.start()
	t.Cleanup(k.kill)
	return k
}

func (k *kafka) start() {
	l, err := net.Listen("tcp", k.addr)
	if err != nil {
		k.t.Fatal(err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.l, k.addr = l, l.Addr().String()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			k.mu.Lock()
			if k.l == l {
				k.conns = append(k.conns, c)
			} else {
				c.Close() // killed meanwhile
			}
			k.mu.Unlock()
		}
	}()
}

func (k *kafka) kill() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.l != nil {
		k.l.Close()
	}
	k.l = nil
	for _, c := range k.conns {
		c.Close()
	}
	k.conns = nil
}

func (k *kafka) check(context.Context) error {
	if k.bad.Load() {
		return errors.New("it serves another broker")
	}
	return nil
}

// target is a target on a free probe port.
func (k *kafka) target(name string) Target {
	return Target{Name: name, Dial: k.addr, Check: k.check, Host: "127.0.0.1", Port: freePort(k.t), HoldLimit: time.Hour, CloseLimit: time.Hour}
}

// copyOf is the socket as systemd keeps it, nil where it could not be copied.
func copyOf(t *testing.T, l *net.TCPListener) *net.TCPListener {
	t.Helper()
	f, err := l.File()
	if err != nil {
		t.Error(err)
		return nil
	}
	defer f.Close()
	c, err := net.FileListener(f)
	tcp, ok := c.(*net.TCPListener)
	if !ok {
		t.Errorf("%v is no TCP socket: %v", c, err)
	}
	return tcp
}

// tcpListen listens on loopback, and says on which port.
func tcpListen(t *testing.T) (*net.TCPListener, int) {
	t.Helper()
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	return l, portOf(t, l)
}

func portOf(t *testing.T, l net.Listener) int {
	t.Helper()
	addr, ok := l.Addr().(*net.TCPAddr)
	if !ok {
		t.Fatalf("%s is no TCP address", l.Addr())
	}
	return addr.Port
}

func freePort(t *testing.T) int {
	t.Helper()
	l, port := tcpListen(t)
	l.Close()
	return port
}

// record is what a Prober tells others.
type record struct {
	mu     sync.Mutex
	logs   bytes.Buffer
	events []string
}

func (r *record) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.logs.Write(p)
}

func (r *record) lines() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Split(strings.TrimSpace(r.logs.String()), "\n")
}

func (r *record) told() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.events)
}

func (r *record) event(s string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, s)
}

func (r *record) options(o Options) Options {
	o.Logger = slog.New(slog.NewTextHandler(r, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}))
	if o.Interval == 0 {
		o.Interval = 50 * time.Millisecond
	}
	o.OnListen = func(name string, _ *net.TCPListener) { r.event("listen " + name) }
	o.OnClose = func(name string) { r.event("close " + name) }
	return o
}

func start(t *testing.T, p *Prober) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(stop)
	return stop
}

// accepts is what a load balancer's probe finds.
func accepts(port int) bool {
	c, err := net.DialTimeout("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), 10*time.Second)
	if err != nil {
		return false
	}
	c.Close()
	return true
}

func facts(p *Prober, name string) restart.ProbeFacts { return p.Facts()[name] }

func TestPortTellsTheTruth(t *testing.T) {
	k, r := newKafka(t), &record{}
	p := New(r.options(Options{}))
	tg := k.target("EXTERNAL")
	p.SetTargets([]Target{tg})
	if f := facts(p, "EXTERNAL"); f.Serving || f.Open || f.Why != "not judged yet" || !f.At.IsZero() {
		t.Errorf("at first: %+v", f)
	}
	start(t, p)
	patience.Until(t, "it serves", func() bool { return facts(p, "EXTERNAL").Serving })
	if facts(p, "EXTERNAL").Open || accepts(tg.Port) {
		t.Error("open before it may be")
	}
	p.Set([]string{"EXTERNAL"})
	if !facts(p, "EXTERNAL").Open || !accepts(tg.Port) {
		t.Error("not open when Set returns")
	}
	k.kill()
	patience.Until(t, "it is closed", func() bool { return !accepts(tg.Port) })
	if f := facts(p, "EXTERNAL"); f.Serving || f.Open || f.Why != "connections to "+k.addr+" are refused" {
		t.Errorf("killed: %+v", f)
	}
	k.start()
	patience.Until(t, "it is open again", func() bool { return accepts(tg.Port) })
	k.bad.Store(true)
	patience.Until(t, "it is closed for serving wrongly", func() bool { return !accepts(tg.Port) })
	if f := facts(p, "EXTERNAL"); f.Why != "it serves another broker" {
		t.Errorf("wrong: %+v", f)
	}
	k.bad.Store(false)
	patience.Until(t, "it is open again", func() bool { return accepts(tg.Port) })
	p.Set(nil)
	if facts(p, "EXTERNAL").Open || accepts(tg.Port) {
		t.Error("open although it must not be")
	}
	want := []string{
		`level=INFO msg="listener serves" listener=EXTERNAL open=false`,
		fmt.Sprintf(`level=INFO msg="probe port opens" listener=EXTERNAL port=%d`, tg.Port),
		fmt.Sprintf(`level=INFO msg="probe port closes" listener=EXTERNAL port=%d why="connections to %s are refused"`, tg.Port, k.addr),
		fmt.Sprintf(`level=INFO msg="probe port opens" listener=EXTERNAL port=%d`, tg.Port),
		fmt.Sprintf(`level=INFO msg="probe port closes" listener=EXTERNAL port=%d why="it serves another broker"`, tg.Port),
		fmt.Sprintf(`level=INFO msg="probe port opens" listener=EXTERNAL port=%d`, tg.Port),
		fmt.Sprintf(`level=INFO msg="probe port closes" listener=EXTERNAL port=%d why="serves, and is not activated on all brokers yet"`, tg.Port),
	}
	if got := r.lines(); !slices.Equal(got, want) {
		t.Errorf("logged\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// The port is refused within 0.1 s of the broker's death on a quiet machine; here it only must not wait for a check.
func TestDeathIsNoticedWithoutACheck(t *testing.T) {
	k, r := newKafka(t), &record{}
	p := New(r.options(Options{Interval: time.Hour}))
	tg := k.target("EXTERNAL")
	p.SetTargets([]Target{tg})
	p.Set([]string{"EXTERNAL"})
	start(t, p)
	patience.Until(t, "it is open", func() bool { return accepts(tg.Port) })
	began := time.Now()
	k.kill()
	patience.Until(t, "it is closed", func() bool { return !accepts(tg.Port) })
	t.Logf("refused %s after the death", time.Since(began))
}

func TestWant(t *testing.T) {
	now := time.Now()
	later := now.Add(time.Second)
	cases := []struct {
		name                              string
		allowed, planned, closes, serving bool
		inherited, untold                 bool
		heldUntil                         time.Time
		want                              bool
	}{
		{name: "serves", allowed: true, serving: true, want: true},
		{name: "does not serve", allowed: true},
		{name: "serves and must not be open", serving: true},
		{name: "inherited", allowed: true, inherited: true, want: true},
		{name: "inherited, and nothing said yet", untold: true, inherited: true, want: true},
		{name: "serves, and nothing said yet", untold: true, serving: true},
		{name: "inherited and must not be open", inherited: true},
		{name: "held", allowed: true, planned: true, heldUntil: later, want: true},
		{name: "held, and must not be open any more", planned: true, heldUntil: later},
		{name: "held for too long", allowed: true, planned: true, heldUntil: now},
		{name: "held for too long, and serves again", allowed: true, planned: true, heldUntil: now, serving: true, want: true},
		{name: "was not open at the begin, and serves", allowed: true, planned: true, serving: true, want: true},
		{name: "closes for the restart", allowed: true, planned: true, closes: true, serving: true},
		{name: "closes for the restart, inherited", allowed: true, planned: true, closes: true, inherited: true},
		{name: "closes for restarts, and there is none", allowed: true, closes: true, serving: true, want: true},
	}
	for _, c := range cases {
		p := New(Options{Logger: slog.New(slog.DiscardHandler)})
		if c.planned {
			p.begun = now
		}
		if !c.untold {
			p.allowed = map[string]bool{"L": c.allowed}
		}
		l := p.newListener("L")
		l.target.Close, l.target.CloseLimit = c.closes, time.Minute
		l.serving, l.inherited, l.heldUntil = c.serving, c.inherited, c.heldUntil
		if got := l.want(now); got != c.want {
			t.Errorf("%s: got %v", c.name, got)
		}
	}
}

func TestHeldThroughARestart(t *testing.T) {
	k, r := newKafka(t), &record{}
	p := New(r.options(Options{}))
	tg := k.target("EXTERNAL")
	p.SetTargets([]Target{tg})
	p.Set([]string{"EXTERNAL"})
	start(t, p)
	patience.Until(t, "it is open", func() bool { return accepts(tg.Port) })
	patience.Until(t, "the probe is counted", func() bool { return facts(p, "EXTERNAL").Answered > 0 })
	if facts(p, "EXTERNAL").Balancer {
		t.Error("a load balancer is known before any restart")
	}
	p.Begin()
	k.kill()
	patience.Until(t, "it is known not to serve", func() bool { return !facts(p, "EXTERNAL").Serving })
	if f := facts(p, "EXTERNAL"); !f.Open || f.Gap || !f.Balancer || !accepts(tg.Port) {
		t.Errorf("held: %+v", f)
	}
	p.Begin() // again: the limit is not extended, nothing changes
	k.start()
	patience.Until(t, "it serves", func() bool { return facts(p, "EXTERNAL").Serving })
	patience.Until(t, "probes are counted from there on", func() bool { return facts(p, "EXTERNAL").Answered == 0 })
	p.End()
	if f := facts(p, "EXTERNAL"); !f.Open || f.Gap || !accepts(tg.Port) {
		t.Errorf("after: %+v", f)
	}
	if got := r.told(); !slices.Equal(got, []string{"listen EXTERNAL"}) {
		t.Errorf("the socket did not stay: %v", got)
	}
	k.kill()
	patience.Until(t, "the truth again", func() bool { return !accepts(tg.Port) })
}

func TestHoldEnds(t *testing.T) {
	for _, end := range []string{"limit", "End"} {
		t.Run(end, func(t *testing.T) {
			k, r := newKafka(t), &record{}
			p := New(r.options(Options{}))
			tg := k.target("EXTERNAL")
			if end == "limit" {
				tg.HoldLimit = time.Millisecond
			}
			p.SetTargets([]Target{tg})
			p.Set([]string{"EXTERNAL"})
			start(t, p)
			patience.Until(t, "it is open", func() bool { return accepts(tg.Port) })
			p.Begin()
			k.kill()
			if end == "End" {
				patience.Until(t, "it is known not to serve", func() bool { return !facts(p, "EXTERNAL").Serving })
				if !accepts(tg.Port) {
					t.Error("closed before the end")
				}
				p.End()
			}
			patience.Until(t, "it is closed", func() bool { return !accepts(tg.Port) })
			if f := facts(p, "EXTERNAL"); !f.Gap || !f.Balancer {
				t.Errorf("closed: %+v", f)
			}
			k.start()
			patience.Until(t, "it is open, whether ended or not", func() bool { return accepts(tg.Port) })
			if f := facts(p, "EXTERNAL"); !f.Gap || !f.Balancer {
				t.Errorf("open again: %+v", f)
			}
			patience.Until(t, "the new probes are counted", func() bool { return facts(p, "EXTERNAL").Answered > 0 })
		})
	}
}

func TestClosedForARestart(t *testing.T) {
	k, r := newKafka(t), &record{}
	p := New(r.options(Options{}))
	pool, other := k.target("POOL"), k.target("EXTERNAL")
	pool.Close = true
	p.SetTargets([]Target{pool, other})
	p.Set([]string{"POOL", "EXTERNAL"})
	start(t, p)
	patience.Until(t, "both are open", func() bool { return accepts(pool.Port) && accepts(other.Port) })
	patience.Until(t, "the probe is counted", func() bool { return facts(p, "POOL").Answered > 0 })
	p.Begin()
	if f := facts(p, "POOL"); f.Open || !f.Gap || !f.Balancer || accepts(pool.Port) {
		t.Errorf("closed: %+v", f)
	}
	if !accepts(other.Port) {
		t.Error("the held one closes as well")
	}
	k.kill()
	patience.Until(t, "it is noticed", func() bool { return !facts(p, "POOL").Serving })
	k.start()
	patience.Until(t, "it serves", func() bool { return facts(p, "POOL").Serving })
	if accepts(pool.Port) {
		t.Error("open before the end")
	}
	p.End()
	if f := facts(p, "POOL"); !f.Open || !f.Gap || f.Answered != 0 {
		t.Errorf("after: %+v", f)
	}
	for n := range 3 {
		if !accepts(pool.Port) {
			t.Error("closed after the end")
		}
		patience.Until(t, "each probe counts", func() bool { return facts(p, "POOL").Answered == n+1 })
	}
}

// A close whose restart never comes has an end, and the truth after it.
func TestCloseEnds(t *testing.T) {
	k, r := newKafka(t), &record{}
	p := New(r.options(Options{}))
	pool := k.target("POOL")
	pool.Close, pool.CloseLimit = true, time.Millisecond
	p.SetTargets([]Target{pool})
	p.Set([]string{"POOL"})
	start(t, p)
	patience.Until(t, "it is open", func() bool { return accepts(pool.Port) })
	p.Begin()
	if !facts(p, "POOL").Gap {
		t.Error("it was not closed")
	}
	patience.Until(t, "it is open again", func() bool { return accepts(pool.Port) })
	p.Begin() // the loop says it again and again
	if !facts(p, "POOL").Open {
		t.Error("closed once more for the same restart")
	}
	const said = `level=WARN msg="the planned restart is not over in time; the probe tells the truth from now on" listener=POOL limit=1ms`
	if !slices.Contains(r.lines(), said) {
		t.Errorf("the log has no %s: %q", said, r.lines())
	}
	k.kill()
	patience.Until(t, "the truth", func() bool { return !accepts(pool.Port) })
	p.End()
	k.start()
	patience.Until(t, "the truth", func() bool { return accepts(pool.Port) })
	p.SetTargets([]Target{func() Target { pool.CloseLimit = time.Hour; return pool }()})
	p.Begin()
	if facts(p, "POOL").Open {
		t.Error("the next restart closes nothing")
	}
}

// What cannot be judged any more is not called open for ever, neither an answer of
// this agent process nor of an earlier one.
func TestLastAnswerEnds(t *testing.T) {
	for _, inherited := range []bool{false, true} {
		k, r := newKafka(t), &record{}
		var blind atomic.Bool
		blind.Store(inherited)
		o := Options{StandFor: 500 * time.Millisecond}
		tg := k.target("EXTERNAL")
		tg.Check = func(context.Context) error {
			if blind.Load() {
				return ErrUnknown
			}
			return nil
		}
		if inherited {
			l, port := tcpListen(t)
			o.Inherited, tg.Port = map[string]*net.TCPListener{"EXTERNAL": l}, port
		}
		p := New(r.options(o))
		if !inherited {
			p.SetTargets([]Target{tg})
			p.Set([]string{"EXTERNAL"})
		}
		start(t, p)
		if !inherited {
			patience.Until(t, "it is open", func() bool { return accepts(tg.Port) })
			blind.Store(true)
		}
		patience.Until(t, "it is closed, also without a target", func() bool { return !accepts(tg.Port) })
		p.SetTargets([]Target{tg})
		if f := facts(p, "EXTERNAL"); f.Open || !strings.HasPrefix(f.Why, "could not be judged for ") {
			t.Errorf("inherited %v: %+v", inherited, f)
		}
		if code, line := get(t, p.Handler(), "/readyz/EXTERNAL"); code != 503 || !strings.Contains(line, "could not be judged for ") {
			t.Errorf("inherited %v: %d %s", inherited, code, line)
		}
		blind.Store(false)
		patience.Until(t, "it is judged again", func() bool { return accepts(tg.Port) })
	}
}

// Nobody takes what comes to a kept socket: it answers a bounded number of probes,
// and the next agent process counts none of them.
func TestKeptSocket(t *testing.T) {
	tcp, err := listen("127.0.0.1", 0)
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	port := portOf(t, tcp)
	for n := range backlog + 1 {
		if !accepts(port) {
			t.Fatalf("probe %d has no answer", n+1)
		}
	}
	// A time-out, not a refusal.
	c, err := net.DialTimeout("tcp", tcp.Addr().String(), 300*time.Millisecond)
	var timeout net.Error
	if err == nil {
		c.Close()
	}
	if !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Errorf("one more: %v", err)
	}
	r := &record{}
	p := New(r.options(Options{Inherited: map[string]*net.TCPListener{"EXTERNAL": tcp}}))
	start(t, p)
	if !accepts(port) {
		t.Error("the next agent process does not answer")
	}
	patience.Until(t, "its own probe is counted", func() bool { return testutil.ToFloat64(p.metrics.answered.WithLabelValues("EXTERNAL")) >= 1 })
	if n := testutil.ToFloat64(p.metrics.answered.WithLabelValues("EXTERNAL")); n > 2 { // the one that timed out may have come through
		t.Errorf("%v probes counted", n)
	}
	if since := time.Since(time.UnixMilli(int64(1e3 * testutil.ToFloat64(p.metrics.lastAnswered.WithLabelValues("EXTERNAL"))))); since > time.Minute {
		t.Errorf("the last probe was %s ago", since)
	}
}

// Whether a load balancer watches is what was seen while the port was open.
func TestBalancerMemory(t *testing.T) {
	at := func(minutes float64) time.Time {
		return time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(minutes * float64(time.Minute)))
	}
	cases := []struct {
		name           string
		known          bool
		opened, closed float64
		probes         []float64
		want           bool
	}{
		{"never any", false, 0, 10, nil, false},
		{"in the last minute", false, 0, 10, []float64{9.5}, true},
		{"long ago", true, 0, 10, []float64{8.5}, false},
		{"open too briefly to learn otherwise", true, 9.9, 10, nil, true},
		{"open too briefly to learn", false, 9.9, 10, nil, false},
	}
	for _, c := range cases {
		l := &listener{balancer: c.known, openedAt: at(c.opened)}
		for _, m := range c.probes {
			l.arrivals.add(at(m))
		}
		if l.watchBalancer(at(c.closed)); l.balancer != c.want {
			t.Errorf("%s: got %v", c.name, l.balancer)
		}
	}
}

func TestPortTaken(t *testing.T) {
	k, r := newKafka(t), &record{}
	p := New(r.options(Options{}))
	other, taken := tcpListen(t)
	tg := k.target("EXTERNAL")
	tg.Port = taken
	p.SetTargets([]Target{tg})
	p.Set([]string{"EXTERNAL"})
	start(t, p)
	patience.Until(t, "it says so", func() bool {
		return strings.HasPrefix(facts(p, "EXTERNAL").Why, fmt.Sprintf("the probe port %d is taken; process %d (", tg.Port, os.Getpid()))
	})
	if f := facts(p, "EXTERNAL"); f.Open || !f.Serving {
		t.Errorf("got %+v", f)
	}
	if v := testutil.ToFloat64(p.metrics.bindFailed.WithLabelValues("EXTERNAL")); v != 1 {
		t.Errorf("probe_bind_failed is %v", v)
	}
	other.Close()
	patience.Until(t, "it is tried again", func() bool { return facts(p, "EXTERNAL").Open })
	if f := facts(p, "EXTERNAL"); f.Why != "" || !accepts(tg.Port) {
		t.Errorf("got %+v", f)
	}
	warnings := 0
	for _, line := range r.lines() {
		// The other one may close the port just after the bind failed: then nobody is seen there, which is another warning.
		if strings.Contains(line, "level=WARN") && strings.Contains(line, "; process ") {
			warnings++
		}
	}
	if warnings != 1 {
		t.Errorf("%d warnings: %v", warnings, r.lines())
	}
}

func TestBadProbeAddresses(t *testing.T) {
	for host, want := range map[string]string{
		"192.0.2.1": "is none of this machine's",
		"broker-1":  "is no IP address",
	} {
		if _, err := listen(host, 0); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", host, err, want)
		}
	}
}

func TestTargetsChange(t *testing.T) {
	k, k2, r := newKafka(t), newKafka(t), &record{}
	p := New(r.options(Options{}))
	a, b := k.target("A"), k.target("B")
	p.SetTargets([]Target{a, b})
	p.Set([]string{"A", "B"})
	start(t, p)
	patience.Until(t, "both are open", func() bool { return facts(p, "A").Open && facts(p, "B").Open })

	// The same again, and another address of Kafka: no socket is touched.
	before := r.told()
	p.SetTargets([]Target{a, b})
	a.Dial, a.Check = k2.addr, k2.check
	p.SetTargets([]Target{a, b})
	if !facts(p, "A").Open || !facts(p, "A").Serving {
		t.Error("A lost its last answer with its address")
	}
	k.kill()
	patience.Until(t, "B is closed", func() bool { return !facts(p, "B").Open })
	at := facts(p, "A").At
	patience.Until(t, "A is judged at its new address", func() bool { return facts(p, "A").At.After(at) })
	if !facts(p, "A").Open {
		t.Error("A is judged by its old address")
	}
	if got := r.told()[len(before):]; !slices.Equal(got, []string{"close B"}) {
		t.Errorf("told %v", got)
	}

	// Another check under another key.
	a.Key, a.Check = "2", func(context.Context) error { return errors.New("no more") }
	p.SetTargets([]Target{a, b})
	patience.Until(t, "the new check counts", func() bool { return facts(p, "A").Why == "no more" })
	a.Key, a.Check = "3", k2.check
	p.SetTargets([]Target{a, b})
	patience.Until(t, "and the next", func() bool { return facts(p, "A").Open })

	// Another probe port.
	old := a.Port
	a.Port = freePort(t)
	p.SetTargets([]Target{a, b})
	if !accepts(old) || !accepts(a.Port) {
		t.Error("the port has not moved, or the one before does not answer")
	}
	patience.Until(t, "the port before closes", func() bool { return !accepts(old) })

	// And away.
	p.SetTargets([]Target{b})
	if _, there := p.Facts()["A"]; there || accepts(a.Port) {
		t.Error("A is still there")
	}
	if n := testutil.CollectAndCount(p.metrics.open); n != 1 {
		t.Errorf("%d series of probe_open", n)
	}
}

// Systemd keeps a copy of each socket. A port that closes must refuse all the
// same, and can be opened again while the copy exists.
func TestClosedInSpiteOfACopy(t *testing.T) {
	k, r := newKafka(t), &record{}
	o := r.options(Options{})
	var stored atomic.Int32
	o.OnListen = func(_ string, l *net.TCPListener) {
		f, err := l.File()
		if err != nil {
			t.Error(err)
			return
		}
		t.Cleanup(func() { f.Close() })
		stored.Add(1)
	}
	p := New(o)
	tg := k.target("EXTERNAL")
	p.SetTargets([]Target{tg})
	p.Set([]string{"EXTERNAL"})
	start(t, p)
	for n := range int32(3) {
		// The port accepts a moment before its copy is handed over.
		patience.Until(t, "it is open, and its copy is stored", func() bool { return accepts(tg.Port) && stored.Load() == n+1 })
		k.kill()
		patience.Until(t, "it is closed", func() bool { return !accepts(tg.Port) })
		k.start()
	}
}

// One life of the agent ends, the copy of its socket goes to the next one, and
// no probe in between is refused.
func TestHandedToTheNextLife(t *testing.T) {
	k, r := newKafka(t), &record{}
	o := r.options(Options{})
	copies := make(chan *net.TCPListener, 1)
	o.OnListen = func(_ string, l *net.TCPListener) { copies <- copyOf(t, l) }
	o.OnClose = func(name string) { t.Errorf("%s is given up", name) }
	p := New(o)
	tg := k.target("EXTERNAL")
	p.SetTargets([]Target{tg})
	p.Set([]string{"EXTERNAL"})
	stop := start(t, p)
	patience.Until(t, "it is open", func() bool { return facts(p, "EXTERNAL").Open })
	stop()
	if !accepts(tg.Port) {
		t.Error("refused between two lives")
	}

	r = &record{}
	o = r.options(Options{Inherited: map[string]*net.TCPListener{"EXTERNAL": <-copies}})
	p = New(o)
	if len(p.Facts()) != 0 {
		t.Error("facts of a listener that has no target")
	}
	start(t, p)
	accepts(tg.Port)
	patience.Until(t, "only the new probe is counted, not the one that waited", func() bool {
		return testutil.ToFloat64(p.metrics.answered.WithLabelValues("EXTERNAL")) == 1
	})
	tg.Check = func(context.Context) error { return ErrUnknown }
	p.SetTargets([]Target{tg})
	p.Set([]string{"EXTERNAL"})
	patience.Until(t, "it could not be judged", func() bool {
		return testutil.ToFloat64(p.metrics.checks.WithLabelValues("EXTERNAL", resultUnknown)) > 2
	})
	if f := facts(p, "EXTERNAL"); f.Serving || !f.Open || !accepts(tg.Port) {
		t.Errorf("not judged yet: %+v", f)
	}
	k.kill()
	patience.Until(t, "the first judgement closes it", func() bool { return !accepts(tg.Port) && !facts(p, "EXTERNAL").Open })
	if got := r.told(); !slices.Equal(got, []string{"close EXTERNAL"}) {
		t.Errorf("told %v", got)
	}
}

// Until Set has its first word the last answer stands, also a confirmed one; and
// it moves with its port.
func TestInheritedBeforeSet(t *testing.T) {
	for _, moves := range []bool{false, true} {
		k, r := newKafka(t), &record{}
		l, port := tcpListen(t)
		p := New(r.options(Options{Inherited: map[string]*net.TCPListener{"EXTERNAL": l}}))
		start(t, p)
		tg := k.target("EXTERNAL")
		if !moves {
			tg.Port = port
		}
		p.SetTargets([]Target{tg})
		patience.Until(t, "it serves", func() bool { return facts(p, "EXTERNAL").Serving })
		if !accepts(tg.Port) || moves && accepts(port) {
			t.Errorf("moves %v: %+v", moves, facts(p, "EXTERNAL"))
		}
		p.Set([]string{"EXTERNAL"})
		if !accepts(tg.Port) {
			t.Errorf("moves %v: closed although allowed", moves)
		}
		k.kill()
		patience.Until(t, "it is closed", func() bool { return !accepts(tg.Port) })
	}
}

func TestInheritedAndNotWanted(t *testing.T) {
	k := newKafka(t)
	for name, use := range map[string]func(p *Prober, port int){
		"no target": func(p *Prober, _ int) { p.SetTargets(nil) },
		"not allowed": func(p *Prober, port int) {
			tg := k.target("EXTERNAL")
			tg.Port = port
			p.SetTargets([]Target{tg})
			p.Set([]string{"OTHER"})
		},
		"not allowed, without a target": func(p *Prober, _ int) { p.Set([]string{"OTHER"}) },
	} {
		r := &record{}
		l, port := tcpListen(t)
		p := New(r.options(Options{Inherited: map[string]*net.TCPListener{"EXTERNAL": l}}))
		start(t, p)
		use(p, port)
		if accepts(port) {
			t.Errorf("%s: still open", name)
		}
		if got := r.told(); !slices.Equal(got, []string{"close EXTERNAL"}) {
			t.Errorf("%s: told %v", name, got)
		}
	}
}

func TestSocketAt(t *testing.T) {
	for _, c := range []struct {
		bound, host string
		want        bool
	}{
		{"127.0.0.1", "127.0.0.1", true},
		{"127.0.0.1", "127.0.0.2", false},
		{"127.0.0.1", "", false},
		{"", "", true},
		{"", "0.0.0.0", true},
		{"", "127.0.0.1", false},
	} {
		l, err := listen(c.bound, 0)
		if err != nil {
			t.Fatal(err)
		}
		s := newSocket(l, func(*socket) {}, func(net.Conn) {})
		port := portOf(t, l)
		if got := s.at(c.host, port); got != c.want {
			t.Errorf("bound to %q, wanted at %q: %v", c.bound, c.host, got)
		}
		if s.at(c.host, port+1) {
			t.Error("another port is taken for this one")
		}
		s.shut()
	}
}

// Ten thousand connections, many at a time, cost one goroutine and no memory.
func TestAbuse(t *testing.T) {
	k, r := newKafka(t), &record{}
	p := New(r.options(Options{Interval: time.Hour}))
	tg := k.target("EXTERNAL")
	p.SetTargets([]Target{tg})
	p.Set([]string{"EXTERNAL"})
	start(t, p)
	patience.Until(t, "it is open", func() bool { return facts(p, "EXTERNAL").Open })
	before := runtime.NumGoroutine()
	const clients, each = 20, 500
	var wg sync.WaitGroup
	var most atomic.Int64
	for range clients {
		wg.Go(func() {
			for range each {
				c, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(tg.Port)))
				if err != nil {
					t.Error(err)
					return
				}
				_, _ = c.Write([]byte("GET / HTTP/1.1\r\n\r\n")) // is read at most once a minute
				if tcp, ok := c.(*net.TCPConn); ok {
					_ = tcp.SetLinger(0) // do not leave 10,000 sockets in TIME_WAIT
				}
				c.Close()
				most.Store(max(most.Load(), int64(runtime.NumGoroutine())))
			}
		})
	}
	wg.Wait()
	// The kernel may drop what was reset before it was accepted.
	patience.Until(t, "they are answered", func() bool { return facts(p, "EXTERNAL").Answered > 0 })
	if n := most.Load(); n > int64(before+clients+10) {
		t.Errorf("%d goroutines, %d before", n, before)
	}
	if !accepts(tg.Port) {
		t.Error("not open after all that")
	}
	if n := len(r.lines()); n > 3 {
		t.Errorf("%d log lines", n)
	}
}

func get(t *testing.T, h http.Handler, path string) (int, string) {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil))
	return w.Code, strings.TrimSpace(w.Body.String())
}

func TestHTTP(t *testing.T) {
	k, r := newKafka(t), &record{}
	p := New(r.options(Options{}))
	h := p.Handler()
	want := func(path string, code int, text string) {
		t.Helper()
		if gotCode, got := get(t, h, path); gotCode != code || got != text {
			t.Errorf("%s: got %d %q, want %d %q", path, gotCode, got, code, text)
		}
	}
	want("/readyz", 503, "no listener is managed")
	want("/readyz/EXTERNAL", 404, "no listener of that name is managed")
	pool, tg := k.target("POOL"), k.target("EXTERNAL")
	pool.Close = true
	p.SetTargets([]Target{pool, tg})
	want("/readyz/EXTERNAL", 503, "EXTERNAL is closed: not judged yet")
	want("/readyz/other", 404, "no listener of that name is managed; those are: EXTERNAL, POOL")
	start(t, p)
	patience.Until(t, "they serve", func() bool { return facts(p, "EXTERNAL").Serving && facts(p, "POOL").Serving })
	want("/readyz/EXTERNAL", 503, "EXTERNAL is closed: serves, and is not activated on all brokers yet")
	p.Set([]string{"EXTERNAL", "POOL"})
	want("/readyz/EXTERNAL", 200, "EXTERNAL serves")
	if f := facts(p, "EXTERNAL"); f.Answered != 1 {
		t.Errorf("an answer over HTTP is no probe: %+v", f)
	}
	want("/readyz", 200, "EXTERNAL serves\nPOOL serves")
	p.Begin()
	k.kill()
	patience.Until(t, "it is noticed", func() bool { return !facts(p, "EXTERNAL").Serving && !facts(p, "POOL").Serving })
	refused := "connections to " + k.addr + " are refused"
	want("/readyz/EXTERNAL", 200, "EXTERNAL is held open through a planned restart")
	want("/readyz", 503, "EXTERNAL is held open through a planned restart\nPOOL is closed: "+refused)
	k.start()
	patience.Until(t, "it serves", func() bool { return facts(p, "POOL").Serving })
	want("/readyz/POOL", 503, "POOL is closed: closed for a planned restart")
	p.End()
	want("/readyz/POOL", 200, "POOL serves")
	k.kill()
	patience.Until(t, "it is noticed", func() bool { return !facts(p, "POOL").Serving })
	want("/readyz/POOL", 503, "POOL is closed: "+refused)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/readyz", nil))
	if w.Code != http.StatusMethodNotAllowed {
		t.Errorf("POST is answered with %d", w.Code)
	}
}

func TestMetrics(t *testing.T) {
	k, r := newKafka(t), &record{}
	p := New(r.options(Options{Interval: time.Hour}))
	tg := k.target("EXTERNAL")
	p.SetTargets([]Target{tg})
	reg := prometheus.NewPedanticRegistry()
	for _, c := range p.Collectors() {
		prometheus.WrapRegistererWithPrefix("kpls_agent_", reg).MustRegister(c)
	}
	if problems, err := testutil.GatherAndLint(reg); err != nil || len(problems) > 0 {
		t.Errorf("lint: %v %v", problems, err)
	}
	want := func(allowed, open, up, opened, answered int) {
		t.Helper()
		text := fmt.Sprintf(`
			# HELP kpls_agent_probe_allowed 1 while the listener is activated on all brokers, so its probe port may be open.
			# TYPE kpls_agent_probe_allowed gauge
			kpls_agent_probe_allowed{listener="EXTERNAL"} %d
			# HELP kpls_agent_probe_answered_total Probes answered, over TCP and HTTP.
			# TYPE kpls_agent_probe_answered_total counter
			kpls_agent_probe_answered_total{listener="EXTERNAL"} %d
			# HELP kpls_agent_probe_open 1 while the listener's probe port is open.
			# TYPE kpls_agent_probe_open gauge
			kpls_agent_probe_open{listener="EXTERNAL"} %d
			# HELP kpls_agent_probe_serving 1 while this broker is judged to serve the listener.
			# TYPE kpls_agent_probe_serving gauge
			kpls_agent_probe_serving{listener="EXTERNAL"} %d
			# HELP kpls_agent_probe_transitions_total Changes of the probe port (open, close) and of the judgement behind it (up, down).
			# TYPE kpls_agent_probe_transitions_total counter
			kpls_agent_probe_transitions_total{listener="EXTERNAL",to="close"} %d
			kpls_agent_probe_transitions_total{listener="EXTERNAL",to="down"} 0
			kpls_agent_probe_transitions_total{listener="EXTERNAL",to="open"} %d
			kpls_agent_probe_transitions_total{listener="EXTERNAL",to="up"} %d
		`, allowed, answered, open, up, opened-open, opened, up)
		if err := testutil.GatherAndCompare(reg, strings.NewReader(text), "kpls_agent_probe_allowed", "kpls_agent_probe_answered_total", "kpls_agent_probe_open",
			"kpls_agent_probe_serving", "kpls_agent_probe_transitions_total"); err != nil {
			t.Error(err)
		}
	}
	want(0, 0, 0, 0, 0)
	p.Set([]string{"EXTERNAL"})
	start(t, p)
	patience.Until(t, "it is open", func() bool { return facts(p, "EXTERNAL").Open })
	if !accepts(tg.Port) {
		t.Fatal("refused")
	}
	patience.Until(t, "it is counted", func() bool { return facts(p, "EXTERNAL").Answered == 1 })
	want(1, 1, 1, 1, 1)
	p.Set(nil)
	want(0, 0, 1, 1, 1)
}

func TestChangedIsSignalled(t *testing.T) {
	k, r := newKafka(t), &record{}
	p := New(r.options(Options{Interval: time.Hour}))
	tg := k.target("EXTERNAL")
	p.SetTargets([]Target{tg})
	start(t, p)
	next := func(what string, done func() bool) {
		t.Helper()
		deadline := time.After(patience.Long)
		for !done() {
			select {
			case <-p.Changed():
			case <-deadline:
				t.Fatalf("no signal: %s", what)
			}
		}
	}
	next("it serves", func() bool { return facts(p, "EXTERNAL").Serving })
	p.Set([]string{"EXTERNAL"})
	next("it opens", func() bool { return facts(p, "EXTERNAL").Open })
	accepts(tg.Port)
	next("a probe is answered", func() bool { return facts(p, "EXTERNAL").Answered == 1 })
	k.kill()
	next("it closes", func() bool { return !facts(p, "EXTERNAL").Open })
}
