package kafka

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"example.com/kpls-agent/internal/wait"
)

const (
	// pollWait is how long a broker may keep the question for more records
	// (fetch.max.wait.ms). It is the agent's one standing request: at rest it
	// costs one in this time.
	pollWait = 5 * time.Second
	// pollGrace is how much longer we wait for the answer. Together they stay
	// below the 9 s (broker.session.timeout.ms) after which a host that is
	// gone without a word loses its leaderships.
	pollGrace = 2 * time.Second
	// pollBytes bounds one answer, and what one batch of records is unpacked to: a
	// compressed one of a megabyte could become a gigabyte.
	pollBytes = 8 << 20
)

// movesUntold is how many times in a row another leader is looked for before that
// is a fault: metadata can be a moment older than an election, or than the topic (150 ms in all).
const movesUntold = 3

// missingWait is how often a topic that is not there is looked for: another agent may have made it.
const missingWait = time.Second

// Run reads the coordination topic until the context ends, and makes it where there is none and it is needed. It
// outlives every failure of Kafka; Facts says which one there is.
func (l *Log) Run(ctx context.Context) error {
	for n := 1; ctx.Err() == nil; n++ {
		read, err := l.session(ctx)
		if ctx.Err() != nil {
			break
		}
		if errors.Is(err, errAgain) {
			n--
			err = nil
		}
		if read {
			n = 1
		}
		election := moved(err) || errors.Is(err, errLost) || errors.Is(err, errUnheard)
		if err != nil && (n > movesUntold || !election) {
			l.failed(err)
		}
		after := backoff(n)
		if election && n == 1 {
			after = 0
		}
		if errors.Is(err, kgo.ErrMaxDecompress) {
			after = pollWait // it stays for minutes, and unpacking it is expensive
		}
		if errors.Is(err, ErrNoTopic) {
			n = 0
			l.waitForNeed(ctx)
			continue
		}
		wait.For(ctx, after)
	}
	return ctx.Err()
}

// waitForNeed waits until somebody appends, or until it is time to look for the topic again.
func (l *Log) waitForNeed(ctx context.Context) {
	timer := time.NewTimer(missingWait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	case <-l.needed:
	}
}

// session reads from one leader until something goes wrong; read is true if it read at all.
func (l *Log) session(ctx context.Context) (read bool, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	p, err := l.locate(ctx)
	if err != nil {
		return false, err
	}
	if l.other(p) {
		if err := l.verify(ctx, p.leader); err != nil {
			return false, err
		}
		l.beginAt(p, 0)
	}
	l.settleAt(p, func() { cancel(errLost) })
	defer l.settleAt(nowhere, nil)
	w, err := l.begin(ctx)
	if err == nil {
		defer l.drop(w)
	}
	hold := time.Duration(0) // the first answer comes at once
	for err == nil {
		if err = l.poll(ctx, p, hold); err == nil && !read {
			read, hold = true, pollWait
			l.failed(nil) // the leader answers, and lets the records be read
		}
	}
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	return read, fmt.Errorf("read the coordination log %s from broker %d: %w", l.topic, p.leader, explain(err))
}

// errLost ends a session whose leader failed somebody else's request.
var errLost = errors.New("it does not answer as the leader any more; looking for the leader again")

// settleAt notes where the log is being read, and how to stop that.
func (l *Log) settleAt(p place, lose func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.place, l.lose = p, lose
	if p != nowhere {
		close(l.settled)
		l.settled = make(chan struct{})
	}
}

// nextPlace is closed when the place becomes known, or becomes another one, after this call: whoever has failed for
// want of it need not wait longer.
func (l *Log) nextPlace() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.settled
}

// lost makes the reading side look for the leader again, if it is still at p.
func (l *Log) lost(p place) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.place == p && l.lose != nil {
		l.lose()
		l.place, l.lose = nowhere, nil
	}
}

// where returns the place where the log is being read, or why there is none.
func (l *Log) where() (place, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.place != nowhere:
		return l.place, nil
	case l.readErr != "":
		return nowhere, errors.New(l.readErr)
	case l.missing:
		return nowhere, ErrNoTopic
	}
	return nowhere, errors.New("the leader of the coordination log is not known yet")
}

// other is true if the topic is not the one that was read so far.
func (l *Log) other(p place) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.begun || l.topicID != p.id
}

// begin notes the end that the log has now, so At is set when it was read.
func (l *Log) begin(ctx context.Context) (*waiter, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	at := time.Now()
	end, err := l.end(ctx)
	if err != nil {
		return nil, fmt.Errorf("find the end of the coordination log %s: %w", l.topic, explain(err))
	}
	return l.waitForEnd(end, at), nil
}

// reached returns the highest epoch of a leader that was read from.
func (l *Log) reached() int32 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.epoch
}

// poll asks the leader once for what comes next. The leader may keep the question for a while where nothing has come.
func (l *Log) poll(ctx context.Context, p place, hold time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, pollWait+pollGrace)
	defer cancel()
	l.mu.Lock()
	from := l.next
	l.mu.Unlock()
	req := fetchRequest(l.topic, p.id, 0, from, hold)
	req.Topics[0].Partitions[0].CurrentLeaderEpoch = p.epoch
	resp, err := to[*kmsg.FetchResponse](ctx, l.c.kgo, p.leader, req)
	if err != nil {
		return err
	}
	part, err := fetched(resp)
	if err != nil {
		return err
	}
	if errors.Is(kerr.ErrorForCode(part.ErrorCode), kerr.OffsetOutOfRange) {
		if epoch := l.reached(); p.epoch < epoch {
			// A deposed leader that does not know it yet may have less than was read.
			return fmt.Errorf(
				"it answers as the leader of epoch %d, and has less than that of epoch %d had: metadata that is older than an election named it; looking for the leader again",
				p.epoch, epoch)
		}
		l.beginAt(p, max(part.LogStartOffset, 0))
		return errAnew
	}
	got, next := kgo.ProcessFetchPartition(kgo.ProcessFetchPartitionOpts{Offset: from, Topic: l.topic}, part,
		l.c.unpack, nil)
	switch {
	case errors.Is(got.Err, kgo.ErrMaxDecompress):
		return fmt.Errorf(
			"the batch at offset %d is more than %d MiB when it is unpacked, and no agent writes such: see who may write to the topic, and delete the key with a tombstone; Kafka's compaction removes the batch within about 10 minutes (%w)",
			from, pollBytes>>20, kgo.ErrMaxDecompress)
	case got.Err != nil:
		return fmt.Errorf("at offset %d: %w", from, needs(got.Err, "Read on topic "+l.topic))
	case len(part.RecordBatches) > 0 && next <= from:
		return fmt.Errorf("the records at offset %d cannot be decoded", from)
	case len(part.RecordBatches) == 0:
		next = max(next, part.HighWatermark) // compaction left nothing up to there
	}
	l.absorb(got.Records, next, p.epoch)
	return nil
}

// fetchRequest asks for the records of one partition from an offset, without a
// session (KIP-227): there is nothing to be left out.
func fetchRequest(topic string, id [16]byte, partition int32, from int64, wait time.Duration) *kmsg.FetchRequest {
	part := kmsg.NewFetchRequestTopicPartition()
	part.Partition, part.FetchOffset, part.PartitionMaxBytes = partition, from, pollBytes
	part.CurrentLeaderEpoch, part.LastFetchedEpoch, part.LogStartOffset = -1, -1, -1
	t := kmsg.NewFetchRequestTopic()
	t.Topic, t.TopicID = topic, id
	t.Partitions = append(t.Partitions, part)
	req := kmsg.NewPtrFetchRequest()
	req.ReplicaID = -1
	req.MaxWaitMillis = millis(wait)
	req.MinBytes, req.MaxBytes = 1, pollBytes
	req.SessionEpoch = -1
	req.Topics = append(req.Topics, t)
	return req
}

// fetched returns the one partition of an answer.
func fetched(resp *kmsg.FetchResponse) (*kmsg.FetchResponseTopicPartition, error) {
	if err := kerr.ErrorForCode(resp.ErrorCode); err != nil {
		return nil, err
	}
	if len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1 {
		return nil, errNoPartition
	}
	return &resp.Topics[0].Partitions[0], nil
}

var errNoPartition = errors.New("the answer does not have the partition")
