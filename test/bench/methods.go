package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"example.com/kpls-agent/test/fleet"
	"example.com/kpls-agent/test/sandbox"
)

// election is when the preferred leaders are elected.
type election int

const (
	never election = iota
	atTheEnd
	afterEach // broker
)

// method is a way to restart all brokers.
type method struct {
	name     string
	short    string // in the plot
	agents   bool
	election election
	roll     func(*bench, context.Context) error // returns once the last broker was restarted, or is about to be
	waits    bool                                // the brokers have the short waits, from before the roll-out on
}

var methods = []method{
	{"agents, no election", "agents", true, never, (*bench).nextManifest, false},
	{"agents, election at the end", "at the end", true, atTheEnd, (*bench).nextManifest, false},
	{"agents, election after each broker", "after each", true, afterEach, (*bench).nextManifest, false},
	{"documented procedure as a script", "script", false, never, (*bench).nextByHand, false},
	{"restart loop until nothing is under-replicated", "loop", false, never, (*bench).loop, false},
	{"the same loop, short waits", "loop, short", false, never, (*bench).loop, true},
	{"agents, no election, short waits", "agents, short", true, never, (*bench).nextManifest, true},
}

// shortWaits is what `kpls-agent check` proposes for the brokers' broker_properties.
var shortWaits = []string{"metadata.max.idle.interval.ms=50", "replica.fetch.backoff.ms=50"}

// giveWaits gives the brokers the short waits, or Kafka's own, and restarts them if they have the other ones. It is no
// part of what is measured: the settings count on the brokers that stay up.
func (b *bench) giveWaits(ctx context.Context, short bool) error {
	for _, br := range b.Brokers {
		changed := false
		err := br.Edit(func(file string) string {
			rest := file
			for _, line := range shortWaits {
				rest = strings.ReplaceAll(rest, line+"\n", "")
			}
			if short {
				rest += strings.Join(shortWaits, "\n") + "\n"
			}
			changed = rest != file
			return rest
		})
		if err == nil && changed {
			err = errors.Join(br.Restart(ctx), b.WaitFullISR(ctx))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// soak is long enough that an election after a broker is over before the next one goes.
const soak = "2s"

// nextManifest has the agents roll out another advertised port.
func (b *bench) nextManifest(context.Context) error {
	b.rolled++
	return b.fleet.WriteManifest(b.fleet.Manifest(fleet.ManifestOptions{FirstPort: 9093 + 10*b.rolled, Soak: soak}))
}

func (b *bench) nextByHand(ctx context.Context) error {
	_, _, err := b.script(ctx)
	return err
}

// loop is the shortest script there is: restart a broker, and go on when
// kafka-topics.sh --describe --under-replicated-partitions prints nothing.
func (b *bench) loop(ctx context.Context) error {
	for _, br := range b.Brokers {
		if err := br.Restart(ctx); err != nil {
			return err
		}
		if err := b.underReplicated(ctx); err != nil {
			return err
		}
	}
	return nil
}

// whole is one roll-out of all brokers by a method.
type whole struct {
	begin, end time.Time // the last broker in sync, or the script done, and any election over
}

func (w whole) seconds() float64 { return w.end.Sub(w.begin).Seconds() }

// rollOut rolls by a method.
func (b *bench) rollOut(ctx context.Context, m method) (w whole, err error) {
	watching, stop := context.WithCancel(ctx)
	watch := sandbox.NewWatcher(b.Cluster, sandbox.FineWatch)
	done := inBackground(func() { watch.Run(watching) })
	defer done()
	defer stop()
	w.begin = time.Now()
	rolled := make(chan error, 1)
	go func() { rolled <- m.roll(b, ctx) }()
	var elected []time.Time // the ends of elections
	for n := range b.Brokers {
		var restarts []sandbox.Restart
		var fault error
		err := until(ctx, fmt.Sprintf("%d brokers were restarted", n+1), func() bool {
			restarts, fault = watch.Restarts()
			restarts = since(restarts, w.begin)
			return fault != nil || len(restarts) > n || failed(rolled, &fault)
		})
		if err := errors.Join(err, fault); err != nil {
			return w, err
		}
		w.end = restarts[n].Synced
		if n > 0 && m.election == afterEach && !elected[n-1].Before(restarts[n].Requested) {
			return w, fmt.Errorf("broker %d went before the election after broker %d was over", restarts[n].Broker,
				restarts[n-1].Broker)
		}
		if m.election == afterEach || m.election == atTheEnd && n == len(b.Brokers)-1 {
			if err := b.ElectAllPreferred(ctx); err != nil {
				return w, err
			}
			w.end = time.Now()
			elected = append(elected, w.end)
		}
	}
	if !m.agents {
		err = <-rolled
		w.end = time.Now()
	}
	return w, err
}

// failed takes an error of a method that has ended too early.
func failed(rolled chan error, err *error) bool {
	select {
	case e := <-rolled:
		rolled <- e
		*err = e
	default:
	}
	return *err != nil
}

// underReplicated waits as a script does.
func (b *bench) underReplicated(ctx context.Context) error {
	empty := func(out string) bool { return strings.TrimSpace(out) == "" }
	return b.tool(ctx, empty, "org.apache.kafka.tools.TopicCommand", "--bootstrap-server",
		strings.Join(b.Bootstrap(), ","), "--describe", "--under-replicated-partitions")
}

// moves counts how often a partition got another leader.
type moves struct {
	leaders map[string]map[int32]sandbox.Leader // those known last
	count   int
}

// watch looks at the leaders of these topics until ctx ends.
func (m *moves) watch(ctx context.Context, c *sandbox.Cluster, topics []string) {
	sandbox.Every(ctx, 50*time.Millisecond, func() {
		seen, err := c.Leaders(ctx, topics...)
		if err != nil {
			return // the broker that was asked is down
		}
		m.compare(seen)
	})
}

// compare believes newer epochs only: brokers learn of a move one after the other.
// A partition without a leader has not moved yet.
func (m *moves) compare(seen map[string]map[int32]sandbox.Leader) {
	for topic, partitions := range seen {
		for partition, leader := range partitions {
			before := m.leaders[topic][partition]
			if leader.ID < 0 || leader.Epoch <= before.Epoch {
				continue
			}
			if leader.ID != before.ID {
				m.count++
			}
			m.leaders[topic][partition] = leader
		}
	}
}
