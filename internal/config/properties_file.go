package config

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
