package main

import (
	"context"
	"os"
	"strconv"
	"strings"

	"example.com/kpls-agent/internal/agent"
	"example.com/kpls-agent/internal/config"
	"example.com/kpls-agent/internal/settings"
	"example.com/kpls-agent/internal/unit"
)

// unitBroker is what the broker's unit is judged against. What server.properties does not tell
// is left out.
func unitBroker(s *settings.Settings) unit.Broker {
	b := unit.Broker{Properties: s.ServerProperties, Managed: manages, Roles: rolesOf}
	p, err := readProperties(s.ServerProperties)
	if err != nil {
		return b // every other part of the agent says so
	}
	if n, err := readNode(s); err == nil {
		b.ID = strconv.Itoa(int(n.BrokerID))
	}
	b.LogDirs = logDirs(p)
	return b
}

// heardBy has a unit asked whether its command line leaves server.properties in force. Who cannot tell
// is not asked.
func (f *files) heardBy(ctx context.Context, u agent.Unit) {
	if d, ok := u.(*unit.Systemd); ok {
		f.line = func() unit.CommandLine { return d.CommandLine(ctx) }
	}
}

// commandLine is that of the broker, as far as it can be seen.
func (f *files) commandLine() unit.CommandLine {
	if f.line == nil {
		return unit.CommandLine{}
	}
	return f.line()
}

// hiddenLines says which lines of the file have no effect, since the command line has them, too.
func (f *files) hiddenLines(data []byte) []string {
	file, err := config.ReadProperties(f.settings.ServerProperties, data)
	m, _ := f.store.get()
	if err != nil || m == nil {
		return nil
	}
	desired, err := m.For(f.id)
	if err != nil {
		return nil
	}
	f.mu.Lock()
	running := f.running
	f.mu.Unlock()
	var out []string
	for _, e := range config.Hidden(running.values, file, f.commandLine().Overrides, desired, running.version) {
		out = append(out, hiddenText(e))
	}
	return out
}

// logDirs are log.dirs, or log.dir, or Kafka's default for both, and metadata.log.dir.
func logDirs(p *config.Properties) []string {
	value, ok := p.Get("log.dirs")
	if !ok {
		if value, ok = p.Get("log.dir"); !ok {
			value = "/tmp/kafka-logs"
		}
	}
	if metadata, ok := p.Get("metadata.log.dir"); ok {
		value += "," + metadata
	}
	var dirs []string
	for dir := range strings.SplitSeq(value, ",") {
		if dir = strings.TrimSpace(dir); dir != "" {
			dirs = append(dirs, dir)
		}
	}
	return dirs
}

func rolesOf(path string) (string, error) {
	p, err := readProperties(path)
	if err != nil {
		return "", err
	}
	roles, _ := p.Get("process.roles")
	return strings.TrimSpace(roles), nil
}

func readProperties(path string) (*config.Properties, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return config.ReadProperties(path, data)
}
