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
	most := number(t, "SIM_RUNS", 20_000)
	rows, explored := make([]string, len(mutants)), column(t, 5)
	t.Run("all", func(t *testing.T) {
		for i, m := range mutants {
			t.Run(m.name, func(t *testing.T) {
				t.Parallel()
				if rare[m.name] {
					rows[i] = fmt.Sprintf("| %s | `%s` | rare | | %s |\n", m.name, m.file, explored[m.name])
					return
				}
				promise, seeds := m.hunt(t, most)
				if promise == "" {
					t.Fatalf("%s: %d seeds went well with it", m.file, most)
				}
				t.Logf("%s, after %d seeds", promise, seeds)
				rows[i] = fmt.Sprintf("| %s | `%s` | %s | %d | %s |\n", m.name, m.file, promise, seeds, explored[m.name])
			})
		}
	})
	writeTable(t, rows)
}

// writeTable writes the table of docs/simulation.md when SIM_WRITE is set.
func writeTable(t *testing.T, rows []string) {
	t.Helper()
	if os.Getenv("SIM_WRITE") == "" || t.Failed() {
		return
	}
	const head = "| fault | in | noticed by | after seeds | explored |\n| --- | --- | --- | --- | --- |\n"
	if err := tables.Replace(document, "mutants", head+strings.Join(rows, "")); err != nil {
		t.Fatal(err)
	}
}

// column is one column of that table as it is, by fault.
func column(t *testing.T, n int) map[string]string {
	t.Helper()
	doc, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for line := range strings.Lines(string(doc)) {
		if cells := strings.Split(line, "|"); len(cells) > n && strings.HasPrefix(line, "| ") {
			out[strings.TrimSpace(cells[1])] = strings.TrimSpace(cells[n])
		}
	}
	return out
}

// TestMutantsExplored does the same with the exploration in place of the seeds, and writes the last column.
func TestMutantsExplored(t *testing.T) {
	rows, noticed := make([]string, len(mutants)), 0
	promise, seeds := column(t, 3), column(t, 4)
	for i, m := range mutants {
		out, err := m.test(t, "^TestBattery$", "../explore", "EXPLORE_QUICK=yes")
		if err == nil {
			out, err = m.test(t, "^TestBattery$", "../explore", "EXPLORE_QUICK=all")
		}
		by := "no"
		if err != nil {
			noticed++
			found := firstBroken.FindStringSubmatch(string(out))
			if found == nil {
				t.Fatalf("%s: %v\n%.2000s", m.name, err, out)
			}
			by = found[1]
		}
		if err == nil && rare[m.name] {
			t.Errorf("%s: neither the seeds nor the exploration notice it", m.name)
		}
		t.Logf("%s: %s", m.name, by)
		rows[i] = fmt.Sprintf("| %s | `%s` | %s | %s | %s |\n", m.name, m.file, promise[m.name], seeds[m.name], by)
	}
	if noticed < 30 {
		t.Errorf("%d of %d faults are noticed", noticed, len(mutants))
	}
	writeTable(t, rows)
}

var firstBroken = regexp.MustCompile(`battery_test.go:\d+: (?:\d+ states from which )?([^:\n]+)`)

var firstFailure = regexp.MustCompile(`seed (\d+): \[([^:]+): `)

// hunt plays seeds with a mutant in place of the product until one notices.
func (m mutant) hunt(t *testing.T, most uint64) (promise string, seeds int) {
	t.Helper()
	out, err := m.test(t, "^TestSimulationOneByOne$", ".", fmt.Sprintf("SIM_RUNS=%d", most))
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

// test runs a test with a mutant in place of the product.
func (m mutant) test(t *testing.T, name, dir, env string) ([]byte, error) {
	t.Helper()
	at := t.TempDir()
	original, err := filepath.Abs(filepath.Join(product, m.file))
	if err != nil {
		t.Fatal(err)
	}
	src, err := os.ReadFile(original)
	if err != nil {
		t.Fatal(err)
	}
	changed, overlay := filepath.Join(at, m.file), filepath.Join(at, "overlay.json")
	how, err := json.Marshal(map[string]map[string]string{"Replace": {original: changed}})
	if err != nil {
		t.Fatal(err)
	}
	for path, data := range map[string][]byte{changed: bytes.Replace(src, []byte(m.old), []byte(m.new), 1), overlay: how} {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), "go", "test", "-tags=soak", "-overlay", overlay, "-vet=off", "-count=1", "-timeout=20m", "-run="+name, dir)
	cmd.Env = append(os.Environ(), env)
	return cmd.CombinedOutput()
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
