package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/prometheus/client_golang/prometheus"

	"example.com/kpls-agent/internal/config"
	"example.com/kpls-agent/internal/durable"
)

// keptSettingsName is the copy of the last good settings, in the directory that systemd
// gives the service (StateDirectory=): state_dir itself stands in the settings. Like the
// settings it holds no secret, only the names of files and variables that do.
const keptSettingsName = "settings.last-good.yaml"

// keptSettingsDir is that directory, from what systemd tells the service as
// STATE_DIRECTORY; empty where systemd did not start this, or as another service.
func keptSettingsDir(told string) string {
	if told != stateDirectory {
		return ""
	}
	return stateDirectory
}

// inForce are the settings that the daemon works with.
type inForce struct {
	*Settings
	path  string
	data  []byte // of the file that is in force
	fault string // why the newest settings are not in force; empty if they are
}

// settingsInForce reads the settings for the daemon. Where they have a fault and dir has
// the last good ones, those stay in force, as it is with the manifest: a typo must
// neither take a healthy broker from its customers nor leave its probe open unjudged.
func settingsInForce(path, dir string) (*inForce, error) {
	data, err := settingsBytes(path)
	var s *Settings
	if err == nil {
		s, err = ParseSettings(path, data)
	}
	if err == nil {
		return &inForce{Settings: s, path: path, data: data}, nil
	}
	if dir == "" {
		return nil, err
	}
	kept, keptErr := os.ReadFile(filepath.Join(dir, keptSettingsName))
	if keptErr == nil {
		s, keptErr = ParseSettings(path, kept) // relative paths are those of the file itself
	}
	if keptErr != nil {
		return nil, err // the first start, or an older format: there is nothing to go on with
	}
	return &inForce{Settings: s, path: path, data: kept, fault: oneLine(err)}, nil
}

// keep makes these settings the last good ones.
func (s *inForce) keep(dir string) error {
	if dir == "" || s.fault != "" {
		return nil
	}
	if err := durable.WriteFile(filepath.Join(dir, keptSettingsName), s.data, durable.Options{}); err != nil {
		return fmt.Errorf("keep the last good settings: %w", err)
	}
	return nil
}

// note says that older settings are in force; empty if they are the newest.
func (s *inForce) note() string {
	if s.fault == "" {
		return ""
	}
	return fmt.Sprintf("the settings cannot be used (%s); the last good ones stay in force and the broker is not restarted; correct %s, it is taken over at once", s.fault, s.path)
}

// newSettingsRefused shows whether older settings are in force.
func newSettingsRefused(s *inForce) prometheus.Collector {
	g := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "settings_refused",
		Help: "1 while the settings file cannot be used, and the last good settings are in force.",
	})
	if s.fault != "" {
		g.Set(1)
	}
	return g
}

// corrected is true once the file that had a fault can be used, false if ctx has ended.
func (s *inForce) corrected(ctx context.Context, w *config.Watcher, log *slog.Logger) bool {
	told := s.fault
	for {
		select {
		case <-ctx.Done():
			return false
		case <-w.Changed():
		}
		data, err := w.Read()
		if err == nil {
			_, err = ParseSettings(s.path, data)
		}
		if err == nil {
			return true
		}
		if why := oneLine(err); why != told {
			told = why
			log.Error("the settings cannot be used", "err", why)
		}
	}
}
