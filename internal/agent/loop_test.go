package agent_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"example.com/kpls-agent/internal/agent"
	"example.com/kpls-agent/internal/restart"
)

// world is a one-broker cluster in fake time: everything a loop reaches.
type world struct {
	log       bytes.Buffer // of the loop
	mu        sync.Mutex
	view      *restart.View
	offset    int64
	read      time.Time
	running   map[string]string
	process   string
	up        bool
	file      string
	lastGood  string
	journal   restart.Journal
	restarts  int
	appendErr error
	lost      bool // what is appended has no outcome
	applyErr  error
	badStart  bool
	denied    error // why the unit must not be restarted
	stuck     time.Duration
	slow      time.Duration // of a look at the cluster
	asked     time.Time     // when the first restart was asked for
	allowed   []string
	planned   bool // what the probes were told last
	phases    []restart.Phase
	beats     []time.Time
	told      []time.Time   // when each status came into the log
	settled   []string      // what the file was
	hang      chan struct{} // while not nil, nothing is known of the unit
	ch        chan struct{}
}

func newWorld() *world {
	return &world{view: restart.NewView(), read: time.Now(), running: map[string]string{}, process: "p1", up: true, file: "old", ch: make(chan struct{}, 1)}
}

func (w *world) Append(ctx context.Context, records ...restart.Record) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.lost {
		w.mu.Unlock()
		<-ctx.Done()
		w.mu.Lock()
		return ctx.Err()
	}
	if w.appendErr != nil {
		return w.appendErr
	}
	if !w.up {
		return errors.New("no broker")
	}
	v := w.view.Clone()
	for _, r := range records {
		r.Offset, r.Time = w.offset, time.Now()
		if strings.HasPrefix(r.Key, "status/") {
			w.told = append(w.told, r.Time)
		}
		w.offset++
		v.Fold(r)
	}
	w.view, w.read = v, time.Now()
	select {
	case w.ch <- struct{}{}:
	default:
	}
	return nil
}

func (w *world) Facts() restart.LogFacts {
	w.mu.Lock()
	defer w.mu.Unlock()
	return restart.LogFacts{At: w.read, View: w.view}
}

func (w *world) Sync(context.Context) error { return nil }

func (w *world) Changed() <-chan struct{} { return w.ch }

func (w *world) Observe(context.Context) restart.ClusterFacts {
	at := time.Now()
	time.Sleep(w.slow)
	w.mu.Lock()
	defer w.mu.Unlock()
	f := restart.ClusterFacts{At: at, MinISR: map[string]int{"t": 1}, Brokers: []int32{1}}
	if !w.up {
		f.Err = "connection refused"
		return f
	}
	f.Quorum = &restart.Quorum{Leader: 1, Voters: []restart.Voter{{ID: 1}}}
	f.Views = []restart.BrokerView{{Broker: 1, Alive: []int32{1}, Topics: []restart.Topic{
		{Name: "t", Partitions: []restart.Partition{{Leader: 1, Replicas: []int32{1}, ISR: []int32{1}}}},
	}}}
	return f
}

func (w *world) Running(context.Context) restart.RunningFacts {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.up {
		return restart.RunningFacts{At: time.Now(), Err: "connection refused"}
	}
	return restart.RunningFacts{At: time.Now(), Listeners: maps.Clone(w.running)}
}

type worldUnit struct{ *world }

func (u worldUnit) Changed() <-chan struct{} { return nil }

func (u worldUnit) MayRestart(context.Context) error { return u.denied }

func (u worldUnit) State(context.Context) restart.UnitFacts {
	if u.hang != nil {
		<-u.hang
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	f := restart.UnitFacts{At: time.Now(), State: restart.UnitRunning, Invocation: u.process}
	switch {
	case !u.up && u.process == "":
		f.State, f.Invocation = restart.UnitStopped, ""
	case !u.up:
		f.State, f.Detail = restart.UnitFailed, "exit-code 1"
	}
	return f
}

func (u worldUnit) Restart(ctx context.Context) error {
	u.mu.Lock()
	if u.asked.IsZero() {
		u.asked = time.Now()
	}
	u.mu.Unlock()
	select {
	case <-time.After(3*time.Second + u.stuck):
	case <-ctx.Done():
		return ctx.Err()
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.restarts++
	u.process += "+"
	u.running = map[string]string{}
	u.up = true
	if u.file == "new" {
		u.running["EXTERNAL"] = "x"
		u.up = !u.badStart
	}
	return nil
}

func (w *world) Manifest(restart.RunningFacts) restart.ManifestFacts {
	w.mu.Lock()
	defer w.mu.Unlock()
	return restart.ManifestFacts{
		Hash: "h1", Cluster: "c", Listeners: map[string]string{"EXTERNAL": "x"}, FileChanges: w.file != "new",
		Zones: map[int32]string{1: ""}, Table: true, MaxUnavailable: 1, Soak: 10 * time.Second,
	}
}

func (w *world) LastGood() bool { w.mu.Lock(); defer w.mu.Unlock(); return w.file == w.lastGood }
func (w *world) Apply(string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.applyErr != nil {
		return w.applyErr
	}
	if w.file != "new" {
		w.lastGood, w.file = w.file, "new"
	}
	return nil
}

func (w *world) Restore() error { w.mu.Lock(); defer w.mu.Unlock(); w.file = w.lastGood; return nil }

func (w *world) SaveJournal(j restart.Journal) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.journal = j
	return nil
}

type worldProbes struct{ *world }

func (p worldProbes) Facts() map[string]restart.ProbeFacts {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, serving := p.running["EXTERNAL"]
	return map[string]restart.ProbeFacts{"EXTERNAL": {At: time.Now(), Serving: serving && p.up, Open: serving && slices.Contains(p.allowed, "EXTERNAL")}}
}

func (p worldProbes) Set(allowed []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.allowed = allowed
}

func (p worldProbes) Begin() { p.mu.Lock(); defer p.mu.Unlock(); p.planned = true }

func (p worldProbes) End()                     { p.mu.Lock(); defer p.mu.Unlock(); p.planned = false }
func (p worldProbes) Changed() <-chan struct{} { return nil }

func (w *world) start(ctx context.Context, crash func(agent.Point)) <-chan error {
	l := w.loop(crash)
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	return done
}

func (w *world) loop(crash func(agent.Point)) *agent.Loop {
	return agent.NewLoop(agent.LoopOptions{
		Agent: agent.Options{
			Options: restart.Options{Self: 1, Agent: "t", StartTimeout: time.Minute, ProgressTimeout: time.Minute, Takeover: time.Minute},
			Nonce:   func() string { return time.Now().String() },
		},
		Journal: w.journal, Log: w, Cluster: w, Unit: worldUnit{w}, Files: w, Probes: worldProbes{w},
		Manifest: make(chan struct{}), Logger: slog.New(slog.NewTextHandler(&w.log, nil)), Metrics: agent.NewMetrics(), Crash: crash,
		Settled: func() {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.settled = append(w.settled, w.file)
		},
		Beat: func(st restart.Status) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.beats = append(w.beats, time.Now())
			if n := len(w.phases); n == 0 || w.phases[n-1] != st.Phase {
				w.phases = append(w.phases, st.Phase)
			}
		},
	})
}

// TestLoopWastesNoTime: between a manifest and the first stop there are three
// looks at the cluster (to know the order, after the claim, before the restart),
// and nothing else that takes time.
func TestLoopWastesNoTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.slow = 300 * time.Millisecond
		begun := time.Now()
		ctx, cancel := context.WithCancel(t.Context())
		done := w.start(ctx, nil)
		time.Sleep(time.Minute)
		cancel()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if took := w.asked.Sub(begun); w.asked.IsZero() || took > 3*w.slow {
			t.Errorf("the restart was asked for %s after the manifest was there, want at most %s", took, 3*w.slow)
		}
	})
}

func TestLoopRollsOneBroker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.stuck = time.Minute // a slow controlled shutdown silences nobody
		ctx, cancel := context.WithCancel(t.Context())
		done := w.start(ctx, nil)
		time.Sleep(3 * time.Minute)
		cancel()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if w.restarts != 1 || w.running["EXTERNAL"] != "x" {
			t.Errorf("restarts %d, runs %v", w.restarts, w.running)
		}
		if len(w.view.Claims) != 0 || !slices.Equal(w.allowed, []string{"EXTERNAL"}) {
			t.Errorf("claims %v, probes allowed %v", w.view.Claims, w.allowed)
		}
		if last := w.phases[len(w.phases)-1]; last != restart.PhaseIdle {
			t.Errorf("phases %v", w.phases)
		}
		if log := w.log.String(); strings.Count(log, "msg=transition") != strings.Count(log, "level=INFO msg=transition") {
			t.Errorf("a roll-out without a fault says:\n%s", log)
		}
		for i := 1; i < len(w.beats); i++ {
			if gap := w.beats[i].Sub(w.beats[i-1]); gap > 2*agent.BeatEvery {
				t.Fatalf("no beat for %s", gap)
			}
		}
		for i := 1; i < len(w.told); i++ {
			if gap := w.told[i].Sub(w.told[i-1]); gap > restart.Heartbeat(1)+agent.BeatEvery {
				t.Fatalf("the other agents heard nothing for %s", gap)
			}
		}
	})
}

// TestLoopSettles: a broker that waits for the agent starts with the right file.
func TestLoopSettles(t *testing.T) {
	for _, c := range []struct {
		name string
		set  func(*world)
		want string
	}{
		{"first boot", func(w *world) { w.up, w.process = false, "" }, "new"},
		{"the broker runs", func(*world) {}, "old"},
		{"the file cannot be written", func(w *world) { w.up, w.process, w.applyErr = false, "", errors.New("disk full") }, "old"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld()
				c.set(w)
				ctx, cancel := context.WithCancel(t.Context())
				done := w.start(ctx, nil)
				synctest.Wait()
				if !slices.Equal(w.settled, []string{c.want}) {
					t.Errorf("settled with the files %q, want %q", w.settled, c.want)
				}
				time.Sleep(time.Minute)
				synctest.Wait()
				if len(w.settled) != 1 {
					t.Errorf("settled %d times", len(w.settled))
				}
				cancel()
				<-done
			})
		})
	}
}

// Who cannot write to the log is silent to all others, so its own log must say why, once.
func TestLoopSaysThatItCannotTell(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.appendErr = errors.New("not authorized")
		ctx, cancel := context.WithCancel(t.Context())
		done := w.start(ctx, nil)
		time.Sleep(10 * time.Minute)
		cancel()
		<-done
		if n := strings.Count(w.log.String(), `msg="the status cannot be written for the other agents" err="not authorized"`); n != 1 {
			t.Errorf("said %d times:\n%s", n, w.log.String())
		}
	})
}

// TestLoopEndsInSilence: a question that the agent's own end cuts short says nothing of the broker.
func TestLoopEndsInSilence(t *testing.T) {
	w := newWorld()
	w.hang = make(chan struct{})
	ctx, end := context.WithCancel(t.Context())
	done := w.start(ctx, nil)
	end()
	close(w.hang)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if w.log.Len() > 0 || len(w.beats) > 0 {
		t.Errorf("%d beats, and\n%s", len(w.beats), &w.log)
	}
}

// TestLoopSaysThatItEnds: the last record is marked, the process that follows takes the mark back, and a log that does
// not answer keeps nobody for longer than 2 s.
func TestLoopSaysThatItEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		run := func(last func()) restart.Status {
			ctx, cancel := context.WithCancel(t.Context())
			done := w.start(ctx, nil)
			time.Sleep(3 * time.Minute)
			if st := w.Facts().View.Statuses[1]; st.Ended || st.Phase != restart.PhaseIdle {
				t.Errorf("while it runs: %+v", st)
			}
			last()
			cancel()
			<-done
			return w.Facts().View.Statuses[1]
		}
		st := run(func() {})
		if !st.Ended || st.Phase != restart.PhaseIdle || st.Took < 10 || st.Took > 20 {
			t.Errorf("after the end: %+v", st) // the restart takes 3 s and the soak 10 s
		}
		if again := run(func() {}); !again.Ended || again.Took != st.Took {
			t.Errorf("another process measured nothing and keeps what was measured: %+v", again)
		}
		begun := time.Now()
		run(func() {
			begun = time.Now()
			w.mu.Lock()
			w.lost = true
			w.mu.Unlock()
		})
		if took := time.Since(begun); took != 2*time.Second {
			t.Errorf("the end took %s", took)
		}
	})
}

// TestStuckLoopDoesNotBeat: nothing else feeds the watchdog for it.
func TestStuckLoopDoesNotBeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.hang = make(chan struct{})
		ctx, cancel := context.WithCancel(t.Context())
		done := w.start(ctx, nil)
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if len(w.beats) != 0 || len(w.settled) != 0 {
			t.Errorf("%d beats, settled %v", len(w.beats), w.settled)
		}
		close(w.hang)
		time.Sleep(agent.BeatEvery)
		synctest.Wait()
		if len(w.beats) == 0 || len(w.settled) == 0 {
			t.Error("no beat after it went on")
		}
		cancel()
		<-done
	})
}

func TestLoopPutsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.badStart = true
		ctx, cancel := context.WithCancel(t.Context())
		done := w.start(ctx, nil)
		time.Sleep(3 * time.Minute)
		cancel()
		<-done
		if w.restarts != 2 || w.file != "old" || !w.up {
			t.Errorf("restarts %d, file %s, up %v", w.restarts, w.file, w.up)
		}
		st := w.view.Statuses[1]
		if h, ok := w.view.Halts["h1"]; !ok || !strings.Contains(h.Why, "ended after its restart") || st.Phase != restart.PhaseFailed {
			t.Errorf("halts %v, status %+v", w.view.Halts, st)
		}
		for _, phase := range []restart.Phase{restart.PhaseRollback, restart.PhaseFailed} {
			if !strings.Contains(w.log.String(), "level=ERROR msg=transition phase="+string(phase)) {
				t.Errorf("%s is no error in the log:\n%s", phase, &w.log)
			}
		}
	})
}

// TestLoopTakesTheHoldOver: the probes of a new agent process learn of the restart that
// an earlier one was in the middle of before anything else happens, and of its end.
func TestLoopTakesTheHoldOver(t *testing.T) {
	for name, c := range map[string]struct {
		step restart.Stage
		ago  time.Duration
		want bool
	}{
		"asked for":       {restart.StageRestart, time.Second, true},
		"being proved":    {restart.StageProve, 20 * time.Second, true},
		"long ago":        {restart.StageProve, 31 * time.Second, false},
		"not yet":         {restart.StageApply, time.Second, false},
		"nothing to hold": {restart.StageNone, time.Second, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld()
				w.journal = restart.Journal{
					Version: restart.JournalVersion, Stage: c.step, Intent: restart.Intent{Target: "h1", Listeners: map[string]string{"EXTERNAL": "x"}},
					Followed: restart.Followed{Invocation: w.process, Started: time.Now().Add(-c.ago)},
				}
				ctx, cancel := context.WithCancel(t.Context())
				l := w.loop(nil)
				if w.planned != c.want {
					t.Errorf("the probes were told %t before the loop ran, want %t", w.planned, c.want)
				}
				done := make(chan error, 1)
				go func() { done <- l.Run(ctx) }()
				time.Sleep(3 * time.Minute)
				cancel()
				if err := <-done; err != nil {
					t.Fatal(err)
				}
				if w.planned {
					t.Error("the probes were never told that the restart has ended")
				}
			})
		})
	}
}

// TestLoopDiesAnywhere ends the agent process before and after every action of a
// roll-out, and of a rollback, once each, and lets a new one go on. Every listed point is
// come to.
func TestLoopDiesAnywhere(t *testing.T) {
	for _, c := range []struct {
		name   string
		bad    bool
		points []agent.Point
	}{
		{"roll-out", false, agent.RollOutPoints()},
		{"rollback", true, agent.RollBackPoints()},
	} {
		for _, at := range c.points {
			t.Run(c.name+" "+string(at), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := newWorld()
					w.badStart = c.bad
					ctx, cancel := context.WithCancel(t.Context())
					var dead atomic.Bool
					died := w.start(ctx, func(p agent.Point) {
						if p == at && dead.CompareAndSwap(false, true) {
							runtime.Goexit() // this process does nothing any more
						}
					})
					time.Sleep(3 * time.Minute)
					cancel()
					<-died
					if !dead.Load() {
						t.Fatal("the agent never came there")
					}
					ctx, cancel = context.WithCancel(t.Context())
					done := w.start(ctx, nil)
					time.Sleep(3 * time.Minute)
					cancel()
					<-done
					st := w.view.Statuses[1]
					if len(w.view.Claims) != 0 || !w.up {
						t.Errorf("claims %v, up %v, %+v", w.view.Claims, w.up, st)
					}
					if c.bad {
						if _, halted := w.view.Halts["h1"]; !halted || w.file != "old" || w.restarts > 3 || st.Phase != restart.PhaseFailed {
							t.Errorf("halts %v, file %s, restarts %d, %+v", w.view.Halts, w.file, w.restarts, st)
						}
						return
					}
					if w.restarts < 1 || w.restarts > 2 || w.running["EXTERNAL"] != "x" || st.Phase != restart.PhaseIdle {
						t.Errorf("restarts %d, runs %v, %+v", w.restarts, w.running, st)
					}
				})
			})
		}
	}
}

// TestPointsAreComplete: an action that leaves a mark has its points in the list.
func TestPointsAreComplete(t *testing.T) {
	listed := append(agent.RollOutPoints(), agent.RollBackPoints()...)
	for _, bad := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld()
			w.badStart = bad
			var missing []agent.Point // one action runs at a time
			ctx, cancel := context.WithCancel(t.Context())
			done := w.start(ctx, func(p agent.Point) {
				for _, mark := range []string{"save-", "before-append", "apply", "restore", "restart"} {
					other := strings.Contains(string(p), "append-at") || strings.HasPrefix(string(p), "after-begin") // the points of appends are one
					if strings.Contains(string(p), mark) && !other && !slices.Contains(listed, p) && !slices.Contains(missing, p) {
						missing = append(missing, p)
					}
				}
			})
			time.Sleep(3 * time.Minute)
			cancel()
			<-done
			if len(missing) > 0 {
				t.Errorf("no constant for %q", missing)
			}
		})
	}
}
