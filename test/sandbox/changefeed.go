package sandbox

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"github.com/IBM/sarama"
)

// The changefeed's own timers, as TiCDC sets them.
const (
	sinkTimeout  = 10 * time.Second // dial, read, write
	sinkPause    = 10 * time.Second // before the first rebuild, then doubling
	sinkMaxPause = 10 * time.Minute
)

// Changefeed is a client set up as TiCDC's Kafka sink is: Sarama with its timers
// and few retries. One record that fails tears the sink down; after a pause a new
// one sends everything since the checkpoint, the oldest record not acknowledged, again.
type Changefeed struct {
	opts LoadOptions
	book ledger
	run  uint64

	mu         sync.Mutex
	acked      []bool        // guarded by mu; by number
	checkpoint int           // guarded by mu; all before are acknowledged
	created    chan struct{} // guarded by mu; closed when a record is created
}

// NewChangefeed returns a changefeed; Run runs it.
func NewChangefeed(opts LoadOptions) *Changefeed {
	return &Changefeed{opts: opts.withDefaults(), run: rand.Uint64(), created: make(chan struct{})}
}

// Figures are those so far, without Lost and Duplicated.
func (c *Changefeed) Figures() Figures { return c.book.figures(nil) }

// Measure lets the stalls count of records that are created from now on.
func (c *Changefeed) Measure() { c.book.measure() }

// Run creates records until ctx ends, then waits until all are acknowledged and
// read, and sums up. An error means that there is no account.
func (c *Changefeed) Run(ctx context.Context) (Figures, error) {
	consumer, err := newReader(c.opts, c.run)
	if err != nil {
		return Figures{}, err
	}
	defer consumer.close()
	rest, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	var sinks sync.WaitGroup
	sinks.Go(func() { c.keepSink(rest) })
	defer sinks.Wait()
	defer cancel()

	pace(ctx, c.opts.Rate, c.create)
	drain, cancelDrain := context.WithTimeout(rest, drainTimeout)
	defer cancelDrain()
	if err := c.waitAcked(drain); err != nil {
		return Figures{}, err
	}
	reads, err := consumer.drain(drain, c.book.size())
	if err != nil {
		return Figures{}, err
	}
	return c.book.figures(reads), nil
}

func (c *Changefeed) create() {
	c.book.create()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.acked = append(c.acked, false)
	close(c.created)
	c.created = make(chan struct{})
}

func (c *Changefeed) ack(n int) {
	c.book.ack(n)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.acked[n] = true
	for c.checkpoint < len(c.acked) && c.acked[c.checkpoint] {
		c.checkpoint++
	}
}

// progress returns the checkpoint, the number of records and what is closed when there is one more.
func (c *Changefeed) progress() (checkpoint, size int, more <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.checkpoint, len(c.acked), c.created
}

func (c *Changefeed) waitAcked(ctx context.Context) error {
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		checkpoint, size, _ := c.progress()
		if checkpoint == size {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for the last acknowledgements: %w; %d of %d records are before the checkpoint",
				ctx.Err(), checkpoint, size)
		case <-tick.C:
		}
	}
}

// keepSink builds one sink after the other until ctx ends.
func (c *Changefeed) keepSink(ctx context.Context) {
	pause := sinkPause
	for {
		before, _, _ := c.progress()
		err := c.sink(ctx)
		if ctx.Err() != nil {
			return
		}
		c.book.tornDown(err)
		if after, _, _ := c.progress(); after > before {
			pause = sinkPause
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		pause = min(2*pause, sinkMaxPause)
	}
}

// sink builds one sink and sends through it until a record fails or ctx ends.
func (c *Changefeed) sink(ctx context.Context) error {
	if err := c.inspect(); err != nil {
		return fmt.Errorf("build the sink: %w", err)
	}
	producer, err := sarama.NewAsyncProducer(c.opts.Bootstrap, c.config())
	if err != nil {
		return fmt.Errorf("build the sink: %w", err)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var collectors sync.WaitGroup
	defer collectors.Wait()
	defer producer.AsyncClose()
	collectors.Go(func() {
		for message := range producer.Successes() {
			c.ack(message.Metadata.(int)) //nolint:errcheck // send's own
		}
	})
	collectors.Go(func() {
		for failed := range producer.Errors() {
			if ctx.Err() == nil { // the first failure; those it pulls along are no figure
				c.book.fail(failed.Err)
			}
			cancel(failed.Err)
		}
	})
	return c.send(ctx, producer.Input())
}

// send feeds the sink everything from the checkpoint on, until ctx ends.
func (c *Changefeed) send(ctx context.Context, input chan<- *sarama.ProducerMessage) error {
	n, size, more := c.progress()
	for {
		for ; n < size; n++ {
			select {
			case <-ctx.Done():
				return context.Cause(ctx)
			case input <- &sarama.ProducerMessage{
				Topic: c.opts.Topic, Partition: int32(n) % c.opts.Partitions,
				Value: sarama.ByteEncoder(encode(c.run, n)), Metadata: n,
			}:
			}
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-more:
		}
		_, size, more = c.progress()
	}
}

// inspect asks what TiCDC asks before it builds a sink: the configuration of the
// broker that is named as the controller, and the topic.
func (c *Changefeed) inspect() error {
	admin, err := sarama.NewClusterAdmin(c.opts.Bootstrap, c.config())
	if err != nil {
		return err
	}
	defer admin.Close()
	_, controller, err := admin.DescribeCluster()
	if err != nil {
		return err
	}
	//nolint:staticcheck // what the changefeed itself calls
	_, err = admin.DescribeConfig(sarama.ConfigResource{
		Type:        sarama.BrokerResource,
		Name:        fmt.Sprint(controller),
		ConfigNames: []string{"message.max.bytes", "min.insync.replicas"},
	})
	if err != nil {
		return err
	}
	topics, err := admin.DescribeTopics([]string{c.opts.Topic})
	if err == nil && (len(topics) != 1 || !errors.Is(topics[0].Err, sarama.ErrNoError)) {
		err = fmt.Errorf("describe topic %s: %d answers", c.opts.Topic, len(topics))
	}
	return err
}

// config is Sarama's configuration as TiCDC's sink has it.
func (c *Changefeed) config() *sarama.Config {
	cfg := sarama.NewConfig()
	cfg.ClientID = "changefeed"
	cfg.Version = sarama.V2_8_0_0
	cfg.Net.DialTimeout, cfg.Net.ReadTimeout, cfg.Net.WriteTimeout = sinkTimeout, sinkTimeout, sinkTimeout
	cfg.Net.MaxOpenRequests = 1
	cfg.Net.Proxy.Enable, cfg.Net.Proxy.Dialer = true, saramaDialer(c.opts.Dial)
	cfg.Metadata.Retry.Max, cfg.Metadata.Retry.Backoff = 10, 200*time.Millisecond
	cfg.Metadata.Timeout = 2 * time.Minute
	cfg.Producer.Retry.Max, cfg.Producer.Retry.Backoff = 5, 100*time.Millisecond
	cfg.Producer.RequiredAcks = sarama.WaitForAll
	cfg.Producer.Partitioner = sarama.NewManualPartitioner
	cfg.Producer.Return.Successes, cfg.Producer.Return.Errors = true, true
	return cfg
}

// saramaDialer is Sarama's kind of dialer, with the time-out that Sarama leaves to it.
type saramaDialer DialFunc

// Dial implements proxy.Dialer.
func (d saramaDialer) Dial(network, addr string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), sinkTimeout) //nolint:forbidigo // the interface has none
	defer cancel()
	return d(ctx, network, addr)
}
