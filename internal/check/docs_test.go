package check

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

// TestLinesAreDocumented: each line of `check` has a row in docs/operations.md.
func TestLinesAreDocumented(t *testing.T) {
	doc, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(doc), "\n## Check\n")
	section, _, _ = strings.Cut(section, "\n## ")
	rows := map[string]bool{}
	for line := range strings.Lines(section) {
		if cell, _, ok := strings.Cut(strings.TrimPrefix(line, "| "), " |"); ok {
			for name := range strings.SplitSeq(cell, ", ") {
				rows[strings.Trim(name, "`")] = true
			}
		}
	}
	names := lineNames(t)
	if len(names) < 20 {
		t.Fatalf("found only %q", names)
	}
	for _, name := range names {
		if !rows[name] {
			t.Errorf("docs/operations.md has no row for %q", name)
		}
	}
}

// lineNames are the names of lines that stand in the code of this package: the first argument of what makes
// a finding, and the value of a variable or constant `what`.
func lineNames(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	add := func(e ast.Expr) {
		if sum, ok := e.(*ast.BinaryExpr); ok {
			e = sum.X // a name with the thing behind it
		}
		if lit, ok := e.(*ast.BasicLit); ok && lit.Kind == token.STRING {
			if text, err := strconv.Unquote(lit.Value); err == nil {
				out = append(out, strings.TrimSpace(text))
			}
		}
	}
	makers := map[string]bool{"well": true, "doubtful": true, "broken": true, "judged": true, "judgedFile": true, "checkMount": true, "checkSpace": true}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.CallExpr:
				if fn, ok := n.Fun.(*ast.Ident); ok && makers[fn.Name] && len(n.Args) > 0 {
					add(n.Args[0])
				}
			case *ast.AssignStmt:
				if id, ok := n.Lhs[0].(*ast.Ident); ok && id.Name == "what" {
					add(n.Rhs[0])
				}
			case *ast.ValueSpec:
				if n.Names[0].Name == "what" && len(n.Values) > 0 {
					add(n.Values[0])
				}
			}
			return true
		})
	}
	return out
}
