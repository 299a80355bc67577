package config

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fsnotify/fsnotify"

	"example.com/kpls-agent/test/patience"
)

func write(t *testing.T, path, text string) {
	t.Helper()
	tmp := path + ".tmp"
	if err := os.WriteFile(tmp, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(tmp, path); err != nil {
		t.Fatal(err)
	}
}

// watching runs a watcher and returns a function that waits until it has read a text.
func watching(t *testing.T, path string, poll time.Duration) func(want string) {
	t.Helper()
	w := NewWatcher(path, slog.New(slog.DiscardHandler))
	w.poll = poll
	return run(t, w)
}

func run(t *testing.T, w *Watcher) func(want string) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return func(want string) {
		t.Helper()
		deadline := time.After(patience.Long)
		for {
			select {
			case <-w.Changed():
				if data, err := w.Read(); err == nil && string(data) == want || want == "" && err != nil {
					return
				}
			case <-deadline:
				data, err := w.Read()
				t.Fatalf("waited for %q, have %q, %v", want, data, err)
			}
		}
	}
}

// never polls: only events can have led to the reading.
const never = time.Hour

func TestWatchEvents(t *testing.T) {
	path := filepath.Join(t.TempDir(), "manifest.yaml")
	wait := watching(t, path, never)
	wait("")
	write(t, path, "one")
	wait("one")
	if err := os.WriteFile(path, []byte("two"), 0o600); err != nil { // in place
		t.Fatal(err)
	}
	wait("two")
	write(t, path, "three")
	wait("three")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	wait("")
	write(t, path, "four")
	wait("four")
}

// TestWatchVolume replaces a file as mounted volumes do: manifest.yaml ->
// ..data/manifest.yaml, ..data -> a directory of its own for each version.
func TestWatchVolume(t *testing.T) {
	dir := t.TempDir()
	version := func(name, text string) {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, name, "manifest.yaml"), text)
		link := filepath.Join(dir, "..data_tmp")
		if err := os.Symlink(name, link); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(link, filepath.Join(dir, "..data")); err != nil {
			t.Fatal(err)
		}
	}
	version("..1", "one")
	path := filepath.Join(dir, "manifest.yaml")
	if err := os.Symlink("..data/manifest.yaml", path); err != nil {
		t.Fatal(err)
	}
	wait := watching(t, path, never)
	wait("one")
	version("..2", "two")
	wait("two")
	version("..3", "three")
	wait("three")
}

func TestWatchLinkIsMoved(t *testing.T) {
	a, b, dir := t.TempDir(), t.TempDir(), t.TempDir()
	write(t, filepath.Join(a, "m"), "one")
	write(t, filepath.Join(b, "m"), "two")
	path := filepath.Join(dir, "manifest.yaml")
	point := func(to string) {
		if err := os.Symlink(to, path+".l"); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".l", path); err != nil {
			t.Fatal(err)
		}
	}
	point(filepath.Join(a, "m"))
	wait := watching(t, path, never)
	wait("one")
	point(filepath.Join(b, "m"))
	wait("two")
	write(t, filepath.Join(b, "m"), "three") // in the directory that the link leads to now
	wait("three")
}

// TestWatchPolls has no events, as on a mount that another host writes to.
func TestWatchPolls(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "later")
	path := filepath.Join(dir, "manifest.yaml")
	w := NewWatcher(path, slog.New(slog.DiscardHandler))
	w.poll = 20 * time.Millisecond
	w.notify = func() (*fsnotify.Watcher, error) { return nil, errors.New("too many open files") }
	wait := run(t, w)
	wait("")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, path, "one")
	wait("one")
	write(t, path, "two")
	wait("two")
}

// TestWatchFoldersComeLater makes the folders one by one, and replaces one.
func TestWatchFoldersComeLater(t *testing.T) {
	top := t.TempDir()
	path := filepath.Join(top, "etc", "agent", "manifest.yaml")
	wait := watching(t, path, never)
	wait("")
	if err := os.Mkdir(filepath.Join(top, "etc"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(top, "etc", "agent"), 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, path, "one")
	wait("one")
	if err := os.Rename(filepath.Join(top, "etc"), filepath.Join(top, "old")); err != nil {
		t.Fatal(err)
	}
	wait("")
	if err := os.MkdirAll(filepath.Join(top, "etc", "agent"), 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, path, "two")
	wait("two")
}

// TestWatchFolderIsALink moves a link two folders above the file.
func TestWatchFolderIsALink(t *testing.T) {
	top := t.TempDir()
	for _, v := range []string{"v1", "v2"} {
		if err := os.MkdirAll(filepath.Join(top, v, "conf"), 0o700); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(top, v, "conf", "m"), v)
	}
	current := filepath.Join(top, "current")
	if err := os.Symlink("v1", current); err != nil {
		t.Fatal(err)
	}
	wait := watching(t, filepath.Join(current, "conf", "m"), never)
	wait("v1")
	if err := os.Symlink("v2", current+".new"); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(current+".new", current); err != nil {
		t.Fatal(err)
	}
	wait("v2")
}

// TestWatchLinkLoop only must not hang.
func TestWatchLinkLoop(t *testing.T) {
	path := filepath.Join(t.TempDir(), "m")
	if err := os.Symlink(path, path); err != nil {
		t.Fatal(err)
	}
	wait := watching(t, path, never)
	wait("")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	write(t, path, "one")
	wait("one")
}

// TestWatchPartialWrites writes in pieces that follow each other closely: only the
// whole is ever shown.
func TestWatchPartialWrites(t *testing.T) {
	path := filepath.Join(t.TempDir(), "m")
	write(t, path, "old")
	w := NewWatcher(path, slog.New(slog.DiscardHandler))
	w.poll = never
	wait := run(t, w)
	wait("old")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	for range 20 {
		if _, err := f.WriteString("0123456789"); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	quick := time.Since(begun) < settle
	whole := strings.Repeat("0123456789", 20)
	for {
		<-w.Changed()
		data, err := w.Read()
		if err == nil && string(data) == whole {
			return
		}
		if quick {
			t.Fatalf("shown half-written: %q, %v", data, err)
		}
	}
}

// TestWatchStrangeFiles: what is no regular file is an error and holds nothing up.
func TestWatchStrangeFiles(t *testing.T) {
	dir := t.TempDir()
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{pipe, dir} {
		r := readWatched(path)
		if want := "read the manifest: " + path + " is not a regular file; put the file in its place"; r.err == nil || r.err.Error() != want {
			t.Errorf("got  %v\nwant %s", r.err, want)
		}
	}
	huge := filepath.Join(dir, "huge")
	write(t, huge, strings.Repeat("#", MaxFileSize+1000))
	if r := readWatched(huge); r.err != nil || len(r.data) != MaxFileSize+1 {
		t.Errorf("%d bytes, %v", len(r.data), r.err)
	}
}

// TestWatchLeavesNothing counts what inotify keeps open.
func TestWatchLeavesNothing(t *testing.T) {
	open := func() (n int) {
		entries, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if to, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil && to == "anon_inode:inotify" {
				n++
			}
		}
		return n
	}
	before := open()
	t.Run("run", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "m")
		wait := watching(t, path, never)
		wait("")
		if open() != before+1 {
			t.Errorf("%d inotify instances while it runs, %d before", open(), before)
		}
	})
	if open() != before {
		t.Errorf("%d inotify instances, %d before", open(), before)
	}
}

// TestWatchMount has a file replaced under its bind mount: it loses its name, raises no event, and its content
// stays. An open file that is removed is the same; durable.Current is tested on a bind mount.
func TestWatchMount(t *testing.T) {
	name := filepath.Join(t.TempDir(), "manifest.yaml")
	write(t, name, "one")
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	path := fmt.Sprintf("/proc/self/fd/%d", f.Fd())
	wait := watching(t, path, 10*time.Millisecond)
	wait("one")
	if err := os.Remove(name); err != nil {
		t.Fatal(err)
	}
	wait("")
	if data, err := ReadFile(path); data != nil || err == nil || !strings.Contains(err.Error(), "was replaced under its bind mount") {
		t.Errorf("%q, %v", data, err)
	}
}
