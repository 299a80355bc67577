package unit

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"mvdan.cc/sh/v3/expand"
	"mvdan.cc/sh/v3/syntax"
)

// word is a word of a command, with its variables replaced. Where one of them is not known, known
// is false and text is the word as it is written.
type word struct {
	text  string
	known bool
}

func known(texts ...string) []word {
	var words []word
	for _, t := range texts {
		words = append(words, word{t, true})
	}
	return words
}

// command is one command that the unit runs, directly or in a shell.
type command struct {
	setting string // that leads to it, such as ExecStop=
	via     string // the script it stands in; empty where it stands in the unit
	words   []word
	// dir is where relative names are looked up; not known behind a `cd` that is not.
	dir word
	// writes are the files that its output goes to.
	writes []word
	// unseen is why it could not be looked into, where it may do more than its words say.
	unseen string
	// java is the program that it starts Kafka with; it is set where it starts Kafka.
	java word
}

// name is the program's, without its folder.
func (c command) name() string {
	if len(c.words) == 0 {
		return ""
	}
	return filepath.Base(c.words[0].text)
}

// path is an argument of it as a whole path; false if it is not known.
func (c command) path(w word) (string, bool) {
	switch {
	case !w.known:
		return w.text, false
	case filepath.IsAbs(w.text):
		return filepath.Clean(w.text), true
	case !c.dir.known:
		return w.text, false
	}
	return filepath.Join(c.dir.text, w.text), true
}

// String is what an operator finds in the unit or in the script.
func (c command) String() string {
	words := make([]string, 0, len(c.words))
	for _, w := range c.words {
		words = append(words, w.text)
	}
	line := strings.Join(words, " ")
	if len(line) > 120 {
		line = line[:117] + "..."
	}
	if c.via != "" {
		return fmt.Sprintf("%s in %s, which %s runs", line, c.via, c.setting)
	}
	return c.setting + line
}

const (
	maxScript = 256 << 10 // bytes; what is longer is no wrapper
	maxDepth  = 4         // scripts that call scripts
	maxFound  = 2000      // commands of one line of the unit; scripts may call each other many times
)

// lookInto lists what an Exec line runs: its own command, and those of shells and scripts in it.
func lookInto(setting string, argv []word, dir word, env map[string]string) *interpreter {
	i := &interpreter{setting: setting}
	i.run(argv, nil, dir, env, "", 0)
	return i
}

type interpreter struct {
	setting string
	found   []command
	opened  []string // scripts
	// doubts are variables of the scripts whose value depends on what only a run would show.
	doubts map[string]bool
}

// prefixes are programs whose arguments are a command that they run.
var prefixes = []string{
	"exec",
	"command",
	"builtin",
	"nohup",
	"env",
	"sudo",
	"nice",
	"ionice",
	"setsid",
	"time",
	"timeout",
	"chronic",
	"stdbuf",
	"numactl",
	"taskset",
	"prlimit",
	"setpriv",
	"gosu",
	"su-exec",
	"chpst",
	"eval",
}

var shells = []string{"sh", "bash", "dash", "ksh", "zsh", "ash"}

// otherUser are programs that give a -c to a shell.
var otherUser = []string{"su", "runuser"}

func (i *interpreter) run(words, writes []word, dir word, env map[string]string, via string, depth int) {
	clean := words
	words = bare(words)
	if len(words) == 0 && len(writes) == 0 {
		return
	}
	c := command{setting: i.setting, via: via, words: words, dir: dir, writes: writes}
	c.java = i.java(c, clean[:len(clean)-len(words)], env)
	defer func() { i.found = append(i.found, c) }()
	switch name := c.name(); {
	case len(words) == 0:
	case slices.Contains(shells, name), slices.Contains(otherUser, name):
		c.unseen = i.shell(words, dir, env, via, depth)
	case slices.Contains(ownScripts, strings.TrimSuffix(name, ".sh")):
	case strings.Contains(words[0].text, "/"):
		if path, ok := c.path(words[0]); ok {
			c.unseen = i.script(path, words, dir, env, depth, false)
		} else {
			c.unseen = "which file that is cannot be seen"
		}
	}
}

// ownScripts are Kafka's: what they do is known.
var ownScripts = []string{"kafka-server-start", "kafka-server-stop", "kafka-run-class", "kafka-storage"}

// bare removes the programs that only run the command after them.
func bare(words []word) []word {
	for len(words) > 0 && slices.Contains(prefixes, filepath.Base(words[0].text)) {
		timed := filepath.Base(words[0].text) == "timeout"
		words = words[1:]
		for len(words) > 0 && (strings.HasPrefix(words[0].text, "-") || strings.Contains(words[0].text, "=")) {
			takes := slices.Contains([]string{"-u", "-g", "-n", "-c", "-s", "-k"}, words[0].text)
			words = words[1:]
			if takes && len(words) > 0 {
				words = words[1:]
			}
		}
		if timed && len(words) > 0 {
			words = words[1:]
		}
	}
	return words
}

// shell looks into `sh -c '...'` and `sh script`.
func (i *interpreter) shell(words []word, dir word, env map[string]string, via string, depth int) (unseen string) {
	args := words[1:]
	for n, w := range args {
		if strings.HasPrefix(w.text, "-") && !strings.HasPrefix(w.text, "--") && strings.Contains(w.text, "c") ||
			w.text == "--command" {
			if n+1 >= len(args) {
				return ""
			}
			if !args[n+1].known {
				return "which commands it runs cannot be seen"
			}
			return i.parse(args[n+1].text, args[n+2:], dir, env, via, depth)
		}
		if !strings.HasPrefix(w.text, "-") && !slices.Contains(otherUser, filepath.Base(words[0].text)) {
			path, ok := command{dir: dir}.path(w)
			if !ok {
				return "which script it runs cannot be seen"
			}
			return i.script(path, args[n:], dir, env, depth, true)
		}
	}
	return ""
}

// script looks into a file if it is a shell script.
func (i *interpreter) script(
	path string,
	words []word,
	dir word,
	env map[string]string,
	depth int,
	shell bool,
) (unseen string) {
	if depth >= maxDepth || len(i.found) >= maxFound {
		return "scripts run scripts too deep to be looked into"
	}
	info, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) {
		return ""
	}
	if err == nil && !info.Mode().IsRegular() {
		return ""
	}
	var text []byte
	if err == nil {
		text, err = readStart(path)
		i.opened = append(i.opened, path)
	}
	if err != nil {
		return "it cannot be read (" + reason(err) + ")"
	}
	first, _, _ := bytes.Cut(text, []byte("\n"))
	isShell := bytes.HasPrefix(first, []byte("#!")) && bytes.Contains(first, []byte("sh"))
	switch {
	case !shell && !isShell && bytes.HasPrefix(first, []byte("#!")):
		return "it is no shell script"
	case !shell && !isShell: // a program
		return ""
	case len(text) >= maxScript:
		return "it is too long to be looked into"
	}
	return i.parse(string(text), words, dir, env, path, depth+1)
}

func readStart(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxScript))
}

// reason is an error without the path, which the message has already.
func reason(err error) string {
	if e, ok := errors.AsType[*os.PathError](err); ok {
		return e.Err.Error()
	}
	return err.Error()
}

// parse goes through a script from top to bottom. Every branch counts: what may be run is listed.
func (i *interpreter) parse(
	text string,
	args []word,
	dir word,
	env map[string]string,
	via string,
	depth int,
) (unseen string) {
	defer func() {
		if problem := recover(); problem != nil { // the library gives up on it
			unseen = fmt.Sprintf("it cannot be understood (%v)", problem)
		}
	}()
	file, err := syntax.NewParser(syntax.Variant(syntax.LangBash)).Parse(strings.NewReader(text), "")
	if err != nil {
		return fmt.Sprintf("it cannot be understood (%v)", err)
	}
	s := &shellScript{i: i, dir: dir, via: via, depth: depth, vars: variables{}}
	for k, v := range env {
		s.vars.set(k, v)
	}
	i.doubt(file)
	all := expand.Variable{Set: true, Kind: expand.Indexed}
	for n, a := range args {
		if !a.known {
			all.Set = false
			continue
		}
		s.vars.set(strconv.Itoa(n), a.text)
		if n > 0 {
			all.List = append(all.List, a.text)
		}
	}
	s.vars["@"], s.vars["*"] = all, all
	syntax.Walk(file, s.visit)
	return ""
}

// shellScript is a script while it is gone through.
type shellScript struct {
	i     *interpreter
	dir   word
	via   string
	depth int
	vars  variables
}

func (s *shellScript) visit(n syntax.Node) bool {
	switch n := n.(type) {
	case *syntax.ForClause: // one of several values
		if w, ok := n.Loop.(*syntax.WordIter); ok {
			delete(s.vars, w.Name.Value)
		}
	case *syntax.DeclClause:
		s.assign(n.Args)
	case *syntax.Stmt:
		s.stmt(n)
	}
	return true
}

// outputs are the operators that write to a file.
var outputs = []syntax.RedirOperator{syntax.RdrOut, syntax.AppOut, syntax.RdrAll, syntax.AppAll, syntax.ClbOut}

func (s *shellScript) stmt(n *syntax.Stmt) {
	var writes, words []word
	for _, r := range n.Redirs {
		if slices.Contains(outputs, r.Op) {
			writes = append(writes, s.words(r.Word)...)
		}
	}
	if call, ok := n.Cmd.(*syntax.CallExpr); ok {
		if len(call.Args) == 0 {
			s.assign(call.Assigns)
		}
		words = s.words(call.Args...)
	}
	if len(words) > 0 && words[0].text == "cd" {
		from := s.dir
		s.dir = word{}
		if len(words) > 1 {
			s.dir.text, s.dir.known = command{dir: from}.path(words[1])
		}
		return
	}
	s.i.run(words, writes, s.dir, s.vars.plain(), s.via, s.depth)
}

func (s *shellScript) assign(list []*syntax.Assign) {
	for _, a := range list {
		if a.Name == nil || a.Naked {
			continue
		}
		delete(s.vars, a.Name.Value)
		if a.Append || a.Array != nil {
			continue
		}
		if a.Value == nil {
			s.vars.set(a.Name.Value, "")
			continue
		}
		if text, err := s.expand(func(c *expand.Config) ([]string, error) {
			text, err := expand.Literal(c, a.Value)
			return []string{text}, err
		}); err == nil {
			s.vars.set(a.Name.Value, text[0])
		}
	}
}

// sequence is a word like {1..999999999}, which is that many words.
var sequence = regexp.MustCompile(`(^|[^$])\{[^{}]*\.\.[^{}]*\}`)

func (s *shellScript) words(list ...*syntax.Word) []word {
	var out []word
	for _, w := range list {
		var b strings.Builder
		_ = syntax.NewPrinter().Print(&b, w) // to memory
		texts, err := []string(nil), errUnknown
		if !sequence.MatchString(b.String()) {
			texts, err = s.expand(func(c *expand.Config) ([]string, error) { return expand.Fields(c, w) })
		}
		if err != nil {
			out = append(out, word{text: b.String()})
			continue
		}
		out = append(out, known(texts...)...)
	}
	return out
}

var errUnknown = errors.New("not known")

// expand replaces variables; one that is not known is an error, as is what the library gives up on.
func (s *shellScript) expand(f func(*expand.Config) ([]string, error)) (texts []string, err error) {
	defer func() {
		if recover() != nil {
			err = errUnknown
		}
	}()
	return f(&expand.Config{Env: s.vars, NoUnset: true, CmdSubst: s.substitute})
}

// substitute knows what scripts find their own folder by.
func (s *shellScript) substitute(w io.Writer, c *syntax.CmdSubst) error {
	if len(c.Stmts) != 1 {
		return errUnknown
	}
	call, ok := c.Stmts[0].Cmd.(*syntax.CallExpr)
	if !ok {
		return errUnknown
	}
	words := s.words(call.Args...)
	if len(words) < 2 || !words[len(words)-1].known {
		return errUnknown
	}
	last := words[len(words)-1].text
	switch words[0].text {
	case "dirname":
		last = filepath.Dir(last)
	case "basename":
		last = filepath.Base(last)
	case "readlink", "realpath":
	default:
		return errUnknown
	}
	_, err := io.WriteString(w, last)
	return err
}

// variables are a shell's. A name that is missing is one whose value is not known.
type variables map[string]expand.Variable

func (v variables) set(name, value string) {
	v[name] = expand.Variable{Set: true, Kind: expand.String, Str: value}
}

// Get and Each make it the library's environment.
func (v variables) Get(name string) expand.Variable { return v[name] }

// Each calls f with each variable.
func (v variables) Each(f func(string, expand.Variable) bool) {
	for name, value := range v {
		if !f(name, value) {
			return
		}
	}
}

func (v variables) plain() map[string]string {
	out := make(map[string]string, len(v))
	for name, value := range v {
		if value.Kind == expand.String && strings.Trim(name, "0123456789") != "" {
			out[name] = value.Str
		}
	}
	return out
}
