//go:build matrix

package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"example.com/kpls-agent/test/sandbox"
)

// wire is a cluster of three brokers, real or fake, as requests meet it.
type wire struct {
	*testing.T
	cl      *kgo.Client
	ids     []int32 // of the brokers; the last one is stopped
	version string
	orders  [16]byte // ids of topics
	answers map[string]string
}

// The topics of a wire: three replicas and min.insync.replicas=2, three and 3, one on
// the last broker, and one that is compacted.
const wireOrders, wireStrict, wireLone, wireCompact = "orders", "strict", "lone", "compact"

// ask sends a request to one broker and returns the answer or why there is none.
func ask[R kmsg.Response](w *wire, broker int32, req kmsg.Request) R {
	w.Helper()
	ctx, cancel := context.WithTimeout(w.Context(), 20*time.Second)
	defer cancel()
	var none R
	resp, err := w.cl.Broker(int(broker)).Request(ctx, req)
	if err != nil {
		w.Logf("%s at broker %d: %v", kmsg.NameForKey(req.Key()), broker, err)
		return none
	}
	typed, ok := resp.(R)
	if !ok {
		w.Fatalf("answer of type %T", resp)
	}
	return typed
}

func (w *wire) note(what string, code int16, more ...string) {
	w.Helper()
	text := "0"
	if known, ok := errors.AsType[*kerr.Error](kerr.ErrorForCode(code)); ok {
		text = fmt.Sprintf("%d %s", known.Code, known.Message)
	}
	w.answers[what] = strings.Join(append([]string{text}, more...), ", ")
}

func (w *wire) metadata(broker int32) *kmsg.MetadataResponse {
	w.Helper()
	return w.metadataOf(broker, wireLone, wireOrders, wireStrict)
}

func (w *wire) metadataOf(broker int32, topics ...string) *kmsg.MetadataResponse {
	w.Helper()
	req := kmsg.NewPtrMetadataRequest()
	for _, name := range topics {
		t := kmsg.NewMetadataRequestTopic()
		t.Topic = new(name)
		req.Topics = append(req.Topics, t)
	}
	resp := ask[*kmsg.MetadataResponse](w, broker, req)
	if resp == nil {
		return kmsg.NewPtrMetadataResponse() // it is asked again
	}
	slices.SortFunc(resp.Topics, func(a, b kmsg.MetadataResponseTopic) int { return strings.Compare(*a.Topic, *b.Topic) })
	return resp
}

// partition is that of one topic as a broker names it.
func (w *wire) partition(broker int32, topic string) (p kmsg.MetadataResponseTopicPartition) {
	w.Helper()
	for _, t := range w.metadata(broker).Topics {
		if *t.Topic == topic && len(t.Partitions) == 1 {
			return t.Partitions[0]
		}
	}
	return kmsg.NewMetadataResponseTopicPartition()
}

func (w *wire) fetch(broker, epoch int32, from int64) (code int16, records bool) {
	w.Helper()
	part := kmsg.NewFetchRequestTopicPartition()
	part.FetchOffset, part.CurrentLeaderEpoch, part.PartitionMaxBytes = from, epoch, 1<<20
	t := kmsg.NewFetchRequestTopic()
	t.Topic, t.TopicID = wireOrders, w.orders
	t.Partitions = append(t.Partitions, part)
	req := kmsg.NewPtrFetchRequest()
	req.ReplicaID, req.MaxWaitMillis, req.MinBytes, req.MaxBytes, req.SessionEpoch = -1, 1000, 1, 1<<20, -1
	req.Topics = append(req.Topics, t)
	resp := ask[*kmsg.FetchResponse](w, broker, req)
	if resp == nil || len(resp.Topics) != 1 {
		w.Fatal("no answer to a fetch")
	}
	p := resp.Topics[0].Partitions[0]
	return p.ErrorCode, len(p.RecordBatches) > 0
}

func (w *wire) listEnd(broker, epoch int32, topic string) int16 {
	w.Helper()
	part := kmsg.NewListOffsetsRequestTopicPartition()
	part.Timestamp, part.CurrentLeaderEpoch = -1, epoch
	t := kmsg.NewListOffsetsRequestTopic()
	t.Topic = topic
	t.Partitions = append(t.Partitions, part)
	req := kmsg.NewPtrListOffsetsRequest()
	req.ReplicaID = -1
	req.Topics = append(req.Topics, t)
	resp := ask[*kmsg.ListOffsetsResponse](w, broker, req)
	if resp == nil || len(resp.Topics) != 1 {
		w.Fatal("no answer about offsets")
	}
	return resp.Topics[0].Partitions[0].ErrorCode
}

// produce writes one record with acks=all and returns the error of the answer.
func (w *wire) produce(topic string) int16 {
	w.Helper()
	ctx, cancel := context.WithTimeout(w.Context(), 20*time.Second)
	defer cancel()
	// No retries: the first answer counts. Without idempotence the client need ask for no producer id.
	cl, err := kgo.NewClient(append(w.cl.Opts(), kgo.RecordRetries(0), kgo.DisableIdempotentWrite(), kgo.RequiredAcks(kgo.AllISRAcks()))...)
	if err != nil {
		w.Fatal(err)
	}
	defer cl.Close()
	err = cl.ProduceSync(ctx, &kgo.Record{Topic: topic, Key: []byte("k"), Value: []byte("x")}).FirstErr()
	var known *kerr.Error
	switch {
	case err == nil:
		return 0
	case errors.As(err, &known):
		return known.Code
	}
	w.Fatalf("produce to %s: %v", topic, err)
	return 0
}

func (w *wire) create(name string, replicas int16, on ...int32) int16 {
	w.Helper()
	t := kmsg.NewCreateTopicsRequestTopic()
	t.Topic, t.NumPartitions, t.ReplicationFactor = name, 1, replicas
	if len(on) > 0 {
		a := kmsg.NewCreateTopicsRequestTopicReplicaAssignment()
		a.Replicas = on
		t.NumPartitions, t.ReplicationFactor, t.ReplicaAssignment = -1, -1, append(t.ReplicaAssignment, a)
	}
	if name == wireCompact {
		c := kmsg.NewCreateTopicsRequestTopicConfig()
		c.Name, c.Value = "cleanup.policy", new("compact")
		t.Configs = append(t.Configs, c)
	}
	if name != wireLone {
		c := kmsg.NewCreateTopicsRequestTopicConfig()
		c.Name, c.Value = "min.insync.replicas", new(map[string]string{wireStrict: "3"}[name])
		if *c.Value == "" {
			*c.Value = "2"
		}
		t.Configs = append(t.Configs, c)
	}
	req := kmsg.NewPtrCreateTopicsRequest()
	req.TimeoutMillis = 10000
	req.Topics = append(req.Topics, t)
	resp, err := req.RequestWith(w.Context(), w.cl)
	if err != nil || len(resp.Topics) != 1 {
		w.Fatalf("create %s: %v", name, err)
	}
	return resp.Topics[0].ErrorCode
}

func (w *wire) describeConfigs(asked, of int32) *kmsg.DescribeConfigsResponse {
	w.Helper()
	r := kmsg.NewDescribeConfigsRequestResource()
	r.ResourceType, r.ResourceName = kmsg.ConfigResourceTypeBroker, fmt.Sprint(of)
	req := kmsg.NewPtrDescribeConfigsRequest()
	req.IncludeSynonyms = true
	req.Resources = append(req.Resources, r)
	resp := ask[*kmsg.DescribeConfigsResponse](w, asked, req)
	if resp == nil || len(resp.Resources) != 1 {
		w.Fatal("no answer about a configuration")
	}
	return resp
}

// told is a partition as Metadata has it.
func told(p kmsg.MetadataResponseTopicPartition) []string {
	return []string{fmt.Sprintf("leader %d", p.Leader), fmt.Sprintf("replicas %v", p.Replicas), fmt.Sprintf("ISR %v", p.ISR), fmt.Sprintf("offline %v", p.OfflineReplicas)}
}

// healthy asks while all brokers are there.
func (w *wire) healthy() {
	w.Helper()
	gone := w.ids[2]
	for _, c := range []struct {
		name     string
		replicas int16
		on       []int32
	}{{wireOrders, 3, w.ids}, {wireStrict, 3, w.ids}, {wireLone, 1, []int32{gone}}, {wireCompact, 3, w.ids}} {
		if code := w.create(c.name, c.replicas, c.on...); code != 0 {
			w.Fatalf("create %s: %v", c.name, kerr.ErrorForCode(code))
		}
	}
	w.until("all replicas are in sync", func() bool {
		return len(w.partition(w.ids[0], wireOrders).ISR) == 3 && w.partition(w.ids[1], wireOrders).Leader >= 0 && w.partition(gone, wireLone).Leader >= 0
	})
	for _, t := range w.metadata(w.ids[0]).Topics {
		if *t.Topic == wireOrders {
			w.orders = t.TopicID
		}
	}
	w.until("a record is written", func() bool { return w.produce(wireOrders) == 0 })
	p := w.partition(w.ids[0], wireOrders)
	follower := w.ids[slices.IndexFunc(w.ids, func(id int32) bool { return id != p.Leader })]
	w.until("the follower knows it", func() bool { // a real one; a fake one refuses
		code, records := w.fetch(follower, -1, 0)
		return code != 0 || records
	})
	code, records := w.fetch(follower, -1, 0)
	w.note("fetch at a follower, no leader epoch", code, fmt.Sprintf("records: %v", records))
	code, _ = w.fetch(p.Leader, p.LeaderEpoch+5, 0)
	w.note("fetch with a later leader epoch", code)
	code, _ = w.fetch(p.Leader, -1, 99)
	w.note("fetch beyond the end", code)
	w.note("ListOffsets at a follower", w.listEnd(follower, -1, wireOrders))
	w.note("ListOffsets with a later leader epoch", w.listEnd(p.Leader, p.LeaderEpoch+5, wireOrders))
	w.note("DescribeConfigs of another broker", w.describeConfigs(w.ids[0], w.ids[1]).Resources[0].ErrorCode)
	configs := w.describeConfigs(w.ids[0], w.ids[0])
	synonyms := 0
	for _, c := range configs.Resources[0].Configs {
		if len(c.ConfigSynonyms) > 0 {
			synonyms++
		}
	}
	w.note("DescribeConfigs of the broker", configs.Resources[0].ErrorCode, fmt.Sprintf("%d entries, %d with synonyms", len(configs.Resources[0].Configs), synonyms))
	w.note("CreateTopics with more replicas than brokers", w.create("many", 4))
	w.capture("describe-configs", configs)
	w.others(p)
}

// others are questions about what is not there, is there already, or must not be.
func (w *wire) others(orders kmsg.MetadataResponseTopicPartition) {
	w.Helper()
	w.note("CreateTopics of a topic that is there", w.create(wireOrders, 3))

	unknown := kmsg.NewPtrMetadataRequest()
	t := kmsg.NewMetadataRequestTopic()
	t.Topic = new("none")
	unknown.Topics = append(unknown.Topics, t)
	if resp := ask[*kmsg.MetadataResponse](w, w.ids[0], unknown); resp != nil && len(resp.Topics) == 1 {
		w.note("Metadata of a topic that is not there", resp.Topics[0].ErrorCode)
	}

	w.until("a record is in the compacted topic", func() bool { return w.produce(wireCompact) == 0 })
	part := kmsg.NewDeleteRecordsRequestTopicPartition()
	part.Offset = 1
	topic := kmsg.NewDeleteRecordsRequestTopic()
	topic.Topic, topic.Partitions = wireCompact, append(topic.Partitions, part)
	del := kmsg.NewPtrDeleteRecordsRequest()
	del.TimeoutMillis, del.Topics = 10000, append(del.Topics, topic)
	leader := w.ids[0]
	for _, t := range w.metadataOf(w.ids[0], wireCompact).Topics {
		leader = t.Partitions[0].Leader
	}
	if resp := ask[*kmsg.DeleteRecordsResponse](w, leader, del); resp != nil && len(resp.Topics) == 1 {
		w.note("DeleteRecords of a compacted topic", resp.Topics[0].Partitions[0].ErrorCode)
	}

	quorum := kmsg.NewPtrDescribeQuorumRequest()
	qt := kmsg.NewDescribeQuorumRequestTopic()
	qt.Topic, qt.Partitions = "__cluster_metadata", append(qt.Partitions, kmsg.NewDescribeQuorumRequestTopicPartition())
	quorum.Topics = append(quorum.Topics, qt)
	w.answers["DescribeQuorum"] = "not known"
	if resp := ask[*kmsg.DescribeQuorumResponse](w, w.ids[0], quorum); resp != nil {
		w.note("DescribeQuorum", resp.ErrorCode)
		w.capture("describe-quorum", resp)
	}

	versions := kmsg.NewPtrApiVersionsRequest()
	versions.ClientSoftwareName, versions.ClientSoftwareVersion = "test", "1"
	if resp := ask[*kmsg.ApiVersionsResponse](w, orders.Leader, versions); resp != nil {
		w.capture("api-versions", resp)
	}
}

// away asks while the last broker is down.
func (w *wire) away() {
	w.Helper()
	at, gone := w.ids[0], w.ids[2]
	w.until("the brokers know that one is down", func() bool {
		return len(w.metadata(at).Brokers) == 2 && len(w.metadata(w.ids[1]).Brokers) == 2
	})
	w.until("another leads", func() bool { return w.partition(at, wireOrders).Leader != gone })
	lone, orders := w.partition(at, wireLone), w.partition(at, wireOrders)
	w.note("Metadata of a topic whose only replica is down", lone.ErrorCode, told(lone)...)
	w.note("Metadata of a topic with three replicas, one down", orders.ErrorCode, told(orders)...)
	w.note("ListOffsets of a partition without a leader", w.listEnd(max(at, lone.Leader), -1, wireLone)) // kfake's has one
	w.note("produce with acks=all, two replicas in sync of 2 needed", w.produce(wireOrders))
	w.note("produce with acks=all, two replicas in sync of 3 needed", w.produce(wireStrict))
	w.note("CreateTopics with three replicas, two brokers alive", w.create("late", 3))
	w.capture("metadata-away", w.metadata(at))
}

func (w *wire) until(what string, ok func() bool) {
	w.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(deadline) {
			w.Fatal("waited until " + what)
		}
	}
}

// capture keeps an answer of a real broker for the tests of internal/kafka: the body,
// without the header, in the version that the file's name has.
func (w *wire) capture(name string, resp kmsg.Response) {
	w.Helper()
	if os.Getenv("MATRIX") != "write" || w.version == "" {
		return
	}
	path := filepath.Join("../../internal/kafka/testdata", fmt.Sprintf("%s.%s.v%d", w.version, name, resp.GetVersion()))
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		w.Fatal(err)
	}
	if err := os.WriteFile(path, resp.AppendTo(nil), 0o644); err != nil {
		w.Fatal(err)
	}
}

// TestMatrixWire asks real brokers and the fake ones of the tests of internal/kafka the
// same questions. Where they differ, a test on the fake proves nothing, and the
// table says so.
func TestMatrixWire(t *testing.T) {
	columns := map[string]map[string]string{}
	for _, version := range matrixVersions {
		t.Run(version, func(t *testing.T) {
			b := newCluster(t, sandbox.Options{Version: version, Properties: func(int32) map[string]string {
				return map[string]string{"min.insync.replicas": "2", "num.io.threads": "3 "}
			}})
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			cl, err := b.NewClient()
			if err != nil {
				t.Fatal(err)
			}
			defer cl.Close()
			defer func() {
				if t.Failed() {
					for _, br := range b.Brokers {
						t.Logf("broker %d:\n%s", br.ID, br.LogTail(3000))
					}
				}
			}()
			_, err = kadm.NewClient(cl).AlterBrokerConfigs(ctx, []kadm.AlterConfig{{Name: "log.retention.ms", Value: new("86400000")}})
			if err != nil {
				t.Fatal(err)
			}
			w := &wire{T: t, cl: cl, ids: []int32{1, 2, 3}, version: version, answers: map[string]string{}}
			w.healthy()
			if err := b.Broker(3).Kill(ctx); err != nil {
				t.Fatal(err)
			}
			w.away()
			columns[version] = w.answers
		})
	}
	t.Run("the fake", func(t *testing.T) {
		c, err := kfake.NewCluster(kfake.NumBrokers(3))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		cl, err := kgo.NewClient(kgo.SeedBrokers(c.ListenAddrs()...))
		if err != nil {
			t.Fatal(err)
		}
		defer cl.Close()
		w := &wire{T: t, cl: cl, ids: []int32{0, 1, 2}, answers: map[string]string{}}
		w.healthy()
		if err := c.RemoveNode(2); err != nil {
			t.Fatal(err)
		}
		w.away()
		columns["fake"] = w.answers
	})
	if t.Failed() {
		return
	}
	table := []string{"| request | Kafka " + matrixVersions[0] + " | Kafka " + matrixVersions[1] + " | kfake |\n| --- | --- | --- | --- |\n"}
	for _, what := range wireOrder(columns["fake"]) {
		table = append(table, fmt.Sprintf("| %s | %s | %s | %s |\n", what, columns[matrixVersions[0]][what], columns[matrixVersions[1]][what], columns["fake"][what]))
	}
	matrixTable(t, "wire", table...)
}

func wireOrder(answers map[string]string) []string {
	var names []string
	for name := range answers {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
