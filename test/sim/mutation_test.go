package sim

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const (
	product  = "../../internal/restart"
	document = "../../docs/simulation.md"
)

// TestMutantsApply keeps the list of mutants up to date: each still finds its place.
func TestMutantsApply(t *testing.T) {
	names := map[string]bool{}
	for _, m := range mutants {
		src, err := os.ReadFile(filepath.Join(product, m.file))
		if err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(string(src), m.old); n != 1 {
			t.Errorf("%s: %q stands %d times in %s", m.name, m.old, n, m.file)
		}
		if names[m.name] {
			t.Errorf("two mutants are called %q", m.name)
		}
		names[m.name] = true
	}
}

// TestMutants breaks the product, one fault at a time, and wants every one
// noticed. It takes some minutes and so runs in `make soak` only; it writes the
// table of docs/simulation.md when SIM_MUTANTS is `write`.
func TestMutants(t *testing.T) {
	how := os.Getenv("SIM_MUTANTS")
	if how == "" {
		t.Skip("part of `make soak`")
	}
	most := number(t, "SIM_RUNS", 4000)
	rows := make([]string, len(mutants))
	t.Run("all", func(t *testing.T) {
		for i, m := range mutants {
			t.Run(m.name, func(t *testing.T) {
				t.Parallel()
				promise, seeds := m.hunt(t, most)
				if promise == "" {
					t.Fatalf("%s: %d seeds went well with it", m.file, most)
				}
				t.Logf("%s, after %d seeds", promise, seeds)
				rows[i] = fmt.Sprintf("| %s | `%s` | %s | %d |\n", m.name, m.file, promise, seeds)
			})
		}
	})
	if how == "write" && !t.Failed() {
		writeBetween(t, document, "mutants", "| fault | in | noticed by | after seeds |\n| --- | --- | --- | --- |\n"+strings.Join(rows, ""))
	}
}

var firstFailure = regexp.MustCompile(`seed (\d+): \[([^:]+): `)

// hunt plays seeds with a mutant in place of the product until one notices.
func (m mutant) hunt(t *testing.T, most uint64) (promise string, seeds int) {
	t.Helper()
	dir := t.TempDir()
	original, err := filepath.Abs(filepath.Join(product, m.file))
	if err != nil {
		t.Fatal(err)
	}
	src, err := os.ReadFile(original)
	if err != nil {
		t.Fatal(err)
	}
	changed, overlay := filepath.Join(dir, m.file), filepath.Join(dir, "overlay.json")
	how, err := json.Marshal(map[string]map[string]string{"Replace": {original: changed}})
	if err != nil {
		t.Fatal(err)
	}
	for path, data := range map[string][]byte{changed: bytes.Replace(src, []byte(m.old), []byte(m.new), 1), overlay: how} {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), "go", "test", "-overlay", overlay, "-vet=off", "-count=1", "-timeout=20m", "-run=^TestSimulationOneByOne$", ".")
	cmd.Env = append(os.Environ(), fmt.Sprintf("SIM_RUNS=%d", most), "SIM_ONE_BY_ONE=1")
	out, err := cmd.CombinedOutput()
	if err == nil {
		return "", 0
	}
	found := firstFailure.FindStringSubmatch(string(out))
	if found == nil {
		t.Fatalf("%v\n%.2000s", err, out)
	}
	if _, err := fmt.Sscan(found[1], &seeds); err != nil {
		t.Fatal(err)
	}
	return found[2], seeds + 1
}

// TestSimulationOneByOne plays seeds in their order up to the first that fails.
func TestSimulationOneByOne(t *testing.T) {
	if os.Getenv("SIM_ONE_BY_ONE") == "" {
		t.Skip("for TestMutants")
	}
	for seed := range number(t, "SIM_RUNS", runs) {
		if r := play(seed, false); len(r.failures) > 0 {
			t.Fatalf("seed %d: %v", seed, r.failures)
		}
	}
}

// writeBetween replaces what stands between two marks of a document.
func writeBetween(t *testing.T, path, mark, text string) {
	t.Helper()
	doc, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	begin, end := "<!-- "+mark+" -->\n", "<!-- /"+mark+" -->"
	head, rest, ok := strings.Cut(string(doc), begin)
	_, tail, also := strings.Cut(rest, end)
	if !ok || !also {
		t.Fatalf("%s has no %s", path, begin)
	}
	if err := os.WriteFile(path, []byte(head+begin+text+end+tail), 0o600); err != nil {
		t.Fatal(err)
	}
}
