package render

import (
	"fmt"
	"slices"
	"strings"
)

// diffContext is how many unchanged lines stand around a change.
const diffContext = 3

// edit is one line of a diff.
type edit struct {
	kind byte // ' ', '-' or '+'
	line string
}

// Diff is a unified diff between two texts; empty where they are the same. before and after are the names in its head.
func Diff(before, after, old, wanted string) string {
	if old == wanted {
		return ""
	}
	edits := compare(lines(old), lines(wanted))
	var b strings.Builder
	fmt.Fprintf(&b, "--- %s\n+++ %s\n", before, after)
	oldLine, newLine := 1, 1
	for i := 0; i < len(edits); {
		begin, end := hunk(edits, i)
		for _, e := range edits[i:begin] { // unchanged
			oldLine, newLine = step(e, oldLine, newLine)
		}
		oldEnd, newEnd := oldLine, newLine
		for _, e := range edits[begin:end] {
			oldEnd, newEnd = step(e, oldEnd, newEnd)
		}
		if begin < end {
			fmt.Fprintf(&b, "@@ -%s +%s @@\n", span(oldLine, oldEnd-oldLine), span(newLine, newEnd-newLine))
		}
		for _, e := range edits[begin:end] {
			fmt.Fprintf(&b, "%c%s\n", e.kind, e.line)
		}
		oldLine, newLine, i = oldEnd, newEnd, end
	}
	return b.String()
}

// lines splits a text. A last line without its end is marked as diff(1) does, so it differs from one with it.
func lines(text string) []string {
	if text == "" {
		return nil
	}
	whole, ended := strings.CutSuffix(text, "\n")
	out := strings.Split(whole, "\n")
	if !ended {
		out[len(out)-1] += "\n\\ No newline at end of file"
	}
	return out
}

// compare is a shortest list of edits. Both sides are files of some thousand lines at most.
func compare(old, wanted []string) []edit {
	var head, tail []edit
	for len(old) > 0 && len(wanted) > 0 && old[0] == wanted[0] {
		head, old, wanted = append(head, edit{' ', old[0]}), old[1:], wanted[1:]
	}
	for len(old) > 0 && len(wanted) > 0 && old[len(old)-1] == wanted[len(wanted)-1] {
		tail = append(tail, edit{' ', old[len(old)-1]})
		old, wanted = old[:len(old)-1], wanted[:len(wanted)-1]
	}
	slices.Reverse(tail)
	return slices.Concat(head, middle(old, wanted), tail)
}

// middle follows the longest common subsequence.
func middle(old, wanted []string) []edit {
	common := make([][]int, len(old)+1) // of old[i:] and wanted[j:]
	for i := range common {
		common[i] = make([]int, len(wanted)+1)
	}
	for i, line := range slices.Backward(old) {
		for j, other := range slices.Backward(wanted) {
			if line == other {
				common[i][j] = common[i+1][j+1] + 1
			} else {
				common[i][j] = max(common[i+1][j], common[i][j+1])
			}
		}
	}
	var out []edit
	i, j := 0, 0
	for i < len(old) || j < len(wanted) {
		switch {
		case i < len(old) && j < len(wanted) && old[i] == wanted[j]:
			out = append(out, edit{' ', old[i]})
			i, j = i+1, j+1
		case j == len(wanted) || i < len(old) && common[i+1][j] >= common[i][j+1]:
			out = append(out, edit{'-', old[i]})
			i++
		default:
			out = append(out, edit{'+', wanted[j]})
			j++
		}
	}
	return out
}

// hunk is the next run of changes from i on, with its context.
func hunk(edits []edit, i int) (begin, end int) {
	first := i
	for first < len(edits) && edits[first].kind == ' ' {
		first++
	}
	if first == len(edits) {
		return first, first
	}
	last, same := first, 0
	for k := first; k < len(edits) && same <= 2*diffContext; k++ {
		if edits[k].kind == ' ' {
			same++
		} else {
			last, same = k, 0
		}
	}
	return max(i, first-diffContext), min(len(edits), last+1+diffContext)
}

func step(e edit, oldLine, newLine int) (nextOld, nextNew int) {
	if e.kind != '+' {
		oldLine++
	}
	if e.kind != '-' {
		newLine++
	}
	return oldLine, newLine
}

// span is the place of a hunk; one without lines stands after the line before it.
func span(line, count int) string {
	if count == 0 {
		line--
	}
	return fmt.Sprintf("%d,%d", line, count)
}
