package supervise_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"example.com/kpls-agent/test/patience"
	"example.com/kpls-agent/test/sandbox/supervise"
)

// TestMain lets the test binary be its own monitor.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == "monitor" {
		if err := supervise.Monitor(os.Args[2]); err != nil {
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// polite is a stand-in for a broker: it says that it runs, and ends with 143 on SIGTERM.
const polite = `trap 'exit 143' TERM; echo up; while :; do sleep 0.02; done`

func controller(t *testing.T) supervise.Controller {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return supervise.Controller{Program: program}
}

func newDir(t *testing.T, script string, change func(*supervise.Spec)) string {
	t.Helper()
	self, err := supervise.Self()
	if err != nil {
		t.Fatal(err)
	}
	spec := supervise.Spec{Argv: []string{"/bin/sh", "-c", script}, Env: []string{"PATH=/usr/bin:/bin"}, Owner: self}
	if change != nil {
		change(&spec)
	}
	dir := t.TempDir()
	if err := supervise.WriteSpec(dir, spec); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // t.Context has ended by then
		if err := supervise.Kill(context.Background(), dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func start(t *testing.T, dir string) supervise.Process {
	t.Helper()
	if err := controller(t).Start(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	patience.Until(t, "the process says it is up", func() bool {
		log, _ := os.ReadFile(filepath.Join(dir, "server.log"))
		return strings.Contains(string(log), "up")
	})
	p, err := supervise.Status(dir)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func kinds(t *testing.T, dir string) []supervise.EventKind {
	t.Helper()
	events, err := supervise.Events(dir)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.IsSortedFunc(events, func(a, b supervise.Event) int { return a.At.Compare(b.At) }) {
		t.Errorf("events not in order: %v", events)
	}
	var kinds []supervise.EventKind
	for _, e := range events {
		kinds = append(kinds, e.Kind)
	}
	return kinds
}

func TestRestart(t *testing.T) {
	dir := newDir(t, polite, nil)
	first := start(t, dir)
	if err := controller(t).Start(t.Context(), dir); err != nil {
		t.Error("second start:", err)
	}
	if again, _ := supervise.Status(dir); again != first {
		t.Errorf("a second start replaced %s by %s", first, again)
	}
	if err := controller(t).Restart(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	if first.Alive() {
		t.Error("the first process is alive after the restart")
	}
	if second, err := supervise.Status(dir); err != nil || second == first {
		t.Errorf("after the restart: %s, %v", second, err)
	}
	if err := supervise.Stop(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	if _, err := supervise.Status(dir); !errors.Is(err, supervise.ErrNotRunning) {
		t.Errorf("after the stop: %v, want ErrNotRunning", err)
	}
	want := []supervise.EventKind{"started", "stop_requested", "exited", "started", "stop_requested", "exited"}
	if got := kinds(t, dir); !slices.Equal(got, want) {
		t.Errorf("events %q, want %q", got, want)
	}
}

func TestStopKillsAfterTheLimit(t *testing.T) {
	dir := newDir(t, `trap '' TERM; echo up; while :; do sleep 0.02; done`, func(s *supervise.Spec) {
		s.StopLimit = 100 * time.Millisecond
	})
	start(t, dir)
	if err := supervise.Stop(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	want := []supervise.EventKind{"started", "stop_requested", "kill_requested", "exited"}
	if got := kinds(t, dir); !slices.Equal(got, want) {
		t.Errorf("events %q, want %q", got, want)
	}
}

func TestKillIsIdempotentAndRecordsTheSignal(t *testing.T) {
	dir := newDir(t, polite, nil)
	start(t, dir)
	for range 2 {
		if err := supervise.Kill(t.Context(), dir); err != nil {
			t.Fatal(err)
		}
	}
	events, err := supervise.Events(dir)
	if err != nil {
		t.Fatal(err)
	}
	if last := events[len(events)-1]; last.Kind != supervise.Exited || last.Status != "signal: killed" {
		t.Errorf("last event %+v", last)
	}
	start(t, dir) // a stale process.json hinders nothing
}

func TestProcessEndsWithItsOwner(t *testing.T) {
	owner := exec.CommandContext(t.Context(), "sleep", "1000")
	if err := owner.Start(); err != nil {
		t.Fatal(err)
	}
	ownerID, err := supervise.Lookup(owner.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	dir := newDir(t, polite, func(s *supervise.Spec) { s.Owner = ownerID })
	p := start(t, dir)
	if err := owner.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	owner.Wait() //nolint:errcheck // it was killed
	patience.Until(t, "the process is gone", func() bool { return !p.Alive() })
	patience.Until(t, "the exit is on record", func() bool { return slices.Contains(kinds(t, dir), supervise.Exited) })
	if err := controller(t).Start(t.Context(), dir); err == nil || !strings.Contains(err.Error(), "owner") {
		t.Errorf("start without an owner: %v, want a refusal", err)
	}
}

func TestProcessEndsWithItsMonitor(t *testing.T) {
	dir := newDir(t, polite, nil)
	p := start(t, dir)
	parent, err := exec.CommandContext(t.Context(), "ps", "-o", "ppid=", "-p", strconv.Itoa(p.PID)).Output()
	if err != nil {
		t.Fatal(err)
	}
	if err := exec.CommandContext(t.Context(), "kill", "-KILL", strings.TrimSpace(string(parent))).Run(); err != nil {
		t.Fatal(err)
	}
	patience.Until(t, "the process is gone", func() bool { return !p.Alive() })
	start(t, dir)
}

func TestStartReportsWhatIsWrong(t *testing.T) {
	dir := newDir(t, "", func(s *supervise.Spec) { s.Argv = []string{"/no/such/java"} })
	if err := controller(t).Start(t.Context(), dir); err == nil || !strings.Contains(err.Error(), "/no/such/java") {
		t.Errorf("error %v, want one that names the command", err)
	}
	if _, err := supervise.Status(dir); !errors.Is(err, supervise.ErrNotRunning) {
		t.Errorf("status: %v", err)
	}
}

func TestProcessThatExitsAtOnce(t *testing.T) {
	dir := newDir(t, "exit 1", nil)
	if err := controller(t).Start(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	patience.Until(t, "the exit is on record", func() bool { return slices.Contains(kinds(t, dir), supervise.Exited) })
	if err := supervise.Stop(t.Context(), dir); err != nil {
		t.Error(err)
	}
}
