package main

import (
	"os"

	"golang.org/x/term"
)

// screen is the size of a terminal in characters, and whether it shows colors; zero where the output is none.
type screen struct {
	width, height int
	color         bool
}

// overhead is how many lines of a screen are for what is no broker's line.
const overhead = 6

func screenOf(s *shared) screen {
	f, ok := s.stdout.(interface{ Fd() uintptr })
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return screen{}
	}
	color := os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" // no-color.org
	w, h, err := term.GetSize(int(f.Fd()))
	if err != nil || w < 40 || h < 10 {
		return screen{80, 24, color}
	}
	return screen{w, h, color}
}
