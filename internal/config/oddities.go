package config

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// Oddities says, in one line each, what of a server.properties Kafka reads without
// a word although it is hardly meant: a key that is given more than once, and what
// looks like the rest of a value that went on over several lines, whose first line
// another program has rewritten. Nothing of the values is shown. A file that
// cannot be read at all has none.
func Oddities(path string, file []byte) []string {
	p, err := readProperties(path, file)
	if err != nil {
		return nil
	}
	var out []string
	for i, e := range p.entries {
		if p.last[e.key] == i {
			if text := p.repeated(e.key); text != "" {
				out = append(out, fmt.Sprintf("%s:%d: %s", path, e.line, text))
			}
		}
		if what := p.torn(e); what != "" {
			out = append(out, fmt.Sprintf("%s:%d: %s looks like the rest of a value that was torn: "+
				"Kafka takes it for a property and ignores it; "+
				"join it to the value that it belongs to, or delete the line", path, e.line, what))
		}
	}
	return out
}

// repeated says where a key is given, if more than once.
func (p *propFile) repeated(key string) string {
	var lines []string
	for _, e := range p.entries {
		if e.key == key {
			lines = append(lines, strconv.Itoa(e.line))
		}
	}
	if len(lines) < 2 {
		return ""
	}
	last := len(lines) - 1
	return fmt.Sprintf("%s is given %d times (lines %s and %s), and Kafka takes the last one; delete the others",
		quoteKey(key), len(lines), strings.Join(lines[:last], ", "), lines[last])
}

// quoteKey is a key as it may be shown.
func quoteKey(key string) string {
	if plainKey.MatchString(key) && len(key) <= 100 {
		return key
	}
	return "a key"
}

var (
	// plainKey is how all of Kafka's keys look.
	plainKey = regexp.MustCompile(`^[0-9A-Za-z_.-]+$`)
	// tornItem is a line that begins with an item of `listeners`, `advertised.listeners`
	// (NAME://host:port) or `listener.security.protocol.map` (NAME:PROTOCOL).
	tornItem = regexp.MustCompile(`^[ \t\f]*[0-9A-Za-z_-]+[ \t]*:[ \t]*` +
		`(//[^=]*:[0-9]|(?i:PLAINTEXT|SSL|SASL_PLAINTEXT|SASL_SSL)[ \t]*(,|\\?[\r\n]|$))`)
)

// torn says what a line is that looks like the rest of another one, "" for none.
func (p *propFile) torn(e propEntry) string {
	switch {
	case tornItem.Match(p.data[e.start:e.end]):
		return quoteKey(e.key)
	case strings.ContainsAny(e.key, "/@,;\""), // a directory, a voter, an item of a list, a password: no key has these
		!strings.Contains(e.key, ".") && strings.HasPrefix(e.value, `"`), // username="x" of a JAAS entry
		!strings.Contains(e.key, ".") && e.value == "" && !e.plain:       // a word alone
		return "this line"
	}
	return ""
}
