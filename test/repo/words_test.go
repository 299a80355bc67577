package repo

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const root = "../.."

var rootFS = os.DirFS(root)

// rule is one line of words.txt.
type rule struct {
	not              *regexp.Regexp
	better, sentence string
}

func rules(t *testing.T) []rule {
	t.Helper()
	var out []rule
	for _, line := range list(t, "words.txt") {
		expr, rest, ok := strings.Cut(line, " -> ")
		better, sentence, ok2 := strings.Cut(rest, " # ")
		if !ok || !ok2 {
			t.Fatalf("words.txt: no rule: %s", line)
		}
		not, err := regexp.Compile(expr)
		if err != nil {
			t.Fatalf("words.txt: %v", err)
		}
		out = append(out, rule{not, better, sentence})
	}
	return out
}

// list returns the lines of a file of this folder that are no comments.
func list(t *testing.T, name string) []string {
	t.Helper()
	var out []string
	for line := range strings.Lines(read(t, name)) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			out = append(out, line)
		}
	}
	return out
}

// TestRules: each rule finds its sentence, and does not ask for what it forbids.
func TestRules(t *testing.T) {
	for _, r := range rules(t) {
		if !r.not.MatchString(r.sentence) {
			t.Errorf("%s does not find %q", r.not, r.sentence)
		}
		if r.not.MatchString(r.better) {
			t.Errorf("%s finds what is to be written instead: %q", r.not, r.better)
		}
	}
	const text = "Broker 1 is down. `beside` is code.\n\n```\nbeside\n```\n\n<!-- a: written by b -->\nbeside\n<!-- /a -->\n    beside\n"
	if got := faults(rules(t), "x.md", prose(text)); len(got) != 0 {
		t.Errorf("found in code and tables: %q", got)
	}
	if got := faults(rules(t), "x.md", prose(text+"\none beside the\nother\n")); len(got) != 1 || !strings.HasPrefix(got[0], "x.md:12: ") {
		t.Errorf("not found in prose: %q", got)
	}
}

// TestWords holds what people read to words.txt.
func TestWords(t *testing.T) {
	rules, clean := rules(t), list(t, "clean.txt")
	files := 0
	for _, path := range tracked(t) {
		var lines map[int]string
		switch dir := filepath.Dir(path); {
		case strings.HasPrefix(path, "test/repo/"): // has the words
			continue
		case strings.HasSuffix(path, ".md"):
			lines = prose(read(t, filepath.Join(root, path)))
		case slices.ContainsFunc(texts, func(e *regexp.Regexp) bool { return e.MatchString(path) }) && !generated(path):
			lines = numbered(read(t, filepath.Join(root, path)))
		case strings.HasSuffix(path, ".go") && slices.Contains(clean, dir):
			lines = goText(t, path)
		default:
			continue
		}
		files++
		for _, fault := range faults(rules, path, lines) {
			t.Error(fault)
		}
	}
	if files < 20 {
		t.Errorf("only %d files were read", files)
	}
	for _, dir := range clean {
		if _, err := fs.Stat(rootFS, dir); err != nil {
			t.Errorf("clean.txt: %v", err)
		}
	}
}

// TestWidth: prose of documents is wrapped at 120 columns, so a change shows as the lines that it is.
func TestWidth(t *testing.T) {
	for _, path := range tracked(t) {
		if !strings.HasSuffix(path, ".md") {
			continue
		}
		for n, line := range prose(read(t, filepath.Join(root, path))) {
			if length := len([]rune(line)); length > 120 && !strings.HasPrefix(line, "|") {
				t.Errorf("%s:%d: %d columns, wrap it at 120", path, n, length)
			}
		}
	}
}

// faults returns a line for each word that a rule finds.
func faults(rules []rule, path string, lines map[int]string) []string {
	var out []string
	for n, line := range lines {
		line = code.ReplaceAllString(line, "``")
		for _, r := range rules {
			if found := r.not.FindString(line); found != "" {
				out = append(out, fmt.Sprintf("%s:%d: %q: write %s", path, n, found, r.better))
			}
		}
	}
	slices.Sort(out)
	return out
}

// texts are files in which everything is read by people, in addition to documents.
var texts = []*regexp.Regexp{
	regexp.MustCompile(`^(packaging|systemd|\.github|\.ci)/`),
	regexp.MustCompile(`\.(sh|yml|yaml)$`),
	regexp.MustCompile(`^Makefile$`),
}

var code = regexp.MustCompile("`[^`]*`")

// prose returns the lines of a document, by number, without code and what tests write.
func prose(text string) map[int]string {
	out := map[int]string{}
	fence, table := false, ""
	for i, line := range strings.Split(text, "\n") {
		mark := strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(mark, "```"):
			fence = !fence
		case fence, strings.HasPrefix(line, "    "):
		case table != "":
			if mark == "<!-- /"+table+" -->" {
				table = ""
			}
		case strings.HasPrefix(mark, "<!-- "):
			name, _, _ := strings.Cut(strings.TrimSuffix(strings.TrimPrefix(mark, "<!-- "), " -->"), ":")
			if strings.Contains(text, "<!-- /"+name+" -->") { // another comment has no end
				table = name
			}
		default:
			out[i+1] = line
		}
	}
	return out
}

func numbered(text string) map[int]string {
	out := map[int]string{}
	for i, line := range strings.Split(text, "\n") {
		out[i+1] = line
	}
	return out
}

// generated: the program writes these, or copies of what it writes.
func generated(path string) bool {
	return strings.HasPrefix(path, "packaging/man/") || strings.HasSuffix(path, ".schema.json")
}

// goText returns the comments and strings of a Go file, by line.
func goText(t *testing.T, path string) map[int]string {
	t.Helper()
	set := token.NewFileSet()
	file, err := parser.ParseFile(set, filepath.Join(root, path), nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	out := map[int]string{}
	add := func(pos token.Pos, text string) {
		for i, line := range strings.Split(text, "\n") {
			out[set.Position(pos).Line+i] += " " + line
		}
	}
	for _, group := range file.Comments {
		for _, comment := range group.List {
			add(comment.Pos(), comment.Text)
		}
	}
	ast.Inspect(file, func(n ast.Node) bool {
		if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
			add(lit.Pos(), lit.Value)
		}
		return true
	})
	return out
}

// tracked returns the files of the checkout that git knows or would add.
func tracked(t *testing.T) []string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--deduplicate")
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("git ls-files: %v", err)
	}
	var files []string
	for path := range strings.SplitSeq(strings.TrimSuffix(string(out), "\x00"), "\x00") {
		if info, err := fs.Stat(rootFS, path); err == nil && info.Mode().IsRegular() { // not removed or linked
			files = append(files, path)
		}
	}
	return files
}
