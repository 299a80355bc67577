package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"example.com/kpls-agent/internal/check"
	"example.com/kpls-agent/internal/restart"
)

// report is the whole cluster as `kpls-agent status` shows it, in the order of
// the coordination log's own words.
type report struct {
	At       time.Time        `json:"at"`
	Cluster  string           `json:"cluster,omitempty"`
	Manifest string           `json:"manifest,omitempty"`
	State    string           `json:"state"` // idle, rolling, waiting, paused, halted, unreadable
	Pause    *restart.Pause   `json:"pause,omitempty"`
	Halts    []restart.Halt   `json:"halts,omitempty"`
	Request  *restart.Request `json:"restart_request,omitempty"`
	Claims   []claimRow       `json:"claims,omitempty"`
	Active   []string         `json:"active_listeners,omitempty"`
	Foreign  []string         `json:"unreadable_records,omitempty"`
	Ignored  []string         `json:"ignored_records,omitempty"`
	Brokers  []brokerRow      `json:"brokers"`
}

type claimRow struct {
	Broker int32     `json:"broker"`
	At     time.Time `json:"at"`
}

type brokerRow struct {
	restart.Status
	Seen   time.Time `json:"seen"`
	Silent bool      `json:"silent"`
}

// atRest is true for a broker of which there is nothing to tell.
func (b brokerRow) atRest() bool {
	return b.Phase == restart.PhaseIdle && !b.Drift && !b.Silent && b.ManifestFault == ""
}

// newReport makes the report of a view as of now.
func newReport(v *restart.View, now time.Time) report {
	r := report{At: now, Pause: v.Pause, Request: v.Request(), Brokers: []brokerRow{}}
	hashes := map[string]bool{}
	drift, busy := false, false
	for _, id := range slices.Sorted(maps.Keys(v.Statuses)) {
		st := v.Statuses[id]
		row := brokerRow{Status: st, Seen: st.Seen, Silent: now.Sub(st.Seen) > 4*restart.Heartbeat(len(v.Statuses))}
		r.Brokers = append(r.Brokers, row)
		hashes[st.Manifest] = true
		drift = drift || st.Drift
		switch st.Phase {
		case restart.PhaseApplying, restart.PhaseRestarting, restart.PhaseStarting, restart.PhaseCatchingUp,
			restart.PhaseBalancer, restart.PhaseSoaking, restart.PhaseRollback:
			busy = true
		default:
		}
		if r.Cluster == "" {
			r.Cluster = st.Cluster
		}
	}
	if len(hashes) == 1 {
		r.Manifest = slices.Collect(maps.Keys(hashes))[0]
	}
	for _, key := range slices.Sorted(maps.Keys(v.Halts)) {
		if h := v.Halts[key]; hashes[h.Manifest] {
			r.Halts = append(r.Halts, h)
		}
	}
	for _, c := range v.Claims {
		r.Claims = append(r.Claims, claimRow{c.Broker, c.At})
	}
	r.Active = slices.Sorted(maps.Keys(v.Active))
	r.Foreign, r.Ignored = slices.Sorted(maps.Values(v.Foreign)), slices.Sorted(maps.Values(v.Ignored))
	switch {
	case len(r.Foreign) > 0:
		r.State = "unreadable"
	case v.Pause != nil:
		r.State = "paused"
	case len(r.Halts) > 0 && !busy:
		r.State = "halted"
	case busy:
		r.State = "rolling"
	case drift || len(r.Claims) > 0:
		r.State = "waiting"
	default:
		r.State = "idle"
	}
	return r
}

// ignoredLines is how many records that are ignored a table names.
const ignoredLines = 3

// table prints one line a broker, and above it what holds for all. With more
// brokers than rows those at rest are only counted; 0 rows are enough for any number.
func (r report) table(w io.Writer, rows int) error {
	if len(r.Brokers) == 0 {
		_, err := fmt.Fprintln(w, "no agent has reported yet")
		return err
	}
	fmt.Fprintf(w, "cluster %s   manifest %s   %s%s\n", orDash(r.Cluster),
		cmp.Or(restart.Short(r.Manifest), "differs"), r.State, r.listeners())
	if r.Pause != nil {
		fmt.Fprintf(w, "paused by %s %s ago%s\n", r.Pause.By, check.Elapsed(r.At.Sub(r.Pause.At)),
			colon(r.Pause.Why))
	}
	for _, h := range r.Halts {
		fmt.Fprintf(w, "halted by broker %d %s ago: %s\n", h.Broker, check.Elapsed(r.At.Sub(h.At)), h.Why)
	}
	if r.Request != nil {
		fmt.Fprintf(w, "rolling restart asked for by %s %s ago\n", r.Request.By, check.Elapsed(r.At.Sub(r.Request.At)))
	}
	for _, f := range r.Foreign {
		fmt.Fprintln(w, f)
	}
	for _, i := range r.Ignored[:min(len(r.Ignored), ignoredLines)] {
		fmt.Fprintln(w, i)
	}
	if n := len(r.Ignored) - ignoredLines; n > 0 {
		fmt.Fprintf(w, "and %d more records are ignored; `kpls-agent status -o json` names them\n", n)
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "BROKER\tZONE\tPHASE\tFOR\tMANIFEST\tDRIFT\tPROBES\tWHY")
	quiet := 0
	for _, b := range r.Brokers {
		if rows > 0 && len(r.Brokers) > rows && b.atRest() {
			quiet++
			continue
		}
		why := b.Reason.Text()
		if b.Silent {
			why = fmt.Sprintf("nothing heard for %s; before that: %s", check.Elapsed(r.At.Sub(b.Seen)), why)
		}
		if b.ManifestFault != "" {
			why += " [the manifest file is not in force: " + b.ManifestFault + "]"
		}
		fmt.Fprintf(t, "%d\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", b.Broker, orDash(b.Zone), b.Phase,
			check.Elapsed(r.At.Sub(b.Since)), orDash(restart.Short(b.Manifest)), yes(b.Drift), probes(b.Status), why)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if quiet > 0 {
		fmt.Fprintf(w, "and %d brokers at rest\n", quiet)
	}
	if u := r.unprotected(); len(u) > 0 {
		fmt.Fprintf(w, "not protected in any restart, since they have no more replicas than min.insync.replicas: %s\n",
			strings.Join(u, ", "))
	}
	return nil
}

func (r report) listeners() string {
	if len(r.Active) == 0 {
		return ""
	}
	return "   probes active: " + strings.Join(r.Active, ", ")
}

func (r report) unprotected() []string {
	all := map[string]bool{}
	for _, b := range r.Brokers {
		for _, t := range b.Unprotected {
			all[t] = true
		}
	}
	list := slices.Sorted(maps.Keys(all))
	if len(list) > 10 {
		list = append(list[:10], "...")
	}
	return list
}

// probes says open, or serving and closed (not activated), for each listener.
func probes(st restart.Status) string {
	var out []string
	for _, name := range st.Open {
		out = append(out, name+":open")
	}
	for _, name := range st.Serving {
		if !slices.Contains(st.Open, name) {
			out = append(out, name+":serving")
		}
	}
	return orDash(strings.Join(out, ","))
}

func orDash(s string) string { return cmp.Or(s, "-") }

func colon(s string) string {
	if s == "" {
		return ""
	}
	return ": " + s
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}
