package kafka_test

import (
	"context"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"example.com/kpls-agent/internal/kafka"
)

// customer is a cluster as its manifest promises it, and a map from the
// promised names to the fake brokers. The partitions are led by the brokers
// given, in their order; by all, if none is.
func customer(t *testing.T, c *kfake.Cluster, leaders ...int32) kafka.VerifyOptions {
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

// advertise makes a fake cluster name its brokers as in want, and none else.
func advertise(c *kfake.Cluster, want map[int32]string) {
	c.ControlKey(3, func(r kmsg.Request) (kmsg.Response, error, bool) {
		if topics := r.(*kmsg.MetadataRequest).Topics; topics == nil || len(topics) > 0 {
			return nil, nil, false
		}
		c.KeepControl()
		resp := r.ResponseKind().(*kmsg.MetadataResponse)
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

func faults(rows []kafka.VerifyRow) map[int32]string {
	out := map[int32]string{}
	for _, r := range rows {
		if r.Fault != "" {
			out[r.Broker] = r.Fault
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
	rows, err := kafka.Verify(within(t), o)
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range rows {
		if r.Broker != int32(i) || r.Got != r.Want || r.Got != o.Want[int32(i)] || r.Connected <= 0 || r.Produced <= 0 || r.Consumed <= 0 || r.Fault != "" {
			t.Errorf("row %d: %+v", i, r)
		}
	}
	if len(rows) != 3 {
		t.Errorf("%d rows", len(rows))
	}
	gone(t, c, o.Topic)
}

func TestVerifyFindsDifferences(t *testing.T) {
	c := newCluster(t, 3)
	o := customer(t, c)
	o.Want[1] = "b1.example:9999"
	o.Want[7] = "b7.example:9092"
	delete(o.Want, 2)
	rows, err := kafka.Verify(within(t), o)
	if err != nil {
		t.Fatal(err)
	}
	want := map[int32]string{
		1: "it advertises b1.example:9092 and the manifest says b1.example:9999",
		2: "the broker is not in the manifest",
		7: "the cluster does not name the broker on this listener: it is down, or was not restarted with it",
	}
	if d := cmp.Diff(want, faults(rows)); d != "" {
		t.Error(d)
	}
	gone(t, c, o.Topic)
}

// Two rules of the load balancer are mixed up: every name answers, with the wrong broker.
func TestVerifyFindsMixedRules(t *testing.T) {
	c := newCluster(t, 3)
	o := customer(t, c)
	o.Map["b1.example"], o.Map["b2.example"] = o.Map["b2.example"], o.Map["b1.example"]
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	rows, err := kafka.Verify(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	got := faults(rows)
	for _, id := range []int32{1, 2} {
		if !strings.Contains(got[id], "what answers at this address is another broker") {
			t.Errorf("broker %d: %q", id, got[id])
		}
	}
	if got[0] != "" {
		t.Errorf("broker 0: %q", got[0])
	}
	gone(t, c, o.Topic)
}

func TestVerifyWithABrokerThatCannotBeReached(t *testing.T) {
	c := newCluster(t, 3)
	o := customer(t, c, 0, 2)
	o.Map["b1.example:9092"] = "127.0.0.1:1" // an address is nearer than a host
	rows, err := kafka.Verify(within(t), o)
	if err != nil {
		t.Fatal(err)
	}
	if got := faults(rows); len(got) != 1 || !strings.Contains(got[1], "connect to b1.example:9092") || !strings.Contains(got[1], "refused") {
		t.Errorf("%v", got)
	}
	if rows[0].Consumed <= 0 || rows[1].Produced != 0 {
		t.Errorf("%+v", rows)
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
		}, "make the topic verify-it: REQUEST_TIMED_OUT"},
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
			_, err := kafka.Verify(ctx, o)
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.HasPrefix(err.Error(), tt.want)) {
				t.Errorf("got %v, want %q", err, tt.want)
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
	rows, err := kafka.Verify(within(t), o)
	if err == nil || err.Error() != "make the topic verify-it: it exists already; remove it, or name another one" {
		t.Errorf("got %v", err)
	}
	if c.TopicInfo(o.Topic) == nil {
		t.Error("somebody else's topic was removed")
	}
	want := []kafka.VerifyRow{{Broker: 0, Want: "b0.example:9092", Got: "b0.example:9092"}}
	if d := cmp.Diff(want, rows, cmpopts.IgnoreFields(kafka.VerifyRow{}, "Connected")); d != "" {
		t.Error(d)
	}
}

func TestVerifyWithoutRights(t *testing.T) {
	c := newCluster(t, 2)
	o := customer(t, c)
	c.Fault(kfake.Fault{Keys: []kmsg.Key{19}, Err: kerr.TopicAuthorizationFailed, Count: -1})
	rows, err := kafka.Verify(within(t), o)
	if err == nil || !strings.Contains(err.Error(), "give the customer's user Create, Describe, Write, Read and Delete on it") {
		t.Errorf("got %v", err)
	}
	if len(rows) != 2 || slices.ContainsFunc(rows, func(r kafka.VerifyRow) bool { return r.Connected <= 0 || r.Produced != 0 }) {
		t.Errorf("%+v", rows)
	}
}

func TestVerifyWithoutACluster(t *testing.T) {
	_, err := kafka.Verify(within(t), kafka.VerifyOptions{Bootstrap: []string{"127.0.0.1:1"}, Want: map[int32]string{1: "b1:1"}})
	if err == nil || !strings.HasPrefix(err.Error(), "bootstrap from [127.0.0.1:1]: ") || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("got %v", err)
	}
}
