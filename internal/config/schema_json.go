package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// JSONSchema is the shape as a JSON schema (draft 7, which editors know). It
// refuses what the structure alone shows; rules between fields are left to the decoder.
func (s *Shape) JSONSchema(title, description string) ([]byte, error) {
	m := s.schema()
	m["$schema"] = "http://json-schema.org/draft-07/schema#"
	m["title"], m["description"] = title, description
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(m); err != nil {
		return nil, fmt.Errorf("encode JSON schema: %w", err)
	}
	return b.Bytes(), nil
}

func (s *Shape) schema() map[string]any {
	m := map[string]any{}
	switch s.Kind {
	case KindObject:
		s.objectSchema(m)
	case KindMap:
		m["type"] = "object"
		m["propertyNames"] = map[string]any{"pattern": s.Key.Pattern.String()}
		m["additionalProperties"] = s.Elem.schema()
	case KindList:
		m["type"], m["items"] = "array", s.Elem.schema()
		if s.AtLeast > 0 {
			m["minItems"] = s.AtLeast
		}
	case KindString:
		m["type"] = "string"
		if len(s.Enum) > 0 {
			m["enum"] = s.enum()
		}
		if s.Pattern != nil {
			m["pattern"] = s.Pattern.String()
		}
	case KindText:
		m["type"] = []string{"string", "number", "boolean"}
	case KindInt:
		m["type"], m["minimum"], m["maximum"] = "integer", s.Min, s.Max
	case KindDuration:
		// The bounds hold for a bare number only, and 0 is the only one.
		m["type"], m["pattern"], m["minimum"], m["maximum"] = []string{
			"string", "integer",
		}, `^0$|`+durationPattern, 0, 0
	}
	return m
}

func (s *Shape) objectSchema(m map[string]any) {
	m["type"], m["additionalProperties"] = "object", false
	properties, required := map[string]any{}, []string{}
	for i := range s.Fields {
		f := &s.Fields[i]
		p := f.schema()
		p["description"] = f.Doc
		if f.Default != "" {
			p["default"] = f.Default
			if n, err := strconv.Atoi(f.Default); err == nil && f.Kind == KindInt {
				p["default"] = n
			}
		}
		properties[f.Name] = p
		if f.Required {
			required = append(required, f.Name)
		}
	}
	m["properties"] = properties
	if len(required) > 0 {
		m["required"] = required
	}
}

// enum lists what an editor may offer: of a folded enumeration both usual cases.
func (s *Shape) enum() []string {
	words := append([]string(nil), s.Enum...)
	if s.Fold {
		for _, w := range s.Enum {
			words = append(words, strings.ToLower(w))
		}
	}
	return words
}

// Reference is the shape as a table in Markdown, one row for each field. `*` in
// a path stands for a name that the user chooses.
func (s *Shape) Reference() string {
	var b strings.Builder
	b.WriteString("| field | type | default | meaning |\n| --- | --- | --- | --- |\n")
	s.reference(&b, "")
	return b.String()
}

func (s *Shape) reference(b *strings.Builder, path string) {
	for i := range s.Fields {
		f := &s.Fields[i]
		at := joinPath(path, f.Name)
		fmt.Fprintf(b, "| `%s` | %s | %s | %s |\n", at, f.typeName(), f.otherwise(), f.Doc)
		switch {
		case f.Kind == KindObject:
			f.reference(b, at)
		case f.Kind == KindMap && f.Elem.Kind == KindObject:
			f.Elem.reference(b, at+".*")
		}
	}
}

// otherwise says what holds where the field is missing.
func (f *Field) otherwise() string {
	switch {
	case f.Required:
		return "**required**"
	case f.Default != "":
		return "`" + f.Default + "`"
	case f.Unset != "":
		return f.Unset
	case f.Kind == KindObject:
		return "its fields'"
	}
	return "none"
}

// typeName names what the field may hold, with its range.
func (s *Shape) typeName() string {
	switch s.Kind {
	case KindObject:
		return "object"
	case KindMap:
		return "map of " + s.Elem.typeName()
	case KindList:
		return "list of " + s.Elem.typeName()
	case KindString:
		if len(s.Enum) > 0 {
			return "`" + strings.Join(s.Enum, "`, `") + "`"
		}
		return "string"
	case KindText:
		return "string, number or boolean"
	case KindInt:
		if s.Min == s.Max {
			return fmt.Sprintf("%d", s.Min)
		}
		return fmt.Sprintf("integer, %d to %d", s.Min, s.Max)
	case KindDuration:
		return fmt.Sprintf("duration, %s to %s", brief(s.Shortest), brief(s.Longest))
	}
	return ""
}
