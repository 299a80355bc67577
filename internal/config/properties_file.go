package config

import "slices"

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

// LogDirs are the directories with the broker's data, as they are written: log.dirs, else
// log.dir, and metadata.log.dir where that is another one.
func (p *Properties) LogDirs() []string {
	dirs := splitNonEmpty(p.file.textOr("log.dirs", p.file.textOr("log.dir", "/tmp/kafka-logs")))
	if meta := p.file.text("metadata.log.dir"); meta != "" && !slices.Contains(dirs, meta) {
		dirs = append(dirs, meta)
	}
	return dirs
}
