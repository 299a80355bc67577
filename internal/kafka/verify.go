package kafka

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"golang.org/x/sync/errgroup"

	"example.com/kpls-agent/internal/restart"
	"example.com/kpls-agent/internal/wait"
)

const (
	// verifyTopic is the topic that Verify makes where none is named.
	verifyTopic = "__kpls_agent_verify"
	// verifyWait bounds the attempts with one broker: right after it was made, a
	// partition might not have its leader everywhere.
	verifyWait = 10 * time.Second
	// verifyAtOnce is how many brokers are tried at the same time.
	verifyAtOnce = 16
)

// VerifyOptions says what a customer is promised.
type VerifyOptions struct {
	// Bootstrap are the addresses (host:port) that a customer is given.
	Bootstrap []string
	// Want maps every broker to the host:port it must advertise.
	Want map[int32]string
	// Map says where to dial for a name: the key is an advertised host or
	// host:port, the value a host, or a host:port. For who has no DNS for the names.
	Map map[string]string
	// Login is the customer's.
	Login Login
	// Topic is made and removed again; it must not exist. Empty is __kpls_agent_verify.
	Topic string
	// Dial replaces the network in tests; nil is TCP.
	Dial DialFunc
}

// VerifyRow is what the customer sees of one broker. A duration of 0 means
// that it was not tried, or did not succeed.
type VerifyRow struct {
	Broker int32  `json:"broker"`
	Want   string `json:"want"` // host:port of the manifest, empty for a broker that is not in it
	Got    string `json:"got"`  // host:port that the broker advertises, empty if the cluster does not name it
	// Connected, Produced and Consumed are how long it took to connect and get a
	// first answer, to produce one record with acks=all, and to read it back.
	Connected time.Duration `json:"connected_ns"`
	Produced  time.Duration `json:"produced_ns"`
	Consumed  time.Duration `json:"consumed_ns"`
	// Fault is what is wrong with this broker, empty if nothing is.
	Fault string `json:"fault,omitempty"`
}

// Verify is the customer: it bootstraps from the given addresses, compares what
// every broker advertises with what is wanted, and produces to and consumes
// from a partition led by each broker, over the listener it came in by. The
// rows are by broker. The error is what kept it from trying all of that; the
// rows then hold what was tried. The topic is removed in any case.
func Verify(ctx context.Context, o VerifyOptions) ([]VerifyRow, error) {
	if o.Topic == "" {
		o.Topic = verifyTopic
	}
	cl, err := o.client()
	if err != nil {
		return nil, err
	}
	defer cl.Close()
	v := &verifier{o: o, kgo: cl}
	if err := v.bootstrap(ctx); err != nil {
		return nil, err
	}
	v.each(ctx, func(ctx context.Context, r *VerifyRow) error { return v.connect(ctx, r) })
	err = v.exchange(ctx)
	return v.rows, err
}

func (o VerifyOptions) client() (*kgo.Client, error) {
	if err := o.Login.check(); err != nil {
		return nil, fmt.Errorf("log in as the customer: %w", explain(err))
	}
	mech, err := o.Login.mechanism()
	if err != nil {
		return nil, fmt.Errorf("log in as the customer: %w", err)
	}
	base := o.Dial
	if base == nil {
		base = (&net.Dialer{}).DialContext
	}
	mapped := func(ctx context.Context, network, addr string) (net.Conn, error) {
		return base(ctx, network, o.mapped(addr))
	}
	cl, err := kgo.NewClient(append(common(dialer(mapped, o.Login), mech), kgo.SeedBrokers(o.Bootstrap...))...)
	if err != nil {
		return nil, fmt.Errorf("make a Kafka client: %w", err)
	}
	return cl, nil
}

// mapped returns where to dial for an address.
func (o VerifyOptions) mapped(addr string) string {
	if to, ok := o.Map[addr]; ok {
		return withPort(to, addr)
	}
	host, _, err := net.SplitHostPort(addr)
	if to, ok := o.Map[host]; ok && err == nil {
		return withPort(to, addr)
	}
	return addr
}

func withPort(to, addr string) string {
	if _, _, err := net.SplitHostPort(to); err == nil {
		return to
	}
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return to
	}
	return net.JoinHostPort(to, port)
}

type verifier struct {
	o    VerifyOptions
	kgo  *kgo.Client
	rows []VerifyRow
}

// bootstrap makes a row for every broker that is wanted or named.
func (v *verifier) bootstrap(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, verifyWait)
	defer cancel()
	req := kmsg.NewPtrMetadataRequest()
	req.Topics = []kmsg.MetadataRequestTopic{}
	resp, err := req.RequestWith(ctx, v.kgo)
	if err != nil {
		return fmt.Errorf("bootstrap from %v: %w", v.o.Bootstrap, explain(err))
	}
	got := map[int32]string{}
	for _, b := range resp.Brokers {
		got[b.NodeID] = net.JoinHostPort(b.Host, strconv.Itoa(int(b.Port)))
		if _, ok := v.o.Want[b.NodeID]; !ok {
			v.rows = append(v.rows,
				VerifyRow{Broker: b.NodeID, Got: got[b.NodeID], Fault: "the broker is not in the manifest"})
		}
	}
	for id, want := range v.o.Want {
		row := VerifyRow{Broker: id, Want: want, Got: got[id]}
		switch row.Got {
		case want:
		case "":
			row.Fault = "the cluster does not name the broker on this listener: it is down, or was not restarted with it"
		default:
			row.Fault = fmt.Sprintf("it advertises %s and the manifest says %s", row.Got, want)
		}
		v.rows = append(v.rows, row)
	}
	slices.SortFunc(v.rows, func(a, b VerifyRow) int { return cmp.Compare(a.Broker, b.Broker) })
	return nil
}

// each runs f for every broker that the cluster names, some at a time.
func (v *verifier) each(ctx context.Context, f func(context.Context, *VerifyRow) error) {
	var all errgroup.Group
	all.SetLimit(verifyAtOnce)
	for i := range v.rows {
		if v.rows[i].Got == "" {
			continue
		}
		all.Go(func() error {
			ctx, cancel := context.WithTimeout(ctx, verifyWait)
			defer cancel()
			if err := f(ctx, &v.rows[i]); err != nil && v.rows[i].Fault == "" {
				v.rows[i].Fault = explain(err).Error()
			}
			return nil
		})
	}
	_ = all.Wait() // what fails is in the rows
}

func (v *verifier) connect(ctx context.Context, r *VerifyRow) error {
	start := time.Now()
	req := kmsg.NewPtrMetadataRequest()
	req.Topics = []kmsg.MetadataRequestTopic{}
	if _, err := to[*kmsg.MetadataResponse](ctx, v.kgo, r.Broker, req); err != nil {
		return fmt.Errorf("connect to %s: %w", r.Got, err)
	}
	r.Connected = time.Since(start)
	return nil
}

// exchange produces to and consumes from every broker that can be connected to.
func (v *verifier) exchange(ctx context.Context) (err error) {
	var brokers []int32
	for _, r := range v.rows {
		if r.Connected > 0 {
			brokers = append(brokers, r.Broker)
		}
	}
	if len(brokers) == 0 {
		return errors.New("no broker could be connected to at the address it advertises")
	}
	id, made, err := v.create(ctx, brokers)
	if made {
		defer func() { err = errors.Join(err, v.remove(ctx, brokers)) }()
	}
	if err != nil {
		return err
	}
	v.each(ctx, func(ctx context.Context, r *VerifyRow) error {
		partition := slices.Index(brokers, r.Broker)
		if partition < 0 {
			return nil
		}
		return v.roundTrip(ctx, r, id, int32(partition)) //nolint:gosec // one for each broker
	})
	return nil
}

// roundTrip produces a record to the partition that the broker leads and reads it back.
func (v *verifier) roundTrip(ctx context.Context, r *VerifyRow, id [16]byte, partition int32) error {
	record := restart.Record{Key: "kpls-agent", Value: []byte(rand.Text())}
	batch := encode(producer{id: -1, epoch: -1, sequence: -1}, clientID, []restart.Record{record})
	var offset int64
	produce := func() error {
		resp, err := to[*kmsg.ProduceResponse](ctx, v.kgo, r.Broker, produceRequest(v.o.Topic, id, partition, batch))
		if err != nil {
			return err
		}
		part, err := produced(resp)
		if err != nil {
			return err
		}
		offset = part.BaseOffset
		return kerr.ErrorForCode(part.ErrorCode)
	}
	// The first record waits until the followers of a new partition have found
	// their leader, which takes them seconds; the second one is measured.
	_, err := v.attempt(ctx, produce)
	var took time.Duration
	if err == nil {
		took, err = v.attempt(ctx, produce)
	}
	if err != nil {
		return fmt.Errorf("produce to broker %d at %s: %w", r.Broker, r.Got, notIt(err))
	}
	r.Produced = took
	took, err = v.attempt(ctx, func() error {
		resp, err := to[*kmsg.FetchResponse](ctx, v.kgo, r.Broker,
			fetchRequest(v.o.Topic, id, partition, offset, time.Second))
		if err != nil {
			return err
		}
		part, err := fetched(resp)
		if err != nil {
			return err
		}
		got, _ := kgo.ProcessFetchPartition(kgo.ProcessFetchPartitionOpts{Offset: offset}, part,
			kgo.DefaultDecompressor(), nil)
		if got.Err == nil &&
			!slices.ContainsFunc(got.Records, func(g *kgo.Record) bool { return bytes.Equal(g.Value, record.Value) }) {
			return kerr.OffsetNotAvailable // not replicated yet
		}
		return got.Err
	})
	if err != nil {
		return fmt.Errorf("consume from broker %d at %s: %w", r.Broker, r.Got, notIt(err))
	}
	r.Consumed = took
	return nil
}

// notIt says what an answer of the wrong broker means.
func notIt(err error) error {
	if errors.Is(err, kerr.NotLeaderForPartition) {
		return fmt.Errorf(
			"%w; what answers at this address is another broker, or the broker is fenced: check the load balancer's rules",
			err)
	}
	return err
}

// attempt repeats f while the topic is new to the brokers, and returns how long
// the attempt took that succeeded.
func (v *verifier) attempt(ctx context.Context, f func() error) (time.Duration, error) {
	for n := 1; ; n++ {
		start := time.Now()
		err := f()
		if err == nil {
			return time.Since(start), nil
		}
		if !kerr.IsRetriable(err) || !wait.For(ctx, backoff(n)) {
			return 0, err
		}
	}
}
