package kafka

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// A broker in ZooKeeper mode reads the configuration of a topic from ZooKeeper
// whenever somebody asks for it, and looks there for a topic that is to be made.
// While ZooKeeper is down, the question holds one of the broker's few request
// handlers (num.io.threads) until it is back, whether or not anybody still waits
// for the answer (retryRequestsUntilConnected in KafkaZkClient.scala). Asked every
// second, the broker would soon serve nobody.
// So a scout goes first: one small question, and none after it before it has
// come back.

// scouts are the questions that are on their way, by broker.
type scouts struct {
	mu  sync.Mutex
	out map[int32]*scout // guarded by mu
	all sync.WaitGroup
}

type scout struct {
	since time.Time
	back  chan struct{}
	err   error // once it is back
}

// scoutRest is the longest pause after a scout that was lost on its way. Kafka
// hangs up on whoever was idle for connections.max.idle.ms (10 min), which frees
// no handler.
const scoutRest = 10 * time.Minute

// mayAsk returns an error unless a broker can be asked, without harm, what it
// looks up in ZooKeeper. The question given is sent as the scout, if one must go.
func (c *Client) mayAsk(ctx context.Context, broker int32, question kmsg.Request) error {
	if c.kraft.Load() {
		return nil
	}
	s := c.scout(broker, question)
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	select {
	case <-s.back:
		return s.err
	case <-ctx.Done():
		return &noZooKeeperError{time.Since(s.since)}
	}
}

// noZooKeeperError is a scout that is not back yet.
type noZooKeeperError struct{ waits time.Duration }

func (e *noZooKeeperError) Error() string {
	return fmt.Sprintf("it has not answered for %s what it looks up in ZooKeeper", e.waits.Round(time.Second))
}

// scout returns the one that is on its way to a broker, or sends one.
func (c *Client) scout(broker int32, question kmsg.Request) *scout {
	c.scouts.mu.Lock()
	defer c.scouts.mu.Unlock()
	if s := c.scouts.out[broker]; s != nil {
		return s
	}
	s := &scout{since: time.Now(), back: make(chan struct{})}
	c.scouts.out[broker] = s
	c.scouts.all.Go(func() {
		var asked bool
		asked, s.err = c.explore(broker, question)
		if took := time.Since(s.since); asked && s.err != nil {
			select {
			case <-c.life.Done():
			case <-time.After(min(took, scoutRest)):
			}
		}
		c.scouts.mu.Lock()
		delete(c.scouts.out, broker)
		c.scouts.mu.Unlock()
		close(s.back)
	})
	return s
}

// explore returns once a broker has looked into ZooKeeper, however long that takes,
// or at once if it has none. What the answer says is no matter here. asked is true
// once the question is on its way.
func (c *Client) explore(broker int32, question kmsg.Request) (asked bool, err error) {
	ctx, cancel := context.WithTimeout(c.life, answerTimeout)
	defer cancel()
	w, err := c.connect(ctx, broker)
	if err != nil {
		return false, err
	}
	defer w.close()
	if !w.zooKeeper() {
		return false, nil
	}
	if err := w.login(ctx, c.own.mech); err != nil {
		return false, err
	}
	_, err = await[kmsg.Response](c.life, w, question)
	return true, err
}

// configOf asks for one property of a topic, which must exist: of others a broker
// says without ZooKeeper that it knows nothing.
func configOf(topic string) kmsg.Request {
	req := kmsg.NewPtrDescribeConfigsRequest()
	r := kmsg.NewDescribeConfigsRequestResource()
	r.ResourceType, r.ResourceName, r.ConfigNames = kmsg.ConfigResourceTypeTopic, topic, []string{"cleanup.policy"}
	req.Resources = append(req.Resources, r)
	return req
}

// connect makes a connection to a broker whose address was learnt.
func (c *Client) connect(ctx context.Context, broker int32) (*wire, error) {
	c.mu.Lock()
	addr := c.addresses[broker]
	c.mu.Unlock()
	return connect(ctx, c.own.dial, addr, c.opts.Metrics)
}

// zooKeeper is true if the broker is surely in ZooKeeper mode: it takes UpdateMetadata
// from its controller and does not know DescribeQuorum, both by its own word
// (`listeners` in UpdateMetadataRequest.json and DescribeQuorumRequest.json).
func (w *wire) zooKeeper() bool {
	_, update := w.versions[kmsg.NewPtrUpdateMetadataRequest().Key()]
	_, quorum := w.versions[kmsg.NewPtrDescribeQuorumRequest().Key()]
	return update && !quorum
}

// zooKeeper is the same for any broker; one that cannot be asked is not surely in it.
func (c *Client) zooKeeper(ctx context.Context, broker int32) bool {
	w, err := c.connect(ctx, broker)
	if err != nil {
		return false
	}
	defer w.close()
	return w.zooKeeper()
}
