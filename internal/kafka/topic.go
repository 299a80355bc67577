package kafka

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"example.com/kpls-agent/internal/wait"
)

// place is where the coordination log is at the moment.
type place struct {
	leader int32
	// epoch of the leader. In a request it has a former leader say so (KIP-320), who
	// would otherwise answer as a follower does (KIP-392): late, and of less.
	epoch int32
	id    [16]byte // zero where Kafka gives topics no ids
}

// nowhere is the place of a log whose leader is not known.
var nowhere = place{leader: -1}

// replicasWanted is how many replicas the coordination topic has where there
// are brokers enough.
const replicasWanted = 3

// ErrNoTopic says that nobody has needed the coordination topic yet.
var ErrNoTopic = errors.New("there is no coordination topic yet; an agent makes it once it has a manifest, and so do " +
	"`kpls-agent pause` and `kpls-agent restart`")

// locate finds the leader of the log. It creates the topic where there is none and it is needed (mayMake).
func (l *Log) locate(ctx context.Context) (place, error) {
	resp, err := l.c.metadata(ctx, l.topic)
	if err != nil {
		return place{}, fmt.Errorf("find the coordination topic %s: %w", l.topic, explain(err))
	}
	if len(resp.Topics) != 1 {
		return place{}, fmt.Errorf("find the coordination topic %s: the answer is about %d topics", l.topic,
			len(resp.Topics))
	}
	t := resp.Topics[0]
	switch err := kerr.ErrorForCode(t.ErrorCode); {
	case errors.Is(err, kerr.UnknownTopicOrPartition):
		if !l.mayMake() {
			return place{}, ErrNoTopic
		}
		return place{}, l.create(ctx, len(resp.Brokers), resp.ControllerID)
	case err != nil:
		return place{}, fmt.Errorf("find the coordination topic %s: %w", l.topic,
			explain(needs(err, "Read on topic "+l.topic)))
	case len(t.Partitions) != 1:
		return place{}, fmt.Errorf(
			"the coordination topic %s has %d partitions and must have one; delete it, and an agent makes it again",
			l.topic, len(t.Partitions))
	}
	p := t.Partitions[0]
	if p.Leader < 0 {
		return place{}, fmt.Errorf(
			"the coordination topic %s has no leader: its replicas are on brokers %v, and none of those in sync is up",
			l.topic, p.Replicas)
	}
	if want := min(replicasWanted, len(resp.Brokers)); len(p.Replicas) < want {
		l.note(
			fmt.Sprintf(
				"the coordination topic %s has %d of the %d replicas it could have; add some with kafka-reassign-partitions, or nothing can be coordinated while broker %v is down",
				l.topic, len(p.Replicas), want, p.Replicas),
		)
	}
	return place{leader: p.Leader, epoch: p.LeaderEpoch, id: t.TopicID}, nil
}

// create makes the topic. Whoever comes second finds it there. It returns an
// error also then: the log is located again. In ZooKeeper mode only the controller
// makes topics; KRaft has any broker pass it on, and names any broker here.
func (l *Log) create(ctx context.Context, alive int, controller int32) error {
	need := 1
	if l.c.opts.Expect != nil {
		need = min(replicasWanted, l.c.opts.Expect())
	}
	if alive < need {
		return fmt.Errorf("create the coordination topic %s: %d of the %d brokers it needs are up", l.topic, alive,
			need)
	}
	replicas := min(replicasWanted, alive)
	topic := kmsg.NewCreateTopicsRequestTopic()
	topic.Topic = l.topic
	topic.NumPartitions, topic.ReplicationFactor = 1, int16(replicas) //nolint:gosec // 1 to 3
	for name, value := range topicConfig(replicas) {
		cfg := kmsg.NewCreateTopicsRequestTopicConfig()
		cfg.Name, cfg.Value = name, new(value)
		topic.Configs = append(topic.Configs, cfg)
	}
	req := kmsg.NewPtrCreateTopicsRequest()
	req.Topics = append(req.Topics, topic)
	req.TimeoutMillis = millis(answerTimeout / 2)

	if controller < 0 {
		return fmt.Errorf(
			"create the coordination topic %s: no controller is active; in ZooKeeper mode see that ZooKeeper runs",
			l.topic)
	}
	dry := *req
	dry.ValidateOnly = true
	if err := l.c.mayAsk(ctx, controller, &dry); err != nil {
		return fmt.Errorf("create the coordination topic %s: broker %d: %w", l.topic, controller, explain(err))
	}
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	resp, err := req.RequestWith(ctx, l.c.kgo)
	if err == nil && len(resp.Topics) == 1 {
		err = notMade(resp.Topics[0])
	}
	switch {
	case errors.Is(err, kerr.TopicAlreadyExists):
		return errAgain
	case err != nil:
		return fmt.Errorf("create the coordination topic %s: %w", l.topic,
			explain(needs(err, "Create on topic "+l.topic)))
	}
	l.c.opts.Logger.Info("created the coordination topic", "topic", l.topic, "replicas", replicas)
	l.mu.Lock()
	l.made = replicas
	l.mu.Unlock()
	return errAgain
}

// notMade is why a topic was not made. Where brokers lack for its replicas, Kafka's own words name the cause.
func notMade(t kmsg.CreateTopicsResponseTopic) error {
	err := kerr.ErrorForCode(t.ErrorCode)
	if !tooFewBrokers(err) || t.ErrorMessage == nil || *t.ErrorMessage == "" {
		return err
	}
	return fmt.Errorf("%w (%s)", err, strings.TrimSuffix(*t.ErrorMessage, "."))
}

// tooFewBrokers is true where Kafka finds too few brokers for the replicas of a new topic. A broker whose log
// directories are all cordoned gets no new partition (KIP-1066). With a number of replicas 4.4.0 answers the first,
// with brokers that the request names the second (seen on real brokers).
func tooFewBrokers(err error) bool {
	return errors.Is(err, kerr.InvalidReplicationFactor) || errors.Is(err, kerr.InvalidReplicaAssignment)
}

// cordonAdvice is what to do then.
const cordonAdvice = "bring back the brokers that are down; if all are up, some may be cordoned, and get no new " +
	"partition: `kafka-configs --bootstrap-server ... --describe --entity-type brokers --all` shows the " +
	"cordoned.log.dirs of each"

// errUnheard is of a leader whose own metadata is older than the one that named it: the topic has just been made.
var errUnheard = errors.New("leads it and does not know it yet; asking again")

// errAgain asks for another look at once.
var errAgain = errors.New("the coordination topic has just been created")

// mayMake is true if the topic is made where there is none.
func (l *Log) mayMake() bool {
	if l.c.opts.Makes != nil {
		return l.c.opts.Makes()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.appends > 0
}

// Look looks at once for a topic that was not there: another word of Options.Makes is heard.
func (l *Log) Look() { wait.Wake(l.needed) }

// Made returns how many replicas the coordination topic has if this client has made it; 0 if it was there before.
func (l *Log) Made() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.made
}

// topicConfig is the configuration of the coordination topic. Compaction keeps
// it small and never changes the order of claims, which have keys of their
// own; a deletion must outlive any agent that was paused while it read.
func topicConfig(replicas int) map[string]string {
	minISR := "1"
	if replicas >= replicasWanted {
		minISR = "2"
	}
	return map[string]string{
		"cleanup.policy":                 "compact",
		"min.insync.replicas":            minISR,
		"unclean.leader.election.enable": "false",
		"message.timestamp.type":         "LogAppendTime",
		"segment.ms":                     "600000",    // 10 minutes, since only closed segments are compacted
		"min.cleanable.dirty.ratio":      "0.1",       //
		"delete.retention.ms":            "604800000", // 7 days
	}
}

// verify refuses a topic of somebody else's making that forgets records. Not in
// ZooKeeper mode: whoever runs `status` in an outage of ZooKeeper would each time
// take a request handler from the broker (see mayAsk).
func (l *Log) verify(ctx context.Context, broker int32) error {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	if !l.c.kraft.Load() && l.c.zooKeeper(ctx, broker) {
		return nil
	}
	values, err := l.c.topicConfigs(ctx, broker, "cleanup.policy", l.topic)
	if err != nil {
		return fmt.Errorf("check the coordination topic %s: %w", l.topic, explain(err))
	}
	got, known := values[l.topic]
	if !known {
		return fmt.Errorf("check the coordination topic %s: broker %d %w", l.topic, broker, errUnheard)
	}
	if got.value != "compact" {
		return fmt.Errorf(
			"the coordination topic %s has cleanup.policy=%s and must have compact, or claims would be forgotten; delete it, and an agent makes it again",
			l.topic, got.value)
	}
	return nil
}
