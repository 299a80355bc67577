package kafka_test

import (
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"example.com/kpls-agent/internal/kafka"
	"example.com/kpls-agent/test/patience"
)

// What Kafka 4.4.0 answers where broker 2 has all its log directories cordoned (KIP-1066); TestMatrixKafka4 (test/e2e)
// asks real brokers.
const (
	cordonedFactor     = "Unable to replicate the partition 2 time(s): The target replication factor of 2 cannot be reached because only 1 broker(s) are registered or some brokers have all their log directories cordoned."
	cordonedAssignment = "The manual partition assignment includes broker 2, but all its log directories are cordoned."
)

// The error of a topic that no broker takes says whom to look for. kfake has no cordons.
func TestTopicWithoutBrokers(t *testing.T) {
	c := newCluster(t, 2)
	c.ControlKey(19, func(r kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		resp := r.ResponseKind().(*kmsg.CreateTopicsResponse)
		topic := kmsg.NewCreateTopicsResponseTopic()
		topic.Topic = r.(*kmsg.CreateTopicsRequest).Topics[0].Topic
		topic.ErrorCode, topic.ErrorMessage = kerr.InvalidReplicationFactor.Code, new(cordonedFactor)
		resp.Topics = append(resp.Topics, topic)
		return resp, nil, true
	})
	log := runNeeded(t, open(t, c))
	const want = "create the coordination topic __kpls_agent: INVALID_REPLICATION_FACTOR: Replication factor is below 1 or larger than the number of available brokers. " +
		"(Unable to replicate the partition 2 time(s): The target replication factor of 2 cannot be reached because only 1 broker(s) are registered or some brokers have all their log directories cordoned); " +
		"bring back the brokers that are down; if all are up, some may be cordoned, and get no new partition: " +
		"`kafka-configs --bootstrap-server ... --describe --entity-type brokers --all` shows the cordoned.log.dirs of each"
	patience.Until(t, "it says why: "+want, func() bool { return log.Facts().Err == want })
}

// The same for the topic of `kpls-agent verify`, whose replicas are on brokers by name.
func TestVerifyWithoutBrokers(t *testing.T) {
	c := newCluster(t, 3)
	c.ControlKey(19, func(r kmsg.Request) (kmsg.Response, error, bool) {
		resp := r.ResponseKind().(*kmsg.CreateTopicsResponse)
		topic := kmsg.NewCreateTopicsResponseTopic()
		topic.ErrorCode, topic.ErrorMessage = kerr.InvalidReplicaAssignment.Code, new(cordonedAssignment)
		resp.Topics = append(resp.Topics, topic)
		return resp, nil, true
	})
	f := kafka.Verify(within(t), customer(t, c)).Fault
	if f == nil || f.Code != "topic" || f.Where != "broker" || !strings.Contains(f.Text, "broker 2, but all its log directories are cordoned") || !strings.Contains(f.ToDo, "cordoned.log.dirs") {
		t.Errorf("%+v", f)
	}
}

// A log directory is cordoned where version 5 of the answer says so.
func TestCordonedLogDirs(t *testing.T) {
	resp := kmsg.NewPtrDescribeLogDirsResponse()
	resp.Version = 5
	for _, cordoned := range []bool{true, false} {
		d := kmsg.NewDescribeLogDirsResponseDir()
		d.Dir, d.IsCordoned = map[bool]string{true: "/a", false: "/b"}[cordoned], cordoned
		resp.Dirs = append(resp.Dirs, d)
	}
	dirs := kafka.LogDirsOf(resp)
	if len(dirs) != 2 || !dirs[0].Cordoned || dirs[1].Cordoned {
		t.Errorf("%+v", dirs)
	}
}
