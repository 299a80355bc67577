package config

import "fmt"

// RunningListeners returns every listener of the process, from all entries that
// the broker answered for itself.
func RunningListeners(entries map[string]RunningValue) ([]Effective, error) {
	c, err := runningConfig(entries)
	if err != nil {
		return nil, fmt.Errorf("understand the broker's running configuration: %w", err)
	}
	return c.effective(), nil
}
