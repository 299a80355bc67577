package kafka

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// create makes the topic: one partition for each broker, which leads it. made
// is false only if the topic was certainly not made by us.
func (v *verifier) create(ctx context.Context, brokers []int32) (id [16]byte, made bool, err error) {
	topic := kmsg.NewCreateTopicsRequestTopic()
	topic.Topic, topic.NumPartitions, topic.ReplicationFactor = v.o.Topic, -1, -1
	for i := range brokers {
		a := kmsg.NewCreateTopicsRequestTopicReplicaAssignment()
		a.Partition = int32(i)
		for r := range min(replicasWanted, len(brokers)) {
			a.Replicas = append(a.Replicas, brokers[(i+r)%len(brokers)])
		}
		topic.ReplicaAssignment = append(topic.ReplicaAssignment, a)
	}
	// The listener is on trial, not the health of the replicas.
	cfg := kmsg.NewCreateTopicsRequestTopicConfig()
	cfg.Name, cfg.Value = "min.insync.replicas", new("1")
	topic.Configs = append(topic.Configs, cfg)
	req := kmsg.NewPtrCreateTopicsRequest()
	req.Topics, req.TimeoutMillis = append(req.Topics, topic), millis(writeWait)

	err = v.admin(ctx, brokers, false, func(ctx context.Context, broker int32) error {
		resp, err := to[*kmsg.CreateTopicsResponse](ctx, v.kgo, broker, req)
		if err != nil {
			return err
		}
		if len(resp.Topics) != 1 {
			return errors.New("the answer does not have the topic")
		}
		id = resp.Topics[0].TopicID
		return kerr.ErrorForCode(resp.Topics[0].ErrorCode)
	})
	switch {
	case err == nil:
		return id, true, nil
	case errors.Is(err, kerr.TopicAlreadyExists):
		return id, false, fmt.Errorf("make the topic %s: it exists already; remove it, or name another one", v.o.Topic)
	case errors.Is(err, kerr.TopicAuthorizationFailed), errors.Is(err, kerr.ClusterAuthorizationFailed):
		return id, false, fmt.Errorf(
			"make the topic %s: %w; give the customer's user Create, Describe, Write, Read and Delete on it, or take the addresses and connections for the whole result",
			v.o.Topic, err)
	case errors.Is(err, kerr.PolicyViolation), errors.Is(err, kerr.InvalidTopicException):
		return id, false, fmt.Errorf("make the topic %s: %w; name another one", v.o.Topic, err)
	case errors.Is(err, kerr.NotController):
		return id, false, fmt.Errorf("make the topic %s: %w; the controller cannot be reached over this listener",
			v.o.Topic, err)
	}
	return id, true, fmt.Errorf("make the topic %s: %w", v.o.Topic, explain(err))
}

// remove deletes the topic, also when the context has ended already.
func (v *verifier) remove(ctx context.Context, brokers []int32) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), verifyWait)
	defer cancel()
	topic := kmsg.NewDeleteTopicsRequestTopic()
	topic.Topic = new(v.o.Topic)
	req := kmsg.NewPtrDeleteTopicsRequest()
	req.Topics, req.TopicNames = append(req.Topics, topic), []string{v.o.Topic}
	req.TimeoutMillis = millis(writeWait)
	_, err := v.attempt(ctx, func() error {
		return v.admin(ctx, brokers, true, func(ctx context.Context, broker int32) error {
			resp, err := to[*kmsg.DeleteTopicsResponse](ctx, v.kgo, broker, req)
			if err != nil {
				return err
			}
			if len(resp.Topics) != 1 {
				return errors.New("the answer does not have the topic")
			}
			return kerr.ErrorForCode(resp.Topics[0].ErrorCode)
		})
	})
	if err == nil || errors.Is(err, kerr.UnknownTopicOrPartition) {
		return nil
	}
	return fmt.Errorf("remove the topic %s: %w; it may still be there: remove it with kafka-topics --delete --topic %s",
		v.o.Topic, err, v.o.Topic)
}

// admin asks one broker after another while they say that another one must be
// asked: in ZooKeeper mode only the controller takes such requests, and in
// KRaft any broker forwards them. With `harmless` it goes on also after a
// failure that leaves the outcome open.
func (v *verifier) admin(
	ctx context.Context,
	brokers []int32,
	harmless bool,
	f func(context.Context, int32) error,
) error {
	var err error
	for _, b := range brokers {
		once, cancel := context.WithTimeout(ctx, answerTimeout)
		err = f(once, b)
		cancel()
		open := err != nil && !kafkaError(err)
		if !errors.Is(err, kerr.NotController) && (!harmless || !open) {
			break
		}
	}
	return err
}
