package kafka_test

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// lone is a topic whose only replica is on broker 2.
const lone = "lone"

// catchUp is how long a broker that is back is out of sync.
const catchUp = 2 * time.Second

// outages makes a fake cluster show that brokers are down as Kafka does. kfake
// deals their replicas out to those that are left, and nothing is ever short of one
// (docs/matrix.md, "The fake compared with Kafka"). With it Metadata has every replica,
// those in sync, the offline ones, and no leader (-1, LEADER_NOT_AVAILABLE) where none
// can be; and an append with acks=all to fewer in sync than min.insync.replicas is
// refused (NOT_ENOUGH_REPLICAS). TestOutagesAreAsKafkaShowsThem compares it with Kafka.
func (r *roll) outages() {
	cl, err := kgo.NewClient(kgo.SeedBrokers(r.kafka.ListenAddrs()...), kgo.Dialer(r.network.DialContext))
	if err != nil {
		r.Fatal(err)
	}
	defer cl.Close()
	whole, err := kmsg.NewPtrMetadataRequest().RequestWith(within(r), cl)
	if err != nil {
		r.Fatal(err)
	}
	controller := whole.ControllerID // the fake has one, which alone makes topics
	r.kafka.ControlKey(3, func(req kmsg.Request) (kmsg.Response, error, bool) {
		r.kafka.KeepControl()
		asked := req.(*kmsg.MetadataRequest)
		names := []string{"orders", lone, topic}
		if asked.Topics != nil {
			names = nil
			for _, t := range asked.Topics {
				if t.Topic == nil {
					return nil, nil, false
				}
				names = append(names, *t.Topic)
			}
		}
		resp := asked.ResponseKind().(*kmsg.MetadataResponse)
		r.kafka.SleepControl(func() {
			for _, name := range names {
				if t, ok := r.metadata(name); ok || asked.Topics != nil {
					resp.Topics = append(resp.Topics, t)
				}
			}
		})
		r.mu.Lock()
		defer r.mu.Unlock()
		for id := range int32(3) {
			if !r.down[id] {
				b := kmsg.NewMetadataResponseBroker()
				b.NodeID, b.Host, b.Port = id, "localhost", rollPort+id
				resp.Brokers = append(resp.Brokers, b)
			}
		}
		resp.ControllerID = controller
		return resp, nil, true
	})
	r.kafka.ControlKey(0, func(req kmsg.Request) (kmsg.Response, error, bool) {
		r.kafka.KeepControl()
		produce := req.(*kmsg.ProduceRequest)
		r.mu.Lock()
		inSync := 3 - len(r.down) - len(r.behind)
		r.mu.Unlock()
		if inSync >= 2 || produce.Acks != -1 {
			return nil, nil, false
		}
		resp := produce.ResponseKind().(*kmsg.ProduceResponse)
		for _, t := range produce.Topics {
			answer := kmsg.NewProduceResponseTopic()
			answer.Topic, answer.TopicID = t.Topic, t.TopicID
			for _, p := range t.Partitions {
				part := kmsg.NewProduceResponseTopicPartition()
				part.Partition, part.ErrorCode, part.BaseOffset = p.Partition, kerr.NotEnoughReplicas.Code, -1
				answer.Partitions = append(answer.Partitions, part)
			}
			resp.Topics = append(resp.Topics, answer)
		}
		return resp, nil, true
	})
}

// metadata is what Metadata says of a topic. A broker that the fake has stopped
// leads nothing there; the fake's leader is the one of the picture.
func (r *roll) metadata(name string) (kmsg.MetadataResponseTopic, bool) {
	t := kmsg.NewMetadataResponseTopic()
	t.Topic = new(name)
	info := r.kafka.TopicInfo(name)
	if info == nil {
		t.ErrorCode = kerr.UnknownTopicOrPartition.Code
		return t, false
	}
	t.TopicID = info.TopicID
	partitions := r.kafka.PartitionInfos(name)
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, have := range partitions {
		p := kmsg.NewMetadataResponseTopicPartition()
		p.Partition, p.Leader, p.LeaderEpoch = have.Partition, have.Leader, have.Epoch
		p.Replicas = []int32{have.Partition % 3, (have.Partition + 1) % 3, (have.Partition + 2) % 3}
		if name == lone {
			p.Leader, p.Replicas = 2, []int32{2}
		}
		for _, id := range p.Replicas {
			switch {
			case r.down[id]:
				p.OfflineReplicas = append(p.OfflineReplicas, id)
			case !r.behind[id]:
				p.ISR = append(p.ISR, id)
			}
		}
		if r.down[p.Leader] {
			p.Leader, p.ErrorCode = -1, kerr.LeaderNotAvailable.Code
		}
		t.Partitions = append(t.Partitions, p)
	}
	return t, true
}

// leave takes a broker out of the cluster; nobody but the restart of a broker may,
// and only while all others are in sync.
func (r *roll) leave(id int32) error {
	r.mu.Lock()
	r.down[id] = true
	delete(r.behind, id)
	if away := slices.Sorted(maps.Keys(r.down)); len(away) > 1 {
		r.wrong = append(r.wrong, fmt.Sprintf("brokers %v are down at the same time", away))
	}
	if behind := slices.Sorted(maps.Keys(r.behind)); len(behind) > 0 {
		r.wrong = append(r.wrong, fmt.Sprintf("broker %d went while brokers %v were not in sync", id, behind))
	}
	r.mu.Unlock()
	if err := r.kafka.RemoveNode(id); err != nil {
		return err
	}
	r.hangUp(id)
	return nil
}

// comeBack lets it in again: it serves at once, and is in sync later.
func (r *roll) comeBack(id int32) error {
	r.mu.Lock()
	delete(r.down, id)
	r.behind[id] = true
	r.mu.Unlock()
	time.AfterFunc(catchUp, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.behind, id)
	})
	_, _, err := r.kafka.AddNode(id, rollPort+int(id))
	return err
}
