package restart

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// TestReasonsAndPhasesAreDocumented compares the constants of this package with
// the tables of docs/operations.md, both ways.
func TestReasonsAndPhasesAreDocumented(t *testing.T) {
	doc, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ file, typ, heading string }{
		{"reason.go", "Code", "## Reasons"},
		{"record.go", "Phase", "## Phases"},
	} {
		_, section, ok := strings.Cut(string(doc), c.heading)
		if !ok {
			t.Fatalf("no %q", c.heading)
		}
		section, _, _ = strings.Cut(section, "\n## ")
		documented := map[string]bool{}
		for line := range strings.Lines(section) {
			if name, rest, ok := strings.Cut(strings.TrimPrefix(line, "| `"), "` |"); ok && strings.HasPrefix(line, "| `") && len(rest) > 3 {
				documented[name] = true
			}
		}
		for _, v := range constants(t, c.file, c.typ) {
			if !documented[v] {
				t.Errorf("docs/operations.md has no row for %s %q", c.typ, v)
			}
			delete(documented, v)
		}
		for name := range documented {
			t.Errorf("docs/operations.md has a row for %q, which is no %s", name, c.typ)
		}
	}
}

func constants(t *testing.T, file, typ string) []string {
	t.Helper()
	out := stringConstants(t, file, typ)
	if len(out) < 10 {
		t.Fatalf("found only %v in %s", out, file)
	}
	return out
}

// stringConstants are the values of the constants of a type in the files of a pattern.
func stringConstants(t *testing.T, files, typ string) []string {
	t.Helper()
	paths, err := filepath.Glob(files)
	if err != nil || len(paths) == 0 {
		t.Fatal(files, paths, err)
	}
	var out []string
	for _, path := range paths {
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			spec, ok := n.(*ast.ValueSpec)
			if !ok {
				return true
			}
			if id, ok := spec.Type.(*ast.Ident); ok && id.Name == typ {
				for _, v := range spec.Values {
					if lit, ok := v.(*ast.BasicLit); ok {
						s, err := strconv.Unquote(lit.Value)
						if err != nil {
							t.Fatal(err)
						}
						out = append(out, s)
					}
				}
			}
			return true
		})
	}
	return out
}
