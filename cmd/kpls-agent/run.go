package main

import (
	"io"
	"log/slog"
	"os"
	"runtime/debug"

	"github.com/spf13/cobra"

	"example.com/kpls-agent/internal/daemon"
	"example.com/kpls-agent/internal/settings"
)

// gcPercent has the garbage collected earlier than by Go's default of 100: at rest about 1 MiB of the heap is in use,
// and 2 MiB of memory that nothing uses would stay with the process. GOGC in the environment overrides it.
const gcPercent = 50

func newRun(s *shared) *cobra.Command {
	return &cobra.Command{
		Use: "run", Short: "Run the agent (what the service does)", Args: noWords,
		RunE: func(cmd *cobra.Command, _ []string) error {
			dir := settings.KeptDir(os.Getenv("STATE_DIRECTORY"))
			vm, err := settings.LoadInForce(s.settingsPath, dir)
			if err != nil {
				return invalid(err)
			}
			if os.Getenv("GOGC") == "" {
				debug.SetGCPercent(gcPercent)
			}
			return daemon.Run(cmd.Context(), daemon.Options{
				Settings: vm, Kept: dir, Version: version, Nonce: nonce,
				Log: newLogger(vm.Settings, s.stderr),
			})
		},
	}
}

func newLogger(s *settings.Settings, w io.Writer) *slog.Logger {
	o := &slog.HandlerOptions{Level: s.LogLevel}
	if os.Getenv("JOURNAL_STREAM") != "" {
		o.ReplaceAttr = func(groups []string, a slog.Attr) slog.Attr {
			if len(groups) == 0 && a.Key == slog.TimeKey {
				return slog.Attr{} // the journal has the time
			}
			return a
		}
	}
	if s.LogJSON {
		return slog.New(slog.NewJSONHandler(w, o))
	}
	return slog.New(slog.NewTextHandler(w, o))
}
