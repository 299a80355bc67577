package unit

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestShapesAreDocumented compares the units of TestJudge with the table of docs/operations.md, both ways.
func TestShapesAreDocumented(t *testing.T) {
	doc, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, found := strings.Cut(string(doc), "\n## Your unit, your file\n")
	if !found {
		t.Fatal("the section is missing")
	}
	section, _, _ = strings.Cut(section, "\n## ")
	named := map[string]bool{}
	for line := range strings.Lines(section) {
		cells := strings.Split(line, "|")
		if len(cells) != 6 { // four, and what is before and behind them
			continue
		}
		tests := cells[4]
		for _, name := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(tests, -1) {
			named[name[1]] = true
		}
		if !strings.Contains(tests, "`") && !strings.HasPrefix(line, "| ---") {
			t.Errorf("no test: %s", line)
		}
	}
	for _, c := range shapes {
		if !named[c.name] {
			t.Errorf("the table has no row for %q", c.name)
		}
		delete(named, c.name)
	}
	for name := range named {
		if !strings.HasPrefix(name, "Test") && name != "unit shapes" && name != "what an operator has to repair" {
			t.Errorf("the table names %q, which is no unit of TestJudge", name)
		}
	}
}
