package host

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"strconv"
	"strings"

	"example.com/kpls-agent/internal/agent"
	"example.com/kpls-agent/internal/config"
	"example.com/kpls-agent/internal/settings"
	"example.com/kpls-agent/internal/unit"
)

// UnitBroker is what the broker's unit is judged against. What server.properties does not tell
// is left out.
func UnitBroker(s *settings.Settings) unit.Broker {
	b := unit.Broker{Properties: s.ServerProperties, Managed: manages, Roles: rolesOf}
	p, err := ReadProperties(s.ServerProperties)
	if err != nil {
		return b // every other part of the agent says so
	}
	if n, err := ReadNode(s); err == nil {
		b.ID = strconv.Itoa(int(n.BrokerID))
	}
	b.LogDirs = p.LogDirs()
	return b
}

// HeardBy has a unit asked whether its command line leaves server.properties in force. Who cannot tell
// is not asked.
func (f *Files) HeardBy(ctx context.Context, u agent.Unit) {
	if d, ok := u.(*unit.Systemd); ok {
		f.line = func() unit.CommandLine { return d.CommandLine(ctx) }
	}
}

// commandLine is that of the broker, as far as it can be seen.
func (f *Files) commandLine() unit.CommandLine {
	if f.line == nil {
		return unit.CommandLine{}
	}
	return f.line()
}

// OverridesSeen is true where the broker's command line can be seen.
func (f *Files) OverridesSeen() bool { return f.commandLine().Overrides != nil }

// Hidden are the lines of the file that have no effect, since the command line has them, too.
func (f *Files) Hidden() []config.PendingEdit {
	m, _ := f.store.Get()
	if m == nil {
		return nil
	}
	s := f.look(m)
	if s.file == nil {
		return nil
	}
	f.mu.Lock()
	running := f.running
	f.mu.Unlock()
	return config.Hidden(running.Values, s.file, f.commandLine().Overrides, s.desired, running.Version)
}

func rolesOf(path string) (string, error) {
	p, err := ReadProperties(path)
	if err != nil {
		return "", err
	}
	roles, _ := p.Get("process.roles")
	return strings.TrimSpace(roles), nil
}

// ReadProperties reads a properties file, such as server.properties.
func ReadProperties(path string) (*config.Properties, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return config.ReadProperties(path, data)
}

// NewUnit is the broker's service, and what keeps watching it.
func NewUnit(s *settings.Settings, log *slog.Logger) (agent.Unit, func(context.Context) error, error) {
	if len(s.Commands.Restart) > 0 {
		c, err := unit.NewCommands(unit.CommandsOptions{
			Restart: s.Commands.Restart, Status: s.Commands.Status,
			Output: os.Stderr,
		})
		if err != nil {
			return nil, nil, err
		}
		return c, c.Run, nil
	}
	d := newSystemd(s, log.With("component", "unit"))
	return d, d.Run, nil
}

func newSystemd(s *settings.Settings, log *slog.Logger) *unit.Systemd {
	return unit.NewSystemd(unit.SystemdOptions{
		Unit: s.Unit, Logger: log, Broker: func() unit.Broker { return UnitBroker(s) },
		Seen: func() *unit.Seen { return ReadSeen(SeenPath) },
	})
}

// Systemd is the broker's unit for a command that looks at it, which has to close it; false where the settings have
// commands instead.
func Systemd(s *settings.Settings) (*unit.Systemd, bool) {
	if len(s.Commands.Restart) > 0 {
		return nil, false
	}
	return newSystemd(s, slog.New(slog.DiscardHandler)), true
}

// UnitSetup is how the broker's unit is set up, as systemd has it.
func UnitSetup(ctx context.Context, s *settings.Settings) (unit.Setup, error) {
	systemd, ok := Systemd(s)
	if !ok {
		return unit.Setup{}, errors.New("the settings name commands and no unit")
	}
	defer systemd.Close()
	return systemd.Setup(ctx)
}

// CommandLine is the broker's, as far as it can be seen.
func CommandLine(ctx context.Context, s *settings.Settings) unit.CommandLine {
	systemd, ok := Systemd(s)
	if !ok {
		return unit.CommandLine{}
	}
	defer systemd.Close()
	return systemd.CommandLine(ctx)
}

// manages is true for the properties that the agent writes.
func manages(key string) bool {
	return key == "listeners" || key == "advertised.listeners" || key == "listener.security.protocol.map" ||
		strings.HasPrefix(key, "listener.name.")
}

// SeenPath is what `kpls-agent setup`, which is root, has seen of the unit's commands where the service
// cannot read them: a script or an environment file of root's alone. It is not there where nothing is hidden.
const SeenPath = "/etc/kpls-agent/unit-seen.json"

// ReadSeen returns nil for nothing written down, or nothing that can be read: then what the service cannot
// see is said to be so.
func ReadSeen(path string) *unit.Seen {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	var s unit.Seen
	if json.Unmarshal(data, &s) != nil {
		return nil
	}
	return &s
}
