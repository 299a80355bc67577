package kafka_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
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

const topic = kafka.DefaultTopic

func claim(broker int32, nonce string) restart.Record {
	return restart.NewClaim(restart.Claim{Broker: broker, Target: "t"}, nonce)
}

func keys(v *restart.View) []string {
	var out []string
	for _, c := range v.Claims {
		out = append(out, c.Key)
	}
	return out
}

func mustAppend(t testing.TB, l *kafka.Log, records ...restart.Record) {
	t.Helper()
	if err := l.Append(within(t), records...); err != nil {
		t.Fatal(err)
	}
}

func mustSync(t testing.TB, l *kafka.Log) restart.LogFacts {
	t.Helper()
	if err := l.Sync(within(t)); err != nil {
		t.Fatal(err)
	}
	return l.Facts()
}

// Kafka takes the same request: TestAddExternal and TestSecured (test/e2e) find the topic.
func TestTopicIsMade(t *testing.T) {
	for _, tt := range []struct {
		brokers          int
		replicas, minISR string
	}{{1, "1", "1"}, {2, "2", "1"}, {3, "3", "2"}, {5, "3", "2"}} {
		t.Run(fmt.Sprint(tt.brokers), func(t *testing.T) {
			noLeaks(t)
			c := newCluster(t, tt.brokers)
			var req *kmsg.CreateTopicsRequest
			var mu sync.Mutex
			c.ControlKey(19, func(r kmsg.Request) (kmsg.Response, error, bool) {
				mu.Lock()
				defer mu.Unlock()
				req = r.(*kmsg.CreateTopicsRequest)
				return nil, nil, false
			})
			l := run(t, open(t, c))
			mustAppend(t, l, restart.NewResume())
			if n := fmt.Sprint(l.Made()); n != tt.replicas {
				t.Errorf("it says that it has made a topic with %s replicas", n)
			}
			mu.Lock()
			defer mu.Unlock()
			got := map[string]string{"replicas": fmt.Sprint(req.Topics[0].ReplicationFactor), "partitions": fmt.Sprint(req.Topics[0].NumPartitions)}
			for _, cfg := range req.Topics[0].Configs {
				got[cfg.Name] = *cfg.Value
			}
			want := map[string]string{
				"replicas": tt.replicas, "partitions": "1", "min.insync.replicas": tt.minISR,
				"cleanup.policy": "compact", "unclean.leader.election.enable": "false", "message.timestamp.type": "LogAppendTime",
				"segment.ms": "600000", "min.cleanable.dirty.ratio": "0.1", "delete.retention.ms": "604800000",
			}
			if d := cmp.Diff(want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

// TestNoTopicWithoutNeed: who only reads makes no topic, nor does who must not, and both see one that comes.
func TestNoTopicWithoutNeed(t *testing.T) {
	noLeaks(t)
	c := newCluster(t, 3)
	var may atomic.Bool
	var looks atomic.Int64
	c.ControlKey(3, func(kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		looks.Add(1)
		return nil, nil, false
	})
	reader := run(t, open(t, c))
	agent := run(t, open(t, c, func(o *kafka.Options) { o.Makes = may.Load }))
	for _, l := range []*kafka.Log{reader, agent} {
		if err := l.Sync(within(t)); !errors.Is(err, kafka.ErrNoTopic) {
			t.Errorf("read: %v", err)
		}
		if f := l.Facts(); !f.Missing || f.Err != "" || !f.At.IsZero() {
			t.Errorf("it says %+v", f)
		}
	}
	if err := agent.Append(within(t), restart.NewResume()); !errors.Is(err, kafka.ErrNoTopic) {
		t.Errorf("append: %v", err)
	}
	before := looks.Load()
	patience.Until(t, "both look again", func() bool { return looks.Load() >= before+4 })
	if c.TopicInfo(topic) != nil {
		t.Fatal("there is a topic")
	}
	may.Store(true)
	agent.Look()
	patience.Until(t, "it is there before anything is appended", func() bool { f := agent.Facts(); return !f.At.IsZero() && !f.Missing })
	patience.Until(t, "the reader finds it", func() bool { f := reader.Facts(); return !f.At.IsZero() && !f.Missing })
	if agent.Made() != 3 || reader.Made() != 0 {
		t.Errorf("made by the agent: %d replicas, by the reader: %d", agent.Made(), reader.Made())
	}
}

func TestTopicWaitsForBrokers(t *testing.T) {
	c := newCluster(t, 1)
	l := runNeeded(t, open(t, c, func(o *kafka.Options) { o.Expect = func() int { return 3 } }))
	patience.Until(t, "the reason is told", func() bool {
		return l.Facts().Err == "create the coordination topic __kpls_agent: 1 of the 3 brokers it needs are up"
	})
	for range 2 {
		if _, _, err := c.AddNode(-1, 0); err != nil {
			t.Fatal(err)
		}
	}
	patience.Until(t, "the log is read", func() bool { f := l.Facts(); return !f.At.IsZero() && f.Err == "" })
}

func TestTopicOfOthersIsRefused(t *testing.T) {
	for _, tt := range []struct {
		name       string
		partitions int32
		config     map[string]string
		want       string
	}{
		{"partitions", 2, map[string]string{"cleanup.policy": "compact"}, "the coordination topic __kpls_agent has 2 partitions and must have one; delete it, and an agent makes it again"},
		{"policy", 1, map[string]string{"cleanup.policy": "delete"}, "the coordination topic __kpls_agent has cleanup.policy=delete and must have compact, or claims would be forgotten; delete it, and an agent makes it again"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := newCluster(t, 1)
			if err := c.CreateTopic(topic, tt.partitions, tt.config); err != nil {
				t.Fatal(err)
			}
			l := run(t, open(t, c))
			patience.Until(t, tt.want, func() bool { return l.Facts().Err == tt.want })
			if !l.Facts().At.IsZero() {
				t.Error("the log counts as read")
			}
		})
	}
}

// TestTopicUnheardByItsLeader: right after the topic was made, its leader might not know it yet (3.7.1 does so for some
// milliseconds). That is no topic of somebody else's making; where it stays so, it is said.
func TestTopicUnheardByItsLeader(t *testing.T) {
	c := newCluster(t, 1)
	if err := c.CreateTopic(topic, 1, map[string]string{"cleanup.policy": "compact"}); err != nil {
		t.Fatal(err)
	}
	var unheard atomic.Int32
	var knows atomic.Bool
	c.ControlKey(int16(kmsg.DescribeConfigs), func(r kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		req, is := r.(*kmsg.DescribeConfigsRequest)
		if !is || knows.Load() {
			return nil, nil, false
		}
		unheard.Add(1)
		resp := req.ResponseKind().(*kmsg.DescribeConfigsResponse)
		for _, asked := range req.Resources {
			about := kmsg.NewDescribeConfigsResponseResource()
			about.ResourceType, about.ResourceName = asked.ResourceType, asked.ResourceName
			about.ErrorCode = kerr.UnknownTopicOrPartition.Code
			resp.Resources = append(resp.Resources, about)
		}
		return resp, nil, true
	})
	l := run(t, open(t, c))
	const want = "check the coordination topic __kpls_agent: broker 0 leads it and does not know it yet; asking again"
	patience.Until(t, want, func() bool { return l.Facts().Err == want })
	if n := unheard.Load(); n < 4 {
		t.Errorf("it was a fault after %d answers", n)
	}
	knows.Store(true)
	patience.Until(t, "the log is read", func() bool { f := l.Facts(); return !f.At.IsZero() && f.Err == "" })
}

// Claims made at the same time are seen in one order by everybody, and each
// writer sees its own when Append returns.
func TestClaimsHaveOneOrder(t *testing.T) {
	noLeaks(t)
	c := newCluster(t, 3)
	const agents, each = 6, 10
	var logs []*kafka.Log
	for range agents {
		logs = append(logs, run(t, open(t, c)))
	}
	var all sync.WaitGroup
	for i, l := range logs {
		all.Go(func() {
			for n := range each {
				nonce := fmt.Sprint(n)
				if err := l.Append(within(t), claim(int32(i), nonce)); err != nil {
					t.Error(err)
					return
				}
				if own := fmt.Sprintf("claim/%d/%s", i, nonce); !strings.Contains(strings.Join(keys(l.Facts().View), " ")+" ", own+" ") {
					t.Errorf("%s is not in the view after Append", own)
				}
			}
		})
	}
	all.Wait()
	first := keys(mustSync(t, logs[0]).View)
	if len(first) != agents*each {
		t.Fatalf("%d claims, want %d", len(first), agents*each)
	}
	for i, l := range logs {
		if d := cmp.Diff(first, keys(mustSync(t, l).View)); d != "" {
			t.Errorf("agent %d sees another order:\n%s", i, d)
		}
	}
}

// The records of one Append are one batch, also the very first.
func TestAppendIsOneBatch(t *testing.T) {
	c := newCluster(t, 1)
	var mu sync.Mutex
	var counts []int32
	c.ControlKey(0, func(r kmsg.Request) (kmsg.Response, error, bool) {
		mu.Lock()
		defer mu.Unlock()
		for _, t := range r.(*kmsg.ProduceRequest).Topics {
			for _, p := range t.Partitions {
				var b kmsg.RecordBatch
				if b.ReadFrom(p.Records) == nil {
					counts = append(counts, b.NumRecords)
				}
			}
		}
		return nil, nil, false
	})
	l := run(t, open(t, c))
	mustAppend(t, l, claim(1, "a"), claim(1, "b"), claim(2, "c"))
	mustAppend(t, l, claim(3, "d"), restart.NewRelease("claim/1/a"))
	if d := cmp.Diff([]string{"claim/1/b", "claim/2/c", "claim/3/d"}, keys(l.Facts().View)); d != "" {
		t.Error(d)
	}
	mu.Lock()
	defer mu.Unlock()
	if d := cmp.Diff([]int32{3, 2}, counts); d != "" {
		t.Error(d)
	}
}

// A view that was handed out stays as it is.
func TestFactsAreNotChanged(t *testing.T) {
	l := run(t, open(t, newCluster(t, 1)))
	mustAppend(t, l, claim(1, "a"))
	before := l.Facts()
	copied := before.View.Clone()
	mustAppend(t, l, claim(2, "b"), restart.NewPause(restart.Pause{By: "x"}))
	if d := cmp.Diff(copied, before.View); d != "" {
		t.Error(d)
	}
	after := l.Facts()
	if len(after.View.Claims) != 2 || after.View.Pause == nil || !after.At.After(before.At) {
		t.Errorf("the new facts are %+v", after)
	}
}

// The answer to a produce request gets lost after the record was written.
func TestLostAnswer(t *testing.T) {
	noLeaks(t)
	c := newCluster(t, 2)
	l := run(t, open(t, c))
	mustAppend(t, l, claim(1, "a"))
	var lost sync.Once
	dropped := false
	c.ControlKey(0, func(kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		ok := false
		lost.Do(func() { ok, dropped = true, true })
		if ok {
			return nil, context.Canceled, true // hang up: nothing is written, and nobody can know
		}
		return nil, nil, false
	})
	mustAppend(t, l, claim(2, "b"))
	if d := cmp.Diff([]string{"claim/1/a", "claim/2/b"}, keys(l.Facts().View)); d != "" || !dropped {
		t.Errorf("dropped %v: %s", dropped, d)
	}
}

// The records are written, no answer ever comes, and the log itself tells.
func TestAnswerNeverComes(t *testing.T) {
	c := newCluster(t, 1)
	l := run(t, open(t, c))
	mustAppend(t, l, claim(1, "a"))
	h := c.Fault(kfake.Fault{Keys: []kmsg.Key{0}, Err: notEnoughAfterAppend, Count: -1})
	defer h.Remove()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if err := l.Append(ctx, claim(2, "b")); err != nil {
		t.Errorf("the record is in the log, and Append says %v", err)
	}
	if d := cmp.Diff([]string{"claim/1/a", "claim/2/b"}, keys(mustSync(t, l).View)); d != "" {
		t.Error(d)
	}
}

// Kafka answers a produce and ListOffsets at a broker that does not lead as kfake does
// (6), and a fetch otherwise: see TestReaderFollowsTheLeader.
func TestLeaderMoves(t *testing.T) {
	noLeaks(t)
	c := newCluster(t, 3)
	l := run(t, open(t, c))
	var want []string
	for i := range 6 {
		if err := c.MoveTopicPartition(topic, 0, int32(i%3)); i > 0 && err != nil {
			t.Fatal(err)
		}
		mustAppend(t, l, claim(int32(i), "a"))
		want = append(want, fmt.Sprintf("claim/%d/a", i))
	}
	if d := cmp.Diff(want, keys(mustSync(t, l).View)); d != "" {
		t.Error(d)
	}
}

// An agent that only reads follows the leader at once, and an election is no fault.
// kfake refuses any fetch at a broker that does not lead (6). Kafka 3.7.1 and 4.4.0
// answer it, 0.5 s late, unless it has the leader's epoch: then both and kfake say 74
// (FENCED_LEADER_EPOCH). TestReaderFollowsTheElectedLeader has it on real brokers.
func TestReaderFollowsTheLeader(t *testing.T) {
	noLeaks(t)
	c := newCluster(t, 3)
	var without atomic.Int32 // an epoch
	c.ControlKey(1, func(r kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		if r.(*kmsg.FetchRequest).Topics[0].Partitions[0].CurrentLeaderEpoch < 0 {
			without.Add(1)
		}
		return nil, nil, false
	})
	c.ControlKey(2, func(r kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		if r.(*kmsg.ListOffsetsRequest).Topics[0].Partitions[0].CurrentLeaderEpoch < 0 {
			without.Add(1)
		}
		return nil, nil, false
	})
	writer, reader := run(t, open(t, c)), run(t, open(t, c))
	for i := range 6 {
		if err := c.MoveTopicPartition(topic, 0, int32(i%3)); i > 0 && err != nil {
			t.Fatal(err)
		}
		mustAppend(t, writer, claim(int32(i), "a"))
		patience.Until(t, "the reader has it", func() bool {
			f := reader.Facts()
			if f.Err != "" && i > 0 {
				t.Errorf("an election is told as a fault: %s", f.Err)
			}
			return len(f.View.Claims) == i+1
		})
	}
	if n := without.Load(); n > 0 {
		t.Errorf("%d requests have no leader epoch", n)
	}
}

// Metadata from before an election leads back to the former leader, which does not
// know of the election either, and has less than was read. That is no new log.
// Kafka answers OFFSET_OUT_OF_RANGE beyond a follower's end as well (3.7.1, 4.4.0).
func TestFormerLeaderHasLess(t *testing.T) {
	noLeaks(t)
	c := newCluster(t, 3)
	writer := run(t, open(t, c))
	mustAppend(t, writer, claim(1, "a"))
	if err := c.MoveTopicPartition(topic, 0, 0); err != nil {
		t.Fatal(err)
	}
	cl, err := kgo.NewClient(kgo.SeedBrokers(c.ListenAddrs()...))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	req := kmsg.NewPtrMetadataRequest()
	named := kmsg.NewMetadataRequestTopic()
	named.Topic = new(topic)
	req.Topics = append(req.Topics, named)
	old, err := req.RequestWith(within(t), cl)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.MoveTopicPartition(topic, 0, 1); err != nil {
		t.Fatal(err)
	}
	mustAppend(t, writer, claim(2, "b"))
	reader := run(t, open(t, c))
	patience.Until(t, "the reader has all", func() bool { return len(reader.Facts().View.Claims) == 2 })

	var less atomic.Int32
	c.ControlKey(3, func(r kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		if less.Load() >= 3 {
			return nil, nil, false
		}
		stale := *old
		stale.Version = r.GetVersion()
		return &stale, nil, true
	})
	epoch := old.Topics[0].Partitions[0].LeaderEpoch
	c.ControlKey(2, func(r kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		req := r.(*kmsg.ListOffsetsRequest)
		if req.Topics[0].Partitions[0].CurrentLeaderEpoch != epoch {
			return nil, nil, false
		}
		resp := req.ResponseKind().(*kmsg.ListOffsetsResponse)
		part := kmsg.NewListOffsetsResponseTopicPartition()
		part.Offset = 1
		resp.Topics = []kmsg.ListOffsetsResponseTopic{{Topic: topic, Partitions: []kmsg.ListOffsetsResponseTopicPartition{part}}}
		return resp, nil, true
	})
	c.ControlKey(1, func(r kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		req := r.(*kmsg.FetchRequest)
		part := kmsg.NewFetchResponseTopicPartition()
		switch {
		case req.Topics[0].Partitions[0].CurrentLeaderEpoch == epoch:
			less.Add(1)
			part.ErrorCode = kerr.OffsetOutOfRange.Code
		case less.Load() == 0: // the election that makes the reader look
			part.ErrorCode = kerr.FencedLeaderEpoch.Code
		default:
			return nil, nil, false
		}
		resp := req.ResponseKind().(*kmsg.FetchResponse)
		resp.Topics = []kmsg.FetchResponseTopic{{Topic: topic, TopicID: req.Topics[0].TopicID, Partitions: []kmsg.FetchResponseTopicPartition{part}}}
		return resp, nil, true
	})
	mustAppend(t, writer, claim(3, "c"))
	patience.Until(t, "the reader has all", func() bool {
		n := len(reader.Facts().View.Claims)
		if n < 2 {
			t.Fatal("the log was taken for a new one")
		}
		return n == 3 && less.Load() >= 3
	})
}

// kfake moves the leaders of a removed broker at once; Kafka does after a clean stop, and
// up to 9 s after a kill: TestIncidents (test/e2e) has that.
func TestBrokerIsRemoved(t *testing.T) {
	c := newCluster(t, 3)
	l := run(t, open(t, c))
	mustAppend(t, l, claim(1, "a"))
	if err := c.RemoveNode(c.LeaderFor(topic, 0)); err != nil {
		t.Fatal(err)
	}
	mustAppend(t, l, claim(2, "b"))
	if d := cmp.Diff([]string{"claim/1/a", "claim/2/b"}, keys(mustSync(t, l).View)); d != "" {
		t.Error(d)
	}
}

// Nothing can be written: Append ends with its context, says why, and so do the facts.
// The error is Kafka's with fewer replicas in sync than min.insync.replicas, which
// kfake ignores (docs/matrix.md).
func TestNotEnoughReplicas(t *testing.T) {
	c := newCluster(t, 1)
	l := run(t, open(t, c))
	mustAppend(t, l, claim(1, "a"))
	h := c.Fault(kfake.Fault{Keys: []kmsg.Key{0}, Err: notEnough, Count: -1})
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	start := time.Now()
	if err := l.Append(ctx, claim(2, "b")); err == nil || !strings.Contains(err.Error(), "outcome is unknown") {
		t.Errorf("Append says %v", err)
	}
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("Append took %s", took)
	}
	if f := l.Facts(); !strings.HasPrefix(f.Err, "append: ") {
		t.Errorf("the facts say %q", f.Err)
	}
	h.Remove()
	mustAppend(t, l, claim(3, "c"))
	if f := mustSync(t, l); f.Err != "" || f.View.Claims[len(f.View.Claims)-1].Key != "claim/3/c" {
		t.Errorf("facts %+v", f)
	}
}

func TestTopicIsDeleted(t *testing.T) {
	noLeaks(t)
	c := newCluster(t, 3)
	l := run(t, open(t, c))
	mustAppend(t, l, claim(1, "a"), claim(2, "b"))
	if err := c.DeleteTopic(topic); err != nil {
		t.Fatal(err)
	}
	patience.Until(t, "the old claims are forgotten", func() bool {
		f := l.Facts()
		return len(f.View.Claims) == 0 && !f.At.IsZero()
	})
	mustAppend(t, l, claim(3, "c"))
	if d := cmp.Diff([]string{"claim/3/c"}, keys(mustSync(t, l).View)); d != "" {
		t.Error(d)
	}
}

// Where the log begins later than it did. Kafka refuses this request for a topic
// that is compacted (docs/matrix.md): there it takes somebody who changed cleanup.policy.
func TestLogIsTruncated(t *testing.T) {
	c := newCluster(t, 1)
	l := run(t, open(t, c))
	mustAppend(t, l, claim(1, "a"))
	mustAppend(t, l, claim(2, "b"))
	late := open(t, c)
	if err := c.DeleteRecords(topic, 0, 1); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"claim/2/b"}, keys(func() *restart.View {
		l := run(t, late)
		patience.Until(t, "the rest of the log is read", func() bool { return !l.Facts().At.IsZero() })
		return l.Facts().View
	}())); d != "" {
		t.Error(d)
	}
}

func TestUnreadableRecord(t *testing.T) {
	c := newCluster(t, 1)
	l := run(t, open(t, c))
	mustAppend(t, l, claim(1, "a"))
	cl, err := kgo.NewClient(kgo.SeedBrokers(c.ListenAddrs()...), kgo.DefaultProduceTopic(topic), kgo.ProducerBatchCompression(kgo.SnappyCompression()))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	for _, r := range []kgo.Record{
		{Key: []byte("claim/7/x"), Value: []byte(strings.Repeat("not JSON ", 100))},
		{Key: []byte("status/1"), Value: []byte(`{"version":99,"broker":1}`)},
	} {
		if err := cl.ProduceSync(within(t), &r).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	f := mustSync(t, l)
	want := map[string]string{
		"claim/7/x": `record "claim/7/x" at offset 1 cannot be read: its value is not the JSON this agent expects`,
		"status/1":  `record "status/1" at offset 2 cannot be read: its version is 99 and this agent reads version 1; upgrade this agent`,
	}
	if d := cmp.Diff(want, f.View.Foreign); d != "" {
		t.Error(d)
	}
	mustAppend(t, l, restart.Record{Key: "claim/7/x"}, restart.Record{Key: "status/1"})
	if f := l.Facts(); len(f.View.Foreign) != 0 {
		t.Errorf("still foreign: %v", f.View.Foreign)
	}
}

// intruder writes to the log as anybody could who has the right to.
func intruder(t testing.TB, seeds []string, opts ...kgo.Opt) func(...*kgo.Record) {
	t.Helper()
	cl, err := kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(seeds...), kgo.DefaultProduceTopic(topic), kgo.ProducerBatchMaxBytes(64 << 20), kgo.BrokerMaxWriteBytes(128 << 20),
	}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return func(records ...*kgo.Record) {
		t.Helper()
		if err := cl.ProduceSync(within(t), records...).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
}

// Records that no agent writes are named as long as they are there, in few
// words however large they are, and hurt nothing that others have said.
func TestPoisonedLog(t *testing.T) {
	key := strings.Repeat("k", 1<<20)
	for _, c := range []struct {
		name, key string
		value     []byte
		want      string
	}{
		{"garbage", "claim/1/x", []byte{0, 0xff, 0xfe}, `record "claim/1/x" at offset 1 cannot be read: its value is not the JSON`},
		{"a key of no agent's", "\x00\xff", []byte("1"), `record "\x00\xff" at offset 1 is ignored: no version of kpls-agent writes`},
		{"an empty key", "", []byte("1"), `record "" at offset 1 is ignored: no version of kpls-agent writes`},
		{"a key of a later version", "unheard of", []byte(`{"version":1}`), `record "unheard of" at offset 1 is ignored: a later version`},
		{"a key of a later major version", "unheard of", []byte(`{"version":2}`), `record "unheard of" at offset 1 cannot be read: its key is unknown`},
		{"an empty value", "pause", []byte{}, `record "pause" at offset 1 cannot be read`},
		{"a record of 20 MiB", "status/2", make([]byte, 20<<20), `record "status/2" at offset 1 cannot be read`},
		{"a key of 1 MiB", key, []byte("1"), `record "kkkkkkkk`},
		{"JSON of a great depth", "status/2", []byte(strings.Repeat("[", 5<<20)), `record "status/2" at offset 1 cannot be read`},
	} {
		t.Run(c.name, func(t *testing.T) {
			cluster := newCluster(t, 1, kfake.BrokerConfigs(map[string]string{"message.max.bytes": "100000000"}))
			l := run(t, open(t, cluster))
			mustAppend(t, l, claim(1, "a"))
			write := intruder(t, cluster.ListenAddrs(), kgo.ProducerBatchCompression(kgo.NoCompression()))
			write(&kgo.Record{Key: []byte(c.key), Value: c.value})
			f := mustSync(t, l)
			if got := f.View.Foreign[c.key] + f.View.Ignored[c.key]; !strings.HasPrefix(got, c.want) || len(got) > 500 {
				t.Errorf("it says %.600q", got)
			}
			mustAppend(t, l, restart.Record{Key: c.key}, claim(2, "b"))
			if f = l.Facts(); len(f.View.Foreign)+len(f.View.Ignored) > 0 || f.Err != "" {
				t.Errorf("still there: %v %v %s", f.View.Foreign, f.View.Ignored, f.Err)
			}
			if d := cmp.Diff([]string{"claim/1/a", "claim/2/b"}, keys(f.View)); d != "" {
				t.Error(d)
			}
		})
	}
}

// A batch that unpacks to a multiple of what this machine may have is not
// unpacked. It is named until Kafka has compacted it away; meanwhile an append,
// which must be read back, does not succeed.
func TestPoisonedLogThatUnpacks(t *testing.T) {
	for _, codec := range []kgo.CompressionCodec{kgo.GzipCompression(), kgo.ZstdCompression(), kgo.Lz4Compression(), kgo.SnappyCompression()} {
		t.Run(fmt.Sprint(codec), func(t *testing.T) {
			t.Parallel() // each waits for seconds between two readings of what is expensive to unpack
			cluster := newCluster(t, 1, kfake.BrokerConfigs(map[string]string{"message.max.bytes": "100000000"}))
			l := run(t, open(t, cluster))
			mustAppend(t, l, claim(1, "a"))
			write := intruder(t, cluster.ListenAddrs(), kgo.ProducerBatchCompression(codec))
			write(&kgo.Record{Key: []byte("status/2"), Value: make([]byte, 20<<20)})
			patience.Until(t, "it is named", func() bool {
				return strings.Contains(l.Facts().Err, "the batch at offset 1 is more than 8 MiB when it is unpacked")
			})
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if err := l.Append(ctx, claim(2, "b")); err == nil {
				t.Error("an append that cannot be read back has succeeded")
			}
			write(&kgo.Record{Key: []byte("status/2")})
			write(&kgo.Record{Key: []byte("status/2")}) // since the last batch is never compacted
			cluster.Compact()
			mustAppend(t, l, claim(3, "c"))
			if f := mustSync(t, l); f.Err != "" || len(f.View.Foreign) > 0 {
				t.Errorf("still there: %v %s", f.View.Foreign, f.Err)
			}
			if got := keys(l.Facts().View); got[0] != "claim/1/a" || got[len(got)-1] != "claim/3/c" {
				t.Errorf("claims %v", got)
			}
		})
	}
}

// Compaction leaves the order of claims to those who read only afterwards.
func TestCompaction(t *testing.T) {
	c := newCluster(t, 1)
	l := run(t, open(t, c))
	status := func(phase restart.Phase) restart.Record {
		return restart.NewStatus(restart.Status{Broker: 1, Phase: phase})
	}
	mustAppend(t, l, claim(1, "a"), status(restart.PhaseIdle))
	for range 5 {
		mustAppend(t, l, status(restart.PhaseWaiting))
	}
	mustAppend(t, l, claim(2, "b"))
	mustAppend(t, l, claim(3, "c"), restart.NewRelease("claim/1/a"))
	mustAppend(t, l, status(restart.PhaseClaimed))
	c.Compact()
	late := run(t, open(t, c))
	patience.Until(t, "the log is read", func() bool { return !late.Facts().At.IsZero() })
	got, want := late.Facts().View, mustSync(t, l).View
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]string{"claim/2/b", "claim/3/c"}, keys(got)); d != "" {
		t.Error(d)
	}
}

// At rest there is one standing question, and next to nothing else.
func TestAtRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var network kfake.VirtualNetwork
		c := newCluster(t, 3, kfake.ListenFn(network.Listen), kfake.Ports(9001, 9002, 9003))
		l := run(t, open(t, c, func(o *kafka.Options) { o.Dial = network.DialContext }))
		mustAppend(t, l, claim(1, "a"))
		asked := map[string]int{}
		var mu sync.Mutex
		c.Control(func(r kmsg.Request) (kmsg.Response, error, bool) {
			mu.Lock()
			defer mu.Unlock()
			asked[kmsg.NameForKey(r.Key())]++
			return nil, nil, false
		})
		time.Sleep(10 * time.Minute)
		mu.Lock()
		defer mu.Unlock()
		total := 0
		for _, n := range asked {
			total += n
		}
		if polls := asked["Fetch"]; polls < 119 || polls > 121 || total > 150 {
			t.Errorf("in 10 minutes at rest: %v", asked)
		}
	})
}

// A host that is gone without a word: no connection breaks, no answer comes.
// The log goes on with the new leader as soon as there is one.
func TestLeaderHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var network kfake.VirtualNetwork
		c := newCluster(t, 3, kfake.ListenFn(network.Listen), kfake.Ports(9001, 9002, 9003))
		l := run(t, open(t, c, func(o *kafka.Options) { o.Dial = network.DialContext }))
		mustAppend(t, l, claim(1, "a"))
		hung := c.LeaderFor(topic, 0)
		c.Control(func(kmsg.Request) (kmsg.Response, error, bool) {
			c.KeepControl()
			return nil, nil, c.CurrentNode() == hung // handled, without an answer
		})
		start := time.Now()
		time.Sleep(9 * time.Second) // broker.session.timeout.ms
		if err := c.MoveTopicPartition(topic, 0, (hung+1)%3); err != nil {
			t.Fatal(err)
		}
		mustAppend(t, l, claim(2, "b"))
		if took := time.Since(start); took > 15*time.Second {
			t.Errorf("it took %s", took)
		}
		if d := cmp.Diff([]string{"claim/1/a", "claim/2/b"}, keys(mustSync(t, l).View)); d != "" {
			t.Error(d)
		}
	})
}
