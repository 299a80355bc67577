package unit

import (
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// passing is a folder whose content systemd removes at each stop of the unit.
type passing struct{ dir, because, fix string }

func (u Setup) passing() []passing {
	var out []passing
	if u.PrivateTmp {
		for _, dir := range []string{"/tmp", "/var/tmp"} {
			out = append(
				out,
				passing{
					dir, "PrivateTmp=yes gives the unit a " + dir + " of its own, which systemd removes at each stop",
					"PrivateTmp=",
				},
			)
		}
	}
	if u.RuntimePreserve == "no" || u.RuntimePreserve == "" {
		for _, name := range u.RuntimeDirectory {
			for _, run := range []string{"/run", "/var/run"} {
				out = append(
					out,
					passing{
						filepath.Join(run, name), "RuntimeDirectory=" + name + " is removed by systemd at each stop",
						"RuntimeDirectory=",
					},
				)
			}
		}
	}
	for _, dir := range u.TemporaryFileSystem {
		out = append(
			out,
			passing{
				filepath.Clean(dir), "TemporaryFileSystem=" + dir + " is empty at each start", "TemporaryFileSystem=",
			},
		)
	}
	if u.ProtectHome == "tmpfs" {
		for _, dir := range []string{"/home", "/root", "/run/user"} {
			out = append(out, passing{dir, "ProtectHome=tmpfs makes " + dir + " empty at each start", "ProtectHome="})
		}
	}
	return out
}

// below is true for a path in a folder, and for the folder itself.
func below(p, dir string) bool {
	return p == dir || strings.HasPrefix(p, strings.TrimSuffix(dir, "/")+"/")
}

// judgeData asks whether the data outlive a stop.
func (p Picture) judgeData(b Broker) []Verdict {
	var out []Verdict
	dirs := p.logDirs(b)
	for _, f := range p.passing() {
		for _, dir := range dirs {
			lasting := slices.ContainsFunc(p.Bound,
				func(m string) bool { return below(m, f.dir) && below(filepath.Clean(dir), m) })
			if below(filepath.Clean(dir), f.dir) && !lasting {
				out = append(
					out,
					Verdict{
						Level: Hazard,
						Text: fmt.Sprintf("%s, and %s of this broker is in it: a restart deletes its data. "+
							"Only by hand: see that all its partitions have in-sync replicas elsewhere, set log.dirs=/var/lib/kafka/data in %s, then restart it", f.because, dir, b.Properties),
					},
				)
			}
		}
	}
	for _, c := range p.run {
		if c.setting == "ExecReload=" {
			continue
		}
		if v, ok := p.judgeRemoves(c, dirs); ok {
			out = append(out, v)
		}
	}
	return out
}

// spared are files in a log directory without which nothing is lost.
var spared = []string{".lock", "lost+found", "*.tmp", ".kafka_cleanshutdown"}

// judgeRemoves is about a command that removes files.
func (p Picture) judgeRemoves(c command, dirs []string) (Verdict, bool) {
	targets, recursive, removes := c.removes()
	if !removes {
		return Verdict{}, false
	}
	for _, w := range targets {
		target, seen := c.path(w)
		if !seen {
			return Verdict{
				Level: Warning,
				Text: fmt.Sprintf("what %s removes cannot be seen%s; see that it is nothing in %s", c,
					p.environment().why(), strings.Join(dirs, ", ")),
			}, true
		}
		for _, dir := range dirs {
			if reaches(target, filepath.Clean(dir), recursive) {
				return Verdict{
					Level: Hazard,
					Text: fmt.Sprintf("%s removes data of this broker in %s at each %s; remove that command (%s)", c,
						dir, map[bool]string{true: "stop", false: "start"}[strings.HasPrefix(c.setting, "ExecStop")],
						p.edit()),
				}, true
			}
		}
	}
	return Verdict{}, false
}

// removes are the files and folders that a command removes; recursive is true with what is in them.
func (c command) removes() (targets []word, recursive, removes bool) {
	if len(c.words) == 0 {
		return nil, false, false
	}
	args := c.words[1:]
	flag := func(names ...string) bool {
		return slices.ContainsFunc(args, func(w word) bool { return slices.Contains(names, w.text) })
	}
	switch name := c.name(); {
	case name == "rm", name == "shred", name == "unlink", strings.HasPrefix(name, "mkfs"), name == "wipefs":
	case name == "find" && (flag("-delete") || flag("-exec", "-execdir") && flag("rm", "/bin/rm", "/usr/bin/rm")):
		args = found(args)
	case name == "rsync" && slices.ContainsFunc(args, func(w word) bool { return strings.HasPrefix(w.text, "--delete") }):
		args = args[max(0, len(args)-1):]
	default:
		return nil, false, false
	}
	recursive = c.name() != "rm" || slices.ContainsFunc(args, func(w word) bool {
		return w.text == "--recursive" ||
			strings.HasPrefix(w.text, "-") && !strings.HasPrefix(w.text, "--") && strings.ContainsAny(w.text, "rR")
	})
	for _, w := range args {
		if !w.known || !strings.HasPrefix(w.text, "-") {
			targets = append(targets, w)
		}
	}
	return targets, recursive, true
}

// found are the files that find finds: its folders, which come first, each with the name that it looks for.
func found(args []word) []word {
	name := ""
	for i, w := range args {
		if w.text == "-name" && i+1 < len(args) {
			name = args[i+1].text
		}
	}
	folders := len(args)
	for i, w := range args {
		if strings.HasPrefix(w.text, "-") || w.text == "(" || w.text == "!" {
			folders = i
			break
		}
	}
	out := slices.Clone(args[:folders])
	for i := range out {
		out[i].text = path.Join(out[i].text, name)
	}
	return out
}

// reaches is true if removing a path, which may have * and ? in it, removes data in a log directory.
func reaches(target, dir string, recursive bool) bool {
	t, d := strings.Split(strings.Trim(target, "/"), "/"), strings.Split(strings.Trim(dir, "/"), "/")
	for i := range min(len(t), len(d)) {
		if ok, err := path.Match(t[i], d[i]); err != nil || !ok {
			return false
		}
	}
	if len(t) > len(d) { // something in the directory
		return !slices.ContainsFunc(spared, func(s string) bool { ok, _ := path.Match(s, t[len(t)-1]); return ok })
	}
	return recursive
}

// writers are programs that write to the file that they are given last.
var writers = []string{"cp", "mv", "install", "tee", "ln", "rsync"}

// editors are programs that write to each file that they are given.
var editors = []string{"crudini", "augtool", "truncate"}

// outputs are the files that a command may write to.
func (c command) outputs() []word {
	args := c.words[1:]
	last := args[len(args)-1]
	edits := slices.ContainsFunc(args, func(w word) bool {
		return strings.HasPrefix(w.text, "-i") || strings.HasPrefix(w.text, "-pi") ||
			strings.HasPrefix(w.text, "--in-place")
	})
	switch name := c.name(); {
	case slices.Contains(writers, name):
		out := []word{last}
		for _, from := range args[:len(args)-1] { // into a folder
			out = append(out, word{path.Join(last.text, path.Base(from.text)), from.known && last.known})
		}
		return out
	case name == "sed", name == "perl":
		if edits {
			return args
		}
		return nil
	case slices.Contains(editors, name):
		return args
	case slices.Contains(templaters, name): // FROM:TO
		var out []word
		for _, w := range args {
			if _, to, ok := strings.Cut(w.text, ":"); ok {
				out = append(out, word{to, w.known})
			}
		}
		return out
	}
	return nil
}

// writesTo is true for a program whose arguments are files that it writes.
func (c command) writesTo() bool { return len(c.words) > 1 && len(c.outputs()) > 0 }

// templaters are programs that are told from where to where.
var templaters = []string{"dockerize", "gomplate", "consul-template"}

// judgeWriters looks for what makes server.properties again at a start.
func (p Picture) judgeWriters(b Broker) []Verdict {
	var out []Verdict
	for _, c := range p.run {
		if c.setting == "ExecReload=" {
			continue
		}
		targets := slices.Clone(c.writes)
		if c.writesTo() {
			targets = append(targets, c.outputs()...)
		}
		if slices.ContainsFunc(targets, func(w word) bool {
			target, seen := c.path(w)
			return seen && sameFile(target, b.Properties)
		}) {
			out = append(
				out,
				Verdict{
					Level: Warning,
					Text: fmt.Sprintf(
						"%s writes %s at each start, over what the agent wrote; put the listeners of the manifest into what it writes (`kpls-agent plan --offline` makes them), or remove it (%s)",
						c, b.Properties, p.edit()),
				},
			)
		}
	}
	for _, c := range p.run {
		if len(out) == 0 && strings.HasPrefix(c.setting, "ExecStart") && c.unseen != "" {
			out = append(
				out,
				Verdict{
					Level: Warning,
					Text:  fmt.Sprintf("whether %s writes %s cannot be seen (%s)", c, b.Properties, c.unseen),
				},
			)
		}
	}
	return out
}
