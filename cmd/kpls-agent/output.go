package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"

	"github.com/spf13/pflag"
)

// output is how a command prints; it is the value of --output.
type output string

const (
	asTable output = "table" // for people
	asJSON  output = "json"  // for programs
)

// flag adds --output to a command, with a table as the default.
func (o *output) flag(flags *pflag.FlagSet) {
	*o = asTable
	flags.VarP(o, "output", "o", "table or json")
}

// Set implements pflag.Value.
func (o *output) Set(text string) error {
	switch given := output(text); given {
	case asTable, asJSON:
		*o = given
		return nil
	default:
		return fmt.Errorf("output %q is unknown; use table or json", text)
	}
}

// String implements pflag.Value.
func (o *output) String() string { return string(*o) }

// Type implements pflag.Value.
func (o *output) Type() string { return "string" }

// writeJSON prints for programs, and for people who look at it.
func writeJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

func orDash(s string) string { return cmp.Or(s, "-") }

// colon puts a colon before what may be said in addition.
func colon(s string) string {
	if s == "" {
		return ""
	}
	return ": " + s
}
