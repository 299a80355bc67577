package unit

import (
	"context"
	"fmt"
)

// AgentService is the agent's own unit.
const AgentService = "kpls-agent.service"

// Own is what systemd says of the agent's own unit.
type Own struct {
	// LoadState and ActiveState are systemd's words; UnitFileState is enabled, disabled, and so on.
	LoadState, ActiveState, UnitFileState string
}

// Own asks systemd for the agent's own unit.
func (m *Manager) Own(ctx context.Context) (Own, error) {
	all, err := m.unit(ctx, AgentService, "org.freedesktop.systemd1.Unit")
	if err != nil {
		return Own{}, fmt.Errorf("ask systemd about %s: %w; see `systemctl status %s`", AgentService, err,
			AgentService)
	}
	word := func(name string) string { return text(all[name].Value()) }
	return Own{word("LoadState"), word("ActiveState"), word("UnitFileState")}, nil
}

// Files are the properties files that the broker is started with, by its process or by the unit's lines: those whose
// whole path can be seen.
func (p Picture) Files(b Broker) []string {
	p.run = p.seen()
	var files []string
	for _, s := range p.starts(b) {
		if s.file != "" && s.seen {
			files = append(files, s.file)
		}
	}
	return files
}
