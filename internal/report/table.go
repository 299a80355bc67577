package report

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"example.com/kpls-agent/internal/restart"
)

// Style is how a report is to look.
type Style struct {
	// Width is that of the terminal, in characters; 0: nothing is wrapped.
	Width int
	// Rows is how many brokers there is room for; with more, those at rest are only counted. 0: all are shown.
	Rows  int
	Color bool
	// Explain ends the report with the command that says what to do about the worst row.
	Explain bool
	// Own are lines of this VM's agent, shown below the table.
	Own []string
}

const (
	// ignoredLines is how many records that are ignored a table names.
	ignoredLines = 3
	// whyAtLeast is how wide the last column must be to stand in the table; else it goes below its row.
	whyAtLeast = 40
	indent     = "        "
)

// Text is the report for people: what holds for all, one row a broker, and what is to be done.
func (r *Report) Text(s Style) string {
	var b strings.Builder
	if len(r.Brokers)+len(r.Unheard) == 0 {
		return Wrap("no agent has reported yet, and no manifest of this VM names brokers\n", s.Width)
	}
	b.WriteString(r.header(s))
	rows := r.rows()
	b.WriteString(Wrap(r.above(), s.Width))
	quiet := 0
	if s.Rows > 0 && len(rows) > s.Rows {
		before := len(rows)
		rows = slices.DeleteFunc(rows, func(x row) bool { return x.rest })
		quiet = before - len(rows)
	}
	b.WriteString(r.table(rows, s))
	if quiet > 0 {
		fmt.Fprintf(&b, "and %d brokers at rest\n", quiet)
	}
	b.WriteString(Wrap(r.below(rows, s), s.Width))
	return b.String()
}

// header is what the whole cluster is like: the worst of the rows, how far it is, and how long it takes.
func (r *Report) header(s Style) string {
	manifest := "manifest " + cmp.Or(restart.Short(r.Manifest), "differs")
	if r.Manifest == "" && !r.any(func(b Broker) bool { return b.Manifest != "" }) {
		manifest = "no manifest"
	}
	word := strings.ToUpper(r.Worst.words())
	text := fmt.Sprintf("%s  %s\n", word, r.progress())
	if len(r.Brokers) > 0 {
		text = fmt.Sprintf("cluster %s  %s  %s", cmp.Or(r.Cluster, "-"), manifest, text)
	}
	text = Wrap(text, s.Width)
	return strings.Replace(text, word, paint(word, r.Worst.Urgency(), s.Color), 1)
}

func (r *Report) progress() string {
	text := fmt.Sprintf("%d of %d done", r.Done, r.Total)
	if l := r.Left; l != nil {
		about := "at least"
		if l.Measured {
			about = "about"
		}
		text += fmt.Sprintf(", %s %s left", about, Elapsed(time.Duration(l.Seconds*float64(time.Second))))
	}
	return text
}

// above is what holds for all brokers.
func (r *Report) above() string {
	var b strings.Builder
	if p := r.Pause; p != nil {
		fmt.Fprintf(&b, "paused by %s %s ago%s\n", p.By, Elapsed(r.At.Sub(p.At)), colon(p.Why))
	}
	for _, h := range r.Halts {
		fmt.Fprintf(&b, "halted by broker %d %s ago: %s\n", h.Broker, Elapsed(r.At.Sub(h.At)), h.Why)
	}
	if q := r.Request; q != nil {
		fmt.Fprintf(&b, "rolling restart asked for by %s %s ago\n", q.By, Elapsed(r.At.Sub(q.At)))
	}
	if len(r.Awaited) > 0 {
		fmt.Fprintf(&b, "not there, and nobody waits for them (presence: optional): brokers %s\n",
			strings.Join(strings.Fields(strings.Trim(fmt.Sprint(r.Awaited), "[]")), ", "))
	}
	for _, f := range r.Foreign {
		fmt.Fprintln(&b, f)
	}
	for _, i := range r.Ignored[:min(len(r.Ignored), ignoredLines)] {
		fmt.Fprintln(&b, i)
	}
	if n := len(r.Ignored) - ignoredLines; n > 0 {
		fmt.Fprintf(&b, "and %d more records are ignored; `kpls-agent status -o json` names them\n", n)
	}
	return b.String()
}

// below is what the rows leave out.
func (r *Report) below(rows []row, s Style) string {
	var b strings.Builder
	for _, f := range r.faults() {
		fmt.Fprintln(&b, f)
	}
	if u := r.unprotected(); len(u) > 0 {
		fmt.Fprintf(&b, "not protected in any restart, since they have no more replicas than min.insync.replicas: %s\n",
			strings.Join(u, ", "))
	}
	for _, line := range s.Own {
		fmt.Fprintln(&b, line)
	}
	if code := r.hint(rows); s.Explain && code != "" {
		fmt.Fprintf(&b, "what to do: `kpls-agent explain %s`\n", code)
	}
	return b.String()
}

// hint is the reason that matters most: that of the worst row. A roll-out that goes on needs none.
func (r *Report) hint(rows []row) restart.Code {
	switch r.Worst {
	case Idle, Rolling:
		return ""
	case Unreadable:
		return restart.CodeLogForeign
	case Halted:
		return restart.CodeHalted
	case Paused:
		return restart.CodePaused
	default:
	}
	var code restart.Code
	most := Urgency(-1)
	for _, x := range rows {
		if x.urgency > most && !x.code.Queueing() && x.code != restart.CodeInSync {
			code, most = x.code, x.urgency
		}
	}
	return code
}

// unprotected are the topics that no restart can protect, at most 10.
func (r *Report) unprotected() []string {
	all := map[string]bool{}
	for _, b := range r.Brokers {
		for _, t := range b.Unprotected {
			all[t] = true
		}
	}
	list := slices.Sorted(maps.Keys(all))
	if len(list) > 10 {
		list = append(list[:10], "...")
	}
	return list
}

// table lays the rows out. A column that says nothing, or the same of all where the header says it, is left out. The
// reason is wrapped within its column, or below the row where a narrow terminal leaves no room for one.
func (r *Report) table(rows []row, s Style) string {
	lines := append([]row{{cells: titles()}}, rows...)
	var shown []int
	width := [columns]int{}
	for c := range columns {
		says := c != colManifest || r.Manifest == ""
		some := false
		for _, x := range rows {
			some = some || x.cells[c] != ""
		}
		if !says || !some {
			continue
		}
		shown = append(shown, c)
		for _, x := range lines {
			width[c] = max(width[c], utf8.RuneCountInString(cmp.Or(x.cells[c], "-")))
		}
	}
	before := 0
	for _, c := range shown {
		if c != colWhy {
			before += width[c] + 2
		}
	}
	below := s.Width > 0 && s.Width-before < min(whyAtLeast, width[colWhy])
	if at := slices.Index(shown, colProbes); below && at >= 0 && before > s.Width+2 { // the last two are blanks
		shown = slices.Delete(shown, at, at+1)
		for i := range rows { // the probes go below their row, too
			if text := lines[i+1].cells[colProbes]; text != "" {
				lines[i+1].under = "probes " + text
			}
		}
	}
	var b strings.Builder
	for i, x := range lines {
		b.WriteString(x.layout(shown, width, before, below, i == 0, s))
	}
	return b.String()
}

// layout is one row in one line or more.
func (x row) layout(shown []int, width [columns]int, before int, below, title bool, s Style) string {
	line, at := "", 0
	var spans [][2]int // what is to be painted, in characters
	for _, c := range shown {
		if c == colWhy {
			continue
		}
		cell := cmp.Or(x.cells[c], "-")
		n := utf8.RuneCountInString(cell)
		if !title && (c == colUp || c == colAgent || c == colPhase) {
			spans = append(spans, [2]int{at, at + n})
		}
		line += cell + strings.Repeat(" ", width[c]-n+2)
		at += width[c] + 2
	}
	why := x.cells[colWhy]
	switch {
	case below:
		line = Wrap(strings.TrimRight(line, " ")+"\n", s.Width)
		if x.under != "" {
			line += indented(x.under, len(indent), len(indent), s.Width)
		}
		if !title && !x.rest { // of one at rest the phase says it
			line += indented(why, len(indent), len(indent), s.Width)
		}
	default:
		line += strings.TrimPrefix(indented(why, before, before, s.Width), strings.Repeat(" ", before))
	}
	if !s.Color {
		return line
	}
	first, _, _ := strings.Cut(line, "\n")
	rest := line[len(first):]
	runes := []rune(first)
	for _, span := range slices.Backward(spans) {
		if span[1] <= len(runes) { // on a very narrow terminal it is in a line below
			text := paint(string(runes[span[0]:span[1]]), x.urgency, true)
			runes = slices.Replace(runes, span[0], span[1], []rune(text)...)
		}
	}
	return string(runes) + rest
}

// paint colors a word on a terminal.
func paint(text string, u Urgency, color bool) string {
	if !color {
		return text
	}
	code := map[Urgency]string{Fine: "32", Wait: "33", Act: "31"}[u]
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

func colon(s string) string {
	if s == "" {
		return ""
	}
	return ": " + s
}
