package config

import (
	"fmt"
	"strings"
)

// Refusal says why a server.properties cannot be managed, or not as the manifest
// asks. Nothing was and nothing may be changed then.
type Refusal struct {
	// Rule names what was broken, for tests and documentation: a rule of
	// Kafka's start-up validation (S1..S10 syntax, R1..R27 semantics, S0 the
	// properties format itself), or one of BOM, PLACEHOLDER, ROLE, ID, MIGRATION,
	// NAME, VALUE, EDIT.
	Rule string
	// Path is the file, Line the number of its line, 0 if no single line is at fault.
	Path string
	Line int
	// Text says what is wrong, Next what to do about it; neither ends in a stop.
	Text, Next string
	// key is the property of server.properties that it is about; listener and field are the place in the manifest,
	// empty where the manifest is not at fault.
	key, listener, field string
	// Already is true if the file is so before any change of the agent's.
	Already bool
}

// Error is one line: where, what, and the next step. The rule is for tests: its name says nothing to an operator.
func (r *Refusal) Error() string {
	var b strings.Builder
	b.WriteString(r.Path)
	if r.Line > 0 {
		fmt.Fprintf(&b, ":%d", r.Line)
	}
	b.WriteString(": " + r.Text)
	if r.Already {
		b.WriteString(" (in the file as it is)")
	}
	b.WriteString("; " + r.Next)
	return b.String()
}
