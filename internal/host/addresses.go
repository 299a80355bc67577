package host

import (
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"example.com/kpls-agent/internal/durable"
	"example.com/kpls-agent/internal/settings"
)

// addressesFile keeps the brokers' addresses for the time when the own broker is
// down; those of one listener are of no use with another one.
func addressesFile(s *settings.Settings) string {
	name := "brokers.json"
	if s.Kafka.Listener != "" {
		name = "brokers." + strings.ToUpper(s.Kafka.Listener) + ".json"
	}
	return filepath.Join(s.StateDir, name)
}

// loadAddresses returns the addresses (host:port) that were kept, by broker; nil where none can be read.
func loadAddresses(s *settings.Settings) map[int32]string {
	var m map[int32]string
	b, err := os.ReadFile(addressesFile(s))
	if err != nil || json.Unmarshal(b, &m) != nil {
		return nil // only a help: it is learnt again
	}
	return m
}

// SaveAddresses returns what keeps the addresses of the brokers by their ids. One that cannot be kept is
// logged: they are only a help.
func SaveAddresses(s *settings.Settings, log *slog.Logger) func(map[int32]string) {
	return func(m map[int32]string) {
		b, err := json.Marshal(m)
		if err == nil {
			err = durable.WriteFile(addressesFile(s), append(b, '\n'), durable.Options{})
		}
		if err != nil {
			log.Warn("the brokers' addresses could not be kept", "err", err)
		}
	}
}
