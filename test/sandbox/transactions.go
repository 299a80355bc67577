package sandbox

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// transactionInterval is how often a transaction is committed, while none waits.
const transactionInterval = 100 * time.Millisecond

// Transactions is a producer that sends all records in transactions, and a
// consumer that reads what is committed. A record is acknowledged when its
// transaction is.
type Transactions struct {
	opts LoadOptions
	book ledger
	run  uint64
	due  chan int // numbers of records to send
}

// NewTransactions returns such a load; Run runs it.
func NewTransactions(opts LoadOptions) *Transactions {
	return &Transactions{opts: opts.withDefaults(), run: rand.Uint64(), due: make(chan int, 1<<20)}
}

// Figures are those so far, without Lost and Duplicated.
func (t *Transactions) Figures() Figures { return t.book.figures(nil) }

// Measure lets the stalls count of records that are created from now on.
func (t *Transactions) Measure() { t.book.measure() }

// Run sends until ctx ends, then waits until everything is committed and read,
// and sums up. An error means that there is no account.
func (t *Transactions) Run(ctx context.Context) (Figures, error) {
	committed := t.opts
	// The mark of a transaction's end is the last record of a partition.
	committed.Client = slices.Concat(committed.Client,
		[]kgo.Opt{kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords()})
	consumer, err := newReader(committed, t.run)
	if err != nil {
		return Figures{}, err
	}
	defer consumer.close()
	rest := context.WithoutCancel(ctx)
	sent := make(chan error, 1)
	go func() { sent <- t.send(rest) }()
	pace(ctx, t.opts.Rate, func() { t.due <- t.book.create() })
	close(t.due)
	if err := <-sent; err != nil {
		return Figures{}, err
	}
	drain, cancelDrain := context.WithTimeout(rest, drainTimeout)
	defer cancelDrain()
	reads, err := consumer.drain(drain, t.book.size())
	if err != nil {
		return Figures{}, err
	}
	return t.book.figures(reads), nil
}

// send commits one transaction after the other until all that was due is sent.
func (t *Transactions) send(ctx context.Context) error {
	tick := time.NewTicker(transactionInterval)
	defer tick.Stop()
	for {
		producer, err := t.opts.client(
			kgo.TransactionalID(fmt.Sprintf("transactions-%x", t.run)),
			kgo.RecordPartitioner(kgo.ManualPartitioner()),
			kgo.ProducerLinger(0),
			kgo.RecordDeliveryTimeout(deliveryTimeout),
			kgo.UnknownTopicRetries(-1),
		)
		if err != nil {
			return err
		}
		usable, more := true, true
		for usable && more {
			<-tick.C
			var batch []int
			if batch, more = t.take(); len(batch) > 0 {
				usable = t.transact(ctx, producer, batch)
			}
		}
		producer.Close()
		if !more {
			return nil
		}
	}
}

// take is all that is due; more is false at the end.
func (t *Transactions) take() (batch []int, more bool) {
	for {
		select {
		case n, ok := <-t.due:
			if !ok {
				return batch, false
			}
			batch = append(batch, n)
		default:
			return batch, true
		}
	}
}

// transact sends some records in one transaction. The records of one that was
// aborted have failed, as have those of one whose end is not known. It is false if
// the producer cannot go on.
func (t *Transactions) transact(ctx context.Context, producer *kgo.Client, batch []int) (usable bool) {
	ctx, cancel := context.WithTimeout(ctx, deliveryTimeout)
	defer cancel()
	err := producer.BeginTransaction()
	usable = err == nil
	if usable {
		var records []*kgo.Record
		for _, n := range batch {
			records = append(records,
				&kgo.Record{Topic: t.opts.Topic, Partition: int32(n) % t.opts.Partitions, Value: encode(t.run, n)})
		}
		if err = produce(ctx, producer, records); err == nil {
			err = producer.EndTransaction(ctx, kgo.TryCommit)
		}
		if err != nil {
			usable = producer.AbortBufferedRecords(ctx) == nil && producer.EndTransaction(ctx, kgo.TryAbort) == nil
		}
	}
	for _, n := range batch {
		if err != nil {
			t.book.fail(err)
		} else {
			t.book.ack(n)
		}
	}
	return usable
}

// produce is ProduceSync, but for ctx: franz-go does not give up records that it may
// have sent, and was seen not to send others any more. Its client is of no use then.
func produce(ctx context.Context, producer *kgo.Client, records []*kgo.Record) error {
	done := make(chan error, 1)
	go func() { done <- producer.ProduceSync(ctx, records...).FirstErr() }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}
