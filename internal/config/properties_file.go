package config

import (
	"maps"
	"slices"
	"strings"
)

// Properties is a properties file other than server.properties, read by the
// same rules.
type Properties struct{ file *propFile }

// ReadProperties reads data; path is for messages only. An error is a *Refusal.
func ReadProperties(path string, data []byte) (*Properties, error) {
	p, err := readProperties(path, data)
	if err != nil {
		return nil, already(err)
	}
	return &Properties{p}, nil
}

// Get returns the value that counts for a key: the last one.
func (p *Properties) Get(key string) (value string, ok bool) { return p.file.get(key) }

// Line returns the number of its line, 0 if the key is not there.
func (p *Properties) Line(key string) int { return p.file.line(key) }

// Under returns the file as a broker reads it that is started with properties of its command line
// (--override), which beat the file's lines. It is for reading only: those have no line.
func (p *Properties) Under(overrides map[string]string) *Properties {
	if len(overrides) == 0 {
		return p
	}
	f := *p.file
	f.entries, f.last = slices.Clone(f.entries), maps.Clone(f.last)
	for _, key := range slices.Sorted(maps.Keys(overrides)) {
		f.last[key] = len(f.entries)
		f.entries = append(f.entries, propEntry{key: key, value: overrides[key]})
	}
	return &Properties{&f}
}

// Secrets are the values that may hold a secret: all that Kafka itself does not show, and what it does not know. They
// are for masking what is said of the file.
func (p *Properties) Secrets() []string {
	var out []string
	for _, e := range p.file.entries {
		secret := secretProperty(e.key, Version{})
		if strings.HasPrefix(e.key, prefixListener) {
			secret = secretKey(e.key)
		}
		if v := trimJava(e.value); v != "" && secret && !strings.HasSuffix(e.key, ".class") {
			out = append(out, v)
		}
	}
	return out
}

// LogDirs are the directories with the broker's data, as they are written: log.dirs, else
// log.dir, and metadata.log.dir where that is another one.
func (p *Properties) LogDirs() []string {
	dirs := splitNonEmpty(p.file.textOr("log.dirs", p.file.textOr("log.dir", "/tmp/kafka-logs")))
	if meta := p.file.text("metadata.log.dir"); meta != "" && !slices.Contains(dirs, meta) {
		dirs = append(dirs, meta)
	}
	return dirs
}
