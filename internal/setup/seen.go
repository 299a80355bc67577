package setup

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"example.com/kpls-agent/internal/durable"
	"example.com/kpls-agent/internal/setup/acl"
	"example.com/kpls-agent/internal/unit"
)

// hidden is true for a file that a user cannot read, or cannot come to.
func hidden(path string, who Account) bool {
	for dir := filepath.Dir(path); dir != "/"; dir = filepath.Dir(dir) {
		if _, err := os.Stat(dir); err == nil && lacks(dir, acl.Enter, who, who.gid) {
			return true
		}
	}
	_, err := os.Stat(path)
	return err == nil && lacks(path, acl.Read, who, who.gid)
}

// writeDown keeps what the service cannot see, for it alone to read.
func (u *Setup) writeDown(seen *unit.Seen) error {
	if seen == nil {
		_, err := u.remove(u.Seen)
		return err
	}
	text, err := json.MarshalIndent(seen, "", "  ")
	if err != nil {
		return fmt.Errorf("write down what the unit runs: %w", err)
	}
	now, err := os.ReadFile(u.Seen)
	if err == nil && string(now) == string(text)+"\n" {
		return nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("look at what setup wrote before: %w", err)
	}
	if !u.did("write %s: what the broker's unit runs and %s cannot read", u.Seen, u.Who.name) {
		return nil
	}
	if err := durable.WriteFile(u.Seen, append(text, '\n'), durable.Options{Mode: 0o640}); err != nil {
		return err
	}
	if err := os.Chown(u.Seen, -1, int(u.Who.gid)); err != nil {
		return fmt.Errorf("let %s read it: %w", u.Who.name, err)
	}
	return nil
}
