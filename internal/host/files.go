package host

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
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

// Files is server.properties, its copies, and the journal.
type Files struct {
	vm    *settings.Settings
	id    int32
	store *Store
	// Notes tells what happens to server.properties; nil in commands.
	Notes *Notes
	// SettingsNote is why no broker may be restarted with these settings; empty if one may.
	SettingsNote string
	// line judges the broker's command line; nil where nobody can.
	line func() unit.CommandLine
	// judge has the broker's own Kafka judge a file; nil where nobody does.
	judge judged

	mu      sync.Mutex
	journal restart.Journal
	running Process // as it was last asked
	seen    sight   // as it was last seen
}

var _ agent.Files = (*Files)(nil)

// sight is server.properties as it is, and what a manifest makes of it.
type sight struct {
	manifest string // its hash
	version  config.Version
	data     []byte
	file     *config.Properties // nil for one that cannot be understood
	desired  config.Desired
	rendered *config.Rendered // nil with err
	err      error
}

// ViewFiles are the files for a command, which writes none of them.
func ViewFiles(vm *settings.Settings, id int32, st *Store) *Files {
	return &Files{vm: vm, id: id, store: st, judge: lastJudged{vm}}
}

// OpenFiles reads the journal.
func OpenFiles(vm *settings.Settings, id int32, st *Store) (*Files, error) {
	f := &Files{vm: vm, id: id, store: st}
	b, err := os.ReadFile(f.state("journal.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return f, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the journal: %w", err)
	}
	if err := json.Unmarshal(b, &f.journal); err != nil || f.journal.Version != restart.JournalVersion {
		return nil, fmt.Errorf("the journal %s cannot be read by this agent (version %d, %w); if no restart of this "+
			"broker is under way, delete it", f.state("journal.json"), f.journal.Version, err)
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

func (f *Files) state(name string) string { return filepath.Join(f.vm.StateDir, name) }

// Learned keeps what the broker said of itself.
func (f *Files) Learned(p Process) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if p.Version.IsZero() {
		p.Version = f.running.Version
	}
	f.running = p
}

// Journal is the journal as it was last read or saved.
func (f *Files) Journal() restart.Journal {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.journal
}

// Render is what server.properties has to be for a manifest. The desired listeners are there with an
// error, too, as far as the manifest has any for this broker.
func (f *Files) Render(m *config.Manifest) (*config.Rendered, config.Desired, error) {
	s := f.look(m)
	return s.rendered, s.desired, s.err
}

// look reads server.properties. It is rendered once for a manifest and what the file has.
func (f *Files) look(m *config.Manifest) sight {
	desired, err := m.For(f.id)
	if err != nil {
		return sight{err: err}
	}
	data, err := f.Read()
	if err != nil {
		return sight{desired: desired, err: err}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	v := f.running.Version
	if s := f.seen; s.data != nil && s.manifest == m.Hash && s.version == v && bytes.Equal(s.data, data) {
		return s
	}
	s := sight{manifest: m.Hash, version: v, data: data, desired: desired}
	s.file, _ = config.ReadProperties(f.vm.ServerProperties, data) // Render says why not
	s.rendered, s.err = config.Render(config.RenderInput{
		Path: f.vm.ServerProperties, File: data, BrokerID: f.id, Desired: desired, Agents: f.vm.Kafka.Listener,
		Version: v, Origin: m.Origin, Exists: there,
	})
	f.seen = s
	return s
}

// there is false for a path that certainly leads to nothing. What must not be looked at may be there.
func there(path string) bool {
	_, err := os.Stat(path)
	return !errors.Is(err, fs.ErrNotExist)
}

// Read reads server.properties.
func (f *Files) Read() ([]byte, error) {
	path := f.vm.ServerProperties
	info, err := os.Stat(path)
	if err == nil && !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a file (%s); name the broker's server.properties in the settings", path,
			info.Mode().Type())
	}
	data, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrPermission):
		return nil, settings.Denied(fmt.Errorf("read %s: %w", path, err))
	case err != nil:
		return nil, fmt.Errorf("read %s: %w; name the broker's server.properties in the settings", path, err)
	}
	if err := durable.Current(path); err != nil {
		return nil, err
	}
	return data, nil
}

// Manifest implements agent.Files.
func (f *Files) Manifest(running restart.RunningFacts) restart.ManifestFacts {
	m, fault := f.store.Get()
	if m == nil {
		return restart.ManifestFacts{Fault: fault.Text, NoFile: fault.Missing}
	}
	facts := restart.ManifestFacts{
		Hash: m.Hash, Cluster: m.Cluster, Fault: fault.Text, Absent: m.Absent, Zones: m.Zones(), Table: m.NeedsTable(),
		Level: m.Level, LevelField: m.LevelField, Optional: m.Optional(),
		MaxUnavailable: m.Rollout.MaxUnavailable, Soak: m.Rollout.Soak, RefuseUnprotected: m.Rollout.RefuseUnprotected,
		HealthyThreshold: m.LoadBalancer.HealthyThreshold, PendingPolicy: restart.PendingPolicy(m.Rollout.PendingEdits),
	}
	s := f.look(m)
	err := s.err
	facts.Listeners = s.desired.Fingerprints()
	for _, e := range s.desired.Endpoints {
		if e.DuringRestart == "close" {
			facts.Close = append(facts.Close, e.Name)
			facts.Drain = max(facts.Drain, e.Drain)
		}
	}
	if err == nil {
		facts.FileChanges, facts.HiddenChanges = s.rendered.Changed, s.rendered.HiddenChanges
		f.Notes.looked(m.Hash, s.desired, s.rendered)
	}
	line := f.commandLine()
	if err == nil {
		for name, value := range s.rendered.BrokerProperties {
			if _, hidden := line.Overrides[name]; !hidden { // the process would never have it
				facts.Listeners[name] = value
			}
		}
	}
	if err == nil && s.rendered.Changed && line.Deaf != "" {
		// Only for a change: what the process runs already may be what the manifest says by other means.
		err = errors.New(line.Deaf)
	}
	if err == nil && f.SettingsNote != "" {
		err = errors.New(f.SettingsNote)
	}
	if err != nil {
		facts.Refusal = restart.NewReason(restart.CodeRefused, config.OneLine(err))
	}
	if running.Err == "" && running.Listeners != nil {
		f.compare(&facts, s, line.Overrides)
		if facts.Refusal == nil && s.rendered.Changed && f.judge != nil {
			facts.Refusal = f.judgement(s, len(facts.Pending) == 0)
		}
	}
	return facts
}

// compare says what a restart would bring that is not the manifest's. A file that cannot
// be understood is a refusal already.
func (f *Files) compare(facts *restart.ManifestFacts, s sight, overrides map[string]string) {
	if s.file == nil {
		return
	}
	f.mu.Lock()
	running := f.running
	f.mu.Unlock()
	start := s.file.Under(overrides)
	for _, e := range config.Pending(running.Values, start, s.desired, running.Version) {
		facts.Pending = append(facts.Pending, restart.PendingEdit(e))
	}
	for _, d := range config.DropsAhead(running.Values, start) {
		facts.Drops = append(facts.Drops, restart.DynamicDrop(d))
	}
}

// PortTaken says why Kafka could not bind a port of the manifest that it does not have yet; empty where it
// could, and where that is not known. It does not ask while the broker is being restarted: the question
// takes the port for an instant, and the broker might want it just then. Where a dynamic configuration gives a
// listener another port, Kafka reports that one, and the broker itself holds the one of its file (seen on 3.7.1).
func (f *Files) PortTaken(ctx context.Context, running restart.RunningFacts) string {
	m, _ := f.store.Get()
	f.mu.Lock()
	stage, have := f.journal.Stage, f.running.Listeners
	f.mu.Unlock()
	if m == nil || stage != restart.StageNone && stage != restart.StageApply || running.Listeners == nil ||
		running.Err != "" || len(running.Dynamic) > 0 {
		return ""
	}
	d, err := m.For(f.id)
	if err != nil {
		return "" // Manifest says so
	}
	want := d.Fingerprints()
	for _, e := range d.Endpoints {
		if running.Listeners[e.Name] == want[e.Name] {
			continue
		}
		switch err := Bindable(ctx, e.BindHost, e.BindPort); {
		case errors.Is(err, syscall.EADDRINUSE) && Holds(have, e.BindPort):
			// By the broker itself.
		case errors.Is(err, syscall.EADDRINUSE):
			return config.OneLine(fmt.Errorf("listener %s: port %d is taken (%w); %s, or choose another port for "+
				"`bind`", e.Name, e.BindPort, err, portuse.Advice(e.BindPort)))
		case errors.Is(err, syscall.EADDRNOTAVAIL):
			return config.OneLine(fmt.Errorf("listener %s: %s is no address of this machine (%w); correct `bind`, "+
				"such as 0.0.0.0 or `<host>`, or the broker's `host`", e.Name, e.BindHost, err))
		default:
			// Free, or such as a port below 1024, which Kafka's user may bind and ours has no right to: no proof.
		}
	}
	return ""
}

// What is kept in the state directory, with the journal and the manifest in force.
//
// Only the journal says whether server.properties is proven (Journal.Unproven). The mark says one
// thing less: since the last good copy was taken the agent has written the file. The copy is then
// not replaced. It is made before the file is written, and removed before a journal is saved that calls the
// file proven. An agent that dies between these two has a journal that calls the file unproven and no
// mark: the journal wins, and the process proves itself once more. If another manifest is applied before
// that, the copy is taken of the file as it is, which is right: the mark goes only when a process was seen
// to run what the file says.
const (
	lastGoodName = "server.properties.last-good"
	failedName   = "server.properties.failed" // what a rollback has replaced, for people
	markName     = "unproven"                 // its text, the hash of the manifest, is for people as well
)

// LastGood implements agent.Files.
func (f *Files) LastGood() bool {
	good, err := os.ReadFile(f.state(lastGoodName))
	if err != nil {
		return false
	}
	now, err := f.Read()
	return err == nil && bytes.Equal(good, now)
}

// Apply implements agent.Files. A file that this agent wrote and that no process has
// proved never becomes the last good one. Edits of others that no process has run are kept in
// it, since they are theirs, but for those with which Kafka would not start.
func (f *Files) Apply(manifest string) error {
	m, _ := f.store.Get()
	if m == nil {
		return errors.New("there is no manifest")
	}
	if m.Hash != manifest {
		return errors.New("the manifest has just changed; it is looked at again")
	}
	s := f.look(m)
	if s.err != nil {
		return s.err
	}
	mark := f.state(markName)
	if _, err := os.Stat(mark); errors.Is(err, fs.ErrNotExist) {
		old, err := f.startable(s)
		if err != nil {
			return err
		}
		if err := durable.WriteFile(f.state(lastGoodName), old, durable.Options{}); err != nil {
			return fmt.Errorf("keep the last good server.properties: %w", err)
		}
	}
	if !s.rendered.Changed {
		return nil
	}
	if err := durable.WriteFile(mark, []byte(m.Hash+"\n"), durable.Options{}); err != nil {
		return fmt.Errorf("note that server.properties is new: %w", err)
	}
	f.Notes.writing(s.rendered)
	if err := durable.WriteFile(f.vm.ServerProperties, s.rendered.File, durable.Options{}); err != nil {
		return err
	}
	f.Notes.wrote(m.Hash)
	return nil
}

// startable is the file without the edits with which Kafka would not start, as far as the
// process tells what it was started with.
func (f *Files) startable(s sight) ([]byte, error) {
	f.mu.Lock()
	running := f.running
	f.mu.Unlock()
	if running.Values == nil {
		return s.data, nil
	}
	start := s.file.Under(f.commandLine().Overrides)
	return config.TakeBack(s.file, config.Pending(running.Values, start, s.desired, running.Version))
}

// Restore implements agent.Files. What failed is kept next to it, for people.
func (f *Files) Restore() error {
	good, err := os.ReadFile(f.state(lastGoodName))
	if err != nil {
		return fmt.Errorf("read the last good server.properties: %w; put %s right by hand and restart the broker",
			err, f.vm.ServerProperties)
	}
	bad, err := f.Read()
	if err == nil {
		err = durable.WriteFile(f.state(failedName), bad, durable.Options{})
	}
	if err != nil {
		return fmt.Errorf("keep the server.properties that failed: %w", err)
	}
	f.Notes.wrote("")
	return durable.WriteFile(f.vm.ServerProperties, good, durable.Options{})
}

// SaveJournal implements agent.Files.
func (f *Files) SaveJournal(j restart.Journal) error {
	b, err := json.MarshalIndent(j, "", "  ")
	if err != nil {
		return err
	}
	if !j.Unproven {
		if err := os.Remove(f.state(markName)); err != nil && !errors.Is(err, fs.ErrNotExist) {
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
