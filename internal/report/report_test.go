package report

import (
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"example.com/kpls-agent/internal/restart"
	"example.com/kpls-agent/test/tables"
)

var update = flag.Bool("update", false, "write the golden files")

const hash = "3fa9c1d2e4b5aaaa"

var now = time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC)

// idle is a broker at rest whose agent has just reported.
func idle(id int32) restart.Status {
	return restart.Status{
		Broker: id, Cluster: "kafka-pls", Manifest: hash, Target: hash, Phase: restart.PhaseIdle, Since: now.Add(-190 * time.Second),
		Reason: *restart.NewReason(restart.CodeInSync, "runs what the manifest says"), Up: true, Zone: fmt.Sprint(id),
		Serving: []string{"EXTERNAL"}, Seen: now.Add(-5 * time.Second),
	}
}

// scene is a cluster of three brokers, and one way in which it is not at rest.
func scene(change func(f *Facts, st map[int32]*restart.Status)) Facts {
	f := Facts{
		At: now, View: restart.NewView(), Brokers: []int32{1, 2, 3},
		Manifest: &Manifest{
			Hash: hash, Zones: map[int32]string{1: "1", 2: "2", 3: "3"}, Table: true, Listeners: []string{"EXTERNAL"},
			MaxUnavailable: 1, Soak: time.Minute,
		},
	}
	f.View.Active["EXTERNAL"] = true
	st := map[int32]*restart.Status{}
	for id := range int32(3) {
		s := idle(id + 1)
		s.Open = s.Serving
		st[s.Broker] = &s
	}
	change(&f, st)
	f.View.Clock = now.Add(-5 * time.Second)
	for id, s := range st {
		f.View.Statuses[id] = *s
	}
	return f
}

func waiting(s *restart.Status, code restart.Code, text string) {
	s.Phase, s.Drift, s.Serving, s.Open, s.Reason = restart.PhaseWaiting, true, nil, nil, *restart.NewReason(code, text)
}

// about has a broker wait for another one.
func about(s *restart.Status, broker int32, code restart.Code, text string) {
	waiting(s, code, text)
	s.Reason.Broker = &broker
}

// rolling is a first roll-out: the first broker is done, the second is soaking, the third waits.
func rolling(f *Facts, st map[int32]*restart.Status) {
	delete(f.View.Active, "EXTERNAL")
	st[1].Open, st[1].Took, st[1].Passed = nil, 95, hash
	st[2].Phase, st[2].Open = restart.PhaseSoaking, nil
	st[2].Reason = *restart.NewReason(restart.CodeSoaking, "healthy; must stay so for 1m0s")
	st[2].Reason.Until = now.Add(18 * time.Second)
	st[2].Since = now.Add(-42 * time.Second)
	waiting(st[3], restart.CodeTurn, "broker 2 goes first (it is soaking)")
	f.View.Claims = []restart.Claim{{Broker: 2, At: now.Add(-80 * time.Second)}}
}

type shown struct {
	name   string
	worst  Worst
	state  string
	change func(f *Facts, st map[int32]*restart.Status)
}

var scenes = []shown{
	{"idle", Idle, "idle", func(*Facts, map[int32]*restart.Status) {}},
	{"rolling", Rolling, "rolling", rolling},
	{"rolling, nothing measured yet", Rolling, "rolling", func(f *Facts, st map[int32]*restart.Status) {
		rolling(f, st)
		st[1].Took = 0
	}},
	{"an agent that never reported", Missing, "rolling", func(f *Facts, st map[int32]*restart.Status) {
		rolling(f, st)
		delete(st, 3)
	}},
	{"a broker that the manifest lacks", Missing, "idle", func(f *Facts, _ map[int32]*restart.Status) {
		f.Brokers = []int32{1, 2, 3, 7}
	}},
	{"two brokers that are yet to come and one that has gone", Idle, "idle", func(f *Facts, st map[int32]*restart.Status) {
		f.Manifest.Zones = maps.Clone(f.Manifest.Zones)
		f.Manifest.Zones[4], f.Manifest.Zones[5], f.Manifest.Optional = "a", "b", []int32{3, 4, 5}
		f.Brokers = []int32{1, 2}
		st[3].Ended, st[3].Manifest, st[3].Seen = true, "older", now.Add(-time.Hour)
	}},
	{"an optional broker that has come, without an agent", Missing, "idle", func(f *Facts, _ map[int32]*restart.Status) {
		f.Manifest.Zones = maps.Clone(f.Manifest.Zones)
		f.Manifest.Zones[4], f.Manifest.Optional, f.Brokers = "a", []int32{4}, []int32{1, 2, 3, 4}
	}},
	{"an agent that is being upgraded", Upgrading, "idle", func(_ *Facts, st map[int32]*restart.Status) {
		st[2].Ended, st[2].Seen = true, now.Add(-3*time.Second)
	}},
	{"an agent that was stopped", Missing, "idle", func(_ *Facts, st map[int32]*restart.Status) {
		st[2].Ended, st[2].Seen = true, now.Add(-5*time.Minute)
	}},
	{"an agent that was killed", Missing, "rolling", func(f *Facts, st map[int32]*restart.Status) {
		rolling(f, st)
		st[2].Seen = now.Add(-70 * time.Second)
	}},
	{"a broker that is down", Down, "idle", func(f *Facts, _ map[int32]*restart.Status) { f.Brokers = []int32{1, 3} }},
	{"a broker that somebody stopped", Down, "idle", func(f *Facts, st map[int32]*restart.Status) {
		f.Brokers = []int32{1, 2}
		st[3].Phase, st[3].Up, st[3].Open, st[3].Serving = restart.PhaseStopped, false, nil, nil
		st[3].Reason = *restart.NewReason(restart.CodeStopped, "the broker is stopped (by somebody); start it when you are done")
	}},
	{"paused", Paused, "paused", func(f *Facts, st map[int32]*restart.Status) {
		f.View.Pause = &restart.Pause{By: "ann@ops", Why: "change freeze", At: now.Add(-2 * time.Hour)}
		waiting(st[1], restart.CodePaused, "paused by ann@ops: change freeze; `kpls-agent resume` ends it")
		waiting(st[2], restart.CodePaused, "paused by ann@ops: change freeze; `kpls-agent resume` ends it")
	}},
	{"halted", Halted, "halted", func(f *Facts, st map[int32]*restart.Status) {
		f.View.Halts[hash] = restart.Halt{Broker: 1, Manifest: hash, At: now.Add(-61 * time.Second), Why: "the process ended with exit code 1"}
		waiting(st[1], restart.CodeHalted, "the manifest 3fa9c1d2e4b5 failed on broker 1: the process ended with exit code 1")
		waiting(st[2], restart.CodeHalted, "the manifest 3fa9c1d2e4b5 failed on broker 1: the process ended with exit code 1")
		st[1].Phase = restart.PhaseFailed
	}},
	{"halted for another manifest", Idle, "idle", func(f *Facts, _ map[int32]*restart.Status) {
		f.View.Halts["old"] = restart.Halt{Broker: 1, Manifest: "old"}
	}},
	{"a gate does not pass", Waiting, "waiting", func(_ *Facts, st map[int32]*restart.Status) {
		waiting(st[1], restart.CodeGatePartitions, "2 partitions would come below min.insync.replicas without this broker: orders-3 has 2 in-sync replicas (1, 2) and needs 2 without this broker")
		st[1].Phase = restart.PhaseClaimed
		waiting(st[2], restart.CodeTurn, "broker 1 goes first (it is claimed)")
	}},
	{"a newer manifest that is not taken over", Refused, "idle", func(_ *Facts, st map[int32]*restart.Status) {
		st[2].ManifestFault = "manifest.yaml:3: unknown field bnid; did you mean bind?"
	}},
	{"a manifest that differs", Refused, "waiting", func(_ *Facts, st map[int32]*restart.Status) {
		waiting(st[1], restart.CodeManifestDiffers, "broker 2 has manifest aaaaaaaaaaaa, this broker has 3fa9c1d2e4b5; put the same file on both")
		st[2].Manifest, st[2].Target = "aaaaaaaaaaaaaaaa", "aaaaaaaaaaaaaaaa"
		waiting(st[2], restart.CodeManifestDiffers, "broker 1 has manifest 3fa9c1d2e4b5, this broker has aaaaaaaaaaaa; put the same file on both")
		st[2].ManifestFault = "/etc/kpls-agent/manifest.yaml does not exist any more"
	}},
	{"no manifest anywhere", NoManifest, "idle", func(f *Facts, st map[int32]*restart.Status) {
		f.Manifest = nil
		f.View.Active = map[string]bool{}
		for _, s := range st {
			*s = restart.Status{Broker: s.Broker, Phase: restart.PhaseUnmanaged, Since: s.Since, Seen: s.Seen, Up: true, Reason: *restart.NewReason(restart.CodeNoManifest, "there is no manifest yet")}
		}
	}},
	{"one without a manifest", Lacking, "idle", func(_ *Facts, st map[int32]*restart.Status) {
		*st[3] = restart.Status{Broker: 3, Phase: restart.PhaseUnmanaged, Since: st[3].Since, Seen: st[3].Seen, Up: true, Reason: *restart.NewReason(restart.CodeNoManifest, "there is no manifest yet")}
	}},
	{"a rolling restart", Rolling, "rolling", func(f *Facts, st map[int32]*restart.Status) {
		f.View.Requests = []restart.Request{{ID: "r", By: "ann@ops", At: now.Add(-time.Minute)}}
		for _, s := range st {
			s.Target = hash + "+r"
		}
		st[1].Took = 30
		st[2].Phase, st[2].Since = restart.PhaseCatchingUp, now.Add(-4*time.Second)
		st[2].Reason = *restart.NewReason(restart.CodeCatchingUp, "12 partitions are not in sync yet")
		waiting(st[3], restart.CodeTurn, "broker 2 goes first (it is catching_up)")
		st[3].Serving, st[3].Open = []string{"EXTERNAL"}, []string{"EXTERNAL"}
	}},
	{"a probe that is held", Rolling, "rolling", func(_ *Facts, st map[int32]*restart.Status) {
		st[2].Phase, st[2].Serving = restart.PhaseRestarting, nil
		st[2].Reason = *restart.NewReason(restart.CodeRestarting, "the unit is being restarted")
	}},
	{"records that cannot be read", Unreadable, "unreadable", func(f *Facts, _ map[int32]*restart.Status) {
		f.View.Foreign["pause"] = `record "pause" at offset 7 cannot be read: its version is 2 and this agent reads version 1; upgrade this agent`
		for i := range 5 {
			f.View.Ignored[fmt.Sprint("mark/", i)] = fmt.Sprintf("record \"mark/%d\" at offset %d is ignored: a later version of kpls-agent has written it", i, i)
		}
	}},
	{"topics that nothing protects", Idle, "idle", func(_ *Facts, st map[int32]*restart.Status) { st[1].Unprotected = []string{"lonely"} }},
	{"no agent at all", Unheardof, "idle", func(f *Facts, st map[int32]*restart.Status) { clear(st); f.View.Active = map[string]bool{} }},
	{"no agent at all, and no topic", Unheardof, "idle", func(f *Facts, st map[int32]*restart.Status) {
		clear(st)
		f.View.Active, f.NoTopic = map[string]bool{}, true
	}},
	{"brokers that wait for one that is starting", Rolling, "rolling", func(f *Facts, st map[int32]*restart.Status) {
		rolling(f, st)
		st[2].Phase, st[2].Reason = restart.PhaseStarting, *restart.NewReason(restart.CodeStarting, "the process runs and does not answer yet")
		about(st[3], 2, restart.CodeTurn, "broker 2 goes first (it is starting: the process runs and does not answer yet)")
	}},
	{"brokers that wait for one that cannot be restarted", Refused, "waiting", func(_ *Facts, st map[int32]*restart.Status) {
		waiting(st[1], restart.CodeRestartDenied, "the service manager would refuse the restart; run `kpls-agent setup` as root")
		st[1].Phase = restart.PhaseRefused
		about(st[2], 1, restart.CodeRefusedElsewhere, "broker 1 cannot be restarted: "+st[1].Reason.Text())
		about(st[3], 1, restart.CodeRefusedElsewhere, "broker 1 cannot be restarted: what it said before")
	}},
	{"brokers that wait for one with a manifest that cannot be read", Refused, "waiting", func(_ *Facts, st map[int32]*restart.Status) {
		st[1].ManifestFault = "manifest.yaml:3: unknown field bnid"
		about(st[2], 1, restart.CodeManifestDiffers, "broker 1 cannot use its manifest file (manifest.yaml:3: unknown field bnid); correct it there")
	}},
	{"the cluster cannot be asked", Idle, "idle", func(f *Facts, _ map[int32]*restart.Status) { f.Brokers = nil }},
	{"rolling, the last of three", Rolling, "rolling", func(f *Facts, st map[int32]*restart.Status) {
		rolling(f, st)
		other := *st[1]
		st[2] = &other
		st[2].Broker, st[2].Zone = 2, "2"
		st[3].Phase, st[3].Reason = restart.PhaseCatchingUp, *restart.NewReason(restart.CodeCatchingUp, "12 partitions are not in sync yet")
		f.View.Claims = []restart.Claim{{Broker: 3, At: now.Add(-20 * time.Second)}}
	}},
	{"rolling, measured in another roll-out", Rolling, "rolling", func(f *Facts, st map[int32]*restart.Status) {
		rolling(f, st)
		st[1].Passed = "old"
	}},
	{"a listener that is being removed", Rolling, "rolling", func(f *Facts, st map[int32]*restart.Status) {
		f.Manifest.Absent = []string{"OLD"}
		f.View.Active["OLD"] = true
		st[1].Phase, st[1].Serving = restart.PhaseRestarting, nil
		st[1].Reason = *restart.NewReason(restart.CodeRestarting, "the unit is being restarted")
		st[3].Open, st[3].Serving, st[3].Manifest = []string{"EXTERNAL", "OLD"}, []string{"EXTERNAL", "OLD"}, "old"
	}},
}

// TestText holds what people read in a pipe and on terminals of 140 and 80 columns, and the worst of the rows.
func TestText(t *testing.T) {
	for _, c := range scenes {
		r := New(scene(c.change))
		if r.Worst != c.worst || r.State != c.state {
			t.Errorf("%s: worst %q, state %q; want %q, %q", c.name, r.Worst, r.State, c.worst, c.state)
		}
		var b strings.Builder
		for _, width := range []int{0, 140, 80} {
			fmt.Fprintf(&b, "%s\n", r.Text(Style{Width: width, Explain: true, Own: []string{"probe of EXTERNAL on this VM: a probe came 3s ago"}}))
		}
		name := strings.ReplaceAll(strings.ReplaceAll(c.name, ",", ""), " ", "-")
		if err := tables.HoldFile(filepath.Join("testdata", name+".txt"), b.String(), *update); err != nil {
			t.Error(err)
		}
	}
}

// TestTextFits: no line is wider than the terminal, and each row has its reason once.
func TestTextFits(t *testing.T) {
	for _, c := range scenes {
		r := New(scene(c.change))
		for width := 40; width <= 200; width += 7 {
			for line := range strings.Lines(r.Text(Style{Width: width})) {
				if n := len([]rune(strings.TrimSuffix(line, "\n"))); n > width {
					t.Errorf("%s: %d columns at %d: %s", c.name, n, width, line)
				}
			}
		}
		for _, x := range r.rows() {
			parts := strings.FieldsFunc(x.cells[colWhy], func(r rune) bool { return r == ';' || r == ':' })
			for i, p := range parts {
				for _, o := range parts[:i] {
					if p == o {
						t.Errorf("%s: %q says %q twice", c.name, x.cells[colWhy], p)
					}
				}
			}
		}
	}
}

// TestColor: colors change no layout, and stand where something is wrong.
func TestColor(t *testing.T) {
	for _, c := range scenes {
		r := New(scene(c.change))
		for _, width := range []int{0, 80, 140} {
			plain, colored := r.Text(Style{Width: width}), r.Text(Style{Width: width, Color: true})
			for _, code := range []string{"\x1b[31m", "\x1b[32m", "\x1b[33m", "\x1b[0m"} {
				colored = strings.ReplaceAll(colored, code, "")
			}
			if plain != colored {
				t.Errorf("%s, %d columns: with colors\n%s\nwithout\n%s", c.name, width, colored, plain)
			}
		}
	}
	killed := New(scene(scenes[slices.IndexFunc(scenes, func(s shown) bool { return s.name == "an agent that was killed" })].change))
	if text := killed.Text(Style{Color: true}); !strings.Contains(text, "\x1b[31msilent 1m10s\x1b[0m") {
		t.Errorf("a silent agent is not red:\n%q", text)
	}
}

// TestMany: a screen that is too small for all brokers shows those of which there is something to say.
func TestMany(t *testing.T) {
	f := many(300)
	st := f.View.Statuses[250]
	st.Phase, st.Drift, st.Reason = restart.PhaseStarting, true, *restart.NewReason(restart.CodeStarting, "the process does not answer yet")
	f.View.Statuses[250] = st
	r := New(f)
	if got := r.Text(Style{Rows: 40}); strings.Count(got, "\n") != 4 || !strings.Contains(got, "\n250 ") || !strings.Contains(got, "\nand 299 brokers at rest\n") {
		t.Errorf("got\n%s", got)
	}
}

func many(n int) Facts {
	f := Facts{At: now, View: restart.NewView()}
	for id := range int32(n) {
		f.View.Statuses[id] = idle(id)
	}
	return f
}

// TestJSON: programs read the same names as ever, next to those that came later.
func TestJSON(t *testing.T) {
	f := scene(rolling)
	f.View.Pause, f.View.Halts[hash] = &restart.Pause{By: "ann"}, restart.Halt{Manifest: hash}
	f.View.Requests, f.View.Active["EXTERNAL"] = []restart.Request{{ID: "r"}}, true
	f.View.Foreign["x"], f.View.Ignored["y"] = "x", "y"
	text, err := json.MarshalIndent(New(f), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Brokers []map[string]any
	}
	var all map[string]any
	if err := json.Unmarshal(text, &got); err != nil || json.Unmarshal(text, &all) != nil {
		t.Fatal(err)
	}
	for _, name := range []string{
		"at", "cluster", "manifest", "state", "pause", "halts", "restart_request", "claims", "active_listeners",
		"unreadable_records", "ignored_records", "brokers", "worst", "done", "total",
	} {
		if _, ok := all[name]; !ok {
			t.Errorf("%s is missing in\n%s", name, text)
		}
	}
	for _, name := range []string{"broker", "phase", "reason", "drift", "seen", "silent", "agent_state", "registered", "probes"} {
		if _, ok := got.Brokers[0][name]; !ok {
			t.Errorf("%s is missing in the rows of\n%s", name, text)
		}
	}
	if len(got.Brokers) != 3 {
		t.Errorf("%d rows", len(got.Brokers))
	}
}

// TestChanges: each change is one line with its time, and time that goes by is none.
func TestChanges(t *testing.T) {
	at := func(after time.Duration, change func(f *Facts, st map[int32]*restart.Status)) Report {
		f := scene(func(f *Facts, st map[int32]*restart.Status) {
			rolling(f, st)
			change(f, st)
		})
		f.At = f.At.Add(after)
		return New(f)
	}
	same := func(*Facts, map[int32]*restart.Status) {}
	first, later := at(0, same), at(3*time.Second, same)
	if lines := first.Changes(nil); len(lines) != 4 || lines[1] != "2030-01-01T12:00:00Z broker 1: idle; up yes; agent runs; probes EXTERNAL: closed, 2 of 3 serve it; runs what the manifest says" {
		t.Errorf("the first: %q", lines)
	}
	if lines := later.Changes(&first); len(lines) != 0 {
		t.Errorf("nothing has changed: %q", lines)
	}
	next := at(4*time.Second, func(f *Facts, st map[int32]*restart.Status) {
		st[2].Ended = true
		f.View.Pause = &restart.Pause{By: "ann", At: now.Add(4 * time.Second)}
	})
	want := []string{
		"2030-01-01T12:00:04Z cluster: paused, 1 of 3 done",
		"2030-01-01T12:00:04Z paused: by ann 0s ago",
		"2030-01-01T12:00:04Z broker 2: soaking; up yes; agent stopped; probes EXTERNAL: was closed; its agent was stopped 9s ago, as an upgrade does; before that: healthy; must stay so for 1m0s",
	}
	got := next.Changes(&later)
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if lines := later.Changes(&next); len(lines) != 3 || lines[2] != "2030-01-01T12:00:03Z paused: ended" {
		t.Errorf("%q", lines)
	}
}

func TestScreen(t *testing.T) {
	const text = "short\n1  waiting  broker 2 goes first\nxxxxxxxxxxxxxxxxxxxxxxxxx\n"
	wrapped := "short\n1  waiting  broker 2\n        goes first\nxxxxxxxxxxxxxxxxxxxx\n        xxxxx\n"
	if got := Wrap(text, 20); got != wrapped {
		t.Errorf("got\n%s\nwant\n%s", got, wrapped)
	}
	if got, want := Page(wrapped, 5), "short\n1  waiting  broker 2\n        goes first\n... and 2 lines more, which `kpls-agent status` shows\n"; got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got := Page("a\nb\nc\nd\n", 5); got != "a\nb\nc\nd\n" {
		t.Errorf("what fits is cut: %q", got)
	}
	if got, want := Redraw("a\nb\n", 3), "\x1b[3Aa\x1b[K\nb\x1b[K\n\x1b[J"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestElapsed(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0s", 1500 * time.Millisecond: "1s", 61 * time.Second: "1m01s", 3*time.Hour + 5*time.Minute: "3h05m", 50 * time.Hour: "2d2h",
	} {
		if got := Elapsed(d); got != want {
			t.Errorf("%s: %s, want %s", d, got, want)
		}
	}
}
