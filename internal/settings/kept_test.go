package settings

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"example.com/kpls-agent/internal/config"
	"example.com/kpls-agent/test/patience"
)

// TestSettingsInForce: settings with a fault leave the last good ones in force, where
// there are any.
func TestSettingsInForce(t *testing.T) {
	const good, typo = "unit: good.service\nmanifest: own.yaml\n", "unit: other.service\nunti: x\n"
	for name, c := range map[string]struct {
		file, kept string // "-" is not there
		noDir      bool
		unit       string // "" is an error
		fault      string
	}{
		"good":                        {file: "unit: new.service\n", kept: good, unit: "new.service"},
		"good, without systemd":       {file: good, noDir: true, unit: "good.service"},
		"a typo":                      {file: typo, kept: good, unit: "good.service", fault: `unti: unknown field; did you mean "unit"?`},
		"no YAML":                     {file: "{", kept: good, unit: "good.service", fault: "the file is not YAML"},
		"gone":                        {file: "-", kept: good, unit: "good.service", fault: "no such file or directory"},
		"a typo at the first start":   {file: typo, kept: "-"},
		"a typo, without systemd":     {file: typo, kept: good, noDir: true},
		"a typo, and an older format": {file: typo, kept: "units: x\n"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path, keptPath := filepath.Join(dir, "kpls-agent.yaml"), filepath.Join(dir, keptName)
			for file, text := range map[string]string{path: c.file, keptPath: c.kept} {
				if text == "-" {
					continue
				}
				if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			state := dir
			if c.noDir {
				state = ""
			}
			s, err := LoadInForce(path, state)
			if c.unit == "" {
				if err == nil {
					t.Fatalf("in force: %+v", s)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if s.Unit != c.unit || (s.fault == "") != (c.fault == "") || !strings.Contains(s.fault, c.fault) {
				t.Errorf("unit %s, fault %q", s.Unit, s.fault)
			}
			if c.fault != "" && (s.Manifest != filepath.Join(dir, "own.yaml") || !strings.Contains(s.Note(), "correct "+path) || !strings.Contains(s.Note(), c.fault)) {
				t.Errorf("manifest %s, note %q", s.Manifest, s.Note())
			}
		})
	}
}

// TestKeptSettingsDir: only the service that systemd runs keeps its settings.
func TestKeptSettingsDir(t *testing.T) {
	for told, want := range map[string]string{"/var/lib/kpls-agent": "/var/lib/kpls-agent", "": "", "/var/lib/other": ""} {
		if got := KeptDir(told); got != want {
			t.Errorf("%q: %q", told, got)
		}
	}
}

// TestSettingsKept: good settings are kept for the agent's user alone; bad ones replace nothing.
func TestSettingsKept(t *testing.T) {
	dir := t.TempDir()
	path, kept := filepath.Join(dir, "kpls-agent.yaml"), filepath.Join(dir, keptName)
	for _, step := range []struct{ file, kept string }{
		{"unit: a.service\n", "unit: a.service\n"},
		{"unit: b.service\n", "unit: b.service\n"},
		{"unti: c.service\n", "unit: b.service\n"},
	} {
		if err := os.WriteFile(path, []byte(step.file), 0o644); err != nil {
			t.Fatal(err)
		}
		s, err := LoadInForce(path, dir)
		if err == nil {
			err = s.Keep(dir)
		}
		if err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(kept)
		if err != nil || string(got) != step.kept {
			t.Errorf("%s: kept %q, %v", step.file, got, err)
		}
		if info, err := os.Stat(kept); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v %v", step.file, info.Mode(), err)
		}
	}
	if s, err := LoadInForce(path, dir); err != nil || s.Keep("") != nil {
		t.Error("without a directory nothing is kept, and nothing is wrong")
	}
}

// TestSettingsCorrected: only a file without a fault ends the wait.
func TestSettingsCorrected(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "kpls-agent.yaml")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
	}
	write("unti: x\n")
	log := &logLines{}
	logger := slog.New(slog.NewTextHandler(log, nil))
	w := config.NewWatcher(path, logger)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() { _ = w.Run(ctx) }()
	got := make(chan bool, 1)
	s := &InForce{path: path, fault: "an earlier fault"}
	go func() { got <- s.Corrected(ctx, w, logger) }()
	said := func(text string) {
		t.Helper()
		for deadline := time.Now().Add(patience.Long); !strings.Contains(log.String(), text); time.Sleep(10 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("the log has no %q: %s", text, log)
			}
		}
	}
	said("unti: unknown field")
	write("untie: x\n")
	said("untie: unknown field")
	select {
	case <-got:
		t.Fatal("a file with a fault counts as corrected")
	default:
	}
	write("unit: x.service\n")
	if !<-got {
		t.Error("not corrected")
	}
	s = &InForce{path: path}
	cancel()
	<-ctx.Done()
	write("unti: x\n")
	if s.Corrected(ctx, config.NewWatcher(path, logger), logger) {
		t.Error("corrected after the end")
	}
}

type logLines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logLines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logLines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}
