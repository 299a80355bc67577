package kafka_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"example.com/kpls-agent/internal/kafka"
	"example.com/kpls-agent/internal/restart"
)

// realAnswers calls f for each answer of a real broker in testdata with this name,
// read into resp. `make matrix` writes them (TestMatrixWire in test/e2e); a file's name
// is VERSION.NAME.vN, and N the version of the request.
func realAnswers[R kmsg.Response](t *testing.T, name string, empty func() R, f func(t *testing.T, resp R)) {
	t.Helper()
	files, err := filepath.Glob("testdata/*." + name + ".v*")
	if err != nil || len(files) < 2 {
		t.Fatalf("%v, %v: an answer of the oldest and of the newest version is wanted", files, err)
	}
	for _, path := range files {
		t.Run(filepath.Base(path), func(t *testing.T) {
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			var version int16
			if _, err := fmt.Sscan(path[strings.LastIndex(path, ".v")+2:], &version); err != nil {
				t.Fatal(err)
			}
			resp := empty()
			resp.SetVersion(version)
			if err := resp.ReadFrom(data); err != nil {
				t.Fatal(err)
			}
			f(t, resp)
		})
	}
}

// What real brokers say of values from the file, from kafka-configs and of their
// own, with all synonyms. kfake has none.
func TestEntriesOfRealBrokers(t *testing.T) {
	realAnswers(t, "describe-configs", kmsg.NewPtrDescribeConfigsResponse, func(t *testing.T, resp *kmsg.DescribeConfigsResponse) {
		entries, err := kafka.EntriesOf(resp, "1")
		if err != nil {
			t.Fatal(err)
		}
		syn := func(name, value string, source kafka.Source) kafka.Synonym {
			return kafka.Synonym{Name: name, Value: value, Source: source}
		}
		for name, want := range map[string]kafka.Entry{
			"group.initial.rebalance.delay.ms": {Value: "0", Static: true, Type: "INT", Synonyms: []kafka.Synonym{
				syn("group.initial.rebalance.delay.ms", "0", kafka.SourceStatic), syn("group.initial.rebalance.delay.ms", "3000", kafka.SourceDefault),
			}},
			"log.retention.ms": {Value: "86400000", Dynamic: true, Type: "LONG", Synonyms: []kafka.Synonym{
				syn("log.retention.ms", "86400000", kafka.SourceDynamicDefault), syn("log.retention.hours", "168", kafka.SourceDefault),
			}},
			"num.io.threads": {Value: "3", Static: true, Type: "INT", Synonyms: []kafka.Synonym{ // the file has a blank behind it
				syn("num.io.threads", "3 ", kafka.SourceStatic), syn("num.io.threads", "8", kafka.SourceDefault),
			}},
			"log.segment.bytes": {Value: "1073741824", Type: "INT", Synonyms: []kafka.Synonym{syn("log.segment.bytes", "1073741824", kafka.SourceDefault)}},
		} {
			if d := cmp.Diff(want, entries[name]); d != "" {
				t.Errorf("%s:\n%s", name, d)
			}
		}
	})
}

// The release by what a real broker says of its features, and the quorum by its
// controller. kfake has no such features and no quorum.
func TestReleaseAndQuorumOfRealBrokers(t *testing.T) {
	realAnswers(t, "api-versions", kmsg.NewPtrApiVersionsResponse, func(t *testing.T, resp *kmsg.ApiVersionsResponse) {
		if got := kafka.ReleaseOf(resp); got == "" || !strings.HasPrefix(filepath.Base(t.Name()), got+".") {
			t.Errorf("it is taken for %q", got)
		}
	})
	realAnswers(t, "describe-quorum", kmsg.NewPtrDescribeQuorumResponse, func(t *testing.T, resp *kmsg.DescribeQuorumResponse) {
		q, err := kafka.QuorumOf(resp)
		if err != nil || q.ZooKeeper || len(q.Voters) != 3 {
			t.Fatalf("%+v, %v", q, err)
		}
		if !slices.ContainsFunc(q.Voters, func(v restart.Voter) bool { return v.ID == q.Leader }) {
			t.Errorf("the leader %d is no voter", q.Leader)
		}
		for _, v := range q.Voters {
			if v.ID < 1 || v.ID > 3 || v.Behind < 0 {
				t.Errorf("voter %+v of three that are caught up", v)
			}
		}
	})
}

// What is made of a real broker's answer while another is down.
func TestViewOfARealOutage(t *testing.T) {
	realAnswers(t, "metadata-away", kmsg.NewPtrMetadataResponse, func(t *testing.T, resp *kmsg.MetadataResponse) {
		v, err := kafka.ViewOf(1, resp, nil)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff([]int32{1, 2}, v.Alive); d != "" {
			t.Error(d)
		}
		if d := cmp.Diff([]int32{1, 2, 3}, kafka.KnownOf([]restart.BrokerView{v})); d != "" {
			t.Error(d)
		}
		for _, topic := range v.Topics {
			p := topic.Partitions[0]
			alone := topic.Name == lone
			if alone != (p.Leader == -1) || !alone && (len(p.Replicas) != 3 || len(p.ISR) != 2) || alone && !slices.Equal(p.Replicas, []int32{3}) {
				t.Errorf("%s: %+v", topic.Name, p)
			}
		}
	})
}

// TestOutagesAreAsKafkaShowsThem: Metadata of the fake of newRoll, while its last
// broker is down, compared with that of real brokers. Ids of real ones are higher by one.
func TestOutagesAreAsKafkaShowsThem(t *testing.T) {
	type partition struct {
		Error                  int16
		Leads                  bool
		Replicas, ISR, Offline []int32
	}
	read := func(resp *kmsg.MetadataResponse, first int32) map[string]partition {
		got := map[string]partition{}
		ids := func(list []int32) (out []int32) {
			for _, id := range list {
				out = append(out, id-first)
			}
			slices.Sort(out)
			return out
		}
		for _, topic := range resp.Topics {
			p := topic.Partitions[0]
			got[*topic.Topic] = partition{p.ErrorCode, p.Leader >= 0, ids(p.Replicas), ids(p.ISR), ids(p.OfflineReplicas)}
		}
		return got
	}
	var fake map[string]partition
	synctest.Test(t, func(t *testing.T) {
		r := newRoll(t)
		if err := r.leave(2); err != nil {
			t.Fatal(err)
		}
		cl, err := kgo.NewClient(kgo.SeedBrokers(addr(0)), kgo.Dialer(r.network.DialContext))
		if err != nil {
			t.Fatal(err)
		}
		defer cl.Close()
		resp, err := kmsg.NewPtrMetadataRequest().RequestWith(within(t), cl)
		if err != nil {
			t.Fatal(err)
		}
		if len(resp.Brokers) != 2 {
			t.Errorf("brokers %+v", resp.Brokers)
		}
		fake = read(resp, 0)
	})
	realAnswers(t, "metadata-away", kmsg.NewPtrMetadataResponse, func(t *testing.T, resp *kmsg.MetadataResponse) {
		got := read(resp, 1)
		delete(got, "strict")
		if p := got[lone]; strings.HasPrefix(filepath.Base(t.Name()), "3.") && slices.Equal(p.ISR, p.Replicas) {
			p.ISR = nil // before KIP-966 the last one in sync stayed in the ISR, away or not
			got[lone] = p
		}
		if d := cmp.Diff(got, fake); d != "" {
			t.Errorf("a real broker (-) and the fake (+):\n%s", d)
		}
		if len(resp.Brokers) != 2 {
			t.Errorf("brokers %+v", resp.Brokers)
		}
	})
}
