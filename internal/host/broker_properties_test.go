package host

import (
	"log/slog"
	"os"
	"strings"
	"testing"

	"example.com/kpls-agent/internal/restart"
	"example.com/kpls-agent/internal/unit"
)

// TestBrokerPropertiesAsked: the process is asked for what the agent's own lines bring, and for nothing that it could
// never have: where somebody else's line or the command line decides, a restart for it would fail.
func TestBrokerPropertiesAsked(t *testing.T) {
	const name = "replica.fetch.backoff.ms"
	vm := stateDir(t, nil)
	st := OpenStore(vm, slog.New(slog.DiscardHandler))
	st.Update([]byte(goodManifest+"broker_properties: {replica.fetch.backoff.ms: 50}\n"), nil)
	f, err := OpenFiles(vm, 1, st)
	if err != nil {
		t.Fatal(err)
	}
	asked := func() (string, restart.ManifestFacts) {
		facts := f.Manifest(restart.RunningFacts{})
		return facts.Listeners[name], facts
	}
	if value, facts := asked(); value != "50" || !facts.FileChanges || facts.HiddenChanges {
		t.Errorf("asked for %q, %+v", value, facts)
	}
	f.line = func() unit.CommandLine { return unit.CommandLine{Overrides: map[string]string{name: "9"}} }
	if value, _ := asked(); value != "" {
		t.Errorf("with an override, asked for %q", value)
	}
	f.line = nil
	if err := os.WriteFile(vm.ServerProperties, []byte(brokerFile+name+"=700\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if value, _ := asked(); value != "" {
		t.Errorf("with somebody else's line, asked for %q", value)
	}

	// Once the manifest drops it, the agent's line goes, and that alone is reason for a restart.
	if err := os.WriteFile(vm.ServerProperties, []byte(brokerFile), 0o600); err != nil {
		t.Fatal(err)
	}
	_, facts := asked()
	if err := f.Apply(facts.Hash); err != nil || !strings.Contains(string(contents(t, vm.ServerProperties)), name+"=50\n") {
		t.Fatalf("%v\n%s", err, contents(t, vm.ServerProperties))
	}
	st.Update([]byte(goodManifest), nil)
	if value, facts := asked(); value != "" || !facts.HiddenChanges {
		t.Errorf("dropped: asked for %q, %+v", value, facts)
	}
}
