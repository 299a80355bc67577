package tables_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"example.com/kpls-agent/test/tables"
)

func TestReplace(t *testing.T) {
	path := filepath.Join(t.TempDir(), "doc.md")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, first := range []string{"<!-- a -->", "<!-- a: written by `make a` -->"} {
		write("head\n" + first + "\nold\n<!-- /a -->\n<!-- ab -->\nstays\n<!-- /ab -->\n")
		for range 2 { // the second changes nothing
			if err := tables.Replace(path, "a", "| new |\n"); err != nil {
				t.Fatal(err)
			}
		}
		got, err := os.ReadFile(path)
		if want := "head\n" + first + "\n| new |\n<!-- /a -->\n<!-- ab -->\nstays\n<!-- /ab -->\n"; err != nil || string(got) != want {
			t.Errorf("%q, %v", got, err)
		}
		if err := tables.Hold(path, "a", "| new |\n", false); err != nil {
			t.Error(err)
		}
		if err := tables.Hold(path, "a", "| newer |\n", false); err == nil || !strings.Contains(err.Error(), "newer") {
			t.Errorf("another text: %v", err)
		}
		for _, write := range []bool{true, false} {
			if err := tables.Hold(path, "a", "| newer |\n", write); err != nil {
				t.Error(err)
			}
		}
	}
	for _, doc := range []string{"", "<!-- a -->\n", "<!-- /a -->\n<!-- a -->\n", "<!-- a -->\n<!-- /a -->\n<!-- a -->\n<!-- /a -->\n", "in a line: <!-- a -->\n<!-- /a -->\n"} {
		write(doc)
		if err := tables.Replace(path, "a", "| new |\n"); err == nil {
			t.Errorf("%q has no place for a table", doc)
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != doc {
			t.Errorf("%q became %q, %v", doc, got, err)
		}
	}
	if err := tables.Replace(filepath.Join(t.TempDir(), "none"), "a", ""); !os.IsNotExist(err) {
		t.Errorf("no document: %v", err)
	}
}
