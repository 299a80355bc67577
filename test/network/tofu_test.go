//go:build network

package network

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"example.com/kpls-agent/internal/config"
	"example.com/kpls-agent/internal/render"
)

// module is a folder with the files of one format, ready for OpenTofu.
type module struct {
	t              *testing.T
	folder         string
	target, format string
}

// rendered makes a folder of what a target makes of a manifest. The values of the user are those of the example.
func rendered(t *testing.T, target, format, manifest string) module {
	t.Helper()
	m := module{t, t.TempDir(), target, format}
	m.render(manifest)
	m.user(manifest)
	m.tofu("init", "-backend=false")
	return m
}

// render writes what the target makes of another manifest.
func (m module) render(manifest string) {
	m.t.Helper()
	for _, f := range files(m.t, m.target, m.format, manifest).Files {
		if !f.Example {
			m.write(f.Name, string(f.Text))
		}
	}
}

// user writes what the user does for another manifest: the values of the example.
func (m module) user(manifest string) {
	m.t.Helper()
	for _, f := range files(m.t, m.target, m.format, manifest).Files {
		if f.Example {
			m.write(strings.TrimSuffix(f.Name, ".example"), string(f.Text))
		}
	}
}

// edit replaces a text, which must be there, in one of the files.
func (m module) edit(name, from, to string) {
	m.t.Helper()
	text, err := os.ReadFile(filepath.Join(m.folder, name))
	if err != nil {
		m.t.Fatal(err)
	}
	if !strings.Contains(string(text), from) {
		m.t.Fatalf("%s has no %q", name, from)
	}
	m.write(name, strings.ReplaceAll(string(text), from, to))
}

// files is what a target makes of a manifest, which it must take.
func files(t *testing.T, target, format, manifest string) *render.Output {
	t.Helper()
	out, err := made(target, format, manifest)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// made is what a target makes of a manifest, or why not.
func made(target, format, manifest string) (*render.Output, error) {
	parsed, err := config.ParseManifest("manifest.yaml", []byte(manifest))
	if err != nil {
		return nil, err
	}
	n, err := render.Resolve(parsed, render.Options{})
	if err != nil {
		return nil, err
	}
	for _, t := range render.Targets() {
		for _, f := range t.Formats {
			if t.Name == target && f.Name == format {
				return f.Make(n)
			}
		}
	}
	return nil, fmt.Errorf("there is no format %s of %s", format, target)
}

// copied is the same module in another folder.
func (m module) copied(t *testing.T) module {
	t.Helper()
	other := module{t, t.TempDir(), m.target, m.format}
	if err := os.CopyFS(other.folder, os.DirFS(m.folder)); err != nil {
		t.Fatal(err)
	}
	return other
}

func (m module) write(name, text string) {
	m.t.Helper()
	if err := os.WriteFile(filepath.Join(m.folder, name), []byte(text), 0o600); err != nil {
		m.t.Fatal(err)
	}
}

// tofu runs OpenTofu, which must succeed, and has what it printed.
func (m module) tofu(args ...string) string {
	m.t.Helper()
	out, err := m.try(args...)
	if err != nil {
		m.t.Fatalf("tofu %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// try runs OpenTofu and has what it printed, failures too.
func (m module) try(args ...string) (string, error) {
	m.t.Helper()
	c := command(m.t, m.folder, args...)
	out, err := c.CombinedOutput()
	return string(out), err
}

// command is OpenTofu in a folder, with nothing but the mirror to get providers from.
func command(t *testing.T, folder string, args ...string) *exec.Cmd {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	tofu := filepath.Join(root, ".cache/tofu/tofu")
	if _, err := os.Stat(tofu); err != nil {
		t.Fatalf("%v; `make network` builds it", err)
	}
	settings := filepath.Join(t.TempDir(), "tofu.rc")
	mirror := `provider_installation { filesystem_mirror { path = "` + filepath.Join(root, ".cache/network/mirror") + `" } }`
	if err := os.WriteFile(settings, []byte(mirror), 0o600); err != nil {
		t.Fatal(err)
	}
	c := exec.CommandContext(context.Background(), tofu, append([]string{args[0], "-no-color"}, args[1:]...)...)
	c.Dir = folder
	c.Env = append(os.Environ(),
		"TF_CLI_CONFIG_FILE="+settings, "STUB_SCHEMAS="+filepath.Join(root, "test/network/schemas"), "TF_IN_AUTOMATION=1",
	)
	return c
}

// resource is one resource of a plan.
type resource struct {
	Address string
	Type    string
	Values  map[string]any
}

// planned is what OpenTofu would make, by address.
func (m module) planned() map[string]resource {
	m.t.Helper()
	m.tofu("plan", "-out=plan")
	var plan struct {
		Planned values `json:"planned_values"`
	}
	m.show(&plan, "plan")
	return plan.Planned.byAddress()
}

// made is what OpenTofu has made, by address.
func (m module) made() map[string]resource {
	m.t.Helper()
	var state struct{ Values values }
	m.show(&state)
	return state.Values.byAddress()
}

// changes are what OpenTofu would do, such as "create ADDRESS", sorted.
func (m module) changes() []string {
	m.t.Helper()
	m.tofu("plan", "-out=plan")
	var plan struct {
		Changes []struct {
			Address string
			Change  struct{ Actions []string }
		} `json:"resource_changes"`
	}
	m.show(&plan, "plan")
	var out []string
	for _, c := range plan.Changes {
		if what := strings.Join(c.Change.Actions, "+"); what != "no-op" {
			out = append(out, what+" "+c.Address)
		}
	}
	slices.Sort(out)
	return out
}

type values struct {
	Root struct{ Resources []resource } `json:"root_module"`
}

func (v values) byAddress() map[string]resource {
	out := map[string]resource{}
	for _, r := range v.Root.Resources {
		out[r.Address] = r
	}
	return out
}

// show reads a plan, or the state.
func (m module) show(into any, args ...string) {
	m.t.Helper()
	text, err := command(m.t, m.folder, append([]string{"show", "-json"}, args...)...).Output()
	if err != nil {
		m.t.Fatalf("tofu show: %v", err)
	}
	if err := json.Unmarshal(text, into); err != nil {
		m.t.Fatal(err)
	}
}
