package restart

import (
	"encoding/json"
	"testing"
	"time"
)

// A reason is data for programs, and a sentence for people and for agents of earlier builds.
func TestReasonInARecord(t *testing.T) {
	until := time.Unix(1_800_000_000, 0).UTC()
	r := because(CodeGatePartitions, "%s would come below %d", "ledger-0", 2).of(0).ofPartition("ledger-0").counting(2, 1).lasting(until)
	b, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"code":"gate_partitions","text":"ledger-0 would come below 2","broker":0,"partition":"ledger-0","need":2,"have":1,"until":"2027-01-15T08:00:00Z"}`
	if string(b) != want {
		t.Errorf("got  %s\nwant %s", b, want)
	}
	var back Reason
	if err := json.Unmarshal(b, &back); err != nil {
		t.Fatal(err)
	}
	if !back.Equal(*r) || back.Text() != r.Text() || *back.Broker != 0 || !back.Until.Equal(until) {
		t.Errorf("read as %+v", back)
	}
	if b, _ := json.Marshal(because(CodePaused, "paused")); string(b) != `{"code":"paused","text":"paused"}` {
		t.Errorf("nothing is said of what does not apply: %s", b)
	}
}

func TestReasonsAreCompared(t *testing.T) {
	a := because(CodeTurn, "broker %d goes first (it is %s)%s", int32(1), PhaseWaiting, "")
	for _, c := range []struct {
		name string
		b    *Reason
		want bool
	}{
		{"the same", because(CodeTurn, "broker %d goes first (it is %s)%s", int32(1), PhaseWaiting, ""), true},
		{"another broker", because(CodeTurn, "broker %d goes first (it is %s)%s", int32(2), PhaseWaiting, ""), false},
		{"another code", because(CodeQueue, "broker %d goes first (it is %s)%s", int32(1), PhaseWaiting, ""), false},
		{"the same sentence, read from a record", NewReason(CodeTurn, "broker 1 goes first (it is waiting)"), true},
		{"another sentence", NewReason(CodeTurn, "broker 1 goes first"), false},
	} {
		if got := a.Equal(*c.b); got != c.want {
			t.Errorf("%s: %t", c.name, got)
		}
		if got := c.b.Equal(*a); got != c.want {
			t.Errorf("%s, the other way round: %t", c.name, got)
		}
	}
	if !because(CodeDraining, "%v", []string{"A"}).Equal(*because(CodeDraining, "%v", []string{"A"})) {
		t.Error("lists are compared by what is in them")
	}
}
