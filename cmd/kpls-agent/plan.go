package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"example.com/kpls-agent/internal/check"
	"example.com/kpls-agent/internal/config"
	"example.com/kpls-agent/internal/host"
	"example.com/kpls-agent/internal/restart"
	"example.com/kpls-agent/internal/settings"
)

func newPlan(s *shared) *cobra.Command {
	var o planOptions
	c := &cobra.Command{
		Use: "plan", Short: "Show what would be done, and what is in the way, without doing it", Args: cobra.NoArgs,
		Long: "Shows the change of server.properties, the order of restarts, the gates, and what blocks. Changes " +
			"nothing.\n" +
			"With --offline it needs no cluster and no settings, shows the change alone, and writes the new file to " +
			"--out,\n" +
			"also if nothing is to change: for configuration management and its CI.\n" +
			"Exits with 0 if nothing is to change, 3 if something is (or blocks), 2 if the input is refused.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.offline {
				return planOffline(s, o)
			}
			if o.in != "" || o.out != "" || o.kafkaVersion != "" || cmd.Flags().Changed("broker-id") {
				return invalid(errors.New("--server-properties, --broker-id, --kafka-version and --out belong to " +
					"--offline"))
			}
			return planOnline(cmd.Context(), s, o)
		},
	}
	f := c.Flags()
	f.BoolVar(&o.offline, "offline", false, "work on files alone")
	f.StringVar(&o.in, "server-properties", "", "`file` to start from; never changed")
	f.StringVar(&o.manifest, "manifest", "", "manifest `file`; default: the one in the settings")
	f.Int32Var(&o.broker, "broker-id", -1, "`id` of the broker; default: the one in the file")
	f.StringVar(&o.kafkaVersion, "kafka-version", "",
		"`version` of Kafka, such as 3.7.1; default: what every supported version takes")
	f.StringVar(&o.out, "out", "", "`file` for the result, - for standard output; a new one gets the mode of "+
		"--server-properties")
	o.output.flag(f)
	return c
}

type planOptions struct {
	offline           bool
	in, manifest, out string
	kafkaVersion      string
	output            output
	broker            int32
}

// planReport is what `plan` prints.
type planReport struct {
	Broker   int32    `json:"broker"`
	Manifest string   `json:"manifest"`
	Diff     string   `json:"diff"`
	Warnings []string `json:"warnings,omitempty"`
	Refusal  string   `json:"refusal,omitempty"`
	// Pending are other people's edits, which a restart brings too.
	Pending []restart.PendingEdit `json:"pending,omitempty"`
	// Drops and Dropped are dynamic settings that a restart removes, and those that one has removed.
	Drops   []restart.DynamicDrop `json:"drops,omitempty"`
	Dropped []restart.Dropped     `json:"dropped,omitempty"`
	LogDirs []restart.LogDir      `json:"log_dirs,omitempty"`
	// LogDirsErr is why the log directories are not known.
	LogDirsErr string `json:"log_dirs_error,omitempty"`

	overridesSeen bool // of the broker's command line
	restart.Plan
}

func planOnline(ctx context.Context, s *shared, o planOptions) error {
	vm, err := settings.Load(s.settingsPath)
	if err != nil {
		return invalid(err)
	}
	if o.manifest != "" {
		vm.Manifest = o.manifest
	}
	n, m, err := broker(vm)
	if err != nil {
		return invalid(err)
	}
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	c, err := connect(ctx, s)
	if err != nil {
		return err
	}
	defer c.close()
	report, err := lookAhead(ctx, vm, n, m, c)
	if err != nil {
		return err
	}
	if o.output == asJSON {
		err = writeJSON(s.stdout, report)
	} else {
		_, err = fmt.Fprint(s.stdout, report.text())
	}
	if err == nil && (report.Refusal != "" || report.Drift != "" || report.Diff != "" || len(report.Order) > 0) {
		return &exitError{code: exitDiffers}
	}
	return err
}

// broker reads which broker this VM has, and its manifest.
func broker(vm *settings.Settings) (host.Node, *config.Manifest, error) {
	n, err := host.ReadNode(vm)
	if err != nil {
		return n, nil, err
	}
	text, err := os.ReadFile(vm.Manifest)
	if err != nil {
		return n, nil, settings.Denied(fmt.Errorf("read the manifest: %w", err))
	}
	m, err := config.ParseManifest(vm.Manifest, text)
	return n, m, err
}

// look gathers facts as the agent does.
func look(
	ctx context.Context, vm *settings.Settings, n host.Node, m *config.Manifest, conn *connection,
) (restart.Facts, *host.Files, error) {
	st := host.Holding(vm, m)
	f, c := host.ViewFiles(vm, n.BrokerID, st), host.NewCluster(vm, n, st, conn.client)
	facts := restart.Facts{Now: time.Now()}
	_ = conn.sync(ctx) // what keeps it from being read is a fact as well
	facts.Log = conn.log.Facts()
	if facts.Log.Missing { // nobody has needed it yet: it has nothing to say
		facts.Log.At, facts.Log.Err = facts.Now, ""
	}
	running, process := c.Ask(ctx)
	f.Learned(process)
	running.PortTaken = f.PortTaken(ctx, running)
	facts.Running = running
	facts.Cluster = c.Observe(ctx)
	u, _, err := host.NewUnit(vm, slog.New(slog.DiscardHandler))
	if err != nil {
		return facts, nil, err
	}
	f.HeardBy(ctx, u)
	facts.Manifest = f.Manifest(facts.Running)
	facts.Unit = u.State(ctx)
	facts.Right = restart.RightFacts{At: time.Now()}
	if err := u.MayRestart(ctx); err != nil {
		facts.Right.Denied = err.Error()
	}
	return facts, f, nil
}

// lookAhead plans on what it sees.
func lookAhead(
	ctx context.Context, vm *settings.Settings, n host.Node, m *config.Manifest, conn *connection,
) (planReport, error) {
	facts, f, err := look(ctx, vm, n, m, conn)
	if err != nil {
		return planReport{}, err
	}
	r := planReport{Broker: n.BrokerID, Manifest: m.Hash, Plan: restart.NewPlan(n.BrokerID, facts)}
	r.Pending = facts.Manifest.Pending
	r.Drops, r.Dropped = facts.Manifest.Drops, facts.Running.Dropped
	r.LogDirs, r.LogDirsErr = facts.Running.LogDirs, facts.Running.LogDirsErr
	r.Refusal = facts.Running.PortTaken
	if facts.Manifest.Refusal != nil {
		r.Refusal = facts.Manifest.Refusal.Text()
	}
	r.overridesSeen = f.OverridesSeen()
	if data, err := f.Read(); err == nil {
		r.Warnings = config.Oddities(vm.ServerProperties, data)
	}
	for _, e := range f.Hidden() {
		r.Warnings = append(r.Warnings, check.HiddenText(e))
	}
	if rendered, _, err := f.Render(m); err == nil {
		r.Diff, r.Warnings = rendered.Diff, append(r.Warnings, rendered.Warnings...)
	}
	return r, nil
}

func (r planReport) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "broker %d, manifest %s\n", r.Broker, restart.Short(r.Manifest))
	switch {
	case r.Refusal != "":
		fmt.Fprintf(&b, "refused: %s\n", r.Refusal)
	case r.Diff == "":
		b.WriteString("server.properties: nothing to change\n")
	default:
		b.WriteString(strings.TrimRight(r.Diff, "\n") + "\n")
	}
	for _, w := range r.Warnings {
		fmt.Fprintln(&b, "warning:", w)
	}
	switch {
	case r.Drift != "":
		fmt.Fprintf(&b, "process: %s\n", r.Drift)
	case r.NoAnswer != "":
		fmt.Fprintf(&b, "process: does not tell what it runs: %s\n", r.NoAnswer)
	default:
		b.WriteString("process: runs what the manifest says\n")
	}
	for _, e := range r.Pending {
		fmt.Fprintf(&b, "a restart brings this too: %s\n", check.PendingText(e, r.overridesSeen))
	}
	for _, d := range r.Drops {
		fmt.Fprintf(&b, "a restart removes this: %s\n", check.DropText(d, r.Broker))
	}
	for _, d := range r.Dropped {
		fmt.Fprintf(&b, "not in force: %s\n", check.DroppedText(d, r.Broker))
	}
	for _, d := range r.LogDirs {
		if text := cmp.Or(d.Fault, d.Unseen); text != "" {
			fmt.Fprintf(&b, "storage: %s\n", text)
		}
	}
	if r.LogDirsErr != "" {
		fmt.Fprintf(&b, "storage: cannot be seen: %s\n", r.LogDirsErr)
	}
	if len(r.Order) > 0 {
		fmt.Fprintf(&b, "restarts, in this order: %s\n", strings.Trim(strings.ReplaceAll(fmt.Sprint(r.Order), " ",
			", "), "[]"))
	}
	for _, g := range r.Gates {
		if g.Passes {
			fmt.Fprintf(&b, "%s: passes\n", g.Name)
		} else {
			fmt.Fprintf(&b, "%s: %s\n", g.Name, g.Blocked)
		}
	}
	if r.Blocked != nil && r.Drift != "" {
		fmt.Fprintf(&b, "now in the way: %s (%s)\n", r.Blocked.Text(), r.Blocked.Code)
		for _, also := range r.Also {
			fmt.Fprintf(&b, "  and then: %s (%s)\n", also.Text(), also.Code)
		}
	}
	if len(r.Unprotected) > 0 {
		fmt.Fprintf(&b, "not protected in any restart: %s\n", strings.Join(r.Unprotected, ", "))
	}
	return b.String()
}
