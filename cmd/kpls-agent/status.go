package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"example.com/kpls-agent/internal/check"
	"example.com/kpls-agent/internal/restart"
	"example.com/kpls-agent/internal/settings"
)

func newStatus(s *shared) *cobra.Command {
	var watch bool
	var out output
	c := &cobra.Command{
		Use: "status", Short: "Say what every broker does and why, or why not", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if watch {
				return watchStatus(cmd.Context(), s, out)
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), commandTimeout)
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
			if err := show(s, view, out, screenOf(s)); err != nil || out == asJSON {
				return err
			}
			if err := showOwn(ctx, s); err != nil {
				return err
			}
			_, err = fmt.Fprint(s.stdout, explainHint(view))
			return err
		},
	}
	c.Flags().BoolVarP(&watch, "watch", "w", false, "go on and show every change")
	out.flag(c.Flags())
	return c
}

// showOwn prints what only the agent of this VM knows.
func showOwn(ctx context.Context, s *shared) error {
	vm, err := settings.Load(s.settingsPath)
	if err != nil {
		return invalid(err)
	}
	_, err = fmt.Fprint(s.stdout, check.OwnProbes(check.AskNeighbour(ctx, vm.HTTPListen), time.Now()))
	return err
}

func show(s *shared, v *restart.View, out output, scr screen) error {
	r := newReport(v, time.Now())
	if out == asJSON {
		return writeJSON(s.stdout, r)
	}
	if scr.width == 0 {
		return r.table(s.stdout, 0)
	}
	var b strings.Builder
	if err := r.table(&b, 0); err != nil {
		return err
	}
	_, err := fmt.Fprint(s.stdout, scr.wrap(b.String()))
	return err
}

// watchStatus redraws in place on a terminal, and prints each picture below the
// last one otherwise, then only when something changed.
func watchStatus(ctx context.Context, s *shared, out output) error {
	c, err := connect(ctx, s)
	if err != nil {
		return err
	}
	defer c.close()
	first, cancel := context.WithTimeout(ctx, commandTimeout)
	_, err = c.read(first)
	cancel()
	if err != nil {
		return err
	}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	lines, last := 0, int64(-1)
	for {
		facts, scr := c.log.Facts(), screenOf(s)
		inPlace := out == asTable && scr.width > 0
		if inPlace || facts.View.Next != last {
			last = facts.View.Next
			var b strings.Builder
			r := newReport(facts.View, time.Now())
			if out == asJSON {
				err = writeJSON(&b, r)
			} else {
				err = r.table(&b, scr.height-overhead)
			}
			if err != nil {
				return err
			}
			if facts.Err != "" {
				fmt.Fprintf(&b, "the coordination log cannot be read now, this is what it said last: %s\n", facts.Err)
			}
			text := b.String()
			if inPlace {
				text = scr.page(text)
				text, lines = redraw(text, lines), strings.Count(text, "\n")
			}
			if _, err := fmt.Fprint(s.stdout, text); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-c.log.Changed():
		}
	}
}
