package unit

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
)

// KafkaStart is how a unit starts its broker, as far as another Java needs it to ask the same Kafka something.
type KafkaStart struct {
	// Home is the folder that Kafka was unpacked into.
	Home string
	// Overrides are KEY=VALUE of the command line.
	Overrides []string
	// Direct is true where nothing stands between the unit and Kafka's own start script, or Java: all that the
	// broker's Java is told is known then, by the unit's environment or by Options.
	Direct bool
	// Java is the program of a unit that starts Java itself, and Options its -D options; empty where a script does.
	Java    string
	Options []string
}

// KafkaStart finds the one command of the unit that starts a broker. An error says what cannot be seen of it.
func (u Setup) KafkaStart() (KafkaStart, error) {
	if u.RootDirectory != "" || u.DynamicUser {
		return KafkaStart{}, errors.New("its unit has a file system (RootDirectory=) or a user (DynamicUser=) of its own")
	}
	run, _ := u.commands()
	var found []KafkaStart
	for _, c := range run {
		words := c.startsKafka()
		if c.setting != "ExecStart=" || len(words) == 0 {
			continue
		}
		home, err := c.kafkaHome()
		if err != nil {
			return KafkaStart{}, err
		}
		start := KafkaStart{Home: home, Direct: c.via == ""}
		if !c.byScript() {
			start.javaItself(c)
		}
		var texts []string
		for _, w := range words[1:] {
			if !w.known {
				return KafkaStart{}, fmt.Errorf("a word of its command line cannot be seen (%s)", w.text)
			}
			texts = append(texts, w.text)
		}
		start.Overrides = overrides(texts)
		found = append(found, start)
	}
	if len(found) != 1 {
		return KafkaStart{}, fmt.Errorf("%d commands of its unit start a broker", len(found))
	}
	return found[0], nil
}

// byScript is true for Kafka's own start script.
func (c command) byScript() bool { return strings.TrimSuffix(c.name(), ".sh") == "kafka-server-start" }

// javaItself notes what a command tells Java between its name and the class. A word that is not known may be an option.
func (k *KafkaStart) javaItself(c command) {
	if path, ok := c.path(c.words[0]); ok && strings.Contains(c.words[0].text, "/") {
		k.Java = path
	}
	for _, w := range c.words[1 : len(c.words)-len(c.startsKafka())] {
		switch {
		case !w.known, strings.HasPrefix(w.text, "-D") && strings.ContainsAny(w.text, " \t"):
			k.Direct = false // and one with a blank cannot be handed on in KAFKA_OPTS
		case strings.HasPrefix(w.text, "-D"):
			k.Options = append(k.Options, w.text)
		}
	}
}

// kafkaHome is the folder above that of the start script, or that of the jars on the class path.
func (c command) kafkaHome() (string, error) {
	if c.byScript() {
		script, ok := c.path(c.words[0])
		if !ok || filepath.Base(filepath.Dir(script)) != "bin" {
			return "", fmt.Errorf("from which folder %s is run cannot be seen", c.words[0].text)
		}
		return filepath.Dir(filepath.Dir(script)), nil
	}
	for i, w := range c.words {
		if i == 0 || c.words[i-1].text != "-cp" && c.words[i-1].text != "-classpath" {
			continue
		}
		for entry := range strings.SplitSeq(w.text, ":") {
			dir := filepath.Dir(entry)
			if jars, _ := filepath.Glob(filepath.Join(dir, "kafka-clients-*.jar")); w.known && len(jars) > 0 {
				return dir, nil
			}
		}
	}
	return "", fmt.Errorf("where %s finds Kafka cannot be seen", c.words[0].text)
}
