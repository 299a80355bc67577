package main

import (
	"bytes"
	"strings"
	"testing"
)

// TestOutput: every command that prints for programs takes the same two formats, and no other.
func TestOutput(t *testing.T) {
	for _, args := range [][]string{{"check"}, {"plan"}, {"status"}, {"verify", "--bootstrap", "127.0.0.1:1"}} {
		var out, errOut bytes.Buffer
		code := execute(t.Context(), append(args, "-o", "yaml"), strings.NewReader(""), &out, &errOut)
		if code != exitUsage || !strings.Contains(errOut.String(), `output "yaml" is unknown; use table or json`) || out.Len() > 0 {
			t.Errorf("%v: exit %d: %s%s", args, code, out.String(), errOut.String())
		}
	}
}
