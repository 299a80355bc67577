package explore

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"example.com/kpls-agent/internal/agent"
	"example.com/kpls-agent/internal/restart"
)

// battery is what every change of the decisions has to pass: part of `make test`. First shapes and
// manifests, then each fault in a small cluster, then faults where they are hardest.
var battery = slices.Concat([]config{
	{name: "1 broker", n: 1, budgets: []budget{{"crash", 1}, {"delay", 2}}},
	{name: "1 broker, exits", n: 1, versions: []version{first.which("exits")}, budgets: []budget{{"crash", 1}, {"delay", 1}}},
	{name: "1 broker, hangs", n: 1, versions: []version{first.which("hangs")}, budgets: []budget{{"crash", 1}}},
	{name: "1 broker, loops", n: 1, before: first, versions: []version{second.which("loops")}, budgets: []budget{{"crash", 1}}},
	{name: "1 broker, dynamic configuration and delay", n: 1, budgets: []budget{{"dynamic configuration", 1}, {"delay", 2}}},
	{name: "1 broker, wrong, restart by hand", n: 1, before: first, versions: []version{second.which("wrong")}, budgets: []budget{{"restart by hand", 1}}},
	{name: "2 brokers, loops", n: 2, before: first, versions: []version{second.which("loops")}, heavy: true},
	{name: "2 brokers, wrong, crash", n: 2, before: first, versions: []version{second.which("wrong")}, budgets: []budget{{"crash", 1}}},
	{name: "2 brokers, manifests one by one", n: 2, oneByOne: true},
	{name: "2 brokers, the port taken at one", n: 2, versions: []version{{listeners: first.listeners, refusedBy: 2, portTaken: true}, second}},
	{name: "2 brokers, the port taken at one, kill", n: 2, only: 2, versions: []version{{listeners: first.listeners, refusedBy: 2, portTaken: true}}, budgets: []budget{{"kill", 1}}},
	{name: "2 brokers, refused by one", n: 2, versions: []version{{listeners: first.listeners, refusedBy: 2}, second}},
	{name: "2 brokers, one zone, two together", n: 2, zones: "aa", most: 2, need: 1, budgets: []budget{{"stale read", 1}}},
	{name: "2 brokers, two manifests in a row", n: 2, versions: []version{first, second}},
	{name: "2 brokers, bad manifest, corrected", n: 2, versions: []version{first, second.which("exits"), third}, heavy: true},
	{name: "2 brokers, a hidden value", n: 2, before: first, versions: []version{secret}, budgets: []budget{{"crash", 1}}},
	{name: "1 broker, a hidden value, restart by hand", n: 1, before: first, versions: []version{secret}, budgets: []budget{{"restart by hand", 1}, {"crash", 1}}},
	{
		name: "2 brokers, a hidden value, restart by hand", n: 2, only: 2, before: first, versions: []version{secret},
		budgets: []budget{{"restart by hand", 1}},
	},
	{
		name: "2 brokers, wrong, stop by hand", n: 2, only: 2, heavy: true, before: first, versions: []version{second.which("wrong")},
		budgets: []budget{{"stop by hand", 1}},
	},
	{name: "2 brokers, a listener is added and removed", n: 2, before: first, versions: []version{two, removal}, oneByOne: true},
	{name: "2 brokers, restarts and statuses take time", n: 2, slow: true, post: true, heavy: true, budgets: []budget{{"crash", 1}}},
	{name: "2 brokers, probes close and are watched", n: 2, closes: []string{"E"}, drain: 500 * time.Millisecond, balancer: true, soak: time.Second, budgets: []budget{{"crash", 1}}},
	{name: "2 brokers, silence", n: 2, slow: true, silence: true, budgets: []budget{{"agent down", 1}}},
	{name: "3 brokers, crash", n: 3, heavy: true, budgets: []budget{{"crash", 1}}},
	{name: "3 brokers, two together", n: 3, zones: "aab", most: 2, need: 1},
	{name: "3 brokers, two together, bad", n: 3, zones: "aab", most: 2, need: 1, versions: []version{first.which("exits")}},
	{name: "3 brokers that vote", n: 3, voters: []int{1, 2, 3}},
	{name: "3 brokers, two vote, voter behind", n: 3, voters: []int{1, 2}, heavy: true, budgets: []budget{{"voter behind", 1}}},
	{name: "2 brokers that vote, voter behind", n: 2, voters: []int{1, 2}, budgets: []budget{{"voter behind", 1}}},
	{name: "2 brokers, one votes, voter behind", n: 2, voters: []int{1}, budgets: []budget{{"voter behind", 1}}},
	{name: "3 brokers, a replica behind", n: 3, heavy: true, only: 3, budgets: []budget{{"replica behind", 1}}},
	{name: "2 brokers, deaf broker and a replica behind", n: 2, heavy: true, budgets: []budget{{"deaf broker", 1}, {"replica behind", 1}}},
	{
		name: "2 brokers, exits, stop by hand, its halt is refused", n: 2, only: 2,
		versions: []version{first.which("exits")}, budgets: []budget{{"stop by hand", 1}, {"refused record", 2}},
	},
	{
		name: "2 brokers, hangs, both are stopped from the start", n: 2, versions: []version{first.which("hangs")}, standing: true,
		at: []int{1, 2}, budgets: []budget{{"stop by hand", 1}, {"stop by hand", 1}},
	},
	{
		name: "2 brokers that vote, hangs, both are stopped from the start", n: 2, versions: []version{first.which("hangs")},
		voters: []int{1, 2}, standing: true, at: []int{1, 2}, budgets: []budget{{"stop by hand", 1}, {"stop by hand", 1}},
	},
	{name: "2 brokers, exits, stop by hand", n: 2, heavy: true, only: 2, versions: []version{first.which("exits")}, budgets: []budget{{"stop by hand", 1}}},
	{name: "2 brokers, wrong, a replica behind", n: 2, only: 2, before: first, versions: []version{second.which("wrong")}, budgets: []budget{{"replica behind", 1}}},
	{
		name: "2 brokers, wrong, the deaf broker is asked first", n: 2, before: first, versions: []version{second.which("wrong")},
		deafFirst: true, only: 2, budgets: []budget{{"deaf broker", 1}},
	},
	{name: "3 brokers, the deaf broker is asked first", n: 3, deafFirst: true, only: 3, budgets: []budget{{"deaf broker", 1}}, heavy: true},
	{name: "2 brokers, wrong, empty views", n: 2, before: first, versions: []version{second.which("wrong")}, budgets: []budget{{"empty view", 2}}},
	{name: "2 brokers, two manifests, one by one", n: 2, versions: []version{first, second}, oneByOne: true},
	{name: "3 brokers of a zone", n: 3, zones: "aaa", need: 1},
	{name: "3 brokers of a zone, two together", n: 3, zones: "aaa", most: 2, need: 1},
	{name: "3 brokers of a zone, two together, both needed", n: 3, zones: "aaa", most: 2, need: 2},
	{name: "3 brokers of a zone that vote, two together", n: 3, zones: "aaa", most: 2, need: 1, voters: []int{1, 2, 3}},
	{
		name: "2 brokers, deaf broker and a replica behind from the start", n: 2, standing: true, at: []int{1, 2},
		budgets: []budget{{"deaf broker", 1}, {"replica behind", 1}},
	},
	{name: "2 brokers, silence from the start", n: 2, silence: true, only: 1, budgets: []budget{{"agent down", 1}}},
	{name: "3 brokers, one is stopped from the start", n: 3, heavy: true, need: 1, only: 3, standing: true, budgets: []budget{{"stop by hand", 1}}},
	{name: "3 brokers, one was killed before the start", n: 3, heavy: true, need: 1, only: 2, standing: true, budgets: []budget{{"kill", 1}}},
	{name: "2 brokers, one votes, voter behind from the start", n: 2, voters: []int{1}, only: 1, standing: true, budgets: []budget{{"voter behind", 1}}},
	{name: "3 brokers, two vote, voter behind from the start", n: 3, voters: []int{1, 2}, only: 2, standing: true, budgets: []budget{{"voter behind", 1}}},
	{name: "3 brokers, a replica behind from the start", n: 3, only: 3, standing: true, budgets: []budget{{"replica behind", 1}}},
}, each("2 brokers, ", config{n: 2}), each("2 brokers, from the start: ", config{n: 2, standing: true, only: 2}), []config{
	{name: "2 brokers, crash and stale read", n: 2, budgets: []budget{{"crash", 1}, {"stale read", 1}}},
})

// each is a configuration for each fault; those that begin at the start are those that end.
func each(name string, o config) []config {
	var out []config
	for _, f := range faults {
		if o.standing && (f.begin == nil || f.end == nil) {
			continue
		}
		c := o
		c.name, c.budgets, c.heavy = name+f.name, []budget{{f.name, 1}}, !o.standing && (f.name == "kill" || f.name == "stop by hand")
		out = append(out, c)
	}
	return out
}

func (o config) complete() config {
	if len(o.versions) == 0 {
		o.versions = []version{first}
	}
	if o.before.listeners == nil {
		o.before = nothing
	}
	return o
}

// TestBattery visits every state of the battery. EXPLORE names configurations (a part of their name);
// EXPLORE_DUMP is a directory for what is decided: see compare.sh. With EXPLORE_QUICK it ends
// with the first that is broken, and unless that is "all", the heavy ones are left out.
func TestBattery(t *testing.T) { run(t, battery) }

func run(t *testing.T, list []config) {
	t.Helper()
	total, broken := make(chan int, len(list)), atomic.Bool{}
	quick := os.Getenv("EXPLORE_QUICK")
	t.Run("all", func(t *testing.T) {
		for _, o := range list {
			if only := os.Getenv("EXPLORE"); !strings.Contains(o.name, only) {
				continue
			}
			t.Run(o.name, func(t *testing.T) {
				t.Parallel()
				if quick != "" && (o.heavy && quick != "all" || broken.Load()) {
					return // one is enough
				}
				write, differs, untrue := dump(t, o.name), "", ""
				g, wrong := explore(o.complete(), func(i int, after *vm, turn agent.Turn) {
					write(i, after, turn)
					if differs == "" {
						differs = planAgrees(i, after, turn)
					}
					if untrue == "" {
						untrue = saysTruth(i, after, turn)
					}
				})
				fmt.Println(g.summary())
				total <- len(g.worlds)
				broken.Store(broken.Load() || wrong != "" || differs != "" || untrue != "")
				if wrong != "" {
					t.Error(wrong)
				}
				if differs != "" {
					t.Errorf("plan and the agent disagree: %s", differs)
				}
				if untrue != "" {
					t.Errorf("a reason is not true when it is shown: %s", untrue)
				}
			})
		}
	})
	close(total)
	n := 0
	for k := range total {
		n += k
	}
	fmt.Printf("%d states in all\n", n)
}

// dump writes every decision to a file where EXPLORE_DUMP is set, in the order in which they are found.
func dump(t *testing.T, name string) watcher {
	t.Helper()
	dir := os.Getenv("EXPLORE_DUMP")
	if dir == "" {
		return func(int, *vm, agent.Turn) {}
	}
	f, err := os.Create(filepath.Join(dir, strings.ReplaceAll(name, " ", "_")))
	if err != nil {
		t.Fatal(err)
	}
	out := bufio.NewWriter(f)
	t.Cleanup(func() {
		if err := out.Flush(); err != nil {
			t.Error(err)
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	return func(i int, after *vm, turn agent.Turn) {
		st := turn.Status
		fmt.Fprintf(out, "%d %s %s %q %q wake %s open %v do %q", i+1, st.Phase, st.Reason.Code, st.Target, st.Passed, turn.Wake, turn.Allowed, turn.Do.Kind)
		if turn.Do.Kind == restart.ActSave {
			fmt.Fprintf(out, " %q", turn.Do.Journal.AppendKey(nil, after.now))
		}
		for _, r := range turn.Do.Records {
			fmt.Fprintf(out, " %s %t", r.Key, r.Value == nil)
		}
		if os.Getenv("EXPLORE_TEXT") != "" {
			fmt.Fprintf(out, " %s", st.Reason.Text())
		}
		fmt.Fprintln(out)
	}
}
