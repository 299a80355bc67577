package main

import (
	"context"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"example.com/kpls-agent/internal/check"
	"example.com/kpls-agent/internal/portuse"
	"example.com/kpls-agent/internal/settings"
	"example.com/kpls-agent/internal/unit"
)

func newCheck(s *shared) *cobra.Command {
	var out output
	var manifest string
	var offline bool
	c := &cobra.Command{
		Use: "check", Short: "Check the manifest, the settings and this VM, and change nothing", Args: noWords,
		Long: "Checks the settings, the manifest, server.properties, the rights on it, the unit and the right to " +
			"restart it,\n" +
			"the ports, the login to Kafka and its rights, and the clock. Rights are those of who asks; root takes " +
			"the user and\n" +
			"the groups of kpls-agent.service for its settings.\n" +
			"Exits with 0 if all is well but for warnings, 2 if a file is wrong, 1 if something else is.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			o := check.Options{
				Owners:  portuse.SeeOwners(), // while this is still root, if it was
				Offline: offline, Service: s.settingsPath == settings.DefaultPath, Version: version,
			}
			if manifest != "" {
				o.Manifest = check.ReadGiven(manifest)
			}
			kept := ""
			if o.Service {
				kept = settings.StateDirectory
			}
			if os.Geteuid() == 0 && o.Service {
				if err := check.Become(cmd.Context(), unit.AgentService); err != nil {
					return err
				}
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), commandTimeout)
			defer cancel()
			findings := check.All(ctx, s.settingsPath, kept, o)
			if err := printFindings(s, findings, out); err != nil {
				return err
			}
			if code := codeOf(findings); code != exitDone {
				return &exitError{code: code}
			}
			return nil
		},
	}
	out.flag(c.Flags())
	c.Flags().StringVar(&manifest, "manifest", "", "check this manifest `file`, read as who asks, instead of the one in the settings")
	c.Flags().BoolVar(&offline, "offline", false, "do not ask Kafka, systemd and the ports")
	return c
}

func codeOf(findings []check.Finding) int {
	code := exitDone
	for _, f := range findings {
		switch {
		case f.Level != check.Fault:
		case f.OfFile:
			code = max(code, exitUsage)
		default:
			code = max(code, exitFailed)
		}
	}
	return code
}

func printFindings(s *shared, findings []check.Finding, out output) error {
	if out == asJSON {
		return writeJSON(s.stdout, findings)
	}
	words := map[check.Level]string{check.OK: "ok", check.Warning: "warning", check.Fault: "FAULT"}
	for _, f := range findings {
		if _, err := fmt.Fprintf(s.stdout, "%-7s  %s%s\n", words[f.Level], f.What, colon(f.Text)); err != nil {
			return err
		}
	}
	return nil
}
