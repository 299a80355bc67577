package config

import (
	"errors"
	"log/slog"
	"maps"
	"os"
	"path/filepath"

	"github.com/fsnotify/fsnotify"
)

// hints turns file system events into reasons to look. Without inotify (its
// limits are per user) there are none, and polling does it alone.
type hints struct {
	path     string
	logger   *slog.Logger
	notify   *fsnotify.Watcher // nil without inotify
	relevant map[string]bool
	folders  map[string]bool
	failed   bool // a watch could not be set, and this was said
}

func newHints(path string, notify func() (*fsnotify.Watcher, error), logger *slog.Logger) *hints {
	h := &hints{path: path, logger: logger, folders: map[string]bool{}}
	var err error
	if h.notify, err = notify(); err != nil {
		h.notify = nil
		logger.Warn("no file events, so changes are found by polling alone", "path", path, "err", err)
	}
	return h
}

// ended gives up on events whose channel was closed: it would be ready for ever.
func (h *hints) ended(yes bool) {
	if yes {
		h.close()
		h.notify = nil
	}
}

func (h *hints) close() {
	if h.notify != nil {
		_ = h.notify.Close()
	}
}

func (h *hints) events() <-chan fsnotify.Event {
	if h.notify == nil {
		return nil
	}
	return h.notify.Events
}

func (h *hints) errors() <-chan error {
	if h.notify == nil {
		return nil
	}
	return h.notify.Errors
}

// matters is true for an event on the way to the file. Other files of the same
// folders may change all the time.
func (h *hints) matters(e fsnotify.Event) bool {
	name := filepath.Clean(e.Name)
	return h.relevant[name] || h.folders[name]
}

// watch sets the watches that the path needs as it is now. A folder that comes
// between the look and the watch raises no event, so it looks again until
// nothing has come.
func (h *hints) watch() {
	for range 100 { // a tree that changes all the time is polled
		before := h.relevant
		if h.notify == nil {
			return
		}
		if h.set(); maps.Equal(before, h.relevant) {
			return
		}
	}
}

// set sets the watches once. Setting one again is cheap, and restores it where its
// folder was replaced.
func (h *hints) set() {
	h.relevant = trail(h.path)
	folders := map[string]bool{}
	for name := range h.relevant {
		folders[filepath.Dir(name)] = true
	}
	for dir := range h.folders {
		if !folders[dir] {
			_ = h.notify.Remove(dir) // it may be gone with the folder
		}
	}
	h.folders = folders
	for dir := range folders {
		if err := h.notify.Add(dir); err != nil && !errors.Is(err, os.ErrNotExist) && !h.failed {
			h.failed = true
			h.logger.Warn("a folder cannot be watched, so changes there are found by polling alone", "path", dir, "err",
				err)
		}
	}
}

// trail returns the names whose change may change what path leads to: every part
// of the way, through all symbolic links, up to the file or the first part that
// is missing.
func trail(path string) map[string]bool {
	names := map[string]bool{}
	for range 40 { // as many links as Linux follows
		link := firstLink(path, names)
		target, err := os.Readlink(link)
		if err != nil {
			break // no more links, or it is gone by now
		}
		if !filepath.IsAbs(target) {
			target = filepath.Join(filepath.Dir(link), target)
		}
		path = filepath.Join(target, path[len(link):])
	}
	return names
}

// firstLink returns the first part of an absolute path that is a symbolic link,
// or the path, and adds the parts up to it, or to the first that is missing.
func firstLink(path string, names map[string]bool) string {
	for i := 1; i < len(path); i++ {
		if path[i] != filepath.Separator {
			continue
		}
		names[path[:i]] = true
		info, err := os.Lstat(path[:i])
		switch {
		case err != nil:
			return path
		case info.Mode()&os.ModeSymlink != 0:
			return path[:i]
		}
	}
	names[path] = true
	return path
}
