package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"example.com/kpls-agent/internal/check"
	"example.com/kpls-agent/internal/host"
	"example.com/kpls-agent/internal/settings"
	"example.com/kpls-agent/internal/setup"
	"example.com/kpls-agent/internal/unit"
)

func newSetup(s *shared) *cobra.Command {
	var dry, undo bool
	c := &cobra.Command{
		Use: "setup", Short: "Give the service the rights that this VM's settings ask for", Args: noWords,
		Long: "Reads the settings and gives the service, which is not root, what it needs on this VM and no more:\n" +
			"to restart the broker's unit, to replace server.properties, to read the files with its secrets, to have the\n" +
			"broker's own Kafka judge a new server.properties (as the broker's user), and to start before the broker does.\n" +
			"It writes\n\n" +
			"  " + setup.DropInPath + "\n  " + host.JudgeDropIn + "\n  " + setup.RulePath + "\n  " + setup.OverridePath + "\n\n" +
			"and access control lists. The last file keeps needrestart from restarting the broker. What the unit runs\n" +
			"and the service cannot read, such as a script that only root can read, it writes down for the service in\n" +
			host.SeenPath + ". Faults of the unit are left to be corrected by hand.\n\n" +
			"Prints each thing that it changes; a second time it changes nothing. Run it again after a change of the\n" +
			"settings, then `systemctl restart kpls-agent`. The package runs it when it is installed and upgraded, and\n" +
			"with --undo before it is removed.\n\n" +
			"Exits with 1 if something is left to be done by hand, 3 if --dry-run found something to change.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if os.Geteuid() != 0 {
				return errors.New("only root may give rights; run it with sudo")
			}
			u := &setup.Setup{
				DropIn: setup.DropInPath, Rule: setup.RulePath, Override: setup.OverridePath,
				Seen: host.SeenPath, JudgeDropIn: host.JudgeDropIn, Dry: dry,
				Say: func(format string, args ...any) { fmt.Fprintf(s.stdout, format+"\n", args...) },
			}
			var err error
			if u.Who, err = setup.LookUp(setup.User); err != nil {
				return err
			}
			if unit.Booted() {
				m, err := unit.NewManager(cmd.Context())
				if err != nil {
					return err
				}
				defer m.Close()
				if u.Version, err = m.Version(); err != nil {
					return err
				}
				u.Reload, u.Names, u.Judge, u.Broker = m.Reload, m.Names, judgeUnit, host.UnitSetup
			}
			if undo {
				return u.Undo(cmd.Context())
			}
			// The password is the service's to read, perhaps from its own environment.
			vm, err := settings.LoadAlone(s.settingsPath)
			if err != nil {
				// Whatever the settings say, the hook of this very installation must restart no broker.
				return errors.Join(invalid(err), u.Protect(settings.DefaultUnit))
			}
			came, err := u.Apply(cmd.Context(), s.settingsPath, vm)
			if err != nil {
				return err
			}
			switch came {
			case setup.Done:
			case setup.Left:
				return &exitError{code: exitFailed}
			case setup.Differs:
				return &exitError{code: exitDiffers}
			}
			return nil
		},
	}
	c.Flags().BoolVar(&dry, "dry-run", false, "change nothing, only say what would be changed")
	c.Flags().BoolVar(&undo, "undo", false, "take back all that setup has given")
	return c
}

// judgeUnit is what check says of the unit, as far as it has to be corrected.
func judgeUnit(
	ctx context.Context, vm *settings.Settings, hidden func(path string) bool) ([]string, *unit.Seen, error,
) {
	faults, seen, err := check.UnitFaults(ctx, vm, hidden)
	var lines []string
	for _, f := range faults {
		lines = append(lines, fmt.Sprintf("%s: %s", f.What, f.Text))
	}
	return lines, seen, err
}
