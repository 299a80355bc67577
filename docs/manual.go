// Package docs holds the manual for operators as the program carries it, and finds the entries of reasons and phases
// in it. It owns no text: operations.md is the only source. It never reads a file.
package docs

import (
	_ "embed"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

//go:embed operations.md
var operations string

// Installed is where the package puts the manual.
const Installed = "/usr/share/doc/kpls-agent/operations.md"

// Entry is what the manual says of a reason or a phase.
type Entry struct {
	// Kind is "reason", "phase", "word" of the first line of status, or "agent" for its column AGENT.
	Kind, Code, Means string
	// Do is what to do about a reason; empty for the others.
	Do string
	// Sections are the titles of the other parts of the manual that speak of it.
	Sections []string
}

// Entries returns what the manual says of every reason, every phase and every word of status, in its own order:
// reasons first.
func Entries() []Entry {
	var out []Entry
	for _, t := range []struct{ title, kind string }{{"Reasons", "reason"}, {"Phases", "phase"}} {
		for line := range strings.Lines(section(t.title)) {
			cells := cells(line)
			if len(cells) < 2 || !strings.HasPrefix(cells[0], "`") {
				continue // no row, or the head of the table
			}
			e := Entry{Kind: t.kind, Code: strings.Trim(cells[0], "`"), Means: cells[1]}
			if len(cells) > 2 {
				e.Do = cells[2]
			}
			e.Sections = mentions(e.Code)
			out = append(out, e)
		}
	}
	return append(out, words()...)
}

// words are those of the first line of status, by their names in JSON, and those of its column AGENT.
func words() []Entry {
	var first, agents []Entry
	for line := range strings.Lines(section("Status")) {
		cells := cells(line)
		switch {
		case len(cells) == 4 && strings.HasPrefix(cells[0], "`"):
			first = append(first, Entry{Kind: "word", Code: strings.Trim(cells[1], "`"), Means: cells[2]})
		case len(cells) == 2 && cells[0] == "`AGENT`":
			for part := range strings.SplitSeq(cells[1], "; ") {
				word, means, _ := strings.Cut(part, ": ")
				agents = append(agents, Entry{Kind: "agent", Code: strings.Trim(word, "`"), Means: means})
			}
		}
	}
	out := slices.Concat(first, agents)
	for i := range out {
		out[i].Sections = []string{"Status"}
	}
	return out
}

// Codes returns the codes of all entries, sorted, each once.
func Codes() []string {
	var out []string
	for _, e := range Entries() {
		out = append(out, e.Code)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// section is the text below a title, up to the next title of its level.
func section(title string) string {
	_, text, _ := strings.Cut(operations, "\n## "+title+"\n")
	text, _, _ = strings.Cut(text, "\n## ")
	return text
}

// mentions returns the titles of the sections that name a code, apart from the beginning and the lists of all codes.
func mentions(code string) []string {
	var out []string
	for part := range strings.SplitSeq(operations, "\n## ") {
		title, text, _ := strings.Cut(part, "\n")
		lists := strings.HasPrefix(title, "# ") || title == "Reasons" || title == "Phases"
		if !lists && strings.Contains(text, "`"+code+"`") {
			out = append(out, title)
		}
	}
	return out
}

// link is a link of Markdown. Backticks stay: they mark what can be typed.
var link = regexp.MustCompile(`\[([^]]*)\]\([^)]*\)`)

// String is the entry in lines.
func (e Entry) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s (%s)\n  what it means: %s\n", e.Code, e.Kind, e.Means)
	if e.Do != "" {
		fmt.Fprintf(&b, "  what to do:    %s\n", e.Do)
	}
	for _, title := range e.Sections {
		fmt.Fprintf(&b, "  see also:      %q in %s\n", title, Installed)
	}
	return b.String()
}

// cells are the cells of a row of a table; a bar in a cell is written as \|.
func cells(line string) []string {
	line = strings.TrimSpace(line)
	if !strings.HasPrefix(line, "| ") || !strings.HasSuffix(line, " |") {
		return nil
	}
	const bar = "\x00"
	line = link.ReplaceAllString(strings.ReplaceAll(line, "**", ""), "$1")
	parts := strings.Split(strings.ReplaceAll(line[2:len(line)-2], `\|`, bar), " | ")
	for i, p := range parts {
		parts[i] = strings.ReplaceAll(strings.TrimSpace(p), bar, "|")
	}
	return parts
}
