package kafka

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"example.com/kpls-agent/internal/restart"
	"example.com/kpls-agent/internal/wait"
)

// Log is the coordination log: one partition, read from its start by every
// agent, without a group. Run reads; Append and Sync wait for what Run has read
// and so need it to be running.
type Log struct {
	c     *Client
	topic string
	// id makes the marks of this agent's appends its own.
	id string
	// appending has capacity 1: one append at a time.
	appending chan struct{}
	producer  producer // owned by the holder of appending
	changed   chan struct{}
	// needed has the reading side look for a topic that was missing once more.
	needed chan struct{}

	mu   sync.Mutex
	view *restart.View
	// lent is true once view was handed out: it is cloned before its next change.
	lent bool
	// next is the offset to read from. It can be past view.Next: compaction leaves holes.
	next    int64
	begun   bool     // topicID is set
	topicID [16]byte // of the log that is being read
	epoch   int32    // the highest of a leader that was read from
	place   place    // where the log is being read; lose ends that
	lose    func()
	settled chan struct{} // closed when the place becomes known the next time
	at      time.Time
	missing bool   // there is no topic, and nobody has needed one
	made    int    // replicas of the topic, if this client made it
	readErr string // why reading fails; and appending
	appErr  string
	noted   string
	appends uint64
	waiting map[*waiter]struct{}
}

// waiter waits until something was read.
type waiter struct {
	mark string // of an append; or
	end  int64  // everything before this offset
	// at is when what it waits for was asked: everything appended before is read then.
	at   time.Time
	done chan error // capacity 1
}

// errAnew ends the wait for records of a topic that is not there any more.
var errAnew = errors.New("the coordination topic was truncated, or deleted and made again; reading it from its start")

func newLog(c *Client) *Log {
	return &Log{
		c:         c,
		topic:     c.opts.Topic,
		id:        rand.Text(),
		appending: make(chan struct{}, 1),
		changed:   make(chan struct{}, 1),
		needed:    make(chan struct{}, 1),
		producer:  producer{id: -1},
		view:      restart.NewView(),
		place:     nowhere,
		settled:   make(chan struct{}),
		waiting:   map[*waiter]struct{}{},
	}
}

// Facts returns what has been read so far. The view is never changed again.
func (l *Log) Facts() restart.LogFacts {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lent = true
	f := restart.LogFacts{At: l.at, Err: l.readErr, View: l.view, Missing: l.missing}
	if f.Err == "" {
		f.Err = l.appErr
	}
	return f
}

// Changed is signalled (capacity 1) after every change of Facts.
func (l *Log) Changed() <-chan struct{} { return l.changed }

// signal is called with mu held.
func (l *Log) signal() {
	wait.Wake(l.changed)
}

// Sync returns when the log was read to the end it had at the call, by the
// word of the broker that the cluster names as the log's leader. A broker that
// was deposed and does not know yet can be behind by what was appended since:
// what must not be decided on an old picture is decided after an Append. Where there is no topic it returns ErrNoTopic.
func (l *Log) Sync(ctx context.Context) error {
	at := time.Now()
	end, err := l.end(ctx)
	if err != nil {
		return fmt.Errorf("find the end of the coordination log %s: %w", l.topic, explain(err))
	}
	w := l.waitForEnd(end, at)
	defer l.drop(w)
	select {
	case err = <-w.done:
	case <-ctx.Done():
		err = ctx.Err()
	}
	if err != nil {
		return fmt.Errorf("read the coordination log %s up to offset %d: %w", l.topic, end, explain(err))
	}
	return nil
}

// end returns the offset after the last committed record, by the leader's word.
// A new leader that does not know it yet says so (OFFSET_NOT_AVAILABLE) and is
// asked again.
func (l *Log) end(ctx context.Context) (int64, error) {
	for n := 1; ; n++ {
		settled := l.nextPlace()
		p, err := l.where()
		if err == nil {
			var end int64
			if end, err = l.listEnd(ctx, p); err == nil {
				return end, nil
			}
		}
		if errors.Is(err, ErrNoTopic) || !repeatable(err) {
			return 0, err
		}
		retry := time.NewTimer(backoff(n))
		select {
		case <-ctx.Done():
			retry.Stop()
			return 0, err
		case <-settled:
			retry.Stop()
		case <-retry.C:
		}
	}
}

func (l *Log) listEnd(ctx context.Context, p place) (int64, error) {
	once, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	part := kmsg.NewListOffsetsRequestTopicPartition()
	part.CurrentLeaderEpoch = p.epoch
	part.Timestamp = -1 // the latest
	topic := kmsg.NewListOffsetsRequestTopic()
	topic.Topic = l.topic
	topic.Partitions = append(topic.Partitions, part)
	req := kmsg.NewPtrListOffsetsRequest()
	req.ReplicaID = -1
	req.Topics = append(req.Topics, topic)
	resp, err := to[*kmsg.ListOffsetsResponse](once, l.c.kgo, p.leader, req)
	if err != nil {
		if ctx.Err() == nil {
			l.lost(p)
		}
		return 0, err
	}
	if len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1 {
		return 0, errNoPartition
	}
	end := resp.Topics[0].Partitions[0]
	if err = kerr.ErrorForCode(end.ErrorCode); moved(err) || errors.Is(err, kerr.UnknownTopicOrPartition) {
		l.lost(p)
	}
	return end.Offset, needs(err, "Read on topic "+l.topic)
}

func (l *Log) waitForMark(at time.Time) *waiter {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.appends++
	w := &waiter{mark: l.id + "/" + strconv.FormatUint(l.appends, 10), end: -1, at: at, done: make(chan error, 1)}
	l.waiting[w] = struct{}{}
	return w
}

func (l *Log) waitForEnd(end int64, at time.Time) *waiter {
	l.mu.Lock()
	defer l.mu.Unlock()
	w := &waiter{end: end, at: at, done: make(chan error, 1)}
	l.waiting[w] = struct{}{}
	l.settle("")
	return w
}

func (l *Log) drop(w *waiter) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.waiting, w)
}

// settle ends the waits that have come to their end; mark is of the record
// that was just read. It is called with mu held.
func (l *Log) settle(mark string) {
	for w := range l.waiting {
		if w.mark != "" && w.mark == mark || w.mark == "" && l.next >= w.end {
			delete(l.waiting, w)
			w.done <- nil
			if w.at.After(l.at) {
				l.at = w.at
				l.signal()
			}
		}
	}
}

// absorb folds what was read, from a leader of an epoch, up to the offset next.
func (l *Log) absorb(records []*kgo.Record, next int64, epoch int32) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(records) > 0 {
		if l.lent {
			l.view, l.lent = l.view.Clone(), false
		}
		l.signal()
	}
	for _, r := range records {
		l.view.Fold(restart.Record{Key: string(r.Key), Value: r.Value, Offset: r.Offset, Time: r.Timestamp})
		for _, h := range r.Headers {
			if h.Key == markHeader {
				l.settle(string(h.Value))
			}
		}
	}
	l.next, l.epoch = max(l.next, next), max(l.epoch, epoch)
	l.settle("")
}

// failed keeps for Facts why the log cannot be read; nil if it can, or if there is none.
func (l *Log) failed(err error) {
	text, missing := "", errors.Is(err, ErrNoTopic)
	if err != nil && !missing {
		text = err.Error()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.readErr != text || l.missing != missing {
		l.readErr, l.missing = text, missing
		l.signal()
	}
}

// beginAt begins with a log at an offset, and forgets what was read of another one.
func (l *Log) beginAt(p place, from int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.begun {
		l.view, l.lent, l.at = restart.NewView(), false, time.Time{}
		for w := range l.waiting {
			delete(l.waiting, w)
			w.done <- errAnew
		}
		l.signal()
	}
	l.begun, l.topicID, l.epoch, l.next = true, p.id, p.epoch, from
}

// note logs what an operator should know about the log, once.
func (l *Log) note(text string) {
	l.mu.Lock()
	known := l.noted == text
	l.noted = text
	l.mu.Unlock()
	if !known {
		l.c.opts.Logger.Warn("coordination topic", "note", text)
	}
}
