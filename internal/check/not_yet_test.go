package check

import (
	"strings"
	"testing"
	"time"

	"example.com/kpls-agent/internal/restart"
)

// TestPlanNotYet: a manifest that is not in force here yet is in nobody's way for that, and what is in the way
// otherwise is said.
func TestPlanNotYet(t *testing.T) {
	const hash, old = "685aaaaaaaaaaaaa", "e88aaaaaaaaaaaaa"
	now := time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC)
	nowhere := "this file is in force on no VM yet: put it on all of them (manifest_differs)"
	for name, c := range map[string]struct {
		change  func(f *restart.Facts, st map[int32]*restart.Status)
		want    []string
		without string
	}{
		"a later change": {
			func(*restart.Facts, map[int32]*restart.Status) {},
			[]string{nowhere},
			"put the same file on both",
		},
		"before the first manifest": {
			func(f *restart.Facts, st map[int32]*restart.Status) { clear(st); f.Log.Missing = true },
			[]string{nowhere},
			"nothing was heard",
		},
		"it is in force elsewhere": {
			func(_ *restart.Facts, st map[int32]*restart.Status) {
				st[2].Manifest, st[2].Target, st[2].Drift = hash, hash, true
			},
			[]string{"this file is in force on some VMs (brokers 2), and not here: put it on all of them (manifest_differs)"},
			"this broker has",
		},
		"an agent that was never heard": {
			func(_ *restart.Facts, st map[int32]*restart.Status) { delete(st, 3) },
			[]string{nowhere, "nothing was heard of the agent of broker 3 yet"},
			"put the same file on both",
		},
		"an agent that was stopped": {
			func(_ *restart.Facts, st map[int32]*restart.Status) { st[3].Ended = true },
			[]string{nowhere, "the agent of broker 3 was stopped"},
			"put the same file on both",
		},
		"paused": {
			func(f *restart.Facts, _ map[int32]*restart.Status) { f.Log.View.Pause = &restart.Pause{By: "ann"} },
			[]string{nowhere, "paused by ann"},
			"put the same file on both",
		},
		"refused here": {
			func(f *restart.Facts, _ map[int32]*restart.Status) {
				f.Manifest.Refusal = restart.NewReason(restart.CodeRefused, "broker 1 is not in the manifest")
			},
			[]string{"broker 1 is not in the manifest"},
			"put it on all of them",
		},
		"in force here": {
			func(_ *restart.Facts, st map[int32]*restart.Status) { st[1].Manifest = hash },
			[]string{"broker 2 has manifest e88aaaaaaaaa, this broker has 685aaaaaaaaa; put the same file on both"},
			"in force on no VM",
		},
		"the log cannot be read": {
			func(f *restart.Facts, _ map[int32]*restart.Status) { f.Log.At, f.Log.Err = time.Time{}, "no leader" },
			[]string{"no leader"},
			"in force on no VM",
		},
	} {
		f := restart.Facts{
			Now: now, Log: restart.LogFacts{At: now, View: restart.NewView()},
			Running: restart.RunningFacts{At: now, Listeners: map[string]string{}},
			Unit:    restart.UnitFacts{At: now, State: restart.UnitRunning, Invocation: "a"},
			Right:   restart.RightFacts{At: now}, Cluster: restart.ClusterFacts{At: now, Brokers: []int32{1, 2, 3}},
			Manifest: restart.ManifestFacts{
				Hash: hash, Cluster: "c", Table: true, Zones: map[int32]string{1: "1", 2: "2", 3: "3"}, FileChanges: true,
				Listeners: map[string]string{"EXTERNAL": "x"},
			},
		}
		f.Log.View.Clock = now
		st := map[int32]*restart.Status{}
		for _, id := range f.Cluster.Brokers {
			st[id] = &restart.Status{
				Broker: id, Cluster: "c", Manifest: old, Target: old, Phase: restart.PhaseIdle, Up: true, Seen: now,
			}
		}
		c.change(&f, st)
		for id, s := range st {
			f.Log.View.Statuses[id] = *s
		}
		p := planOf(1, f)
		text := (&Plan{Broker: 1, Manifest: hash, Plan: p}).Text()
		for _, want := range c.want {
			if !strings.Contains(text, want) {
				t.Errorf("%s: no %q in\n%s", name, want, text)
			}
		}
		if strings.Contains(text, c.without) {
			t.Errorf("%s: %q in\n%s", name, c.without, text)
		}
		if len(c.want) == 1 && c.want[0] == nowhere && !strings.Contains(text, "restarts, in this order: 1, 2, 3\n") {
			t.Errorf("%s: the order\n%s", name, text)
		}
	}
}
