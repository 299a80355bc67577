package check

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"

	"example.com/kpls-agent/internal/settings"
)

// Given is a manifest that somebody asks about instead of the one in the settings. It is read as who asks: it may
// lie where the agent's user sees nothing, and need not be of any use to that user yet.
type Given struct {
	Path string
	By   string // who has read it
	Data []byte
	Err  error // why it cannot be read
}

// ReadGiven reads it.
func ReadGiven(path string) *Given {
	g := &Given{Path: path, By: "this user"}
	if u, err := user.Current(); err == nil {
		g.By = u.Username
	}
	if g.Data, g.Err = os.ReadFile(path); errors.Is(g.Err, fs.ErrNotExist) {
		g.Err = fmt.Errorf("%w; name the file with --manifest", g.Err)
	}
	if g.Err != nil {
		g.Err = fmt.Errorf("read as %s: %w", g.By, settings.Denied(g.Err))
	}
	return g
}

// manifest is the text that is checked, and how the finding names its source.
func (o Options) manifest(s *settings.Settings) (path, note string, data []byte, err error) {
	if g := o.Manifest; g != nil {
		return g.Path, fmt.Sprintf("%s, read as %s", g.Path, g.By), g.Data, g.Err
	}
	data, err = os.ReadFile(s.Manifest)
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("%w; put the manifest there, the agent does nothing without one", err)
	}
	return s.Manifest, s.Manifest, data, settings.Denied(err)
}
