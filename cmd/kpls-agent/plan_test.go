package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"example.com/kpls-agent/internal/host"
	"example.com/kpls-agent/internal/settings"
)

// TestSuccession: a manifest that the agent does not take over after the one in force is refused by plan and by check, in
// the agent's words, and nothing is kept.
func TestSuccession(t *testing.T) {
	for _, c := range []struct{ name, next, says string }{
		{
			"another cluster", strings.Replace(checkedManifest, "cluster: c", "cluster: d", 1),
			`the manifest is for cluster "d", and this agent serves cluster "c"; put the right file here`,
		},
		{
			"a listener that is gone", strings.ReplaceAll(checkedManifest, "EXTERNAL", "OTHER"),
			"listener EXTERNAL has vanished from the manifest",
		},
	} {
		dir := t.TempDir()
		path := filepath.Join(dir, "kpls-agent.yaml")
		kept := filepath.Join(dir, "state", "manifest.yaml")
		if err := os.Mkdir(filepath.Dir(kept), 0o700); err != nil {
			t.Fatal(err)
		}
		for path, text := range map[string]string{
			path:                                    "manifest: manifest.yaml\nserver_properties: server.properties\nstate_dir: state\ncommands: {restart: [\"false\"], status: [\"true\"]}\n",
			filepath.Join(dir, "server.properties"): checkedProperties, filepath.Join(dir, "manifest.yaml"): c.next, kept: checkedManifest,
		} {
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		for _, args := range [][]string{{"plan"}, {"check", "--offline"}} {
			var out, errOut bytes.Buffer
			code := execute(t.Context(), append(args, "--settings", path), strings.NewReader(""), &out, &errOut)
			if text := out.String() + errOut.String(); code != exitUsage || !strings.Contains(text, c.says) {
				t.Errorf("%s: %s exits with %d:\n%s", c.name, args[0], code, text)
			}
		}
		vm, _, err := settings.Load(path, "")
		if err != nil {
			t.Fatal(err)
		}
		m, fault := host.Preview(vm).Get()
		if m == nil || m.Cluster != "c" || !strings.Contains(fault.Text, c.says) {
			t.Errorf("%s: the agent has %+v in force and says %q", c.name, m, fault.Text)
		}
		if text := string(contents(t, kept)); text != checkedManifest {
			t.Errorf("%s: the copy of the manifest in force is another one:\n%s", c.name, text)
		}
	}
}
