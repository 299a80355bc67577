package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"example.com/kpls-agent/test/fleet"
	"example.com/kpls-agent/test/sandbox"
)

const (
	clientPartitions = 6
	clientRate       = 50 // records a second of each producer
	members          = 3  // of the group
	lead             = 5  // seconds of load before and after a roll-out
)

// load is a client that sends or reads, and its account.
type load interface {
	Run(ctx context.Context) (sandbox.Figures, error)
	Figures() sandbox.Figures
	Measure()
}

// client is one of those that a roll-out meets.
type client struct {
	name string
	load load
}

// felt is what the clients felt of one roll-out.
type felt struct {
	Method  string         `json:"method"`
	Seconds float64        `json:"seconds"`
	Moves   int            `json:"leader_moves"`
	Clients []clientReport `json:"clients"`
}

// clientReport is one client's account; times are in seconds.
type clientReport struct {
	Client     string  `json:"client"`
	Sent       int     `json:"sent"`
	Failed     int     `json:"failed"`
	Lost       int     `json:"lost"`
	Duplicated int     `json:"duplicated"`
	Late       int     `json:"later_than_500_ms"`
	P50        float64 `json:"p50"`
	P99        float64 `json:"p99"`
	Longest    float64 `json:"longest"`
	LastError  string  `json:"last_error,omitempty"`
}

// The topics, one for each kind of client: each reader reads its own.
const (
	franzTopic       = "franz-go"
	saramaTopic      = "sarama"
	librdkafkaTopic  = "librdkafka"
	javaTopic        = "java"
	transactionTopic = "transactions"
)

var clientTopics = []string{franzTopic, saramaTopic, librdkafkaTopic, javaTopic, transactionTopic}

// feel rolls by each method, so many times, and returns what the clients felt.
func (b *bench) feel(ctx context.Context, rounds int) ([]felt, error) {
	b.logf("building the client of librdkafka")
	b.librdkafka = filepath.Join(b.Dir, "librdkafka")
	build := exec.CommandContext(ctx, "go", "build", "-o", b.librdkafka, ".")
	build.Dir = filepath.Join("test", "clients", "librdkafka")
	build.Env = append(os.Environ(), "CGO_ENABLED=1")
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%s: %w\n%s", build, err, out)
	}
	for _, topic := range clientTopics {
		if err := b.CreateTopic(ctx, topic, clientPartitions, 3,
			map[string]string{"min.insync.replicas": "2"}); err != nil {
			return nil, err
		}
	}
	var all []felt
	for round := range rounds {
		for i := range methods {
			m := methods[(i+round)%len(methods)] // none is always the first
			f, err := b.feelOne(ctx, m)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", m.name, err)
			}
			all = append(all, f)
		}
	}
	return all, nil
}

// clients are those of one roll-out. The group reads what the franz-go producers send.
func (b *bench) clients(ctx context.Context) (producers []client, group client) {
	options := func(topic string) sandbox.LoadOptions {
		return sandbox.LoadOptions{
			Bootstrap:  b.Bootstrap(),
			Topic:      topic,
			Partitions: clientPartitions,
			Rate:       clientRate,
		}
	}
	java := b.Tool(ctx, filepath.Join("test", "clients", "java", "Producer.java"))
	producers = []client{
		{"franz-go producer 1", sandbox.NewLoad(options(franzTopic))},
		{"franz-go producer 2", sandbox.NewLoad(options(franzTopic))},
		{"Java producer", sandbox.NewProgram(options(javaTopic), java.Args...)},
		{"librdkafka producer", sandbox.NewProgram(options(librdkafkaTopic), b.librdkafka)},
		{"Sarama as TiCDC sets it up", sandbox.NewChangefeed(options(saramaTopic))},
		{"franz-go transactions", sandbox.NewTransactions(options(transactionTopic))},
	}
	return producers, client{"franz-go group of three", sandbox.NewGroup(options(franzTopic), members)}
}

// feelOne rolls once, from a cluster where all is well and each leader is the preferred one.
func (b *bench) feelOne(ctx context.Context, m method) (felt, error) {
	b.logf("%s", m.name)
	if err := errors.Join(b.WaitServing(ctx), b.WaitFullISR(ctx), b.giveWaits(ctx, m.waits)); err != nil {
		return felt{}, err
	}
	leaders, err := b.home(ctx)
	if err != nil {
		return felt{}, err
	}
	if m.agents {
		defer b.fleet.Close()
		if err := errors.Join(b.fleet.Start(ctx), b.fleet.MakeTopic(ctx)); err != nil {
			return felt{}, err
		}
		if err := b.idle(ctx); err != nil {
			return felt{}, err
		}
	}
	moves := &moves{leaders: leaders}
	watching, stop := context.WithCancel(ctx)
	watched := inBackground(func() { moves.watch(watching, b.Cluster, clientTopics) })
	var w whole
	clients, err := b.underAll(ctx, func() error {
		var err error
		w, err = b.rollOut(ctx, m)
		return err
	})
	stop()
	watched()
	f := felt{Method: m.name, Seconds: w.seconds(), Moves: moves.count, Clients: clients}
	if err == nil && m.agents {
		err = b.idle(ctx)
	}
	b.logf("  %.1f s, %d leader moves", f.Seconds, f.Moves)
	return f, err
}

// idle waits until every agent has applied its manifest, or has none.
func (b *bench) idle(ctx context.Context) error {
	_, err := b.fleet.Wait(ctx, "the agents are at rest", func(r fleet.Report) bool {
		return len(r.Claims) == 0 && r.All(len(b.Brokers), func(row fleet.Row) bool {
			return !row.Silent && !row.Drift && (row.Phase == "idle" || row.Phase == "unmanaged")
		})
	})
	return err
}

// home gives every partition its preferred leader, and returns the leaders.
func (b *bench) home(ctx context.Context) (leaders map[string]map[int32]sandbox.Leader, err error) {
	if err := b.ElectAllPreferred(ctx); err != nil {
		return nil, err
	}
	err = until(ctx, "every leader is the preferred one", func() bool {
		var err error
		if leaders, err = b.Leaders(ctx, clientTopics...); err != nil {
			return false
		}
		for _, partitions := range leaders {
			for _, l := range partitions {
				if l.ID != l.Preferred {
					return false
				}
			}
		}
		return true
	})
	return leaders, err
}

// underAll does something while all clients run, between some seconds of load
// before and after. The group ends when all is sent.
func (b *bench) underAll(ctx context.Context, do func() error) ([]clientReport, error) {
	producers, group := b.clients(ctx)
	all := append(slices.Clone(producers), group)
	ctx, cancel := context.WithCancel(ctx) // nothing is worth waiting for once a client has failed
	defer cancel()
	sending, stopSending := context.WithCancel(ctx)
	defer stopSending()
	reading, stopReading := context.WithCancel(ctx)
	defer stopReading()
	reports, errs := make([]clientReport, len(all)), make([]error, len(all))
	start := func(ctx context.Context, i int) func() {
		return func() {
			f, err := all[i].load.Run(ctx)
			if err != nil {
				errs[i] = fmt.Errorf("%s: %w", all[i].name, err)
				cancel()
			}
			reports[i] = account(all[i].name, f)
		}
	}
	last := len(all) - 1
	groupDone := inBackground(start(reading, last))
	var starts []func()
	for i := range producers {
		starts = append(starts, start(sending, i))
	}
	sendingDone := inBackground(starts...)
	err := flow(ctx, all)
	if err == nil {
		for _, c := range all {
			c.load.Measure()
		}
		err = do()
	}
	if err == nil {
		err = flow(ctx, all)
	}
	stopSending()
	sendingDone()
	stopReading()
	groupDone()
	for i, r := range reports {
		b.logf("  %-27s sent %d, failed %d, lost %d, duplicated %d, late %d, p50 %.3f s, p99 %.3f s, longest %.3f s %s",
			all[i].name, r.Sent, r.Failed, r.Lost, r.Duplicated, r.Late, r.P50, r.P99, r.Longest, r.LastError)
	}
	return reports, errors.Join(err, errors.Join(errs...))
}

// flow waits until each client got some seconds' worth of records through.
func flow(ctx context.Context, clients []client) error {
	targets := make([]int, len(clients))
	for i, c := range clients {
		targets[i] = c.load.Figures().Acked + lead*clientRate
	}
	return until(ctx, "the load flows", func() bool {
		for i, c := range clients {
			if c.load.Figures().Acked < targets[i] {
				return false
			}
		}
		return true
	})
}

// inBackground runs these and returns what waits for their ends.
func inBackground(fs ...func()) (wait func()) {
	var running sync.WaitGroup
	for _, f := range fs {
		running.Go(f)
	}
	return running.Wait
}

func account(name string, f sandbox.Figures) clientReport {
	return clientReport{
		Client: name, Sent: f.Sent, Failed: f.Failed, Lost: f.Lost, Duplicated: f.Duplicated, Late: f.Late,
		P50: seconds(f.P50), P99: seconds(f.P99), Longest: seconds(f.LongestStall), LastError: f.LastError,
	}
}

// seconds to the millisecond, which is what the clients' clocks tell.
func seconds(d time.Duration) float64 {
	return float64(d.Round(time.Millisecond).Milliseconds()) / 1000
}
