package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"example.com/kpls-agent/internal/check"
	"example.com/kpls-agent/internal/host"
	"example.com/kpls-agent/internal/report"
	"example.com/kpls-agent/internal/restart"
	"example.com/kpls-agent/internal/settings"
)

// exitAttention is the exit code of `status --exit-code` where somebody has to see to something.
const exitAttention = 4

type statusOptions struct {
	watch, code bool
	output      output
}

func newStatus(s *shared) *cobra.Command {
	var o statusOptions
	c := &cobra.Command{
		Use: "status", Short: "Say what every broker does and why, or why not", Args: noWords,
		Long: "Prints how the cluster is, and one row for every broker of the manifest and of the cluster, with the\n" +
			"state of its agent, its phase, its probes, and the reason. The phase of an agent that is stopped or silent\n" +
			"is in brackets. With --watch, a terminal is drawn again at each change; otherwise each change is one line\n" +
			"with its time.\n" +
			"With --exit-code it exits with 0 if every broker runs what the manifest says and every agent runs, 3 if\n" +
			"work goes on, waits or is paused, 4 if somebody has to see to something.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case o.watch && o.code:
				return invalid(errors.New("--exit-code is for one report, and --watch goes on; leave one of them out"))
			case o.watch:
				return watchStatus(cmd.Context(), s, o)
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), commandTimeout)
			defer cancel()
			return statusOnce(ctx, s, o)
		},
	}
	c.Flags().BoolVarP(&o.watch, "watch", "w", false, "go on and show every change")
	c.Flags().BoolVar(&o.code, "exit-code", false, "exit with 3 or 4 where not all is done and well")
	o.output.flag(c.Flags())
	return c
}

func statusOnce(ctx context.Context, s *shared, o statusOptions) error {
	c, err := connect(ctx, s)
	if err != nil {
		return err
	}
	defer c.close()
	looked := make(chan around, 1)
	go func() { looked <- c.look(ctx) }()
	if _, err := c.read(ctx); err != nil {
		return err
	}
	a := <-looked
	r := reported(time.Now(), c.log.Facts(), a)
	if o.output == asJSON {
		err = writeJSON(s.stdout, r)
	} else {
		scr := screenOf(s)
		_, err = fmt.Fprint(s.stdout, r.Text(report.Style{
			Width: scr.width, Color: scr.color, Own: a.own, Explain: true,
		}))
	}
	if urgency := r.Worst.Urgency(); err == nil && o.code && urgency != report.Fine {
		return &exitError{code: map[report.Urgency]int{report.Wait: exitDiffers, report.Act: exitAttention}[urgency]}
	}
	return err
}

// around is what `status` shows next to the log.
type around struct {
	manifest *report.Manifest // this VM's
	brokers  []int32          // that are alive
	own      []string         // what only the agent of this VM knows
}

// reported is what is shown.
func reported(at time.Time, log restart.LogFacts, a around) report.Report {
	return report.New(report.Facts{
		At: at, View: log.View, Manifest: a.manifest, Brokers: a.brokers, NoTopic: log.Missing,
	})
}

// look asks for it. What cannot be had is left out: the log is what matters.
func (c *connection) look(ctx context.Context) around {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	own := make(chan []string, 1)
	go func() { own <- check.OwnProbes(check.AskNeighbour(ctx, c.vm.HTTPListen), time.Now()) }()
	a := around{manifest: manifestOf(c.vm)}
	a.brokers, _ = c.client.Brokers(ctx)
	a.own = <-own
	return a
}

func manifestOf(vm *settings.Settings) *report.Manifest {
	m, _ := host.Preview(vm).Get()
	if m == nil {
		return nil
	}
	out := &report.Manifest{
		Hash: m.Hash, Zones: m.Zones(), Table: m.NeedsTable(), Optional: m.Optional(),
		MaxUnavailable: m.Rollout.MaxUnavailable, Soak: m.Rollout.Soak, Absent: m.Absent,
	}
	for _, l := range m.Listeners {
		out.Listeners = append(out.Listeners, l.Name)
	}
	return out
}

// watchStatus redraws in place on a terminal. Elsewhere it prints one line for each change, or as JSON each new report.
func watchStatus(ctx context.Context, s *shared, o statusOptions) error {
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
	w := watcher{s: s, o: o, next: -1}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		// Asked after the log was read: what the cluster says of a broker is never older than what its agent says.
		facts, at := c.log.Facts(), time.Now()
		w.around = c.look(ctx)
		for changed := false; !changed && time.Since(at) < lookEvery; {
			if err := w.show(facts, time.Now()); err != nil {
				return err
			}
			select {
			case <-ctx.Done():
				return nil
			case <-tick.C:
			case <-c.log.Changed():
				changed = true
			}
		}
	}
}

// lookEvery is how often a command that watches asks for what the log does not say.
const lookEvery = 5 * time.Second

// watcher is what was shown last.
type watcher struct {
	s      *shared
	o      statusOptions
	around around
	next   int64 // of the log
	lines  int   // on the screen
	last   *report.Report
	failed string
}

func (w *watcher) show(log restart.LogFacts, now time.Time) error {
	r := reported(now, log, w.around)
	const unread = "the coordination log cannot be read now, this is what it said last: "
	text, scr := "", screenOf(w.s)
	switch {
	case w.o.output == asJSON:
		if log.View.Next == w.next {
			return nil
		}
		w.next = log.View.Next
		return writeJSON(w.s.stdout, r)
	case scr.width > 0:
		text = r.Text(report.Style{Width: scr.width, Rows: scr.height - overhead, Color: scr.color, Own: w.around.own})
		if log.Err != "" {
			text += report.Wrap(unread+log.Err+"\n", scr.width)
		}
		text = report.Page(text, scr.height)
		text, w.lines = report.Redraw(text, w.lines), strings.Count(text, "\n")
	default:
		for _, line := range r.Changes(w.last) {
			text += line + "\n"
		}
		if log.Err != w.failed && log.Err != "" {
			text += now.UTC().Format(time.RFC3339) + " " + unread + log.Err + "\n"
		}
		w.last, w.failed = &r, log.Err
	}
	_, err := fmt.Fprint(w.s.stdout, text)
	return err
}
