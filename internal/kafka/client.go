package kafka

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/sasl"
)

// DefaultTopic is the coordination topic's name.
const DefaultTopic = "__kpls_agent"

// Options says how to reach the cluster.
type Options struct {
	// Seeds are addresses of one listener of the brokers (host:port) to begin
	// with: the configured ones, and those that Addresses gave last time.
	Seeds []string
	// Known are the addresses by broker that OnAddresses was called with last time; nil for none.
	Known map[int32]string
	// Login is the same for all brokers.
	Login Login
	// Self is this agent's own broker, OwnAddress where it listens (host:port),
	// whatever the cluster says of it.
	Self       int32
	OwnAddress string
	// Topic is the coordination topic; empty is DefaultTopic.
	Topic string
	// Makes returns whether this client makes the coordination topic where there is none, before anything is appended.
	// While it is false an Append does not either. With nil, an Append makes the topic.
	Makes func() bool
	// Expect returns how many brokers the cluster is meant to have, 0 if
	// unknown. The coordination topic is not created before as many as it needs
	// for its replicas are there: on the first start of a cluster the first
	// broker up would otherwise hold the only one for ever. nil knows nothing.
	Expect func() int
	// OnAddresses is called with all addresses when a broker's address was
	// learnt. While the own broker is down the others must be found, also after
	// a restart of the agent: keep them. nil is fine.
	OnAddresses func(map[int32]string)
	// Dial replaces the network in tests; nil is TCP.
	Dial DialFunc
	// Metrics counts the requests; nil counts nothing.
	Metrics *Metrics
	// Logger must not be nil.
	Logger *slog.Logger
}

// Client talks to one cluster over the listener that its seeds belong to: brokers
// name themselves by the listener on which they are asked.
type Client struct {
	opts Options
	kgo  *kgo.Client
	own  *own
	log  *Log
	// unpack is bounded by pollBytes.
	unpack kgo.Decompressor

	// kraft is true while DescribeQuorum was answered last.
	kraft  atomic.Bool
	scouts scouts
	life   context.Context // ends with Close
	end    context.CancelFunc

	mu        sync.Mutex
	addresses map[int32]string
	dialErr   error // of the last attempt to connect; nil if it succeeded
}

// Open checks the options and makes a client; it does not connect yet.
func Open(opts Options) (*Client, error) {
	if len(opts.Seeds) == 0 {
		return nil, errors.New("no address of a Kafka broker is known; name one in the agent's settings")
	}
	if opts.Topic == "" {
		opts.Topic = DefaultTopic
	}
	if err := opts.Login.check(); err != nil {
		return nil, fmt.Errorf("log in to Kafka: %w", explain(err))
	}
	mech, err := opts.Login.mechanism()
	if err != nil {
		return nil, fmt.Errorf("log in to Kafka: %w", err)
	}
	dial := newHolds(opts.Login).dialer(opts.Dial)
	c := &Client{
		opts:      opts,
		own:       &own{addr: opts.OwnAddress, dial: dial, mech: mech, m: opts.Metrics},
		addresses: map[int32]string{},
		scouts:    scouts{out: map[int32]*scout{}},
	}
	c.kgo, err = kgo.NewClient(
		append(common(pinned(c.remember(dial)), mech), kgo.SeedBrokers(opts.Seeds...),
			kgo.WithHooks(opts.Metrics, logins{mech != nil}), kgo.MaxDecompressBatchBytes(pollBytes))...)
	if err != nil {
		return nil, fmt.Errorf("make a Kafka client: %w", err)
	}
	c.unpack, _ = c.kgo.OptValue(kgo.WithDecompressor).(kgo.Decompressor)
	c.log = newLog(c)
	c.life, c.end = context.WithCancel(
		context.Background()) //nolint:forbidigo // scouts outlive the question that sent them
	return c, nil
}

// common returns the options of every client of franz-go that this package makes.
func common(dial DialFunc, mech sasl.Mechanism) []kgo.Opt {
	opts := []kgo.Opt{
		kgo.ClientID(clientID),
		kgo.SoftwareNameAndVersion(clientID, "1"),
		kgo.DisableClientMetrics(),
		kgo.Dialer(dial),
		kgo.RequestTimeoutOverhead(answerTimeout),
		kgo.ConnIdleTimeout(4 * time.Minute),
		kgo.RequestRetries(8),
		kgo.RetryBackoffFn(backoff),
		kgo.MetadataMinAge(250 * time.Millisecond),
	}
	if mech != nil {
		opts = append(opts, kgo.SASL(mech))
	}
	return opts
}

// backoff is the wait before the n-th repetition: 50 ms, doubling up to 800 ms.
func backoff(n int) time.Duration { return 50 * time.Millisecond << min(max(n-1, 0), 4) }

// Close ends all connections. Log.Run must have returned.
func (c *Client) Close() {
	c.end()
	c.scouts.all.Wait()
	c.kgo.Close()
	c.own.close()
}

// Log is the coordination log.
func (c *Client) Log() *Log { return c.log }

// Addresses returns the address (host:port) of every broker that was learnt,
// of those that are down at the moment too.
func (c *Client) Addresses() map[int32]string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.addresses)
}

// learn takes the addresses out of an answer. Brokers it does not name keep
// theirs: they might only be down.
func (c *Client) learn(brokers []kmsg.MetadataResponseBroker) {
	c.mu.Lock()
	changed := false
	for _, b := range brokers {
		addr := net.JoinHostPort(b.Host, strconv.Itoa(int(b.Port)))
		if c.addresses[b.NodeID] != addr {
			c.addresses[b.NodeID], changed = addr, true
		}
	}
	c.mu.Unlock()
	if changed {
		c.addressesChanged()
	}
}

// forget drops the addresses of brokers that exist no more.
func (c *Client) forget(exist []int32) {
	c.mu.Lock()
	before := len(c.addresses)
	maps.DeleteFunc(c.addresses, func(id int32, _ string) bool { return !slices.Contains(exist, id) })
	changed := len(c.addresses) != before
	c.mu.Unlock()
	if changed {
		c.addressesChanged()
	}
}

func (c *Client) addressesChanged() {
	all := c.Addresses()
	seeds := slices.Concat(c.opts.Seeds, slices.Collect(maps.Values(all)))
	slices.Sort(seeds)
	if err := c.kgo.UpdateSeedBrokers(slices.Compact(seeds)...); err != nil {
		c.opts.Logger.Warn("use learnt broker addresses", "err", err)
	}
	if c.opts.OnAddresses != nil {
		c.opts.OnAddresses(all)
	}
}

// metadata asks any broker for its metadata of the topics named, which may be
// none, and learns the brokers' addresses.
func (c *Client) metadata(ctx context.Context, topics ...string) (*kmsg.MetadataResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	req := kmsg.NewPtrMetadataRequest()
	req.Topics = []kmsg.MetadataRequestTopic{}
	for _, t := range topics {
		topic := kmsg.NewMetadataRequestTopic()
		topic.Topic = new(t)
		req.Topics = append(req.Topics, topic)
	}
	resp, err := req.RequestWith(ctx, c.kgo)
	if errors.Is(err, context.DeadlineExceeded) {
		c.mu.Lock()
		err = cmp.Or(c.dialErr, err) // the client has tried again until its time was up, and kept to itself why
		c.mu.Unlock()
	}
	if err != nil {
		return nil, err
	}
	c.learn(resp.Brokers)
	return resp, nil
}

// Brokers are the brokers that one of them names as alive, ascending. It is one small request,
// however many topics there are.
func (c *Client) Brokers(ctx context.Context) ([]int32, error) {
	resp, err := c.metadata(ctx)
	if err != nil {
		return nil, fmt.Errorf("ask for the brokers: %w", explain(err))
	}
	ids := make([]int32, len(resp.Brokers))
	for i, b := range resp.Brokers {
		ids[i] = b.NodeID
	}
	slices.Sort(ids)
	return ids, nil
}

// remember keeps the outcome of the last attempt to connect.
func (c *Client) remember(dial DialFunc) DialFunc {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dial(ctx, network, addr)
		c.mu.Lock()
		c.dialErr = err
		c.mu.Unlock()
		return conn, err
	}
}

// millis is a duration as requests carry it.
func millis(d time.Duration) int32 {
	return int32(d.Milliseconds()) //nolint:gosec // only constants of seconds come here
}

// twice asks again where the connection has ended instead of an answer. It may have
// been of an earlier process of the broker; and a broker that has forwarded a request
// in a version which the active controller does not know ends it, so the client
// learns again which versions there are (KIP-590).
func twice[T any](ask func() (T, error)) (T, error) {
	answer, err := ask()
	if err == nil || errors.Is(err, context.DeadlineExceeded) {
		return answer, err
	}
	again, second := ask()
	if unsent(second) {
		again, second = ask()
	}
	if hangUp := new(kgo.ErrFirstReadEOF); errors.As(second, &hangUp) {
		second = err // that it speaks to us, the first connection has shown
	}
	return again, second
}

// unsent is true for a request that was given to a connection which had ended already, so it never left.
// franz-go does not export that error. It is one that can be retried, and none of the network itself.
func unsent(err error) bool {
	var network *net.OpError
	return kgo.IsRetryableBrokerErr(err) && !errors.Is(err, io.EOF) && !errors.As(err, &network)
}

// to sends a request to one broker, once.
func to[R kmsg.Response](ctx context.Context, cl *kgo.Client, broker int32, req kmsg.Request) (R, error) {
	var none R
	resp, err := cl.Broker(int(broker)).Request(ctx, req)
	if err != nil {
		return none, err
	}
	typed, ok := resp.(R)
	if !ok {
		return none, fmt.Errorf("read answer of broker %d: it is of type %T", broker, resp)
	}
	return typed, nil
}
