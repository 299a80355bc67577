package kafka_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"example.com/kpls-agent/internal/kafka"
	"example.com/kpls-agent/internal/restart"
	"example.com/kpls-agent/test/patience"
)

// describeQuorum teaches a fake cluster, which has no quorum, to answer
// DescribeQuorum with what answer returns.
func describeQuorum(t testing.TB, c *kfake.Cluster, answer func() (kmsg.Response, error, bool), opts ...kgo.Opt) {
	t.Helper()
	knows(t, c, 55, opts...)
	c.ControlKey(55, func(r kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		resp, err, done := answer()
		if resp != nil {
			resp.SetVersion(r.GetVersion())
		}
		return resp, err, done
	})
}

// knows makes a fake cluster say that it knows one request more.
func knows(t testing.TB, c *kfake.Cluster, request int16, opts ...kgo.Opt) {
	t.Helper()
	cl, err := kgo.NewClient(append(opts, kgo.SeedBrokers(c.ListenAddrs()...))...)
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	known, err := kmsg.NewPtrApiVersionsRequest().RequestWith(within(t), cl)
	if err != nil {
		t.Fatal(err)
	}
	key := kmsg.NewApiVersionsResponseApiKey()
	key.ApiKey, key.MaxVersion = request, 2
	known.ApiKeys = append(known.ApiKeys, key)
	c.ControlKey(18, func(r kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		resp := *known
		resp.Version = r.GetVersion()
		return &resp, nil, true
	})
}

func threeVoters() *kmsg.DescribeQuorumResponse {
	resp := kmsg.NewPtrDescribeQuorumResponse()
	part := kmsg.NewDescribeQuorumResponseTopicPartition()
	part.LeaderID = 1
	for id, caughtUp := range []int64{9_500, 10_000, -1} {
		v := kmsg.NewDescribeQuorumResponseTopicPartitionReplicaState()
		v.ReplicaID, v.LastCaughtUpTimestamp = int32(id), caughtUp
		part.CurrentVoters = append(part.CurrentVoters, v)
	}
	topic := kmsg.NewDescribeQuorumResponseTopic()
	topic.Topic, topic.Partitions = "__cluster_metadata", append(topic.Partitions, part)
	resp.Topics = append(resp.Topics, topic)
	return resp
}

func views(f restart.ClusterFacts) []int32 {
	var out []int32
	for _, v := range f.Views {
		out = append(out, v.Broker)
	}
	return out
}

func TestObserve(t *testing.T) {
	noLeaks(t)
	c := newCluster(t, 3)
	if err := c.CreateTopic("orders", 4, map[string]string{"min.insync.replicas": "2"}); err != nil {
		t.Fatal(err)
	}
	if err := c.CreateTopic("audit", 1, nil); err != nil {
		t.Fatal(err)
	}
	describeQuorum(t, c, func() (kmsg.Response, error, bool) { return threeVoters(), nil, true })
	var mu sync.Mutex
	asked := map[string][]int32{}
	c.Control(func(r kmsg.Request) (kmsg.Response, error, bool) {
		mu.Lock()
		defer mu.Unlock()
		name := kmsg.NameForKey(r.Key())
		asked[name] = append(asked[name], c.CurrentNode())
		return nil, nil, false
	})
	start := time.Now()
	f := open(t, c).Observe(within(t))

	if f.Err != "" || f.QuorumErr != "" {
		t.Fatalf("Err %q, QuorumErr %q", f.Err, f.QuorumErr)
	}
	if f.At.Before(start) || f.Took <= 0 {
		t.Errorf("At %v, Took %v", f.At, f.Took)
	}
	if d := cmp.Diff([]int32{0, 1, 2}, views(f)); d != "" {
		t.Error(d)
	}
	for _, v := range f.Views {
		if d := cmp.Diff([]int32{0, 1, 2}, v.Alive); d != "" {
			t.Error(d)
		}
		if len(v.Topics) != 2 || v.Topics[0].Name != "audit" || len(v.Topics[1].Partitions) != 4 {
			t.Errorf("broker %d sees %+v", v.Broker, v.Topics)
		}
		for i, p := range v.Topics[1].Partitions {
			if p.ID != int32(i) || p.Leader != c.LeaderFor("orders", p.ID) || len(p.Replicas) != 3 || !slices.Equal(p.Replicas, p.ISR) {
				t.Errorf("partition %+v", p)
			}
		}
	}
	want := restart.ClusterFacts{
		Brokers: []int32{0, 1, 2},
		MinISR:  map[string]int{"audit": 1, "orders": 2},
		Quorum:  &restart.Quorum{Leader: 1, Voters: []restart.Voter{{ID: 0, Behind: 500 * time.Millisecond}, {ID: 1}, {ID: 2, Behind: -1}}},
	}
	f.At, f.Took, f.Views = time.Time{}, 0, nil
	if d := cmp.Diff(want, f); d != "" {
		t.Error(d)
	}
	mu.Lock()
	defer mu.Unlock()
	if n := len(asked["DescribeConfigs"]); n != 4 {
		t.Errorf("%d requests for the configurations of 2 topics and 3 brokers", n)
	}
}

func TestObserveAsksOwnAndNext(t *testing.T) {
	for _, tt := range []struct {
		brokers int
		self    int32
		want    []int32
	}{
		{1, 0, []int32{0}},
		{2, 1, []int32{1, 0}},
		{5, 1, []int32{1, 2, 3}},
		{5, 3, []int32{3, 4, 0}},
		{3, 7, []int32{0, 1, 2}}, // the own broker is down
	} {
		c := newCluster(t, tt.brokers)
		f := open(t, c, func(o *kafka.Options) { o.Self = tt.self }).Observe(within(t))
		if d := cmp.Diff(tt.want, views(f)); d != "" {
			t.Errorf("%d brokers, own %d: %s", tt.brokers, tt.self, d)
		}
		if f.Quorum != nil || f.QuorumErr == "" {
			t.Errorf("the fake has no quorum: %+v, %q", f.Quorum, f.QuorumErr)
		}
	}
}

// A broker in ZooKeeper mode takes UpdateMetadata and has no quorum to describe;
// who controls the cluster stands in every view.
func TestObserveZooKeeper(t *testing.T) {
	c := newCluster(t, 3)
	knows(t, c, 6)
	var mu sync.Mutex
	named := map[int32]int32{} // by broker; the fake's own controller where it is missing
	name := func(controllers map[int32]int32) {
		mu.Lock()
		defer mu.Unlock()
		named = controllers
	}
	c.ControlKey(3, func(r kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		mu.Lock()
		controller, other := named[c.CurrentNode()]
		mu.Unlock()
		if !other || r.(*kmsg.MetadataRequest).Topics != nil {
			return nil, nil, false
		}
		resp := kmsg.NewPtrMetadataResponse()
		resp.Version, resp.ControllerID = r.GetVersion(), controller
		for i, addr := range c.ListenAddrs() {
			b := kmsg.NewMetadataResponseBroker()
			b.NodeID = int32(i)
			host, port, _ := strings.Cut(addr, ":")
			b.Host = host
			n, _ := strconv.ParseInt(port, 10, 32)
			b.Port = int32(n)
			resp.Brokers = append(resp.Brokers, b)
		}
		return resp, nil, true
	})
	cl := open(t, c)
	f := cl.Observe(within(t))
	if want := (&restart.Quorum{Leader: f.Views[0].Controller, ZooKeeper: true}); f.QuorumErr != "" || !cmp.Equal(want, f.Quorum) || want.Leader < 0 {
		t.Errorf("got %+v, %q", f.Quorum, f.QuorumErr)
	}
	name(map[int32]int32{2: (f.Quorum.Leader + 1) % 3})
	if f = cl.Observe(within(t)); f.Quorum == nil || f.Quorum.Leader != -1 {
		t.Errorf("the views name different controllers: %+v, %q", f.Quorum, f.QuorumErr)
	}
	name(map[int32]int32{0: -1, 1: -1, 2: -1})
	if f = cl.Observe(within(t)); f.Quorum == nil || f.Quorum.Leader != -1 {
		t.Errorf("no view names a controller: %+v, %q", f.Quorum, f.QuorumErr)
	}
}

// While ZooKeeper is down, every question for the configuration of a topic takes a
// request handler from the broker: one is enough. It is asked again when that is answered.
func TestObserveWithoutZooKeeper(t *testing.T) {
	c := newCluster(t, 3, kfake.SeedTopics(1, "orders"))
	knows(t, c, 6)
	var asked atomic.Int32
	back := make(chan struct{})
	c.ControlKey(32, func(kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		asked.Add(1)
		c.SleepControl(func() { <-back })
		return nil, nil, false
	})
	cl := open(t, c)
	for range 2 {
		if f := cl.Observe(within(t)); !strings.Contains(f.Err, "see that ZooKeeper runs") || f.Quorum == nil || !f.Quorum.ZooKeeper {
			t.Errorf("%q, %+v, %q", f.Err, f.Quorum, f.QuorumErr)
		}
	}
	if n := asked.Load(); n != 1 {
		t.Errorf("%d questions hold request handlers", n)
	}
	close(back)
	ctx := within(t)
	for f := cl.Observe(ctx); f.Err != "" || f.MinISR["orders"] == 0; f = cl.Observe(ctx) {
		if ctx.Err() != nil {
			t.Fatalf("after ZooKeeper is back: %q, %v", f.Err, f.MinISR)
		}
	}
}

// Commands open the log, too, in an outage above all: that must not cost a request handler each.
func TestLogAsksNothingOfZooKeeper(t *testing.T) {
	c := newCluster(t, 3)
	knows(t, c, 6)
	var asked atomic.Int32
	c.ControlKey(32, func(kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		asked.Add(1)
		return nil, nil, false
	})
	log := run(t, open(t, c))
	mustAppend(t, log, restart.NewResume())
	if err := log.Sync(within(t)); err != nil || asked.Load() > 0 {
		t.Errorf("%v; %d questions for configurations", err, asked.Load())
	}
}

// The first agents of a cluster find no topic. While ZooKeeper is down, each of
// them asks once whether it could be made, and makes it when that is answered.
func TestLogMadeWithoutZooKeeper(t *testing.T) {
	c := newCluster(t, 3)
	knows(t, c, 6)
	var asked atomic.Int32
	back := make(chan struct{})
	c.ControlKey(19, func(kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		asked.Add(1)
		c.SleepControl(func() { <-back })
		return nil, nil, false
	})
	log := runNeeded(t, open(t, c))
	var said string
	again := func() bool { // it is tried again, by how long it says that it waits
		before := said
		said = log.Facts().Err
		return said != before && strings.Contains(said, "see that ZooKeeper runs")
	}
	patience.Until(t, "the first answer is missed", again)
	patience.Until(t, "the answer is missed still", again)
	if n := asked.Load(); n != 1 || !strings.Contains(said, "create the coordination topic "+kafka.DefaultTopic) {
		t.Errorf("%d questions hold request handlers: %s", n, said)
	}
	close(back)
	patience.Until(t, "the topic is there", func() bool { return log.Facts().Err == "" })
	if err := log.Sync(within(t)); err != nil {
		t.Errorf("after ZooKeeper is back: %v", err)
	}
}

// Without a controller a broker keeps the question for a minute; we do not.
// A broker that forwards in a version which a new controller does not know ends the
// connection; on the next one it has learned.
func TestObserveAfterAHangUp(t *testing.T) {
	c := newCluster(t, 3)
	hangUps := 1
	describeQuorum(t, c, func() (kmsg.Response, error, bool) {
		if hangUps--; hangUps >= 0 {
			return nil, errors.New("the controller does not know this version"), true
		}
		return threeVoters(), nil, true
	})
	if f := open(t, c).Observe(within(t)); f.Err != "" || f.QuorumErr != "" || f.Quorum == nil || hangUps >= 0 {
		t.Errorf("%q, %q, %+v, %d", f.Err, f.QuorumErr, f.Quorum, hangUps)
	}
	hangUps = 2
	if f := open(t, c).Observe(within(t)); f.Quorum != nil || !strings.Contains(f.QuorumErr, "broker 2 for the quorum: EOF") {
		t.Errorf("twice: %q, %+v", f.QuorumErr, f.Quorum)
	}
}

// TestShapes (test/e2e) stops the controllers of real brokers.
func TestObserveWithoutController(t *testing.T) {
	c := newCluster(t, 3)
	describeQuorum(t, c, func() (kmsg.Response, error, bool) { return nil, nil, true })
	start := time.Now()
	f := open(t, c).Observe(within(t))
	if f.Err != "" || len(f.Views) != 3 || f.Quorum != nil || !strings.Contains(f.QuorumErr, "no answer came in time") {
		t.Errorf("%q, %d views, %+v, %q", f.Err, len(f.Views), f.Quorum, f.QuorumErr)
	}
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("it took %s", took)
	}
}

func TestObserveWithBrokersAway(t *testing.T) {
	c := newCluster(t, 4)
	cl := open(t, c)
	if f := cl.Observe(within(t)); len(f.Views) != 3 {
		t.Fatalf("%d views", len(f.Views))
	}
	c.ControlKey(3, func(kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		return nil, kerr.UnknownServerError, c.CurrentNode() == 1 || c.CurrentNode() == 2 // hangs up
	})
	f := cl.Observe(within(t))
	if d := cmp.Diff([]int32{0, 3}, views(f)); d != "" || f.Err != "" {
		t.Errorf("%s%s", d, f.Err)
	}
	if d := cmp.Diff([]int32{1, 2}, f.NoAnswer); d != "" {
		t.Errorf("who does not answer:\n%s", d)
	}
	c.ControlKey(3, func(kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		return nil, kerr.UnknownServerError, true
	})
	if f = cl.Observe(within(t)); f.Err == "" || len(f.Views) != 0 {
		t.Errorf("%d views, %q", len(f.Views), f.Err)
	}
}

// A connection to an earlier process of a broker says nothing about this one.
func TestObserveAsksTwice(t *testing.T) {
	c := newCluster(t, 3)
	cl := open(t, c)
	var mu sync.Mutex
	cut := map[int32]bool{}
	c.ControlKey(3, func(r kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		mu.Lock()
		defer mu.Unlock()
		first := r.(*kmsg.MetadataRequest).Topics == nil && !cut[c.CurrentNode()]
		cut[c.CurrentNode()] = cut[c.CurrentNode()] || first
		return nil, kerr.UnknownServerError, first
	})
	f := cl.Observe(within(t))
	if d := cmp.Diff([]int32{0, 1, 2}, views(f)); d != "" || len(f.NoAnswer) > 0 || len(cut) != 3 {
		t.Errorf("%s no answer from %v, cut %v", d, f.NoAnswer, cut)
	}
}

// TestSecured (test/e2e) revokes the same right on real brokers.
func TestObserveWithoutRights(t *testing.T) {
	c := newCluster(t, 2)
	if err := c.CreateTopic("orders", 1, nil); err != nil {
		t.Fatal(err)
	}
	c.Fault(kfake.Fault{Keys: []kmsg.Key{32}, Resource: "orders", Err: kerr.TopicAuthorizationFailed, Count: -1})
	f := open(t, c).Observe(within(t))
	want := "ask broker 1 for min.insync.replicas: topic orders: TOPIC_AUTHORIZATION_FAILED: Not authorized to access topics: [Topic authorization failed.]; " +
		"give the agent's Kafka user the ACL DescribeConfigs on topic *"
	if d := cmp.Diff(want, f.Err); d != "" {
		t.Error(d)
	}
}

// TestLacksListener: a broker without the agents' listener is missing in every
// answer, so nothing can be judged. Brokers of 3.7.1 and 4.4.0 were seen to answer
// just so: code 72, leader -1, all replicas, and the other broker not named.
func TestLacksListener(t *testing.T) {
	resp := kmsg.NewPtrMetadataResponse()
	part := kmsg.NewMetadataResponseTopicPartition()
	part.ErrorCode, part.Partition, part.Leader, part.Replicas = kerr.ListenerNotFound.Code, 4, -1, []int32{2, 3}
	topic := kmsg.NewMetadataResponseTopic()
	topic.Topic, topic.Partitions = new("orders"), append(topic.Partitions, part)
	resp.Topics = append(resp.Topics, topic)
	err := kafka.LacksOf(resp)
	const want = "the leader of partition orders-4, one of the brokers [2 3], does not have the listener that the agents use"
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	resp.Topics[0].Partitions[0].ErrorCode = kerr.LeaderNotAvailable.Code
	if err := kafka.LacksOf(resp); err != nil {
		t.Errorf("without a leader: %v", err)
	}
}

// Made up, to have all in one answer; TestViewOfARealOutage has Kafka's.
func TestViewOfTroubledCluster(t *testing.T) {
	partition := func(id, leader int32, code int16, replicas, isr []int32) kmsg.MetadataResponseTopicPartition {
		p := kmsg.NewMetadataResponseTopicPartition()
		p.Partition, p.Leader, p.ErrorCode, p.Replicas, p.ISR = id, leader, code, replicas, isr
		return p
	}
	resp := func(parts ...kmsg.MetadataResponseTopicPartition) *kmsg.MetadataResponse {
		m := kmsg.NewPtrMetadataResponse()
		for _, id := range []int32{3, 1} {
			b := kmsg.NewMetadataResponseBroker()
			b.NodeID = id
			m.Brokers = append(m.Brokers, b)
		}
		topic := kmsg.NewMetadataResponseTopic()
		topic.Topic, topic.Partitions = new("orders"), parts
		m.Topics = append(m.Topics, topic)
		return m
	}
	first, err := kafka.ViewOf(1, resp(
		partition(1, -1, kerr.LeaderNotAvailable.Code, []int32{2, 4}, []int32{2}),
		partition(0, 3, 0, []int32{3, 1, 2}, []int32{3, 1}),
		partition(2, -1, 72, []int32{2}, nil), // LISTENER_NOT_FOUND
	), nil)
	want := restart.BrokerView{Broker: 1, Alive: []int32{1, 3}, Controller: -1, Topics: []restart.Topic{{Name: "orders", Partitions: []restart.Partition{
		{ID: 0, Leader: 3, Replicas: []int32{3, 1, 2}, ISR: []int32{3, 1}},
		{ID: 1, Leader: -1, Replicas: []int32{2, 4}, ISR: []int32{2}},
		{ID: 2, Leader: -1, Replicas: []int32{2}, ISR: []int32{}},
	}}}}
	if d := cmp.Diff(want, first); d != "" || err != nil {
		t.Fatal(d, err)
	}
	if d := cmp.Diff([]int32{1, 2, 3, 4}, kafka.KnownOf([]restart.BrokerView{first})); d != "" {
		t.Error(d)
	}
	// Another broker's view differs in one partition and keeps its own truth.
	second, err := kafka.ViewOf(3, resp(
		partition(0, 3, 0, []int32{3, 1, 2}, []int32{3, 1, 2}),
		partition(1, -1, 0, []int32{2, 4}, []int32{2}),
		partition(2, -1, 0, []int32{2}, nil),
	), first.Topics)
	if err != nil || !slices.Equal(second.Topics[0].Partitions[0].ISR, []int32{3, 1, 2}) || !slices.Equal(first.Topics[0].Partitions[0].ISR, []int32{3, 1}) {
		t.Errorf("first %+v, second %+v, %v", first, second, err)
	}
	broken := resp()
	broken.Topics[0].ErrorCode = kerr.LeaderNotAvailable.Code
	if _, err := kafka.ViewOf(3, broken, nil); err == nil || !strings.HasPrefix(err.Error(), "topic orders: LEADER_NOT_AVAILABLE") {
		t.Errorf("a topic without an answer: %v", err)
	}
}

// Made up. A good answer of Kafka is in TestReleaseAndQuorumOfRealBrokers, and one without
// a right in TestSecured (test/e2e).
func TestQuorumErrors(t *testing.T) {
	top := threeVoters()
	top.ErrorCode = kerr.ClusterAuthorizationFailed.Code
	part := threeVoters()
	part.Topics[0].Partitions[0].ErrorCode = kerr.NotLeaderForPartition.Code
	for _, resp := range []*kmsg.DescribeQuorumResponse{top, part, kmsg.NewPtrDescribeQuorumResponse()} {
		if q, err := kafka.QuorumOf(resp); err == nil {
			t.Errorf("%+v without an error", q)
		}
	}
	none := threeVoters()
	none.Topics[0].Partitions[0].LeaderID = -1
	q, err := kafka.QuorumOf(none)
	if err != nil || q.Leader != -1 || slices.ContainsFunc(q.Voters, func(v restart.Voter) bool { return v.Behind >= 0 }) {
		t.Errorf("without a leader nothing is known of the voters: %+v, %v", q, err)
	}
}

// bigAnswer is the encoded metadata of a big cluster, every topic with 100
// partitions of 3 replicas; a few of them are short of one.
func bigAnswer(brokers, partitions int) []byte {
	rng := rand.New(rand.NewPCG(1, 1))
	m := kmsg.NewPtrMetadataResponse()
	m.Version = 12
	for id := range brokers {
		b := kmsg.NewMetadataResponseBroker()
		b.NodeID, b.Host, b.Port = int32(id), fmt.Sprintf("b%d.kafka.internal", id), 9092
		m.Brokers = append(m.Brokers, b)
	}
	for n := range partitions / 100 {
		topic := kmsg.NewMetadataResponseTopic()
		topic.Topic = new("topic-" + strconv.Itoa(n))
		topic.TopicID[0], topic.TopicID[1] = byte(n), byte(n>>8)
		for id := range 100 {
			p := kmsg.NewMetadataResponseTopicPartition()
			first := rng.Int32N(int32(brokers))
			for r := range int32(3) {
				p.Replicas = append(p.Replicas, (first+r)%int32(brokers))
			}
			p.Partition, p.Leader, p.ISR = int32(id), first, p.Replicas
			if rng.IntN(100) == 0 {
				p.ISR = p.Replicas[:2]
			}
			topic.Partitions = append(topic.Partitions, p)
		}
		m.Topics = append(m.Topics, topic)
	}
	return m.AppendTo(nil)
}

func decodeViews(tb testing.TB, raw []byte) []restart.BrokerView {
	tb.Helper()
	var out []restart.BrokerView
	for broker := range int32(3) {
		// The bytes of each answer come off the network again.
		body := slices.Clone(raw)
		resp := kmsg.NewPtrMetadataResponse()
		resp.Version = 12
		if err := resp.ReadFrom(body); err != nil {
			tb.Fatal(err)
		}
		var like []restart.Topic
		if len(out) > 0 {
			like = out[0].Topics
		}
		v, err := kafka.ViewOf(broker, resp, like)
		if err != nil {
			tb.Fatal(err)
		}
		out = append(out, v)
	}
	kafka.KnownOf(out)
	return out
}

// bigConfigs is the encoded answer about min.insync.replicas of as many topics.
func bigConfigs(topics int) []byte {
	m := kmsg.NewPtrDescribeConfigsResponse()
	m.Version = 4
	for n := range topics {
		r := kmsg.NewDescribeConfigsResponseResource()
		r.ResourceType, r.ResourceName = kmsg.ConfigResourceTypeTopic, "topic-"+strconv.Itoa(n)
		c := kmsg.NewDescribeConfigsResponseResourceConfig()
		c.Name, c.Value, c.Source = "min.insync.replicas", new("2"), kmsg.ConfigSourceDefaultConfig
		r.Configs = append(r.Configs, c)
		m.Resources = append(m.Resources, r)
	}
	return m.AppendTo(nil)
}

// What gates cost on 200 brokers and 200,000 partitions, from the bytes of the
// answers to the verdict: three views and the configurations decoded and
// converted, and all gates judged.
func BenchmarkGates200x200k(b *testing.B) {
	raw, configs := bigAnswer(200, 200_000), bigConfigs(2_000)
	view := restart.NewView()
	for id := range int32(200) {
		view.Fold(restart.NewStatus(restart.Status{Broker: id, Manifest: "h", Target: "h", Phase: restart.PhaseIdle, Up: true}))
	}
	facts := restart.Facts{Now: time.Now(), Log: restart.LogFacts{At: time.Now(), View: view}}
	facts.Manifest = restart.ManifestFacts{Hash: "h", Table: true, Zones: map[int32]string{}, MaxUnavailable: 1}
	facts.Cluster = restart.ClusterFacts{At: time.Now(), Quorum: &restart.Quorum{Leader: 1001, Voters: []restart.Voter{{ID: 1001}, {ID: 1002}, {ID: 1003}}}}
	for id := range int32(200) {
		facts.Manifest.Zones[id] = strconv.Itoa(int(id % 3))
		facts.Cluster.Brokers = append(facts.Cluster.Brokers, id)
	}
	b.SetBytes(int64(len(raw)*3 + len(configs)))
	b.ReportAllocs()
	measured(b, func() {
		facts.Cluster.Views = decodeViews(b, raw)
		resp := kmsg.NewPtrDescribeConfigsResponse()
		resp.Version = 4
		if err := resp.ReadFrom(slices.Clone(configs)); err != nil {
			b.Fatal(err)
		}
		var err error
		if facts.Cluster.MinISR, facts.Cluster.StrictISR, err = kafka.MinISROf(resp, 3); err != nil || len(facts.Cluster.StrictISR) != 2000 {
			b.Fatal(err)
		}
		plan := restart.NewPlan(7, facts)
		for _, g := range plan.Gates {
			if want := g.Name == restart.CodeGatePartitions; g.Passes == want {
				b.Fatalf("gate %s: %s", g.Name, g.Blocked)
			}
		}
	})
}

// Only the decoding of three views.
func BenchmarkObserve200x200k(b *testing.B) {
	raw := bigAnswer(200, 200_000)
	b.SetBytes(int64(len(raw) * 3))
	b.ReportAllocs()
	measured(b, func() { runtime.KeepAlive(decodeViews(b, raw)) })
}

// measured repeats what is measured; peak_MiB is the most heap seen, garbage included.
func measured(b *testing.B, do func()) {
	b.Helper()
	runtime.GC()
	var peak atomic.Uint64
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		var m runtime.MemStats
		for {
			select {
			case <-stop:
				return
			case <-time.After(5 * time.Millisecond):
				runtime.ReadMemStats(&m)
				peak.Store(max(peak.Load(), m.HeapAlloc))
			}
		}
	}()
	for b.Loop() {
		do()
	}
	close(stop)
	<-done
	b.ReportMetric(float64(peak.Load())/(1<<20), "peak_MiB")
}

// What is kept of a big cluster is little, and kept once for all views.
func TestViewsAreSmall(t *testing.T) {
	raw := bigAnswer(200, 200_000)
	heap := func() float64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC() // and what earlier tests' finalizers have let go
		runtime.ReadMemStats(&m)
		return float64(m.HeapAlloc)
	}
	before := heap()
	views := decodeViews(t, raw)
	kept := (heap() - before) / (1 << 20)
	if kept > 30 {
		t.Errorf("%.1f MiB are kept of 200,000 partitions", kept)
	}
	if len(views) != 3 || &views[0].Topics[0].Partitions[0] != &views[2].Topics[0].Partitions[0] {
		t.Error("equal views do not share their memory")
	}
	runtime.KeepAlive(raw)
}
