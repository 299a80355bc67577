package unit

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"example.com/kpls-agent/internal/restart"
	"example.com/kpls-agent/internal/wait"
)

// CommandsOptions are the two commands that stand in for a service manager.
type CommandsOptions struct {
	// Restart stops the broker's process, if there is one, starts a new one, and
	// ends with exit status 0 once that runs. It may take RestartTimeout.
	Restart []string
	// Status exits with 0 if the process runs, and then the first line of its
	// output names this process and no other (its pid with its start time, say);
	// with 3 if it does not run; with anything else if that cannot be told.
	Status []string
	// Interval is how often Status is asked at rest; 0 is 2 s.
	Interval time.Duration
	// StatusTimeout bounds one run of Status; 0 is 5 s.
	StatusTimeout time.Duration
	// RestartTimeout bounds one run of Restart; 0 is 10 min. A broker that hands
	// over its leaders may take 5 min to stop.
	RestartTimeout time.Duration
	// Output gets what Restart prints, and what the broker prints that inherits
	// it; nil discards it.
	Output *os.File
}

const (
	notRunning = 3 // as LSB init scripts and systemctl is-active say it
	// statusFresh is how old an answer may be, so a caller in a hurry does
	// not start process upon process.
	statusFresh = 200 * time.Millisecond
	maxOutput   = 4096 // bytes of a command's output that are looked at
)

// Commands sees and restarts the broker through two commands.
type Commands struct {
	o       CommandsOptions
	changed chan struct{}

	asking sync.Mutex // one status command at a time

	mu         sync.Mutex
	last       restart.UnitFacts // guarded by mu
	stale      bool              // last is from before a restart; guarded by mu
	restarting bool              // guarded by mu
}

// NewCommands returns a Commands that has not run anything yet.
func NewCommands(o CommandsOptions) (*Commands, error) {
	if len(o.Restart) == 0 || len(o.Status) == 0 {
		return nil, errors.New("both a restart command and a status command are needed")
	}
	if o.Interval == 0 {
		o.Interval = 2 * time.Second
	}
	if o.StatusTimeout == 0 {
		o.StatusTimeout = 5 * time.Second
	}
	if o.RestartTimeout == 0 {
		o.RestartTimeout = 10 * time.Minute
	}
	return &Commands{o: o, changed: make(chan struct{}, 1)}, nil
}

// Changed is signalled when the status command's answer is another one than before.
func (c *Commands) Changed() <-chan struct{} { return c.changed }

// Run asks for the status every Interval until ctx ends; it returns nil then.
func (c *Commands) Run(ctx context.Context) error {
	for wait.For(ctx, c.o.Interval) {
		c.State(ctx)
	}
	return nil
}

// MayRestart implements agent.Unit: nobody can be asked beforehand whether a command will succeed.
func (c *Commands) MayRestart(context.Context) error { return nil }

// State runs the status command, unless that was just done.
func (c *Commands) State(ctx context.Context) restart.UnitFacts {
	c.asking.Lock()
	defer c.asking.Unlock()
	c.mu.Lock()
	last := c.last
	if !c.stale && time.Since(last.At) < statusFresh {
		c.mu.Unlock()
		return last
	}
	c.stale = false
	c.mu.Unlock()
	f := c.ask(ctx)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.restarting && f.State == restart.UnitStopped {
		f.State, f.Detail = restart.UnitStarting, "the restart command is at work"
	}
	c.last = f
	if last.State != f.State || last.Invocation != f.Invocation {
		wait.Wake(c.changed)
	}
	return f
}

func (c *Commands) ask(ctx context.Context) restart.UnitFacts {
	f := restart.UnitFacts{At: time.Now(), State: restart.UnitUnknown}
	ctx, cancel := context.WithTimeout(ctx, c.o.StatusTimeout)
	defer cancel()
	out, complaint := head{most: maxOutput}, head{most: maxOutput}
	err := Command{Argv: c.o.Status}.run(ctx, &out, &complaint)
	line, _, _ := strings.Cut(string(out.data), "\n")
	line = strings.TrimSpace(line)
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		f.Detail = fmt.Sprintf("%s did not answer within %s", c.o.Status[0], c.o.StatusTimeout)
	case err == nil && line == "":
		f.Detail = fmt.Sprintf(
			"%s says that the process runs and does not name it; it must print one line that is another one for each process",
			c.o.Status[0])
	case err == nil:
		f.State, f.Invocation, f.Detail = restart.UnitRunning, line, line
	case errors.As(err, &exit) && exit.ExitCode() == notRunning:
		f.State, f.Ambiguous, f.Detail = restart.UnitStopped, true, or(line, "not running")
	default:
		f.Detail = fmt.Sprintf("%s: %v%s", c.o.Status[0], err, quoted(complaint.data))
	}
	return f
}

// Restart runs the restart command and waits for its end. The command is not
// ended with ctx: half a restart would leave the broker down. One that is over
// its time is killed, without what it has started.
func (c *Commands) Restart(ctx context.Context) error {
	name := c.o.Restart[0]
	if !c.begin() {
		return fmt.Errorf("%s still runs since the last attempt", name)
	}
	cmd := exec.Command(name, c.o.Restart[1:]...) //nolint:gosec,noctx // the operator's own settings; see above
	cmd.Env = environment()
	// Files and no pipes: a broker that inherits them must not be cut off later.
	if c.o.Output != nil {
		cmd.Stdout, cmd.Stderr = c.o.Output, c.o.Output
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		c.end()
		return fmt.Errorf("run the restart command: %w", err)
	}
	done := make(chan error, 1)
	go func() {
		err := cmd.Wait()
		c.end()
		done <- err
	}()
	limit := time.NewTimer(c.o.RestartTimeout)
	defer limit.Stop()
	select {
	case err := <-done:
		if err != nil {
			return fmt.Errorf("%s: %w; its output is in the agent's log", name, err)
		}
		return nil
	case <-limit.C:
		_ = cmd.Process.Kill()
		if err := <-done; err != nil {
			return fmt.Errorf("%s was still at work after %s: %w", name, c.o.RestartTimeout, err)
		}
		return nil // it ended just then
	case <-ctx.Done():
		return fmt.Errorf("%s: %w while it is at work", name, ctx.Err())
	}
}

func (c *Commands) begin() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.restarting {
		return false
	}
	c.restarting, c.stale = true, true
	return true
}

func (c *Commands) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.restarting, c.stale = false, true
	wait.Wake(c.changed)
}
