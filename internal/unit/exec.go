package unit

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
)

// Exec is one command line of a unit, split into words by systemd, with systemd's specifiers
// replaced and its variables not: those systemd replaces when it starts the command.
type Exec struct {
	// Setting is the name in the unit's file, such as ExecStartPre.
	Setting string
	Argv    []string
}

// execSettings are a service's command lines in the order in which they are run.
var execSettings = []string{
	"ExecCondition", "ExecStartPre", "ExecStart", "ExecStartPost", "ExecReload", "ExecStop", "ExecStopPost",
}

func execs(p map[string]any) []Exec {
	var out []Exec
	for _, name := range execSettings {
		lines, _ := p[name].([][]any) // (path, argv, ignore, times, pid, code, status) of each
		for _, l := range lines {
			if len(l) < 2 {
				continue
			}
			argv, _ := l[1].([]string)
			path := text(l[0])
			if len(argv) == 0 {
				argv = []string{path}
			}
			if path != "" && filepath.Base(argv[0]) != filepath.Base(path) { // a name of its own: @ in front of it
				argv = append([]string{path}, argv[1:]...)
			}
			out = append(out, Exec{name, argv})
		}
	}
	return out
}

// environment of the unit's commands. unseen are the files of EnvironmentFile= that could not be
// read: a variable that is not set may then be one of theirs.
type unitEnvironment struct {
	vars   map[string]string
	unseen []string
}

func (u Setup) environment() unitEnvironment {
	e := unitEnvironment{vars: map[string]string{}}
	for _, kv := range u.Environment {
		if k, v, ok := strings.Cut(kv, "="); ok {
			e.vars[k] = v
		}
	}
	for _, path := range u.EnvironmentFiles { // beat Environment=
		data, err := os.ReadFile(path)
		switch {
		case os.IsNotExist(err):
		case err != nil:
			e.unseen = append(e.unseen, path)
		default:
			readEnvironment(data, e.vars)
		}
	}
	return e
}

// readEnvironment reads lines KEY=VALUE, with quotes around the value or without, as
// EnvironmentFile= of systemd.exec(5) has them.
func readEnvironment(data []byte, into map[string]string) {
	for scan := bufio.NewScanner(bytes.NewReader(data)); scan.Scan(); {
		line := strings.TrimSpace(scan.Text())
		k, v, ok := strings.Cut(line, "=")
		if !ok || strings.HasPrefix(line, "#") || strings.HasPrefix(line, ";") {
			continue
		}
		v = strings.TrimSpace(v)
		if v != "" && (v[0] == '"' || v[0] == '\'') { // quotes count at the begin only, and what follows is glued on
			if end := strings.IndexByte(v[1:], v[0]); end >= 0 {
				v = v[1:1+end] + strings.TrimLeft(v[2+end:], " \t")
			}
		}
		into[strings.TrimSpace(k)] = v
	}
}

// substitute replaces variables as systemd does (systemd.service(5), "Command lines"): ${NAME}
// anywhere in a word, $NAME where it is the whole word, which is then split at blanks; $$ is a
// dollar sign.
func (e unitEnvironment) substitute(argv []string) []word {
	var out []word
	for _, arg := range argv {
		if name, ok := strings.CutPrefix(arg, "$"); ok && isName(name) {
			if value, known := e.lookUp(name); known {
				for f := range strings.FieldsSeq(value) {
					out = append(out, word{f, true})
				}
				continue
			}
			out = append(out, word{arg, false})
			continue
		}
		out = append(out, e.inside(arg))
	}
	return out
}

func (e unitEnvironment) inside(arg string) word {
	var b strings.Builder
	w := word{known: true}
	for rest := arg; ; {
		i := strings.IndexByte(rest, '$')
		if i < 0 {
			b.WriteString(rest)
			break
		}
		b.WriteString(rest[:i])
		rest = rest[i+1:]
		if after, ok := strings.CutPrefix(rest, "$"); ok {
			b.WriteByte('$')
			rest = after
			continue
		}
		if name, after, ok := strings.Cut(strings.TrimPrefix(rest, "{"), "}"); ok && strings.HasPrefix(rest, "{") &&
			isName(name) {
			value, known := e.lookUp(name)
			if !known {
				w.known = false
				value = "${" + name + "}"
			}
			b.WriteString(value)
			rest = after
			continue
		}
		b.WriteByte('$')
	}
	w.text = b.String()
	return w
}

// lookUp is false for a variable whose value only the running command has.
func (e unitEnvironment) lookUp(name string) (string, bool) {
	if v, ok := e.vars[name]; ok {
		return v, true
	}
	if name == "MAINPID" {
		return "$MAINPID", true // the broker's own, whatever its number
	}
	return "", len(e.unseen) == 0
}

func isName(s string) bool {
	for i, r := range s {
		if r != '_' && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z') && (i == 0 || r < '0' || r > '9') {
			return false
		}
	}
	return s != ""
}

// directory is where the unit's commands run.
func (u Setup) directory() word {
	dir := strings.TrimLeft(u.WorkingDirectory, "!-") // a mark for "need not exist"
	switch dir {
	case "":
		return word{"/", true}
	case "~":
		of := u.User
		if of == "" {
			of = "root"
		}
		account, err := user.Lookup(of)
		if err != nil {
			return word{}
		}
		return word{account.HomeDir, true}
	}
	return word{dir, true}
}

// commands are all that the unit runs, scripts and shells looked into; files are those that they stand in.
func (u Setup) commands() (run []command, files []string) {
	e := u.environment()
	files = slices.Clone(u.EnvironmentFiles)
	for _, x := range u.Execs {
		i := lookInto(x.Setting+"=", e.substitute(x.Argv), u.directory(), e.vars)
		for n, c := range i.found {
			if u.RootDirectory != "" {
				i.found[n].dir.known = false
			}
			if len(e.unseen) > 0 && c.startsKafka() != nil && !strings.Contains(c.words[0].text, "/java") {
				i.found[n].java = word{text: "JAVA_HOME and PATH cannot be seen" + e.why()}
			}
		}
		run, files = append(run, i.found...), append(files, i.opened...)
	}
	return run, files
}

// why says why a variable is not known.
func (e unitEnvironment) why() string {
	if len(e.unseen) == 0 {
		return ""
	}
	return fmt.Sprintf(" (EnvironmentFile=%s cannot be read by this user)", strings.Join(e.unseen, ", "))
}
