package sandbox

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// pollInterval is how often a wait looks again.
const pollInterval = 50 * time.Millisecond

// Bootstrap is the inter-broker address of every broker.
func (c *Cluster) Bootstrap() []string {
	var addrs []string
	for _, b := range c.Brokers {
		addrs = append(addrs, b.Internal())
	}
	return addrs
}

func (c *Cluster) brokerIDs() []int32 {
	var ids []int32
	for _, b := range c.Brokers {
		ids = append(ids, b.ID)
	}
	return ids
}

// NewClient returns a client over the inter-broker listener; the caller must close it.
func (c *Cluster) NewClient(opts ...kgo.Opt) (*kgo.Client, error) {
	return kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(c.Bootstrap()...),
		kgo.MetadataMinAge(100 * time.Millisecond),
		kgo.DialTimeout(2 * time.Second),
	}, slices.Concat(c.opts.Client, opts)...)...)
}

// CreateTopic creates a topic; configs are its own configuration and may be nil.
func (c *Cluster) CreateTopic(
	ctx context.Context,
	name string,
	partitions int32,
	replicas int16,
	configs map[string]string,
) error {
	pointers := make(map[string]*string, len(configs))
	for k, v := range configs {
		pointers[k] = &v
	}
	_, err := kadm.NewClient(c.client).CreateTopic(ctx, partitions, replicas, pointers, name)
	if err != nil {
		return fmt.Errorf("create topic %s: %w", name, err)
	}
	return c.WaitFullISR(ctx)
}

// Partition is one partition as a broker's metadata has it.
type Partition struct {
	Leader        int32
	Replicas, ISR []int32
}

// Partition asks any broker for one partition.
func (c *Cluster) Partition(ctx context.Context, topic string, partition int32) (Partition, error) {
	details, err := kadm.NewClient(c.client).ListTopics(ctx, topic)
	if err != nil {
		return Partition{}, fmt.Errorf("describe topic %s: %w", topic, err)
	}
	p, ok := details[topic].Partitions[partition]
	if !ok {
		return Partition{}, fmt.Errorf("describe topic %s: no partition %d", topic, partition)
	}
	return Partition{Leader: p.Leader, Replicas: p.Replicas, ISR: p.ISR}, nil
}

// Reassign begins to give a partition other replicas, as
// kafka-reassign-partitions.sh --execute does. The first is the preferred leader.
func (c *Cluster) Reassign(ctx context.Context, topic string, partition int32, replicas ...int32) error {
	var request kadm.AlterPartitionAssignmentsReq
	request.Assign(topic, partition, replicas)
	responses, err := kadm.NewClient(c.client).AlterPartitionAssignments(ctx, request)
	if err == nil {
		err = responses.Error()
	}
	if err != nil {
		return fmt.Errorf("reassign %s-%d to %v: %w", topic, partition, replicas, err)
	}
	return nil
}

// ElectPreferred makes a partition's first replica its leader.
func (c *Cluster) ElectPreferred(ctx context.Context, topic string, partition int32) error {
	set := make(kadm.TopicsSet)
	set.Add(topic, partition)
	results, err := kadm.NewClient(c.client).ElectLeaders(ctx, kadm.ElectPreferredReplica, set)
	if err == nil {
		err = results[topic][partition].Err
	}
	if err != nil && !errors.Is(err, kerr.ElectionNotNeeded) {
		return fmt.Errorf("elect the preferred leader of %s-%d: %w", topic, partition, err)
	}
	return nil
}

// ElectAllPreferred makes the first replica of every partition its leader.
func (c *Cluster) ElectAllPreferred(ctx context.Context) error {
	results, err := kadm.NewClient(c.client).ElectLeaders(ctx, kadm.ElectPreferredReplica, nil)
	for _, partitions := range results {
		for _, r := range partitions {
			if !errors.Is(r.Err, kerr.ElectionNotNeeded) {
				err = errors.Join(err, r.Err)
			}
		}
	}
	if err != nil {
		return fmt.Errorf("elect all preferred leaders: %w", err)
	}
	return nil
}

// Leader is who leads a partition. The epoch grows with each change.
type Leader struct{ ID, Epoch, Preferred int32 }

// Leaders are the leaders of these topics' partitions as one broker knows them.
func (c *Cluster) Leaders(ctx context.Context, topics ...string) (map[string]map[int32]Leader, error) {
	details, err := kadm.NewClient(c.client).ListTopics(ctx, topics...)
	if err == nil {
		err = details.Error()
	}
	if err != nil {
		return nil, fmt.Errorf("list the leaders of %v: %w", topics, err)
	}
	leaders := make(map[string]map[int32]Leader)
	details.EachPartition(func(p kadm.PartitionDetail) {
		if leaders[p.Topic] == nil {
			leaders[p.Topic] = make(map[int32]Leader)
		}
		leaders[p.Topic][p.Partition] = Leader{ID: p.Leader, Epoch: p.LeaderEpoch, Preferred: p.Replicas[0]}
	})
	return leaders, nil
}

// SetTopic sets a topic's own configuration.
func (c *Cluster) SetTopic(ctx context.Context, topic, key, value string) error {
	responses, err := kadm.NewClient(c.client).
		AlterTopicConfigs(ctx, []kadm.AlterConfig{{Op: kadm.SetConfig, Name: key, Value: &value}}, topic)
	if err == nil && len(responses) == 1 {
		err = responses[0].Err
	}
	if err != nil {
		return fmt.Errorf("alter %s of topic %s: %w", key, topic, err)
	}
	return nil
}

// Endpoint is a broker as one answer to a Metadata request names it.
type Endpoint struct {
	Host string
	Port int32
}

// Metadata asks whoever answers at addr, over that very listener, which brokers
// there are. dial may be nil.
func Metadata(ctx context.Context, addr string, dial DialFunc) (map[int32]Endpoint, error) {
	response, err := metadata(ctx, addr, dial)
	if err != nil {
		return nil, err
	}
	endpoints := make(map[int32]Endpoint)
	for _, b := range response.Brokers {
		endpoints[b.NodeID] = Endpoint{Host: b.Host, Port: b.Port}
	}
	return endpoints, nil
}

func metadata(ctx context.Context, addr string, dial DialFunc, more ...kgo.Opt) (*kmsg.MetadataResponse, error) {
	opts := append([]kgo.Opt{kgo.SeedBrokers(addr), kgo.DialTimeout(2 * time.Second), kgo.RequestRetries(0)}, more...)
	if dial != nil {
		opts = append(opts, kgo.Dialer(dial))
	}
	client, err := kgo.NewClient(opts...)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	request := kmsg.NewPtrMetadataRequest() // Topics nil: all
	response, err := client.SeedBrokers()[0].Request(ctx, request)
	if err != nil {
		return nil, fmt.Errorf("ask %s for metadata: %w", addr, err)
	}
	return response.(*kmsg.MetadataResponse), nil //nolint:errcheck // the response of that request
}

// WaitServing returns when the metadata of every broker names every broker.
func (c *Cluster) WaitServing(ctx context.Context) error {
	return c.wait(ctx, "every broker names every broker", func(ctx context.Context) error {
		for _, b := range c.Brokers {
			seen, err := metadata(ctx, b.Internal(), nil, c.opts.Client...)
			if err != nil {
				return err
			}
			if len(seen.Brokers) != len(c.Brokers) {
				return fmt.Errorf("broker %d names %d of %d brokers", b.ID, len(seen.Brokers), len(c.Brokers))
			}
		}
		return nil
	})
}

// WaitFullISR returns when, as each broker sees it, every partition has a leader
// and all of its replicas in sync.
func (c *Cluster) WaitFullISR(ctx context.Context) error {
	return c.wait(ctx, "every replica is in sync", func(ctx context.Context) error {
		for _, b := range c.Brokers {
			if err := c.fullISR(ctx, b); err != nil {
				return err
			}
		}
		return nil
	})
}

func (c *Cluster) fullISR(ctx context.Context, b *Broker) error {
	response, err := metadata(ctx, b.Internal(), nil, c.opts.Client...)
	if err != nil {
		return err
	}
	for _, t := range response.Topics {
		for _, p := range t.Partitions {
			if p.Leader < 0 || len(p.ISR) < len(p.Replicas) {
				return fmt.Errorf("broker %d: %s-%d has leader %d, replicas %v, in sync %v",
					b.ID, *t.Topic, p.Partition, p.Leader, p.Replicas, p.ISR)
			}
		}
	}
	return nil
}

// wait polls until a condition holds. It gives up when a node's process stays
// away: longer than between the two halves of a restart.
func (c *Cluster) wait(ctx context.Context, what string, holds func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	complete := time.Now()
	for {
		err := holds(ctx)
		if err == nil {
			return nil
		}
		away := c.firstAway()
		if away == nil {
			complete = time.Now()
		} else if time.Since(complete) > 2*time.Second {
			return fmt.Errorf("wait until %s: node %d does not run (%w); its log ends:\n%s", what, away.ID, err,
				away.LogTail(2000))
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait until %s: %w; last: %w", what, ctx.Err(), err)
		case <-tick.C:
		}
	}
}

// firstAway is the first node without a running process, or nil.
func (c *Cluster) firstAway() *Broker {
	for _, b := range c.Nodes {
		if _, err := b.Process(); err != nil {
			return b
		}
	}
	return nil
}

// ActiveController is the node that leads the metadata quorum, or in ZooKeeper
// mode the broker that the others call their controller.
func (c *Cluster) ActiveController(ctx context.Context) (int32, error) {
	if c.opts.ZooKeeper {
		seen, err := metadata(ctx, c.Brokers[0].Internal(), nil, c.opts.Client...)
		if err != nil {
			return 0, err
		}
		return seen.ControllerID, nil
	}
	partition := kmsg.NewDescribeQuorumRequestTopicPartition()
	topic := kmsg.NewDescribeQuorumRequestTopic()
	topic.Topic, topic.Partitions = "__cluster_metadata", append(topic.Partitions, partition)
	request := kmsg.NewPtrDescribeQuorumRequest()
	request.Topics = append(request.Topics, topic)
	response, err := request.RequestWith(ctx, c.client)
	if err != nil {
		return 0, fmt.Errorf("describe the quorum: %w", err)
	}
	if err := kerr.ErrorForCode(response.ErrorCode); err != nil {
		return 0, fmt.Errorf("describe the quorum: %w", err)
	}
	if len(response.Topics) != 1 || len(response.Topics[0].Partitions) != 1 {
		return 0, errors.New("describe the quorum: an empty answer")
	}
	quorum := response.Topics[0].Partitions[0]
	if err := kerr.ErrorForCode(quorum.ErrorCode); err != nil {
		return 0, fmt.Errorf("describe the quorum: %w", err)
	}
	return quorum.LeaderID, nil
}

// Features are the finalized features of the cluster, such as metadata.version.
func (c *Cluster) Features(ctx context.Context) (map[string]int16, error) {
	response, err := kmsg.NewPtrApiVersionsRequest().RequestWith(ctx, c.client)
	if err == nil {
		err = kerr.ErrorForCode(response.ErrorCode)
	}
	if err != nil {
		return nil, fmt.Errorf("ask for the features: %w", err)
	}
	features := make(map[string]int16)
	for _, f := range response.FinalizedFeatures {
		features[f.Name] = f.MaxVersionLevel
	}
	return features, nil
}

// Running is the configuration that a broker's process runs with: the effective values by name.
func (c *Cluster) Running(ctx context.Context, id int32) (map[string]string, error) {
	configs, err := kadm.NewClient(c.client).DescribeBrokerConfigs(ctx, id)
	if err == nil && len(configs) == 1 {
		err = configs[0].Err
	}
	if err != nil {
		return nil, fmt.Errorf("describe broker %d: %w", id, err)
	}
	values := make(map[string]string)
	for _, r := range configs {
		for _, cfg := range r.Configs {
			values[cfg.Key] = cfg.MaybeValue()
		}
	}
	return values, nil
}

// AllBrokers in place of an id means the dynamic defaults of the cluster (--entity-default).
const AllBrokers int32 = -1

// SetDynamic sets a broker's dynamic configuration, as kafka-configs.sh --alter --add-config
// does. In KRaft the broker takes it over some time after this has returned.
func (c *Cluster) SetDynamic(ctx context.Context, id int32, key, value string) error {
	return c.alter(ctx, id, kadm.AlterConfig{Op: kadm.SetConfig, Name: key, Value: &value})
}

// ClearDynamic removes a broker's dynamic configuration, as --delete-config does.
func (c *Cluster) ClearDynamic(ctx context.Context, id int32, key string) error {
	return c.alter(ctx, id, kadm.AlterConfig{Op: kadm.DeleteConfig, Name: key})
}

func (c *Cluster) alter(ctx context.Context, id int32, change kadm.AlterConfig) error {
	ids := []int32{id}
	if id == AllBrokers {
		ids = nil
	}
	responses, err := kadm.NewClient(c.client).AlterBrokerConfigs(ctx, []kadm.AlterConfig{change}, ids...)
	if err == nil && len(responses) == 1 {
		err = responses[0].Err
	}
	if err != nil {
		return fmt.Errorf("alter %s of broker %d: %w", change.Name, id, err)
	}
	return nil
}
