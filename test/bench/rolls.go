package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"example.com/kpls-agent/test/figures"
	"example.com/kpls-agent/test/fleet"
	"example.com/kpls-agent/test/sandbox"
)

// The load of both roll-outs.
const (
	topic      = "orders"
	partitions = 12
	rate       = 200 // records a second
)

// byHandPort is where the first listener of a script listens.
const byHandPort = 39292

// roll is one roll-out over all brokers, as the outside saw it.
type roll struct {
	begin    time.Time // the manifest was written, or the first line edited
	end      time.Time // the probes are open, or the script is done
	restarts []sandbox.Restart
	load     sandbox.Figures
}

func (r roll) seconds() float64 { return r.end.Sub(r.begin).Seconds() }

// own is what the brokers themselves needed.
func (r roll) own() time.Duration {
	var sum time.Duration
	for _, x := range r.restarts {
		sum += x.Own()
	}
	return sum
}

// rolls measures the documented procedure and then the agents.
func (b *bench) rolls(ctx context.Context) error {
	b.logf("the documented procedure as a script")
	script, err := b.underLoad(ctx, b.script)
	if err != nil {
		return fmt.Errorf("roll by script: %w", err)
	}
	b.tell("script", script)

	if err := b.fleet.Start(ctx); err != nil {
		return err
	}
	if err := b.fleet.MakeTopic(ctx); err != nil { // as in every roll-out but a cluster's first one
		return err
	}
	_, err = b.fleet.Wait(ctx, "all agents report", func(r fleet.Report) bool {
		return r.All(len(b.Brokers), func(row fleet.Row) bool { return row.Phase != "unknown" })
	})
	if err != nil {
		return err
	}
	b.logf("the agents' roll-out")
	agents, err := b.underLoad(ctx, b.agents)
	if err != nil {
		return fmt.Errorf("roll by agents: %w", err)
	}
	b.tell("agents", agents)
	b.compare(script, agents)
	return nil
}

// tell prints a roll-out in its parts.
func (b *bench) tell(who string, r roll) {
	before := r.begin
	for _, x := range r.restarts {
		b.logf("  broker %d: %.2f s until stopped, stop %.2f s, start %.2f s, catch-up %.2f s", x.Broker,
			x.Requested.Sub(before).Seconds(), x.Stop().Seconds(), x.Start().Seconds(), x.CatchUp().Seconds())
		before = x.Synced
	}
	b.logf("%s: %.1f s, of which the brokers' own %.1f s; %s", who, r.seconds(), r.own().Seconds(), r.load)
}

// compare makes the figures of the two roll-outs.
func (b *bench) compare(script, agents roll) {
	first, last := agents.restarts[0], agents.restarts[len(agents.restarts)-1]
	var handOver time.Duration
	for i, next := range agents.restarts[1:] {
		handOver = max(handOver, next.Requested.Sub(agents.restarts[i].Synced))
	}
	whole := last.Synced.Sub(agents.begin)
	b.report.Add(
		figures.Figure{
			Name:  "roll-out of 3 brokers, manifest written to last in sync, by the brokers' own stop + start + catch-up",
			Unit:  "x",
			Goal:  new(1.05),
			Value: whole.Seconds() / agents.own().Seconds(),
			Note:  fmt.Sprintf("%.1f s / %.1f s", whole.Seconds(), agents.own().Seconds()),
		},
		figures.Figure{
			Name:  "hand-over, one broker in sync to the next one's stop",
			Unit:  "s",
			Goal:  new(0.5),
			Value: handOver.Seconds(),
			Note:  "worst pair; an upper bound, as the release comes after the sync",
		},
		figures.Figure{
			Name:  "manifest written to first stop",
			Unit:  "s",
			Goal:  new(1.0),
			Value: first.Requested.Sub(agents.begin).Seconds(),
		},
		figures.Figure{
			Name:  "documented procedure as a script",
			Unit:  "s",
			Value: script.seconds(),
			Note:  fmt.Sprintf("the brokers' own part: %.1f s", script.own().Seconds()),
		},
		figures.Figure{
			Name:  "the agents, manifest written to all probes open",
			Unit:  "s",
			Goal:  new(script.seconds()),
			Value: agents.seconds(),
			Note:  "goal: the script's",
		},
		figures.Figure{Name: "longest client stall, script", Unit: "s", Value: script.load.LongestStall.Seconds()},
		figures.Figure{
			Name:  "longest client stall, agents",
			Unit:  "s",
			Goal:  new(script.load.LongestStall.Seconds()),
			Value: agents.load.LongestStall.Seconds(),
			Note:  "goal: the script's",
		},
		figures.Figure{
			Name:  "records lost or failed, agents",
			Goal:  new(0.0),
			Value: float64(agents.load.Lost + agents.load.Failed),
			Note:  fmt.Sprintf("of %d", agents.load.Sent),
		},
	)
}

// underLoad rolls while a producer and a consumer run. A load before it warms
// the brokers, so what is measured is the roll.
func (b *bench) underLoad(
	ctx context.Context,
	do func(context.Context) (begin, end time.Time, err error),
) (roll, error) {
	if _, err := b.withLoad(ctx, func() error { return nil }); err != nil {
		return roll{}, err
	}
	watchCtx, stop := context.WithCancel(ctx)
	watch := sandbox.NewWatcher(b.Cluster, sandbox.FineWatch)
	var watching sync.WaitGroup
	watching.Go(func() { watch.Run(watchCtx) })
	defer watching.Wait()
	defer stop()

	var r roll
	var err error
	r.load, err = b.withLoad(ctx, func() error {
		var err error
		if r.begin, r.end, err = do(ctx); err != nil {
			return err
		}
		var fault error
		err = until(ctx, "every restart is over", func() bool {
			r.restarts, fault = watch.Restarts()
			r.restarts = since(r.restarts, r.begin)
			return fault != nil || len(r.restarts) == len(b.Brokers)
		})
		return errors.Join(err, fault)
	})
	return r, err
}

// since are the restarts that began after t; they are in order.
func since(restarts []sandbox.Restart, t time.Time) []sandbox.Restart {
	for i, r := range restarts {
		if r.Requested.After(t) {
			return restarts[i:]
		}
	}
	return nil
}

// withLoad runs do between some seconds of load before and after.
func (b *bench) withLoad(ctx context.Context, do func() error) (sandbox.Figures, error) {
	loadCtx, stop := context.WithCancel(ctx)
	defer stop()
	load := sandbox.NewLoad(
		sandbox.LoadOptions{Bootstrap: b.Bootstrap(), Topic: topic, Partitions: partitions, Rate: rate})
	var figures sandbox.Figures
	var loadErr error
	var running sync.WaitGroup
	running.Go(func() { figures, loadErr = load.Run(loadCtx) })
	more := func() error {
		target := load.Figures().Acked + 3*rate
		return until(ctx, "the load flows", func() bool { return load.Figures().Acked >= target })
	}
	err := more()
	if err == nil {
		err = do()
	}
	if err == nil {
		err = more()
	}
	stop()
	running.Wait()
	return figures, errors.Join(err, loadErr)
}

// agents writes the manifest and waits until the customer can come in.
func (b *bench) agents(ctx context.Context) (begin, end time.Time, err error) {
	begin = time.Now()
	if err := b.fleet.WriteManifest(b.fleet.Manifest(fleet.ManifestOptions{})); err != nil {
		return begin, end, err
	}
	err = until(ctx, "all probes are open", func() bool {
		for _, a := range b.fleet.Agents {
			if dial(ctx, a.Probe()) != nil {
				return false
			}
		}
		return true
	})
	return begin, time.Now(), err
}

// dial says whether a port accepts.
func dial(ctx context.Context, addr string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	return conn.Close()
}

// script is the procedure as a careful operator writes it down: edit, restart,
// wait for the broker's answer, wait until no partition is under-replicated.
func (b *bench) script(ctx context.Context) (begin, end time.Time, err error) {
	b.byHand++
	name, port := fmt.Sprintf("BYHAND%d", b.byHand), byHandPort+b.byHand
	begin = time.Now()
	for _, br := range b.Brokers {
		if err := br.AddListener(name, port, br.Addr(port)); err != nil {
			return begin, end, err
		}
		if err := br.Restart(ctx); err != nil {
			return begin, end, err
		}
		answers := func(out string) bool {
			return strings.Contains(out, br.Internal()+" (id: ") && !strings.Contains(out, "ERROR")
		}
		if err := b.tool(ctx, answers, apiVersionsClass(sandbox.Version()), "--bootstrap-server",
			br.Internal()); err != nil {
			return begin, end, err
		}
		if err := b.underReplicated(ctx); err != nil {
			return begin, end, err
		}
	}
	return begin, time.Now(), nil
}

// apiVersionsClass is the program behind kafka-broker-api-versions.sh, which 4.0 moved.
func apiVersionsClass(version string) string {
	if strings.HasPrefix(version, "3.") {
		return "kafka.admin.BrokerApiVersionsCommand"
	}
	return "org.apache.kafka.tools.BrokerApiVersionsCommand"
}

// tool repeats one of Kafka's own tools, at once as a shell's loop does, until
// it exits with 0 and says what is wanted.
func (b *bench) tool(ctx context.Context, wanted func(stdout string) bool, class string, args ...string) error {
	for {
		var out, errOut bytes.Buffer
		cmd := b.Tool(ctx, class, args...)
		cmd.Stdout, cmd.Stderr = &out, &errOut
		err := cmd.Run()
		if err == nil && wanted(out.String()) {
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("run %s: %w; it says last:\n%s%s", class, errors.Join(ctx.Err(), err), out.String(),
				errOut.String())
		}
	}
}
