package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"example.com/kpls-agent/internal/config"
	"example.com/kpls-agent/internal/restart"
)

// finding is one line of `check`.
type finding struct {
	What string `json:"what"`
	OK   bool   `json:"ok"`
	Text string `json:"text,omitempty"`
}

func newCheck(s *shared) *cobra.Command {
	var output, manifest string
	var offline bool
	c := &cobra.Command{
		Use: "check", Short: "Check the manifest, the settings and this VM, and change nothing", Args: cobra.NoArgs,
		Long: "Checks the settings, the manifest, server.properties, the rights on it, the unit, and the login to Kafka.\n" +
			"Exits with 0 if all is well, 2 if a file is wrong, 1 if something else is.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if output != "table" && output != "json" {
				return invalid(fmt.Errorf("output %q is unknown; use table or json", output))
			}
			settings, err := LoadSettings(s.settingsPath)
			if err != nil {
				return invalid(err)
			}
			if manifest != "" {
				settings.Manifest = manifest
			}
			findings, code := checkAll(cmd.Context(), settings, offline)
			if err := printFindings(s, findings, output); err != nil {
				return err
			}
			if code != exitDone {
				return &exitError{code: code}
			}
			return nil
		},
	}
	c.Flags().StringVarP(&output, "output", "o", "table", "table or json")
	c.Flags().StringVar(&manifest, "manifest", "", "check this manifest `file` instead of the one in the settings")
	c.Flags().BoolVar(&offline, "offline", false, "do not ask Kafka and the unit")
	return c
}

func printFindings(s *shared, findings []finding, output string) error {
	if output == "json" {
		e := json.NewEncoder(s.stdout)
		e.SetIndent("", "  ")
		return e.Encode(findings)
	}
	for _, f := range findings {
		word := "ok   "
		if !f.OK {
			word = "FAULT"
		}
		if _, err := fmt.Fprintf(s.stdout, "%s  %s%s\n", word, f.What, colon(f.Text)); err != nil {
			return err
		}
	}
	return nil
}

// checkAll goes from what everything else stands on to what stands on it.
func checkAll(ctx context.Context, s *Settings, offline bool) (findings []finding, code int) {
	add := func(what string, err error, note string, bad int) bool {
		f := finding{What: what, OK: err == nil, Text: note}
		if err != nil {
			f.Text = err.Error()
			code = max(code, bad)
		}
		findings = append(findings, f)
		return err == nil
	}
	n, err := readNode(s.ServerProperties)
	known := add("server.properties", err, fmt.Sprintf("%s, broker %d, inter-broker listener %s at %s", s.ServerProperties, n.BrokerID, n.InterBroker.Name, n.address), exitUsage)
	data, err := os.ReadFile(s.Manifest)
	var m *config.Manifest
	if err == nil {
		m, err = config.ParseManifest(s.Manifest, data)
	}
	if add("manifest", err, s.Manifest, exitUsage) && known {
		st := &store{settings: s, id: n.BrokerID, log: slog.New(slog.DiscardHandler), current: m}
		if prev, err := os.ReadFile(st.path()); err == nil {
			if p, err := config.ParseManifest(st.path(), prev); err == nil {
				add("manifest after the one in force", config.CheckSuccession(p, m), "", exitUsage)
			}
		}
		f := &files{settings: s, id: n.BrokerID, store: st}
		r, _, err := f.render(m)
		note := "nothing to change"
		if err == nil && r.Changed {
			note = "it changes server.properties; `kpls-agent plan` shows how"
		}
		add("manifest for this broker", err, note, exitUsage)
	}
	dir := filepath.Dir(s.ServerProperties)
	if target, err := filepath.EvalSymlinks(s.ServerProperties); err == nil {
		dir = filepath.Dir(target)
	}
	add("right to replace server.properties", writable(dir), dir, exitFailed)
	add("state directory", writable(s.StateDir), s.StateDir, exitFailed)
	if offline || !known {
		return findings, code
	}
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	checkUnit(ctx, s, add)
	checkKafka(ctx, s, n, add)
	return findings, code
}

func writable(dir string) error {
	if err := unix.Access(dir, unix.W_OK|unix.X_OK); err != nil {
		return fmt.Errorf("the folder %s cannot be written by this user (%w); files in it are replaced by rename, which needs that", dir, err)
	}
	return nil
}

func checkUnit(ctx context.Context, s *Settings, add func(string, error, string, int) bool) {
	u, _, err := newUnit(s, slog.New(slog.DiscardHandler))
	what := "unit " + s.Unit
	if s.Unit == "" {
		what = "commands"
	}
	if err == nil {
		if f := u.State(ctx); f.State == restart.UnitUnknown {
			err = errors.New(f.Detail)
		} else {
			what += " is " + string(f.State)
		}
	}
	add(what, err, "", exitFailed)
}

func checkKafka(ctx context.Context, s *Settings, n node, add func(string, error, string, int) bool) {
	client, err := openKafka(s, n, slog.New(slog.DiscardHandler), nil)
	if !add("login to Kafka", err, "", exitFailed) {
		return
	}
	defer client.Close()
	version, err := client.Version(ctx)
	if !add("broker answers", err, "Kafka "+version, exitFailed) {
		return
	}
	_, err = client.BrokerConfig(ctx)
	add("broker tells its configuration", err, "", exitFailed)
	f := client.Observe(ctx)
	if f.Err != "" {
		err = errors.New(f.Err)
	}
	add("cluster can be seen", err, fmt.Sprintf("brokers %s, %d views in %s", joinIDs(f.Brokers), len(f.Views), f.Took.Round(time.Millisecond)), exitFailed)
	if f.QuorumErr != "" {
		add("quorum can be seen", errors.New(f.QuorumErr), "", exitFailed)
	}
}

func joinIDs(ids []int32) string {
	words := make([]string, len(ids))
	for i, id := range ids {
		words[i] = strconv.Itoa(int(id))
	}
	return strings.Join(words, ", ")
}
