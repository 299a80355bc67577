package docs

import (
	"strings"
	"testing"
)

// TestEntries: every row of the two tables, and every word of status, is an entry. A bar in a cell is no border.
func TestEntries(t *testing.T) {
	entries := Entries()
	rows := 0
	for line := range strings.Lines(section("Reasons") + section("Phases")) {
		if strings.HasPrefix(line, "| `") {
			rows++
		}
	}
	of := map[string]int{}
	for _, e := range entries {
		of[e.Kind]++
	}
	if of["reason"]+of["phase"] != rows || rows < 50 || of["word"] != 14 || of["agent"] != 4 {
		t.Errorf("%v entries of %d rows", of, rows)
	}
	for _, e := range entries {
		if e.Code == "" || e.Means == "" || (e.Do == "") != (e.Kind != "reason") {
			t.Errorf("an entry that lacks something: %+v", e)
		}
		for _, title := range e.Sections {
			if section(title) == "" {
				t.Errorf("%s names the section %q, which is none", e.Code, title)
			}
		}
		if e.Code == "log_foreign" && !strings.Contains(e.Do, `printf 'KEY\tNULL\n' | kafka-console-producer`) {
			t.Errorf("the command is torn: %s", e.Do)
		}
		if e.Code == "gate_partitions" && len(e.Sections) == 0 {
			t.Error("the procedure that names gate_partitions is not found")
		}
	}
}
