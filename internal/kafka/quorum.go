package kafka

import (
	"context"
	"errors"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"example.com/kpls-agent/internal/restart"
)

// quorum asks for the KRaft quorum (DescribeQuorum), which the broker forwards
// to the active controller. A broker in ZooKeeper mode has no such request; there
// every view names the controller.
func (c *Client) quorum(ctx context.Context, broker int32, views []restart.BrokerView) (*restart.Quorum, error) {
	ctx, cancel := context.WithTimeout(ctx, quorumTimeout)
	defer cancel()
	resp, err := twice(func() (*kmsg.DescribeQuorumResponse, error) {
		return to[*kmsg.DescribeQuorumResponse](ctx, c.kgo, broker, quorumRequest())
	})
	c.kraft.Store(err == nil)
	if err == nil {
		q, err := quorum(resp)
		return q, needs(err, seesCluster)
	}
	if ctx.Err() == nil && c.zooKeeper(ctx, broker) {
		return &restart.Quorum{Leader: sameController(views), ZooKeeper: true}, nil
	}
	return nil, err
}

// sameController returns the controller that all views name, -1 if they name
// none or not the same one: then one is being elected, or a view is old.
func sameController(views []restart.BrokerView) int32 {
	for _, v := range views {
		if v.Controller != views[0].Controller {
			return -1
		}
	}
	return views[0].Controller
}

func quorumRequest() *kmsg.DescribeQuorumRequest {
	part := kmsg.NewDescribeQuorumRequestTopicPartition()
	topic := kmsg.NewDescribeQuorumRequestTopic()
	topic.Topic = "__cluster_metadata"
	topic.Partitions = append(topic.Partitions, part)
	req := kmsg.NewPtrDescribeQuorumRequest()
	req.Topics = append(req.Topics, topic)
	return req
}

func quorum(resp *kmsg.DescribeQuorumResponse) (*restart.Quorum, error) {
	p, err := quorumPartition(resp)
	if err != nil {
		return nil, err
	}
	leader := leaderClock(p)
	q := &restart.Quorum{Leader: p.LeaderID}
	for _, v := range p.CurrentVoters {
		q.Voters = append(q.Voters, restart.Voter{ID: v.ReplicaID, Behind: behind(leader, v.LastCaughtUpTimestamp)})
	}
	return q, nil
}

func quorumPartition(resp *kmsg.DescribeQuorumResponse) (*kmsg.DescribeQuorumResponseTopicPartition, error) {
	if err := kerr.ErrorForCode(resp.ErrorCode); err != nil {
		return nil, err
	}
	if len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1 {
		return nil, errors.New("the answer does not have the quorum")
	}
	p := &resp.Topics[0].Partitions[0]
	return p, kerr.ErrorForCode(p.ErrorCode)
}

// leaderClock returns the leader's clock when it answered, in ms since the
// epoch: the leader is caught up with itself at any time. -1 for unknown.
func leaderClock(p *kmsg.DescribeQuorumResponseTopicPartition) int64 {
	for _, v := range p.CurrentVoters {
		if v.ReplicaID == p.LeaderID {
			return v.LastCaughtUpTimestamp
		}
	}
	return -1
}

func controllerClock(resp *kmsg.DescribeQuorumResponse) (int64, error) {
	p, err := quorumPartition(resp)
	if err != nil {
		return -1, err
	}
	at := leaderClock(p)
	if at < 0 {
		return -1, errors.New("the controller does not tell its clock")
	}
	return at, nil
}

// behind returns how long before the leader a voter was caught up last; both in
// ms since the epoch by the leader's clock, -1 for unknown (and always in version 0).
func behind(leader, voter int64) time.Duration {
	if leader < 0 || voter < 0 {
		return -1
	}
	return time.Duration(max(leader-voter, 0)) * time.Millisecond
}
