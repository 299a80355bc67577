package repo

import (
	"io/fs"
	"regexp"
	"strings"
	"testing"
)

// TestPlaces: what docs/architecture.md and CONTRIBUTING.md name as a file is one, and every local link leads somewhere.
func TestPlaces(t *testing.T) {
	path := regexp.MustCompile("`((?:cmd|docs|internal|packaging|systemd|test|tools)/[A-Za-z0-9_./-]+)`")
	found := 0
	for _, doc := range []string{"docs/architecture.md", "CONTRIBUTING.md"} {
		for _, m := range path.FindAllStringSubmatch(read(t, root+"/"+doc), -1) {
			found++
			if _, err := fs.Stat(rootFS, strings.TrimSuffix(m[1], "/")); err != nil {
				t.Errorf("%s: %v", doc, err)
			}
		}
	}
	if found < 30 {
		t.Errorf("only %d places were found", found)
	}
}

// TestLinks: links of documents lead to files, and to headings, of this repository.
func TestLinks(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)\s]+)\)`)
	for _, doc := range tracked(t) {
		if !strings.HasSuffix(doc, ".md") {
			continue
		}
		for _, line := range prose(read(t, root+"/"+doc)) {
			for _, m := range link.FindAllStringSubmatch(line, -1) {
				if strings.Contains(m[1], "://") {
					continue
				}
				file, anchor, _ := strings.Cut(m[1], "#")
				target := doc
				if file != "" {
					target = join(doc, file)
				}
				if _, err := fs.Stat(rootFS, target); err != nil {
					t.Errorf("%s links to %s: %v", doc, m[1], err)
				} else if anchor != "" && !headings(read(t, root+"/"+target))[anchor] {
					t.Errorf("%s links to %s, and there is no such heading", doc, m[1])
				}
			}
		}
	}
}

// join resolves a relative link of a document.
func join(doc, link string) string {
	parts := strings.Split(doc, "/")
	parts = parts[:len(parts)-1]
	for part := range strings.SplitSeq(link, "/") {
		if part == ".." && len(parts) > 0 {
			parts = parts[:len(parts)-1]
		} else if part != "." {
			parts = append(parts, part)
		}
	}
	return strings.Join(parts, "/")
}

// headings returns the anchors of a document, as the hosting platform makes them.
func headings(text string) map[string]bool {
	out := map[string]bool{}
	for _, line := range prose(text) {
		title, ok := strings.CutPrefix(strings.TrimLeft(line, "#"), " ")
		if !ok || !strings.HasPrefix(line, "#") {
			continue
		}
		anchor := strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case r == '-' || r == '_' || r >= 'a' && r <= 'z' || r >= '0' && r <= '9':
				return r
			}
			return -1
		}, strings.ToLower(title))
		out[anchor] = true
	}
	return out
}
