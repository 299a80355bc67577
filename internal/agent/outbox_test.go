package agent

import (
	"testing"
	"time"

	"example.com/kpls-agent/internal/restart"
)

func TestDue(t *testing.T) {
	told := restart.Status{Phase: restart.PhaseWaiting, Reason: *restart.NewReason(restart.CodeTurn, "broker 1 goes first")}
	text, code := told, told
	text.Reason, code.Reason.Code = *restart.NewReason(restart.CodeTurn, "broker 2 goes first"), restart.CodePaused
	for _, c := range []struct {
		name   string
		st     restart.Status
		ago    time.Duration
		agents int
		want   bool
	}{
		{"nothing new", told, 14 * time.Second, 3, false},
		{"a sign of life", told, 15 * time.Second, 3, true},
		{"a sign of life of many", told, 299 * time.Second, 300, false},
		{"another reason", code, 0, 300, true},
		{"whom it waits for, in a small cluster", text, 0, 3, true},
		{"whom it waits for, in a large one", text, 200 * time.Second, 300, false},
		{"the same, with time", text, 285 * time.Second, 300, true},
	} {
		if got := due(&c.st, &told, c.ago, c.agents); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}
