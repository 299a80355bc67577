package machines

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"
)

// Entry is one line of a machine's journal.
type Entry struct {
	At      time.Time
	Message string
}

// Journal reads what a unit said, and what systemd said of it, also when the machine is off.
func (m *Machine) Journal(ctx context.Context, since time.Time, unit string) ([]Entry, error) {
	cmd := exec.CommandContext(ctx, "journalctl", "--directory="+filepath.Join(m.Root(), "var/log/journal"),
		"--output=json", "--output-fields=MESSAGE", "--no-pager", "--quiet", "--unit="+unit,
		"--since=@"+strconv.FormatInt(since.Unix(), 10))
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("read the journal of %s: %w", m.Name, err)
	}
	var entries []Entry
	for line := range bytes.Lines(out) {
		var e struct {
			At      string          `json:"__REALTIME_TIMESTAMP"` //nolint:tagliatelle // journald's
			Message json.RawMessage `json:"MESSAGE"`              //nolint:tagliatelle // journald's
		}
		if err := json.Unmarshal(line, &e); err != nil {
			return nil, fmt.Errorf("read the journal of %s: %w", m.Name, err)
		}
		micros, err := strconv.ParseInt(e.At, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("read the journal of %s: %w", m.Name, err)
		}
		var text string
		if json.Unmarshal(e.Message, &text) != nil {
			continue // not text
		}
		if at := time.UnixMicro(micros); !at.Before(since) {
			entries = append(entries, Entry{at, text})
		}
	}
	return entries, nil
}
