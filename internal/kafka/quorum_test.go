package kafka_test

import (
	"encoding/base64"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kmsg"

	"example.com/kpls-agent/internal/kafka"
)

// TestNonVoters: who is told from a voter and from a broker. The answers are as those of real controllers and brokers of
// 4.4.0 with a dynamic quorum, of which one was formatted again, and then removed; TestMatrixKafka4 (test/e2e) has them.
func TestNonVoters(t *testing.T) {
	const now = 1796052363747
	replica := func(id int32, directory string, ago int64) kmsg.DescribeQuorumResponseTopicPartitionReplicaState {
		s := kmsg.NewDescribeQuorumResponseTopicPartitionReplicaState()
		s.ReplicaID, s.LastFetchTimestamp, s.LastCaughtUpTimestamp = id, now-ago, now-ago
		raw, err := base64.RawURLEncoding.DecodeString(directory)
		if err != nil {
			t.Fatal(err)
		}
		copy(s.ReplicaDirectoryID[:], raw)
		return s
	}
	const a, b, before, after = "ZGlyZWN0b3J5ICAgIDEwMQ", "ZGlyZWN0b3J5ICAgIDEwMg", "ZGlyZWN0b3J5ICAgIDEwMw", "dspmDH9PenhhxD_tlznn3Q"
	type replicas []kmsg.DescribeQuorumResponseTopicPartitionReplicaState
	voters := replicas{replica(101, a, 0), replica(102, b, 44)}
	brokers := replicas{replica(1, after, 44), replica(2, after, 44)}
	for _, tt := range []struct {
		name              string
		voters, observers replicas
		version           int16
		registered        []int32
		want              []kafka.NonVoter
	}{
		{"none", voters, brokers, 2, []int32{1, 2}, nil},
		{
			"formatted again", append(replicas{replica(103, before, 4883)}, voters...), append(replicas{replica(103, after, 27)}, brokers...), 2,
			[]int32{1, 2},
			[]kafka.NonVoter{{ID: 103, Directory: after, Voter: before}},
		},
		{ // the one before has ended, and is an observer now, too
			"removed since", voters, append(replicas{replica(103, before, 17124), replica(103, after, 44)}, brokers...), 2,
			[]int32{1, 2},
			[]kafka.NonVoter{{ID: 103, Directory: after}},
		},
		{"two of them", voters, append(replicas{replica(104, before, 5), replica(103, after, 44)}, brokers...), 2, []int32{1, 2}, []kafka.NonVoter{{ID: 103, Directory: after}, {ID: 104, Directory: before}}},
		{"ended", voters, append(replicas{replica(103, before, 17124)}, brokers...), 2, []int32{1, 2}, nil},
		{"a fenced broker", voters, append(replicas{replica(3, before, 44)}, brokers...), 2, []int32{1, 2, 3}, nil},
		{"fenced brokers are not told", voters, append(replicas{replica(3, before, 44)}, brokers...), 1, []int32{1, 2}, nil},
		{"a static quorum, whose voters have no directory ids", replicas{replica(101, "", 0)}, append(replicas{replica(101, a, 44)}, brokers...), 2, []int32{1, 2}, nil},
		{"a leader that does not tell its clock", replicas{replica(102, b, 44)}, replicas{replica(103, after, 44)}, 2, nil, nil},
		{"nobody knows when it asked", voters, replicas{replica(103, after, now+1)}, 2, nil, nil},
	} {
		p := kmsg.NewDescribeQuorumResponseTopicPartition()
		p.LeaderID, p.CurrentVoters, p.Observers = 101, tt.voters, tt.observers
		cluster := kmsg.NewPtrDescribeClusterResponse()
		cluster.Version = tt.version
		for _, id := range tt.registered {
			cluster.Brokers = append(cluster.Brokers, kmsg.DescribeClusterResponseBroker{NodeID: id})
		}
		if d := cmp.Diff(tt.want, kafka.NonVotersOf(&p, cluster)); d != "" {
			t.Errorf("%s: %s", tt.name, d)
		}
	}
}

// Real controllers at rest have no company but the brokers.
func TestNonVotersOfRealBrokers(t *testing.T) {
	realAnswers(t, "describe-quorum", kmsg.NewPtrDescribeQuorumResponse, func(t *testing.T, resp *kmsg.DescribeQuorumResponse) {
		cluster := kmsg.NewPtrDescribeClusterResponse()
		cluster.Version = 2
		for id := range int32(3) {
			cluster.Brokers = append(cluster.Brokers, kmsg.DescribeClusterResponseBroker{NodeID: id + 1})
		}
		if found := kafka.NonVotersOf(&resp.Topics[0].Partitions[0], cluster); len(found) > 0 {
			t.Errorf("%+v", found)
		}
	})
}

// The two questions, and what is said where the first is not answered. kfake knows no quorum.
func TestNonVotersAreAsked(t *testing.T) {
	c := newCluster(t, 1)
	knows(t, c, 55)
	c.ControlKey(55, func(r kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		resp := r.ResponseKind().(*kmsg.DescribeQuorumResponse)
		p := kmsg.NewDescribeQuorumResponseTopicPartition()
		p.LeaderID = 101
		for _, id := range []int32{101, 0, 103} {
			s := kmsg.NewDescribeQuorumResponseTopicPartitionReplicaState()
			s.ReplicaID, s.LastFetchTimestamp, s.LastCaughtUpTimestamp = id, 1000, 1000
			if id == 101 {
				p.CurrentVoters = append(p.CurrentVoters, s)
			} else {
				p.Observers = append(p.Observers, s)
			}
		}
		resp.Topics = append(resp.Topics, kmsg.DescribeQuorumResponseTopic{Topic: "__cluster_metadata", Partitions: []kmsg.DescribeQuorumResponseTopicPartition{p}})
		return resp, nil, true
	})
	got, err := open(t, c).NonVoters(within(t))
	if d := cmp.Diff([]kafka.NonVoter{{ID: 103}}, got); d != "" || err != nil {
		t.Error(err, d)
	}
}
