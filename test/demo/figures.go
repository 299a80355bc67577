package main

import (
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"example.com/kpls-agent/test/sandbox"
)

// rollOutTable says where the time of a roll-out went, from the manifest's
// writing until the last broker was released. What is neither the brokers' own
// nor the soak that the manifest asks for is the agents' overhead.
func rollOutTable(restarts []sandbox.Restart, written, released time.Time) (string, error) {
	if len(restarts) != 3 {
		return "", fmt.Errorf("%d restarts were seen, expected one of each broker: %+v", len(restarts), restarts)
	}
	var b strings.Builder
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "seconds\tstop\tstart\tcatch-up\tsoak\tagent\t")
	first := restarts[0].Requested.Sub(written)
	fmt.Fprintf(t, "manifest to first stop\t\t\t\t\t%.2f\t\n", first.Seconds())
	own, soaks, overhead := time.Duration(0), time.Duration(0), first
	for i, r := range restarts {
		end := released // of this broker's turn
		if i+1 < len(restarts) {
			end = restarts[i+1].Requested
		}
		agent := end.Sub(r.Requested) - r.Own() - soakOf(i)
		fmt.Fprintf(t, "broker %d\t%.2f\t%.2f\t%.2f\t%.2f\t%.2f\t\n", r.Broker, r.Stop().Seconds(), r.Start().Seconds(),
			r.CatchUp().Seconds(), soakOf(i).Seconds(), agent.Seconds())
		own, soaks, overhead = own+r.Own(), soaks+soakOf(i), overhead+agent
	}
	_ = t.Flush() // a Builder takes everything
	fmt.Fprintf(&b, "roll-out %.2f s = brokers' own %.2f s + soak %.2f s + agents' overhead %.2f s\n",
		released.Sub(written).Seconds(), own.Seconds(), soaks.Seconds(), overhead.Seconds())
	return b.String(), nil
}

// soakOf is the soak of the i-th broker of a roll-out: a quarter once two have passed.
func soakOf(i int) time.Duration {
	if i >= 2 {
		return soak / 4
	}
	return soak
}

func loadTable(f sandbox.Figures) string {
	return fmt.Sprintf("records sent %d, lost %d, failed %d; longest stall %.2f s\n", f.Sent, f.Lost, f.Failed,
		f.LongestStall.Seconds())
}

// judge is nil if every record that was sent is acknowledged and read.
func judge(f sandbox.Figures) error {
	if f.Sent == 0 || f.Lost > 0 || f.Failed > 0 || f.Acked < f.Sent {
		return fmt.Errorf("the clients felt it: %s", f)
	}
	return nil
}
