package config

import (
	"fmt"
	"strings"
	"unicode/utf16"
)

// escapeProperty writes a key or a value so that java.util.Properties reads it
// back, in ASCII only: the file is ISO-8859-1 to Java and often UTF-8 to the
// editor of a person.
func escapeProperty(s string, isKey bool) string {
	var b strings.Builder
	for i, r := range s {
		switch {
		case r == '\\':
			b.WriteString(`\\`)
		case r == '\t':
			b.WriteString(`\t`)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == '\f':
			b.WriteString(`\f`)
		case r == ' ' && (isKey || i == 0):
			b.WriteString(`\ `)
		case (r == '=' || r == ':') && (isKey || i == 0), (r == '#' || r == '!') && isKey:
			b.WriteByte('\\')
			b.WriteRune(r)
		case r >= ' ' && r <= '~':
			b.WriteRune(r)
		default:
			for _, u := range utf16.AppendRune(nil, r) {
				fmt.Fprintf(&b, `\u%04x`, u)
			}
		}
	}
	return b.String()
}

// propEdit is one change of a properties file.
type propEdit struct {
	key    string
	value  string // the new value, unless remove
	remove bool   // remove every line of the key
	own    bool   // a line with ownMark: it is added with one, and no other line is removed
}

// propChange is what an edit did to some natural lines, for the diff.
type propChange struct {
	key          string
	start, end   int    // replaced bytes of the old file: whole natural lines
	oldLine      int    // first old line, or where the new ones go
	before       string // old lines
	after        string // new lines; empty if removed
	replaceStart int    // the bytes really replaced
	replaceEnd   int
	replacement  string
}

// edit returns the file's bytes with the edits done and what changed, in the
// order of the file. Of a key that is there several times only the last entry is
// rewritten, since only that one counts. New keys go to the end.
func (p *propFile) edit(edits []propEdit) ([]byte, []propChange, error) {
	changes, added := p.changes(edits)
	var out []byte
	at := 0
	for _, c := range changes {
		out = append(out, p.data[at:c.replaceStart]...)
		out = append(out, c.replacement...)
		at = c.replaceEnd
	}
	out = append(out, p.data[at:]...)
	if len(added) == 0 {
		return out, changes, nil
	}
	q, err := readProperties(p.path, out) // a rewritten last line may have been the open one
	if err != nil {
		return nil, nil, err
	}
	eol := p.lineEnd()
	out = append(out, q.missingEnd(eol)...)
	oldLine := p.lines() + 1
	for _, e := range added {
		text := escapeProperty(e.key, true) + "=" + escapeProperty(e.value, false) + eol
		if e.own {
			text = ownMark + eol + text
		}
		out = append(out, text...)
		changes = append(changes, propChange{key: e.key, oldLine: oldLine, after: text})
	}
	return out, changes, nil
}

// changes sorts the edits into changes of what is there, by place, and keys to add.
func (p *propFile) changes(edits []propEdit) (changes []propChange, added []propEdit) {
	byKey := map[string]propEdit{}
	for _, e := range edits {
		byKey[e.key] = e
		if _, ok := p.last[e.key]; !ok && !e.remove {
			added = append(added, e)
		}
	}
	for i, e := range p.entries {
		edit, ok := byKey[e.key]
		switch {
		case !ok, !edit.remove && p.last[e.key] != i:
		case edit.remove && edit.own:
			if start, own := p.markStart(i); own {
				e.start, e.line = start, e.line-1
				changes = append(changes, p.change(e, e.start, e.end, ""))
			}
		case edit.remove:
			changes = append(changes, p.change(e, e.start, e.end, ""))
		case e.plain:
			changes = append(changes, p.change(e, e.valueStart, e.valueEnd, escapeProperty(edit.value, false)))
		default:
			text := escapeProperty(e.key, true) + "=" + escapeProperty(edit.value, false)
			changes = append(changes, p.change(e, e.start, e.valueEnd, text))
		}
	}
	return changes, added
}

func (p *propFile) change(e propEntry, start, end int, text string) propChange {
	return propChange{
		key: e.key, start: e.start, end: e.end, oldLine: e.line,
		before:       string(p.data[e.start:e.end]),
		after:        string(p.data[e.start:start]) + text + string(p.data[end:e.end]),
		replaceStart: start, replaceEnd: end, replacement: text,
	}
}

// lines counts the natural lines of the file.
func (p *propFile) lines() int {
	n := len(p.data)
	count := strings.Count(strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(string(p.data)), "\n")
	if n > 0 && p.data[n-1] != '\n' && p.data[n-1] != '\r' {
		count++
	}
	return count
}

// missingEnd returns what must follow the file's last byte so that a new key can
// be added: nothing, a line end, or two where the first would only be continued.
func (p *propFile) missingEnd(eol string) string {
	n := len(p.data)
	if n == 0 {
		return ""
	}
	end := ""
	if last := p.data[n-1]; last == '\r' && eol == "\n" && p.open {
		return "\r" // a LF here would only complete the CR
	} else if last != '\r' && last != '\n' {
		end = eol
	}
	if p.open {
		end += eol
	}
	return end
}
