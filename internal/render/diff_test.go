package render

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

func TestDiff(t *testing.T) {
	for _, c := range []struct{ old, wanted, diff string }{
		{"a\n", "a\n", ""},
		{"", "a\nb\n", "--- old\n+++ new\n@@ -0,0 +1,2 @@\n+a\n+b\n"},
		{"a\n", "", "--- old\n+++ new\n@@ -1,1 +0,0 @@\n-a\n"},
		{"a\nb\nc\nd\ne\n", "a\nb\nc\nd\nE\n", "--- old\n+++ new\n@@ -2,4 +2,4 @@\n b\n c\n d\n-e\n+E\n"},
		{
			"1\n2\n3\n4\n5\n6\n7\n8\n9\n", "x\n2\n3\n4\n5\n6\n7\n8\ny\n",
			"--- old\n+++ new\n@@ -1,4 +1,4 @@\n-1\n+x\n 2\n 3\n 4\n@@ -6,4 +6,4 @@\n 6\n 7\n 8\n-9\n+y\n",
		},
		{"a", "a\n", "--- old\n+++ new\n@@ -1,1 +1,1 @@\n-a\n\\ No newline at end of file\n+a\n"},
	} {
		if got := Diff("old", "new", c.old, c.wanted); got != c.diff {
			t.Errorf("%q, %q:\n%s", c.old, c.wanted, got)
		}
	}
}

// TestDiffApplies: what is taken off and what stays is the old text, what is added and what stays the new one.
func TestDiffApplies(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	text := func() string {
		var b strings.Builder
		for range r.IntN(60) {
			b.WriteString(string(rune('a'+r.IntN(4))) + "\n")
		}
		return b.String()
	}
	for range 200 {
		old, wanted := text(), text()
		if old == wanted {
			continue
		}
		diff := Diff("x", "x", old, wanted)
		before, errBefore := side(diff, '-', lines(old))
		after, errAfter := side(diff, '+', lines(wanted))
		if errBefore != nil || errAfter != nil || before == 0 || before != after {
			t.Fatalf("%v, %v: %q to %q:\n%s", errBefore, errAfter, old, wanted, diff)
		}
	}
}

// side walks the hunks of a diff, and holds the lines of one side of it against the text. It returns the hunks.
func side(diff string, kind byte, text []string) (int, error) {
	hunks, at, left := 0, 0, 0
	for _, line := range lines(diff)[2:] {
		if rest, ok := strings.CutPrefix(line, "@@ "); ok {
			if left != 0 {
				return 0, fmt.Errorf("%d lines are missing before %s", left, line)
			}
			place := strings.Fields(rest)[map[byte]int{'-': 0, '+': 1}[kind]]
			if _, err := fmt.Sscanf(place[1:], "%d,%d", &at, &left); err != nil {
				return 0, err
			}
			hunks++
			continue
		}
		if line[0] != ' ' && line[0] != kind {
			continue
		}
		if left == 0 || text[at-1] != line[1:] {
			return 0, fmt.Errorf("line %d is %q", at, line)
		}
		at, left = at+1, left-1
	}
	if left != 0 {
		return 0, fmt.Errorf("%d lines are missing at the end", left)
	}
	return hunks, nil
}
