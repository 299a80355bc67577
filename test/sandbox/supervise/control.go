package supervise

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// ErrNotRunning says that a directory has no running process.
var ErrNotRunning = errors.New("not running")

// Controller acts on broker directories.
type Controller struct {
	// Program is the executable whose command `monitor DIR` calls Monitor.
	Program string
}

// Status returns the running process of a directory, or ErrNotRunning.
func Status(dir string) (Process, error) {
	r, err := current(dir)
	if err != nil {
		return Process{}, err
	}
	if !r.Broker.Alive() {
		return Process{}, ErrNotRunning
	}
	return r.Broker, nil
}

// Start starts the process unless it runs, and returns right after its exec.
func (c Controller) Start(ctx context.Context, dir string) error {
	unlock, err := lock(dir)
	if err != nil {
		return err
	}
	defer unlock()
	return c.start(ctx, dir)
}

// Restart stops the process, if it runs, and starts it.
func (c Controller) Restart(ctx context.Context, dir string) error {
	unlock, err := lock(dir)
	if err != nil {
		return err
	}
	defer unlock()
	if err := stop(ctx, dir); err != nil {
		return err
	}
	return c.start(ctx, dir)
}

// Stop sends SIGTERM and returns when the process has exited; after the
// directory's stop limit it sends SIGKILL.
func Stop(ctx context.Context, dir string) error {
	unlock, err := lock(dir)
	if err != nil {
		return err
	}
	defer unlock()
	return stop(ctx, dir)
}

// Kill sends SIGKILL and returns when the process has exited. It waits for no
// other command: it is the power cut.
func Kill(ctx context.Context, dir string) error {
	r, err := current(dir)
	if err != nil || !r.Broker.Alive() {
		return notRunningIsNil(err)
	}
	err = errors.Join(stampNow(dir, KillRequested, r.Broker), r.Broker.signal(unix.SIGKILL))
	if err != nil {
		return err
	}
	return r.wait(ctx)
}

func stop(ctx context.Context, dir string) error {
	r, err := current(dir)
	if err != nil {
		return notRunningIsNil(err)
	}
	if r.Broker.Alive() {
		if err := terminate(ctx, dir, r.Broker); err != nil {
			return err
		}
	}
	return r.wait(ctx)
}

// terminate ends the process in the orderly way, or after the limit in the other.
func terminate(ctx context.Context, dir string, p Process) error {
	spec, err := readJSON[Spec](dir, specFile)
	if err != nil {
		return err
	}
	limit := spec.StopLimit
	if limit <= 0 {
		limit = 330 * time.Second
	}
	if err := errors.Join(stampNow(dir, StopRequested, p), p.signal(unix.SIGTERM)); err != nil {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	err = p.wait(limited)
	if err == nil || ctx.Err() != nil {
		return err
	}
	return errors.Join(stampNow(dir, KillRequested, p), p.signal(unix.SIGKILL))
}

// start runs a monitor and returns when that has started the process.
func (c Controller) start(ctx context.Context, dir string) error {
	if r, err := current(dir); err == nil {
		if r.Broker.Alive() {
			return nil
		}
		if err := r.wait(ctx); err != nil { // its monitor still writes the exit down
			return err
		}
	} else if !errors.Is(err, ErrNotRunning) {
		return err
	}
	report, theirs, err := os.Pipe()
	if err != nil {
		return err
	}
	defer report.Close()
	monitor, err := c.monitor(dir, theirs)
	if err != nil {
		return err
	}
	// The monitor says "ok" or what is wrong, and closes its end either way.
	said, err := io.ReadAll(report)
	if err != nil {
		return err
	}
	if string(said) != "ok" {
		return fmt.Errorf("start %s: %s", dir, strings.TrimSpace(string(said)))
	}
	// It outlives this call; until this process ends, somebody has to reap it.
	go monitor.Wait() //nolint:errcheck // its exit says nothing that it has not written down
	return nil
}

// monitor starts a monitor in a session of its own, so no signal meant for the caller's group reaches it.
func (c Controller) monitor(dir string, report *os.File) (*exec.Cmd, error) {
	defer report.Close()
	out, err := openAppend(dir, monitorLog)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	cmd := exec.Command(c.Program, "monitor", dir) //nolint:noctx // it must outlive the caller's context
	cmd.Stderr = out
	cmd.ExtraFiles = []*os.File{report}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the monitor of %s: %w", dir, err)
	}
	return cmd, nil
}

// current reads the note of the last monitor, or returns ErrNotRunning.
func current(dir string) (running, error) {
	r, err := readJSON[running](dir, processFile)
	if errors.Is(err, fs.ErrNotExist) {
		return r, ErrNotRunning
	}
	return r, err
}

// wait returns when process and monitor have exited; then the exit is on record.
func (r running) wait(ctx context.Context) error {
	if err := r.Broker.wait(ctx); err != nil {
		return err
	}
	return r.Monitor.wait(ctx)
}

func stampNow(dir string, kind EventKind, p Process) error {
	return stamp(dir, Event{Kind: kind, At: time.Now(), PID: p.PID})
}

func notRunningIsNil(err error) error {
	if errors.Is(err, ErrNotRunning) {
		return nil
	}
	return err
}
