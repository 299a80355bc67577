package kafka_test

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"example.com/kpls-agent/internal/kafka"
)

func allow(resource kmsg.ACLResourceType, name string, ops ...kmsg.ACLOperation) []kfake.ACL {
	var out []kfake.ACL
	for _, op := range ops {
		out = append(out, kfake.ACL{Resource: resource, Name: name, Pattern: kmsg.ACLResourcePatternTypeLiteral, Operation: op, Allow: true})
	}
	return out
}

// kfake judges ACLs as Kafka does: 26 requests by six users with other ACLs each had
// the same answers from it and from 3.7.1 and 4.4.0; TestSecured (test/e2e) has the
// agent's own on real brokers.
func TestRights(t *testing.T) {
	const (
		describe, configs = kmsg.ACLOperationDescribe, kmsg.ACLOperationDescribeConfigs
		read, write       = kmsg.ACLOperationRead, kmsg.ACLOperationWrite
		create            = kmsg.ACLOperationCreate
	)
	cluster := func(ops ...kmsg.ACLOperation) []kfake.ACL {
		return allow(kmsg.ACLResourceTypeCluster, "kafka-cluster", ops...)
	}
	topic := func(name string, ops ...kmsg.ACLOperation) []kfake.ACL {
		return allow(kmsg.ACLResourceTypeTopic, name, ops...)
	}
	for _, c := range []struct {
		name    string
		acls    [][]kfake.ACL
		noTopic bool
		want    kafka.Rights
	}{
		{"all", [][]kfake.ACL{cluster(describe, configs), topic("*", describe, configs), topic(kafka.DefaultTopic, read, write)}, false, kafka.Rights{}},
		{"nothing", nil, false, kafka.Rights{Cluster: []string{"Describe", "DescribeConfigs"}, Topic: []string{"Describe", "DescribeConfigs", "Read", "Write"}}},
		{"read only", [][]kfake.ACL{cluster(describe, configs), topic("*", describe, configs, read)}, false, kafka.Rights{Topic: []string{"Write"}}},
		{"no configurations", [][]kfake.ACL{cluster(describe), topic("*", describe, configs), topic(kafka.DefaultTopic, read, write)}, false, kafka.Rights{Cluster: []string{"DescribeConfigs"}}},
		{
			"only its own topic",
			[][]kfake.ACL{cluster(describe, configs), topic(kafka.DefaultTopic, describe, configs, read, write), topic("payments", describe)},
			false,
			kafka.Rights{Hidden: []string{"orders"}},
		},
		{"may make the topic", [][]kfake.ACL{cluster(describe, configs, create), topic("*", describe, configs)}, true, kafka.Rights{NoTopic: true}},
		{"has no right to make the topic", [][]kfake.ACL{cluster(describe, configs), topic("*", describe, configs)}, true, kafka.Rights{NoTopic: true, Topic: []string{"Create"}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var acls []kfake.ACL
			for _, a := range c.acls {
				acls = append(acls, a...)
			}
			topics := []string{"orders", "payments"}
			if !c.noTopic {
				topics = append(topics, kafka.DefaultTopic)
			}
			fake := newCluster(t, 1, kfake.EnableSASL(), kfake.EnableACLs(), kfake.SeedTopics(1, topics...), kfake.User("PLAIN", "agent", "secret", acls...))
			cl := open(t, fake, func(o *kafka.Options) {
				o.Login = kafka.Login{Protocol: "SASL_PLAINTEXT", Mechanism: "PLAIN", User: user("agent", "secret")}
			})
			got, err := cl.Rights(within(t))
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(c.want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

// A topic that goes while the questions are asked is not hidden.
func TestRightsWhileATopicIsDeleted(t *testing.T) {
	fake := newCluster(t, 1, kfake.SeedTopics(1, kafka.DefaultTopic, "orders"))
	asked := 0
	fake.ControlKey(35, func(r kmsg.Request) (kmsg.Response, error, bool) {
		fake.KeepControl()
		if asked++; asked > 1 {
			return nil, nil, false
		}
		resp := r.ResponseKind().(*kmsg.DescribeLogDirsResponse)
		dir := kmsg.NewDescribeLogDirsResponseDir()
		topic := kmsg.NewDescribeLogDirsResponseDirTopic()
		topic.Topic = "gone"
		dir.Topics = append(dir.Topics, topic)
		resp.Dirs = append(resp.Dirs, dir)
		return resp, nil, true
	})
	got, err := open(t, fake).Rights(within(t))
	if err != nil || len(got.Hidden) > 0 || asked != 1 {
		t.Errorf("got %+v, %v after %d questions", got, err, asked)
	}
}

func TestClockDifference(t *testing.T) {
	const behind = 90 * time.Second
	fake := newCluster(t, 1)
	describeQuorum(t, fake, func() (kmsg.Response, error, bool) {
		resp := threeVoters()
		resp.Topics[0].Partitions[0].CurrentVoters[1].LastCaughtUpTimestamp = time.Now().Add(-behind).UnixMilli()
		return resp, nil, true
	})
	got, uncertain, err := open(t, fake).ClockDifference(within(t))
	if err != nil {
		t.Fatal(err)
	}
	if off := (got - behind).Abs(); off > uncertain {
		t.Errorf("the clock is %s ahead, give or take %s; it is %s", got, uncertain, behind)
	}
}

func TestClockIsNotTold(t *testing.T) {
	fake := newCluster(t, 1)
	describeQuorum(t, fake, func() (kmsg.Response, error, bool) {
		resp := threeVoters()
		resp.Topics[0].Partitions[0].LeaderID = 2
		return resp, nil, true
	})
	_, _, err := open(t, fake).ClockDifference(within(t))
	if want := "ask for the controller's clock: the controller does not tell its clock"; err == nil || err.Error() != want {
		t.Errorf("got %v", err)
	}
}

// A gate that does not see a topic would pass without it: what is hidden is a veto.
func TestObserveHiddenTopics(t *testing.T) {
	acls := slices.Concat(
		allow(kmsg.ACLResourceTypeCluster, "kafka-cluster", kmsg.ACLOperationDescribe, kmsg.ACLOperationDescribeConfigs),
		allow(kmsg.ACLResourceTypeTopic, "*", kmsg.ACLOperationDescribeConfigs),
		allow(kmsg.ACLResourceTypeTopic, kafka.DefaultTopic, kmsg.ACLOperationRead, kmsg.ACLOperationWrite),
	)
	fake := newCluster(t, 1, kfake.EnableSASL(), kfake.EnableACLs(), kfake.SeedTopics(1, "orders", kafka.DefaultTopic), kfake.User("PLAIN", "agent", "secret", acls...))
	cl := open(t, fake, func(o *kafka.Options) {
		o.Login = kafka.Login{Protocol: "SASL_PLAINTEXT", Mechanism: "PLAIN", User: user("agent", "secret")}
	})
	want := "1 topics with replicas on this broker are hidden from the agent's user, such as orders; give the agent's Kafka user the ACL Describe on topic *"
	if got := cl.Observe(within(t)).Err; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
