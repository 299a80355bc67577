package agent

import (
	"bytes"
	"testing"
	"time"

	"example.com/kpls-agent/internal/restart"
	"example.com/kpls-agent/test/fields"
)

// unkeyed are the fields that stand in no key, and why.
var unkeyed = map[string]string{
	"Agent.machine":  "it has a key of its own, see below",
	"Agent.nonce":    "how nonces are made does not change",
	"Agent.room":     "nothing is left in it from one decision to the next",
	"Agent.since":    "it is only shown",
	"Agent.stale":    "who uses the key reads the unit and the files before each decision",
	"Agent.filesAt":  "who uses the key reads the unit and the files before each decision",
	"Agent.status":   "what of it decides is checked below; the rest follows with the next decision",
	"Agent.clock":    "it is only shown",
	"Agent.born":     "it matters only before the log was read, and who uses the key gives it read",
	"outbox.newest":  "it has a key of its own, see below",
	"outbox.sent":    "it has a key of its own, see below",
	"outbox.offered": "it has a key of its own, see below",
	"Facts.Now":      "it is given with each decision",
	"Facts.Log":      "it is given with each decision",
	"Facts.Probes":   "they are given with each decision",
	"Facts.Manifest": "who uses the key reads the files before each decision",
	"Facts.LastGood": "who uses the key reads the files before each decision",
	"Facts.Unit":     "who uses the key reads the unit before each decision",
	"Facts.Right":    "what the facts say is not in the key",
	"Facts.Running":  "what the facts say is not in the key",
	"Facts.Cluster":  "what the facts say is not in the key",
	"Facts.Journal":  "it has a key of its own, see below",
	// The error is a text, and At and Count are in the key of the machine.
	"ActionError.Err": "a text",
}

// Each field changes the key, or unkeyed says why it does not.
func TestKeyForgetsNoField(t *testing.T) {
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	a, _ := New(Options{Nonce: func() string { return "n" }}, restart.Journal{}, now)
	a.facts.Failed = map[restart.ActionKind]restart.ActionError{restart.ActSave: {At: now, Count: 2}}
	a.out = outbox{waiting: true, inFlight: true, at0: now, next: now.Add(time.Hour)}
	key := func() []byte { return a.AppendKey(nil, now, true) }
	fields.Each(t, &a, now.Add(-30*time.Minute), unkeyed, key)

	same := a
	for name, change := range map[string]func(){
		"machine":            func() { a.machine.Announced(now) },
		"journal":            func() { a.facts.Journal.Stage = restart.StageProve },
		"phase":              func() { a.status.Phase = restart.PhaseIdle },
		"code of the reason": func() { a.status.Reason.Code = restart.CodeInSync },
		"newest status":      func() { a.out.newest.Up = true },
		"status in flight":   func() { a.out.sent.Up = true },
		"offered status":     func() { a.out.offered.Up = true },
	} {
		before := key()
		change()
		if bytes.Equal(before, key()) {
			t.Errorf("%s: its change does not change the key", name)
		}
		a = same
	}
}
