package config

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"
)

// pollInterval bounds how late a change is noticed that raises no event, as a
// remote write to a shared mount does.
const pollInterval = 10 * time.Second

// settle is how long events are gathered before the file is read: a write in
// several parts is then mostly read once. A half-written file that is read all
// the same is refused by the parser, and the next event heals it.
const settle = 20 * time.Millisecond

// Watcher notices changes of a file, also when it is replaced by rename, and
// when a symbolic link on the way to it is moved, as configuration managers and
// mounted volumes do it. Events are a hint; the bytes are the truth.
type Watcher struct {
	path    string
	log     *slog.Logger
	poll    time.Duration
	changed chan struct{}

	mu   sync.Mutex
	data []byte
	err  error
}

// NewWatcher returns a watcher that has not looked yet.
func NewWatcher(path string, log *slog.Logger) *Watcher {
	return &Watcher{path: path, log: log, poll: pollInterval, changed: make(chan struct{}, 1)}
}

// Changed is signalled after the first look, and after every one that brought other bytes.
func (w *Watcher) Changed() <-chan struct{} { return w.changed }

// Read returns what the last look brought.
func (w *Watcher) Read() ([]byte, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.data, w.err
}

// Run watches until ctx ends. Without inotify it polls.
func (w *Watcher) Run(ctx context.Context) error {
	events, err := fsnotify.NewWatcher()
	if err != nil {
		w.log.Warn("no file events, polling only", "err", err, "every", w.poll)
	} else {
		defer func() { _ = events.Close() }()
	}
	watched := map[string]bool{}
	first := true
	tick := time.NewTicker(w.poll)
	defer tick.Stop()
	for {
		if events != nil {
			w.follow(events, watched)
		}
		if w.look() || first {
			first = false
			select {
			case w.changed <- struct{}{}:
			default:
			}
		}
		if !w.wait(ctx, events, watched, tick.C) {
			return nil
		}
	}
}

// wait returns when the file may have changed, and false when ctx has ended.
func (w *Watcher) wait(ctx context.Context, events *fsnotify.Watcher, watched map[string]bool, tick <-chan time.Time) bool {
	var hints chan fsnotify.Event
	var faults chan error
	if events != nil {
		hints, faults = events.Events, events.Errors
	}
	var quiet <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return false
		case <-tick:
			clear(watched) // a directory may have been replaced by another of its name
			return true
		case <-quiet:
			return true
		case err := <-faults:
			w.log.Debug("file events were lost", "err", err)
			return true
		case e := <-hints:
			if e.Op != fsnotify.Chmod && quiet == nil {
				quiet = time.After(settle)
			}
		}
	}
}

// follow watches the directories of the file and of every link on the way to
// it: files are replaced by rename, and only their directory tells that.
func (w *Watcher) follow(events *fsnotify.Watcher, watched map[string]bool) {
	want := map[string]bool{}
	path := w.path
	for range 40 { // as many links as Linux follows
		dir := filepath.Dir(path)
		want[dir] = true
		if real, err := filepath.EvalSymlinks(dir); err == nil {
			want[real] = true
			// The directory may be a link itself, such as ..data: that one lies in its parent.
			if real != dir {
				want[filepath.Dir(dir)] = true
			}
		}
		target, err := os.Readlink(path)
		if err != nil {
			break
		}
		if !filepath.IsAbs(target) {
			target = filepath.Join(dir, target)
		}
		path = target
	}
	for dir := range watched {
		if !want[dir] {
			_ = events.Remove(dir) // it may be gone already
			delete(watched, dir)
		}
	}
	for dir := range want {
		if !watched[dir] && events.Add(dir) == nil {
			watched[dir] = true
		}
	}
}

// look reads the file and returns whether it is another than before.
func (w *Watcher) look() bool {
	data, err := readLimited(w.path)
	w.mu.Lock()
	defer w.mu.Unlock()
	same := bytes.Equal(data, w.data) && (err == nil) == (w.err == nil) && (err == nil || err.Error() == w.err.Error())
	w.data, w.err = data, err
	return !same
}

// readLimited reads one byte more than the parser takes at most, so that a huge
// file is refused there and fills no memory here.
func readLimited(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read the manifest: %w", err)
	}
	defer func() { _ = f.Close() }() // nothing was written
	data, err := io.ReadAll(io.LimitReader(f, MaxFileSize+1))
	if err != nil {
		return nil, fmt.Errorf("read the manifest: %w", err)
	}
	return data, nil
}
