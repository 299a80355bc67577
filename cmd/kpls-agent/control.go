package main

import (
	"os"
	"os/user"
	"time"

	"github.com/spf13/cobra"

	"example.com/kpls-agent/internal/orders"
	"example.com/kpls-agent/internal/report"
	"example.com/kpls-agent/internal/restart"
)

// operator names who gives an order, as far as that is known.
func operator() string {
	name := "somebody"
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	if sudo := os.Getenv("SUDO_USER"); sudo != "" {
		name = sudo
	}
	if host, err := os.Hostname(); err == nil {
		name += "@" + host
	}
	return name
}

func newPause(s *shared) *cobra.Command {
	var why string
	c := &cobra.Command{
		Use: "pause", Short: "Let no further broker be restarted until `resume`", Args: noWords,
		Long: "Lets no further broker be restarted until `kpls-agent resume`. A restart that is under way is " +
			"finished.\nIt never asks.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return command{s: s, yes: true}.give(cmd.Context(), func(*restart.View, orders.Plan) (orders.Order, error) {
				return orders.Pause(operator(), why, time.Now()), nil
			})
		},
	}
	c.Flags().StringVar(&why, "why", "", "`reason` shown to others")
	return c
}

func newResume(s *shared) *cobra.Command {
	o := command{s: s}
	c := &cobra.Command{
		Use: "resume", Short: "End a pause, and try a manifest again that was halted", Args: noWords,
		Long: "Ends a pause, and lets a manifest be tried again that was halted. The agents then restart the brokers\n" +
			"that differ from the manifest. " + asks,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return o.give(cmd.Context(), func(v *restart.View, plan orders.Plan) (orders.Order, error) {
				return orders.Resume(v, plan), nil
			})
		},
	}
	o.flag(c)
	return c
}

func newRestart(s *shared) *cobra.Command {
	var cancel bool
	o := command{s: s}
	c := &cobra.Command{
		Use: "restart", Short: "Restart every broker once, one safe step at a time, without a change",
		Args: noWords,
		Long: "Restarts every broker of the cluster once, with the same gates as a roll-out, without a change of\n" +
			"server.properties. `systemctl restart kpls-agent` restarts the agent of this VM alone, and no broker.\n" +
			asks + "\n\n" +
			"With --cancel it takes the rolling restart back: a broker that is being restarted finishes, and no other\n" +
			"one begins. That never asks.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if cancel {
				o.yes = true
				return o.give(cmd.Context(), func(v *restart.View, _ orders.Plan) (orders.Order, error) {
					return orders.Cancel(v), nil
				})
			}
			q := restart.Request{ID: nonce(), By: operator(), At: time.Now()}
			return o.give(cmd.Context(), func(v *restart.View, plan orders.Plan) (orders.Order, error) {
				return orders.Restart(v, q, plan)
			})
		},
	}
	o.flag(c)
	c.Flags().BoolVar(&cancel, "cancel", false, "take a rolling restart back for the brokers that have not begun")
	return c
}

func newRelease(s *shared) *cobra.Command {
	var broker int32
	o := command{s: s}
	c := &cobra.Command{
		Use: "release --broker N", Short: "Remove the claim of a broker whose VM is gone for good", Args: noWords,
		Long: "Removes the claim of a broker, so the others may continue. Only for a broker whose VM is gone for good or\n" +
			"whose agent cannot be brought back: if that broker is in the middle of a restart, another one may then go\n" +
			"down at the same time.\n" + asks,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return o.give(cmd.Context(), func(v *restart.View, _ orders.Plan) (orders.Order, error) {
				return orders.Release(v, broker, operator(), time.Now(), report.Elapsed)
			})
		},
	}
	c.Flags().Int32Var(&broker, "broker", 0, "`id` of the broker")
	o.flag(c)
	_ = c.MarkFlagRequired("broker") // fails only for a flag that does not exist
	return c
}
