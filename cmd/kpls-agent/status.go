package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"example.com/kpls-agent/internal/restart"
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
			return show(s, view, output)
		},
	}
	c.Flags().BoolVarP(&watch, "watch", "w", false, "go on and show every change")
	c.Flags().StringVarP(&output, "output", "o", "table", "table or json")
	return c
}

func show(s *shared, v *restart.View, output string) error {
	r := newReport(v, time.Now())
	if output == "json" {
		return r.json(s.stdout)
	}
	if len(r.Brokers) == 0 {
		_, err := fmt.Fprintln(s.stdout, "no agent has reported yet")
		return err
	}
	return r.table(s.stdout)
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
	inPlace := output == "table" && isTerminal(s)
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	lines, last := 0, int64(-1)
	for {
		facts := c.log.Facts()
		if inPlace || facts.View.Next != last {
			last = facts.View.Next
			var b strings.Builder
			if err := show(&shared{stdout: &b}, facts.View, output); err != nil {
				return err
			}
			if facts.Err != "" {
				fmt.Fprintf(&b, "the coordination log cannot be read now, this is what it said last: %s\n", facts.Err)
			}
			text := b.String()
			if inPlace {
				text = clip(text, s)
				if lines > 0 {
					fmt.Fprintf(s.stdout, "\x1b[%dA\x1b[J", lines)
				}
				lines = strings.Count(text, "\n")
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

type fder interface{ Fd() uintptr }

func isTerminal(s *shared) bool {
	f, ok := s.stdout.(fder)
	return ok && term.IsTerminal(int(f.Fd()))
}

// clip cuts lines at the terminal's width: a wrapped line would spoil the redrawing.
func clip(text string, s *shared) string {
	width := 120
	if f, ok := s.stdout.(fder); ok {
		if w, _, err := term.GetSize(int(f.Fd())); err == nil {
			width = w
		}
	}
	var b strings.Builder
	for line := range strings.Lines(text) {
		r := []rune(strings.TrimSuffix(line, "\n"))
		if len(r) > width && width > 1 {
			r = append(r[:width-1], '…')
		}
		b.WriteString(string(r) + "\n")
	}
	return b.String()
}
