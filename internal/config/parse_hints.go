package config

import (
	"fmt"
	"regexp"
	"strings"
)

// Hints for the usual mistakes in YAML. The parser stops at the first place that makes no sense to it, which is
// often a line or two after the mistake, and its words name no cause.

var (
	hintKey     = `[A-Za-z0-9_.<>-]+`
	tabIndent   = regexp.MustCompile(`^ *\t`)
	noBlank     = regexp.MustCompile(`^ *(?:- +)?(` + hintKey + `):[^\s:/]`)
	noBlankFlow = regexp.MustCompile(`[{,] *(` + hintKey + `):[^\s:/,}]`)
	// bracketed is an IPv6 address without quotes: to YAML its bracket begins a list.
	bracketed = regexp.MustCompile(`: +(\[[0-9A-Fa-f:.%]*:[0-9A-Fa-f:.%]*\]:?[0-9]*)`)
	twoColons = regexp.MustCompile(`^ *` + hintKey + `: +[^"'\[{#].*:(?: |$)`)
	noColon   = regexp.MustCompile(`^ *` + hintKey + ` *$`)
	blankLine = regexp.MustCompile(`^\s*(#.*)?$`)
)

// badLeading begins no plain value.
const badLeading = "@`%"

// hint looks for a usual mistake at the line where the parser stopped, and in the two before it. It returns the line,
// beginning at 1, and what to do; 0 for none. It repeats no value but an address: others may be secrets.
func hint(data []byte, stopped int) (line int, text string) {
	lines := strings.Split(string(data), "\n")
	// How lines are indented says least, and often follows from another mistake.
	for _, look := range []func([]string, int) string{hintOf, indentHint} {
		looked := 0
		for i := min(stopped, len(lines)); i >= 1 && looked < 3; i-- {
			if blankLine.MatchString(lines[i-1]) {
				continue
			}
			looked++
			if text := look(lines, i-1); text != "" {
				return i, text
			}
		}
	}
	return 0, ""
}

// hintOf looks at one line.
func hintOf(lines []string, i int) string {
	line := strings.TrimRight(lines[i], "\r")
	if tabIndent.MatchString(line) {
		return "this line is indented with a tab; indent with spaces"
	}
	if m := noBlank.FindStringSubmatch(line); m != nil {
		return fmt.Sprintf("a space is missing after `%s:`", m[1])
	}
	if m := noBlankFlow.FindStringSubmatch(line); m != nil {
		return fmt.Sprintf("a space is missing after `%s:`", m[1])
	}
	if m := bracketed.FindStringSubmatch(line); m != nil {
		return fmt.Sprintf("an address in brackets needs quotes: %q", m[1])
	}
	if twoColons.MatchString(line) {
		return "a value with a colon and a space in it needs quotes"
	}
	if noColon.MatchString(line) && i+1 < len(lines) && indent(lines[i+1]) > indent(line) {
		return "a colon is missing at the end of this line"
	}
	if _, value, found := strings.Cut(line, ": "); found && value != "" && strings.ContainsAny(value[:1], badLeading) {
		return "a value that begins with a sign needs quotes"
	}
	return ""
}

// indentHint looks at how one line is indented.
func indentHint(lines []string, i int) string {
	line := strings.TrimRight(lines[i], "\r")
	if was, ok := before(lines, i); ok && indent(line) > 0 && odd(lines, i, was) {
		return fmt.Sprintf("this line is indented by %d spaces, and the one before by %d; the fields of one mapping "+
			"begin in the same column", indent(line), indent(was))
	}
	return ""
}

// before is the line before, comments and empty lines left out.
func before(lines []string, i int) (string, bool) {
	for i--; i >= 0; i-- {
		if !blankLine.MatchString(lines[i]) {
			return strings.TrimRight(lines[i], "\r"), true
		}
	}
	return "", false
}

// odd is true for a line that is indented as no open mapping is: less than the line before and unlike all before
// that, or more although the line before has a value already.
func odd(lines []string, i int, was string) bool {
	here := indent(lines[i])
	if here > indent(was) {
		return !strings.HasSuffix(strings.TrimRight(was, " "), ":")
	}
	if here == indent(was) {
		return false
	}
	for _, l := range lines[:i] {
		if !blankLine.MatchString(l) && indent(l) == here {
			return false
		}
	}
	return true
}

// blankMissing asks about a name that has the value in it.
func blankMissing(name string) string {
	if strings.Contains(name, ":") {
		return "; is a space missing after the colon?"
	}
	return ""
}

// first is what a line begins with, up to its first word or tab.
func first(data []byte, line int) string {
	text := strings.Split(string(data), "\n")[line-1]
	return text[:indent(text)]
}

func indent(line string) int { return len(line) - len(strings.TrimLeft(line, " ")) }
