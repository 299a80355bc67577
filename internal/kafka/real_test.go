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

// TestOutagesAreAsKafkaShowsThem: Metadata of the fake of newRoll, while its last
// broker is away, beside that of real brokers. Ids of real ones are higher by one.
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
