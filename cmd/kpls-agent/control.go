package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/user"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"example.com/kpls-agent/internal/check"
	"example.com/kpls-agent/internal/restart"
)

// commandTimeout bounds what a command waits for Kafka.
const commandTimeout = 20 * time.Second

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

// order reads the log to its end, lets f say what to append, and appends it.
func order(ctx context.Context, s *shared, f func(*restart.View) ([]restart.Record, string, error)) error {
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	c, err := connect(ctx, s)
	if err != nil {
		return err
	}
	defer c.close()
	view, err := c.read(ctx)
	if err != nil {
		return err
	}
	records, done, err := f(view)
	if err != nil {
		return err
	}
	if len(records) > 0 {
		if err := c.log.Append(ctx, records...); err != nil {
			return fmt.Errorf("write to the coordination log: %w; it is not known whether it was written, "+
				"`kpls-agent status` shows it", err)
		}
		if n := c.log.Made(); n > 0 {
			done = fmt.Sprintf("there was no coordination topic yet; it is made, replicas: %d\n", n) + done
		}
	}
	_, err = fmt.Fprintln(s.stdout, done)
	return err
}

func newPause(s *shared) *cobra.Command {
	var why string
	c := &cobra.Command{
		Use: "pause", Short: "Let no further broker be restarted until `resume`", Args: cobra.NoArgs,
		Long: "Lets no further broker be restarted until `kpls-agent resume`. A restart that is under way is ended " +
			"first.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return order(cmd.Context(), s, func(*restart.View) ([]restart.Record, string, error) {
				return []restart.Record{restart.NewPause(restart.Pause{By: operator(), Why: why, At: time.Now()})},
					"paused; `kpls-agent resume` ends it", nil
			})
		},
	}
	c.Flags().StringVar(&why, "why", "", "`reason` shown to others")
	return c
}

func newResume(s *shared) *cobra.Command {
	return &cobra.Command{
		Use: "resume", Short: "End a pause, and try a manifest again that was halted", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return order(cmd.Context(), s, func(v *restart.View) ([]restart.Record, string, error) {
				var records []restart.Record
				var did []string
				if v.Pause != nil {
					records = append(records, restart.NewResume())
					did = append(did, "the pause by "+v.Pause.By+" has ended")
				}
				for _, hash := range slices.Sorted(maps.Keys(v.Halts)) {
					records = append(records, restart.NewUnhalt(hash))
					did = append(did, fmt.Sprintf("manifest %s, which broker %d had halted, may be tried again",
						restart.Short(hash), v.Halts[hash].Broker))
				}
				if len(records) == 0 {
					return nil, "nothing was paused or halted", nil
				}
				return records, strings.Join(did, "\n"), nil
			})
		},
	}
}

func newRestart(s *shared) *cobra.Command {
	return &cobra.Command{
		Use: "restart", Short: "Restart every broker once, one safe step at a time, without a change",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return order(cmd.Context(), s, func(v *restart.View) ([]restart.Record, string, error) {
				if q := v.Request(); q != nil {
					return nil, "", fmt.Errorf("a rolling restart asked for by %s is under way; `kpls-agent status "+
						"--watch` shows it", q.By)
				}
				q := restart.Request{ID: nonce(), By: operator(), At: time.Now()}
				return []restart.Record{restart.NewRequest(q)},
					"asked for a rolling restart; `kpls-agent status --watch` shows it", nil
			})
		},
	}
}

func newRelease(s *shared) *cobra.Command {
	var broker int32
	var sure bool
	c := &cobra.Command{
		Use: "release --broker N", Short: "Remove the claim of a broker whose VM is gone for good", Args: cobra.NoArgs,
		Long: "Removes the claim of a broker, so the others may continue. Only for a broker whose VM is gone for " +
			"good or\n" +
			"whose agent cannot be brought back: if it is in the middle of a restart, another broker may then go " +
			"down at the same time.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return order(cmd.Context(), s, func(v *restart.View) ([]restart.Record, string, error) {
				claim, _, ok := v.Claim(broker)
				if !ok {
					return nil, "", fmt.Errorf("broker %d holds no claim%s", broker, holders(v))
				}
				st := v.Statuses[broker]
				fmt.Fprintf(s.stdout, "broker %d claimed a restart %s ago and was last heard of %s ago, %s: %s\n",
					broker,
					check.Elapsed(time.Since(claim.At)), check.Elapsed(time.Since(st.Seen)), st.Phase, st.Reason.Text())
				if !sure {
					if err := confirm(s, fmt.Sprintf("Type %d to remove its claim: ", broker),
						fmt.Sprint(broker)); err != nil {
						return nil, "", err
					}
				}
				return []restart.Record{
					restart.NewTakeover(operator(), claim, "kpls-agent release", time.Now()),
					restart.NewRelease(claim.Key),
				}, fmt.Sprintf("the claim of broker %d is removed", broker), nil
			})
		},
	}
	c.Flags().Int32Var(&broker, "broker", 0, "`id` of the broker")
	c.Flags().BoolVar(&sure, "yes", false, "do not ask")
	_ = c.MarkFlagRequired("broker") // fails only for a flag that does not exist
	return c
}

func holders(v *restart.View) string {
	if len(v.Claims) == 0 {
		return "; nobody does"
	}
	var ids []string
	for _, c := range v.Claims {
		ids = append(ids, fmt.Sprint(c.Broker))
	}
	return "; held by broker " + strings.Join(ids, ", ")
}

// confirm asks on the terminal; anything but want is a no.
func confirm(s *shared, question, want string) error {
	fmt.Fprint(s.stdout, question)
	line, err := bufio.NewReader(s.stdin).ReadString('\n')
	if strings.TrimSpace(line) != want {
		if err != nil && line == "" {
			return errors.New("not confirmed: nobody answered; use --yes where nobody can")
		}
		return errors.New("not confirmed; nothing was changed")
	}
	return nil
}
