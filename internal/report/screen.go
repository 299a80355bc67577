package report

import (
	"fmt"
	"strings"
)

// Wrap breaks lines that are wider than width between words; what goes on is indented. With width 0 they stay.
func Wrap(text string, width int) string {
	if width == 0 {
		return text
	}
	var b strings.Builder
	for line := range strings.Lines(text) {
		b.WriteString(indented(strings.TrimSuffix(line, "\n"), 0, len(indent), width))
	}
	return b.String()
}

// indented breaks one line: the first part is indented by first, those that follow by rest.
func indented(line string, first, rest, width int) string {
	by := strings.Repeat(" ", first)
	left := []rune(line)
	var b strings.Builder
	for width > 0 && len(by)+len(left) > width {
		room := max(1, width-len(by))
		at := room
		for at > room/2 && left[at] != ' ' {
			at--
		}
		if left[at] != ' ' {
			at = room // one long word
		}
		b.WriteString(by + strings.TrimRight(string(left[:at]), " ") + "\n")
		left = []rune(strings.TrimLeft(string(left[at:]), " "))
		by = strings.Repeat(" ", rest)
	}
	b.WriteString(by + string(left) + "\n")
	return b.String()
}

// Page is as much of a text as a terminal of some height shows: what has scrolled out of it could not be drawn over.
func Page(text string, height int) string {
	lines := strings.SplitAfter(text, "\n")
	if most := height - 1; len(lines)-1 > most {
		left := len(lines) - most
		return strings.Join(lines[:most-1], "") +
			fmt.Sprintf("... and %d lines more, which `kpls-agent status` shows\n", left)
	}
	return text
}

// Redraw draws a text over one that had so many lines, in one piece and without a blank screen in between.
func Redraw(text string, over int) string {
	var b strings.Builder
	if over > 0 {
		fmt.Fprintf(&b, "\x1b[%dA", over)
	}
	for line := range strings.Lines(text) {
		b.WriteString(strings.TrimSuffix(line, "\n") + "\x1b[K\n")
	}
	return b.String() + "\x1b[J"
}
