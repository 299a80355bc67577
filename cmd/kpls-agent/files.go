package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"

	"example.com/kpls-agent/internal/agent"
	"example.com/kpls-agent/internal/config"
	"example.com/kpls-agent/internal/durable"
	"example.com/kpls-agent/internal/portuse"
	"example.com/kpls-agent/internal/restart"
	"example.com/kpls-agent/internal/settings"
	"example.com/kpls-agent/internal/unit"
)

// files is server.properties, its copies, and the journal.
type files struct {
	settings *settings.Settings
	id       int32
	store    *store
	notes    *fileNotes // nil in commands
	// settingsNote is why no broker may be restarted with these settings; empty if one may.
	settingsNote string
	// line judges the broker's command line; nil where nobody can.
	line func() unit.CommandLine

	mu      sync.Mutex
	journal restart.Journal
	running process // as it was last asked
}

var _ agent.Files = (*files)(nil)

func newFiles(s *settings.Settings, id int32, st *store) (*files, error) {
	f := &files{settings: s, id: id, store: st}
	b, err := os.ReadFile(f.state("journal.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return f, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the journal: %w", err)
	}
	if err := json.Unmarshal(b, &f.journal); err != nil || f.journal.Version != restart.JournalVersion {
		return nil, fmt.Errorf("the journal %s cannot be read by this agent (version %d, %w); if no restart of this broker is under way, delete it", f.state("journal.json"), f.journal.Version, err)
	}
	canonical(f.journal.Listeners)
	canonical(f.journal.Before)
	return f, nil
}

// canonical brings fingerprints of an earlier version of the agent up to date.
func canonical(fingerprints map[string]string) {
	for name, f := range fingerprints {
		fingerprints[name] = config.CanonicalFingerprint(f)
	}
}

func (f *files) state(name string) string { return filepath.Join(f.settings.StateDir, name) }

// learned keeps what the broker said of itself.
func (f *files) learned(p process) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if p.version.IsZero() {
		p.version = f.running.version
	}
	f.running = p
}

// render is what server.properties has to be for a manifest.
func (f *files) render(m *config.Manifest) (*config.Rendered, config.Desired, error) {
	desired, err := m.For(f.id)
	if err != nil {
		return nil, desired, err
	}
	data, err := f.read()
	if err != nil {
		return nil, desired, err
	}
	f.mu.Lock()
	v := f.running.version
	f.mu.Unlock()
	r, err := config.Render(config.RenderInput{Path: f.settings.ServerProperties, File: data, BrokerID: f.id, Desired: desired, Agents: f.settings.Kafka.Listener, Version: v})
	return r, desired, err
}

func (f *files) read() ([]byte, error) {
	path := f.settings.ServerProperties
	info, err := os.Stat(path)
	if err == nil && !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a file (%s); name the broker's server.properties in the settings", path, info.Mode().Type())
	}
	data, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("read %s: %w; give the agent's user the right to read it, for example through its group", path, err)
	case err != nil:
		return nil, fmt.Errorf("read %s: %w; name the broker's server.properties in the settings", path, err)
	}
	if err := durable.Current(path); err != nil {
		return nil, err
	}
	return data, nil
}

// Manifest implements agent.Files.
func (f *files) Manifest(running restart.RunningFacts) restart.ManifestFacts {
	m, fault := f.store.get()
	if m == nil {
		return restart.ManifestFacts{Fault: fault}
	}
	facts := restart.ManifestFacts{
		Hash: m.Hash, Cluster: m.Cluster, Fault: fault, Absent: m.Absent, Zones: m.Zones(), Table: m.NeedsTable(),
		MaxUnavailable: m.Rollout.MaxUnavailable, Soak: m.Rollout.Soak, RefuseUnprotected: m.Rollout.RefuseUnprotected,
		HealthyThreshold: m.LoadBalancer.HealthyThreshold, PendingPolicy: restart.PendingPolicy(m.Rollout.PendingEdits),
	}
	rendered, desired, err := f.render(m)
	facts.Listeners = desired.Fingerprints()
	for _, e := range desired.Endpoints {
		if e.DuringRestart == "close" {
			facts.Close = append(facts.Close, e.Name)
			facts.Drain = max(facts.Drain, e.Drain)
		}
	}
	if err == nil {
		facts.FileChanges, facts.HiddenChanges = rendered.Changed, rendered.HiddenChanges
		f.notes.looked(m.Hash, desired, rendered)
		err = f.portsFree(desired, running, facts.Listeners)
	}
	line := f.commandLine()
	if err == nil && rendered.Changed && line.Deaf != "" {
		// Only for a change: what the process runs already may be what the manifest says by other means.
		err = errors.New(line.Deaf)
	}
	if err == nil && f.settingsNote != "" {
		err = errors.New(f.settingsNote)
	}
	if err != nil {
		facts.Refusal = &restart.Reason{Code: restart.CodeRefused, Text: config.OneLine(err)}
	}
	if running.Err == "" && running.Listeners != nil {
		f.compare(&facts, desired, line.Overrides)
	}
	return facts
}

// compare says what a restart would bring that is not the manifest's. A file that cannot
// be read is a refusal already.
func (f *files) compare(facts *restart.ManifestFacts, desired config.Desired, overrides map[string]string) {
	data, err := f.read()
	if err != nil {
		return
	}
	file, err := config.ReadProperties(f.settings.ServerProperties, data)
	if err != nil {
		return
	}
	f.mu.Lock()
	running := f.running
	f.mu.Unlock()
	file = file.Under(overrides)
	for _, e := range config.Pending(running.values, file, desired, running.version) {
		facts.Pending = append(facts.Pending, restart.PendingEdit(e))
	}
	for _, d := range config.DropsAhead(running.values, file) {
		facts.Drops = append(facts.Drops, restart.DynamicDrop(d))
	}
}

// portsFree asks whether Kafka could bind the ports it does not have yet. It
// does not ask while the broker is being restarted: the question takes the port
// for an instant, and the broker might want it just then.
func (f *files) portsFree(d config.Desired, running restart.RunningFacts, want map[string]string) error {
	f.mu.Lock()
	step, have := f.journal.Step, f.running.listeners
	f.mu.Unlock()
	if step != restart.StepNone && step != restart.StepApply || running.Listeners == nil || running.Err != "" {
		return nil
	}
	for _, e := range d.Endpoints {
		if running.Listeners[e.Name] == want[e.Name] || ours(have, e.BindPort) {
			continue
		}
		l, err := net.Listen("tcp", net.JoinHostPort(e.BindHost, strconv.Itoa(e.BindPort))) //nolint:noctx // does not block: it binds a local address
		switch {
		case err == nil:
			_ = l.Close() // only bound, never used
		case errors.Is(err, syscall.EADDRINUSE):
			return fmt.Errorf("listener %s: port %d is taken (%w); %s, or choose another port for `bind`", e.Name, e.BindPort, err, portuse.Advice(e.BindPort))
		case errors.Is(err, syscall.EADDRNOTAVAIL):
			return fmt.Errorf("listener %s: %s is no address of this machine (%w); correct `bind` or the broker's `host`", e.Name, e.BindHost, err)
		default:
			// Such as a port below 1024, which Kafka's user may bind and ours may not: no proof.
		}
	}
	return nil
}

func ours(have []config.Effective, port int) bool {
	for _, l := range have {
		if l.BindPort == port {
			return true
		}
	}
	return false
}

const (
	lastGoodName = "server.properties.last-good"
	failedName   = "server.properties.failed"
	unprovenName = "unproven"
)

// LastGood implements agent.Files.
func (f *files) LastGood() bool {
	good, err := os.ReadFile(f.state(lastGoodName))
	if err != nil {
		return false
	}
	now, err := f.read()
	return err == nil && bytes.Equal(good, now)
}

// Apply implements agent.Files. A file that this agent wrote and that no process has
// proved never becomes the last good one. Edits of others that no process has run are kept in
// it, since they are theirs, but for those with which Kafka would not start.
func (f *files) Apply(manifest string) error {
	m, _ := f.store.get()
	if m == nil {
		return errors.New("there is no manifest")
	}
	if m.Hash != manifest {
		return errors.New("the manifest has just changed; it is looked at again")
	}
	rendered, desired, err := f.render(m)
	if err != nil {
		return err
	}
	unproven := f.state(unprovenName)
	if _, err := os.Stat(unproven); errors.Is(err, fs.ErrNotExist) {
		old, err := f.read()
		if err != nil {
			return err
		}
		if old, err = f.startable(old, desired); err != nil {
			return err
		}
		if err := durable.WriteFile(f.state(lastGoodName), old, durable.Options{}); err != nil {
			return fmt.Errorf("keep the last good server.properties: %w", err)
		}
	}
	if !rendered.Changed {
		return nil
	}
	if err := durable.WriteFile(unproven, []byte(m.Hash+"\n"), durable.Options{}); err != nil {
		return fmt.Errorf("note that server.properties is new: %w", err)
	}
	f.notes.writing(rendered)
	if err := durable.WriteFile(f.settings.ServerProperties, rendered.File, durable.Options{}); err != nil {
		return err
	}
	f.notes.wrote(m.Hash)
	return nil
}

// startable is a file without the edits with which Kafka would not start, as far as the
// process tells what it was started with.
func (f *files) startable(data []byte, desired config.Desired) ([]byte, error) {
	f.mu.Lock()
	running := f.running
	f.mu.Unlock()
	if running.values == nil {
		return data, nil
	}
	file, err := config.ReadProperties(f.settings.ServerProperties, data)
	if err != nil {
		return nil, err
	}
	return config.TakeBack(file, config.Pending(running.values, file.Under(f.commandLine().Overrides), desired, running.version))
}

// Restore implements agent.Files. What failed is kept beside, for people.
func (f *files) Restore() error {
	good, err := os.ReadFile(f.state(lastGoodName))
	if err != nil {
		return fmt.Errorf("read the last good server.properties: %w; put %s right by hand and restart the broker", err, f.settings.ServerProperties)
	}
	bad, err := f.read()
	if err == nil {
		err = durable.WriteFile(f.state(failedName), bad, durable.Options{})
	}
	if err != nil {
		return fmt.Errorf("keep the server.properties that failed: %w", err)
	}
	f.notes.wrote("")
	return durable.WriteFile(f.settings.ServerProperties, good, durable.Options{})
}

// SaveJournal implements agent.Files.
func (f *files) SaveJournal(j restart.Journal) error {
	b, err := json.MarshalIndent(j, "", "  ")
	if err != nil {
		return err
	}
	if !j.Unproven {
		if err := os.Remove(f.state(unprovenName)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if err := durable.WriteFile(f.state("journal.json"), append(b, '\n'), durable.Options{}); err != nil {
		return err
	}
	f.mu.Lock()
	f.journal = j
	f.mu.Unlock()
	return nil
}
