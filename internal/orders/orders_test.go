package orders

import (
	"errors"
	"flag"
	"fmt"
	"strings"
	"testing"
	"time"

	"example.com/kpls-agent/internal/restart"
	"example.com/kpls-agent/test/tables"
)

var update = flag.Bool("update", false, "write the golden files")

var now = time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC)

func logOf(records ...restart.Record) *restart.View {
	v := restart.NewView()
	for _, r := range records {
		r.Offset, r.Time = v.Next, now.Add(-5*time.Second)
		v.Fold(r)
	}
	return v
}

func status(id int32, target string, p restart.Phase) restart.Record {
	return restart.NewStatus(restart.Status{
		Broker: id, Cluster: "kafka-pls", Manifest: "3fa9c1d2e4b5aaaa", Target: target, Phase: p, Up: true,
		Drift:  p != restart.PhaseIdle && p != restart.PhaseSoaking,
		Reason: *restart.NewReason(restart.CodeSoaking, "healthy; must stay so for 1m0s"),
	})
}

// TestOrders holds what operators read before and after each order, and the keys that it writes.
func TestOrders(t *testing.T) {
	const h = "3fa9c1d2e4b5aaaa"
	rest := []restart.Record{
		status(1, h, restart.PhaseIdle), status(2, h, restart.PhaseIdle), status(3, h, restart.PhaseIdle),
	}
	with := func(records ...restart.Record) *restart.View { return logOf(append(rest[:3:3], records...)...) }
	q := restart.Request{ID: "q", By: "ann@vm1"}
	rolling := logOf(restart.NewRequest(q),
		status(1, h+"+q", restart.PhaseIdle), status(2, h+"+q", restart.PhaseSoaking),
		status(3, h+"+q", restart.PhaseWaiting), restart.NewClaim(restart.Claim{Broker: 2, Target: h + "+q"}, "n"))
	free := func([]restart.Record) (restart.Plan, error) { return restart.Plan{Order: []int32{2, 1, 3}}, nil }
	under := func([]restart.Record) (restart.Plan, error) {
		return restart.Plan{Order: []int32{2, 1}, UnderWay: []int32{3}}, nil
	}
	last := func([]restart.Record) (restart.Plan, error) { return restart.Plan{UnderWay: []int32{3}}, nil }
	blocked := func([]restart.Record) (restart.Plan, error) {
		return restart.Plan{
			Order:   []int32{1, 2, 3},
			Blocked: restart.NewReason(restart.CodeTurn, "broker 1 goes first (it is idle)"),
			Also:    []restart.Reason{*restart.NewReason(restart.CodePaused, "paused by ann")},
			Gates:   []restart.GateResult{{Name: restart.CodeGateQuorum, Blocked: "voter 3 is behind"}},
		}, nil
	}
	unseen := func([]restart.Record) (restart.Plan, error) { return restart.Plan{}, errors.New("no manifest") }
	nothing := func([]restart.Record) (restart.Plan, error) { return restart.Plan{}, nil }
	paused := restart.NewPause(restart.Pause{By: "ann@vm1", Why: "black friday"})
	halted := restart.NewHalt(restart.Halt{Manifest: h, Broker: 2, Why: "the process ended"})
	claim := restart.NewClaim(restart.Claim{Broker: 2, At: now.Add(-time.Minute)}, "n")
	age := func(d time.Duration) string { return d.String() }
	release := func(v *restart.View, id int32) func() (Order, error) {
		return func() (Order, error) { return Release(v, id, "ann@vm1", now, age) }
	}
	ask := func(v *restart.View, p Plan) func() (Order, error) {
		return func() (Order, error) { return Restart(v, q, p) }
	}
	plain := func(o Order) func() (Order, error) { return func() (Order, error) { return o, nil } }

	var many []restart.Record
	for id := range int32(300) {
		many = append(many, status(id, h, restart.PhaseIdle))
	}
	var b strings.Builder
	for _, c := range []struct {
		name string
		give func() (Order, error)
	}{
		{"pause", plain(Pause("ann@vm1", "black friday", now))},
		{"resume of a pause", plain(Resume(with(paused), free))},
		{"resume of a pause and a halt, where something else is in the way", plain(Resume(with(paused, halted), blocked))},
		{"resume where no broker differs", plain(Resume(with(paused), nothing))},
		{"resume without a question", plain(Resume(with(paused), nil))},
		{"resume of nothing", plain(Resume(with(), free))},
		{"restart", ask(with(), free)},
		{"restart, with something in the way", ask(with(paused), blocked)},
		{"restart in a pause, without a question", ask(with(paused), nil)},
		{"restart while a broker is under way for the manifest", ask(with(), under)},
		{"resume where the last broker is under way", plain(Resume(with(paused), last))},
		{"restart, from a VM without a manifest", ask(with(), unseen)},
		{"restart of many", ask(logOf(many...), nil)},
		{"restart while one is under way", ask(rolling, free)},
		{"restart without agents", ask(logOf(), free)},
		{"restart --cancel", plain(Cancel(rolling))},
		{"restart --cancel of nothing", plain(Cancel(with()))},
		{"release", release(with(status(2, h, restart.PhaseSoaking), claim), 2)},
		{"release of an agent that never reported", release(logOf(claim), 2)},
		{"release of another broker", release(with(claim), 3)},
		{"release of nothing", release(with(), 3)},
	} {
		fmt.Fprintf(&b, "== %s\n", c.name)
		o, err := c.give()
		if err != nil {
			fmt.Fprintf(&b, "error: %v\n\n", err)
			continue
		}
		if o.Question != "" {
			fmt.Fprintf(&b, "%s%s\n", o.What, o.Question)
		}
		fmt.Fprintf(&b, "-> %s\n", strings.ReplaceAll(o.Done, "\n", "\n-> "))
		for _, r := range o.Records {
			how := "writes"
			if r.Value == nil {
				how = "deletes"
			}
			fmt.Fprintf(&b, "%s %s\n", how, r.Key)
		}
		b.WriteString("\n")
	}
	if err := tables.HoldFile("testdata/orders.txt", b.String(), *update); err != nil {
		t.Error(err)
	}
}

// TestSame: an order is the one that was agreed to as long as it writes the same keys.
func TestSame(t *testing.T) {
	claim := func(nonce string) *restart.View {
		return logOf(restart.NewClaim(restart.Claim{Broker: 2}, nonce))
	}
	of := func(v *restart.View) Order {
		o, err := Release(v, 2, "ann", now, time.Duration.String)
		if err != nil {
			t.Fatal(err)
		}
		return o
	}
	if !of(claim("a")).Same(of(claim("a"))) {
		t.Error("the same claim is another order")
	}
	if of(claim("a")).Same(of(claim("b"))) {
		t.Error("a newer claim is the same order")
	}
}
