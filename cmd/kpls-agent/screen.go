package main

import (
	"fmt"
	"strings"

	"golang.org/x/term"
)

// screen is the size of a terminal in characters; zero where the output is none.
type screen struct{ width, height int }

// overhead is how many lines of a screen are for what is no broker's line.
const overhead = 5

func screenOf(s *shared) screen {
	f, ok := s.stdout.(interface{ Fd() uintptr })
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return screen{}
	}
	w, h, err := term.GetSize(int(f.Fd()))
	if err != nil || w < 40 || h < 10 {
		return screen{width: 80, height: 24}
	}
	return screen{width: w, height: h}
}

// wrap breaks lines that are too long between words; what goes on is indented.
func (scr screen) wrap(text string) string {
	const indent = "        "
	var b strings.Builder
	for line := range strings.Lines(text) {
		rest := []rune(strings.TrimSuffix(line, "\n"))
		for len(rest) > scr.width {
			at := scr.width
			for at > scr.width/2 && rest[at] != ' ' {
				at--
			}
			if rest[at] != ' ' {
				at = scr.width // one long word
			}
			b.WriteString(strings.TrimRight(string(rest[:at]), " ") + "\n")
			rest = []rune(indent + strings.TrimLeft(string(rest[at:]), " "))
		}
		b.WriteString(string(rest) + "\n")
	}
	return b.String()
}

// page is as much of a text as one screen can show: what has scrolled out of it
// could not be drawn over.
func (scr screen) page(text string) string {
	lines := strings.SplitAfter(scr.wrap(text), "\n")
	if most := scr.height - 1; len(lines)-1 > most {
		left := len(lines) - most
		return strings.Join(lines[:most-1], "") + fmt.Sprintf("... and %d lines more, which `kpls-agent status` "+
			"shows\n", left)
	}
	return strings.Join(lines, "")
}

// redraw draws a text over one that had so many lines, in one piece and without
// a blank screen in between.
func redraw(text string, over int) string {
	var b strings.Builder
	if over > 0 {
		fmt.Fprintf(&b, "\x1b[%dA", over)
	}
	for line := range strings.Lines(text) {
		b.WriteString(strings.TrimSuffix(line, "\n") + "\x1b[K\n")
	}
	return b.String() + "\x1b[J"
}
