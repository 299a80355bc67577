package config

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Kind is what a place in a YAML file may hold.
type Kind int

// The kinds. There is no boolean: a word that says what happens reads better.
const (
	// KindObject is a mapping with the fields of Shape.Fields.
	KindObject Kind = iota
	// KindMap is a mapping with free keys of Shape.Key and values of Shape.Elem.
	KindMap
	// KindList is a sequence of Shape.Elem.
	KindList
	// KindString is a string; a number or a boolean must be quoted.
	KindString
	// KindText is any scalar, taken as it is written.
	KindText
	// KindInt is a decimal integer from Shape.Min to Shape.Max.
	KindInt
	// KindDuration is a Go duration (60s, 1m30s) or 0, from Shape.Shortest to Shape.Longest.
	KindDuration
)

// Shape declares one place of a YAML file. The decoder, the JSON schema for
// editors and the reference in docs/configuration.md all come from it, so
// they cannot differ.
type Shape struct {
	Kind   Kind
	Fields []Field // KindObject
	Key    *Shape  // KindMap: a KindString; Upper may be set
	Elem   *Shape  // KindMap, KindList
	// AtLeast is the smallest number of entries of a KindList.
	AtLeast int
	// Enum lists all values of a KindString.
	Enum []string
	// Fold takes Enum in any case and gives it as it is in Enum.
	Fold bool
	// Upper turns a KindString to upper case.
	Upper bool
	// Pattern must match the whole of a KindString.
	Pattern *regexp.Regexp
	// Check says what is wrong with a KindString or KindText, as far as Pattern does not; "" is nothing.
	Check func(string) string
	// Want completes "expected …" in faults; empty is derived from the rest.
	Want string
	// Private values are never repeated in a fault.
	Private           bool
	Min, Max          int64         // KindInt, inclusive
	Shortest, Longest time.Duration // KindDuration, inclusive
}

// Field is one named field of an object.
type Field struct {
	Name string
	// Doc is what the reference and the schema say of the field, in Markdown on one line.
	Doc      string
	Required bool
	// Default is used where the field is missing, written as in YAML. Empty is none.
	Default string
	// Unset says what a missing field without a Default means, for the reference.
	Unset string
	// Level is the level of the manifest that has brought the field, see ManifestLevel. 0 is the first.
	Level int
	Shape
}

// durationPattern is what time.ParseDuration takes, without signs and oddities.
const durationPattern = `^([0-9]+(\.[0-9]+)?(ns|us|ms|s|m|h))+$`

var (
	durationRegexp = regexp.MustCompile(durationPattern)
	decimalRegexp  = regexp.MustCompile(`^-?(0|[1-9][0-9]*)$`)
)

// want completes "expected …".
func (s *Shape) want() string {
	switch {
	case s.Want != "":
		return s.Want
	case len(s.Enum) > 0:
		return oneOf(s.Enum)
	}
	switch s.Kind {
	case KindObject, KindMap:
		return "a mapping"
	case KindList:
		return "a list"
	case KindString, KindText:
		return "a string"
	case KindInt:
		return fmt.Sprintf("an integer from %d to %d", s.Min, s.Max)
	case KindDuration:
		return fmt.Sprintf("a duration from %s to %s, such as 30s or 1m30s", brief(s.Shortest), brief(s.Longest))
	}
	return "something else"
}

// brief writes a duration without its empty parts: 10m, not 10m0s.
func brief(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

func oneOf(words []string) string {
	if len(words) == 1 {
		return words[0]
	}
	return strings.Join(words[:len(words)-1], ", ") + " or " + words[len(words)-1]
}

// scalar converts the text of a scalar into v and returns what is wrong with it, or "".
func (s *Shape) scalar(text string, v *Value) string {
	v.Text = text
	switch s.Kind {
	case KindInt:
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil || !decimalRegexp.MatchString(text) || n < s.Min || n > s.Max {
			return s.found(text)
		}
		v.Int = int(n)
	case KindDuration:
		d, err := time.ParseDuration(text)
		if err != nil || text != "0" && !durationRegexp.MatchString(text) || d < s.Shortest || d > s.Longest {
			return s.found(text)
		}
		v.Duration = d
	case KindString, KindText:
		return s.word(text, v)
	case KindObject, KindMap, KindList:
		return s.found(text)
	}
	return ""
}

func (s *Shape) word(text string, v *Value) string {
	if s.Upper {
		v.Text = strings.ToUpper(text)
	}
	if len(s.Enum) > 0 {
		for _, e := range s.Enum {
			if text == e || s.Fold && strings.EqualFold(text, e) {
				v.Text = e
				return ""
			}
		}
		return s.found(text)
	}
	if s.Pattern != nil && !s.Pattern.MatchString(text) {
		return s.found(text)
	}
	if s.Check != nil {
		return s.Check(text)
	}
	return ""
}

// found says what was found and what was expected.
func (s *Shape) found(text string) string {
	if s.Private {
		return "expected " + s.want()
	}
	return fmt.Sprintf("expected %s, found %s", s.want(), quoteShort(text))
}

// quoteShort quotes a value for a message, and no more of it than helps.
func quoteShort(text string) string {
	if r := []rune(text); len(r) > 60 {
		return strconv.Quote(string(r[:60])) + "…"
	}
	return strconv.Quote(text)
}
