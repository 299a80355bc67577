package config

import (
	"fmt"
	"strings"

	"go.yaml.in/yaml/v4"
)

// value decodes a node. key is the place of the key that leads to it.
func (d *Document) value(n *yaml.Node, s *Shape, path string, key mark) *Value {
	v := &Value{Given: true, Path: path, at: mark{n.Line, n.Column}, key: key}
	text := unsupported(n)
	if text == "" && n.Kind != kindOf(s) {
		text = mismatch(n, s)
	}
	if text != "" {
		d.Fault(v, "%s", text)
		d.unread(v, s)
		return v
	}
	switch s.Kind {
	case KindObject:
		d.object(n, s, v)
	case KindMap:
		d.mapping(n, s, v)
	case KindList:
		for i, item := range n.Content {
			one := d.value(item, s.Elem, fmt.Sprintf("%s[%d]", path, i), mark{item.Line, item.Column})
			v.Bad = v.Bad || one.Bad
			v.Items = append(v.Items, one)
		}
		if len(v.Items) < s.AtLeast {
			d.Fault(v, "expected %s, found an empty list", s.want())
		}
	case KindString, KindText, KindInt, KindDuration:
		if text := mismatch(n, s); text != "" {
			d.Fault(v, "%s", text)
		} else if text := s.scalar(n.Value, v); text != "" {
			d.Fault(v, "%s", text)
		}
	}
	return v
}

// unsupported names what YAML can do and these files must not: everything that
// makes a value come from another place than where it is.
func unsupported(n *yaml.Node) string {
	switch {
	case n.Kind == yaml.AliasNode, n.Anchor != "":
		return "anchors and aliases are not supported; write the value out, in quotes if it begins with `*` or `&`"
	case n.Style&yaml.TaggedStyle != 0:
		return "YAML tags are not supported; write the value without its tag, in quotes if it begins with `!`"
	}
	return ""
}

func kindOf(s *Shape) yaml.Kind {
	switch s.Kind {
	case KindObject, KindMap:
		return yaml.MappingNode
	case KindList:
		return yaml.SequenceNode
	case KindString, KindText, KindInt, KindDuration:
	}
	return yaml.ScalarNode
}

// mismatch says that a node is of another type than the shape wants; "" is nothing.
func mismatch(n *yaml.Node, s *Shape) string {
	quoted := n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle) != 0
	found := ""
	switch {
	case n.Kind == yaml.MappingNode:
		found = "a mapping"
	case n.Kind == yaml.SequenceNode:
		found = "a list"
	case n.Tag == "!!null":
		return fmt.Sprintf("has no value: expected %s; give one or delete the line", s.want())
	case s.Kind == KindText:
		return ""
	case s.Kind == KindString && n.Tag != "!!str":
		return fmt.Sprintf("expected a string, found %s; put it in quotes", bare(n, s))
	case s.Kind == KindInt && n.Tag == "!!str" && quoted && decimalRegexp.MatchString(n.Value):
		return fmt.Sprintf("expected %s, found a string; remove the quotes", s.want())
	case kindOf(s) == yaml.ScalarNode:
		return ""
	default:
		found = bare(n, s)
	}
	if n.Kind == kindOf(s) {
		return ""
	}
	return fmt.Sprintf("expected %s, found %s", s.want(), found)
}

// bare names a scalar as it was written.
func bare(n *yaml.Node, s *Shape) string {
	word := map[string]string{"!!int": "number", "!!float": "number", "!!bool": "boolean", "!!timestamp": "date"}[n.Tag]
	switch {
	case word == "":
		return "a string" // what may be a secret in the wrong place is not repeated
	case s.Private:
		return "a " + word
	}
	return "the " + word + " " + n.Value
}

func (d *Document) object(n *yaml.Node, s *Shape, v *Value) {
	v.fields = make(map[string]*Value, len(s.Fields))
	seen := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		name, ok := d.keyText(n.Content[i], v)
		if !ok {
			continue
		}
		at := mark{n.Content[i].Line, n.Content[i].Column}
		path := joinPath(v.Path, name)
		if first := seen[name]; first > 0 {
			v.Bad = true
			d.add(at, path, "is given twice, first on line %d; delete one", first)
			continue
		}
		seen[name] = at.line
		f := s.field(name)
		if f == nil {
			v.Bad = true
			d.add(at, path, "%s", unknown(name, s))
			continue
		}
		if f.Level > d.Level {
			d.Level, d.LevelField = f.Level, path
		}
		v.fields[name] = d.value(n.Content[i+1], &f.Shape, path, at)
		v.Bad = v.Bad || v.fields[name].Bad
	}
	for i := range s.Fields {
		f := &s.Fields[i]
		if v.fields[f.Name] != nil {
			continue
		}
		v.fields[f.Name] = d.missing(v, f)
		if f.Required {
			v.Bad = true
			d.FaultAtKey(v.fields[f.Name], "is missing: expected %s", f.want())
		}
	}
}

// missing is the value of a field that the file does not have.
func (d *Document) missing(parent *Value, f *Field) *Value {
	v := &Value{Path: joinPath(parent.Path, f.Name), key: parent.key}
	if f.Default != "" {
		if text := f.scalar(f.Default, v); text != "" {
			d.Fault(v, "default: %s", text) // a mistake in the declaration; any test shows it
		}
	}
	if f.Kind == KindObject {
		v.fields = make(map[string]*Value, len(f.Fields))
		for i := range f.Fields {
			v.fields[f.Fields[i].Name] = d.missing(v, &f.Fields[i])
		}
	}
	return v
}

// unread gives an object that could not be read its fields, all of them bad.
func (d *Document) unread(v *Value, s *Shape) {
	if s.Kind != KindObject {
		return
	}
	v.fields = make(map[string]*Value, len(s.Fields))
	for i := range s.Fields {
		f := &s.Fields[i]
		v.fields[f.Name] = d.missing(v, f)
		v.fields[f.Name].Bad = true
	}
}

func (d *Document) mapping(n *yaml.Node, s *Shape, v *Value) {
	type first struct {
		key  string
		line int
	}
	seen := map[string]first{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		name, ok := d.keyText(n.Content[i], v)
		if !ok {
			continue
		}
		at := mark{n.Content[i].Line, n.Content[i].Column}
		key := &Value{}
		if text := s.Key.scalar(name, key); text != "" {
			v.Bad = true
			d.add(at, v.Path, "%s%s", text, blankMissing(name))
			continue
		}
		path := joinPath(v.Path, key.Text)
		switch was, twice := seen[key.Text]; {
		case twice && was.key == name:
			v.Bad = true
			d.add(at, path, "is given twice, first on line %d; delete one", was.line)
			continue
		case twice:
			v.Bad = true
			d.add(at, path,
				"%q and %q (line %d) are the same, since upper and lower case make no difference here; delete one",
				name, was.key, was.line)
			continue
		}
		seen[key.Text] = first{name, at.line}
		one := d.value(n.Content[i+1], s.Elem, path, at)
		v.Bad = v.Bad || one.Bad
		v.Entries = append(v.Entries, Entry{Key: key.Text, Value: one})
	}
}

// keyText returns the text of a key, after reporting a key that cannot be one.
func (d *Document) keyText(n *yaml.Node, v *Value) (string, bool) {
	text := unsupported(n)
	switch {
	case text != "":
	case n.Tag == "!!merge":
		text = "merge keys (`<<`) are not supported; write the fields out"
	case n.Kind != yaml.ScalarNode, n.Tag == "!!null":
		text = "expected a name before the colon"
	default:
		return n.Value, true
	}
	v.Bad = true
	d.add(mark{n.Line, n.Column}, v.Path, "%s", text)
	return "", false
}

func (s *Shape) field(name string) *Field {
	for i := range s.Fields {
		if s.Fields[i].Name == name {
			return &s.Fields[i]
		}
	}
	return nil
}

func unknown(name string, s *Shape) string {
	names := make([]string, len(s.Fields))
	for i, f := range s.Fields {
		names[i] = f.Name
	}
	if near := nearest(name, names); near != "" {
		return fmt.Sprintf("unknown field; did you mean %q?", near)
	}
	return "unknown field; expected " + oneOf(names) + blankMissing(name)
}

// nearest returns the word that name was probably meant to be, or "".
func nearest(name string, words []string) string {
	best, limit := "", min(len(name)/2, 3)+1
	for _, w := range words {
		if n := distance(strings.ToLower(name), strings.ToLower(w)); n < limit {
			best, limit = w, n
		}
	}
	return best
}

// distance is how many letters must be added, removed or replaced.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		left := row[0]
		row[0] = i + 1
		for j := range len(b) {
			d := left
			if a[i] != b[j] {
				d = min(left, row[j], row[j+1]) + 1
			}
			left, row[j+1] = row[j+1], d
		}
	}
	return row[len(b)]
}

func joinPath(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}
