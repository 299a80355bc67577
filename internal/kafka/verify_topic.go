package kafka

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"example.com/kpls-agent/internal/restart"
	"example.com/kpls-agent/internal/wait"
)

// moreConnections is over how many further connections each broker is produced to. Behind
// a pool of three brokers in place of one, a mistake of all ports is missed by chance once
// in 3^6 times.
const moreConnections = 2

// trial is the topic in which records are exchanged.
type trial struct {
	v     *verifier
	paths []*path // the i-th leads the i-th partition
	doors []*path // over which a topic can be made: also those that lead to another broker
	id    [16]byte
}

// exchange produces to and consumes from every broker that can be connected to.
func (v *verifier) exchange(ctx context.Context) *VerifyFault {
	t := &trial{v: v}
	for _, p := range v.paths {
		if p.row.Connected > 0 {
			t.paths = append(t.paths, p)
		} else if p.wire != nil {
			t.doors = append(t.doors, p)
		}
	}
	t.doors = append(slices.Clone(t.paths), t.doors...)
	if len(t.paths) == 0 {
		return nil // each row says why
	}
	made, fault := t.create(ctx)
	if fault == nil {
		v.each(ctx, func(ctx context.Context, p *path) error {
			partition := slices.Index(t.paths, p)
			if partition < 0 {
				return nil
			}
			return t.roundTrip(ctx, p, int32(partition)) //nolint:gosec // one for each broker
		})
	}
	if left := t.remove(ctx, made); fault == nil {
		fault = left
	}
	return fault
}

const rightsAdvice = "give it Create, Describe, Write, Read and Delete on topics whose names begin with " +
	"kpls-agent-verify-; without them, addresses and connections were tried all the same"

// create makes the topic: one partition for each broker, which leads it. made
// is false only if the topic was certainly not made by us.
func (t *trial) create(ctx context.Context) (made bool, fault *VerifyFault) {
	topic := kmsg.NewCreateTopicsRequestTopic()
	topic.Topic, topic.NumPartitions, topic.ReplicationFactor = t.v.o.Topic, -1, -1
	for i := range t.paths {
		a := kmsg.NewCreateTopicsRequestTopicReplicaAssignment()
		a.Partition = int32(i)
		for r := range min(replicasWanted, len(t.paths)) {
			a.Replicas = append(a.Replicas, t.paths[(i+r)%len(t.paths)].row.Broker)
		}
		topic.ReplicaAssignment = append(topic.ReplicaAssignment, a)
	}
	// The listener is on trial, not the health of the replicas.
	cfg := kmsg.NewCreateTopicsRequestTopicConfig()
	cfg.Name, cfg.Value = "min.insync.replicas", new("1")
	topic.Configs = append(topic.Configs, cfg)
	req := kmsg.NewPtrCreateTopicsRequest()
	req.Topics, req.TimeoutMillis = append(req.Topics, topic), millis(writeWait)

	at, err := t.admin(ctx, false, func(ctx context.Context, p *path) error {
		resp, err := over[*kmsg.CreateTopicsResponse](ctx, p, req)
		if err != nil {
			return err
		}
		if len(resp.Topics) != 1 {
			return errors.New("the answer does not have the topic")
		}
		t.id = resp.Topics[0].TopicID
		return notMade(resp.Topics[0])
	})
	cannot := fmt.Sprintf("the topic %s cannot be made, so nothing was produced: ", t.v.o.Topic)
	switch {
	case err == nil:
		t.v.madeAt = t.v.dialled(at.addr)
		return true, nil
	case errors.Is(err, kerr.TopicAlreadyExists):
		return false, &VerifyFault{faultTopic, cannot + "it exists already", whereCommand, "remove it, or try again"}
	case denied(err):
		return false, &VerifyFault{
			faultRights, cannot + "the customer's user has no right to make it (" + err.Error() + ")",
			whereCustomer, rightsAdvice,
		}
	case errors.Is(err, kerr.PolicyViolation), errors.Is(err, kerr.InvalidTopicException):
		return false, &VerifyFault{
			faultTopic, cannot + err.Error(), whereBroker,
			"let the cluster's create.topic.policy allow topics whose names begin with kpls-agent-verify-",
		}
	case tooFewBrokers(err):
		return false, &VerifyFault{faultTopic, cannot + err.Error(), whereBroker, cordonAdvice}
	case errors.Is(err, kerr.NotController):
		return false, &VerifyFault{
			faultTopic, cannot + err.Error(), whereBroker,
			"in ZooKeeper mode the controller must be reached over this listener; see what its own row says",
		}
	}
	f := t.v.fault(at.addr, err)
	f.Text = cannot + f.Text
	return true, f
}

// remove deletes the topic, also when the context has ended already.
func (t *trial) remove(ctx context.Context, made bool) *VerifyFault {
	if !made {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), verifyWait)
	defer cancel()
	name := t.v.o.Topic
	topic := kmsg.NewDeleteTopicsRequestTopic()
	topic.Topic = &name
	req := kmsg.NewPtrDeleteTopicsRequest()
	req.Topics, req.TopicNames = append(req.Topics, topic), []string{name}
	req.TimeoutMillis = millis(writeWait)
	_, err := repeat(ctx, func() error {
		_, err := t.admin(ctx, true, func(ctx context.Context, p *path) error {
			resp, err := over[*kmsg.DeleteTopicsResponse](ctx, p, req)
			if err != nil {
				return err
			}
			if len(resp.Topics) != 1 {
				return errors.New("the answer does not have the topic")
			}
			return kerr.ErrorForCode(resp.Topics[0].ErrorCode)
		})
		return err
	})
	if err == nil || errors.Is(err, kerr.UnknownTopicOrPartition) {
		return nil
	}
	return &VerifyFault{
		faultTopic, fmt.Sprintf("the topic %s may still be there: its removal failed (%v)", name, err), whereCommand,
		"remove it with kafka-topics --delete --topic " + name,
	}
}

// admin asks one broker after another while they say that another one must be
// asked: in ZooKeeper mode only the controller takes such requests, and in
// KRaft any broker forwards them. With `harmless` it goes on also after a
// failure that leaves the outcome open. It returns whom it asked last.
func (t *trial) admin(
	ctx context.Context,
	harmless bool,
	f func(context.Context, *path) error,
) (at *path, err error) {
	for _, at = range t.doors {
		err = f(ctx, at)
		open := err != nil && !kafkaError(err)
		if !errors.Is(err, kerr.NotController) && (!harmless || !open) {
			break
		}
	}
	return at, err
}

// roundTrip produces a record to the partition that the broker leads and reads it back.
func (t *trial) roundTrip(ctx context.Context, p *path, partition int32) error {
	record := restart.Record{Key: "kpls-agent", Value: []byte(rand.Text())}
	batch := encode(producer{id: -1, epoch: -1, sequence: -1}, clientID, []restart.Record{record})
	var offset int64
	produce := func() error {
		resp, err := over[*kmsg.ProduceResponse](ctx, p, produceRequest(t.v.o.Topic, t.id, partition, batch))
		if err != nil {
			return err
		}
		part, err := produced(resp)
		if err != nil {
			return err
		}
		offset = part.BaseOffset
		err = kerr.ErrorForCode(part.ErrorCode)
		if errors.Is(err, kerr.NotLeaderForPartition) {
			if is, led := t.leads(ctx, p, partition, batch); led {
				return p.other(is)
			}
		}
		return err
	}
	// The first record waits until the followers of a new partition have found
	// their leader, which takes them seconds; the last one is measured.
	_, err := repeat(ctx, produce)
	p.met = p.met || err == nil
	var took time.Duration
	for n := 0; n < moreConnections && err == nil; n++ {
		if err = p.again(ctx); err == nil {
			took, err = repeat(ctx, produce)
		}
	}
	if err != nil {
		return during("produce", err)
	}
	p.row.Produced = Millis(took)
	took, err = repeat(ctx, func() error {
		resp, err := over[*kmsg.FetchResponse](ctx, p, fetchRequest(t.v.o.Topic, t.id, partition, offset, time.Second))
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
		return during("consume", err)
	}
	p.row.Consumed = Millis(took)
	return t.moved(ctx, p, partition, batch)
}

func during(what string, err error) error { return fmt.Errorf("%s: %w", what, err) }

// leads finds out whose partition the broker at the end of a path leads, other than the
// one that it should. Before Kafka 4.4 no request without special rights tells a
// customer which broker has answered it.
func (t *trial) leads(ctx context.Context, p *path, not int32, batch []byte) (broker int32, ok bool) {
	req := produceRequest(t.v.o.Topic, t.id, not, batch)
	parts := &req.Topics[0].Partitions
	*parts = nil
	for i := range t.paths {
		if int32(i) != not {
			part := kmsg.NewProduceRequestTopicPartition()
			part.Partition, part.Records = int32(i), batch
			*parts = append(*parts, part)
		}
	}
	if len(*parts) == 0 {
		return 0, false
	}
	resp, err := over[*kmsg.ProduceResponse](ctx, p, req)
	if err != nil {
		return 0, false
	}
	for _, topic := range resp.Topics {
		for _, part := range topic.Partitions {
			if part.ErrorCode == 0 && int(part.Partition) < len(t.paths) {
				return t.paths[part.Partition].row.Broker, true
			}
		}
	}
	return 0, false
}

// repeat calls f again while the topic is new to the brokers, and returns how long the
// attempt took that succeeded. A connection that ended is made again once.
func repeat(ctx context.Context, f func() error) (time.Duration, error) {
	again := true
	for n := 1; ; n++ {
		start := time.Now()
		err := f()
		if err == nil {
			return time.Since(start), nil
		}
		retry := kerr.IsRetriable(err)
		if again && !kafkaError(err) && ended(err) {
			retry, again = true, false
		}
		if !retry || !wait.For(ctx, backoff(n)) {
			return 0, err
		}
	}
}
