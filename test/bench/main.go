package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"example.com/kpls-agent/test/figures"
	"example.com/kpls-agent/test/fleet"
	"example.com/kpls-agent/test/sandbox"
)

// patience bounds the whole run; it only ends one that hangs.
const patience = 40 * time.Minute

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	code, err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	if err != nil {
		fmt.Fprintf(os.Stderr, "bench: %v\n", err)
		code = 1
	}
	cancel()
	os.Exit(code) //nolint:gocritic // cancel has been called
}

// run measures, reports, and returns the exit code.
func run(ctx context.Context, args []string, out, progress io.Writer) (int, error) {
	if _, err := os.Stat(filepath.Join("docs", "performance.md")); err != nil {
		return 1, fmt.Errorf("find the module's documents: %w; run this from the module's root", err)
	}
	strict := true
	if len(args) == 0 {
		var err error
		if strict, err = benchAgent(ctx, out, progress); err != nil {
			return 1, err
		}
	} else if args[0] != "clients" || len(args) > 1 {
		return 1, fmt.Errorf("unknown arguments %q; there is only: clients", args)
	}
	if err := benchClients(ctx, out, progress); err != nil || !strict {
		return 1, err
	}
	return 0, nil
}

// benchAgent measures and reports what the agent costs. It is false if a goal is
// missed by far, and this matters.
func benchAgent(ctx context.Context, out, progress io.Writer) (bool, error) {
	report, err := figures.New(time.Now(), sandbox.Version())
	if err != nil {
		return false, err
	}
	if err := measure(ctx, &report, progress); err != nil {
		return false, err
	}
	if _, err := fmt.Fprintf(out, "\n%s", report.Table()); err != nil {
		return false, err
	}
	return os.Getenv("STRICT") != "1" ||
			!report.FarOff(), report.Write(
			".",
			"bench",
			"README.md",
			"docs/performance.md",
		)
}

// bench is one run on one cluster.
type bench struct {
	*sandbox.Cluster
	fleet    *fleet.Fleet
	report   *figures.Report
	progress io.Writer

	rolled, byHand int    // how many manifests and scripts there were
	librdkafka     string // the program
}

func (b *bench) logf(format string, args ...any) {
	fmt.Fprintf(b.progress, "%s "+format+"\n", append([]any{time.Now().Format("15:04:05")}, args...)...)
}

// measure takes all figures of the agent, the script first, so the agents
// find the brokers as it left them.
func measure(ctx context.Context, r *figures.Report, progress io.Writer) error {
	return onBrokers(ctx, progress, nil, func(b *bench) error {
		b.report = r
		if err := b.CreateTopic(ctx, topic, partitions, 3, map[string]string{"min.insync.replicas": "2"}); err != nil {
			return err
		}
		if err := b.rolls(ctx); err != nil {
			return err
		}
		if err := b.rest(ctx); err != nil {
			return err
		}
		return b.kills(ctx)
	})
}

// onBrokers does something on three brokers with agents that are not started yet.
func onBrokers(
	ctx context.Context,
	progress io.Writer,
	properties map[string]string,
	do func(*bench) error,
) (err error) {
	b := &bench{progress: progress}
	dir, err := os.MkdirTemp("", "kpls-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	b.logf("building the agent")
	bin, err := fleet.Build(ctx, dir)
	if err != nil {
		return err
	}
	b.Cluster, err = sandbox.New(ctx, sandbox.Options{
		Version: sandbox.Version(), PlainJVM: true, Logf: b.logf,
		Properties: func(int32) map[string]string { return properties },
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.Close()) }()
	if err := b.Start(ctx); err != nil {
		return err
	}
	if b.fleet, err = fleet.New(b.Cluster, bin, dir); err != nil {
		return err
	}
	defer b.fleet.Close()
	return do(b)
}

// until polls until ok holds.
func until(ctx context.Context, what string, ok func() bool) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait until %s: %w", what, ctx.Err())
		case <-tick.C:
		}
	}
	return nil
}
