package unit

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// start is how the broker is started: by a process that runs, or by what the unit says.
type start struct {
	file      string
	seen      bool // file is a whole path
	overrides []string
	where     string // where an operator changes it
}

// starts are the broker's own process where it runs, and else what the unit's lines would start.
func (p Picture) starts(b Broker) []start {
	var out []start
	place := "ExecStart="
	for _, c := range p.run {
		if c.setting == "ExecStart=" && c.via != "" && c.startsKafka() != nil {
			place = c.via
		}
	}
	for _, process := range p.Processes {
		if !p.own(process, b) {
			continue
		}
		args, _ := process.kafka()
		s := start{overrides: overrides(args), where: place}
		s.file, s.seen = process.properties()
		if s.file != "" && !s.seen {
			s.file, s.seen = p.relative(s.file)
		}
		out = append(out, s)
	}
	if len(out) > 0 {
		return out
	}
	for _, c := range p.run {
		words := c.startsKafka()
		if c.setting != "ExecStart=" || len(words) == 0 {
			continue
		}
		s := start{where: place}
		var texts []string
		for _, w := range words {
			texts = append(texts, w.text)
		}
		s.overrides = overrides(texts)
		s.file, s.seen = c.path(words[0])
		out = append(out, s)
	}
	return out
}

// relative joins a name that a process was started with: its own folder cannot be seen, and the unit
// may say from where it is started.
func (p Picture) relative(name string) (string, bool) {
	for _, c := range p.run {
		if words := c.startsKafka(); len(words) > 0 && c.setting == "ExecStart=" && words[0].text == name {
			return c.path(words[0])
		}
	}
	path, ok := command{dir: p.directory()}.path(word{name, true})
	if _, err := os.Stat(path); err != nil {
		return name, false // it runs, so it was started from somewhere else
	}
	return path, ok
}

// startsKafka are the words from server.properties on, of a command that starts a broker.
func (c command) startsKafka() []word {
	script := strings.TrimSuffix(c.name(), ".sh") == "kafka-server-start"
	for i, w := range c.words {
		if i == 0 {
			continue
		}
		switch {
		case w.text == "kafka.Kafka", strings.HasSuffix(w.text, ".SupportedKafka"):
			return c.words[i+1:]
		case !script, strings.HasPrefix(w.text, "-"), c.words[i-1].text == "-name":
		default:
			return c.words[i:]
		}
	}
	return nil
}

// overrides are the values of --override.
func overrides(args []string) []string {
	var out []string
	for i, a := range args {
		if value, ok := strings.CutPrefix(a, "--override="); ok {
			out = append(out, value)
		} else if a == "--override" && i+1 < len(args) {
			out = append(out, args[i+1])
		}
	}
	return out
}

// hiddenValue stands for the value of an override that root has seen and not written down.
const hiddenValue = "hidden"

// Overrides are the properties that the next start of the broker has from --override: those of the unit's
// lines and, where a part of these cannot be seen, those of the process that runs. It is nil where neither
// can be seen. A value that cannot be seen is left out.
func (p Picture) Overrides(b Broker) map[string]string {
	p.run = p.seen()
	var out map[string]string
	add := func(args []string) {
		if out == nil {
			out = map[string]string{}
		}
		for _, o := range overrides(args) {
			key, value, _ := strings.Cut(o, "=")
			if key, value = strings.TrimSpace(key), strings.TrimSpace(value); value != hiddenValue {
				out[key] = value
			}
		}
	}
	lines, whole := p.startLines()
	if !whole {
		for _, process := range p.Processes {
			if p.own(process, b) {
				args, _ := process.kafka()
				add(args)
			}
		}
	}
	for _, args := range lines {
		add(args)
	}
	return out
}

// startLines are the words behind server.properties of the unit's lines that start a broker; one that is
// not known is an override of nothing. It is whole if there is such a line and every word of it is known.
func (p Picture) startLines() (lines [][]string, whole bool) {
	whole = true
	for _, c := range p.run {
		words := c.startsKafka()
		if c.setting != "ExecStart=" || len(words) == 0 {
			continue
		}
		var line []string
		for _, w := range words[1:] {
			if !w.known {
				w.text = "=" + hiddenValue
			}
			whole = whole && w.known && !strings.HasSuffix(w.text, "="+hiddenValue)
			line = append(line, w.text)
		}
		lines = append(lines, line)
	}
	return lines, whole && len(lines) > 0
}

// judgeCommand looks for what the command line takes from server.properties.
func (p Picture) judgeCommand(b Broker) []Verdict {
	var out []Verdict
	say := func(l Level, format string, args ...any) {
		out = append(out, Verdict{Level: l, Text: fmt.Sprintf(format, args...)})
	}
	started := p.starts(b)
	for _, s := range started {
		for _, o := range s.overrides {
			key, value, _ := strings.Cut(o, "=")
			key, value = strings.TrimSpace(key), strings.TrimSpace(value)
			switch {
			case b.Managed != nil && b.Managed(key):
				say(Fault,
					"--override %s beats server.properties, so the manifest has no effect; remove it from %s (%s), and put what is not the manifest's into server.properties",
					key, s.where, p.edit())
			case (key == "node.id" || key == "broker.id") && value != b.ID && b.ID != "":
				say(Fault,
					"%s says that this broker is %s, and --override %s=%s makes it another one; put %s=%s into %s and remove the override from %s (%s)",
					b.Properties, b.ID, key, value, key, value, b.Properties, s.where, p.edit())
			}
		}
		// Its own view of the files: names lead elsewhere.
		mounted := p.RootDirectory != "" ||
			slices.ContainsFunc(p.Bound, func(m string) bool { return below(s.file, m) })
		switch {
		case s.file == "" || !s.seen || mounted && !sameFile(s.file, b.Properties):
			say(Warning, "with which file the broker is started cannot be seen (%s%s); settings: %s",
				or(s.file, "no name"), p.environment().why(), b.Properties)
		case !sameFile(s.file, b.Properties):
			say(Fault,
				"the broker is started with %s, and the settings name %s; correct `server_properties` in the settings, or %s (%s)",
				s.file, b.Properties, s.where, p.edit())
		}
	}
	if len(started) == 0 {
		why := ""
		for _, c := range p.run {
			if c.setting == "ExecStart=" && c.unseen != "" {
				why = fmt.Sprintf(": %s: %s", filepath.Clean(c.words[0].text), c.unseen)
			}
		}
		say(Warning, "cannot be seen%s; an --override on it would beat server.properties", why)
	}
	return out
}

// logDirs are the broker's log directories, as an --override changes them.
func (p Picture) logDirs(b Broker) []string {
	var dirs []string
	for _, dir := range b.LogDirs {
		dir, _ = command{dir: p.directory()}.path(word{dir, true})
		dirs = append(dirs, dir)
	}
	for _, s := range p.starts(b) {
		for _, o := range s.overrides {
			switch key, value, _ := strings.Cut(o, "="); strings.TrimSpace(key) {
			case "log.dirs", "log.dir", "metadata.log.dir":
				for dir := range strings.SplitSeq(value, ",") {
					dirs = append(dirs, strings.TrimSpace(dir))
				}
			}
		}
	}
	return dirs
}
