package supervise

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"time"
)

// ownerPoll is how often a monitor looks for the owner.
const ownerPoll = 200 * time.Millisecond

// Monitor starts the directory's process, reports that to the pipe it got as
// file 3, and returns when the process has exited, or when the owner is gone and
// the process was killed for that.
func Monitor(dir string) error {
	syscall.CloseOnExec(3) // or the starter would wait for the broker's end
	report := os.NewFile(3, "report")
	// The kernel kills the broker when the *thread* that forked it ends, so this one must stay.
	runtime.LockOSThread()
	spec, cmd, err := launch(dir)
	if err != nil {
		fmt.Fprint(report, err)
		return errors.Join(err, report.Close())
	}
	fmt.Fprint(report, "ok")
	report.Close()
	return watch(dir, spec, cmd)
}

// launch starts the process and notes it down.
func launch(dir string) (Spec, *exec.Cmd, error) {
	spec, err := readJSON[Spec](dir, specFile)
	if err != nil {
		return spec, nil, err
	}
	if !spec.Owner.Alive() {
		return spec, nil, fmt.Errorf("the owner of %s (%s) is gone, so its broker stays down", dir, spec.Owner)
	}
	out, err := openAppend(dir, logFile)
	if err != nil {
		return spec, nil, err
	}
	defer out.Close()
	// The owner says what to run, and watches its process below.
	cmd := exec.Command(spec.Argv[0], spec.Argv[1:]...) //nolint:noctx // see above
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = dir, spec.Env, out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return spec, nil, err
	}
	at := time.Now()
	if err := note(dir, cmd.Process.Pid, at); err != nil {
		return spec, nil, errors.Join(err, cmd.Process.Kill(), cmd.Wait())
	}
	return spec, cmd, nil
}

// note writes down the started process.
func note(dir string, pid int, at time.Time) error {
	broker, err := lookup(pid)
	if err != nil {
		// It may have exited at once; the number alone then serves to record the exit.
		broker = Process{PID: pid}
	}
	self, err := Self()
	if err != nil {
		return err
	}
	if err := writeJSON(filepath.Join(dir, processFile), running{Broker: broker, Monitor: self}); err != nil {
		return err
	}
	return stamp(dir, Event{Kind: Started, At: at, PID: pid})
}

// watch waits for the process's or the owner's end, and records the former.
func watch(dir string, spec Spec, cmd *exec.Cmd) error {
	exited := make(chan Event, 1)
	go func() {
		cmd.Wait() //nolint:errcheck // ProcessState says how it ended
		exited <- Event{Kind: Exited, At: time.Now(), PID: cmd.Process.Pid, Status: cmd.ProcessState.String()}
	}()
	poll := time.NewTicker(ownerPoll)
	defer poll.Stop()
	for {
		select {
		case e := <-exited:
			return stamp(dir, e)
		case <-poll.C:
			if !spec.Owner.Alive() {
				cmd.Process.Kill() //nolint:errcheck // it may have exited meanwhile
				return stamp(dir, <-exited)
			}
		}
	}
}
