package render

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
)

// File is one file of an output.
type File struct {
	// Name is that of the file in the output's folder, without a slash.
	Name string
	// Mode is 0o644, or 0o755 for a script.
	Mode fs.FileMode
	// Text has Mark in one of its first lines (Ours), unless the file is an example.
	Text []byte
	// Example is true for a file that the user copies and fills in. It is written only where it is missing.
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
		{"azure", []Format{
			{"terraform", "load balancer and private link services, as a module with its data", azureTerraform},
			{"arm", "the same as one template, and a script for az: who is in a pool", azureARM},
		}},
		{"aws", []Format{
			{"terraform", "Network Load Balancer and endpoint service, as a module with its data", awsTerraform},
			{"cloudformation", "the same as one template", awsCloudFormation},
		}},
		{"gcp", []Format{
			{"gcloud", "port mapping and service attachment, as a script for gcloud", gcpGcloud},
			{"terraform", "the same as a module with its data", gcpTerraform},
		}},
		{"haproxy", []Format{{"haproxy", "a whole haproxy.cfg, for on-premises", makeHAProxy}}},
		{"dns", []Format{{"dns", "records for the advertised names, for customers other than TiDB Cloud", makeDNS}}},
		{"console", []Format{{"console", "what is typed into the customer's form", makeConsole}}},
	}
}

// Mark is what a file says that a format has made: in a comment, or in a first key of JSON. A file without it is
// somebody else's, and no render replaces it.
const Mark = "Written by kpls-agent render "

// markedLines is how many lines a file may have up to the mark: scripts and some JSON begin with lines of their own.
const markedLines = 5

// Ours is true if a file says that a format has made it.
func Ours(text []byte) bool {
	head := text
	if lines := bytes.SplitAfterN(text, []byte("\n"), markedLines+1); len(lines) > markedLines {
		head = text[:len(text)-len(lines[markedLines])]
	}
	return bytes.Contains(head, []byte(Mark))
}

// note is the line with the mark, for a comment or a first key. target is the command's word, such as "haproxy".
// The SHA-256 is that of the manifest's bytes, so one comparison shows whether a file follows the manifest in force.
func (n *Network) note(target string) string {
	return fmt.Sprintf("%s%s for the manifest with SHA-256 %s. The next render replaces it.", Mark, target, n.Manifest)
}

// noted is the neutral form as a file: the mark is its first key.
type noted struct {
	GeneratedBy string `json:"generated_by"`
	*Network
}

// makeJSON is the neutral form itself.
func makeJSON(n *Network) (*Output, error) {
	text, err := indented(noted{n.note("json"), n})
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
