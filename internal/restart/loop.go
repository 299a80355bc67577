package restart

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"
)

// LoopOptions are the parts that a Loop drives.
type LoopOptions struct {
	Machine Options
	Journal Journal // as found on disk
	Log     Log
	Cluster Cluster
	Unit    Unit
	Files   Files
	Probes  Probes
	// Manifest is signalled when the manifest or server.properties may have changed.
	Manifest <-chan struct{}
	Logger   *slog.Logger
	Metrics  *Metrics
	// Beat is called whenever the loop has gone round, at least every BeatEvery.
	Beat func(Status)
	// Settled is called once, before the first decision that leaves server.properties
	// as it is although the unit can be seen: the file is right, or it is known why
	// not, so that a broker that waits for this agent may start.
	Settled func()
	// Crash is called with the name of each step before and after it is taken;
	// nil except where a test kills the agent there.
	Crash func(point string)
}

// Times the shell keeps. They bound how long it can be deaf.
const (
	// BeatEvery is how often Beat is called at least.
	BeatEvery     = 5 * time.Second
	appendTimeout = 5 * time.Second
	askTimeout    = 10 * time.Second
	// postPace is the least time between two statuses of this agent, postRetry the
	// first pause after one that could not be appended; it doubles up to postRetryMax.
	postPace, postRetry, postRetryMax = 100 * time.Millisecond, 200 * time.Millisecond, 5 * time.Second
	// unitPace and filesPace: how old the unit's state and the files may be while
	// a restart is under way, and at rest, where signals come for both.
	unitPace, unitRest   = 200 * time.Millisecond, 10 * time.Second
	filesPace, filesRest = time.Second, 10 * time.Second
)

// Loop is the shell around a Machine: it gathers facts, asks the machine, and
// does the one thing that comes back. It decides nothing itself.
type Loop struct {
	o       LoopOptions
	m       *Machine
	facts   Facts
	filesAt time.Time
	posts   chan Status
	posted  Status
	postAt  time.Time
	last    Status
	vetoed  time.Time // when the metrics were last told of the vetoes
}

// NewLoop returns a loop that has not looked at anything yet. Where an earlier
// life died in the middle of a restart, the probes are told here, before they
// judge a broker that is away as planned.
func NewLoop(o LoopOptions) *Loop {
	if o.Crash == nil {
		o.Crash = func(string) {}
	}
	if o.Beat == nil {
		o.Beat = func(Status) {}
	}
	if o.Settled == nil {
		o.Settled = func() {}
	}
	l := &Loop{o: o, m: NewMachine(o.Machine), facts: Facts{Journal: o.Journal}, posts: make(chan Status, 1)}
	if now := time.Now(); o.Journal.planned(now) {
		o.Probes.Begin()
		l.m.begun = now
	}
	return l
}

// Run goes round until ctx ends. It returns nil then: every step can be taken
// up again by the next life.
func (l *Loop) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() { defer close(done); l.publish(ctx) }()
	defer func() { cancel(); <-done }()
	var unit, manifest, settled bool
	for ctx.Err() == nil {
		l.gather(ctx, unit, manifest)
		d := l.m.Step(l.facts)
		if d.Allowed != nil {
			l.o.Probes.Set(d.Allowed)
		}
		l.tell(d.Status)
		l.o.Beat(d.Status)
		// The file, what is noted before, or what decides on it.
		writes := d.Do.Kind == ActApply || d.Do.Kind == ActRunning || d.Do.Kind == ActSave && d.Status.Phase == PhaseStopped
		if !settled && l.facts.Unit.State != UnitUnknown && !writes {
			settled = true
			l.o.Settled()
		}
		if d.Do.Kind != ActNone {
			l.do(ctx, d.Do)
			unit, manifest = false, false
			continue
		}
		unit, manifest = l.sleep(ctx, d)
	}
	return nil
}

// gather brings the cheap facts up to date; the dear ones come when the machine asks.
func (l *Loop) gather(ctx context.Context, unit, manifest bool) {
	now := time.Now()
	busy := l.facts.Journal.Step != StepNone
	if age := now.Sub(l.facts.Unit.At); unit || age >= unitRest || busy && age >= unitPace {
		l.askUnit(ctx)
	}
	if age := now.Sub(l.filesAt); manifest || age >= filesRest || busy && age >= filesPace {
		l.readFiles()
	}
	l.facts.Log = l.o.Log.Facts()
	l.facts.Probes = l.o.Probes.Facts()
	l.facts.Now = time.Now()
}

func (l *Loop) askUnit(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	l.facts.Unit = l.o.Unit.State(ctx)
}

func (l *Loop) readFiles() {
	l.facts.Manifest = l.o.Files.Manifest(l.facts.Running)
	l.facts.LastGood = l.o.Files.LastGood()
	l.filesAt = time.Now()
}

// sleep waits for a change, the machine's own wake-up, or the next beat.
func (l *Loop) sleep(ctx context.Context, d Decision) (unit, manifest bool) {
	wait := BeatEvery
	if d.Wake > 0 {
		wait = min(wait, d.Wake)
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	case <-l.o.Log.Changed():
	case <-l.o.Probes.Changed():
	case <-l.o.Unit.Changed():
		unit = true
	case <-l.o.Manifest:
		manifest = true
	}
	return unit, manifest
}

// do carries one action out and remembers how it went.
func (l *Loop) do(ctx context.Context, a Action) {
	point := string(a.Kind)
	if a.Kind == ActSave {
		point += "-" + string(a.Journal.Step)
	} else if l.facts.Journal.Step != StepNone {
		point += "-at-" + string(l.facts.Journal.Step)
	}
	l.o.Crash("before-" + point)
	begun := time.Now()
	err := l.effect(ctx, a)
	l.o.Logger.Debug("step done", "step", point, "took", time.Since(begun), "err", err)
	l.o.Crash("after-" + point)
	if err != nil && ctx.Err() != nil {
		return
	}
	switch l.facts.Done(a.Kind, err, time.Now()) {
	case 0:
		return
	case 1:
		l.o.Logger.Warn("step did not succeed", "step", point, "err", err)
	}
	l.o.Metrics.failed(a.Kind)
}

func (l *Loop) effect(ctx context.Context, a Action) error {
	switch a.Kind {
	case ActNone:
		return nil
	case ActAppend:
		ctx, cancel := context.WithTimeout(ctx, appendTimeout)
		defer cancel()
		return l.o.Log.Append(ctx, a.Records...)
	case ActObserve:
		ctx, cancel := context.WithTimeout(ctx, askTimeout)
		defer cancel()
		l.facts.Cluster = l.o.Cluster.Observe(ctx)
		l.facts.Cluster.Took = time.Since(l.facts.Cluster.At)
		return nil
	case ActRunning:
		ctx, cancel := context.WithTimeout(ctx, askTimeout)
		defer cancel()
		l.facts.Running = l.o.Cluster.Running(ctx)
		l.facts.Right = RightFacts{At: time.Now()}
		if err := l.o.Unit.MayRestart(ctx); err != nil {
			l.facts.Right.Denied = err.Error()
		}
		l.readFiles()
		return nil
	case ActSave:
		if err := l.o.Files.SaveJournal(a.Journal); err != nil {
			return fmt.Errorf("write the journal: %w", err)
		}
		l.facts.Journal = a.Journal
		return nil
	case ActApply:
		defer l.readFiles()
		return l.o.Files.Apply(l.facts.Manifest.Hash)
	case ActRestore:
		defer l.readFiles()
		return l.o.Files.Restore()
	case ActBegin:
		l.o.Probes.Begin()
		return nil
	case ActEnd:
		l.o.Probes.End()
		return nil
	case ActRestart:
		return l.restart(ctx, a)
	}
	return fmt.Errorf("unknown action %q", a.Kind)
}

var errTooLate = errors.New("what allowed the restart is too old by now; it is checked again")

// restart has the unit restarted. A controlled shutdown may take minutes: meanwhile
// this agent goes on beating and telling the others that it lives.
func (l *Loop) restart(ctx context.Context, a Action) error {
	// Wall clock and not monotonic: a VM that was suspended in between must not go on.
	if now := time.Now(); now.Round(0).After(a.NotAfter.Round(0)) {
		return errTooLate
	}
	begun := time.Now()
	l.o.Logger.Info("restarting the unit", "step", l.facts.Journal.Step)
	result := make(chan error, 1)
	go func() { result <- l.o.Unit.Restart(ctx) }()
	beat := time.NewTicker(BeatEvery)
	defer beat.Stop()
	for {
		select {
		case err := <-result:
			l.askUnit(ctx)
			l.o.Metrics.restarted(time.Since(begun), err)
			return err
		case <-beat.C:
			l.tell(l.last)
			l.o.Beat(l.last)
		}
	}
}

// tell logs a transition and hands the status to the publisher.
func (l *Loop) tell(st Status) {
	if st.Phase != l.last.Phase || st.Reason.Code != l.last.Reason.Code {
		l.o.Logger.Info("transition", "phase", st.Phase, "reason", st.Reason.Code, "text", st.Reason.Text, "was", l.last.Phase)
	}
	l.last = st
	l.o.Metrics.observe(st, l.facts)
	if now := time.Now(); l.o.Metrics != nil && now.Sub(l.vetoed) >= BeatEvery {
		l.vetoed = now
		l.o.Metrics.standing(Vetoes(l.o.Machine.Self, l.facts))
	}
	if !Due(st, l.posted, time.Since(l.postAt), len(l.facts.Log.View.Statuses)) {
		return
	}
	select {
	case <-l.posts:
	default:
	}
	l.posts <- st
	l.posted, l.postAt = st, time.Now()
}

// Due is true if a status is to be told after another one that was told some
// time ago: others learn something new from it, or it is time for a sign of life.
//
// Whom one waits for changes with every hand-over, and all who wait would tell
// it at once, to all: in a large cluster that can wait for the next sign of life.
func Due(st, told Status, ago time.Duration, agents int) bool {
	if ago >= Heartbeat(agents) || !same(st, told) {
		return true
	}
	return st.Reason.Text != told.Reason.Text && (!st.Reason.Code.queueing() || ago >= Heartbeat(agents)-Heartbeat(0))
}

// same is true if others learn nothing new from b after a, but for the words.
func same(a, b Status) bool {
	return a.Cluster == b.Cluster && a.Manifest == b.Manifest && a.Target == b.Target && a.Phase == b.Phase &&
		a.Reason.Code == b.Reason.Code && a.Up == b.Up && a.Drift == b.Drift && a.Passed == b.Passed &&
		slices.Equal(a.Serving, b.Serving) && slices.Equal(a.Open, b.Open) && slices.Equal(a.Unprotected, b.Unprotected) &&
		a.Invocation == b.Invocation && a.Storage == b.Storage && a.Zone == b.Zone && a.ManifestFault == b.ManifestFault
}

// publish appends the newest status in the background: what others see of this
// agent must not hold up what it does. Short steps that follow one another are
// told as one, so that a busy agent writes few records and its claims and
// releases need not queue behind them.
func (l *Loop) publish(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case st := <-l.posts:
			told := false
			for pause := postRetry; ; pause = min(2*pause, postRetryMax) {
				err := l.post(ctx, st)
				if err == nil || ctx.Err() != nil {
					break
				}
				if !told { // others can only say that nothing is heard of this agent
					l.o.Logger.Warn("the other agents cannot be told the status", "err", err)
					told = true
				}
				st = l.newer(ctx, st, pause)
			}
		}
		timer := time.NewTimer(postPace)
		select {
		case <-ctx.Done():
		case <-timer.C:
		}
		timer.Stop()
	}
}

func (l *Loop) post(ctx context.Context, st Status) error {
	ctx, cancel := context.WithTimeout(ctx, appendTimeout)
	defer cancel()
	return l.o.Log.Append(ctx, NewStatus(st))
}

// newer waits for another status than st, and gives st back if none came.
func (l *Loop) newer(ctx context.Context, st Status, pause time.Duration) Status {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	case st = <-l.posts:
	}
	return st
}
