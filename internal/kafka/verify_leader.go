package kafka

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// namesLeader is the first version of Produce whose refusal names the new leader's address (KIP-951, Kafka 3.7).
const namesLeader = 10

// moved sees where a customer is sent when the leader of a partition has moved. It produces to a partition that another
// broker leads: the refusal names that broker, and clients of Kafka 3.7 and later connect there without asking again.
// Kafka names what it advertises on the listener. A protocol proxy may rewrite Metadata and forget this answer.
func (t *trial) moved(ctx context.Context, p *path, partition int32, batch []byte) error {
	if len(t.paths) < 2 || p.wire == nil || p.wire.versions[kmsg.Produce.Int16()].MaxVersion < namesLeader {
		return nil
	}
	other := t.paths[(int(partition)+1)%len(t.paths)].row
	next := (partition + 1) % int32(len(t.paths)) //nolint:gosec // one for each broker
	resp, err := over[*kmsg.ProduceResponse](ctx, p, produceRequest(t.v.o.Topic, t.id, next, batch))
	if err == nil {
		var part *kmsg.ProduceResponseTopicPartition
		if part, err = produced(resp); err == nil {
			err = kerr.ErrorForCode(part.ErrorCode)
		}
	}
	if !errors.Is(err, kerr.NotLeaderForPartition) {
		return nil // records went this way a moment ago, so it is not the way that is in question
	}
	for _, b := range resp.Brokers {
		addr := net.JoinHostPort(b.Host, strconv.Itoa(int(b.Port)))
		if b.NodeID != other.Broker || other.Got == "" || addr == other.Got {
			continue
		}
		return &VerifyFault{
			faultLeader, fmt.Sprintf("when a leader moves to broker %d, customers are sent to %s, and not to %s: something in "+
				"between rewrites the addresses of Metadata, and not those in the answer to a refused record (KIP-951)", b.NodeID,
				addr, other.Got), whereBalancer,
			"take a protocol proxy that rewrites the answers to Produce and Fetch as well, or a load balancer that leaves " +
				"Kafka's protocol alone",
		}
	}
	return nil
}
