package config

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"
)

// MaxFileSize is the largest manifest or settings file, in bytes. 300 brokers
// with ten listeners each need a tenth of it.
const MaxFileSize = 4 << 20

// Fault is one thing that is wrong in a file.
type Fault struct {
	File string
	// Line and Column begin at 1. Line 0 is the file as a whole, Column 0 the line as a whole.
	Line, Column int
	// Path is the place in the file's structure, as in listeners.EXTERNAL.bind; empty is the whole.
	Path string
	// Text says what is wrong and what to do.
	Text string
}

// String is FILE:LINE:COLUMN: PATH: TEXT, without what is not known.
func (f Fault) String() string {
	s := f.File
	if f.Line > 0 {
		s += fmt.Sprintf(":%d", f.Line)
	}
	if f.Column > 0 {
		s += fmt.Sprintf(":%d", f.Column)
	}
	if f.Path != "" {
		s += ": " + f.Path
	}
	return s + ": " + f.Text
}

// Faults is everything that is wrong in a file, in the order of the file. As an
// error it is one line for each.
type Faults []Fault

func (f Faults) Error() string {
	lines := make([]string, len(f))
	for i, one := range f {
		lines[i] = one.String()
	}
	return strings.Join(lines, "\n")
}

// OneLine is an error on one line, for the log and the status: of Faults the summary.
func OneLine(err error) string {
	if faults, ok := errors.AsType[Faults](err); ok {
		return faults.Summary()
	}
	return strings.Join(strings.Fields(err.Error()), " ")
}

// Summary is one line for places that have no room for all.
func (f Faults) Summary() string {
	switch len(f) {
	case 0:
		return ""
	case 1:
		return f[0].String()
	}
	return fmt.Sprintf("%s (and %d more)", f[0], len(f)-1)
}

// Value is one place of a decoded file. Methods and fields of a place that is
// missing give its default, or the zero value where it has none; those of a nil
// Value the zero value.
type Value struct {
	// Given is true if the file has it.
	Given bool
	// Bad is true if a fault was reported for it or for what is in it.
	Bad      bool
	Path     string
	Text     string        // scalars; for KindInt and KindDuration as it was written
	Int      int           // KindInt
	Duration time.Duration // KindDuration
	Items    []*Value      // KindList
	Entries  []Entry       // KindMap, in the order of the file

	fields map[string]*Value
	at     mark // of the value
	key    mark // of its key; that of the parent where it is missing
}

// Entry is one entry of a KindMap.
type Entry struct {
	Key   string
	Value *Value
}

type mark struct{ line, column int }

// Get returns a field of an object; nil if there is no such field.
func (v *Value) Get(name string) *Value {
	if v == nil {
		return nil
	}
	return v.fields[name]
}

// Document is a decoded file and the faults found in it so far.
type Document struct {
	Root *Value
	// Level is the highest level of the fields that the file gives, and LevelField the first of that level.
	Level      int
	LevelField string

	name   string
	faults Faults
}

// Decode reads one YAML document strictly: unknown fields, duplicate keys,
// wrong types, missing fields, anchors, aliases, merge keys and tags are faults,
// and all of them are found in one go. A file that is empty is a fault only if
// the shape has a required field.
//
// If the file is not even YAML, Root is nil.
func Decode(name string, data []byte, shape *Shape) *Document {
	d := &Document{name: name}
	node := d.compose(data, shape)
	if len(d.faults) > 0 {
		return d
	}
	if node == nil {
		d.Root = d.missing(&Value{key: mark{1, 1}}, &Field{Shape: *shape})
		return d
	}
	d.Root = d.value(node, shape, "", mark{1, 1})
	return d
}

// Fault reports that something is wrong at v; where v is missing, at the place that should hold it.
func (d *Document) Fault(v *Value, format string, args ...any) {
	v.Bad = true
	at := v.at
	if at.line == 0 {
		at = v.key
	}
	d.add(at, v.Path, format, args...)
}

// FaultAtKey is Fault, at the key of v.
func (d *Document) FaultAtKey(v *Value, format string, args ...any) {
	v.Bad = true
	d.add(v.key, v.Path, format, args...)
}

// Err returns all faults in the order of the file, as Faults; nil if there are none.
func (d *Document) Err() error {
	if len(d.faults) == 0 {
		return nil
	}
	slices.SortStableFunc(d.faults, func(a, b Fault) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return d.faults
}

func (d *Document) add(at mark, path, format string, args ...any) {
	d.faults = append(d.faults,
		Fault{File: d.name, Line: at.line, Column: at.column, Path: path, Text: fmt.Sprintf(format, args...)})
}

// compose parses the bytes as far as YAML goes. nil without a fault is an empty file.
func (d *Document) compose(data []byte, shape *Shape) *yaml.Node {
	if text, at := notText(data); text != "" {
		d.add(at, "", "%s", text)
		return nil
	}
	loader, err := yaml.NewLoader(bytes.NewReader(data))
	if err != nil {
		d.syntax(data, err)
		return nil
	}
	var doc, second yaml.Node
	switch err := loader.Load(&doc); {
	case errors.Is(err, io.EOF) || err == nil && emptyNode(&doc):
		if slices.ContainsFunc(shape.Fields, func(f Field) bool { return f.Required }) {
			d.add(mark{1, 1}, "", "the file is empty; expected at least %s", requiredOf(shape))
		}
		return nil
	case err != nil:
		d.syntax(data, err)
		return nil
	}
	switch err := loader.Load(&second); {
	case err == nil:
		d.add(mark{second.Line, second.Column}, "",
			"a second YAML document begins here; keep one document and delete the rest")
	case !errors.Is(err, io.EOF):
		d.syntax(data, err)
	}
	return doc.Content[0]
}

func emptyNode(doc *yaml.Node) bool {
	return len(doc.Content) == 0 || doc.Content[0].Tag == "!!null" && doc.Content[0].Value == ""
}

func requiredOf(s *Shape) string {
	var names []string
	for _, f := range s.Fields {
		if f.Required {
			names = append(names, "`"+f.Name+"`")
		}
	}
	return strings.Join(names, " and ")
}

// notText says why the bytes cannot be a YAML file at all, and where; "" is nothing.
func notText(data []byte) (string, mark) {
	switch {
	case len(data) > MaxFileSize:
		return fmt.Sprintf("the file has more than %d MiB; is it the right file?", MaxFileSize>>20), mark{}
	case bytes.HasPrefix(data, []byte("\xef\xbb\xbf")):
		return "the file begins with a byte order mark; save it as UTF-8 without one", mark{1, 1}
	case bytes.HasPrefix(data, []byte("\xff\xfe")), bytes.HasPrefix(data, []byte("\xfe\xff")):
		return "the file is UTF-16; save it as UTF-8", mark{1, 1}
	}
	line, column := 1, 1
	for rest := data; len(rest) > 0; {
		r, n := utf8.DecodeRune(rest)
		switch {
		case r == utf8.RuneError && n == 1:
			return fmt.Sprintf("the byte 0x%02x is not UTF-8; save the file as UTF-8", rest[0]), mark{line, column}
		case r < ' ' && r != '\n' && r != '\r' && r != '\t', r == 0x7f:
			return fmt.Sprintf("the control character 0x%02x is not allowed; delete it", r), mark{line, column}
		}
		column++
		if r == '\n' {
			line, column = line+1, 1
		}
		rest = rest[n:]
	}
	return "", mark{}
}

// syntax reports an error of the YAML parser. Its words do not repeat values,
// except for the name of an alias, which may be a password that needs quotes.
func (d *Document) syntax(data []byte, err error) {
	var e *yaml.LoadError
	if !errors.As(err, &e) {
		d.add(mark{}, "", "the file is not YAML: %v", err)
		return
	}
	text := e.Message
	if e.Stage == "composer" {
		text = "anchors and aliases are not supported; write the value out, in quotes if it begins with `*` or `&`"
	} else if line, why := hint(data, max(e.Mark.Line, 1)); line > 0 {
		at := mark{line, 1 + len(first(data, line))}
		if line == e.Mark.Line {
			at = mark{line, max(e.Mark.Column, 1)}
		}
		d.add(at, "", "the file is not YAML: %s; %s", text, why)
		return
	}
	if strings.Contains(text, "cannot start any token") {
		text += "; indent with spaces, never with tabs, and quote a value that begins with a sign"
	}
	if e.ContextMsg != "" && e.ContextMark.Line > 0 && e.ContextMark.Line != e.Mark.Line {
		text += fmt.Sprintf(" (%s that begins on line %d)", e.ContextMsg, e.ContextMark.Line)
	}
	d.add(mark{max(e.Mark.Line, 1), max(e.Mark.Column, 1)}, "", "the file is not YAML: %s", text)
}
