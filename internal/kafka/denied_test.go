package kafka_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"example.com/kpls-agent/internal/restart"
	"example.com/kpls-agent/test/patience"
)

// TestRollOutWithoutARight: an agent that has lost its right to use the log waits, names
// the ACL it lacks, and goes on when it has it again. It is still allowed to ask where
// the log ends (Describe), so the log looks whole between two failures. TestSecured
// (test/e2e) revokes each right on real brokers.
func TestRollOutWithoutARight(t *testing.T) {
	for _, c := range []struct {
		acl    string
		key    int16
		refuse func(kmsg.Request) kmsg.Response
	}{
		{"Read on topic " + topic, 1, refuseFetch},
		{"Write on topic " + topic, 0, refuseProduce},
	} {
		t.Run(c.acl, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRoll(t)
				if err := r.kafka.CreateTopic(topic, 1, map[string]string{"cleanup.policy": "compact"}); err != nil {
					t.Fatal(err)
				}
				var denied atomic.Bool
				r.kafka.ControlKey(c.key, func(req kmsg.Request) (kmsg.Response, error, bool) {
					r.kafka.KeepControl()
					if !denied.Load() {
						return nil, nil, false
					}
					resp := c.refuse(req)
					resp.SetVersion(req.GetVersion())
					return resp, nil, true
				})
				write := intruder(t, r.kafka.ListenAddrs(), kgo.Dialer(r.network.DialContext))
				write(&kgo.Record{Key: []byte("pause"), Value: []byte(`{"version":1,"by":"t"}`)})
				defer r.start()()
				r.wait("all wait", func() bool { return r.all("paused") })
				denied.Store(true)
				r.wait("all name the ACL", func() bool { return r.all("give the agent's Kafka user the ACL " + c.acl) })
				for range 600 { // and keep to it
					time.Sleep(100 * time.Millisecond)
					if !r.all("give the agent's Kafka user the ACL " + c.acl) {
						t.Fatalf("%+v", r.agents[0].says().Reason)
					}
				}
				denied.Store(false)
				r.wait("all wait again", func() bool { return r.all("paused") })
				write(&kgo.Record{Key: []byte("pause")})
				r.wait("the roll-out ends", r.done)
			})
		})
	}
}

// all is true if the reason of every agent has a text.
func (r *roll) all(text string) bool {
	for _, a := range r.agents {
		if !strings.Contains(a.says().Reason.Text(), text) {
			return false
		}
	}
	return true
}

func refuseFetch(r kmsg.Request) kmsg.Response {
	part := kmsg.NewFetchResponseTopicPartition()
	part.ErrorCode = kerr.TopicAuthorizationFailed.Code
	req := r.(*kmsg.FetchRequest).Topics[0]
	t := kmsg.NewFetchResponseTopic()
	t.Topic, t.TopicID = req.Topic, req.TopicID
	t.Partitions = append(t.Partitions, part)
	resp := kmsg.NewPtrFetchResponse()
	resp.Topics = append(resp.Topics, t)
	return resp
}

func refuseProduce(r kmsg.Request) kmsg.Response {
	part := kmsg.NewProduceResponseTopicPartition()
	part.ErrorCode = kerr.TopicAuthorizationFailed.Code
	req := r.(*kmsg.ProduceRequest).Topics[0]
	t := kmsg.NewProduceResponseTopic()
	t.Topic, t.TopicID = req.Topic, req.TopicID
	t.Partitions = append(t.Partitions, part)
	resp := kmsg.NewPtrProduceResponse()
	resp.Topics = append(resp.Topics, t)
	return resp
}

// TestDeniedReadIsNotForgotten: whoever is denied the records may still ask where the log ends. That must not end the
// reason why nothing is read, not even for the moment before the next refusal: an agent notes in its log what it is told
// at that moment, and a later text of the same reason code is no transition.
func TestDeniedReadIsNotForgotten(t *testing.T) {
	c := newCluster(t, 1)
	var denied atomic.Int64
	denied.Store(-1)
	c.ControlKey(1, func(req kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		if denied.Load() < 0 {
			return nil, nil, false
		}
		denied.Add(1)
		resp := refuseFetch(req)
		resp.SetVersion(req.GetVersion())
		return resp, nil, true
	})
	l := run(t, open(t, c))
	mustAppend(t, l, restart.NewResume())
	denied.Store(0)
	// A fetch that was let in before may wait for records, and would bring the next one.
	patience.Until(t, "a fetch is refused", func() bool { return denied.Load() > 0 })
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if err := l.Append(ctx, restart.NewResume()); err == nil {
		t.Fatal("it was read back")
	}
	const acl = "give the agent's Kafka user the ACL Read on topic " + topic
	patience.Until(t, "the ACL is named", func() bool { return strings.Contains(l.Facts().Err, acl) })
	for from := denied.Load(); denied.Load() < from+4; {
		select {
		case <-l.Changed():
		case <-time.After(time.Millisecond):
		}
		if err := l.Facts().Err; !strings.Contains(err, acl) {
			t.Fatalf("after %d refusals it says %q", denied.Load()-from, err)
		}
	}
	denied.Store(-1)
	mustAppend(t, l, restart.NewResume())
	patience.Until(t, "the log can be read again, and it says so", func() bool { return l.Facts().Err == "" })
}
