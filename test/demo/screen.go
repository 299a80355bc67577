package main

import (
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/term"

	"example.com/kpls-agent/internal/report"
)

// screen prints phases one below the other, and a picture that is redrawn in
// place where the output is a terminal.
type screen struct {
	out   *os.File
	live  bool // out is a terminal
	begin time.Time
	lines int    // of the picture that the next one replaces
	last  string // line of a change, where out is no terminal
}

func newScreen(out *os.File) *screen {
	return &screen{out: out, live: term.IsTerminal(int(out.Fd())), begin: time.Now()}
}

// say prints a line with the time since the start. A picture above it stays.
func (s *screen) say(format string, args ...any) {
	s.lines, s.last = 0, ""
	fmt.Fprintf(s.out, "[%6.1f s] %s\n", time.Since(s.begin).Seconds(), fmt.Sprintf(format, args...))
}

// print prints text as it is.
func (s *screen) print(text string) {
	s.lines = 0
	fmt.Fprint(s.out, text)
}

// draw replaces the last picture. Long lines are broken between words. It is cut at the terminal's lower edge, since
// what has scrolled out of it cannot be replaced.
func (s *screen) draw(text string) {
	width, height, err := term.GetSize(int(s.out.Fd()))
	if err != nil || width < 2 || height < 2 {
		width, height = 120, 24
	}
	var b strings.Builder
	if s.lines > 0 {
		fmt.Fprintf(&b, "\x1b[%dA\x1b[J", s.lines)
	}
	s.lines = 0
	for line := range strings.Lines(report.Wrap(text, width-1)) {
		if s.lines == height-1 {
			break
		}
		b.WriteString(line)
		s.lines++
	}
	fmt.Fprint(s.out, b.String())
}

// change prints a line with figures behind it, unless the line is the last one again.
func (s *screen) change(line, figures string) {
	if line != s.last {
		s.say("  %s  (%s)", line, figures)
		s.last = line
	}
}
