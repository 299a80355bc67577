package e2e

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

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
// has the record.
func (b *bed) handOver(writer, reader *kafka.Log) time.Duration {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), patience)
	defer cancel()
	var took []time.Duration
	for range handOvers {
		begin := time.Now()
		nonce := fmt.Sprint(begin.UnixNano())
		if err := writer.Append(ctx, restart.NewClaim(restart.Claim{Broker: 1, Target: "t"}, nonce)); err != nil {
			b.Fatal(err)
		}
		has := func(c restart.Claim) bool { return c.Key == "claim/1/"+nonce }
		for !slices.ContainsFunc(reader.Facts().View.Claims, has) {
			select {
			case <-reader.Changed():
			case <-ctx.Done():
				b.Fatal("the reader does not get what was appended: ", reader.Facts().Err)
			}
		}
		took = append(took, time.Since(begin))
		if err := writer.Append(ctx, restart.NewRelease("claim/1/"+nonce)); err != nil {
			b.Fatal(err)
		}
	}
	slices.Sort(took)
	return took[len(took)/2]
}

// readerFollows holds that somebody who only reads the log has each record as soon
// after an election, of which no connection tells, as before. At a former leader it
// comes half a second late, by the follower's high watermark. Other work on the
// machine can make a round slow; it does not make one fast.
func (b *bed) readerFollows() {
	b.Helper()
	const topic = "__kpls_agent_of_the_test"
	writer, reader := b.log(topic), b.log(topic)
	var before time.Duration
	b.until("the machine is quick enough to tell", func() bool {
		before = b.handOver(writer, reader)
		return before < late/4
	})
	var rounds []time.Duration
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
		after := b.handOver(writer, reader)
		rounds = append(rounds, after)
		if after <= before*12/10 {
			b.Logf("a record is read after %s, and after %v when a leader was elected", before, rounds)
			return
		}
	}
	b.Errorf("an election makes the reader slow: a record was read after %s, and now after %v", before, rounds)
}
