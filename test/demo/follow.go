package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"example.com/kpls-agent/test/fleet"
)

// followInterval is the pause between two looks at the status.
const followInterval = 500 * time.Millisecond

// follow shows the status until ok holds. The error of what took too long says
// what was seen last.
func (d *demo) follow(ctx context.Context, title string, ok func(fleet.Report) bool) (fleet.Report, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("this took more than %s", patience))
	defer cancel()
	begin, table, last := time.Now(), "", ""
	for {
		r, err := d.fleet.Status(ctx)
		done := err == nil && ok(r)
		if err == nil {
			last = summary(r)
		}
		if d.live {
			// Without an answer the last table stays.
			if out, _, code := d.fleet.Agents[0].Command(ctx, "status"); code == 0 {
				table = out
			}
			d.draw(
				fmt.Sprintf("\n%s, %.0f s\n\n%s\n%s\n%s\n\n", title, time.Since(begin).Seconds(), table, d.clients(),
					d.balance()),
			)
		} else if err == nil {
			d.change(last, d.clients())
		}
		if done {
			return r, nil
		}
		select {
		case <-ctx.Done():
			return r, errors.Join(fmt.Errorf("%s: %w; the status said last: %s", title, context.Cause(ctx), last), err)
		case <-time.After(followInterval):
		}
	}
}

// summary is a report in one line, without anything that changes at rest.
func summary(r fleet.Report) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%-8s", r.State)
	for _, row := range r.Brokers {
		fmt.Fprintf(&b, "  %d %s", row.Broker, row.Phase)
	}
	if len(r.Active) > 0 {
		fmt.Fprintf(&b, "  probes active: %s", strings.Join(r.Active, ", "))
	}
	return b.String()
}

// clients is what the producer saw so far.
func (d *demo) clients() string {
	f := d.load.Figures()
	return fmt.Sprintf("producer: sent %d, waiting %d, failed %d, longest stall %.2f s", f.Sent,
		f.Sent-f.Acked-f.Failed, f.Failed, f.LongestStall.Seconds())
}

// balance says to which brokers the load balancer sends clients.
func (d *demo) balance() string {
	var b strings.Builder
	fmt.Fprintf(&b, "balancer: %s", d.host)
	for i, a := range d.fleet.Agents {
		state := "out"
		if d.balancer.Up(i) {
			state = "in"
		}
		fmt.Fprintf(&b, "   b%d:%d %s", a.ID, firstPort+i, state)
	}
	return b.String()
}
