package kafka

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"example.com/kpls-agent/internal/restart"
)

const (
	// viewsWanted is how many brokers are asked for their view of the cluster.
	viewsWanted = 3
	// quorumTimeout bounds the question about the quorum. A broker forwards it
	// to the active controller, and without one keeps it for a minute.
	quorumTimeout = 2500 * time.Millisecond
)

// Observe asks up to three brokers for their view of the cluster (Metadata, in
// one request each), one of them for the quorum and for min.insync.replicas of
// every topic. The own broker is one of them: right after its restart it is the
// only one whose picture cannot be older than the restart, since a broker
// answers only after it has replayed the metadata up to its own return.
//
// Brokers are asked one after another, so only one answer at a time is
// held in its raw form.
func (c *Client) Observe(ctx context.Context) restart.ClusterFacts {
	f := restart.ClusterFacts{At: time.Now()}
	f.Err = c.observe(ctx, &f)
	if len(f.Views) == 0 {
		f.NobodyListens = c.nobodyListens(ctx)
	}
	f.Took = time.Since(f.At)
	return f
}

// refuseTimeout is how long a port may take to refuse a connection: the kernel of a machine that is up does it at once.
const refuseTimeout = time.Second

// nobodyListens returns the brokers whose port refuses connections.
func (c *Client) nobodyListens(ctx context.Context) []int32 {
	all := maps.Clone(c.opts.Known)
	if all == nil {
		all = map[int32]string{}
	}
	maps.Copy(all, c.Addresses())
	dial := c.opts.Dial
	if dial == nil {
		dial = (&net.Dialer{}).DialContext
	}
	ctx, cancel := context.WithTimeout(ctx, refuseTimeout)
	defer cancel()
	refuses := make(chan int32, len(all))
	var asked sync.WaitGroup
	for id, addr := range all {
		asked.Go(func() {
			conn, err := dial(ctx, "tcp", addr)
			if err == nil {
				_ = conn.Close()
			}
			if NobodyListens(err) {
				refuses <- id
			}
		})
	}
	asked.Wait()
	close(refuses)
	var out []int32
	for id := range refuses {
		out = append(out, id)
	}
	slices.Sort(out)
	return out
}

func (c *Client) observe(ctx context.Context, f *restart.ClusterFacts) string {
	resp, err := c.metadata(ctx)
	if err != nil {
		return fmt.Sprintf("ask for the brokers: %s", explain(err))
	}
	var failures []error
	var lacks error
	for _, id := range c.order(resp.Brokers) {
		if len(f.Views) == viewsWanted {
			break
		}
		var missing error
		view, err := twice(func() (view restart.BrokerView, err error) {
			view, missing, err = c.view(ctx, id, f.Views)
			return view, err
		})
		lacks = cmp.Or(lacks, missing)
		if err != nil {
			f.NoAnswer = append(f.NoAnswer, id)
			failures = append(failures, fmt.Errorf("ask broker %d for its view of the cluster: %w", id, explain(err)))
			continue
		}
		f.Views = append(f.Views, view)
	}
	if len(f.Views) == 0 {
		return orText(errors.Join(failures...), "no broker is registered")
	}
	asked := f.Views[len(f.Views)-1].Broker // another one than the own, if one answered
	text := ""
	if err := c.minISR(ctx, asked, f); err != nil {
		text = explain(err).Error()
	}
	if err := cmp.Or(lacks, c.seesAll(ctx, f.Views[0])); err != nil {
		text = explain(err).Error()
	}
	// Last, since a broker without a controller keeps this question for a minute, and
	// answers nothing else on the connection meanwhile.
	f.Quorum, err = c.quorum(ctx, asked, f.Views)
	if err != nil {
		f.QuorumErr = fmt.Sprintf("ask broker %d for the quorum: %s", asked, explain(err))
	}
	f.Brokers = known(f.Views)
	c.forget(f.Brokers)
	return text
}

// seesAll makes sure that no topic with a replica on the own broker is kept from
// us: Metadata names only those that our user may Describe, and says nothing of
// the others, which the restart would hit as well.
func (c *Client) seesAll(ctx context.Context, view restart.BrokerView) error {
	if view.Broker != c.opts.Self {
		return nil // it is down, so its restart takes nothing from anybody
	}
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	hidden, err := c.hiddenBeside(ctx, func(name string) bool {
		_, ok := slices.BinarySearchFunc(view.Topics, name,
			func(t restart.Topic, name string) int { return strings.Compare(t.Name, name) })
		return ok
	})
	if err != nil {
		return fmt.Errorf("compare the topics of the own broker with those that the agent's user may see: %w", err)
	}
	if len(hidden) > 0 {
		return &deniedError{
			fmt.Errorf("%d topics with replicas on this broker are hidden from the agent's user, such as %s",
				len(hidden), hidden[0]),
			seesTopics,
		}
	}
	return nil
}

func orText(err error, otherwise string) string {
	if err == nil {
		return otherwise
	}
	return strings.ReplaceAll(err.Error(), "\n", "; ")
}

// order returns whom to ask: the own broker, then those after it as on a ring,
// so that the questions of many agents spread over the cluster.
func (c *Client) order(brokers []kmsg.MetadataResponseBroker) []int32 {
	ids := make([]int32, 0, len(brokers))
	for _, b := range brokers {
		ids = append(ids, b.NodeID)
	}
	slices.SortFunc(ids, func(a, b int32) int {
		if x, y := a <= c.opts.Self, b <= c.opts.Self; x != y {
			if y {
				return -1
			}
			return 1
		}
		return cmp.Compare(a, b)
	})
	if i := slices.Index(ids, c.opts.Self); i >= 0 {
		ids = slices.Insert(slices.Delete(ids, i, i+1), 0, c.opts.Self)
	}
	return ids
}

// view asks one broker for everything it knows; lacks is a *noListenerError, if it says so.
func (c *Client) view(
	ctx context.Context,
	broker int32,
	others []restart.BrokerView,
) (v restart.BrokerView, lacks, err error) {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	req := kmsg.NewPtrMetadataRequest() // no topics named: all
	resp, err := to[*kmsg.MetadataResponse](ctx, c.kgo, broker, req)
	if err != nil {
		return v, nil, err
	}
	c.learn(resp.Brokers)
	var like []restart.Topic
	if len(others) > 0 {
		like = others[0].Topics
	}
	lacks = lacksListener(resp)
	v, err = brokerView(broker, resp, like)
	return v, lacks, err
}

// brokerView converts an answer. Topics that are as in `like` share its
// memory: the views of a healthy cluster are all the same, and its partitions
// are hundreds of thousands.
func brokerView(broker int32, resp *kmsg.MetadataResponse, like []restart.Topic) (restart.BrokerView, error) {
	v := restart.BrokerView{
		Broker:     broker,
		Controller: resp.ControllerID,
		Topics:     make([]restart.Topic, 0, len(resp.Topics)),
	}
	for _, b := range resp.Brokers {
		v.Alive = append(v.Alive, b.NodeID)
	}
	slices.Sort(v.Alive)
	for i := range resp.Topics {
		t := &resp.Topics[i]
		if t.Topic == nil {
			return v, errors.New("a topic in the answer has no name")
		}
		if err := kerr.ErrorForCode(t.ErrorCode); err != nil {
			return v, fmt.Errorf("topic %s: %w", *t.Topic, err)
		}
	}
	slices.SortFunc(resp.Topics,
		func(a, b kmsg.MetadataResponseTopic) int { return strings.Compare(*a.Topic, *b.Topic) })
	for i := range resp.Topics {
		t := &resp.Topics[i]
		slices.SortFunc(t.Partitions,
			func(a, b kmsg.MetadataResponseTopicPartition) int { return cmp.Compare(a.Partition, b.Partition) })
		if at, ok := slices.BinarySearchFunc(like, *t.Topic,
			func(l restart.Topic, name string) int { return strings.Compare(l.Name, name) }); ok &&
			same(like[at].Partitions, t.Partitions) {
			v.Topics = append(v.Topics, like[at])
			continue
		}
		v.Topics = append(v.Topics, restart.Topic{Name: *t.Topic, Partitions: pack(t.Partitions)})
	}
	return v, nil
}

// noListenerError is a leader that is alive and has not the listener on which we ask
// (MetadataCache.getPartitionMetadata). Such a broker is missing in all that we are told.
type noListenerError struct {
	topic     string
	partition int32
	replicas  []int32
}

// lacksListener returns a *noListenerError if the answer has such a leader.
func lacksListener(resp *kmsg.MetadataResponse) error {
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			if p.ErrorCode == kerr.ListenerNotFound.Code && t.Topic != nil {
				return &noListenerError{topic: *t.Topic, partition: p.Partition, replicas: p.Replicas}
			}
		}
	}
	return nil
}

func (e *noListenerError) Error() string {
	return fmt.Sprintf(
		"the leader of partition %s-%d, one of the brokers %v, does not have the listener that the agents use", e.topic,
		e.partition, e.replicas)
}

func same(have []restart.Partition, got []kmsg.MetadataResponseTopicPartition) bool {
	return slices.EqualFunc(have, got, func(h restart.Partition, g kmsg.MetadataResponseTopicPartition) bool {
		return h.ID == g.Partition && h.Leader == g.Leader && slices.Equal(h.Replicas, g.Replicas) &&
			slices.Equal(h.ISR, g.ISR)
	})
}

// pack keeps all replicas and in-sync replicas of a topic in one slice. Where
// they are the same, which is the rule, they are kept once.
func pack(partitions []kmsg.MetadataResponseTopicPartition) []restart.Partition {
	size := 0
	for i := range partitions {
		size += len(partitions[i].Replicas)
		if !slices.Equal(partitions[i].Replicas, partitions[i].ISR) {
			size += len(partitions[i].ISR)
		}
	}
	ids := make([]int32, 0, size)
	keep := func(list []int32) []int32 {
		from := len(ids)
		ids = append(ids, list...)
		return ids[from:len(ids):len(ids)]
	}
	out := make([]restart.Partition, len(partitions))
	for i := range partitions {
		p := &partitions[i]
		out[i] = restart.Partition{ID: p.Partition, Leader: p.Leader, Replicas: keep(p.Replicas)}
		if slices.Equal(p.Replicas, p.ISR) {
			out[i].ISR = out[i].Replicas
		} else {
			out[i].ISR = keep(p.ISR)
		}
	}
	return out
}

// known returns every broker that is alive or hosts a replica in any view,
// ascending. Voters do not count: they may be controllers only.
func known(views []restart.BrokerView) []int32 {
	set := map[int32]bool{}
	for _, v := range views {
		for _, id := range v.Alive {
			set[id] = true
		}
		for _, t := range v.Topics {
			for _, p := range t.Partitions {
				for _, id := range p.Replicas {
					set[id] = true
				}
			}
		}
	}
	return slices.Sorted(maps.Keys(set))
}
