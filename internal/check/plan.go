package check

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"example.com/kpls-agent/internal/config"
	"example.com/kpls-agent/internal/host"
	"example.com/kpls-agent/internal/kafka"
	"example.com/kpls-agent/internal/restart"
	"example.com/kpls-agent/internal/settings"
)

// Ahead is what a command sees of this broker, the cluster and the log, as the agent here would.
type Ahead struct {
	VM       *settings.Settings
	Node     host.Node
	Manifest *config.Manifest
	Files    *host.Files
	Facts    restart.Facts
}

// LookAhead gathers facts as the agent does, and changes nothing.
func LookAhead(
	ctx context.Context, vm *settings.Settings, n host.Node, m *config.Manifest, client *kafka.Client,
	log restart.LogFacts,
) (Ahead, error) {
	st := host.Holding(vm, m)
	a := Ahead{VM: vm, Node: n, Manifest: m, Files: filesOf(vm, n, st)}
	c := host.NewCluster(vm, n, st, client)
	running, process := c.Ask(ctx)
	a.Files.Learned(process)
	cluster := c.Observe(ctx)
	var err error
	a.Facts, err = ownFacts(ctx, vm, a.Files, running)
	a.Facts.Log, a.Facts.Cluster = log, cluster
	return a, err
}

// filesOf are the files for a command, with the agent's journal where who asks may read it.
func filesOf(vm *settings.Settings, n host.Node, st *host.Store) *host.Files {
	f, err := host.OpenFiles(vm, n.BrokerID, st)
	if err != nil {
		return host.ViewFiles(vm, n.BrokerID, st) // what the agent has begun is in the log, too
	}
	return f
}

// ownFacts is what one VM knows without the log and the cluster.
func ownFacts(
	ctx context.Context, vm *settings.Settings, f *host.Files, running restart.RunningFacts,
) (restart.Facts, error) {
	u, _, err := host.NewUnit(vm, slog.New(slog.DiscardHandler))
	if err != nil {
		return restart.Facts{}, err
	}
	running.PortTaken = f.PortTaken(ctx, running)
	facts := restart.Facts{Now: time.Now(), Running: running, Journal: f.Journal()}
	f.HeardBy(ctx, u)
	facts.Manifest = f.Manifest(running)
	facts.Unit = u.State(ctx)
	facts.Right = restart.RightFacts{At: time.Now()}
	if err := u.MayRestart(ctx); err != nil {
		facts.Right.Denied = err.Error()
	}
	return facts, nil
}

// Plan is what `kpls-agent plan` prints.
type Plan struct {
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
	// Denied is what the broker's own agent says of a restart that systemd refuses to it and not to who asks, such as
	// root.
	Denied string `json:"denied,omitempty"`

	restart.Plan

	own           string // what the broker's own agent says, while its restart is under way
	overridesSeen bool   // of the broker's command line
}

// NewPlan plans on what was seen.
func NewPlan(a Ahead) *Plan {
	facts, id := a.Facts, a.Node.BrokerID
	r := &Plan{
		Broker: id, Manifest: a.Manifest.Hash, Plan: planOf(id, facts), Pending: facts.Manifest.Pending,
		Drops: facts.Manifest.Drops, Dropped: facts.Running.Dropped, LogDirs: facts.Running.LogDirs,
		LogDirsErr: facts.Running.LogDirsErr, Refusal: facts.Running.PortTaken, overridesSeen: a.Files.OverridesSeen(),
	}
	if facts.Manifest.Refusal != nil {
		r.Refusal = facts.Manifest.Refusal.Text()
	}
	if st, ok := facts.Log.View.Statuses[id]; ok {
		r.own = st.Reason.Text()
		if st.Reason.Code == restart.CodeRestartDenied && facts.Right.Denied == "" {
			r.Denied = st.Reason.Text()
		}
	}
	moves, _, unseen := host.Successor(a.VM, a.Manifest)
	if unseen != nil {
		r.Warnings = append(r.Warnings, unseen.Error())
	}
	r.Warnings = append(r.Warnings, moves...)
	if data, err := a.Files.Read(); err == nil {
		r.Warnings = append(r.Warnings, config.Oddities(a.VM.ServerProperties, data)...)
	}
	for _, e := range a.Files.Hidden() {
		r.Warnings = append(r.Warnings, HiddenText(e))
	}
	if rendered, _, err := a.Files.Render(a.Manifest); err == nil {
		r.Diff, r.Warnings = rendered.Diff, append(r.Warnings, rendered.Warnings...)
	}
	return r
}

// Differs is true where something is to be done or under way, or where that cannot be known.
func (r *Plan) Differs() bool {
	return r.NoAnswer != "" || r.Refusal != "" || r.Drift != "" || r.Diff != "" ||
		len(r.Order) > 0 || len(r.UnderWay) > 0
}

// Text is the plan for people.
func (r *Plan) Text() string {
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
	switch under := slices.Contains(r.UnderWay, r.Broker); {
	case under:
		fmt.Fprintf(&b, "process: its restart is under way%s\n", colon(r.own))
	case r.Drift != "":
		fmt.Fprintf(&b, "process: %s\n", r.Drift)
	case r.Refusal != "": // what it should run is not known
	case r.NoAnswer != "":
		fmt.Fprintf(&b, "process: does not tell what it runs: %s\n", r.NoAnswer)
	default:
		b.WriteString("process: runs what the manifest says\n")
	}
	r.changes(&b)
	if len(r.UnderWay) > 0 {
		fmt.Fprintf(&b, "restarts under way: %s\n", joinIDs(r.UnderWay))
	}
	if len(r.Order) > 0 {
		fmt.Fprintf(&b, "restarts, in this order: %s\n", joinIDs(r.Order))
	}
	for _, g := range r.Gates {
		if g.Passes {
			fmt.Fprintf(&b, "%s: passes\n", g.Name)
		} else {
			fmt.Fprintf(&b, "%s: %s\n", g.Name, g.Blocked)
		}
	}
	if r.Denied != "" {
		fmt.Fprintf(&b, "the agent of this broker says: %s (%s)\n", r.Denied, restart.CodeRestartDenied)
	}
	if r.Blocked != nil && r.Blocked.Text() != r.Refusal {
		fmt.Fprintf(&b, "now in the way: %s (%s)\n", r.Blocked.Text(), r.Blocked.Code)
	}
	for _, also := range r.Also {
		fmt.Fprintf(&b, "  and then: %s (%s)\n", also.Text(), also.Code)
	}
	if len(r.Unprotected) > 0 {
		fmt.Fprintf(&b, "not protected in any restart: %s\n", strings.Join(r.Unprotected, ", "))
	}
	return b.String()
}

// changes is what a restart brings and removes in addition to the manifest's lines.
func (r *Plan) changes(b *strings.Builder) {
	for _, e := range r.Pending {
		fmt.Fprintf(b, "a restart brings this too: %s\n", PendingText(e, r.overridesSeen))
	}
	for _, d := range r.Drops {
		fmt.Fprintf(b, "a restart removes this: %s\n", DropText(d, r.Broker))
	}
	for _, d := range r.Dropped {
		fmt.Fprintf(b, "not in force: %s\n", DroppedText(d, r.Broker))
	}
	for _, d := range r.LogDirs {
		if text := cmp.Or(d.Fault, d.Unseen); text != "" {
			fmt.Fprintf(b, "storage: %s\n", text)
		}
	}
	if r.LogDirsErr != "" {
		fmt.Fprintf(b, "storage: cannot be seen: %s\n", r.LogDirsErr)
	}
}

// colon puts a colon before what may be said in addition.
func colon(s string) string {
	if s == "" {
		return ""
	}
	return ": " + s
}
