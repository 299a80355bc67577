package docs

import (
	"strings"
	"testing"
)

// TestEntries: every row of the two tables is an entry, and a bar in a cell is no border.
func TestEntries(t *testing.T) {
	entries := Entries()
	rows := 0
	for line := range strings.Lines(section("Reasons") + section("Phases")) {
		if strings.HasPrefix(line, "| `") {
			rows++
		}
	}
	if len(entries) != rows || rows < 50 {
		t.Errorf("%d entries of %d rows", len(entries), rows)
	}
	for _, e := range entries {
		if e.Code == "" || e.Means == "" || (e.Do == "") != (e.Kind == "phase") {
			t.Errorf("an entry that lacks something: %+v", e)
		}
		if e.Code == "log_foreign" && !strings.Contains(e.Do, `printf 'KEY\tNULL\n' | kafka-console-producer`) {
			t.Errorf("the command is torn: %s", e.Do)
		}
		if e.Code == "gate_partitions" && len(e.Sections) == 0 {
			t.Error("the procedure that names gate_partitions is not found")
		}
	}
}
