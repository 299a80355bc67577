package probe

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// broker is a listener's process as a judge meets it, in fake time.
type broker struct {
	mu      sync.Mutex
	dialErr error                       // what a connection attempt ends with
	check   func(context.Context) error // nil serves
	conns   []net.Conn                  // its ends of the connections held to it
	dials   int
	checks  int
	running int // checks that have not come back
	most    int
	brief   bool // it hangs up on everyone at once
}

var (
	errRefused = &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
	errReset   = &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ECONNRESET)}
	errNoFiles = &net.OpError{Op: "dial", Err: os.NewSyscallError("socket", syscall.EMFILE)}
)

func (b *broker) dial(context.Context, string, string) (net.Conn, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.dials++
	if b.dialErr != nil {
		return nil, b.dialErr
	}
	ours, theirs := net.Pipe()
	b.conns = append(b.conns, theirs)
	if b.brief {
		theirs.Close()
	}
	return ours, nil
}

func (b *broker) ask(ctx context.Context) error {
	b.mu.Lock()
	check := b.check
	b.checks++
	b.running++
	b.most = max(b.most, b.running)
	b.mu.Unlock()
	defer func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.running--
	}()
	if check == nil {
		return nil
	}
	return check(ctx)
}

func (b *broker) set(change func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	change()
}

// hangUp ends every connection; the caller holds mu.
func (b *broker) hangUp() {
	for _, c := range b.conns {
		c.Close()
	}
	b.conns = nil
}

func (b *broker) kill() { b.set(func() { b.dialErr = errRefused; b.hangUp() }) }

func (b *broker) counts() (dials, checks int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.dials, b.checks
}

func hang(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }

// watched is a judge at work, and its last answer.
type watched struct {
	mu   sync.Mutex
	last verdict // that was an answer
	n    int     // of verdicts of any kind
	at   time.Time
}

func (w *watched) answer() (answer, string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.last.answer, w.last.why
}

// watch starts a judge; within a bubble.
func watch(t *testing.T, b *broker, serving bool) *watched {
	w := &watched{}
	j := &judge{addr: "kafka:9092", check: b.ask, interval: defaultInterval, dial: b.dial, serving: serving}
	j.report = func(v verdict) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.n++
		if v.answer != keep {
			if v.answer != w.last.answer {
				w.at = time.Now()
			}
			w.last = v
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); j.run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	return w
}

// want waits d and then compares the last answer.
func (w *watched) want(t *testing.T, after time.Duration, want answer) {
	t.Helper()
	time.Sleep(after)
	synctest.Wait()
	if got, why := w.answer(); got != want {
		t.Fatalf("answer %d (%s), want %d", got, why, want)
	}
}

// took is how long after since the answer changed.
func (w *watched) took(since time.Time) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.at.Sub(since)
}

func TestJudgeServes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &broker{}
		w := watch(t, b, false)
		w.want(t, 0, up)
		// At rest: one held connection, one check every interval, nothing else.
		w.want(t, 100*defaultInterval, up)
		if dials, checks := b.counts(); dials != 1 || checks != 101 {
			t.Errorf("%d connections and %d checks, want 1 and 101", dials, checks)
		}
	})
}

func TestJudgeSeesTheEndAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &broker{}
		w := watch(t, b, false)
		w.want(t, time.Minute, up)
		b.kill()
		w.want(t, 0, down)
		if _, why := w.answer(); why != "connections to kafka:9092 are refused" {
			t.Errorf("why: %s", why)
		}
		// And the return.
		time.Sleep(10 * time.Minute)
		back := time.Now()
		b.set(func() { b.dialErr = nil })
		w.want(t, time.Second, up)
		if d := w.took(back); d > pauseStarting {
			t.Errorf("found after %s", d)
		}
	})
}

// The kernel may accept one last connection for a process it takes apart, and end it; or reset it.
func TestJudgeDyingBroker(t *testing.T) {
	for name, last := range map[string]func(*broker){
		"accepts": func(b *broker) { b.brief, b.check = true, func(context.Context) error { return errReset } },
		"resets":  func(b *broker) { b.dialErr = errReset },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := &broker{}
				w := watch(t, b, false)
				w.want(t, time.Minute, up)
				killed := time.Now()
				b.set(func() { b.hangUp(); last(b) })
				time.Sleep(time.Millisecond)
				b.kill()
				w.want(t, time.Second, down)
				if d := w.took(killed); d > 20*time.Millisecond {
					t.Errorf("noticed after %s", d)
				}
			})
		})
	}
}

// A check is under way, and hangs, when the process is killed.
func TestJudgeSeesTheEndDuringACheck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &broker{}
		w := watch(t, b, false)
		w.want(t, time.Second, up)
		b.set(func() { b.check = hang })
		time.Sleep(defaultInterval - 900*time.Millisecond) // the check began 100 ms ago
		if _, checks := b.counts(); checks != 2 {
			t.Fatalf("%d checks", checks)
		}
		killed := time.Now()
		b.kill()
		w.want(t, time.Second, down)
		if d := w.took(killed); d > 0 {
			t.Errorf("noticed after %s", d)
		}
	})
}

// Kafka closes connections that are idle for ten minutes.
func TestJudgeIdleConnectionClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &broker{}
		w := watch(t, b, false)
		for range 5 {
			time.Sleep(10 * time.Minute)
			b.set(b.hangUp)
		}
		w.want(t, time.Minute, up)
		if dials, _ := b.counts(); dials != 6 || w.took(time.Now()) > -50*time.Minute {
			t.Errorf("%d connections; the answer changed meanwhile", dials)
		}
	})
}

// A listener that hangs up on everyone (a limit of connections) is judged by its
// checks alone, and is not dialled in a tight loop.
func TestJudgeConnectionsEndedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &broker{brief: true}
		w := watch(t, b, true)
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if dials, _ := b.counts(); dials > 320 {
			t.Errorf("%d connections in 10 minutes", dials)
		}
		b.kill()
		w.want(t, 2*defaultInterval, down)
	})
}

func TestJudgeHungBroker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &broker{}
		w := watch(t, b, false)
		w.want(t, defaultInterval+time.Millisecond, up)
		hung := time.Now()
		b.set(func() { b.check = hang })
		w.want(t, time.Minute, down)
		if d := w.took(hung); d > 6*time.Second {
			t.Errorf("noticed after %s", d)
		}
		if _, why := w.answer(); why != "no answer within 1.2s" {
			t.Errorf("why: %s", why)
		}
		b.set(func() { b.check = nil })
		w.want(t, defaultInterval+CheckTimeout, up)
	})
}

// The host does not even accept: every attempt times out.
func TestJudgeConnectionsTimeOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &broker{dialErr: &net.OpError{Op: "dial", Err: os.ErrDeadlineExceeded}}
		w := watch(t, b, true)
		time.Sleep(0)
		synctest.Wait()
		if got, _ := w.answer(); got != keep {
			t.Fatalf("the first one is an answer: %d", got)
		}
		w.want(t, time.Second, down)
	})
}

func TestJudgeHysteresis(t *testing.T) {
	wrong := errors.New("it names another\nbroker")
	synctest.Test(t, func(t *testing.T) {
		b := &broker{}
		failing := 0
		b.check = func(context.Context) error {
			b.mu.Lock()
			defer b.mu.Unlock()
			if failing > 0 {
				failing--
				return wrong
			}
			return nil
		}
		w := watch(t, b, false)
		w.want(t, 0, up)
		for range 10 { // twice in a row is nothing
			b.set(func() { failing = Failures - 1 })
			w.want(t, 2*defaultInterval, up)
		}
		if w.took(time.Now()) > -time.Second {
			t.Error("the answer changed")
		}
		b.set(func() { failing = Failures })
		w.want(t, defaultInterval+2*pauseRetry, down)
		if _, why := w.answer(); why != "it names another broker" {
			t.Errorf("why: %q", why)
		}
		w.want(t, pauseStarting, up) // once is enough
	})
}

func TestJudgeCannotJudge(t *testing.T) {
	unknown := func(context.Context) error { return fmt.Errorf("log in: %w", ErrUnknown) }
	for name, spoil := range map[string]func(b *broker){
		"the check does not know": func(b *broker) { b.check = unknown },
		"no descriptors":          func(b *broker) { b.dialErr = errNoFiles; b.hangUp() },
		"no address":              func(b *broker) { b.dialErr = &net.DNSError{Err: "no such host", Name: "kafka"}; b.hangUp() },
	} {
		for _, last := range []answer{up, down} {
			t.Run(fmt.Sprintf("%s/%d", name, last), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					b := &broker{}
					if last == down {
						b.dialErr = errRefused
					}
					w := watch(t, b, false)
					w.want(t, time.Second, last)
					b.set(func() { b.dialErr = nil; spoil(b) })
					w.want(t, 10*time.Minute, last)
				})
			})
		}
	}
}

// A broker that starts is found soon, one that answers wrongly for long is left alone.
func TestJudgePace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &broker{check: func(context.Context) error { return errors.New("no") }}
		w := watch(t, b, false)
		w.want(t, startingFor, down)
		if _, checks := b.counts(); checks < 590 || checks > 610 {
			t.Errorf("%d checks in the first minute", checks)
		}
		w.want(t, time.Minute, down)
		if _, checks := b.counts(); checks > 650 {
			t.Errorf("%d checks in two minutes", checks)
		}
	})
}

// A check that does not heed its context is not started a second time while it runs.
func TestJudgeCheckThatDoesNotReturn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		b := &broker{}
		w := watch(t, b, false)
		w.want(t, 0, up)
		b.set(func() { b.check = func(context.Context) error { <-release; return nil } })
		w.want(t, time.Minute, down)
		b.set(func() {
			b.check = nil
			if b.most != 1 {
				t.Errorf("%d checks at a time", b.most)
			}
		})
		close(release)
		w.want(t, 2*defaultInterval, up)
	})
}

func TestJudgeEndsAtOnce(t *testing.T) {
	for name, b := range map[string]*broker{
		"holding": {}, "in a check": {check: hang}, "refused": {dialErr: errRefused},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				j := &judge{addr: "kafka:9092", check: b.ask, interval: defaultInterval, dial: b.dial, report: func(verdict) {}}
				ctx, cancel := context.WithCancel(t.Context())
				done := make(chan struct{})
				go func() { defer close(done); j.run(ctx) }()
				time.Sleep(500 * time.Millisecond)
				began := time.Now()
				cancel()
				<-done
				if d := time.Since(began); d > 0 {
					t.Errorf("took %s", d)
				}
			})
		})
	}
}
