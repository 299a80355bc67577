package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"example.com/kpls-agent/internal/config"
	"example.com/kpls-agent/internal/host"
	"example.com/kpls-agent/internal/kafka"
	"example.com/kpls-agent/internal/portuse"
	"example.com/kpls-agent/internal/restart"
	"example.com/kpls-agent/internal/settings"
	"example.com/kpls-agent/internal/setup"
)

// level says how much a finding matters.
type level string

const (
	levelOK      level = "ok"
	levelWarning level = "warning" // works, and may not some day
	levelFault   level = "fault"   // does not work
)

// finding is one line of `check`.
type finding struct {
	What  string `json:"what"`
	Level level  `json:"level"`
	// Text says what was found and, but for what is well, what to do.
	Text string `json:"text,omitempty"`

	code int // of the command, for a fault
}

func well(what, format string, args ...any) finding {
	return finding{What: what, Level: levelOK, Text: fmt.Sprintf(format, args...)}
}

func doubtful(what, format string, args ...any) finding {
	return finding{What: what, Level: levelWarning, Text: fmt.Sprintf(format, args...)}
}

func broken(what, format string, args ...any) finding {
	return finding{What: what, Level: levelFault, Text: fmt.Sprintf(format, args...), code: exitFailed}
}

// judged is what has one way to be wrong.
func judged(what string, err error, note string) finding {
	if err != nil {
		return broken(what, "%s", config.OneLine(err))
	}
	return well(what, "%s", note)
}

// ofFile makes a fault one of a file that is wrong.
func ofFile(f finding) finding {
	if f.Level == levelFault {
		f.code = exitUsage
	}
	return f
}

func newCheck(s *shared) *cobra.Command {
	var output, manifest string
	var offline bool
	c := &cobra.Command{
		Use: "check", Short: "Check the manifest, the settings and this VM, and change nothing", Args: cobra.NoArgs,
		Long: "Checks the settings, the manifest, server.properties, the rights on it, the unit and the right to restart it,\n" +
			"the ports, the login to Kafka and its rights, and the clock. Rights are those of who asks; root takes the user and\n" +
			"the groups of kpls-agent.service for its settings.\n" +
			"Exits with 0 if all is well but for warnings, 2 if a file is wrong, 1 if something else is.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if output != "table" && output != "json" {
				return invalid(fmt.Errorf("output %q is unknown; use table or json", output))
			}
			owners := portuse.SeeOwners() // while this is still root, if it was
			if os.Geteuid() == 0 && s.settingsPath == settings.DefaultPath {
				if err := become(cmd.Context(), setup.User+".service"); err != nil {
					return err
				}
			}
			vm, err := settings.Load(s.settingsPath)
			if err != nil {
				return invalid(err)
			}
			if manifest != "" {
				vm.Manifest = manifest
			}
			findings := checkAll(cmd.Context(), vm, owners, offline)
			if err := printFindings(s, findings, output); err != nil {
				return err
			}
			if code := codeOf(findings); code != exitDone {
				return &exitError{code: code}
			}
			return nil
		},
	}
	c.Flags().StringVarP(&output, "output", "o", "table", "table or json")
	c.Flags().StringVar(&manifest, "manifest", "", "check this manifest `file` instead of the one in the settings")
	c.Flags().BoolVar(&offline, "offline", false, "do not ask Kafka, systemd and the ports")
	return c
}

func codeOf(findings []finding) int {
	code := exitDone
	for _, f := range findings {
		code = max(code, f.code)
	}
	return code
}

func printFindings(s *shared, findings []finding, output string) error {
	if output == "json" {
		e := json.NewEncoder(s.stdout)
		e.SetIndent("", "  ")
		return e.Encode(findings)
	}
	words := map[level]string{levelOK: "ok", levelWarning: "warning", levelFault: "FAULT"}
	for _, f := range findings {
		if _, err := fmt.Fprintf(s.stdout, "%-7s  %s%s\n", words[f.Level], f.What, colon(f.Text)); err != nil {
			return err
		}
	}
	return nil
}

// checkAll goes from what everything else stands on to what stands on it.
func checkAll(ctx context.Context, s *settings.Settings, owners portuse.Owners, offline bool) []finding {
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	quiet := slog.New(slog.DiscardHandler)
	n, err := host.ReadNode(s)
	findings := append([]finding{checkNode(s, n, err)}, checkMount("server.properties", s.ServerProperties)...)
	findings = append(findings, checkLines(s.ServerProperties)...)
	if err != nil {
		return append(findings, checkPlaces(s)...)
	}
	m, desired, found := checkManifest(s, n)
	st := host.Holding(s, m)
	findings = append(findings, found...)
	findings = append(findings, checkPlaces(s)...)
	if offline {
		return findings
	}
	findings = append(findings, checkUnit(ctx, s)...)
	client, err := host.Dial(s, n, quiet, nil)
	if err != nil {
		return append(findings, judged("login to Kafka", err, ""))
	}
	defer client.Close()
	found, running, process := checkKafka(ctx, s, n, host.NewCluster(s, n, st, client), client)
	findings = append(findings, found...)
	findings = append(findings, checkListeners(ctx, s, n, desired, process.Listeners)...)
	findings = append(findings, checkPorts(ctx, s, owners, desired, process.Listeners)...)
	f := host.ViewFiles(s, n.BrokerID, st)
	f.Learned(process)
	return append(findings, checkRestart(ctx, s, n, f, running)...)
}

// checkRestart says whether the agent would restart this broker, as far as this VM knows: it
// walks the agent's own list. The lines before it say more of each.
func checkRestart(ctx context.Context, s *settings.Settings, n host.Node, f *host.Files, running restart.RunningFacts) []finding {
	u, _, err := host.NewUnit(s, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil // the lines on the unit say so
	}
	facts := restart.Facts{Now: time.Now(), Unit: u.State(ctx), Running: running}
	f.HeardBy(ctx, u)
	facts.Manifest = f.Manifest(facts.Running)
	if err := u.MayRestart(ctx); err != nil {
		facts.Right.Denied = err.Error()
	}
	unfit := restart.Unfit(n.BrokerID, facts)
	switch {
	case len(unfit) > 0:
		codes := make([]string, len(unfit))
		for i, r := range unfit {
			codes[i] = string(r.Code)
		}
		return []finding{doubtful("a restart of this broker", "the agent would not do it now (%s): %s", strings.Join(codes, ", "), unfit[0].Text)}
	case facts.Running.Err != "":
		return []finding{doubtful("a restart of this broker", "what the process runs cannot be seen: %s", facts.Running.Err)}
	case s.Unit == "":
		return []finding{doubtful("a restart of this broker", "nothing that the agent sees is in the way; what the commands do beyond the broker cannot be seen")}
	}
	return []finding{well("a restart of this broker", "nothing on this VM is in the way; `kpls-agent plan` looks at the cluster")}
}

// preflight tells the log at the start of the agent what is not well, as far as
// the agent does not say it anyway, and returns. The broker may be about to
// start beside it: it is waited for.
func preflight(ctx context.Context, s *settings.Settings, n host.Node, client *kafka.Client, log *slog.Logger) {
	ctx, cancel := context.WithTimeout(ctx, preflightTimeout)
	defer cancel()
	tell := func(findings ...finding) {
		for _, f := range findings {
			switch f.Level {
			case levelOK:
			case levelWarning:
				log.Warn("check", "what", f.What, "text", f.Text)
			case levelFault:
				log.Error("check", "what", f.What, "text", f.Text)
			}
		}
	}
	tell(checkLines(s.ServerProperties)...)
	tell(checkPlaces(s)...)
	tell(checkUnit(ctx, s)...)
	if err := answers(ctx, client); err != nil {
		if !errors.Is(ctx.Err(), context.Canceled) { // the agent ends
			tell(judged("login to Kafka", err, ""))
		}
		return
	}
	found, _, _ := checkKafka(ctx, s, n, host.NewCluster(s, n, host.Holding(s, nil), client), client)
	tell(found...)
}
