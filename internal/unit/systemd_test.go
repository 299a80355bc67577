package unit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"
	"github.com/google/go-cmp/cmp"

	"example.com/kpls-agent/internal/restart"
	"example.com/kpls-agent/test/patience"
)

func await(t *testing.T, what string, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(patience.Long):
		t.Fatalf("never: %s", what)
	}
}

type logs struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logs) count(s string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.b.String(), s)
}

func newSystemd(t *testing.T, p *peer) (*Systemd, *logs) {
	l := &logs{}
	s := NewSystemd(SystemdOptions{Unit: testUnit, Logger: slog.New(slog.NewTextHandler(l, nil)), dial: p.dial})
	t.Cleanup(s.Close)
	return s, l
}

func run(t *testing.T, s interface{ Run(context.Context) error }) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(stop)
	return stop
}

func running(id byte) map[string]any {
	return map[string]any{
		"LoadState": "loaded", "ActiveState": "active", "SubState": "running", "Result": "success",
		"InvocationID": []byte{0xab, id}, "NRestarts": uint32(0), "ExecMainCode": int32(0), "ExecMainStatus": int32(0),
	}
}

// job is the Job property as godbus decodes it: (uo).
func job(id uint32) []any { return []any{id, dbus.ObjectPath("/")} }

func TestFacts(t *testing.T) {
	with := func(kv ...any) map[string]any {
		p := running(1)
		for i := 0; i < len(kv); i += 2 {
			p[fmt.Sprint(kv[i])] = kv[i+1]
		}
		return p
	}
	cases := []struct {
		name string
		p    map[string]any
		want restart.UnitFacts
	}{
		{"running", with(), restart.UnitFacts{State: restart.UnitRunning, Invocation: "ab01", Detail: "kafka.service is active (running)"}},
		{"reloading", with("ActiveState", "reloading", "SubState", "reload"), restart.UnitFacts{State: restart.UnitRunning, Invocation: "ab01", Detail: "kafka.service is reloading (reload)"}},
		{
			"process not seen", with("SubState", "exited"),
			restart.UnitFacts{State: restart.UnitUnknown, Invocation: "ab01", Detail: "kafka.service is active (exited); systemd does not see the broker's process, so the unit must run it in the foreground (Type=simple)"},
		},
		{"starting", with("ActiveState", "activating", "SubState", "start"), restart.UnitFacts{State: restart.UnitStarting, Invocation: "ab01", Detail: "kafka.service is activating (start)"}},
		{"stopping", with("ActiveState", "deactivating", "SubState", "stop-sigterm"), restart.UnitFacts{State: restart.UnitStopping, Invocation: "ab01", Detail: "kafka.service is deactivating (stop-sigterm)"}},
		{
			"waits for its automatic restart",
			with("ActiveState", "activating", "SubState", "auto-restart", "Result", "exit-code", "ExecMainCode", int32(1), "ExecMainStatus", int32(1), "NRestarts", uint32(2)),
			restart.UnitFacts{State: restart.UnitStarting, Invocation: "ab01", Restarts: 2, Detail: "kafka.service is activating (auto-restart), exit-code, exit status 1, automatic restarts: 2"},
		},
		{
			"about to wait for it, as systemd 254 and later say",
			with("ActiveState", "failed", "SubState", "failed-before-auto-restart", "Result", "exit-code", "ExecMainCode", int32(1), "ExecMainStatus", int32(1)),
			restart.UnitFacts{State: restart.UnitStarting, Invocation: "ab01", Detail: "kafka.service is failed (failed-before-auto-restart), exit-code, exit status 1"},
		},
		{
			"failed", with("ActiveState", "failed", "SubState", "failed", "Result", "exit-code", "ExecMainCode", int32(1), "ExecMainStatus", int32(1)),
			restart.UnitFacts{State: restart.UnitFailed, Invocation: "ab01", Detail: "kafka.service is failed (failed), exit-code, exit status 1"},
		},
		{
			"out of memory", with("ActiveState", "failed", "SubState", "failed", "Result", "oom-kill", "ExecMainCode", int32(2), "ExecMainStatus", int32(9)),
			restart.UnitFacts{State: restart.UnitFailed, Invocation: "ab01", Detail: "kafka.service is failed (failed), oom-kill, ended by signal 9"},
		},
		{
			"stopped by an operator, without SuccessExitStatus=143",
			with("ActiveState", "failed", "SubState", "failed", "Result", "exit-code", "ExecMainCode", int32(1), "ExecMainStatus", int32(143)),
			restart.UnitFacts{State: restart.UnitStopped, Invocation: "ab01", Detail: "kafka.service is failed (failed), exit-code, exit status 143"},
		},
		{
			"between the stop and the start of a restart", with("ActiveState", "inactive", "SubState", "dead", "Job", job(7)),
			restart.UnitFacts{State: restart.UnitStopped, Queued: true, Invocation: "ab01", Detail: "kafka.service is inactive (dead)"},
		},
		{
			"the same without SuccessExitStatus=143",
			with("ActiveState", "failed", "SubState", "failed", "Result", "exit-code", "ExecMainCode", int32(1), "ExecMainStatus", int32(143), "Job", job(7)),
			restart.UnitFacts{State: restart.UnitStopped, Queued: true, Invocation: "ab01", Detail: "kafka.service is failed (failed), exit-code, exit status 143"},
		},
		{"stopped", with("ActiveState", "inactive", "SubState", "dead", "Job", job(0)), restart.UnitFacts{State: restart.UnitStopped, Invocation: "ab01", Detail: "kafka.service is inactive (dead)"}},
		{
			"never started", with("ActiveState", "inactive", "SubState", "dead", "InvocationID", []byte{}),
			restart.UnitFacts{State: restart.UnitStopped, Detail: "kafka.service is inactive (dead)"},
		},
		{"masked", with("LoadState", "masked", "ActiveState", "inactive", "SubState", "dead"), restart.UnitFacts{State: restart.UnitStopped, Invocation: "ab01", Detail: "kafka.service is inactive (dead), masked"}},
		{
			"not there",
			map[string]any{"LoadState": "not-found", "ActiveState": "inactive", "SubState": "dead"},
			restart.UnitFacts{State: restart.UnitUnknown, Detail: "kafka.service is inactive (dead), not-found; name the broker's unit in the settings, or `commands` where it is one of a user's own service manager"},
		},
		{"in maintenance", with("ActiveState", "maintenance"), restart.UnitFacts{State: restart.UnitUnknown, Invocation: "ab01", Detail: "kafka.service is maintenance (running)"}},
		{"nothing known", map[string]any{}, restart.UnitFacts{State: restart.UnitUnknown, Detail: "kafka.service is in no known state (unknown)"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if d := cmp.Diff(c.want, facts(testUnit, c.p)); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestStateOverDBus(t *testing.T) {
	p := newPeer(t)
	s, _ := newSystemd(t, p)
	p.set(running(7))
	before := time.Now()
	f := s.State(t.Context())
	if f.State != restart.UnitRunning || f.Invocation != "ab07" || f.At.Before(before) {
		t.Errorf("got %+v", f)
	}
}

func TestNoBus(t *testing.T) {
	p := newPeer(t)
	p.addr += "-not"
	s, _ := newSystemd(t, p)
	f := s.State(t.Context())
	if f.State != restart.UnitUnknown || f.At.IsZero() || !strings.Contains(f.Detail, "connect to systemd over D-Bus") || !strings.Contains(f.Detail, "two commands") {
		t.Errorf("got %+v", f)
	}
	if err := s.Restart(t.Context()); err == nil || !strings.Contains(err.Error(), "connect to systemd over D-Bus") {
		t.Errorf("got %v", err)
	}
}

// A bus that accepts and says nothing costs the caller no more than its own time.
func TestSilentBus(t *testing.T) {
	p := newPeer(t)
	s, _ := newSystemd(t, p)
	s.o.dial = func(ctx context.Context) (*dbus.Conn, error) {
		return dial(ctx, func(o ...dbus.ConnOption) (*dbus.Conn, error) {
			return dbus.NewConn(silence(make(chan struct{})), o...)
		})
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if f := s.State(ctx); f.State != restart.UnitUnknown || !strings.Contains(f.Detail, context.DeadlineExceeded.Error()) && !strings.Contains(f.Detail, "closed") {
		t.Errorf("got %+v", f)
	}
}

type silence chan struct{}

func (silence) Write(p []byte) (int, error) { return len(p), nil }
func (s silence) Read([]byte) (int, error)  { <-s; return 0, errors.New("closed") }
func (s silence) Close() error              { close(s); return nil }

func TestRestart(t *testing.T) {
	for result, want := range map[string]string{
		"done":     "",
		"failed":   "restart kafka.service: systemd ended the job with \"failed\"; see `journalctl -u kafka.service`",
		"canceled": "restart kafka.service: systemd ended the job with \"canceled\"; see `journalctl -u kafka.service`",
	} {
		p := newPeer(t)
		s, _ := newSystemd(t, p)
		p.set(running(1))
		p.restart = func(*peer) (string, *dbus.Error) { return result, nil }
		err := s.Restart(t.Context())
		if want == "" && err != nil || want != "" && (err == nil || err.Error() != want) {
			t.Errorf("%s: got %v, want %q", result, err, want)
		}
	}
}

// TestEndOfAJobIsNotTold: the job has ended and no signal of it comes.
func TestEndOfAJobIsNotTold(t *testing.T) {
	still := func(p map[string]any) map[string]any {
		p["Job"] = struct {
			ID   uint32
			Path dbus.ObjectPath
		}{7, "/org/freedesktop/systemd1/job/7"}
		return p
	}
	stopped := running(1)
	stopped["ActiveState"], stopped["SubState"] = "failed", "failed"
	cases := []struct {
		name  string
		after map[string]any
		want  string // of the error; empty: none
	}{
		{"another process", running(2), ""},
		{"the process before", running(1), "did not tell how"},
		{"no process", stopped, "did not tell how"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			p := newPeer(t)
			p.set(running(1))
			p.restart = func(p *peer) (string, *dbus.Error) {
				p.set(still(running(1)))
				return "", nil
			}
			s, l := newSystemd(t, p)
			s.o.look = 20 * time.Millisecond
			ended := make(chan error, 1)
			go func() { ended <- s.Restart(t.Context()) }()
			asks := func() int {
				p.mu.Lock()
				defer p.mu.Unlock()
				return len(p.asked)
			}
			// With the job there, it goes on waiting.
			patience.Until(t, "it looks for the job", func() bool { return asks() > 8 })
			select {
			case err := <-ended:
				t.Fatalf("ended with the job still there: %v", err)
			default:
			}
			p.set(c.after)
			select {
			case err := <-ended:
				if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
					t.Errorf("Restart: %v, want %q", err, c.want)
				}
			case <-time.After(patience.Long):
				t.Fatal("the restart never ended")
			}
			if l.count("did not tell") != 1 {
				t.Error("the log does not say that no signal came")
			}
		})
	}
}

// A failed ExecStartPre= ends the job with "failed", and systemd starts the unit again by itself.
// What the peer says is what systemd 252 said (test/system, step `unit shapes`).
func TestFailedJobOfAUnitThatComesUp(t *testing.T) {
	for _, c := range []struct {
		name  string
		after map[string]any
		fails bool
	}{
		{"waits for its automatic restart", change(running(2), "ActiveState", "activating", "SubState", "auto-restart", "Result", "exit-code"), false},
		{"runs already", change(running(3), "NRestarts", uint32(1)), false},
		{"stays down", change(running(2), "ActiveState", "failed", "SubState", "failed", "Result", "exit-code"), true},
		{"was never stopped", running(1), true},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPeer(t)
			s, l := newSystemd(t, p)
			p.set(running(1))
			p.restart = func(p *peer) (string, *dbus.Error) { p.set(c.after); return "failed", nil }
			if err := s.Restart(t.Context()); (err != nil) != c.fails {
				t.Errorf("got %v", err)
			}
			if told := l.count("systemd goes on with the unit by itself"); (told == 1) == c.fails {
				t.Errorf("told %d times", told)
			}
		})
	}
}

func change(p map[string]any, kv ...any) map[string]any {
	for i := 0; i < len(kv); i += 2 {
		p[fmt.Sprint(kv[i])] = kv[i+1]
	}
	return p
}

// What systemd 252 says, look by look, of starts that come to nothing and of others.
func TestStartFailures(t *testing.T) {
	at := func(id byte, sub string, restarts, main int) map[string]any {
		active := map[string]string{"running": "active"}[sub]
		return change(running(id), "ActiveState", or(active, "activating"), "SubState", sub, "NRestarts", uint32(restarts), "ExecMainStartTimestampMonotonic", uint64(main))
	}
	exec := change(at(1, "auto-restart", 0, 70), "ExecMainCode", int32(cldExited), "ExecMainStatus", int32(203))
	exit := change(at(1, "auto-restart", 0, 70), "ExecMainCode", int32(cldExited), "ExecMainStatus", int32(1))
	for _, c := range []struct {
		name string
		seen []map[string]any
		want int
	}{
		{"none", []map[string]any{at(1, "running", 0, 70)}, 0},
		{"ExecStartPre= failed once", []map[string]any{at(1, "start-pre", 0, 0), at(1, "auto-restart", 0, 0), at(2, "start-pre", 1, 0), at(2, "running", 1, 80)}, 1},
		{"twice", []map[string]any{at(1, "auto-restart", 0, 0), at(2, "start-pre", 1, 0), at(2, "auto-restart", 1, 0), at(3, "running", 2, 90)}, 2},
		{"counted before the next start has its name", []map[string]any{at(1, "auto-restart", 0, 0), at(1, "auto-restart", 1, 0), at(2, "running", 1, 80)}, 1},
		{"the second start was not looked at", []map[string]any{at(1, "auto-restart", 0, 0), at(1, "auto-restart", 1, 0), at(3, "running", 2, 90)}, 1},
		{"Kafka itself ended", []map[string]any{at(1, "running", 0, 70), exit, at(2, "start-pre", 1, 0), at(2, "running", 1, 80)}, 0},
		{"ExecStartPre= failed and then Kafka ended", []map[string]any{at(1, "auto-restart", 0, 0), at(2, "running", 1, 80), at(2, "auto-restart", 1, 80), at(3, "running", 2, 90)}, 1},
		{"no such program at that moment", []map[string]any{exec, at(2, "running", 1, 80)}, 1},
		{"not looked at", []map[string]any{at(1, "running", 0, 70), at(2, "running", 1, 80)}, 0},
		{"the agent came later", []map[string]any{at(2, "running", 1, 80)}, 0},
		{"somebody has started it since", []map[string]any{at(1, "auto-restart", 0, 0), at(2, "running", 1, 80), at(3, "running", 0, 90)}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPeer(t)
			s, _ := newSystemd(t, p)
			var f restart.UnitFacts
			for _, props := range c.seen {
				p.set(props)
				f = s.State(t.Context())
			}
			if f.StartFailures != c.want {
				t.Errorf("got %+v, want %d", f, c.want)
			}
		})
	}
	// Those before a restart of the agent's own do not count.
	p := newPeer(t)
	s, _ := newSystemd(t, p)
	p.set(at(1, "auto-restart", 0, 0))
	s.State(t.Context())
	p.set(at(2, "start-pre", 1, 0))
	if f := s.State(t.Context()); f.StartFailures != 1 {
		t.Errorf("before: %+v", f)
	}
	p.restart = func(p *peer) (string, *dbus.Error) { p.set(at(3, "running", 1, 90)); return "done", nil }
	if err := s.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	if f := s.State(t.Context()); f.StartFailures != 0 {
		t.Errorf("after: %+v", f)
	}
}

// The operator's name of the unit may be an alias, and become one while the agent runs.
func TestAlias(t *testing.T) {
	const id, path = "confluent-server.service", "/org/freedesktop/systemd1/unit/confluent_2dserver_2eservice"
	for _, later := range []bool{false, true} {
		p := newPeer(t)
		s, _ := newSystemd(t, p)
		if later {
			p.set(change(running(1), "Id", testUnit))
			run(t, s)
			await(t, "connected", s.Changed())
			if s.ID() != testUnit {
				t.Errorf("it is called %q", s.ID())
			}
		}
		p.set(change(running(1), "Id", id))
		if later {
			s.State(t.Context())
		} else {
			run(t, s)
		}
		patience.Until(t, "its changes arrive", func() bool {
			p.changed(path)
			select {
			case <-s.Changed():
				p.mu.Lock()
				defer p.mu.Unlock()
				return slices.ContainsFunc(p.matches, func(m string) bool { return strings.Contains(m, path) })
			default:
				return false
			}
		})
		if s.ID() != id {
			t.Errorf("it is called %q", s.ID())
		}
	}
}

func TestRestartNotPermitted(t *testing.T) {
	p := newPeer(t)
	s, _ := newSystemd(t, p)
	p.restart = func(*peer) (string, *dbus.Error) {
		return "", &dbus.Error{Name: "org.freedesktop.DBus.Error.InteractiveAuthorizationRequired", Body: []any{"Interactive authentication required."}}
	}
	err := s.Restart(t.Context())
	if err == nil || !strings.HasPrefix(err.Error(), "restart kafka.service: not permitted (Interactive authentication required.); run `kpls-agent setup` as root") {
		t.Errorf("got %v", err)
	}
}

func TestRestartOfNoUnit(t *testing.T) {
	p := newPeer(t)
	s, _ := newSystemd(t, p)
	p.restart = func(*peer) (string, *dbus.Error) {
		return "", &dbus.Error{Name: "org.freedesktop.systemd1.NoSuchUnit", Body: []any{"Unit kafka.service not found."}}
	}
	if err := s.Restart(t.Context()); err == nil || err.Error() != "restart kafka.service: Unit kafka.service not found.; name the broker's unit in the settings, or `commands` where it is one of a user's own service manager" {
		t.Errorf("got %v", err)
	}
}

func TestRestartIsBounded(t *testing.T) {
	p := newPeer(t)
	s, _ := newSystemd(t, p)
	asked := make(chan struct{}, 2)
	p.restart = func(*peer) (string, *dbus.Error) { asked <- struct{}{}; return "", nil }

	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error, 1)
	go func() { result <- s.Restart(ctx) }()
	await(t, "systemd is asked", asked)
	cancel()
	if err := <-result; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}

	go func() { result <- s.Restart(t.Context()) }()
	await(t, "systemd is asked", asked)
	p.hangUp()
	if err := <-result; err == nil {
		t.Error("a restart whose connection was lost is a success")
	}
}

// Some versions of systemd keep the count of automatic restarts when a restart
// is asked for in the middle of one; what counts is those since then.
func TestRestartsCountSinceOurs(t *testing.T) {
	looping := running(1)
	looping["ActiveState"], looping["SubState"], looping["NRestarts"] = "activating", "auto-restart", uint32(5)
	for _, kept := range []bool{true, false} {
		p := newPeer(t)
		s, _ := newSystemd(t, p)
		p.set(looping)
		if f := s.State(t.Context()); f.Restarts != 5 {
			t.Errorf("before: %d", f.Restarts)
		}
		p.restart = func(p *peer) (string, *dbus.Error) {
			now := running(2)
			if kept {
				now["NRestarts"] = uint32(5)
			}
			p.set(now)
			return "done", nil
		}
		if err := s.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
		if f := s.State(t.Context()); f.Restarts != 0 {
			t.Errorf("kept %v: after ours: %d", kept, f.Restarts)
		}
		again := running(3)
		again["NRestarts"] = uint32(1)
		if kept {
			again["NRestarts"] = uint32(6)
		}
		p.set(again)
		if f := s.State(t.Context()); f.Restarts != 1 {
			t.Errorf("kept %v: after one of systemd's own: %d", kept, f.Restarts)
		}
	}
}

func TestChanged(t *testing.T) {
	p := newPeer(t)
	s, l := newSystemd(t, p)
	run(t, s)
	await(t, "the first connection is a change", s.Changed())
	p.changed("/org/freedesktop/systemd1/unit/kafka_2eservice")
	await(t, "the unit's change", s.Changed())

	// Other units do not wake the agent: the bus is not even asked for them.
	p.mu.Lock()
	for _, m := range p.matches {
		if strings.Contains(m, "PropertiesChanged") && !strings.Contains(m, "path='/org/freedesktop/systemd1/unit/kafka_2eservice'") {
			t.Errorf("asks for all units: %s", m)
		}
	}
	if slices.Contains(p.asked, "GetUnit") || slices.Contains(p.asked, "ListUnits") {
		t.Errorf("asks too much: %v", p.asked)
	}
	p.mu.Unlock()

	p.hangUp()
	patience.Until(t, "the loss is logged", func() bool { return l.count("no connection to systemd") == 1 })
	patience.Until(t, "the return is logged", func() bool { return l.count("connected to systemd again") == 1 })
	await(t, "the loss or the new connection is a change", s.Changed())
	patience.Until(t, "changes arrive again", func() bool {
		p.changed("/org/freedesktop/systemd1/unit/kafka_2eservice")
		select {
		case <-s.Changed():
			return true
		default:
			return false
		}
	})
}

// Where systemd does not let the agent subscribe, it still answers questions.
func TestStateWithoutSubscription(t *testing.T) {
	p := newPeer(t)
	p.subError = true
	p.set(running(1))
	s, l := newSystemd(t, p)
	stop := run(t, s)
	patience.Until(t, "it is logged", func() bool { return l.count("no connection to systemd") == 1 })
	if f := s.State(t.Context()); f.State != restart.UnitRunning {
		t.Errorf("got %+v", f)
	}
	stop()
	if l.count("\n") != 1 {
		t.Errorf("logged more than once: %s", l.b.String())
	}
}
