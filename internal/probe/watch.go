package probe

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"
	"time"
)

// watch starts the watch of a listener unless it runs; called with p.mu held.
func (p *Prober) watch(ctx context.Context, l *listener) {
	if l.cancel != nil {
		return
	}
	ctx, l.cancel = context.WithCancel(ctx)
	w := &watcher{p: p, l: l, t: l.target, lastUp: time.Now()}
	p.watches.Go(func() { w.run(ctx) })
}

// watcher follows one listener with one held connection.
type watcher struct {
	p        *Prober
	l        *listener
	t        Target
	failures int
	lastUp   time.Time
}

func (w *watcher) run(ctx context.Context) {
	dialer := net.Dialer{Timeout: checkTimeout}
	for ctx.Err() == nil {
		conn, err := dialer.DialContext(ctx, "tcp", w.t.Dial)
		if err != nil {
			if ctx.Err() != nil {
				return
			}
			w.failed(ctx, fmt.Errorf("connect to %s: %w", w.t.Dial, err), errors.Is(err, syscall.ECONNREFUSED))
			w.pause(ctx, nil)
			continue
		}
		w.hold(ctx, conn)
	}
}

// hold checks over and over until the held connection ends. That it ended is no
// fault by itself: Kafka closes idle ones (connections.max.idle.ms).
func (w *watcher) hold(ctx context.Context, conn net.Conn) {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		var b [1]byte
		_, _ = conn.Read(b[:]) // Kafka never speaks first: this returns when the connection ends
	}()
	defer func() {
		_ = conn.Close()
		<-ended
	}()
	for {
		select {
		case <-ended:
			return
		case <-ctx.Done():
			return
		default:
		}
		w.check(ctx)
		if w.pause(ctx, ended) {
			return
		}
	}
}

func (w *watcher) check(ctx context.Context) {
	begun := time.Now()
	cctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	err := w.t.Check(cctx)
	w.p.metrics.checked(w.t.Name, time.Since(begun))
	switch {
	case ctx.Err() != nil || errors.Is(err, ErrUnknown):
	case err != nil:
		w.failed(ctx, err, false)
	default:
		w.failures, w.lastUp = 0, time.Now()
		w.judge(ctx, true, "")
	}
}

func (w *watcher) failed(ctx context.Context, err error, atOnce bool) {
	w.failures++
	if atOnce || w.failures >= failuresToDown {
		w.judge(ctx, false, err.Error())
	}
}

// pause waits for the next look; it returns true if the held connection ended or ctx did.
func (w *watcher) pause(ctx context.Context, ended <-chan struct{}) bool {
	d := w.p.o.Interval
	if w.failures > 0 {
		d = retryFast
		w.p.mu.Lock()
		if !w.p.planned && time.Since(w.lastUp) > awayLong {
			d = retrySlow
		}
		w.p.mu.Unlock()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return true
	case <-ended:
		return true
	case <-timer.C:
		return false
	}
}

// judge takes a judgement over, and opens or closes the port at once.
func (w *watcher) judge(ctx context.Context, serving bool, why string) {
	p := w.p
	p.mu.Lock()
	defer p.mu.Unlock()
	if ctx.Err() != nil {
		return // the watch was replaced
	}
	l := w.l
	changed := l.serving != serving || l.judged.IsZero()
	l.judged, l.serving, l.why = time.Now(), serving, why
	if changed {
		if serving {
			l.answered = 0
		}
		p.o.Logger.Info("listener judged", "listener", w.t.Name, "serving", serving, "why", why)
		p.metrics.transition(w.t.Name, map[bool]string{true: "up", false: "down"}[serving])
		p.signal(p.changed)
	}
	p.reconcile()
}
