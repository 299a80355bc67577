package kafka_test

import (
	"context"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"example.com/kpls-agent/internal/kafka"
)

// customer is a cluster as its manifest promises it, and a map from the
// promised names to the fake brokers. The partitions are led by the brokers
// given, in their order; by all, if none is.
func customer(t *testing.T, c *kfake.Cluster, leaders ...int32) kafka.VerifyOptions {
	t.Helper()
	return customerBehind(t, c, func(id int32) string { return fmt.Sprintf("b%d.example:9092", id) }, leaders...)
}

// customerBehind is the same behind something that names the leader of a partition in its own way, in the answer to a
// record that another broker refuses.
func customerBehind(t *testing.T, c *kfake.Cluster, leader func(int32) string, leaders ...int32) kafka.VerifyOptions {
	t.Helper()
	o := kafka.VerifyOptions{Bootstrap: []string{"b0.example:9092"}, Want: map[int32]string{}, Map: map[string]string{}, Topic: "verify-it"}
	for id, addr := range c.ListenAddrs() {
		name := "b" + strconv.Itoa(id) + ".example"
		o.Want[int32(id)] = name + ":9092"
		o.Map[name] = addr
	}
	if leaders == nil {
		leaders = slices.Sorted(maps.Keys(o.Want))
	}
	advertise(c, maps.Clone(o.Want))
	redirect(c, o.Topic, leaders, leader)
	// The fake leads partitions anywhere; a real broker leads what is assigned to
	// it first. Nothing is produced before that is so here.
	early := c.Fault(kfake.Fault{Keys: []kmsg.Key{0}, Err: kerr.NotLeaderForPartition, Count: -1})
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			case <-time.After(5 * time.Millisecond):
			}
			placed := true
			for partition, id := range leaders {
				placed = c.MoveTopicPartition(o.Topic, int32(partition), id) == nil && placed
			}
			if placed {
				early.Remove()
				return
			}
		}
	}()
	t.Cleanup(func() { close(stop); <-done })
	return o
}

// redirect makes a fake cluster name the leader of a partition in the answer to a record that another broker refuses
// (KIP-951) by an address of its own choice; the fake itself would name the one that it listens at.
func redirect(c *kfake.Cluster, topic string, leaders []int32, addr func(int32) string) {
	c.ControlKey(0, func(r kmsg.Request) (kmsg.Response, error, bool) {
		req := r.(*kmsg.ProduceRequest)
		if len(req.Topics) != 1 || len(req.Topics[0].Partitions) != 1 || req.Version < 10 {
			return nil, nil, false
		}
		partition := req.Topics[0].Partitions[0].Partition
		if int(partition) >= len(leaders) || leaders[partition] == c.CurrentNode() {
			return nil, nil, false
		}
		c.KeepControl()
		leader := leaders[partition]
		p := kmsg.NewProduceResponseTopicPartition()
		p.Partition, p.ErrorCode, p.CurrentLeader.LeaderID = partition, kerr.NotLeaderForPartition.Code, leader
		resp := r.ResponseKind().(*kmsg.ProduceResponse)
		resp.Topics = append(resp.Topics, kmsg.ProduceResponseTopic{Topic: topic, TopicID: req.Topics[0].TopicID})
		resp.Topics[0].Partitions = append(resp.Topics[0].Partitions, p)
		host, port, _ := net.SplitHostPort(addr(leader))
		n, _ := strconv.Atoi(port)
		b := kmsg.NewProduceResponseBroker()
		b.NodeID, b.Host, b.Port = leader, host, int32(n)
		resp.Brokers = append(resp.Brokers, b)
		return resp, nil, true
	})
}

// advertise makes a fake cluster name its brokers as in want, and none else.
func advertise(c *kfake.Cluster, want map[int32]string) {
	c.ControlKey(3, func(r kmsg.Request) (kmsg.Response, error, bool) {
		if topics := r.(*kmsg.MetadataRequest).Topics; topics == nil || len(topics) > 0 {
			return nil, nil, false
		}
		c.KeepControl()
		resp := r.ResponseKind().(*kmsg.MetadataResponse)
		resp.ClusterID = new("kfake")
		for id, addr := range want {
			b := kmsg.NewMetadataResponseBroker()
			host, port, _ := net.SplitHostPort(addr)
			n, _ := strconv.Atoi(port)
			b.NodeID, b.Host, b.Port = id, host, int32(n)
			resp.Brokers = append(resp.Brokers, b)
		}
		return resp, nil, true
	})
}

// found are the faults of the brokers, by broker.
func found(r kafka.VerifyReport) map[int32]string {
	out := map[int32]string{}
	for _, b := range r.Brokers {
		if b.Fault != nil {
			out[b.Broker] = b.Fault.Code + ": " + b.Fault.Error()
		}
	}
	return out
}

func gone(t *testing.T, c *kfake.Cluster, topic string) {
	t.Helper()
	if c.TopicInfo(topic) != nil {
		t.Errorf("topic %s is left behind", topic)
	}
}

// The whole of it passes on real brokers in TestAddExternal, TestSecured and TestMutualTLS
// (test/e2e), with their own errors for wrong logins, names and certificates.
func TestVerify(t *testing.T) {
	noLeaks(t)
	c := newCluster(t, 3)
	o := customer(t, c)
	report := kafka.Verify(within(t), o)
	if !report.OK || report.Advice() != "" || len(report.Bootstrap) != 1 || report.Bootstrap[0].Connected <= 0 {
		t.Errorf("%+v", report)
	}
	for i, r := range report.Brokers {
		if r.Broker != int32(i) || r.Got != r.Want || r.Got != o.Want[int32(i)] || r.Connected <= 0 || r.Produced <= 0 || r.Consumed <= 0 || !r.OK {
			t.Errorf("row %d: %+v", i, r)
		}
	}
	if len(report.Brokers) != 3 {
		t.Errorf("%d rows", len(report.Brokers))
	}
	gone(t, c, o.Topic)
}

// TestVerifyMovedLeader: a protocol proxy in between that rewrites the addresses of Metadata alone sends customers past
// itself as soon as a leader moves. The proxy is the fake's; that real brokers without one are found right is in
// TestAddExternal (test/e2e). No real proxy was tried.
func TestVerifyMovedLeader(t *testing.T) {
	c := newCluster(t, 3)
	o := customerBehind(t, c, func(id int32) string { return fmt.Sprintf("10.0.0.%d:39092", id) })
	report := kafka.Verify(within(t), o)
	for id, to := range map[int32]int{0: 1, 1: 2, 2: 0} {
		want := fmt.Sprintf("leader_address: when a leader moves to broker %d, customers are sent to 10.0.0.%[1]d:39092, and not to b%[1]d.example:9092: ", to)
		if got := found(report)[id]; !strings.HasPrefix(got, want) {
			t.Errorf("broker %d: %q", id, got)
		}
	}
	gone(t, c, o.Topic)
}

// TestVerifyOptional: an optional broker may be missing. One that is there is tried like any other.
func TestVerifyOptional(t *testing.T) {
	c := newCluster(t, 3)
	o := customer(t, c)
	o.Want[7], o.Optional = "b7.example:9092", []int32{2, 7}
	report := kafka.Verify(within(t), o)
	var ids []int32
	for _, r := range report.Brokers {
		ids = append(ids, r.Broker)
	}
	if !report.OK || !slices.Equal(ids, []int32{0, 1, 2}) || report.Brokers[2].Produced <= 0 {
		t.Errorf("%+v", report)
	}
}

func TestVerifyFindsDifferences(t *testing.T) {
	c := newCluster(t, 3)
	o := customer(t, c)
	o.Want[1] = "b1.example:9999"
	o.Want[7] = "b7.example:9092"
	delete(o.Want, 2)
	report := kafka.Verify(within(t), o)
	const see = "see kpls-agent status"
	for id, want := range map[int32]string{
		1: "address_differs: customers are sent to b1.example:9092, and the manifest says b1.example:9999; the broker was not restarted with this manifest (" + see,
		2: "not_in_manifest: the cluster has this broker, and the manifest does not; add the broker to the manifest",
		7: "not_named: the cluster does not name the broker on this listener, so no customer can reach it; it is down, or was not restarted with the listener: " + see,
	} {
		if got := found(report)[id]; !strings.HasPrefix(got, want) {
			t.Errorf("broker %d: %q", id, got)
		}
	}
	if len(found(report)) != 3 || report.OK || report.Fault != nil {
		t.Errorf("%+v", report)
	}
	gone(t, c, o.Topic)
}

// Two rules of the load balancer are swapped: every name answers, with the wrong broker.
// Kafka 4.4 says so if it is asked (KIP-1242); before, the partitions that it leads do.
// Real brokers of 3.7.1 and 4.4.0 are asked the same in TestMatrixSwapped (test/e2e).
func TestVerifyFindsSwappedRules(t *testing.T) {
	for name, with := range map[string]struct {
		opts    []kfake.Opt
		leaders []int32 // 4.4 says it before a topic is made
	}{
		"4.4": {nil, []int32{0}}, "3.9": {[]kfake.Opt{kfake.MaxVersions(kversion.V3_9_0())}, []int32{0, 1, 2}},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t, 3, with.opts...)
			o := customer(t, c, with.leaders...)
			o.Map["b1.example"], o.Map["b2.example"] = o.Map["b2.example"], o.Map["b1.example"]
			report := kafka.Verify(within(t), o)
			got := found(report)
			for id, is := range map[int32]int32{1: 2, 2: 1} {
				want := fmt.Sprintf("wrong_broker: port 9092 leads to broker %d, and not to broker %d: ", is, id)
				todo := fmt.Sprintf("; the rule or the pool is swapped: let port 9092 of b%d.example lead to broker %d alone", id, id)
				if !strings.HasPrefix(got[id], want) || !strings.HasSuffix(got[id], todo) {
					t.Errorf("broker %d: %q", id, got[id])
				}
			}
			if got[0] != "" || !report.Brokers[0].OK || report.Fault != nil {
				t.Errorf("%+v", report)
			}
			gone(t, c, o.Topic)
		})
	}
}

// The pool of a rule has two brokers in place of one: each connection may reach the other.
func TestVerifyFindsPools(t *testing.T) {
	for name, opts := range map[string][]kfake.Opt{"4.4": nil, "3.9": {kfake.MaxVersions(kversion.V3_9_0())}} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t, 3, opts...)
			o := customer(t, c)
			turn, pool := atomic.Int64{}, []string{c.ListenAddrs()[1], c.ListenAddrs()[0]}
			o.Map["b1.example:9092"] = "pool.example:9092"
			o.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
				if addr == "pool.example:9092" {
					addr = pool[int(turn.Add(1)-1)%len(pool)]
				}
				return new(net.Dialer).DialContext(ctx, network, addr)
			}
			report := kafka.Verify(within(t), o)
			const want = "wrong_broker: port 9092 leads to broker 1, and over another connection to broker 0; " +
				"its pool has more than one broker: let port 9092 of b1.example lead to broker 1 alone"
			if got := found(report); len(got) != 1 || got[1] != want {
				t.Errorf("%v", got)
			}
			gone(t, c, o.Topic)
		})
	}
}

// A port of the load balancer leads to the broker of another cluster that has the same broker id.
func TestVerifyFindsAnotherCluster(t *testing.T) {
	c, other := newCluster(t, 3), newCluster(t, 2, kfake.ClusterID("another"))
	o := customer(t, c, 0, 2)
	o.Map["b1.example"] = other.ListenAddrs()[1]
	got := found(kafka.Verify(within(t), o))
	if other.TopicInfo(o.Topic) != nil {
		t.Error("a topic was made in the other cluster")
	}
	if len(got) != 1 || !strings.HasPrefix(got[1], "wrong_cluster: port 9092 leads to a broker of another cluster: its id is another, and that at b0.example:9092 is ") {
		t.Errorf("%v", got)
	}
	gone(t, c, o.Topic)
}

func TestVerifyWithABrokerThatCannotBeReached(t *testing.T) {
	c := newCluster(t, 3)
	o := customer(t, c, 0, 2)
	o.Map["b1.example:9092"] = "127.0.0.1:1" // an address is nearer than a host
	report := kafka.Verify(within(t), o)
	if got := found(report); len(got) != 1 || !strings.HasPrefix(got[1], "refused: the connection to b1.example:9092 (here 127.0.0.1:1, by --map) is refused: ") {
		t.Errorf("%v", got)
	}
	if !report.Brokers[0].OK || report.Brokers[1].Produced != 0 || report.OK {
		t.Errorf("%+v", report)
	}
	gone(t, c, o.Topic)
}

func TestVerifyLeavesNothingBehind(t *testing.T) {
	for _, tt := range []struct {
		name  string
		spoil func(*kfake.Cluster) (cancelled bool)
		want  string
	}{
		{"produce fails", func(c *kfake.Cluster) bool {
			c.Fault(kfake.Fault{Keys: []kmsg.Key{0}, Err: kerr.TopicAuthorizationFailed, Count: -1})
			return false
		}, ""},
		{"cancelled", func(c *kfake.Cluster) bool {
			c.Fault(kfake.Fault{Keys: []kmsg.Key{0}, Err: kerr.NotEnoughReplicas, Count: -1})
			return true
		}, ""},
		{"unknown outcome", func(c *kfake.Cluster) bool {
			c.Fault(kfake.Fault{Keys: []kmsg.Key{19}, Err: kerr.RequestTimedOut, Count: 1})
			return false
		}, "the topic verify-it cannot be made, so nothing was produced: the broker at b"},
		{"delete fails once", func(c *kfake.Cluster) bool {
			c.Fault(kfake.Fault{Keys: []kmsg.Key{20}, Err: kerr.NotController, Count: 4})
			return false
		}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := newCluster(t, 3)
			o := customer(t, c)
			ctx := within(t)
			if tt.spoil(c) {
				var cancel context.CancelFunc
				ctx, cancel = context.WithCancel(ctx)
				var once sync.Once
				c.ControlKey(0, func(kmsg.Request) (kmsg.Response, error, bool) { once.Do(cancel); return nil, nil, false })
			}
			report := kafka.Verify(ctx, o)
			if tt.want == "" && report.Fault != nil || tt.want != "" && (report.Fault == nil || !strings.HasPrefix(report.Fault.Text, tt.want)) {
				t.Errorf("got %v, want %q", report.Fault, tt.want)
			}
			gone(t, c, o.Topic)
		})
	}
}

func TestVerifyTouchesNoTopicOfOthers(t *testing.T) {
	c := newCluster(t, 1)
	o := customer(t, c)
	if err := c.CreateTopic(o.Topic, 1, nil); err != nil {
		t.Fatal(err)
	}
	report := kafka.Verify(within(t), o)
	if report.OK || report.Fault == nil || report.Fault.Text != "the topic verify-it cannot be made, so nothing was produced: it exists already" {
		t.Errorf("got %+v", report.Fault)
	}
	if c.TopicInfo(o.Topic) == nil {
		t.Error("somebody else's topic was removed")
	}
	want := []kafka.VerifyRow{{Broker: 0, Want: "b0.example:9092", Got: "b0.example:9092"}}
	if d := cmp.Diff(want, report.Brokers, cmpopts.IgnoreFields(kafka.VerifyRow{}, "Connected")); d != "" {
		t.Error(d)
	}
}

func TestVerifyWithoutRights(t *testing.T) {
	c := newCluster(t, 2)
	o := customer(t, c)
	c.Fault(kfake.Fault{Keys: []kmsg.Key{19}, Err: kerr.TopicAuthorizationFailed, Count: -1})
	report := kafka.Verify(within(t), o)
	if report.Fault == nil || report.Fault.Where != "customer" || !strings.HasPrefix(report.Fault.ToDo, "give it Create, Describe, Write, Read and Delete on topics") {
		t.Errorf("got %+v", report.Fault)
	}
	if len(report.Brokers) != 2 || slices.ContainsFunc(report.Brokers, func(r kafka.VerifyRow) bool { return r.Connected <= 0 || r.Produced != 0 || r.OK }) {
		t.Errorf("%+v", report.Brokers)
	}
}
