package kafka

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Rights is what the agent's user lacks, as Kafka's authorizer tells. A cluster
// without one lacks nothing.
type Rights struct {
	// Cluster and Topic are the operations on the cluster and on the coordination
	// topic that the user needs and has no right to, by the names that kafka-acls has for them.
	Cluster, Topic []string
	// NoTopic is true if the coordination topic is not there yet, so Topic is not known.
	NoTopic bool
	// Hidden are topics with replicas on the own broker that the user is not told
	// of: no gate can look at what it does not know.
	Hidden []string
}

// What the agent does: DescribeConfigs of the broker, DescribeQuorum, and all it does with its own topic.
var (
	clusterNeeds = []operation{
		{kmsg.ACLOperationDescribe, "Describe"}, {kmsg.ACLOperationDescribeConfigs, "DescribeConfigs"},
	}
	topicNeeds = []operation{
		{kmsg.ACLOperationDescribe, "Describe"},
		{kmsg.ACLOperationDescribeConfigs, "DescribeConfigs"},
		{kmsg.ACLOperationRead, "Read"},
		{kmsg.ACLOperationWrite, "Write"},
	}
	creates = []operation{{kmsg.ACLOperationCreate, "Create"}}
)

type operation struct {
	op   kmsg.ACLOperation
	name string
}

// lacking returns what is needed and not in a bit field of operations (KIP-430).
func lacking(needs []operation, allowed int32) []string {
	var out []string
	for _, n := range needs {
		if allowed&(1<<int32(n.op)) == 0 {
			out = append(out, n.name)
		}
	}
	return out
}

// Rights asks the own broker what the agent's user may do. Nothing is tried.
func (c *Client) Rights(ctx context.Context) (Rights, error) {
	var r Rights
	if _, err := c.metadata(ctx); err != nil {
		return r, explain(fmt.Errorf("ask for the brokers: %w", err))
	}
	clusterReq := kmsg.NewPtrDescribeClusterRequest()
	clusterReq.IncludeClusterAuthorizedOperations = true
	cluster, err := to[*kmsg.DescribeClusterResponse](ctx, c.kgo, c.opts.Self, clusterReq)
	if err == nil {
		err = kerr.ErrorForCode(cluster.ErrorCode)
	}
	if err != nil {
		return r, explain(fmt.Errorf("ask for the rights on the cluster: %w", err))
	}
	// A user without the right to Describe does not learn the rest either.
	r.Cluster = lacking(clusterNeeds, cluster.ClusterAuthorizedOperations)
	if err := c.topicRights(ctx, &r, cluster.ClusterAuthorizedOperations); err != nil {
		return r, explain(fmt.Errorf("ask for the rights on topic %s: %w", c.opts.Topic, err))
	}
	if slices.Contains(r.Cluster, "Describe") {
		return r, nil // the question behind Hidden needs it
	}
	if r.Hidden, err = c.hidden(ctx); err != nil {
		return r, explain(fmt.Errorf("compare the topics of the own broker with those that the user may see: %w", err))
	}
	return r, nil
}

func (c *Client) topicRights(ctx context.Context, r *Rights, onCluster int32) error {
	req := kmsg.NewPtrMetadataRequest()
	topic := kmsg.NewMetadataRequestTopic()
	topic.Topic = new(c.opts.Topic)
	req.Topics = append(req.Topics, topic)
	req.IncludeTopicAuthorizedOperations = true
	resp, err := to[*kmsg.MetadataResponse](ctx, c.kgo, c.opts.Self, req)
	if err != nil {
		return err
	}
	if len(resp.Topics) != 1 {
		return fmt.Errorf("the answer is about %d topics", len(resp.Topics))
	}
	t := resp.Topics[0]
	switch err := kerr.ErrorForCode(t.ErrorCode); {
	case errors.Is(err, kerr.TopicAuthorizationFailed): // there or not: Kafka does not tell
		r.Topic = lacking(topicNeeds, 0)
	case errors.Is(err, kerr.UnknownTopicOrPartition):
		r.NoTopic = true
		// Create on the topic would do as well, and is not reported before it is there.
		r.Topic = lacking(creates, onCluster)
	case err != nil && !kerr.IsRetriable(err):
		return err
	default: // also a topic without a leader
		r.Topic = lacking(topicNeeds, t.AuthorizedOperations)
	}
	return nil
}

// hidden returns the topics that have a replica on the own broker and that
// Metadata leaves out, since the user has no right to Describe them.
func (c *Client) hidden(ctx context.Context) ([]string, error) {
	resp, err := to[*kmsg.MetadataResponse](ctx, c.kgo, c.opts.Self,
		kmsg.NewPtrMetadataRequest()) // no topics named: all
	if err != nil {
		return nil, err
	}
	shown := map[string]bool{}
	for _, t := range resp.Topics {
		if t.Topic != nil {
			shown[*t.Topic] = true
		}
	}
	return c.hiddenBeside(ctx, func(name string) bool { return shown[name] })
}

// hiddenBeside returns the topics with a replica on the own broker that are not
// shown, and not just deleted.
func (c *Client) hiddenBeside(ctx context.Context, shown func(string) bool) ([]string, error) {
	there, err := c.stored(ctx)
	if err != nil {
		return nil, err
	}
	maps.DeleteFunc(there, func(name string, _ bool) bool { return shown(name) })
	if len(there) == 0 {
		return nil, nil
	}
	req := kmsg.NewPtrMetadataRequest()
	for name := range there {
		topic := kmsg.NewMetadataRequestTopic()
		topic.Topic = new(name)
		req.Topics = append(req.Topics, topic)
	}
	resp, err := to[*kmsg.MetadataResponse](ctx, c.kgo, c.opts.Self, req)
	if err != nil {
		return nil, err
	}
	var hidden []string
	for _, t := range resp.Topics {
		if t.Topic != nil && errors.Is(kerr.ErrorForCode(t.ErrorCode), kerr.TopicAuthorizationFailed) {
			hidden = append(hidden, *t.Topic)
		}
	}
	slices.Sort(hidden)
	return hidden, nil
}

// stored returns the topics with data on the own broker's disks, which
// DescribeLogDirs tells to all who may Describe the cluster.
func (c *Client) stored(ctx context.Context) (map[string]bool, error) {
	resp, err := to[*kmsg.DescribeLogDirsResponse](ctx, c.kgo, c.opts.Self, kmsg.NewPtrDescribeLogDirsRequest())
	if err == nil {
		err = kerr.ErrorForCode(resp.ErrorCode)
	}
	if err != nil {
		return nil, needs(err, seesCluster)
	}
	topics := map[string]bool{}
	for _, dir := range resp.Dirs {
		for _, t := range dir.Topics {
			topics[t.Topic] = true
		}
	}
	return topics, nil
}

// ClockDifference returns how far this machine's clock is ahead of the active
// controller's (negative: behind it), and how far off that may be. The controller
// puts its own clock into its own line of the quorum's description (KIP-836).
func (c *Client) ClockDifference(ctx context.Context) (ahead, uncertain time.Duration, err error) {
	var resp *kmsg.DescribeQuorumResponse
	var before, after time.Time
	err = c.own.do(ctx, func(w *wire) (err error) {
		before = time.Now()
		resp, err = ask[*kmsg.DescribeQuorumResponse](ctx, w, quorumRequest())
		after = time.Now()
		return err
	})
	var at int64
	if err == nil {
		at, err = controllerClock(resp)
	}
	if err != nil {
		return 0, 0, explain(fmt.Errorf("ask for the controller's clock: %w", err))
	}
	half := after.Sub(before) / 2
	return before.Add(half).Sub(time.UnixMilli(at)), half + time.Millisecond, nil
}
