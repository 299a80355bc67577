package main

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
	"example.com/kpls-agent/internal/settings"
)

// store holds the manifest in force: the newest good one, kept on disk, so that
// a broken file never takes effect and a missing one takes nothing away.
type store struct {
	vm  *settings.Settings
	log *slog.Logger

	mu      sync.Mutex
	current *config.Manifest
	fault   string // why the newest is not in force
	seen    []byte // bytes last judged
	judged  bool
}

// holding is a store with one manifest, nil for none, that takes over no other one.
func holding(vm *settings.Settings, m *config.Manifest) *store {
	return &store{vm: vm, log: slog.New(slog.DiscardHandler), current: m}
}

// newStore reads the manifest that was last in force.
func newStore(vm *settings.Settings, log *slog.Logger) *store {
	st := &store{vm: vm, log: log}
	if b, err := os.ReadFile(st.path()); err == nil {
		if m, err := config.ParseManifest(st.path(), b); err == nil {
			st.current = m
		} else {
			log.Warn("the last good manifest cannot be read any more; the next one is taken without comparing", "err", err)
		}
	}
	return st
}

func (st *store) path() string { return keptManifest(st.vm) }

// keptManifest is the copy of the manifest in force, which may not be there.
func keptManifest(vm *settings.Settings) string { return filepath.Join(vm.StateDir, "manifest.yaml") }

// get returns the manifest in force, nil if there never was one, and why a newer one is not.
func (st *store) get() (*config.Manifest, string) {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.current, st.fault
}

// brokers is how many brokers the manifest's table has, 0 if it has none.
func (st *store) brokers() int {
	if m, _ := st.get(); m != nil {
		return len(m.Brokers)
	}
	return 0
}

// update judges the manifest file as it is now. It returns whether anything changed.
func (st *store) update(data []byte, err error) bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	if err == nil && st.judged && st.fault == "" && bytes.Equal(data, st.seen) {
		return false
	}
	was, wasFault := st.current, st.fault
	st.seen, st.judged = data, err == nil
	st.fault = ""
	if err == nil {
		err = st.accept(data)
	}
	if err != nil {
		st.fault = config.OneLine(st.explain(err))
		switch {
		case st.fault == wasFault:
		case errors.Is(err, fs.ErrNotExist) && st.current == nil: // the agent was installed, and that is all
			st.log.Info("idle until there is a manifest", "file", st.vm.Manifest)
		default:
			st.log.Error("manifest is not taken over", "file", st.vm.Manifest, "err", st.fault, "in_force", st.hash())
		}
		return st.fault != wasFault
	}
	if was == nil || was.Hash != st.current.Hash {
		st.log.Info("manifest taken over", "hash", short(st.current.Hash), "cluster", st.current.Cluster)
		return true
	}
	return wasFault != ""
}

func (st *store) hash() string {
	if st.current == nil {
		return "none"
	}
	return short(st.current.Hash)
}

func (st *store) accept(data []byte) error {
	m, err := config.ParseManifest(st.vm.Manifest, data)
	if err != nil {
		return err
	}
	if err := config.CheckSuccession(st.current, m); err != nil {
		return err
	}
	if st.current != nil && st.current.Hash == m.Hash {
		return nil
	}
	if err := durable.WriteFile(st.path(), data, durable.Options{}); err != nil {
		return fmt.Errorf("keep the manifest: %w", err)
	}
	st.current = m
	return nil
}

func (st *store) explain(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		if st.current == nil {
			return fmt.Errorf("%s does not exist; put the manifest there", st.vm.Manifest)
		}
		return fmt.Errorf("%s does not exist any more; the last good manifest stays in force, put the file back", st.vm.Manifest)
	}
	return err
}
