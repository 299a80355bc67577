package report

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"strconv"
	"strings"
	"testing"
)

// TestWorstIsDocumented: docs/operations.md has every word, its name in JSON and its exit code.
func TestWorstIsDocumented(t *testing.T) {
	doc, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	all := worsts(t)
	if len(all) < 10 {
		t.Fatalf("found only %q", all)
	}
	codes := map[Urgency]int{Fine: 0, Wait: 3, Act: 4}
	for _, w := range all {
		_, row, found := strings.Cut(string(doc), fmt.Sprintf("\n| `%s` | `%s` | ", strings.ToUpper(w.words()), w))
		row, _, _ = strings.Cut(row, "\n")
		if want := fmt.Sprintf("| %d |", codes[w.Urgency()]); !found || !strings.HasSuffix(row, want) {
			t.Errorf("docs/operations.md has no row for %q (%q) that ends with %q", w.words(), w, want)
		}
	}
}

// TestSamples: the samples of `status` in the documents are what it prints.
func TestSamples(t *testing.T) {
	r := New(scene(rolling))
	for _, path := range []string{"../../README.md", "../../docs/operations.md"} {
		doc, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if want := "```\n" + r.Text(Style{}) + "```\n"; !strings.Contains(string(doc), want) {
			t.Errorf("%s has another sample of status than\n%s", path, want)
		}
	}
}

// worsts are the constants of the type.
func worsts(t *testing.T) []Worst {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), "worst.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var out []Worst
	ast.Inspect(f, func(n ast.Node) bool {
		if v, ok := n.(*ast.ValueSpec); ok && fmt.Sprint(v.Type) == "Worst" {
			if lit, ok := v.Values[0].(*ast.BasicLit); ok {
				text, err := strconv.Unquote(lit.Value)
				if err != nil {
					t.Fatal(err)
				}
				out = append(out, Worst(text))
			}
		}
		return true
	})
	return out
}
