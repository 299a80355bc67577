package main

import (
	"flag"
	"os"
	"testing"

	"example.com/kpls-agent/test/tables"
)

var update = flag.Bool("update", false, "write the golden files")

// hold compares with a file, or writes it with -update.
func hold(t *testing.T, path, got string) {
	t.Helper()
	if err := tables.HoldFile(path, got, *update); err != nil {
		t.Error(err)
	}
}

func contents(t testing.TB, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}
