package supervise

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

const (
	specFile    = "spec.json"
	processFile = "process.json"
	eventsFile  = "events.jsonl"
	logFile     = "server.log"
	monitorLog  = "monitor.log"
	lockName    = "lock"
)

// Spec says what a directory runs.
type Spec struct {
	// Argv is the broker's command; it runs in the directory, with Env as its whole environment.
	Argv []string `json:"argv"`
	Env  []string `json:"env"`
	// Owner is the process with which everything ends.
	Owner Process `json:"owner"`
	// StopLimit is how long a stop waits after SIGTERM before SIGKILL; 0 is 330 s,
	// above the 5 minutes that Kafka grants a controlled shutdown.
	StopLimit time.Duration `json:"stop_limit"`
}

// WriteSpec makes dir a broker directory.
func WriteSpec(dir string, s Spec) error { return writeJSON(filepath.Join(dir, specFile), s) }

// running is what a monitor notes about the process it watches.
type running struct {
	Broker  Process `json:"broker"`
	Monitor Process `json:"monitor"`
}

// EventKind is one kind of Event.
type EventKind string

// The kinds of events.
const (
	StopRequested EventKind = "stop_requested" // right before SIGTERM
	KillRequested EventKind = "kill_requested" // right before SIGKILL
	Exited        EventKind = "exited"         // the process has exited
	Started       EventKind = "started"        // right after exec
)

// Event is one thing that happened to the broker process.
type Event struct {
	Kind EventKind `json:"kind"`
	// At is the wall clock, with nanoseconds.
	At  time.Time `json:"at"`
	PID int       `json:"pid"`
	// Status is how an exited process ended, such as "exit status 143" or "signal: killed".
	Status string `json:"status,omitempty"`
}

// Events are the events of a directory, oldest first.
func Events(dir string) ([]Event, error) {
	data, err := os.ReadFile(filepath.Join(dir, eventsFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var events []Event
	for line := range bytes.Lines(data) {
		var e Event
		if err := json.Unmarshal(line, &e); err != nil {
			return nil, fmt.Errorf("read %s: %w", filepath.Join(dir, eventsFile), err)
		}
		events = append(events, e)
	}
	return events, nil
}

// stamp appends one event. The line goes out in one write, which O_APPEND keeps whole.
func stamp(dir string, e Event) error {
	line, err := json.Marshal(e)
	if err != nil {
		return err
	}
	f, err := openAppend(dir, eventsFile)
	if err != nil {
		return err
	}
	_, err = f.Write(append(line, '\n'))
	return errors.Join(err, f.Close())
}

func openAppend(dir, name string) (*os.File, error) {
	return os.OpenFile(filepath.Join(dir, name), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
}

// lock waits for other commands on the directory.
func lock(dir string) (unlock func(), err error) {
	f, err := os.OpenFile(filepath.Join(dir, lockName), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", dir, err)
	}
	return func() { f.Close() }, nil
}

// writeJSON replaces a file in one step, so no reader sees half of it.
func writeJSON(path string, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if err := os.WriteFile(path+".new", data, 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

func readJSON[T any](dir, name string) (T, error) {
	var v T
	data, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		return v, err
	}
	if err := json.Unmarshal(data, &v); err != nil {
		return v, fmt.Errorf("read %s: %w", filepath.Join(dir, name), err)
	}
	return v, nil
}
