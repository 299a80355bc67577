package sandbox

import (
	"context"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"time"
)

// Front is one port of the forwarder: one backend, as in the published procedure.
type Front struct {
	// Listen is the address clients connect to, Backend the broker's, Probe the one that decides about it.
	Listen, Backend, Probe string
}

// ForwarderOptions say how the forwarder behaves. Zero values are those of
// Azure's load balancer with the smallest interval it takes.
type ForwarderOptions struct {
	Fronts []Front
	// Interval is the time between two probes; 0 is 5 s. Timeout is how long an answer may take; 0 is Interval.
	Interval, Timeout time.Duration
	// Fall failed probes in a row take a backend out, Rise good ones bring it back; 0 is 2.
	// The first good probe of all is enough.
	Fall, Rise int
	// Silent leaves connections to a backend that is out without an answer until
	// it is back, as a load balancer that drops packets does; otherwise they are refused.
	Silent bool
}

// Forwarder stands in for the cloud's load balancer: it forwards each front to its
// backend as long as TCP probes say that the backend is fit. Connections live on
// when their backend is taken out. A backend's refusal reaches the client as a reset.
type Forwarder struct {
	opts   ForwarderOptions
	fronts []*front
}

// Probe is one probe that was sent.
type Probe struct {
	At time.Time
	OK bool
}

// Change is one change of a backend between in and out.
type Change struct {
	At time.Time
	Up bool
}

// NewForwarder returns a forwarder; Run runs it.
func NewForwarder(opts ForwarderOptions) *Forwarder {
	if opts.Interval == 0 {
		opts.Interval = 5 * time.Second
	}
	if opts.Timeout == 0 {
		opts.Timeout = opts.Interval
	}
	if opts.Fall == 0 {
		opts.Fall = 2
	}
	if opts.Rise == 0 {
		opts.Rise = 2
	}
	f := &Forwarder{opts: opts}
	for _, spec := range opts.Fronts {
		f.fronts = append(f.fronts, &front{spec: spec, opts: opts, changed: make(chan struct{})})
	}
	return f
}

// Run forwards until ctx ends or an address cannot be listened on.
func (f *Forwarder) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var running sync.WaitGroup
	for _, front := range f.fronts {
		running.Go(func() {
			if err := front.run(ctx); err != nil {
				cancel(err)
			}
		})
	}
	running.Wait()
	if err := context.Cause(ctx); err != ctx.Err() { //nolint:errorlint // identity: somebody's own cause
		return err
	}
	return nil
}

// Up is true while the backend of the i-th front is in.
func (f *Forwarder) Up(i int) bool {
	up, _ := f.fronts[i].state()
	return up
}

// Probes are all probes sent for the i-th front, oldest first.
func (f *Forwarder) Probes(i int) []Probe {
	front := f.fronts[i]
	front.mu.Lock()
	defer front.mu.Unlock()
	return slices.Clone(front.probes)
}

// Changes are all changes of the i-th front's backend, oldest first. It starts out.
func (f *Forwarder) Changes(i int) []Change {
	front := f.fronts[i]
	front.mu.Lock()
	defer front.mu.Unlock()
	return slices.Clone(front.changes)
}

// front is one running Front.
type front struct {
	spec Front
	opts ForwarderOptions

	listener net.Listener   // owned by run; nil while connections are refused
	conns    sync.WaitGroup // forwarded connections and their acceptor

	mu      sync.Mutex
	probes  []Probe       // guarded by mu
	changes []Change      // guarded by mu
	changed chan struct{} // guarded by mu; closed at the next change
}

// run probes and opens and closes the listener accordingly.
func (f *front) run(ctx context.Context) error {
	defer f.conns.Wait()
	defer f.close()
	if f.opts.Silent {
		if err := f.listen(ctx); err != nil {
			return err
		}
	}
	tick := time.NewTicker(f.opts.Interval)
	defer tick.Stop()
	row, last := 0, false
	for {
		ok := f.probe(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if ok == last {
			row++
		} else {
			row, last = 1, ok
		}
		if err := f.judge(ctx, ok, row); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// judge takes the backend in or out after row equal probes.
func (f *front) judge(ctx context.Context, ok bool, row int) error {
	f.mu.Lock()
	f.probes = append(f.probes, Probe{At: time.Now(), OK: ok})
	first := len(f.changes) == 0
	up := !first && f.changes[len(f.changes)-1].Up
	f.mu.Unlock()
	enough := f.opts.Fall
	if ok {
		enough = f.opts.Rise
	}
	if ok == up || (row < enough && (!first || !ok)) {
		return nil
	}
	if !f.opts.Silent {
		f.close()
		if ok {
			if err := f.listen(ctx); err != nil {
				return err
			}
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.changes = append(f.changes, Change{At: time.Now(), Up: ok})
	close(f.changed)
	f.changed = make(chan struct{})
	return nil
}

func (f *front) state() (up bool, changed <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.changes) > 0 && f.changes[len(f.changes)-1].Up, f.changed
}

func (f *front) probe(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, f.opts.Timeout)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", f.spec.Probe)
	if err != nil {
		return false
	}
	conn.Close()
	return true
}

func (f *front) listen(ctx context.Context) error {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", f.spec.Listen)
	if err != nil {
		return fmt.Errorf("forward %s: %w", f.spec.Listen, err)
	}
	f.listener = l
	f.conns.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return // closed
			}
			f.conns.Go(func() { f.forward(ctx, conn.(*net.TCPConn)) }) //nolint:errcheck // a TCP listener's
		}
	})
	return nil
}

func (f *front) close() {
	if f.listener != nil {
		f.listener.Close()
		f.listener = nil
	}
}

// forward carries one connection until both sides have ended it, or ctx ends.
func (f *front) forward(ctx context.Context, client *net.TCPConn) {
	defer client.Close()
	for up, changed := f.state(); !up; up, changed = f.state() { // only when silent
		select {
		case <-ctx.Done():
			return
		case <-changed:
		}
	}
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", f.spec.Backend)
	if err != nil {
		client.SetLinger(0) //nolint:errcheck // so that the client sees the refusal as a reset
		return
	}
	backend := conn.(*net.TCPConn) //nolint:errcheck // dialled as tcp
	defer backend.Close()
	stop := context.AfterFunc(ctx, func() { client.Close(); backend.Close() })
	defer stop()
	var back sync.WaitGroup
	back.Go(func() { pipe(client, backend) })
	pipe(backend, client)
	back.Wait()
}

// pipe copies one direction; an end goes on as an end, an error as a reset of both.
func pipe(dst, src *net.TCPConn) {
	if _, err := io.Copy(dst, src); err != nil {
		dst.SetLinger(0) //nolint:errcheck // best effort
		src.SetLinger(0) //nolint:errcheck // best effort
		dst.Close()
		src.Close()
		return
	}
	dst.CloseWrite() //nolint:errcheck // the other side may be gone
}
