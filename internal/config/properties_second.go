package config

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf16"

	"github.com/magiconair/properties"
)

// secondReading reads the file once more, by an independent implementation of
// the same format, so a slip in readProperties is noticed instead of
// written into somebody's file. It only reads.
//
// That implementation keeps to Java's rules but for some corners that
// readProperties follows Java in (as the differential tests show). Two of them
// are mere spelling and are evened out first: a CR LF after a backslash, and a
// backslash as the very last byte. A key that goes on over two lines, and a
// continuation before the first byte of a key, stay different: no person writes
// them on purpose, so the file is refused where such a line matters.
func secondReading(data []byte) (map[string]string, error) {
	plain := bytes.ReplaceAll(data, []byte("\r\n"), []byte("\n"))
	if n := len(plain) - len(bytes.TrimRight(plain, `\`)); n%2 == 1 {
		plain = plain[:len(plain)-1]
	}
	loader := properties.Loader{Encoding: properties.ISO_8859_1, DisableExpansion: true}
	p, err := loader.LoadBytes(plain)
	if err != nil {
		return nil, err
	}
	return p.Map(), nil
}

// crossCheck refuses a file that the two readings do not agree on, as far as the
// keys matter.
func (p *propFile) crossCheck(matters func(key string) bool) error {
	for _, e := range p.entries {
		if e.key == "" {
			// The other implementation cannot go on after such a line.
			return p.unreadable(e.line, "a line without a key: it begins with = or :", "remove the line")
		}
	}
	other, err := secondReading(p.data)
	if err != nil {
		return p.unreadable(0, "a second, independent reading of the file fails",
			"look for unusual escapes and continuation lines")
	}
	for i, e := range p.entries {
		if p.last[e.key] == i && matters(e.key) && other[e.key] != replaceSurrogates(e.value) {
			return p.unreadable(e.line, fmt.Sprintf("two independent readings of %q differ", e.key),
				"write it on one line, without continuation and escapes")
		}
	}
	for _, key := range slices.Sorted(maps.Keys(other)) {
		if _, ok := p.last[key]; !ok && matters(key) {
			return p.unreadable(0, fmt.Sprintf("of two independent readings only one finds %q", key),
				"write it on one line, without continuation and escapes")
		}
	}
	return nil
}

// replaceSurrogates spells s as the other implementation does, which decodes
// each half of a surrogate pair for itself.
func replaceSurrogates(s string) string {
	if !strings.ContainsFunc(s, func(r rune) bool { return r > 0xffff }) {
		return s
	}
	var b strings.Builder
	for _, u := range utf16.Encode([]rune(s)) {
		b.WriteRune(rune(u)) // a lone half becomes U+FFFD
	}
	return b.String()
}

func (p *propFile) unreadable(line int, text, next string) error {
	return &Refusal{Rule: "S0", Path: p.path, Line: line, Text: text, Next: next}
}
