package unit

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"example.com/kpls-agent/internal/restart"
	"example.com/kpls-agent/test/patience"
)

// script writes an executable shell script; it can use the directory it is in as $D.
func script(t *testing.T, dir, name, body string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte("#!/bin/sh\nD="+dir+"\n"+body+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

func newCommands(t *testing.T, o CommandsOptions) *Commands {
	t.Helper()
	c, err := NewCommands(o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func touch(t *testing.T, path string) {
	t.Helper()
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestStatusCommand(t *testing.T) {
	dir := t.TempDir()
	cases := []struct {
		name, body string
		want       restart.UnitFacts
	}{
		{"running", "echo ' 4711 since noon '; echo more", restart.UnitFacts{State: restart.UnitRunning, Invocation: "4711 since noon", Detail: "4711 since noon"}},
		{"down", "exit 3", restart.UnitFacts{State: restart.UnitStopped, Ambiguous: true, Detail: "not running"}},
		{"down-why", "echo gone since noon; exit 3", restart.UnitFacts{State: restart.UnitStopped, Ambiguous: true, Detail: "gone since noon"}},
		{"broken", "echo first >&2; echo no such pid file >&2; exit 1", restart.UnitFacts{State: restart.UnitUnknown, Detail: `DIR/broken: exit status 1 ("no such pid file")`}},
		{"nameless", "exit 0", restart.UnitFacts{State: restart.UnitUnknown, Detail: "DIR/nameless says that the process runs and does not name it; it must print one line that is another one for each process"}},
		{"talkative", "echo 1; yes | head -c 1000000; yes | head -c 1000000 >&2", restart.UnitFacts{State: restart.UnitRunning, Invocation: "1", Detail: "1"}},
	}
	for _, c := range cases {
		path := script(t, dir, c.name, c.body)
		f := newCommands(t, CommandsOptions{Restart: []string{"true"}, Status: []string{path}, StatusTimeout: time.Minute}).State(t.Context())
		c.want.Detail = strings.ReplaceAll(c.want.Detail, "DIR", dir)
		if f.At.IsZero() {
			t.Errorf("%s: no time", c.name)
		}
		if d := cmp.Diff(c.want, f, cmpopts.IgnoreFields(f, "At")); d != "" {
			t.Errorf("%s: %s", c.name, d)
		}
	}
}

func TestStatusCommandMissing(t *testing.T) {
	f := newCommands(t, CommandsOptions{Restart: []string{"true"}, Status: []string{"/no/such/command"}}).State(t.Context())
	if f.State != restart.UnitUnknown || f.Detail != "/no/such/command: fork/exec /no/such/command: no such file or directory" {
		t.Errorf("got %+v", f)
	}
}

// A status command that hangs is ended, with what it has started.
func TestStatusCommandHangs(t *testing.T) {
	dir := t.TempDir()
	path := script(t, dir, "status", "sleep 3600 & echo $! > $D/child; wait")
	c := newCommands(t, CommandsOptions{Restart: []string{"true"}, Status: []string{path}, StatusTimeout: 500 * time.Millisecond})
	f := c.State(t.Context())
	if f.State != restart.UnitUnknown || f.Detail != path+" did not answer within 500ms" {
		t.Errorf("got %+v", f)
	}
	if pid, err := os.ReadFile(filepath.Join(dir, "child")); err == nil {
		patience.Until(t, "its child is gone", func() bool {
			stat, err := os.ReadFile("/proc/" + strings.TrimSpace(string(pid)) + "/stat")
			return err != nil || strings.Contains(string(stat), ") Z ")
		})
	}
}

func TestRestartCommand(t *testing.T) {
	dir := t.TempDir()
	status := script(t, dir, "status", "cat $D/process 2>/dev/null || exit 3")
	again := script(t, dir, "restart", "echo stopping; echo new-$1 > $D/process")
	out, err := os.Create(filepath.Join(dir, "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	c := newCommands(t, CommandsOptions{Restart: []string{again, "one arg; with $signs"}, Status: []string{status}, Output: out})
	if f := c.State(t.Context()); f.State != restart.UnitStopped {
		t.Fatalf("before: %+v", f)
	}
	if err := c.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	// At once, however fresh the last answer is.
	if f := c.State(t.Context()); f.State != restart.UnitRunning || f.Invocation != "new-one arg; with $signs" {
		t.Errorf("after: %+v", f)
	}
	await(t, "the change", c.Changed())
	if b, err := os.ReadFile(out.Name()); err != nil || string(b) != "stopping\n" {
		t.Errorf("output %q (%v)", b, err)
	}
}

func TestRestartCommandFails(t *testing.T) {
	dir := t.TempDir()
	path := script(t, dir, "restart", "exit 5")
	c := newCommands(t, CommandsOptions{Restart: []string{path}, Status: []string{"false"}})
	if err := c.Restart(t.Context()); err == nil || err.Error() != path+": exit status 5; its output is in the agent's log" {
		t.Errorf("got %v", err)
	}
	c = newCommands(t, CommandsOptions{Restart: []string{"/no/such/command"}, Status: []string{"false"}})
	for range 2 { // a command that never started is not in the way of the next
		if err := c.Restart(t.Context()); err == nil || err.Error() != "run the restart command: fork/exec /no/such/command: no such file or directory" {
			t.Errorf("got %v", err)
		}
	}
}

// The agent may go while the command is at work: the command goes on, and is not
// run a second time at once.
func TestRestartCommandOutlivesTheCaller(t *testing.T) {
	dir := t.TempDir()
	path := script(t, dir, "restart", "touch $D/begun; while ! test -e $D/go; do sleep 0.01; done; touch $D/ended")
	c := newCommands(t, CommandsOptions{Restart: []string{path}, Status: []string{script(t, dir, "status", "exit 3")}})
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error, 1)
	go func() { result <- c.Restart(ctx) }()
	patience.Until(t, "the command runs", func() bool { return exists(filepath.Join(dir, "begun")) })
	if f := c.State(t.Context()); f.State != restart.UnitStarting || f.Detail != "the restart command is at work" {
		t.Errorf("meanwhile: %+v", f)
	}
	cancel()
	if err := <-result; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if err := c.Restart(t.Context()); err == nil || !strings.Contains(err.Error(), "still runs") {
		t.Errorf("a second one: %v", err)
	}
	touch(t, filepath.Join(dir, "go"))
	patience.Until(t, "the command ends by itself", func() bool { return exists(filepath.Join(dir, "ended")) })
	patience.Until(t, "the status is the truth again", func() bool { return c.State(t.Context()).State == restart.UnitStopped })
}

// A command that hangs is ended alone: the broker it has started goes on.
func TestRestartCommandHangs(t *testing.T) {
	dir := t.TempDir()
	path := script(t, dir, "restart", "(touch $D/begun; while ! test -e $D/go; do sleep 0.01; done; touch $D/ended) & wait")
	c := newCommands(t, CommandsOptions{Restart: []string{path}, Status: []string{"false"}, RestartTimeout: 300 * time.Millisecond})
	if err := c.Restart(t.Context()); err == nil || err.Error() != path+" was still at work after 300ms: signal: killed" {
		t.Errorf("got %v", err)
	}
	if !exists(filepath.Join(dir, "begun")) {
		return // so slow a machine that the command was killed before it did anything
	}
	touch(t, filepath.Join(dir, "go"))
	patience.Until(t, "what it started goes on", func() bool { return exists(filepath.Join(dir, "ended")) })
}

func TestCommandsArePolled(t *testing.T) {
	dir := t.TempDir()
	process := filepath.Join(dir, "process")
	c := newCommands(t, CommandsOptions{
		Restart: []string{"true"}, Status: []string{script(t, dir, "status", "cat $D/process 2>/dev/null || exit 3")}, Interval: 10 * time.Millisecond,
	})
	run(t, c)
	await(t, "the first answer", c.Changed())
	if err := os.WriteFile(process, []byte("1"), 0o600); err != nil {
		t.Fatal(err)
	}
	await(t, "it runs", c.Changed())
	patience.Until(t, "the answer", func() bool { return c.State(t.Context()).Invocation == "1" })
}

func TestCommandsKeepTheAgentsSecrets(t *testing.T) {
	t.Setenv("KPLS_AGENT_PASSWORD", "secret")
	t.Setenv("NOTIFY_SOCKET", "/run/systemd/notify")
	t.Setenv("LISTEN_FDS", "1")
	t.Setenv("CREDENTIALS_DIRECTORY", "/run/credentials")
	t.Setenv("WATCHDOG_USEC", "1")
	t.Setenv("KAFKA_HOME", "/opt/kafka")
	path := script(t, t.TempDir(), "status", `echo "$KPLS_AGENT_PASSWORD$NOTIFY_SOCKET$LISTEN_FDS$CREDENTIALS_DIRECTORY$WATCHDOG_USEC$KAFKA_HOME"`)
	f := newCommands(t, CommandsOptions{Restart: []string{"true"}, Status: []string{path}}).State(t.Context())
	if f.Invocation != "/opt/kafka" {
		t.Errorf("the command sees %q", f.Invocation)
	}
}

func TestCommandsNeedBoth(t *testing.T) {
	if _, err := NewCommands(CommandsOptions{Status: []string{"true"}}); err == nil {
		t.Error("no restart command, and no error")
	}
	if _, err := NewCommands(CommandsOptions{Restart: []string{"true"}}); err == nil {
		t.Error("no status command, and no error")
	}
}
