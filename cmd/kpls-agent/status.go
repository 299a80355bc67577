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
	var output string
	c := &cobra.Command{
		Use: "status", Short: "Say what every broker does and why, or why not", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if output != "table" && output != "json" {
				return invalid(fmt.Errorf("output %q is unknown; use table or json", output))
			}
			if watch {
				return watchStatus(cmd.Context(), s, output)
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
			if err := show(s, view, output, screenOf(s)); err != nil || output == "json" {
				return err
			}
			return showOwn(ctx, s)
		},
	}
	c.Flags().BoolVarP(&watch, "watch", "w", false, "go on and show every change")
	c.Flags().StringVarP(&output, "output", "o", "table", "table or json")
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

func show(s *shared, v *restart.View, output string, scr screen) error {
	r := newReport(v, time.Now())
	if output == "json" {
		return r.json(s.stdout)
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
func watchStatus(ctx context.Context, s *shared, output string) error {
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
		inPlace := output == "table" && scr.width > 0
		if inPlace || facts.View.Next != last {
			last = facts.View.Next
			var b strings.Builder
			r := newReport(facts.View, time.Now())
			if output == "json" {
				err = r.json(&b)
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
