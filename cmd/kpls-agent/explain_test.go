package main

import (
	"bytes"
	"strings"
	"testing"

	"example.com/kpls-agent/docs"
	"example.com/kpls-agent/internal/restart"
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

func TestExplainHint(t *testing.T) {
	for _, c := range []struct {
		name    string
		reasons []restart.Code
		names   string
	}{
		{"all at rest", []restart.Code{restart.CodeInSync, restart.CodeInSync}, ""},
		{"no broker", nil, ""},
		{"the one that others wait for", []restart.Code{restart.CodeTurn, restart.CodeInSync, restart.CodeStalled}, "stalled"},
		{"only waiting", []restart.Code{restart.CodeInSync, restart.CodeQueue}, "waiting_for_claim"},
	} {
		v := restart.NewView()
		for i, code := range c.reasons {
			v.Fold(restart.NewStatus(restart.Status{Broker: int32(i), Reason: *restart.NewReason(code, "")}))
		}
		got := explainHint(v)
		if (got == "") != (c.names == "") || !strings.Contains(got, c.names) {
			t.Errorf("%s: %q", c.name, got)
		}
	}
}
