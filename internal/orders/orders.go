// Package orders says what an operator's command writes to the coordination log, and what an operator reads before
// and after it. It owns the sentences of these commands. It never talks to Kafka and never asks.
package orders

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"example.com/kpls-agent/internal/restart"
)

// Order is one change of the coordination log.
type Order struct {
	// Records are what is written; none where there is nothing to change.
	Records []restart.Record
	// What says what is about to happen, in lines. Question ends with a question mark.
	What, Question string
	// Done says what has happened, in lines.
	Done string
}

// Same is true if two orders write the same: what was agreed to is what is done.
func (o Order) Same(p Order) bool {
	return slices.EqualFunc(o.Records, p.Records, func(a, b restart.Record) bool { return a.Key == b.Key })
}

// Plan works out what happens after some records are in the log.
type Plan func(records []restart.Record) (restart.Plan, error)

// Pause lets no further broker be restarted.
func Pause(by, why string, now time.Time) Order {
	return Order{
		Records: []restart.Record{restart.NewPause(restart.Pause{By: by, Why: why, At: now})},
		Done:    "paused; `kpls-agent resume` ends it",
	}
}

// Resume ends a pause and every halt. plan may be nil: then What does not say what follows.
func Resume(v *restart.View, plan Plan) Order {
	var o Order
	var ends, did []string
	if p := v.Pause; p != nil {
		o.Records = append(o.Records, restart.NewResume())
		ends = append(ends, fmt.Sprintf("ends the pause by %s%s", p.By, detail(p.Why)))
		did = append(did, "the pause by "+p.By+" has ended")
	}
	for _, hash := range slices.Sorted(maps.Keys(v.Halts)) {
		h := v.Halts[hash]
		o.Records = append(o.Records, restart.NewUnhalt(hash))
		ends = append(ends, fmt.Sprintf("lets manifest %s be tried again, which broker %d has halted%s",
			restart.Short(hash), h.Broker, detail(h.Why)))
		did = append(did, fmt.Sprintf("manifest %s, which broker %d had halted, may be tried again",
			restart.Short(hash), h.Broker))
	}
	if len(o.Records) == 0 {
		o.Done = "nothing was paused or halted"
		return o
	}
	o.What = cluster(v) + strings.Join(ends, "\n") + "\n" + o.follows(plan)
	o.Question, o.Done = "Resume?", strings.Join(did, "\n")
	return o
}

// Restart asks for a restart of every broker. It is an error where another one is under way, or where nobody would
// carry it out. plan may be nil.
func Restart(v *restart.View, q restart.Request, plan Plan) (Order, error) {
	if was := v.Request(); was != nil {
		return Order{}, fmt.Errorf("a rolling restart asked for by %s is under way; `kpls-agent status --watch` shows "+
			"it, `kpls-agent restart --cancel` takes it back", was.By)
	}
	if len(v.Statuses) == 0 {
		return Order{}, errors.New("no agent has reported yet, so nobody would restart a broker; " +
			"start kpls-agent on the broker VMs")
	}
	o := Order{Records: []restart.Record{restart.NewRequest(q)}}
	o.What = cluster(v) + "every broker once, without a change of server.properties\n" + o.follows(plan) +
		"This is about brokers. `systemctl restart kpls-agent` restarts the agent of this VM alone, and no broker.\n"
	o.Question = fmt.Sprintf("Restart %s?", brokers(slices.Sorted(maps.Keys(v.Statuses))))
	o.Done = "asked for a rolling restart; `kpls-agent status --watch` shows it, `kpls-agent restart --cancel` takes " +
		"it back" + stands(v)
	return o, nil
}

// stands says that nothing begins before `resume`, in a line of its own, or is empty: with --yes nobody was shown
// what is in the way.
func stands(v *restart.View) string {
	if v.Pause == nil {
		return ""
	}
	return "\nall roll-outs are paused by " + v.Pause.By + detail(v.Pause.Why) +
		"; no broker is restarted before `kpls-agent resume`"
}

// Cancel takes every open request for a rolling restart back.
func Cancel(v *restart.View) Order {
	q := v.Request()
	if q == nil {
		return Order{Done: "no rolling restart is under way"}
	}
	done := []string{"the rolling restart asked for by " + q.By + " is taken back"}
	p := v.Progress(*q)
	for _, part := range []struct {
		ids  []int32
		says string
	}{
		{p.Done, "restarted already"}, {p.UnderWay, "finishing the restart that has begun"}, {p.Left, "not restarted"},
	} {
		if len(part.ids) > 0 {
			done = append(done, part.says+": "+brokers(part.ids))
		}
	}
	return Order{Records: v.EndRequests(), Done: strings.Join(done, "\n")}
}

// Release removes the claim of a broker. It is an error where that broker holds none. age says how long ago
// something was.
func Release(v *restart.View, broker int32, by string, now time.Time, age func(time.Duration) string) (Order, error) {
	claim, _, ok := v.Claim(broker)
	if !ok {
		return Order{}, fmt.Errorf("broker %d holds no claim%s", broker, holders(v))
	}
	o := Order{Records: []restart.Record{
		restart.NewTakeover(by, claim, "kpls-agent release", now), restart.NewRelease(claim.Key),
	}}
	heard := "nothing was ever heard of its agent"
	if st, ok := v.Statuses[broker]; ok {
		heard = fmt.Sprintf("its agent last reported %s ago (%s: %s)", age(now.Sub(st.Seen)), st.Phase,
			st.Reason.Text())
	}
	o.What = fmt.Sprintf("%sremoves the claim that broker %d made %s ago; %s\n"+
		"If that broker is in the middle of a restart, another one may go down at the same time.\n",
		cluster(v), broker, age(now.Sub(claim.At)), heard)
	o.Question = fmt.Sprintf("Remove the claim of broker %d?", broker)
	o.Done = fmt.Sprintf("the claim of broker %d is removed", broker)
	return o, nil
}

// follows says which brokers are restarted after the order, and what is in the way.
func (o Order) follows(plan Plan) string {
	if plan == nil {
		return ""
	}
	p, err := plan(o.Records)
	if err != nil {
		return fmt.Sprintf("The order, and what is in the way, cannot be seen from this VM: %v\n", err)
	}
	under := ""
	if len(p.UnderWay) > 0 {
		under = fmt.Sprintf("restarts under way: %s\n", brokers(p.UnderWay))
	}
	switch {
	case len(p.Order) == 0 && under == "":
		return "No broker is to be restarted.\n"
	case len(p.Order) == 0:
		return under + "No other broker is to be restarted.\n"
	}
	text := under + fmt.Sprintf("restarts, in this order: %s\n", brokers(p.Order))
	obstacles := p.Obstacles()
	if len(obstacles) == 0 {
		return text + "in the way now: nothing\n"
	}
	for _, r := range obstacles {
		text += fmt.Sprintf("in the way now: %s (%s)\n", r.Text(), r.Code)
	}
	return text
}

// cluster names the cluster, as the agents do.
func cluster(v *restart.View) string {
	for _, id := range slices.Sorted(maps.Keys(v.Statuses)) {
		if name := v.Statuses[id].Cluster; name != "" {
			return "cluster " + name + ", " + brokers(slices.Sorted(maps.Keys(v.Statuses))) + "\n"
		}
	}
	return ""
}

// most is how many brokers are named one by one.
const most = 20

func brokers(ids []int32) string {
	if n := len(ids); n > most {
		return fmt.Sprintf("%d brokers (%d, %d, %d, ... %d)", n, ids[0], ids[1], ids[2], ids[n-1])
	}
	var b strings.Builder
	b.WriteString("broker")
	if len(ids) > 1 {
		b.WriteString("s")
	}
	for i, id := range ids {
		sep := ", "
		if i == 0 {
			sep = " "
		}
		fmt.Fprintf(&b, "%s%d", sep, id)
	}
	return b.String()
}

func holders(v *restart.View) string {
	if len(v.Claims) == 0 {
		return "; nobody does"
	}
	ids := make([]int32, 0, len(v.Claims))
	for _, c := range v.Claims {
		ids = append(ids, c.Broker)
	}
	return "; held by " + brokers(ids)
}

func detail(s string) string {
	if s == "" {
		return ""
	}
	return ": " + s
}
