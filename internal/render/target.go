package render

import (
	"bytes"
	"encoding/json"
	"io/fs"
)

// File is one file of an output.
type File struct {
	// Name is that of the file in the output's folder, without a slash.
	Name string
	// Mode is 0o644, or 0o755 for a script.
	Mode fs.FileMode
	Text []byte
	// Example is true for a file that the user copies and fills in.
	Example bool
}

// Output is what a format makes.
type Output struct {
	Files []File
	// Warnings are one line each: what the format takes and the user might not want.
	Warnings []string
}

// Format is one way to write a network down. Make refuses, all at once as config.Faults, what the cloud would refuse
// or what would not lead to the right broker.
type Format struct {
	Name string
	// About completes "Write ..." in the command's help.
	About string
	Make  func(*Network) (*Output, error)
}

// Target is one kind of network, with its formats; the first is the default.
type Target struct {
	Name    string
	Formats []Format
}

// Targets are all there are, in the order of the command's help.
func Targets() []Target {
	return []Target{
		{"json", []Format{{"json", "the resolved form, for other programs", makeJSON}}},
	}
}

// makeJSON is the neutral form itself.
func makeJSON(n *Network) (*Output, error) {
	text, err := indented(n)
	if err != nil {
		return nil, err
	}
	return &Output{Files: []File{{Name: "kpls.json", Mode: 0o644, Text: text}}}, nil
}

// indented is v as JSON, as people and diffs read it.
func indented(v any) ([]byte, error) {
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}
