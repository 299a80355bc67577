package kafka

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// VerifyOptions say how to be the customer.
type VerifyOptions struct {
	// Bootstrap are addresses of the listener that customers use, host:port.
	Bootstrap []string
	// Want is the advertised host:port of every broker by the manifest.
	Want map[int32]string
	// Map gives the address to dial for an advertised host:port or host; what it
	// does not name is dialled as it is. A client without the customer's DNS zone needs it.
	Map map[string]string
	// Login is the customer's.
	Login Login
	// Topic is made for the check and removed after it; it must not exist.
	Topic string
	// Dial replaces the network in tests; nil is TCP.
	Dial DialFunc
}

// VerifyRow is what the customer found of one broker.
type VerifyRow struct {
	Broker int32  `json:"broker"`
	Want   string `json:"want"`
	Got    string `json:"got"`
	// Produced and Consumed are how long a record took to the broker and back.
	Produced time.Duration `json:"produced_ns"`
	Consumed time.Duration `json:"consumed_ns"`
	// Fault is what is wrong; empty is nothing.
	Fault string `json:"fault,omitempty"`
}

// verifyTimeout bounds one produce or consume.
const verifyTimeout = 15 * time.Second

// Verify bootstraps like a customer, compares what every broker advertises with
// the manifest, and produces to and consumes from a partition led by each
// broker. An error means that not even that much could be found out; what is
// wrong with single brokers is in the rows. The topic it makes is removed again.
func Verify(ctx context.Context, o VerifyOptions) (rows []VerifyRow, err error) {
	cl, err := customer(o)
	if err != nil {
		return nil, err
	}
	defer cl.Close()
	got, err := advertised(ctx, cl)
	if err != nil {
		return nil, explain(fmt.Errorf("bootstrap from %v: %w", o.Bootstrap, err))
	}
	ids := map[int32]bool{}
	for id := range o.Want {
		ids[id] = true
	}
	for id := range got {
		ids[id] = true
	}
	for _, id := range slices.Sorted(maps.Keys(ids)) {
		row := VerifyRow{Broker: id, Want: o.Want[id], Got: got[id]}
		switch {
		case row.Got == "":
			row.Fault = "the broker is not named over this listener: it does not have it, or is down"
		case row.Want == "":
			row.Fault = "the broker is not in the manifest"
		case row.Got != row.Want:
			row.Fault = "the broker advertises another address than the manifest says"
		}
		rows = append(rows, row)
	}
	return rows, exchange(ctx, cl, o, got, rows)
}

// customer is a client that resolves names as the customer's network does.
func customer(o VerifyOptions) (*kgo.Client, error) {
	cfg, err := o.Login.tlsConfig()
	if err != nil {
		return nil, fmt.Errorf("log in to Kafka: %w", err)
	}
	mech, err := o.Login.mechanism()
	if err != nil {
		return nil, fmt.Errorf("log in to Kafka: %w", err)
	}
	base := o.Dial
	if base == nil {
		base = (&net.Dialer{Timeout: 5 * time.Second}).DialContext
	}
	mapped := func(ctx context.Context, network, addr string) (net.Conn, error) {
		return base(ctx, network, mapAddress(o.Map, addr))
	}
	return kgo.NewClient(append(common(dialer(mapped, cfg), mech),
		kgo.SeedBrokers(o.Bootstrap...),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.RecordDeliveryTimeout(verifyTimeout),
	)...)
}

func mapAddress(m map[string]string, addr string) string {
	if to := m[addr]; to != "" {
		return to
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil || m[host] == "" {
		return addr
	}
	if _, _, err := net.SplitHostPort(m[host]); err == nil {
		return m[host]
	}
	return net.JoinHostPort(m[host], port)
}

func advertised(ctx context.Context, cl *kgo.Client) (map[int32]string, error) {
	req := kmsg.NewPtrMetadataRequest()
	req.Topics = []kmsg.MetadataRequestTopic{}
	resp, err := req.RequestWith(ctx, cl)
	if err != nil {
		return nil, err
	}
	got := map[int32]string{}
	for _, b := range resp.Brokers {
		got[b.NodeID] = net.JoinHostPort(b.Host, strconv.Itoa(int(b.Port)))
	}
	return got, nil
}

// exchange makes a topic with one partition led by each broker, and sends one
// record through each.
func exchange(ctx context.Context, cl *kgo.Client, o VerifyOptions, got map[int32]string, rows []VerifyRow) (err error) {
	brokers := slices.Sorted(maps.Keys(got))
	if err := createLedByEach(ctx, cl, o.Topic, brokers); err != nil {
		return explain(fmt.Errorf("create the topic %s: %w", o.Topic, err))
	}
	defer func() {
		cctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), verifyTimeout)
		defer cancel()
		if e := deleteTopic(cctx, cl, o.Topic); e != nil {
			err = errors.Join(err, fmt.Errorf("remove the topic %s: %w; remove it with kafka-topics --delete", o.Topic, e))
		}
	}()
	consume := map[string]map[int32]kgo.Offset{o.Topic: {}}
	for i := range brokers {
		consume[o.Topic][int32(i)] = kgo.NewOffset().AtStart()
	}
	for i := range rows {
		p := slices.Index(brokers, rows[i].Broker)
		if p < 0 {
			continue
		}
		begun := time.Now()
		pctx, cancel := context.WithTimeout(ctx, verifyTimeout)
		err := cl.ProduceSync(pctx, &kgo.Record{Topic: o.Topic, Partition: int32(p), Value: []byte("kpls-agent verify")}).FirstErr()
		cancel()
		rows[i].Produced = time.Since(begun)
		if err != nil {
			rows[i].add(fmt.Sprintf("a record could not be produced (%v); clients must reach %s", err, rows[i].Got))
			delete(consume[o.Topic], int32(p))
		}
	}
	cl.AddConsumePartitions(consume)
	readBack(ctx, cl, brokers, rows, len(consume[o.Topic]))
	return nil
}

// readBack consumes one record from each partition that has one.
func readBack(ctx context.Context, cl *kgo.Client, brokers []int32, rows []VerifyRow, expect int) {
	ctx, cancel := context.WithTimeout(ctx, verifyTimeout)
	defer cancel()
	begun := time.Now()
	seen := map[int32]bool{}
	for len(seen) < expect && ctx.Err() == nil {
		cl.PollFetches(ctx).EachRecord(func(r *kgo.Record) {
			id := brokers[r.Partition]
			seen[id] = true
			for i := range rows {
				if rows[i].Broker == id && rows[i].Consumed == 0 {
					rows[i].Consumed = time.Since(begun)
				}
			}
		})
	}
	for i := range rows {
		if rows[i].Got != "" && !seen[rows[i].Broker] && rows[i].Fault == "" {
			rows[i].add("the record could not be consumed in " + verifyTimeout.String())
		}
	}
}

func (r *VerifyRow) add(fault string) {
	if r.Fault != "" {
		r.Fault += "; "
	}
	r.Fault += fault
}

// createLedByEach assigns replicas by hand, so that broker i leads partition i
// and up to two others follow.
func createLedByEach(ctx context.Context, cl *kgo.Client, topic string, brokers []int32) error {
	req := kmsg.NewPtrCreateTopicsRequest()
	req.TimeoutMillis = int32(verifyTimeout.Milliseconds())
	t := kmsg.NewCreateTopicsRequestTopic()
	t.Topic, t.NumPartitions, t.ReplicationFactor = topic, -1, -1
	for i := range brokers {
		a := kmsg.NewCreateTopicsRequestTopicReplicaAssignment()
		a.Partition = int32(i)
		for k := range min(3, len(brokers)) {
			a.Replicas = append(a.Replicas, brokers[(i+k)%len(brokers)])
		}
		t.ReplicaAssignment = append(t.ReplicaAssignment, a)
	}
	req.Topics = append(req.Topics, t)
	resp, err := req.RequestWith(ctx, cl)
	if err != nil {
		return err
	}
	for _, r := range resp.Topics {
		if err := kerr.ErrorForCode(r.ErrorCode); err != nil {
			return err
		}
	}
	return nil
}

func deleteTopic(ctx context.Context, cl *kgo.Client, topic string) error {
	req := kmsg.NewPtrDeleteTopicsRequest()
	req.TimeoutMillis = int32(verifyTimeout.Milliseconds())
	req.TopicNames = []string{topic}
	t := kmsg.NewDeleteTopicsRequestTopic()
	t.Topic = kmsg.StringPtr(topic)
	req.Topics = append(req.Topics, t)
	resp, err := req.RequestWith(ctx, cl)
	if err != nil {
		return err
	}
	for _, r := range resp.Topics {
		if err := kerr.ErrorForCode(r.ErrorCode); err != nil {
			return err
		}
	}
	return nil
}
