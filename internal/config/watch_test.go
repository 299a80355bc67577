package config

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"
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
		deadline := time.After(30 * time.Second)
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

// never polls, so that only events can have told.
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

// TestWatchPolls: the directory does not exist at first, so no event can come.
func TestWatchPolls(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "later")
	path := filepath.Join(dir, "manifest.yaml")
	wait := watching(t, path, 20*time.Millisecond)
	wait("")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, path, "one")
	wait("one")
}
