package host

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"

	"example.com/kpls-agent/internal/config"
	"example.com/kpls-agent/internal/durable"
	"example.com/kpls-agent/internal/restart"
	"example.com/kpls-agent/internal/settings"
)

// Store holds the manifest in force: the newest good one, kept on disk. So a
// broken file never takes effect, and a missing one removes nothing.
type Store struct {
	vm  *settings.Settings
	log *slog.Logger
	// view is true for a command, which writes nothing.
	view bool

	mu      sync.Mutex
	current *config.Manifest
	fault   Fault
	seen    []byte // bytes last judged
	judged  bool
}

// Fault is why the manifest file is not in force.
type Fault struct {
	Text string // empty for none
	// Missing is true where there is no file, and never was a manifest in force: nothing is wrong yet.
	Missing bool
}

// Holding is a store with one manifest, nil for none, that takes over no other one.
func Holding(vm *settings.Settings, m *config.Manifest) *Store {
	return &Store{vm: vm, log: slog.New(slog.DiscardHandler), current: m}
}

// OpenStore reads the manifest that was last in force.
func OpenStore(vm *settings.Settings, log *slog.Logger) *Store {
	st := &Store{vm: vm, log: log}
	if b, err := os.ReadFile(st.path()); err == nil {
		if m, err := config.ParseManifest(st.path(), b); err == nil {
			st.current = m
		} else {
			log.Warn("the last good manifest cannot be read any more; the next one is taken without comparing",
				"err", err)
		}
	}
	return st
}

// Preview is a store as the agent of this VM would have it with its manifest file as it is now, for commands: it writes
// nothing. Where the copy of the manifest in force is not for this user to read, nothing is compared with it.
func Preview(vm *settings.Settings) *Store {
	st := OpenStore(vm, slog.New(slog.DiscardHandler))
	st.view = true
	st.Reload()
	return st
}

func (st *Store) path() string { return KeptManifest(st.vm) }

// KeptManifest is the copy of the manifest in force, which is not always there.
func KeptManifest(vm *settings.Settings) string { return filepath.Join(vm.StateDir, "manifest.yaml") }

// Successor returns why the agent of this VM would not take over a manifest that is right by itself, or nil, and what
// the manifest moves that the load balancer has to follow. unseen is why neither is known: the copy of the manifest in
// force cannot be read by who asks.
func Successor(vm *settings.Settings, m *config.Manifest) (moves []string, refusal, unseen error) {
	kept := KeptManifest(vm)
	data, err := os.ReadFile(kept)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil, nil // there is none yet
	case err != nil:
		return nil, nil, fmt.Errorf("whether the agent takes this manifest over cannot be seen: %w; ask as root", err)
	}
	prev, err := config.ParseManifest(kept, data)
	if err != nil {
		return nil, nil, nil //nolint:nilerr // the agent takes the next one without comparing, too (OpenStore)
	}
	return config.Moves(prev, m), config.CheckSuccession(prev, m), nil
}

// Get returns the manifest in force, nil if there never was one, and why the file is not.
func (st *Store) Get() (*config.Manifest, Fault) {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.current, st.fault
}

// Brokers is how many brokers the manifest's table has, 0 if it has none.
func (st *Store) Brokers() int {
	if m, _ := st.Get(); m != nil {
		return len(m.Brokers)
	}
	return 0
}

// Reload judges the manifest file as it is now. It returns whether anything changed.
func (st *Store) Reload() bool { return st.Update(config.ReadFile(st.vm.Manifest)) }

// Update judges the manifest file as it is now. It returns whether anything changed.
func (st *Store) Update(data []byte, err error) bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	if err == nil && st.judged && st.fault.Text == "" && bytes.Equal(data, st.seen) {
		return false
	}
	was, wasFault := st.current, st.fault
	st.seen, st.judged = data, err == nil
	st.fault = Fault{}
	if err == nil {
		err = st.accept(data)
	}
	if err != nil {
		st.fault = Fault{
			Text:    config.OneLine(st.explain(err)),
			Missing: errors.Is(err, fs.ErrNotExist) && st.current == nil,
		}
		switch {
		case st.fault == wasFault:
		case st.fault.Missing: // the agent was installed, and that is all
			st.log.Info("idle until there is a manifest", "file", st.vm.Manifest)
		default:
			st.log.Error("the manifest file is not in force", "file", st.vm.Manifest, "err", st.fault.Text,
				"in_force", st.hash())
		}
		return st.fault != wasFault
	}
	if was == nil || was.Hash != st.current.Hash {
		st.log.Info("manifest taken over", "hash", restart.Short(st.current.Hash), "cluster", st.current.Cluster)
		return true
	}
	return wasFault.Text != ""
}

func (st *Store) hash() string {
	if st.current == nil {
		return "none"
	}
	return restart.Short(st.current.Hash)
}

func (st *Store) accept(data []byte) error {
	m, err := config.ParseManifest(st.vm.Manifest, data)
	if err != nil {
		return err
	}
	if err := config.CheckSuccession(st.current, m); err != nil {
		return err
	}
	if st.current != nil && st.current.Hash == m.Hash {
		st.current = m // its faults are those of the operator's file, and not of the copy
		return nil
	}
	if !st.view {
		if err := durable.WriteFile(st.path(), data, durable.Options{}); err != nil {
			return fmt.Errorf("keep the manifest: %w", err)
		}
	}
	st.current = m
	return nil
}

func (st *Store) explain(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		if st.current == nil {
			return fmt.Errorf("%s does not exist; put the manifest there", st.vm.Manifest)
		}
		return fmt.Errorf("%s does not exist any more; the last good manifest stays in force, restore the file",
			st.vm.Manifest)
	}
	return settings.Denied(err)
}
