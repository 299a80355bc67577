package supervise

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// Process names one process for good: a process id is used again, the pair is not.
type Process struct {
	PID int `json:"pid"`
	// Start is the start time in clock ticks since boot, field 22 of /proc/PID/stat.
	Start uint64 `json:"start"`
}

// Self is the calling process.
func Self() (Process, error) { return lookup(os.Getpid()) }

// String is one line that is the same as long as the same process runs.
func (p Process) String() string { return fmt.Sprintf("pid %d started %d", p.PID, p.Start) }

// Alive is true until the process has exited; a zombie has.
func (p Process) Alive() bool {
	now, err := lookup(p.PID)
	return p.PID > 0 && err == nil && now == p
}

// signal sends sig, unless the process is gone, which is no error.
func (p Process) signal(sig unix.Signal) error {
	fd, err := p.open()
	if fd < 0 {
		return err
	}
	defer unix.Close(fd)
	if err := unix.PidfdSendSignal(fd, sig, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("signal %s: %w", p, err)
	}
	return nil
}

// wait returns when the process has exited.
func (p Process) wait(ctx context.Context) error {
	fd, err := p.open()
	if fd < 0 {
		return err
	}
	defer unix.Close(fd)
	for {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("wait for %s to exit: %w", p, err)
		}
		// A pidfd is readable from the exit on; the time-out only bounds how late ctx is looked at.
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}},
			int((100 * time.Millisecond).Milliseconds()))
		if n > 0 {
			return nil
		}
		if err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("wait for %s to exit: %w", p, err)
		}
	}
}

// open returns a file descriptor of the process, or -1 when it is gone already.
func (p Process) open() (int, error) {
	fd, err := unix.PidfdOpen(p.PID, 0)
	if errors.Is(err, unix.ESRCH) {
		return -1, nil
	}
	if err != nil {
		return -1, fmt.Errorf("open %s: %w", p, err)
	}
	if !p.Alive() { // looked at after the open: from here on fd is this process or a dead one
		unix.Close(fd)
		return -1, nil
	}
	return fd, nil
}

// lookup reads a process's start time.
func lookup(pid int) (Process, error) {
	path := filepath.Join("/proc", strconv.Itoa(pid), "stat")
	data, err := os.ReadFile(path)
	if err != nil {
		return Process{}, err
	}
	// The command, in parentheses, may hold blanks and parentheses itself.
	_, rest, found := bytes.Cut(data[bytes.LastIndexByte(data, ')')+1:], []byte(" "))
	fields := bytes.Fields(rest)
	if !found || len(fields) < 20 {
		return Process{}, fmt.Errorf("read %s: %d fields after the command, want at least 20", path, len(fields))
	}
	if state := fields[0][0]; state == 'Z' || state == 'X' {
		return Process{}, fmt.Errorf("process %d: %w", pid, os.ErrProcessDone)
	}
	start, err := strconv.ParseUint(string(fields[19]), 10, 64)
	if err != nil {
		return Process{}, fmt.Errorf("read %s: start time: %w", path, err)
	}
	return Process{PID: pid, Start: start}, nil
}
