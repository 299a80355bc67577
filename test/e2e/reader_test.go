package e2e

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"example.com/kpls-agent/internal/kafka"
	"example.com/kpls-agent/internal/restart"
)

const (
	// handOvers is how many records the median of a hand-over is taken of.
	handOvers = 15
	// late is how much later a record is read at a follower (3.7.1 and 4.4.0: 497 to 510 ms).
	late = 500 * time.Millisecond
)

// log opens a coordination log of its own topic, and runs it until the test ends.
func (b *bed) log(topic string) *kafka.Log {
	b.Helper()
	cl, err := kafka.Open(kafka.Options{Seeds: b.Bootstrap(), Topic: topic, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(b.Context()))
	done := make(chan struct{})
	go func() { defer close(done); _ = cl.Log().Run(ctx) }()
	b.Cleanup(func() { cancel(); <-done; cl.Close() })
	return cl.Log()
}

// handOver is the median time from before an append until somebody who only reads
// has the record, for each reader.
func (b *bed) handOver(writer *kafka.Log, readers ...*kafka.Log) []time.Duration {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), patience)
	defer cancel()
	took := make([][]time.Duration, len(readers))
	for range handOvers {
		begin := time.Now()
		nonce := fmt.Sprint(begin.UnixNano())
		var read errgroup.Group
		for i, reader := range readers {
			read.Go(func() error {
				err := has(ctx, reader, "claim/1/"+nonce)
				took[i] = append(took[i], time.Since(begin))
				return err
			})
		}
		if err := writer.Append(ctx, restart.NewClaim(restart.Claim{Broker: 1, Target: "t"}, nonce)); err != nil {
			b.Fatal(err)
		}
		if err := read.Wait(); err != nil {
			b.Fatal(err)
		}
		if err := writer.Append(ctx, restart.NewRelease("claim/1/"+nonce)); err != nil {
			b.Fatal(err)
		}
	}
	medians := make([]time.Duration, len(readers))
	for i := range took {
		slices.Sort(took[i])
		medians[i] = took[i][len(took[i])/2]
	}
	return medians
}

// has waits until a reader has a claim.
func has(ctx context.Context, reader *kafka.Log, key string) error {
	for !slices.ContainsFunc(reader.Facts().View.Claims, func(c restart.Claim) bool { return c.Key == key }) {
		select {
		case <-reader.Changed():
		case <-ctx.Done():
			return fmt.Errorf("the reader does not get what was appended: %w %s", ctx.Err(), reader.Facts().Err)
		}
	}
	return nil
}

// readerFollows holds that somebody who only reads the log has each record as soon
// after an election, of which no connection tells, as before. At a former leader it
// comes half a second late, by the follower's high watermark. Other work of the
// machine makes both slow: a reader that began after the election, and so is at the
// right leader, is timed at the same time, and stands for "before" on a machine that has
// become busier.
func (b *bed) readerFollows() {
	b.Helper()
	const topic = "__kpls_agent_of_the_test"
	writer, reader := b.log(topic), b.log(topic)
	before := b.handOver(writer, reader)[0]
	var rounds []string
	for range 10 {
		p, err := b.Partition(b.Context(), topic, 0)
		if err != nil {
			b.Fatal(err)
		}
		moved := append(slices.Clone(p.Replicas[1:]), p.Replicas[0])
		if err := b.Reassign(b.Context(), topic, 0, moved...); err != nil {
			b.Fatal(err)
		}
		if err := b.ElectPreferred(b.Context(), topic, 0); err != nil {
			b.Fatal(err)
		}
		b.until("another broker leads", func() bool {
			now, err := b.Partition(b.Context(), topic, 0)
			return err == nil && now.Leader == moved[0]
		})
		fresh := b.log(topic)
		b.handOver(writer, fresh) // it is there
		after := b.handOver(writer, reader, fresh)
		rounds = append(rounds, fmt.Sprintf("%s after an election, and %s by who began then", after[0], after[1]))
		if limit := max(min(before, late/4), min(after[1], late/2)) * 12 / 10; after[0] <= limit {
			b.Logf("a record is read in %s before: %v", before, rounds)
			return
		}
	}
	b.Errorf("an election makes the reader slow: a record is read in %s before: %v", before, rounds)
}
