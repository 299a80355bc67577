package config

import (
	"errors"
	"fmt"
	"strings"
)

// JAASModule is one entry of a JAAS configuration.
type JAASModule struct {
	Class   string
	Options map[string]string
}

// ParseJAAS reads the value of a sasl.jaas.config as Kafka's JaasConfig does: one
// entry, in the tokens of java.io.StreamTokenizer with comments of both kinds.
// An error never repeats what stands behind an equals sign.
func ParseJAAS(text string) (JAASModule, error) {
	t := &jaasTokens{text: text}
	m := JAASModule{Options: map[string]string{}}
	class := t.next()
	if class.kind != jaasWord && class.kind != jaasQuoted {
		return m, errors.New("does not begin with the class of a login module")
	}
	m.Class = class.text
	switch flag := t.next(); strings.ToUpper(flag.text) {
	case "REQUIRED", "REQUISITE", "SUFFICIENT", "OPTIONAL":
	default:
		return m, errors.New("has no control flag behind the class; write `required`")
	}
	for {
		key := t.next()
		switch {
		case key.kind == jaasMark && key.text == ";":
			if t.next().kind != jaasEnd {
				return m, errors.New("has more than one login module, or text behind the semicolon")
			}
			return m, nil
		case key.kind == jaasEnd:
			return m, errors.New("does not end with a semicolon")
		case key.kind != jaasWord && key.kind != jaasQuoted:
			return m, fmt.Errorf(
				"has something else than the name of option %d; a value with other characters than letters and digits needs quotes",
				len(m.Options)+1)
		}
		if equals := t.next(); equals.kind != jaasMark || equals.text != "=" {
			return m, fmt.Errorf("has no = behind the name of option %d", len(m.Options)+1)
		}
		value := t.next()
		if value.kind != jaasWord && value.kind != jaasQuoted {
			return m, fmt.Errorf("has no value for option %d; a value that does not begin with a letter needs quotes",
				len(m.Options)+1)
		}
		m.Options[key.text] = value.text
	}
}

type jaasKind int

const (
	jaasEnd jaasKind = iota
	jaasWord
	jaasQuoted
	jaasNumber // which is no value to Kafka
	jaasMark
)

type jaasToken struct {
	kind jaasKind
	text string
}

// jaasTokens follows StreamTokenizer as JaasConfig sets it up.
type jaasTokens struct {
	text string
	at   int
}

func (t *jaasTokens) next() jaasToken {
	t.skip()
	if t.at == len(t.text) {
		return jaasToken{kind: jaasEnd}
	}
	begin, c := t.at, t.text[t.at]
	switch {
	case c == '"' || c == '\'':
		return jaasToken{jaasQuoted, t.quoted(c)}
	case isJAASNumber(c):
		// A number ends where no digit or dot follows; a - alone is a mark.
		t.at++
		for t.at < len(t.text) && (t.text[t.at] >= '0' && t.text[t.at] <= '9' || t.text[t.at] == '.') {
			t.at++
		}
		return jaasToken{kind: jaasNumber}
	case isJAASLetter(c):
		for t.at < len(t.text) && (isJAASLetter(t.text[t.at]) || isJAASNumber(t.text[t.at])) {
			t.at++
		}
		return jaasToken{jaasWord, t.text[begin:t.at]}
	}
	t.at++
	return jaasToken{jaasMark, string(c)}
}

// skip steps over blanks and comments. A lone / begins a comment, too.
func (t *jaasTokens) skip() {
	for t.at < len(t.text) {
		switch c := t.text[t.at]; {
		case c <= ' ':
			t.at++
		case strings.HasPrefix(t.text[t.at:], "/*"):
			if end := strings.Index(t.text[t.at+2:], "*/"); end >= 0 {
				t.at += end + 4
			} else {
				t.at = len(t.text)
			}
		case c == '/':
			for t.at < len(t.text) && t.text[t.at] != '\n' && t.text[t.at] != '\r' {
				t.at++
			}
		default:
			return
		}
	}
}

// quoted reads up to the closing quote or the end of the line.
func (t *jaasTokens) quoted(quote byte) string {
	var b strings.Builder
	for t.at++; t.at < len(t.text); {
		c := t.text[t.at]
		switch {
		case c == quote:
			t.at++
			return b.String()
		case c == '\n' || c == '\r':
			return b.String()
		case c == '\\' && t.at+1 < len(t.text):
			t.at++
			t.escape(&b)
		default:
			b.WriteByte(c)
			t.at++
		}
	}
	return b.String()
}

func (t *jaasTokens) escape(b *strings.Builder) {
	c := t.text[t.at]
	if c < '0' || c > '7' {
		if i := strings.IndexByte("abfnrtv", c); i >= 0 {
			c = "\a\b\f\n\r\t\v"[i]
		}
		b.WriteByte(c)
		t.at++
		return
	}
	most := 2 // \377 is the highest
	if c <= '3' {
		most = 3
	}
	code := rune(0)
	for i := 0; i < most && t.at < len(t.text) && t.text[t.at] >= '0' && t.text[t.at] <= '7'; i++ {
		code = code*8 + rune(t.text[t.at]-'0')
		t.at++
	}
	b.WriteRune(code)
}

// A letter is what begins a word. Bytes above ASCII belong to characters that
// are letters to Java or, from U+0100 on, always.
func isJAASLetter(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_' || c == '$' || c == '-' || c >= 0x80
}

func isJAASNumber(c byte) bool { return c >= '0' && c <= '9' || c == '.' || c == '-' }
