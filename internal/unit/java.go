package unit

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"mvdan.cc/sh/v3/syntax"
)

// Java is the Java that a broker runs with, or would be started with.
type Java struct {
	// Program is the java that is started, by its whole path; empty where it cannot be seen.
	Program string
	// Version is that of the JDK or JRE which the program belongs to, such as 17.0.15, by its file `release`; empty
	// where it cannot be seen.
	Version string
	// Unseen is why the one or the other cannot be seen; empty where both are known.
	Unseen string
	// ByName is true for a process that was started by this name, and whose own program cannot be seen: the name may
	// have led to another Java then.
	ByName bool
}

// Java returns what the broker's process runs with, and what its next start would use, as far as the process and the
// unit show it. Nothing is run for that. The zero Java is one that is not there: no process runs.
func (p Picture) Java(b Broker) (runs, next Java) {
	p.run = p.seen()
	for _, process := range p.Processes {
		if p.own(process, b) {
			runs = p.javaOf(process)
		}
	}
	next = Java{Unseen: "which command of the unit starts Kafka cannot be seen" + p.environment().why()}
	for _, c := range p.run {
		if c.setting == "ExecStart=" && c.startsKafka() != nil {
			next = p.javaAt(c.java)
		}
	}
	return runs, next
}

// javaOf goes by the process's own program where it can be seen, and else by how it was started.
func (p Picture) javaOf(process Process) Java {
	switch {
	case strings.HasSuffix(process.Program, " (deleted)"):
		return Java{Unseen: fmt.Sprintf("%s was removed or replaced since it was started",
			strings.TrimSuffix(process.Program, " (deleted)"))}
	case process.Program != "":
		return p.javaAt(word{process.Program, true})
	}
	if len(process.Argv) > 0 && filepath.IsAbs(process.Argv[0]) {
		j := p.javaAt(word{process.Argv[0], true})
		j.ByName = true
		return j
	}
	return Java{Unseen: "the process was started as `java`, and which one that was only root can see"}
}

// javaAt looks at what is installed there. The unit may see other files there than this process does.
func (p Picture) javaAt(program word) Java {
	if !program.known {
		return Java{Unseen: or(program.text, "an earlier `kpls-agent setup` did not write it down; run it again")}
	}
	file, err := filepath.EvalSymlinks(program.text)
	switch {
	case p.RootDirectory != "" || slices.ContainsFunc(p.Bound, func(m string) bool { return below(program.text, m) }):
		return Java{Program: program.text, Unseen: "the unit has a view of its own on the files"}
	case err != nil:
		return Java{Program: program.text, Unseen: fmt.Sprintf("%s: %s", program.text, reason(err))}
	}
	j := Java{Program: program.text}
	home := filepath.Dir(filepath.Dir(file))
	if filepath.Base(home) == "jre" { // of a JDK 8, which has the file one folder above
		if _, err := os.Stat(filepath.Join(home, "release")); errors.Is(err, os.ErrNotExist) {
			home = filepath.Dir(home)
		}
	}
	if j.Version, err = javaVersion(filepath.Join(home, "release")); err != nil {
		j.Unseen = fmt.Sprintf("%s: %s", filepath.Join(home, "release"), reason(err))
	}
	return j
}

// javaVersion reads JAVA_VERSION of a JDK's file `release`.
func javaVersion(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	scan := bufio.NewScanner(f)
	for scan.Scan() {
		if value, ok := strings.CutPrefix(strings.TrimSpace(scan.Text()), "JAVA_VERSION="); ok {
			if version := strings.Trim(value, `"`); version != "" {
				return version, nil
			}
		}
	}
	return "", errors.Join(scan.Err(), errors.New("it has no JAVA_VERSION"))
}

// defaultPath is where systemd looks for programs, and what its services get as PATH (systemd.exec(5)).
const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// keepEnvironment are programs that run the command behind them in their own environment.
var keepEnvironment = []string{
	"exec", "command", "nohup", "nice", "ionice", "setsid", "time", "timeout", "chronic", "stdbuf", "numactl", "taskset",
	"prlimit",
}

// java is the program that a command starts Kafka with: its own name, or what kafka-run-class.sh takes, which is that
// of JAVA_HOME or else the first one of PATH. before are the words of the programs that only run it.
func (i *interpreter) java(c command, before []word, env map[string]string) word {
	if c.startsKafka() == nil {
		return word{}
	}
	if strings.HasPrefix(c.name(), "java") {
		if strings.Contains(c.words[0].text, "/") {
			path, ok := c.path(c.words[0])
			if !ok {
				return word{text: fmt.Sprintf("which program %s is cannot be seen", c.words[0].text)}
			}
			return word{path, true}
		}
	} else if !slices.Contains(ownScripts, strings.TrimSuffix(c.name(), ".sh")) {
		return word{text: fmt.Sprintf("how %s finds its Java is not known", c.words[0].text)}
	}
	if len(before) > 0 && !slices.Contains(keepEnvironment, filepath.Base(before[0].text)) {
		return word{text: fmt.Sprintf("%s may change the environment", before[0].text)}
	}
	home, path := env["JAVA_HOME"], or(env["PATH"], defaultPath)
	byHome := !strings.HasPrefix(c.name(), "java")
	switch {
	case i.doubts["."]:
		return word{text: "JAVA_HOME and PATH cannot be seen: a script that starts Kafka reads another file"}
	case byHome && i.doubts["JAVA_HOME"], home == "" && i.doubts["PATH"]:
		return word{text: "JAVA_HOME and PATH cannot be seen: a script sets them by what only a run of it would show"}
	case byHome && home != "":
		return word{filepath.Join(home, "bin", "java"), true}
	}
	for dir := range strings.SplitSeq(path, ":") {
		program := filepath.Join(dir, "java")
		info, err := os.Stat(program)
		if filepath.IsAbs(dir) && err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return word{program, true}
		}
	}
	return word{text: "there is no java in " + path + ", as far as the agent may look there"}
}

// doubt notes which variables of a script are not what its lines from top to bottom say: those that are set in a
// branch, a loop or a function, or twice, or in front of a command. "." stands for what another file sets.
func (i *interpreter) doubt(file *syntax.File) {
	if i.doubts == nil {
		i.doubts = map[string]bool{}
	}
	set := map[string]int{} // how often, wherever that is
	syntax.Walk(file, func(n syntax.Node) bool {
		switch n := n.(type) {
		case *syntax.DeclClause:
			count(set, n.Args)
		case *syntax.CallExpr:
			count(set, n.Assigns)
			if len(n.Args) > 0 && slices.Contains(settersOfOthers, n.Args[0].Lit()) {
				i.doubts["."] = true
			}
		}
		return true
	})
	sure := map[string]int{} // by a line of its own, with a value that is seen
	for _, s := range file.Stmts {
		var list []*syntax.Assign
		switch c := s.Cmd.(type) {
		case *syntax.DeclClause:
			list = c.Args
		case *syntax.CallExpr:
			if len(c.Args) == 0 {
				list = c.Assigns
			}
		}
		count(sure, slices.DeleteFunc(slices.Clone(list), func(a *syntax.Assign) bool {
			return a.Append || a.Array != nil || !literal(a.Value)
		}))
	}
	for name, n := range set {
		if n > 1 || sure[name] != 1 {
			i.doubts[name] = true
		}
	}
}

// settersOfOthers are commands of a shell that set variables without naming a value.
var settersOfOthers = []string{".", "source", "unset", "read", "eval"}

// count adds the assignments of a list, by the variable's name.
func count(into map[string]int, list []*syntax.Assign) {
	for _, a := range list {
		if a.Name != nil && !a.Naked {
			into[a.Name.Value]++
		}
	}
}

// literal is true for a value without a variable or a command in it.
func literal(w *syntax.Word) bool {
	ok := true
	if w != nil {
		syntax.Walk(w, func(n syntax.Node) bool {
			switch n.(type) {
			case *syntax.CmdSubst, *syntax.ProcSubst, *syntax.ArithmExp, *syntax.ParamExp:
				ok = false
			}
			return ok
		})
	}
	return ok
}
