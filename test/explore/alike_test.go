package explore

import (
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strconv"
	"testing"
)

// The simulation and the exploration judge a restart by the same promises, so a new one comes into both lists.
func TestPromisesAreTheSimulations(t *testing.T) {
	f, err := parser.ParseFile(token.NewFileSet(), "../sim/promises_test.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	theirs := map[string]bool{}
	for _, row := range rowsOf(f, "promises") {
		if lit, ok := row.(*ast.BasicLit); ok {
			name, err := strconv.Unquote(lit.Value)
			if err != nil {
				t.Fatal(err)
			}
			theirs[name] = true
		}
	}
	if len(theirs) < 10 {
		t.Fatalf("found only %v", theirs)
	}
	for _, p := range promises {
		if !theirs[p.name] {
			t.Errorf("%q is missing in test/sim/promises_test.go", p.name)
		}
		delete(theirs, p.name)
	}
	for name := range theirs {
		t.Errorf("%q is missing in test/explore/promises_test.go", name)
	}
}

// rowsOf returns the first element of each row of a table.
func rowsOf(f *ast.File, table string) []ast.Expr {
	var out []ast.Expr
	ast.Inspect(f, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || !slices.ContainsFunc(spec.Names, func(id *ast.Ident) bool { return id.Name == table }) {
			return true
		}
		if rows, ok := spec.Values[0].(*ast.CompositeLit); ok {
			for _, row := range rows.Elts {
				if r, ok := row.(*ast.CompositeLit); ok {
					out = append(out, r.Elts[0])
				}
			}
		}
		return false
	})
	return out
}
