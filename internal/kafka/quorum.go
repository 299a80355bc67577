package kafka

import (
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
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

// NonVoter is a controller that follows the KRaft quorum without a vote in it.
type NonVoter struct {
	ID int32
	// Directory is the id of its metadata directory as Kafka prints it; empty where Kafka does not tell.
	Directory string
	// Voter is the directory id of the voter with the same id, empty where there is none: the storage of that voter
	// was replaced, and by KIP-853 what runs there now is another node.
	Voter string
}

// nonVoterFresh is how long ago a node may have asked the leader for records and still count as running. The leader
// forgets one that has ended after 5 minutes (LeaderState.OBSERVER_SESSION_TIMEOUT_MS).
const nonVoterFresh = 10 * time.Second

// NonVoters returns the controllers that are no voters: whoever follows the metadata log and is neither a voter nor a
// registered broker. No listener of a broker tells of controllers themselves (DescribeCluster answers
// MISMATCHED_ENDPOINT_TYPE there), and fenced brokers are told from Kafka 4.0 on only (KIP-1073): before, nothing is
// returned. A node that is both broker and controller cannot be told from a broker, nor a broker before its very first
// registration from a controller.
func (c *Client) NonVoters(ctx context.Context) ([]NonVoter, error) {
	var p *kmsg.DescribeQuorumResponseTopicPartition
	registered := kmsg.NewPtrDescribeClusterResponse()
	err := c.own.do(ctx, func(w *wire) error {
		// In this order: a broker that registers in between is known by the second answer.
		resp, err := ask[*kmsg.DescribeQuorumResponse](ctx, w, quorumRequest())
		if err == nil {
			p, err = quorumPartition(resp)
		}
		if err != nil {
			return needs(err, seesCluster)
		}
		req := kmsg.NewPtrDescribeClusterRequest()
		req.IncludeFencedBrokers = true
		registered, err = ask[*kmsg.DescribeClusterResponse](ctx, w, req)
		if err == nil {
			err = kerr.ErrorForCode(registered.ErrorCode)
		}
		return err
	})
	if err != nil {
		return nil, explain(fmt.Errorf("ask the broker at %s for controllers that are no voters: %w", c.opts.OwnAddress,
			err))
	}
	return nonVoters(p, registered), nil
}

func nonVoters(p *kmsg.DescribeQuorumResponseTopicPartition, registered *kmsg.DescribeClusterResponse) []NonVoter {
	now := leaderClock(p)
	if registered.Version < 2 || now < 0 {
		return nil
	}
	var out []NonVoter
	for _, o := range p.Observers {
		isBroker := slices.ContainsFunc(registered.Brokers,
			func(b kmsg.DescribeClusterResponseBroker) bool { return b.NodeID == o.ReplicaID })
		at := slices.IndexFunc(p.CurrentVoters, func(v kmsg.DescribeQuorumResponseTopicPartitionReplicaState) bool {
			return v.ReplicaID == o.ReplicaID
		})
		n := NonVoter{ID: o.ReplicaID, Directory: directoryID(o.ReplicaDirectoryID)}
		if at >= 0 {
			n.Voter = directoryID(p.CurrentVoters[at].ReplicaDirectoryID)
		}
		replaced := n.Voter != "" && n.Directory != "" && n.Voter != n.Directory
		asked := o.LastFetchTimestamp
		if asked < 0 || now-asked > nonVoterFresh.Milliseconds() || !replaced && (at >= 0 || isBroker) {
			continue
		}
		out = append(out, n)
	}
	slices.SortFunc(out, func(a, b NonVoter) int { return cmp.Compare(a.ID, b.ID) })
	return out
}

// directoryID is a directory's id as Kafka's tools print and take it (Uuid.toString), empty for none.
func directoryID(id [16]byte) string {
	if id == ([16]byte{}) {
		return ""
	}
	return base64.RawURLEncoding.EncodeToString(id[:])
}
