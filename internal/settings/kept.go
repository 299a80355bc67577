package settings

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"example.com/kpls-agent/internal/config"
	"example.com/kpls-agent/internal/durable"
)

// keptName is the copy of the last good settings, in the directory that systemd
// gives the service (StateDirectory=): state_dir itself stands in the settings. Like the
// settings it holds no secret, only the names of files and variables that do.
const keptName = "settings.last-good.yaml"

// KeptDir is that directory, from what systemd tells the service as
// STATE_DIRECTORY; empty where systemd did not start this, or as another service.
func KeptDir(told string) string {
	if told != StateDirectory {
		return ""
	}
	return StateDirectory
}

// InForce are the settings that the daemon works with.
type InForce struct {
	*Settings
	path  string
	data  []byte // of the file that is in force
	fault string // why the newest settings are not in force; empty if they are
}

// LoadInForce reads the settings for the daemon. Where they have a fault and dir has
// the last good ones, those stay in force, as it is with the manifest: a typo must
// neither take a healthy broker from its customers nor leave its probe open unjudged.
func LoadInForce(path, dir string) (*InForce, error) {
	data, err := read(path)
	var s *Settings
	if err == nil {
		s, err = Parse(path, data)
	}
	if err == nil {
		return &InForce{Settings: s, path: path, data: data}, nil
	}
	if dir == "" {
		return nil, err
	}
	kept, keptErr := os.ReadFile(filepath.Join(dir, keptName))
	if keptErr == nil {
		s, keptErr = Parse(path, kept) // relative paths are those of the file itself
	}
	if keptErr != nil {
		return nil, err // the first start, or an older format: there is nothing to go on with
	}
	return &InForce{Settings: s, path: path, data: kept, fault: config.OneLine(err)}, nil
}

// Keep makes these settings the last good ones.
func (s *InForce) Keep(dir string) error {
	if dir == "" || s.fault != "" {
		return nil
	}
	if err := durable.WriteFile(filepath.Join(dir, keptName), s.data, durable.Options{}); err != nil {
		return fmt.Errorf("keep the last good settings: %w", err)
	}
	return nil
}

// Fault is why the newest settings are not in force; empty if they are.
func (s *InForce) Fault() string { return s.fault }

// Path is that of the settings file.
func (s *InForce) Path() string { return s.path }

// Note says that older settings are in force; empty if they are the newest.
func (s *InForce) Note() string {
	if s.fault == "" {
		return ""
	}
	return fmt.Sprintf("the settings cannot be used (%s); the last good ones stay in force and the broker is not "+
		"restarted; correct %s, it is taken over at once", s.fault, s.path)
}

// Corrected is true once the file that had a fault can be used, false if ctx has ended.
func (s *InForce) Corrected(ctx context.Context, w *config.Watcher, log *slog.Logger) bool {
	told := s.fault
	for {
		select {
		case <-ctx.Done():
			return false
		case <-w.Changed():
		}
		data, err := w.Read()
		if err == nil {
			_, err = Parse(s.path, data)
		}
		if err == nil {
			return true
		}
		if why := config.OneLine(err); why != told {
			told = why
			log.Error("the settings cannot be used", "err", why)
		}
	}
}
