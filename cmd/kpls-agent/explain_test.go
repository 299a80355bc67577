package main

import (
	"bytes"
	"strings"
	"testing"

	"example.com/kpls-agent/docs"
)

// TestExplain: every code of the manual is explained, and its list names each.
func TestExplain(t *testing.T) {
	list := said(t, "explain")
	for _, e := range docs.Entries() {
		text := said(t, "explain", e.Code)
		for _, want := range []string{e.Code + " (" + e.Kind + ")", "what it means: "} {
			if !strings.Contains(text, want) {
				t.Errorf("explain %s does not say %q:\n%s", e.Code, want, text)
			}
		}
		if strings.Contains(text, "](") || strings.Contains(text, "**") {
			t.Errorf("explain %s has marks of Markdown:\n%s", e.Code, text)
		}
		if !strings.Contains("\n"+list, "\n"+e.Code+" ") {
			t.Errorf("the list lacks %s", e.Code)
		}
	}
	// What an agent of an earlier build says.
	if text := said(t, "explain", "needs_a_person"); !strings.Contains(text, "needs_operator (reason)") {
		t.Errorf("an earlier code: %s", text)
	}
	// What the first line of status says.
	if text := said(t, "explain", "HALTED"); text != said(t, "explain", "halted") {
		t.Errorf("in upper case: %s", text)
	}
	for _, c := range []struct{ args, want string }{
		{"BROKER DOWN", "broker_down (word)"},
		{"NO AGENT HAS REPORTED", "nobody_there (word)"},
		{"silent", "silent (agent)"},
		{"none", "none (agent)"},
		{"stopped", "stopped (agent)"},
	} {
		for _, args := range [][]string{{c.args}, strings.Fields(c.args)} {
			if text := said(t, append([]string{"explain"}, args...)...); !strings.Contains(text, c.want) {
				t.Errorf("explain %q: %s", args, text)
			}
		}
	}
	for word, want := range map[string]string{
		"gate_partition": `did you mean gate_partitions?`, "nonesuch": "`kpls-agent explain` lists them",
	} {
		var out, errOut bytes.Buffer
		code := execute(t.Context(), []string{"explain", word}, strings.NewReader(""), &out, &errOut)
		if code != exitUsage || !strings.Contains(errOut.String(), want) || out.Len() > 0 {
			t.Errorf("explain %s: exit %d: %s%s", word, code, out.String(), errOut.String())
		}
	}
}
