package host

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"example.com/kpls-agent/internal/config"
	"example.com/kpls-agent/internal/restart"
	"example.com/kpls-agent/internal/settings"
	"example.com/kpls-agent/internal/unit"
)

const brokerFile = `# a broker
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:29092
controller.listener.names=CONTROLLER
inter.broker.listener.name=INTERNAL
listeners=INTERNAL://127.0.0.1:9092,CONTROLLER://127.0.0.1:29092
advertised.listeners=INTERNAL://127.0.0.1:9092
listener.security.protocol.map=INTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs=data
`

const goodManifest = `version: 1
cluster: c
listeners:
  EXTERNAL:
    bind: 127.0.0.1:39092
    security_protocol: PLAINTEXT
    advertised: <broker_id>.example.com:<port>
    probe_port: 39192
brokers:
  1: {ports: {EXTERNAL: 9093}}
`

// stateDir is a VM with a state directory of the given contents; nil is no such file.
func stateDir(t testing.TB, found map[string][]byte) *settings.Settings {
	t.Helper()
	dir := t.TempDir()
	s := &settings.Settings{StateDir: filepath.Join(dir, "state"), ServerProperties: filepath.Join(dir, "server.properties"), Manifest: filepath.Join(dir, "manifest.yaml")}
	if err := os.Mkdir(s.StateDir, 0o700); err != nil {
		t.Fatal(err)
	}
	write := func(path string, data []byte) {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(s.ServerProperties, []byte(brokerFile))
	write(s.Manifest, []byte(goodManifest))
	for name, data := range found {
		if data != nil {
			write(filepath.Join(s.StateDir, name), data)
		}
	}
	return s
}

func contents(t testing.TB, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return data
}

// TestJournals: one that cannot be read stops the agent with a word, and stays as it is.
func TestJournals(t *testing.T) {
	for _, test := range []struct{ name, journal, want string }{
		{"of this version", `{"version":1,"step":"prove"}`, ""},
		{"of a later version", `{"version":2}`, "cannot be read by this agent (version 2"},
		{"of no version", `{}`, "version 0"},
		{"cut short", `{"version":1,"st`, "unexpected end of JSON input"},
		{"empty", ``, "unexpected end of JSON input"},
		{"garbage", "\x00\xff", "invalid character"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := stateDir(t, map[string][]byte{"journal.json": []byte(test.journal)})
			_, err := OpenFiles(s, 1, OpenStore(s, slog.New(slog.DiscardHandler)))
			switch {
			case test.want == "" && err != nil:
				t.Error(err)
			case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), "delete it")):
				t.Errorf("got %v, want %s", err, test.want)
			}
			if got := contents(t, filepath.Join(s.StateDir, "journal.json")); string(got) != test.journal {
				t.Errorf("the journal is now %q", got)
			}
		})
	}
}

// FuzzStateDir: whatever lies in the state directory, nothing panics, and
// server.properties is at every moment the one that was, the one that the
// manifest asks for, or the last good copy.
func FuzzStateDir(f *testing.F) {
	journal := []byte(`{"version":1,"step":"apply","target":"h","unproven":true,"before":{"EXTERNAL":"x"},"started":"2030-01-01T00:00:00Z"}`)
	f.Add(journal, []byte(goodManifest), []byte(brokerFile), []byte("h\n"), []byte(`{"1":"127.0.0.1:9092"}`))
	f.Add(journal[:40], []byte(goodManifest)[:50], []byte(brokerFile)[:60], []byte{}, []byte(`{"1":`))
	f.Add([]byte(`{"version":2}`), []byte("version: 2\n"), []byte{}, []byte(nil), []byte(`[]`))
	f.Add([]byte("\x00"), []byte("\xff\xfe"), []byte("\xef\xbb\xbflisteners=A://:1\n"), []byte("x"), []byte("null"))
	f.Fuzz(func(t *testing.T, journal, manifest, lastGood, unproven, addresses []byte) {
		s := stateDir(t, map[string][]byte{
			"journal.json": journal, "manifest.yaml": manifest, lastGoodName: lastGood, markName: unproven, "brokers.json": addresses,
		})
		loadAddresses(s)
		st := OpenStore(s, slog.New(slog.DiscardHandler))
		files, err := OpenFiles(s, 1, st)
		if err != nil {
			if !bytes.Equal(contents(t, filepath.Join(s.StateDir, "journal.json")), journal) {
				t.Fatal("a journal that cannot be read was changed")
			}
			return
		}
		st.Update(os.ReadFile(s.Manifest))
		wanted := [][]byte{[]byte(brokerFile)}
		if m, _ := st.Get(); m != nil {
			if r, _, err := files.Render(m); err == nil {
				wanted = append(wanted, r.File)
			}
		}
		if lastGood != nil {
			wanted = append(wanted, lastGood)
		}
		whole := func(after string) {
			now := contents(t, s.ServerProperties)
			for _, w := range wanted {
				if bytes.Equal(w, now) {
					return
				}
			}
			t.Fatalf("after %s server.properties is %q", after, now)
		}
		facts := files.Manifest(restart.RunningFacts{})
		files.LastGood()
		applied := files.Apply(facts.Hash)
		whole("apply")
		if good := contents(t, filepath.Join(s.StateDir, lastGoodName)); applied == nil && unproven == nil && !bytes.Equal(good, []byte(brokerFile)) {
			t.Fatalf("the last good copy is %q", good)
		}
		if err := files.SaveJournal(restart.Journal{Version: restart.JournalVersion, FileState: restart.FileState{Unproven: true}}); err != nil {
			t.Fatal(err)
		}
		_ = files.Restore() // without a last good copy there is none to restore
		whole("restore")
		if again, err := OpenFiles(s, 1, st); err != nil || !again.Journal().Unproven {
			t.Fatalf("what was saved is not what is read: %v", err)
		}
	})
}

// TestUnprovenIsTheJournals: an agent that dies between the removal of the mark and the journal's save
// finds a file that has to be proven, and loses neither it nor its last good copy.
func TestUnprovenIsTheJournals(t *testing.T) {
	vm := stateDir(t, nil)
	st := OpenStore(vm, slog.New(slog.DiscardHandler))
	st.Update([]byte(goodManifest), nil)
	open := func() *Files {
		t.Helper()
		f, err := OpenFiles(vm, 1, st)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	apply := func(f *Files) {
		t.Helper()
		if err := errors.Join(f.SaveJournal(restart.Journal{Version: restart.JournalVersion, FileState: restart.FileState{Unproven: true}}), f.Apply(f.Manifest(restart.RunningFacts{}).Hash)); err != nil {
			t.Fatal(err)
		}
	}
	good, mark := filepath.Join(vm.StateDir, lastGoodName), filepath.Join(vm.StateDir, markName)
	apply(open())
	first := contents(t, vm.ServerProperties)
	if err := os.Remove(mark); err != nil { // as SaveJournal of a proven file does first
		t.Fatal(err)
	}
	f := open()
	if !f.Journal().Unproven {
		t.Error("the file counts as proven")
	}
	if string(contents(t, good)) != brokerFile {
		t.Errorf("the last good copy is %q", contents(t, good))
	}
	st.Update([]byte(strings.Replace(goodManifest, "39092", "39093", 1)), nil)
	apply(f)
	if !bytes.Equal(contents(t, good), first) {
		t.Errorf("the last good copy is not what a process was seen to run: %q", contents(t, good))
	}
	// While nothing was proven since, the copy stays.
	st.Update([]byte(goodManifest), nil)
	apply(f)
	if !bytes.Equal(contents(t, good), first) {
		t.Errorf("a file that nobody has proven is the last good copy: %q", contents(t, good))
	}
	if err := f.SaveJournal(restart.Journal{Version: restart.JournalVersion}); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(mark); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the mark of a proven file: %v", err)
	}
}

// TestRenderedOnce: what the manifest makes of server.properties is made once for the same bytes.
// A key store that is certainly not there is a warning; one that the agent must not look at is none.
func TestKeyStoreIsNotThere(t *testing.T) {
	vm := stateDir(t, nil)
	dir := filepath.Dir(vm.ServerProperties)
	store := filepath.Join(dir, "external.pem")
	text := strings.Replace(goodManifest, "security_protocol: PLAINTEXT", "security_protocol: SSL\n    properties:\n      ssl.keystore.type: PEM\n"+
		"      ssl.keystore.location: "+store, 1)
	warnings := func() []string {
		t.Helper()
		st := OpenStore(vm, slog.New(slog.DiscardHandler))
		st.Update([]byte(text), nil)
		f, err := OpenFiles(vm, 1, st)
		if err != nil {
			t.Fatal(err)
		}
		m, _ := st.Get()
		r, _, err := f.Render(m)
		if err != nil {
			t.Fatal(err)
		}
		return r.Warnings
	}
	want := "listener EXTERNAL: ssl.keystore.location " + store + " is not there, or not visible to kpls-agent"
	if got := warnings(); !slices.Contains(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if err := os.WriteFile(store, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := warnings(); len(got) > 0 {
		t.Errorf("it is there: %q", got)
	}
}

func TestRenderedOnce(t *testing.T) {
	vm := stateDir(t, nil)
	st := OpenStore(vm, slog.New(slog.DiscardHandler))
	st.Update([]byte(goodManifest), nil)
	f, err := OpenFiles(vm, 1, st)
	if err != nil {
		t.Fatal(err)
	}
	m, _ := st.Get()
	render := func() *config.Rendered {
		t.Helper()
		r, _, err := f.Render(m)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	first := render()
	if render() != first {
		t.Error("it is rendered again")
	}
	f.Learned(Process{Version: config.Version{Major: 3, Minor: 7, Patch: 1}})
	second := render()
	if second == first {
		t.Error("another version of Kafka changes nothing")
	}
	if err := os.WriteFile(vm.ServerProperties, []byte(brokerFile+"num.io.threads=8\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	third := render()
	if third == second || !strings.Contains(string(third.File), "num.io.threads=8") {
		t.Errorf("another file changes nothing: %s", third.File)
	}
	changed := strings.Replace(goodManifest, "39092", "39093", 1)
	st.Update([]byte(changed), nil)
	if m, _ = st.Get(); render() == third {
		t.Error("another manifest changes nothing")
	}
}

// TestPortTaken: a port that the process does not have yet is tried, but not while the broker is restarted.
func TestPortTaken(t *testing.T) {
	held, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	port := held.Addr().(*net.TCPAddr).Port
	vm := stateDir(t, nil)
	st := OpenStore(vm, slog.New(slog.DiscardHandler))
	st.Update([]byte(strings.Replace(goodManifest, "39092", strconv.Itoa(port), 1)), nil)
	f, err := OpenFiles(vm, 1, st)
	if err != nil {
		t.Fatal(err)
	}
	running := restart.RunningFacts{Listeners: map[string]string{"INTERNAL": "x"}}
	taken := fmt.Sprintf("listener EXTERNAL: port %d is taken (", port)
	if why := f.PortTaken(t.Context(), running); !strings.HasPrefix(why, taken) || !strings.HasSuffix(why, "or choose another port for `bind`") {
		t.Errorf("taken: %q", why)
	}
	if r := f.Manifest(running).Refusal; r != nil {
		t.Errorf("the manifest is refused for a port: %v", r)
	}
	unknown := restart.RunningFacts{Err: "no answer", Listeners: running.Listeners}
	dynamic := restart.RunningFacts{Dynamic: []string{"listeners"}, Listeners: running.Listeners}
	for name, r := range map[string]restart.RunningFacts{"not asked": {}, "no answer": unknown, "dynamic": dynamic} {
		if why := f.PortTaken(t.Context(), r); why != "" {
			t.Errorf("%s: %q", name, why)
		}
	}
	if err := f.SaveJournal(restart.Journal{Version: restart.JournalVersion, Stage: restart.StageRestart}); err != nil {
		t.Fatal(err)
	}
	if why := f.PortTaken(t.Context(), running); why != "" {
		t.Errorf("in a restart: %q", why)
	}
	if err := f.SaveJournal(restart.Journal{Version: restart.JournalVersion}); err != nil {
		t.Fatal(err)
	}
	f.Learned(Process{Listeners: []config.Effective{{Name: "OTHER", BindPort: port}}})
	if why := f.PortTaken(t.Context(), running); why != "" {
		t.Errorf("the broker's own, by another name: %q", why)
	}
	st.Update([]byte(strings.Replace(goodManifest, "127.0.0.1:39092", "192.0.2.1:39092", 1)), nil)
	if why := f.PortTaken(t.Context(), running); !strings.HasPrefix(why, "listener EXTERNAL: 192.0.2.1 is no address of this machine") {
		t.Errorf("no address of ours: %q", why)
	}
	f.Learned(Process{Listeners: []config.Effective{{Name: "EXTERNAL", BindPort: 39092}}})
	if why := f.PortTaken(t.Context(), running); !strings.HasPrefix(why, "listener EXTERNAL: 192.0.2.1 is no address of this machine") {
		t.Errorf("no address of ours, and the broker has the port at another one: %q", why)
	}
}

// What was decided for one manifest must not write another one, of which the
// journal does not know.
func TestApplyOfAnOlderManifest(t *testing.T) {
	s := stateDir(t, nil)
	st := OpenStore(s, slog.New(slog.DiscardHandler))
	st.Update([]byte(goodManifest), nil)
	f, err := OpenFiles(s, 1, st)
	if err != nil {
		t.Fatal(err)
	}
	decided := f.Manifest(restart.RunningFacts{}).Hash
	st.Update([]byte(goodManifest+"\n"), nil)
	before := contents(t, s.ServerProperties)
	if err := f.Apply(decided); err == nil || err.Error() != "the manifest has just changed; it is looked at again" {
		t.Errorf("got %v", err)
	}
	if now := contents(t, s.ServerProperties); !bytes.Equal(before, now) {
		t.Errorf("server.properties is now %q", now)
	}
	if err := f.Apply(f.Manifest(restart.RunningFacts{}).Hash); err != nil || bytes.Equal(before, contents(t, s.ServerProperties)) {
		t.Errorf("the newer one is not applied: %v", err)
	}
}

// The last good copy keeps other people's edits, and none with which Kafka would not start.
func TestLastGoodStarts(t *testing.T) {
	s := stateDir(t, nil)
	st := OpenStore(s, slog.New(slog.DiscardHandler))
	st.Update([]byte(goodManifest), nil)
	f, err := OpenFiles(s, 1, st)
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]config.RunningValue{}
	started, err := config.ReadProperties("server.properties", []byte(brokerFile))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.SplitSeq(brokerFile, "\n") {
		if name, _, ok := strings.Cut(line, "="); ok {
			value, _ := started.Get(name)
			values[name] = config.RunningValue{Value: value, Settings: []config.Setting{{Name: name, Source: config.SourceStatic, Value: value}}}
		}
	}
	f.Learned(Process{Values: values})
	running := restart.RunningFacts{Listeners: map[string]string{"INTERNAL": "x"}}
	if m := f.Manifest(running); m.Pending != nil || m.PendingPolicy != restart.PendingRefuseInvalid {
		t.Errorf("%+v", m.Pending)
	}
	edited := brokerFile + "num.network.threads=4\nnum.io.threads=8 # tuned\n"
	if err := os.WriteFile(s.ServerProperties, []byte(edited), 0o600); err != nil {
		t.Fatal(err)
	}
	facts := f.Manifest(running)
	if d := cmp.Diff([]restart.PendingEdit{
		{Name: "num.io.threads", File: "8 # tuned", Invalid: "it is not a number of type INT"},
		{Name: "num.network.threads", File: "4"},
	}, facts.Pending); d != "" {
		t.Error(d)
	}
	// What the command line has is neither pending nor invalid, and of no use to be taken back.
	f.line = func() unit.CommandLine {
		return unit.CommandLine{Overrides: map[string]string{"num.io.threads": "16", "num.network.threads": "2"}}
	}
	if d := cmp.Diff([]restart.PendingEdit{
		{Name: "num.io.threads", File: "16", Override: true}, {Name: "num.network.threads", File: "2", Override: true},
	}, f.Manifest(running).Pending); d != "" {
		t.Error(d)
	}
	for name, value := range f.line().Overrides {
		values[name] = config.RunningValue{Value: value, Settings: []config.Setting{{Name: name, Source: config.SourceStatic, Value: value}}}
	}
	if m := f.Manifest(running); m.Pending != nil {
		t.Errorf("%+v", m.Pending)
	}
	if got := f.Hidden(); len(got) != 2 || got[0] != (config.PendingEdit{Name: "num.io.threads", Running: "16", File: "8 # tuned"}) {
		t.Errorf("hidden: %+v", got)
	}
	f.line = nil
	delete(values, "num.io.threads")
	delete(values, "num.network.threads")
	if err := f.Apply(facts.Hash); err != nil {
		t.Fatal(err)
	}
	if now := string(contents(t, s.ServerProperties)); !strings.Contains(now, "num.io.threads=8 # tuned") || !strings.Contains(now, "EXTERNAL") {
		t.Errorf("the edits of others are not the agent's to change: %s", now)
	}
	if err := f.Restore(); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(brokerFile+"num.network.threads=4\n", string(contents(t, s.ServerProperties))); d != "" {
		t.Error(d)
	}
	if !f.LastGood() {
		t.Error("what was restored is not the last good copy")
	}
}

// TestReplacedUnderItsMount has server.properties replaced under its bind mount while the agent runs: the broker,
// outside of the mount, would start with a file that the agent does not see.
func TestReplacedUnderItsMount(t *testing.T) {
	vm := stateDir(t, nil)
	open, err := os.Open(vm.ServerProperties)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = open.Close() }()
	source := vm.ServerProperties
	vm.ServerProperties = fmt.Sprintf("/proc/self/fd/%d", open.Fd())
	st := OpenStore(vm, slog.New(slog.DiscardHandler))
	st.Update(config.ReadFile(vm.Manifest))
	f, err := OpenFiles(vm, 1, st)
	if err != nil {
		t.Fatal(err)
	}
	if r := f.Manifest(restart.RunningFacts{}).Refusal; r != nil {
		t.Fatalf("before: %+v", r)
	}
	if err := os.Remove(source); err != nil { // its name goes, as when another file is renamed over it
		t.Fatal(err)
	}
	const want = " was replaced under its bind mount, and here its old content stays; mount the folder "
	if r := f.Manifest(restart.RunningFacts{}).Refusal; r == nil || r.Code != restart.CodeRefused || !strings.Contains(r.Text(), want) {
		t.Errorf("after: %+v", r)
	}
	if err := f.Apply(st.current.Hash); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("applied: %v", err)
	}
}

// TestRefusedWithOldSettings: a broker is not restarted with settings that are not the
// newest, and `status` says why. A refusal of the manifest's own goes first.
func TestRefusedWithOldSettings(t *testing.T) {
	vm := stateDir(t, nil)
	st := OpenStore(vm, slog.New(slog.DiscardHandler))
	st.Update(os.ReadFile(vm.Manifest))
	f, err := OpenFiles(vm, 1, st)
	if err != nil {
		t.Fatal(err)
	}
	if r := f.Manifest(restart.RunningFacts{}).Refusal; r != nil {
		t.Fatalf("refused: %v", r)
	}
	const want = "the settings cannot be used (line 3: no)"
	f.SettingsNote = want
	if r := f.Manifest(restart.RunningFacts{}).Refusal; r == nil || r.Code != restart.CodeRefused || r.Text() != want {
		t.Errorf("refusal %+v", r)
	}
	if err := os.WriteFile(vm.ServerProperties, []byte("node.id=2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if r := f.Manifest(restart.RunningFacts{}).Refusal; r == nil || r.Text() == want {
		t.Errorf("refusal %+v", r)
	}
}

// A process that does not hear server.properties is no reason to change it, nor one to refuse a file that
// is right already.
func TestRefusedWhereNobodyHears(t *testing.T) {
	vm := stateDir(t, nil)
	st := OpenStore(vm, slog.New(slog.DiscardHandler))
	st.Update(os.ReadFile(vm.Manifest))
	f, err := OpenFiles(vm, 1, st)
	if err != nil {
		t.Fatal(err)
	}
	f.line = func() unit.CommandLine { return unit.CommandLine{Deaf: "the broker is started with another file"} }
	facts := f.Manifest(restart.RunningFacts{})
	if !facts.FileChanges || facts.Refusal == nil || facts.Refusal.Text() != f.line().Deaf {
		t.Errorf("with a change: %+v", facts)
	}
	if err := f.Apply(facts.Hash); err != nil {
		t.Fatal(err)
	}
	if facts := f.Manifest(restart.RunningFacts{}); facts.FileChanges || facts.Refusal != nil {
		t.Errorf("without one: %+v", facts)
	}
}
