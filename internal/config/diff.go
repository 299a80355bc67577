package config

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
)

// masked stands for a value in a diff that people may see.
const masked = "(hidden)"

// unifiedDiff writes what an edit changed. It has no lines of context: those
// are the user's own, and may hold the user's own secrets.
func unifiedDiff(path string, changes []propChange) string {
	if len(changes) == 0 {
		return ""
	}
	var b strings.Builder
	fmt.Fprintf(&b, "--- %s\n+++ %s\n", path, path)
	shift := 0
	for i := 0; i < len(changes); {
		j := i + 1
		for j < len(changes) && changes[i].before == "" && changes[j].before == "" {
			j++ // new lines at the end of the file are one hunk
		}
		var before, after []string
		for _, c := range changes[i:j] {
			before = append(before, diffLines(c.key, c.before)...)
			after = append(after, diffLines(c.key, c.after)...)
		}
		line := changes[i].oldLine
		fmt.Fprintf(&b, "@@ -%s +%s @@\n", diffRange(line, len(before)), diffRange(line+shift, len(after)))
		for _, l := range before {
			fmt.Fprintf(&b, "-%s\n", l)
		}
		for _, l := range after {
			fmt.Fprintf(&b, "+%s\n", l)
		}
		shift += len(after) - len(before)
		i = j
	}
	return b.String()
}

// diffRange is the place of a hunk; one without lines stands after the line before it.
func diffRange(line, count int) string {
	if count == 0 {
		line--
	}
	return fmt.Sprintf("%d,%d", line, count)
}

// diffLines makes natural lines fit to be shown. A value that may be secret is masked.
func diffLines(key, text string) []string {
	if text == "" {
		return nil
	}
	text = strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(text)
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	for i, line := range lines {
		switch {
		case !secretKey(key):
			lines[i] = printable(line)
		case i == 0:
			lines[i] = escapeProperty(key, true) + "=" + masked
		default:
			lines[i] = masked
		}
	}
	return lines
}

// secretKey is true for the properties that the broker does not show either.
func secretKey(key string) bool {
	if isBrokerProperty(key) || slices.Contains([]string{keyListeners, keyAdvertised, keyProtocolMap}, key) {
		return false
	}
	rest := strings.TrimPrefix(key, prefixListener)
	_, name, ok := strings.Cut(rest, ".")
	return !ok || !shownByBroker(name)
}

// printable decodes ISO-8859-1 and spells out what a terminal would act on.
func printable(line string) string {
	var b strings.Builder
	for _, c := range []byte(line) {
		if r := rune(c); r == '\t' || unicode.IsPrint(r) {
			b.WriteRune(r)
		} else {
			fmt.Fprintf(&b, `\x%02x`, c)
		}
	}
	return b.String()
}
