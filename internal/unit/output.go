package unit

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// maxAnswer bounds what is kept of the output of a command that is run for it, in bytes.
const maxAnswer = 1 << 20

// Command is one that is run to its end. No shell is involved.
type Command struct {
	Argv []string
	// Env is KEY=VALUE; nil is the agent's own without what is meant for the agent alone.
	Env []string
	Dir string // empty for the agent's own
}

// Output runs a command and returns what it printed on standard output, 1 MiB at most. Where it ends with another
// status than 0, the error has the last line of its complaint. It is ended with ctx, and with it what it has started.
func Output(ctx context.Context, c Command) ([]byte, error) {
	out, complaint := head{most: maxAnswer}, head{most: maxOutput}
	if err := c.run(ctx, &out, &complaint); err != nil {
		return out.data, fmt.Errorf("%s: %w%s", c.Argv[0], err, quoted(complaint.data))
	}
	return out.data, nil
}

func (c Command) run(ctx context.Context, out, complaint *head) error {
	cmd := exec.CommandContext(ctx, c.Argv[0], c.Argv[1:]...) //nolint:gosec // the operator's own settings
	cmd.Env, cmd.Dir, cmd.Stdout, cmd.Stderr = c.Env, c.Dir, out, complaint
	if c.Env == nil {
		cmd.Env = environment()
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) } // what it started as well
	cmd.WaitDelay = time.Second
	return cmd.Run()
}

// environment is the agent's own without what is meant for the agent alone:
// systemd's sockets and the agent's secrets.
func environment() []string {
	var out []string
	for _, kv := range os.Environ() {
		name, _, _ := strings.Cut(kv, "=")
		switch {
		case name == "NOTIFY_SOCKET", name == "CREDENTIALS_DIRECTORY",
			strings.HasPrefix(name, "WATCHDOG_"), strings.HasPrefix(name, "LISTEN_"), strings.HasPrefix(name, "KPLS_"):
		default:
			out = append(out, kv)
		}
	}
	return out
}

// head keeps the first bytes that are written to it.
type head struct {
	data []byte
	most int
}

func (h *head) Write(p []byte) (int, error) {
	h.data = append(h.data, p[:min(len(p), h.most-len(h.data))]...)
	return len(p), nil
}

// quoted is the last line of a command's complaint, for the end of a sentence.
func quoted(b []byte) string {
	lines := bytes.Split(bytes.TrimSpace(b), []byte("\n"))
	last := strings.TrimSpace(string(lines[len(lines)-1]))
	if last == "" {
		return ""
	}
	return fmt.Sprintf(" (%.200q)", last)
}
