package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"example.com/kpls-agent/internal/restart"
)

func TestReportTable(t *testing.T) {
	now := time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC)
	v := restart.NewView()
	add := func(r restart.Record) { r.Offset, r.Time = v.Next, now.Add(-5*time.Second); v.Fold(r) }
	add(restart.NewStatus(restart.Status{
		Broker: 1, Cluster: "kafka-pls", Manifest: "3fa9c1d2e4b5aaaa", Phase: restart.PhaseSoaking, Since: now.Add(-42 * time.Second),
		Reason: *restart.NewReason(restart.CodeSoaking, "healthy; must stay so for 1m0s"), Zone: "1", Up: true, Serving: []string{"EXTERNAL"},
	}))
	add(restart.NewStatus(restart.Status{
		Broker: 2, Cluster: "kafka-pls", Manifest: "3fa9c1d2e4b5aaaa", Phase: restart.PhaseWaiting, Since: now.Add(-100 * time.Second), Drift: true,
		Reason: *restart.NewReason(restart.CodeTurn, "broker 1 goes first (it is soaking)"), Zone: "2", Up: true, Unprotected: []string{"lonely"},
	}))
	add(restart.NewClaim(restart.Claim{Broker: 1, At: now.Add(-time.Minute)}, "n"))
	var b strings.Builder
	if err := newReport(v, now).table(&b, 0); err != nil {
		t.Fatal(err)
	}
	want := `cluster kafka-pls   manifest 3fa9c1d2e4b5   rolling
BROKER  ZONE  PHASE    FOR    MANIFEST      DRIFT  PROBES            WHY
1       1     soaking  42s    3fa9c1d2e4b5  no     EXTERNAL:serving  healthy; must stay so for 1m0s
2       2     waiting  1m40s  3fa9c1d2e4b5  yes    -                 broker 1 goes first (it is soaking)
not protected in any restart, since they have no more replicas than min.insync.replicas: lonely
`
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
}

// TestReportOfMany: a screen that is too small for all brokers shows those at work.
func TestReportOfMany(t *testing.T) {
	now := time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC)
	v := restart.NewView()
	for id := range int32(300) {
		st := restart.Status{Broker: id, Manifest: "h", Phase: restart.PhaseIdle, Since: now}
		if id == 250 {
			st.Phase, st.Drift = restart.PhaseStarting, true
		}
		r := restart.NewStatus(st)
		r.Offset, r.Time = v.Next, now
		v.Fold(r)
	}
	var b strings.Builder
	if err := newReport(v, now).table(&b, 40); err != nil {
		t.Fatal(err)
	}
	if got := b.String(); strings.Count(got, "\n") != 4 || !strings.Contains(got, "\n250 ") || !strings.Contains(got, "\nand 299 brokers at rest\n") {
		t.Errorf("got\n%s", got)
	}
}

// TestReportNamesIgnoredRecords: records that stop nobody are shown, a few of them in the table.
func TestReportNamesIgnoredRecords(t *testing.T) {
	v := restart.NewView()
	v.Fold(restart.NewStatus(restart.Status{Broker: 1, Phase: restart.PhaseIdle}))
	for i := range 5 {
		v.Fold(restart.Record{Key: fmt.Sprintf("mark/%d", i), Value: []byte(`{"version":1}`), Offset: v.Next})
	}
	r := newReport(v, time.Time{})
	var table, text strings.Builder
	if err := errors.Join(r.table(&table, 0), writeJSON(&text, r)); err != nil {
		t.Fatal(err)
	}
	const one = `record "mark/2" at offset 3 is ignored: a later version of kpls-agent has written it`
	for _, want := range []string{one, "and 2 more records are ignored"} {
		if !strings.Contains(table.String(), want) {
			t.Errorf("%q is missing in\n%s", want, table.String())
		}
	}
	var back struct {
		Ignored []string `json:"ignored_records"`
	}
	if err := json.Unmarshal([]byte(text.String()), &back); err != nil || len(back.Ignored) != 5 || back.Ignored[2] != one {
		t.Errorf("%v: %q", err, back.Ignored)
	}
}

func TestScreen(t *testing.T) {
	scr := screen{width: 20, height: 5}
	const text = "short\n1  waiting  broker 2 goes first\nxxxxxxxxxxxxxxxxxxxxxxxxx\n"
	if got, want := scr.wrap(text), "short\n1  waiting  broker 2\n        goes first\nxxxxxxxxxxxxxxxxxxxx\n        xxxxx\n"; got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got, want := scr.page(text), "short\n1  waiting  broker 2\n        goes first\n... and 2 lines more, which `kpls-agent status` shows\n"; got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got := scr.page("a\nb\nc\nd\n"); got != "a\nb\nc\nd\n" {
		t.Errorf("what fits is cut: %q", got)
	}
	if got, want := redraw("a\nb\n", 3), "\x1b[3Aa\x1b[K\nb\x1b[K\n\x1b[J"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestReportState(t *testing.T) {
	now := time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC)
	status := func(p restart.Phase, drift bool) restart.Record {
		return restart.NewStatus(restart.Status{Broker: 1, Manifest: "h", Phase: p, Drift: drift})
	}
	for _, c := range []struct {
		want    string
		records []restart.Record
	}{
		{"idle", []restart.Record{status(restart.PhaseIdle, false)}},
		{"waiting", []restart.Record{status(restart.PhaseWaiting, true)}},
		{"rolling", []restart.Record{status(restart.PhaseStarting, true)}},
		{"paused", []restart.Record{status(restart.PhaseStarting, true), restart.NewPause(restart.Pause{By: "ann"})}},
		{"halted", []restart.Record{status(restart.PhaseFailed, true), restart.NewHalt(restart.Halt{Manifest: "h"})}},
		{"idle", []restart.Record{status(restart.PhaseIdle, false), restart.NewHalt(restart.Halt{Manifest: "old"})}},
		{"unreadable", []restart.Record{status(restart.PhaseIdle, false), {Key: "pause", Value: []byte(`{"version":2}`)}}},
		{"unreadable", []restart.Record{status(restart.PhaseIdle, false), {Key: "unheard of", Value: []byte(`{"version":2}`)}}},
		{"idle", []restart.Record{status(restart.PhaseIdle, false), {Key: "unheard of", Value: []byte(`{"version":1}`)}}},
	} {
		v := restart.NewView()
		for _, r := range c.records {
			r.Offset, r.Time = v.Next, now
			v.Fold(r)
		}
		if got := newReport(v, now).State; got != c.want {
			t.Errorf("state %q, want %q", got, c.want)
		}
	}
}
