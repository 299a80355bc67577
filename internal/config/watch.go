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
	"syscall"
	"time"

	"github.com/fsnotify/fsnotify"

	"example.com/kpls-agent/internal/durable"
	"example.com/kpls-agent/internal/wait"
)

// pollInterval bounds how late a change is noticed that raises no event, as a
// remote write to a shared mount does.
const pollInterval = 10 * time.Second

// settle is how long the file must stay the same before it counts.
const settle = 50 * time.Millisecond

// Watcher notices changes of a file, also when it is replaced by rename, when a
// symbolic link on the way to it is moved, as configuration managers and mounted
// volumes do it, and when a folder on the way comes later.
//
// Reading is the truth: events only say when to look, because writes from
// another host raise none, and because a watch is lost when its folder is
// replaced. What was read counts once a second reading, a moment later, was the
// same, so a file is rarely taken half-written; of one that is written more
// slowly than that, the parser refuses a part, and the next event brings the rest.
type Watcher struct {
	path    string
	log     *slog.Logger
	poll    time.Duration
	notify  func() (*fsnotify.Watcher, error) // tests remove events
	changed chan struct{}

	mu   sync.Mutex
	last reading // guarded by mu
	seen bool    // guarded by mu
}

// reading is what reading the file once brought.
type reading struct {
	data []byte
	err  error
}

func (r reading) equal(o reading) bool {
	return bytes.Equal(r.data, o.data) && fmt.Sprint(r.err) == fmt.Sprint(o.err)
}

// NewWatcher returns a watcher that has not looked yet. log must not be nil.
func NewWatcher(path string, log *slog.Logger) *Watcher {
	return &Watcher{
		path:    path,
		log:     log,
		poll:    pollInterval,
		notify:  fsnotify.NewWatcher,
		changed: make(chan struct{}, 1),
	}
}

// Changed is signalled (capacity 1) after the first look, and whenever Read
// returns something else than before.
func (w *Watcher) Changed() <-chan struct{} { return w.changed }

// Read returns the file's bytes, which must not be altered, or why it cannot be read.
func (w *Watcher) Read() ([]byte, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.last.data, w.last.err
}

// Run watches until ctx ends, and then returns nil. Without inotify it polls.
func (w *Watcher) Run(ctx context.Context) error {
	path, err := filepath.Abs(w.path)
	if err != nil {
		return fmt.Errorf("watch %s: %w", w.path, err)
	}
	h := newHints(path, w.notify, w.log)
	defer h.close()
	poll := time.NewTicker(w.poll)
	defer poll.Stop()
	quiet := time.NewTimer(settle)
	defer quiet.Stop()

	// Watch first and read then, so nothing falls between the two.
	h.watch()
	last := readWatched(path)
	for {
		settled := false
		select {
		case <-ctx.Done():
			return nil
		case <-poll.C:
		case <-quiet.C:
			settled = true
		case e, ok := <-h.events():
			if ok && !h.matters(e) {
				continue
			}
			h.ended(!ok)
		case err, ok := <-h.errors():
			w.log.Debug("file events were lost", "err", err)
			h.ended(!ok)
		}
		h.watch()
		now := readWatched(path)
		switch {
		case !now.equal(last):
			last = now
			quiet.Reset(settle)
		case settled:
			w.accept(now)
		}
	}
}

func (w *Watcher) accept(r reading) {
	w.mu.Lock()
	same := w.seen && w.last.equal(r)
	w.last, w.seen = r, true
	w.mu.Unlock()
	if same {
		return
	}
	wait.Wake(w.changed)
}

// ReadFile reads a file as a Watcher does. A file that was replaced under its bind mount is an error.
func ReadFile(path string) ([]byte, error) {
	r := readWatched(path)
	return r.data, r.err
}

// readWatched reads one byte more than the parser takes at most, so a huge
// file is refused there and fills no memory here. A pipe in the file's place
// must not hold the agent up, so opening does not wait for a writer.
func readWatched(path string) reading {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return reading{err: fmt.Errorf("read the manifest: %w", err)}
	}
	defer func() { _ = f.Close() }() // nothing was written
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a regular file; put the file in its place", path)
	}
	var data []byte
	if err == nil {
		data, err = io.ReadAll(io.LimitReader(f, MaxFileSize+1))
	}
	if err == nil {
		err = durable.Current(path)
	}
	if err != nil {
		return reading{err: fmt.Errorf("read the manifest: %w", err)}
	}
	return reading{data: data}
}
