package kafka

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"example.com/kpls-agent/internal/restart"
)

const (
	// writeWait is how long a broker may wait for the other replicas (request.timeout.ms).
	writeWait = 2 * time.Second
	// markHeader is on the last record of an append, so the append is known
	// from its copy in the log and from nothing else: not from an offset, which
	// may belong to a topic that was deleted since.
	markHeader = "kpls-append"
)

// producer makes repetitions harmless: Kafka writes a batch of one producer id
// and sequence once (KIP-98). It is owned by the append that is under way.
type producer struct {
	id       int64 // -1: to be asked for
	epoch    int16
	sequence int32
}

// Append appends the records, in order, as one batch, with acks=all, and
// returns when they were read back: from then on the view has everything that
// was appended before them. This is the one linearizable operation of the log,
// and what a decision must rest on.
//
// An error means unknown: the records may be in the log, or may still get
// there within seconds. Appending them again is harmless (View.Fold).
func (l *Log) Append(ctx context.Context, records ...restart.Record) error {
	if len(records) == 0 {
		return nil
	}
	select {
	case l.appending <- struct{}{}:
		defer func() { <-l.appending }()
	case <-ctx.Done():
		return fmt.Errorf("append to the coordination log: another append is under way: %w", ctx.Err())
	}
	w := l.waitForMark(time.Now())
	defer l.drop(w)
	l.Look()
	err := l.write(ctx, w, records)
	l.appended(err)
	if err != nil {
		l.producer.id = -1 // whatever was sent last, its sequence is not used again
		return fmt.Errorf("append to the coordination log %s (the outcome is unknown): %w", l.topic, explain(err))
	}
	return nil
}

// write sends the batch until it is known to be written, and waits for its copy.
func (l *Log) write(ctx context.Context, w *waiter, records []restart.Record) error {
	for n := 1; ; n++ {
		settled := l.nextPlace()
		err := l.send(ctx, w.mark, records)
		if err == nil {
			break
		}
		if errors.Is(err, ErrNoTopic) && !l.mayMake() || !repeatable(err) {
			return err
		}
		retry := time.NewTimer(backoff(n))
		select {
		case read := <-w.done: // the answer got lost, the records did not
			retry.Stop()
			l.producer.sequence += int32(len(records)) //nolint:gosec // a handful
			return read
		case <-ctx.Done():
			retry.Stop()
			if errors.Is(err, ctx.Err()) {
				return err
			}
			// What was answered says more than that the time was up.
			return fmt.Errorf("%w (it was tried until the time was up)", err)
		case <-settled:
			retry.Stop()
		case <-retry.C:
		}
	}
	select {
	case read := <-w.done:
		return read
	case <-ctx.Done():
		return fmt.Errorf("written and not read back: %w", ctx.Err())
	}
}

// repeatable is true unless Kafka says that the same request can never succeed.
func repeatable(err error) bool {
	var k *kerr.Error
	return !errors.As(err, &k) || k.Retriable
}

// send sends the batch once, to the broker that is being read from.
func (l *Log) send(ctx context.Context, mark string, records []restart.Record) error {
	p, err := l.where()
	if err != nil {
		return err
	}
	once, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	if l.producer.id < 0 {
		if err := l.register(once); err != nil {
			return err
		}
	}
	resp, err := to[*kmsg.ProduceResponse](once, l.c.kgo, p.leader,
		produceRequest(l.topic, p.id, 0, encode(l.producer, mark, records)))
	if err != nil {
		if ctx.Err() == nil {
			l.lost(p) // do not wait until the reading side notices it too
		}
		return err
	}
	part, err := produced(resp)
	if err != nil {
		return err
	}
	switch err = kerr.ErrorForCode(part.ErrorCode); {
	case err == nil, errors.Is(err, kerr.DuplicateSequenceNumber):
		l.producer.sequence += int32(len(records)) //nolint:gosec // a handful
		return nil
	case errors.Is(err, kerr.OutOfOrderSequenceNumber), errors.Is(err, kerr.UnknownProducerID),
		errors.Is(err, kerr.InvalidProducerEpoch), errors.Is(err, kerr.InvalidProducerIDMapping):
		l.producer.id = -1 // the leader has forgotten the producer: begin as a new one
		return errNewProducer
	case moved(err), errors.Is(err, kerr.UnknownTopicOrPartition), errors.Is(err, kerr.UnknownTopicID):
		l.lost(p)
	}
	return needs(err, "Write on topic "+l.topic)
}

// errNewProducer asks for a repetition under a new producer id.
var errNewProducer = errors.New("the leader of the coordination log does not know our producer id any more")

// register asks any broker for a producer id.
func (l *Log) register(ctx context.Context) error {
	req := kmsg.NewPtrInitProducerIDRequest()
	req.ProducerID, req.ProducerEpoch = -1, -1
	resp, err := req.RequestWith(ctx, l.c.kgo)
	if err == nil {
		err = kerr.ErrorForCode(resp.ErrorCode)
	}
	if err != nil {
		return fmt.Errorf("ask for a producer id: %w", needs(err, "Write on topic "+l.topic))
	}
	l.producer = producer{id: resp.ProducerID, epoch: resp.ProducerEpoch}
	return nil
}

// produceRequest sends a batch to one partition with acks=all.
func produceRequest(topic string, id [16]byte, partition int32, batch []byte) *kmsg.ProduceRequest {
	part := kmsg.NewProduceRequestTopicPartition()
	part.Partition, part.Records = partition, batch
	t := kmsg.NewProduceRequestTopic()
	t.Topic, t.TopicID = topic, id
	t.Partitions = append(t.Partitions, part)
	req := kmsg.NewPtrProduceRequest()
	req.Acks = -1
	req.TimeoutMillis = millis(writeWait)
	req.Topics = append(req.Topics, t)
	return req
}

// produced returns the one partition of an answer.
func produced(resp *kmsg.ProduceResponse) (*kmsg.ProduceResponseTopicPartition, error) {
	if len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1 {
		return nil, errNoPartition
	}
	return &resp.Topics[0].Partitions[0], nil
}

// encode makes a record batch (message format 2, KIP-98), not compressed.
func encode(p producer, mark string, records []restart.Record) []byte {
	now := time.Now().UnixMilli() // the leader puts its own in (LogAppendTime)
	batch := kmsg.RecordBatch{
		PartitionLeaderEpoch: -1,
		Magic:                2,
		LastOffsetDelta:      int32(len(records) - 1), //nolint:gosec // a handful
		FirstTimestamp:       now,
		MaxTimestamp:         now,
		ProducerID:           p.id,
		ProducerEpoch:        p.epoch,
		FirstSequence:        p.sequence,
		NumRecords:           int32(len(records)), //nolint:gosec // a handful
	}
	for i, r := range records {
		rec := kmsg.Record{OffsetDelta: int32(i), Key: []byte(r.Key), Value: r.Value}
		if i == len(records)-1 {
			rec.Headers = []kmsg.Header{{Key: markHeader, Value: []byte(mark)}}
		}
		// Less than a request; 1 is the length of a zero length.
		rec.Length = int32(len(rec.AppendTo(nil)) - 1) //nolint:gosec // see above
		batch.Records = rec.AppendTo(batch.Records)
	}
	raw := batch.AppendTo(nil)
	const beforeLength, beforeCRC = 12, 21                             // bytes before what each covers
	binary.BigEndian.PutUint32(raw[8:], uint32(len(raw)-beforeLength)) //nolint:gosec // less than a request
	binary.BigEndian.PutUint32(raw[17:], crc32.Checksum(raw[beforeCRC:], crc32.MakeTable(crc32.Castagnoli)))
	return raw
}

// appended keeps the outcome of the last append for Facts.
func (l *Log) appended(err error) {
	text := ""
	if err != nil {
		text = fmt.Sprintf("append: %s", explain(err))
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.appErr != text {
		l.appErr = text
		l.signal()
	}
}
