package unit

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"
)

// Seen is what root has seen of the commands of a unit, for the service, which cannot read root's own
// scripts and environment files. It holds for the unit as it was then.
type Seen struct {
	// Shape is that of the unit.
	Shape    string        `json:"shape"`
	Commands []seenCommand `json:"commands"`
}

type seenCommand struct {
	Setting string     `json:"setting"`
	Via     string     `json:"via,omitempty"`
	Words   []seenWord `json:"words,omitempty"`
	Dir     seenWord   `json:"dir"`
	Writes  []seenWord `json:"writes,omitempty"`
	Unseen  string     `json:"unseen,omitempty"`
	Java    seenWord   `json:"java,omitzero"`
}

type seenWord struct {
	Text    string `json:"text"`
	Unknown bool   `json:"unknown,omitempty"`
}

// Shape names the unit's command lines and what they depend on, as systemd has them loaded.
func (u Setup) Shape() string {
	parts := []any{u.Execs, u.Environment, u.EnvironmentFiles, u.WorkingDirectory, u.RootDirectory, u.User}
	text, _ := json.Marshal(parts) // strings can always be written
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// Write returns what to write down of this unit, where one of the files that its commands stand in is
// hidden from the service; nil where none is. It has no more words than Judge goes by: such files may
// have secrets in them.
func (u Setup) Write(hidden func(path string) bool) *Seen {
	run, files := u.commands()
	if !slices.ContainsFunc(files, hidden) {
		return nil
	}
	s := &Seen{Shape: u.Shape()}
	for _, c := range run {
		if c, ok := c.essence(); ok {
			s.Commands = append(s.Commands, c)
		}
	}
	return s
}

// essence is what Judge goes by; false for a command that it does not look at.
func (c command) essence() (seenCommand, bool) {
	out := seenCommand{
		Setting: c.setting,
		Via:     c.via,
		Dir:     write(c.dir)[0],
		Unseen:  c.unseen,
		Writes:  write(c.writes...),
		Java:    write(c.java)[0],
	}
	_, _, removes := c.removes()
	switch args := c.startsKafka(); {
	case len(args) > 0:
		// As a script of Kafka's that is given the file, and the overrides without their values: the
		// ids and folders are no secrets.
		out.Words = append(out.Words, seenWord{Text: "kafka-server-start.sh"}, write(args[0])[0])
		for _, w := range args[1:] {
			key, _, isOverride := strings.Cut(strings.TrimPrefix(w.text, "--override="), "=")
			if isOverride &&
				!slices.Contains([]string{"node.id", "broker.id", "log.dirs", "log.dir", "metadata.log.dir"}, key) {
				w.text = w.text[:strings.LastIndex(w.text, key)+len(key)] + "=" + hiddenValue
			}
			if w.text == "--override" || isOverride {
				out.Words = append(out.Words, write(w)[0])
			}
		}
		return out, true
	case removes, slices.Contains(enders, strings.TrimSuffix(c.name(), ".sh")), c.writesTo():
		out.Words = write(c.words...)
		return out, true
	}
	if len(c.words) > 0 {
		out.Words = write(c.words[0])
	}
	return out, c.unseen != "" || len(c.writes) > 0
}

func write(words ...word) []seenWord {
	var out []seenWord
	for _, w := range words {
		out = append(out, seenWord{w.text, !w.known})
	}
	return out
}

func read(words ...seenWord) []word {
	var out []word
	for _, w := range words {
		out = append(out, word{w.Text, !w.Unknown})
	}
	return out
}

// seen are the unit's commands: as this process sees them or, where it does not see all and root has
// looked at the same unit, as root did.
func (p Picture) seen() []command {
	run, _ := p.commands()
	blind := len(p.environment().unseen) > 0 || slices.ContainsFunc(run, func(c command) bool { return c.unseen != "" })
	if !blind || p.Seen == nil || p.Seen.Shape != p.Shape() {
		return run
	}
	return p.Seen.commands()
}

func (s *Seen) commands() []command {
	var run []command
	for _, c := range s.Commands {
		run = append(
			run,
			command{
				setting: c.Setting,
				via:     c.Via,
				words:   read(c.Words...),
				dir:     read(c.Dir)[0],
				writes:  read(c.Writes...),
				unseen:  c.Unseen,
				java:    read(c.Java)[0],
			},
		)
	}
	return run
}
