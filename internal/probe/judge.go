package probe

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"time"

	"example.com/kpls-agent/internal/wait"
)

// The numbers of the judgement (see the package's documentation).
const (
	defaultInterval = 2 * time.Second
	// CheckTimeout bounds a connection attempt, and a check.
	CheckTimeout = 1200 * time.Millisecond
	// Failures in a row, of checks or connection attempts, mean not serving.
	Failures = 3
	// pauseRetry is the pause after a failure while the last answer still is "serves".
	pauseRetry = 200 * time.Millisecond
	// pauseStarting is the pause while the listener does not serve: a refused
	// connection costs next to nothing, and a broker that starts is found at once.
	pauseStarting = 100 * time.Millisecond
	// startingFor is how long after a connection was made the checks keep that
	// pace; a broker that answers wrongly for longer is asked every Interval.
	startingFor = time.Minute
	// pauseEnded is the first pause after a held connection ended young, which doubles
	// from one to the next, or could not be made. The first retry must be quick: the
	// kernel may accept, or reset, one last connection for a process it is taking apart.
	pauseEnded = 5 * time.Millisecond
)

type dialFunc func(ctx context.Context, network, addr string) (net.Conn, error)

// answer is what a judgement comes to.
type answer int

const (
	keep answer = iota // cannot judge, or not often enough: the last answer stands
	up
	down
)

// verdict is one judgement.
type verdict struct {
	at     time.Time // when it was begun
	answer answer
	why    string        // for down
	result string        // for the metrics
	took   time.Duration // of a check; 0 where there was none
}

// judge watches one listener. Owned by run; report is called from there.
type judge struct {
	addr, key string
	check     func(context.Context) error
	interval  time.Duration
	dial      dialFunc
	report    func(verdict)

	serving  bool // the last answer
	failures int  // in a row
	pending  *asked
}

// asked is one check. err is valid once done is closed.
type asked struct {
	done chan struct{}
	err  error
}

// run judges until ctx ends.
func (j *judge) run(ctx context.Context) {
	defer j.settlePending()
	young := pauseEnded
	for ctx.Err() == nil {
		began := time.Now()
		conn, err := j.connect(ctx)
		switch {
		case err != nil && ctx.Err() != nil:
			return
		case err != nil:
			j.noConnection(began, err)
			pause := pauseStarting
			switch {
			case j.serving && j.failures == 1:
				pause = pauseEnded
			case j.serving:
				pause = pauseRetry
			}
			wait.For(ctx, pause)
			young = pauseEnded
		default:
			j.hold(ctx, conn)
			if time.Since(began) >= j.interval {
				young = pauseEnded // and try again at once
				continue
			}
			wait.For(ctx, young)
			young = min(2*young, j.interval)
		}
	}
}

func (j *judge) connect(ctx context.Context) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, CheckTimeout)
	defer cancel()
	return j.dial(ctx, "tcp", j.addr)
}

// noConnection judges a connection that could not be made.
func (j *judge) noConnection(began time.Time, err error) {
	var timeout net.Error
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		j.say(verdict{at: began, answer: down, why: "connections to " + j.addr + " are refused", result: resultRefused})
	case errors.As(err, &timeout) && timeout.Timeout(), errors.Is(err, syscall.ECONNRESET),
		errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		j.failed(verdict{at: began, why: fmt.Sprintf("connect to %s: %v", j.addr, err)})
	default: // no sockets left, a name that does not resolve: not the broker's doing
		j.say(verdict{at: began, answer: keep, result: resultUnknown})
	}
}

// hold keeps an idle connection and checks the listener until the connection ends.
func (j *judge) hold(ctx context.Context, conn net.Conn) {
	connected := time.Now()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = io.Copy(io.Discard, conn) // Kafka says nothing unasked; any end is an end
	}()
	defer func() { _ = conn.Close(); <-ended }()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ended:
			return
		case <-timer.C:
		}
		if !j.ask(ctx, ended) {
			return
		}
		timer.Reset(j.pause(connected))
	}
}

func (j *judge) pause(since time.Time) time.Duration {
	switch {
	case j.serving && j.failures == 0:
		return j.interval
	case j.serving:
		return min(pauseRetry, j.interval)
	case time.Since(since) < startingFor:
		return min(pauseStarting, j.interval)
	default:
		return j.interval
	}
}

var errNoAnswer = fmt.Errorf("no answer within %s", CheckTimeout)

// ask checks the listener once. It is false if the connection or ctx ended
// first: then the answer does not matter any more, and nobody waits for it.
func (j *judge) ask(ctx context.Context, ended <-chan struct{}) bool {
	began := time.Now()
	limit, cancel := context.WithTimeout(ctx, CheckTimeout)
	defer cancel()
	if j.pending != nil { // an earlier check that nobody waited for: not one more at the same time
		select {
		case <-j.pending.done:
			j.pending = nil
		case <-limit.Done():
		case <-ended:
			return false
		}
	}
	if j.pending == nil {
		a := &asked{done: make(chan struct{})}
		j.pending = a
		go func() { defer close(a.done); a.err = j.check(limit) }()
	}
	var err error
	select {
	case <-j.pending.done:
		err, j.pending = j.pending.err, nil
		if limit.Err() != nil && err != nil && !errors.Is(err, ErrUnknown) {
			err = errNoAnswer
		}
	case <-limit.Done():
		err = errNoAnswer
	case <-ended:
		return false
	}
	if ctx.Err() != nil {
		return false
	}
	v := verdict{at: began, took: time.Since(began)}
	switch {
	case err == nil:
		v.answer, v.result = up, resultOK
		j.say(v)
	case errors.Is(err, ErrUnknown):
		v.result = resultUnknown
		j.say(v)
	default:
		v.why = strings.Join(strings.Fields(err.Error()), " ") // on one line
		j.failed(v)
	}
	return true
}

// failed counts; only Failures in a row are an answer.
func (j *judge) failed(v verdict) {
	v.result = resultFailed
	if j.failures++; !j.serving || j.failures >= Failures {
		v.answer = down
	}
	j.say(v)
}

func (j *judge) say(v verdict) {
	switch v.answer {
	case up:
		j.serving, j.failures = true, 0
	case down:
		j.serving = false
	case keep:
	}
	j.report(v)
}

// settlePending waits for a check whose context has ended: it must not outlive the judge.
func (j *judge) settlePending() {
	if j.pending != nil {
		<-j.pending.done
	}
}
