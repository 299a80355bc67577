package sandbox

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// LoadOptions say what to send, and through which addresses.
type LoadOptions struct {
	Bootstrap []string
	// Dial opens the connections; nil dials as is.
	Dial DialFunc
	// Client is how to log in, where that is needed; it may replace Dial.
	Client []kgo.Opt
	// Topic must exist. Partitions is how many it has.
	Topic      string
	Partitions int32
	// Rate is in records a second; 0 is 200.
	Rate int
}

func (o LoadOptions) withDefaults() LoadOptions {
	if o.Rate == 0 {
		o.Rate = 200
	}
	if o.Dial == nil {
		o.Dial = Names(nil).Dial
	}
	return o
}

func (o LoadOptions) client(opts ...kgo.Opt) (*kgo.Client, error) {
	return kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(o.Bootstrap...),
		kgo.Dialer(o.Dial),
		kgo.MetadataMinAge(100 * time.Millisecond), // judge the cluster, not the client's patience
		// A load balancer accepts a connection before it has one to a broker, and ends it where
		// there is none; without this a record fails instead of being sent again.
		kgo.AlwaysRetryEOF(),
	}, slices.Concat(o.Client, opts)...)...)
}

// deliveryTimeout is the Java producer's delivery.timeout.ms: a record that took longer has failed.
const deliveryTimeout = 2 * time.Minute

// drainTimeout bounds how long the end of a run waits for the last acknowledgements and reads.
const drainTimeout = 3 * time.Minute

// Load is a producer with acks=all and idempotence, and a consumer that reads
// every record of it.
type Load struct {
	opts LoadOptions
	book ledger
	run  uint64 // marks this run's records
}

// NewLoad returns a load; Run runs it.
func NewLoad(opts LoadOptions) *Load {
	return &Load{opts: opts.withDefaults(), run: rand.Uint64()}
}

// Figures are those so far, without Lost and Duplicated.
func (l *Load) Figures() Figures { return l.book.figures(nil) }

// Measure lets the stalls count of records that are created from now on.
func (l *Load) Measure() { l.book.measure() }

// Run sends until ctx ends, then waits until everything is acknowledged and read,
// and sums up. An error means that there is no account.
func (l *Load) Run(ctx context.Context) (Figures, error) {
	producer, err := l.opts.client(
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerLinger(0),
		kgo.RecordDeliveryTimeout(deliveryTimeout),
		// A broker that is just back does not know its partitions yet. The Java producer
		// retries that until its delivery timeout, this client by default four times.
		kgo.UnknownTopicRetries(-1),
		kgo.MaxBufferedRecords(1<<20), // sending goes on at its rate during a stall
	)
	if err != nil {
		return Figures{}, err
	}
	defer producer.Close()
	consumer, err := newReader(l.opts, l.run)
	if err != nil {
		return Figures{}, err
	}
	defer consumer.close()
	rest := context.WithoutCancel(ctx)
	pace(ctx, l.opts.Rate, func() {
		n := l.book.create()
		producer.Produce(rest, l.record(n), func(_ *kgo.Record, err error) {
			if err != nil {
				l.book.fail(err)
				return
			}
			l.book.ack(n)
		})
	})
	drain, cancelDrain := context.WithTimeout(rest, drainTimeout)
	defer cancelDrain()
	if err := producer.Flush(drain); err != nil {
		return Figures{}, fmt.Errorf("wait for the last acknowledgements: %w", err)
	}
	reads, err := consumer.drain(drain, l.book.size())
	if err != nil {
		return Figures{}, err
	}
	return l.book.figures(reads), nil
}

func (l *Load) record(n int) *kgo.Record {
	return &kgo.Record{Topic: l.opts.Topic, Partition: int32(n) % l.opts.Partitions, Value: encode(l.run, n)}
}

// pace calls f rate times a second until ctx ends; after a delay it catches up.
func pace(ctx context.Context, rate int, f func()) {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	begin, done := time.Now(), 0
	for {
		for due := int(time.Since(begin).Seconds() * float64(rate)); done < due; done++ {
			f()
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// encode makes a value of 100 bytes that names its run and number.
func encode(run uint64, n int) []byte {
	value := make([]byte, 100)
	binary.BigEndian.PutUint64(value, run)
	binary.BigEndian.PutUint64(value[8:], uint64(n))
	return value
}

func decode(value []byte) (run uint64, n int) {
	if len(value) < 16 {
		return 0, 0
	}
	return binary.BigEndian.Uint64(value), int(binary.BigEndian.Uint64(value[8:]))
}
