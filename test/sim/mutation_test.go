//go:build soak

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

	"example.com/kpls-agent/test/tables"
)

const document = "../../docs/simulation.md"

// TestMutants breaks the product, one fault at a time, and wants every one
// noticed; it writes the table of docs/simulation.md when SIM_WRITE is set.
func TestMutants(t *testing.T) {
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
	if os.Getenv("SIM_WRITE") != "" && !t.Failed() {
		if err := tables.Replace(document, "mutants", "| fault | in | noticed by | after seeds |\n| --- | --- | --- | --- |\n"+strings.Join(rows, "")); err != nil {
			t.Fatal(err)
		}
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
	cmd := exec.CommandContext(t.Context(), "go", "test", "-tags=soak", "-overlay", overlay, "-vet=off", "-count=1", "-timeout=20m", "-run=^TestSimulationOneByOne$", ".")
	cmd.Env = append(os.Environ(), fmt.Sprintf("SIM_RUNS=%d", most))
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
	if r := play(uint64(seeds), false); len(r.failures) > 0 {
		t.Fatalf("seed %d fails without the fault, too: %v", seeds, r.failures)
	}
	return found[2], seeds + 1
}

// TestSimulationOneByOne plays seeds in their order up to the first that fails, for TestMutants.
func TestSimulationOneByOne(t *testing.T) {
	seldom(t)
	for seed := range number(t, "SIM_RUNS", runs) {
		if r := play(seed, false); len(r.failures) > 0 {
			t.Fatalf("seed %d: %v", seed, r.failures)
		}
	}
}
