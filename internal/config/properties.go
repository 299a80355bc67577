package config

import (
	"bytes"
	"slices"
	"unicode/utf16"
)

// propEntry is one key and value of a properties file together with the bytes
// it came from.
type propEntry struct {
	key, value string
	line       int // number of the first natural line, from 1
	start, end int // bytes of its natural lines, the last line's end included
	valueStart int // where the value begins, if plain
	valueEnd   int // where the value ends, before the line's end
	// plain is true if the value alone can be replaced: it is on the line of its
	// key, behind a separator that is not only blanks.
	plain bool
}

// propFile is a properties file as java.util.Properties.load(InputStream) of
// JDK 9 and later reads it, which is how Kafka reads its configuration
// (org.apache.kafka.common.utils.Utils.loadProps).
type propFile struct {
	path    string
	data    []byte
	entries []propEntry
	last    map[string]int // key -> index of the entry that counts, the last one
	// open is true if bytes added at the end would continue the last line even
	// after a line end.
	open bool
}

// readProperties reads data; path is for messages only.
func readProperties(path string, data []byte) (*propFile, error) {
	if bytes.HasPrefix(data, []byte("\xef\xbb\xbf")) {
		return nil, &Refusal{
			Rule: "BOM", Path: path, Line: 1,
			Text: "the file begins with a UTF-8 byte order mark, which Kafka takes for a part of the first key",
			Next: "save it without the mark",
		}
	}
	p := &propFile{path: path, data: data, last: map[string]int{}}
	r := lineReader{data: data, line: 1}
	for r.next() {
		e, err := r.entry(path)
		if err != nil {
			return nil, err
		}
		p.last[e.key] = len(p.entries)
		p.entries = append(p.entries, e)
	}
	p.open = r.open
	return p, nil
}

// get returns the value that counts for a key.
func (p *propFile) get(key string) (value string, ok bool) {
	i, ok := p.last[key]
	if !ok {
		return "", false
	}
	return p.entries[i].value, true
}

// line returns the number of the line that counts for a key, 0 if there is none.
func (p *propFile) line(key string) int {
	i, ok := p.last[key]
	if !ok {
		return 0
	}
	return p.entries[i].line
}

// lineEnd returns how the file ends its lines: as the first of them does.
func (p *propFile) lineEnd() string {
	switch i := bytes.IndexAny(p.data, "\r\n"); {
	case i < 0 || p.data[i] == '\n':
		return "\n"
	case i+1 < len(p.data) && p.data[i+1] == '\n':
		return "\r\n"
	default:
		return "\r"
	}
}

// lineReader yields logical lines as Properties.LineReader does. It follows that
// class step by step, odd corners included; the differential tests compare them.
type lineReader struct {
	data []byte
	off  int
	line int // number of the natural line at off

	// The logical line that next found: its bytes without line ends and
	// continuation marks, where each came from, and the extent of its natural lines.
	buf        []byte
	at         []int
	first      int // line number of buf[0]
	start, end int
	textEnd    int // end of the text, before the line's end
	joined     int // how many bytes of buf were read before the first continuation; len(buf) if none
	open       bool
}

func isPropBlank(c byte) bool { return c == ' ' || c == '\t' || c == '\f' }

// next reads the next logical line that is neither blank nor a comment.
func (r *lineReader) next() bool {
	if r.off == len(r.data) {
		return false
	}
	r.buf, r.at, r.joined, r.open = r.buf[:0], r.at[:0], -1, false
	r.start = r.off
	skipBlanks, appended, escaped := true, false, false
	for r.off < len(r.data) {
		c := r.data[r.off]
		if skipBlanks {
			if isPropBlank(c) {
				r.off++
				continue
			}
			if !appended && (c == '\r' || c == '\n') {
				r.restart()
				continue
			}
			skipBlanks, appended = false, false
		}
		if len(r.buf) == 0 && (c == '#' || c == '!') {
			r.skipComment()
			skipBlanks, escaped = true, false
			continue
		}
		if c != '\n' && c != '\r' {
			if len(r.buf) == 0 {
				r.first = r.line
			}
			r.buf, r.at = append(r.buf, c), append(r.at, r.off)
			r.off++
			escaped = c == '\\' && !escaped
			continue
		}
		if len(r.buf) == 0 {
			r.restart()
			skipBlanks, escaped = true, false
			continue
		}
		r.textEnd = r.off
		r.lineEnd()
		if !escaped {
			r.end = r.off
			return true
		}
		r.open = true
		if r.off == len(r.data) {
			break
		}
		// A backslash before the line's end: it goes, and the next line belongs to this one.
		r.cut()
		skipBlanks, appended, escaped = true, true, false
	}
	return r.atEOF(escaped)
}

// atEOF ends a logical line that the end of the file ends.
func (r *lineReader) atEOF(escaped bool) bool {
	r.end = len(r.data)
	if n := len(r.data); n > 0 && r.data[n-1] != '\n' && r.data[n-1] != '\r' {
		r.textEnd = n
		// Bytes after a line end would begin a new line, unless this one ends in a backslash.
		r.open = escaped
	}
	if !escaped {
		return len(r.buf) > 0
	}
	r.cut()
	return true // also if nothing is left: to Java that is an entry without a key
}

// cut drops the backslash at the end of the line read so far.
func (r *lineReader) cut() {
	r.buf, r.at = r.buf[:len(r.buf)-1], r.at[:len(r.at)-1]
	if r.joined < 0 {
		r.joined = len(r.buf)
	}
}

// restart steps over an empty line.
func (r *lineReader) restart() {
	r.lineEnd()
	r.start, r.open = r.off, false
}

// skipComment steps over a comment line, which no backslash ever continues.
func (r *lineReader) skipComment() {
	for r.off < len(r.data) && r.data[r.off] != '\n' && r.data[r.off] != '\r' {
		r.off++
	}
	if r.off < len(r.data) {
		r.lineEnd()
	}
	r.start, r.open = r.off, false
}

// lineEnd steps over CR, LF or CR LF. (Java leaves the LF of a CR LF for the
// next line, where it is a blank line; after a backslash it does not.)
func (r *lineReader) lineEnd() {
	if r.data[r.off] == '\r' && r.off+1 < len(r.data) && r.data[r.off+1] == '\n' {
		r.off++
	}
	r.off++
	r.line++
}

// entry splits the logical line into key and value, as Properties.load0 does.
func (r *lineReader) entry(path string) (propEntry, error) {
	n := len(r.buf)
	keyLen, valueAt, sep, escaped := 0, n, false, false
	for ; keyLen < n; keyLen++ {
		c := r.buf[keyLen]
		if !escaped && (c == '=' || c == ':' || isPropBlank(c)) {
			valueAt, sep = keyLen+1, !isPropBlank(c)
			break
		}
		escaped = c == '\\' && !escaped
	}
	for ; valueAt < n; valueAt++ {
		c := r.buf[valueAt]
		if isPropBlank(c) {
			continue
		}
		if sep || (c != '=' && c != ':') {
			break
		}
		sep = true
	}
	e := propEntry{line: r.first, start: r.start, end: r.end, valueEnd: r.textEnd}
	e.plain = sep && (r.joined < 0 || valueAt < r.joined)
	e.valueStart = r.textEnd
	if valueAt < n {
		e.valueStart = r.at[valueAt]
	}
	var ok1, ok2 bool
	e.key, ok1 = unescapeProperty(r.buf[:keyLen])
	e.value, ok2 = unescapeProperty(r.buf[valueAt:])
	if !ok1 || !ok2 {
		return e, &Refusal{
			Rule: "S0", Path: path, Line: r.first,
			Text:    `a \u that four hexadecimal digits do not follow: Kafka cannot read the file`,
			Next:    `write \\u for a backslash and the letter u`,
			Already: true,
		}
	}
	return e, nil
}

// unescapeProperty decodes ISO-8859-1 and the escapes of a key or value, as
// Properties.loadConvert does; false if a \u is malformed.
func unescapeProperty(b []byte) (string, bool) {
	if !slices.ContainsFunc(b, func(c byte) bool { return c == '\\' || c >= 0x80 }) {
		return string(b), true
	}
	units := make([]uint16, 0, len(b))
	for i := 0; i < len(b); i++ {
		c := b[i]
		if c != '\\' || i+1 == len(b) {
			units = append(units, uint16(c))
			continue
		}
		i++
		switch b[i] {
		case 'u':
			u, ok := hexUnit(b[i+1:])
			if !ok {
				return "", false
			}
			units = append(units, u)
			i += 4
		case 't':
			units = append(units, '\t')
		case 'n':
			units = append(units, '\n')
		case 'r':
			units = append(units, '\r')
		case 'f':
			units = append(units, '\f')
		default:
			units = append(units, uint16(b[i]))
		}
	}
	return string(utf16.Decode(units)), true
}

// hexUnit reads the four digits of a \u.
func hexUnit(b []byte) (unit uint16, ok bool) {
	if len(b) < 4 {
		return 0, false
	}
	for _, c := range b[:4] {
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c && c <= 'f':
			c -= 'a' - 10
		case 'A' <= c && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		unit = unit<<4 | uint16(c)
	}
	return unit, true
}
