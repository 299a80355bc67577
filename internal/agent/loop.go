package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"example.com/kpls-agent/internal/restart"
)

// LoopOptions are the parts that a Loop drives.
type LoopOptions struct {
	Agent   Options
	Journal restart.Journal // as found on disk
	Log     Log
	Cluster Cluster
	Unit    Unit
	Files   Files
	Probes  Probes
	// Manifest is signalled when the manifest or server.properties may have changed.
	Manifest <-chan struct{}
	Logger   *slog.Logger
	Metrics  *Metrics
	// Beat is called after every decision, and while a restart of the unit runs: at least every BeatEvery.
	Beat func(restart.Status)
	// Settled is called once, as soon as the agent knows that server.properties is right, or why it
	// cannot be. A broker that waits for the agent at boot may start then.
	Settled func()
	// Crash is called before and after each action; nil except where a test ends the agent there.
	Crash func(Point)
}

const (
	appendTimeout = 5 * time.Second
	askTimeout    = 10 * time.Second
	// lastTimeout bounds the last record of an agent that is asked to end: whoever stops the service waits for it.
	lastTimeout = 2 * time.Second
)

// Loop drives an Agent: it reads facts, carries actions out one at a time, and publishes
// statuses next to them. It decides nothing.
type Loop struct {
	o      LoopOptions
	a      Agent
	vetoed time.Time // when the metrics were last given the vetoes
	beaten time.Time // when Beat was last called
}

// NewLoop returns a loop that has read nothing yet. Where an earlier process died in the
// middle of a restart, the probes are informed here, before they judge a broker that is down
// as planned.
func NewLoop(o LoopOptions) *Loop {
	if o.Crash == nil {
		o.Crash = func(Point) {}
	}
	if o.Beat == nil {
		o.Beat = func(restart.Status) {}
	}
	if o.Settled == nil {
		o.Settled = func() {}
	}
	a, planned := New(o.Agent, o.Journal, time.Now())
	if planned {
		o.Probes.Begin()
	}
	return &Loop{o: o, a: a}
}

// outcome is an action that ended.
type outcome struct {
	do     restart.Action
	point  string
	result Result
}

// Run goes round until ctx ends, and then tells the other agents that this one ends, for lastTimeout at most: the log
// must be read until Run has returned. It returns nil: the next process takes every step up again.
func (l *Loop) Run(ctx context.Context) error {
	l.rounds(ctx)
	l.sayLast(context.WithoutCancel(ctx))
	return nil
}

// sayLast appends the last status. A log that cannot be used is not waited for: the others miss the next heartbeat.
func (l *Loop) sayLast(ctx context.Context) {
	st, ok := l.a.Last()
	if log := l.o.Log.Facts(); !ok || log.Err != "" || log.At.IsZero() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, lastTimeout)
	defer cancel()
	if err := l.o.Log.Append(ctx, restart.NewStatus(st)); err != nil {
		l.o.Logger.Info("the other agents could not be told that this one ends; they will miss its heartbeat", "err", err)
	}
}

// rounds goes round until ctx ends and nothing runs any more.
func (l *Loop) rounds(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	done, posted := make(chan outcome, 1), make(chan error, 1)
	for ctx.Err() == nil {
		wake := BeatEvery
		switch kind, _ := l.a.Doing(); kind {
		case restart.ActNone:
			l.refresh(ctx)
			if ctx.Err() != nil {
				return // what was asked by then got no answer, and says nothing
			}
			t := l.decide(ctx)
			wake = t.Wake
			if do := t.Do; do.Kind != restart.ActNone {
				facts := l.a.Facts()
				running.Go(func() { done <- l.carryOut(ctx, do, facts) })
			}
		case restart.ActRestart:
			wake = l.remind()
		default: // every other action is bounded: one that hangs is not covered up
		}
		if st, ok := l.a.Post(time.Now()); ok {
			running.Go(func() { posted <- l.post(ctx, st) })
		}
		l.await(ctx, wake, done, posted)
	}
}

// refresh reads what is cheap and out of date. What is expensive is asked for when a decision says so.
func (l *Loop) refresh(ctx context.Context) {
	needs := l.a.Needs(time.Now())
	if needs.Unit {
		l.a.SawUnit(l.askUnit(ctx))
	}
	if needs.Files {
		l.a.SawFiles(l.o.Files.Manifest(l.a.Facts().Running), l.o.Files.LastGood(), time.Now())
	}
}

// level is how much a phase matters to whoever reads the log alone.
func level(p restart.Phase) slog.Level {
	switch p {
	case restart.PhaseRollback, restart.PhaseFailed:
		return slog.LevelError
	case restart.PhaseRefused, restart.PhaseStopped:
		return slog.LevelWarn
	default:
		return slog.LevelInfo
	}
}

// decide decides on the facts, and says what has changed.
func (l *Loop) decide(ctx context.Context) Turn {
	t := l.a.Decide(time.Now(), l.o.Log.Facts(), l.o.Probes.Facts())
	if t.Allowed != nil {
		l.o.Probes.Set(t.Allowed)
	}
	if st := t.Status; t.Changed {
		attrs := []any{
			"phase", st.Phase, "reason", st.Reason.Code, "text", st.Reason.Text(), "was", t.Was, "rule", t.Rule,
		}
		if st.Reason.Broker != nil {
			attrs = append(attrs, "about_broker", *st.Reason.Broker)
		}
		l.o.Logger.Log(ctx, level(st.Phase), "transition", attrs...)
	}
	l.show(t.Status)
	if t.Settled {
		l.o.Settled()
	}
	return t
}

func (l *Loop) askUnit(ctx context.Context) restart.UnitFacts {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	return l.o.Unit.State(ctx)
}

// show gives a status to the metrics and to whoever watches this agent's life.
func (l *Loop) show(st restart.Status) {
	facts, now := l.a.Facts(), time.Now()
	l.o.Metrics.observe(st, facts)
	if l.o.Metrics != nil && now.Sub(l.vetoed) >= BeatEvery {
		l.vetoed = now
		l.o.Metrics.standing(restart.Vetoes(l.o.Agent.Self, facts))
	}
	l.beaten = now
	l.o.Beat(st)
}

// await waits for a change, the end of what runs, or the next time something is due.
func (l *Loop) await(ctx context.Context, wake time.Duration, done <-chan outcome, posted <-chan error) {
	if at := l.a.PostAt(); !at.IsZero() {
		wake = min(wake, max(0, time.Until(at)))
	}
	timer := time.NewTimer(wake)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case o := <-done:
		l.ended(ctx, o)
	case err := <-posted:
		if l.a.Posted(err, time.Now()) && ctx.Err() == nil { // others can only say that this agent is silent
			l.o.Logger.Warn("the status cannot be written for the other agents", "err", err)
		}
	case <-timer.C:
	case <-l.o.Log.Changed():
	case <-l.o.Probes.Changed():
	case <-l.o.Unit.Changed():
		l.a.Notice(Stale{Unit: true})
	case <-l.o.Manifest:
		l.a.Notice(Stale{Files: true})
	}
}

// remind shows that the agent lives while a restart of its unit runs: a controlled shutdown may
// take minutes. It returns when to call it again at the latest.
func (l *Loop) remind() time.Duration {
	if left := BeatEvery - time.Since(l.beaten); left > 0 {
		return left
	}
	l.a.Remind(time.Now())
	l.show(l.a.Status())
	return BeatEvery
}

// ended notes how an action went.
func (l *Loop) ended(ctx context.Context, o outcome) {
	if o.result.Err != nil && ctx.Err() != nil {
		return
	}
	_, begun := l.a.Doing()
	failures := l.a.Done(o.do, o.result, time.Now())
	if o.do.Kind == restart.ActRestart && !errors.Is(o.result.Err, errTooLate) {
		l.o.Metrics.restarted(time.Since(begun), o.result.Err)
	}
	if failures == 0 {
		return
	}
	if failures == 1 {
		l.o.Logger.Warn("action did not succeed", "action", o.point, "err", o.result.Err)
	}
	l.o.Metrics.failed(o.do.Kind)
}

// carryOut does one action.
func (l *Loop) carryOut(ctx context.Context, do restart.Action, facts restart.Facts) outcome {
	o := outcome{do: do, point: pointOf(do, facts.Journal.Stage)}
	l.o.Crash(Point("before-" + o.point))
	begun := time.Now()
	o.result = l.effect(ctx, do, facts)
	l.o.Logger.Debug("action done", "action", o.point, "took", time.Since(begun), "err", o.result.Err)
	l.o.Crash(Point("after-" + o.point))
	return o
}

func (l *Loop) effect(ctx context.Context, do restart.Action, facts restart.Facts) Result {
	switch do.Kind {
	case restart.ActNone:
		return Result{}
	case restart.ActAppend:
		ctx, cancel := context.WithTimeout(ctx, appendTimeout)
		defer cancel()
		return Result{Err: l.o.Log.Append(ctx, do.Records...)}
	case restart.ActObserve:
		return l.observe(ctx)
	case restart.ActRunning:
		return l.running(ctx)
	case restart.ActSave:
		if err := l.o.Files.SaveJournal(*do.Journal); err != nil {
			return Result{Err: fmt.Errorf("write the journal: %w", err)}
		}
		return Result{}
	case restart.ActApply:
		return Result{Err: l.o.Files.Apply(facts.Manifest.Hash)}
	case restart.ActRestore:
		return Result{Err: l.o.Files.Restore()}
	case restart.ActBegin:
		l.o.Probes.Begin()
		return Result{}
	case restart.ActEnd:
		l.o.Probes.End()
		return Result{}
	case restart.ActRestart:
		return l.restart(ctx, do, facts.Journal.Stage)
	}
	return Result{Err: fmt.Errorf("unknown action %q", do.Kind)}
}

func (l *Loop) observe(ctx context.Context) Result {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	f := l.o.Cluster.Observe(ctx)
	f.Took = time.Since(f.At)
	return Result{Cluster: &f}
}

func (l *Loop) running(ctx context.Context) Result {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	f := l.o.Cluster.Running(ctx)
	right := restart.RightFacts{At: time.Now()}
	if err := l.o.Unit.MayRestart(ctx); err != nil {
		right.Denied = err.Error()
	}
	return Result{Running: &f, Right: &right}
}

var errTooLate = errors.New("what allowed the restart is too old by now; it is checked again")

// restart has the unit restarted.
func (l *Loop) restart(ctx context.Context, do restart.Action, at restart.Stage) Result {
	// Wall clock and not monotonic: a VM that was suspended in between must not go on.
	if now := time.Now(); now.Round(0).After(do.NotAfter.Round(0)) {
		return Result{Err: errTooLate}
	}
	l.o.Logger.Info("restarting the unit", "stage", at)
	err := l.o.Unit.Restart(ctx)
	f := l.askUnit(ctx)
	return Result{Err: err, Unit: &f}
}

func (l *Loop) post(ctx context.Context, st restart.Status) error {
	ctx, cancel := context.WithTimeout(ctx, appendTimeout)
	defer cancel()
	return l.o.Log.Append(ctx, restart.NewStatus(st))
}
