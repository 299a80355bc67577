package sandbox

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// reader reads a topic from its start, while it is written, and counts how often
// it met each record of a run.
type reader struct {
	topic  string
	run    uint64
	client *kgo.Client
	done   chan struct{} // closed when poll has ended

	mu    sync.Mutex
	reads map[int]int     // guarded by mu; by number
	next  map[int32]int64 // guarded by mu; next offset by partition
}

// newReader starts to read; close ends that.
func newReader(opts LoadOptions, run uint64) (*reader, error) {
	client, err := opts.client(kgo.ConsumeTopics(opts.Topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		return nil, err
	}
	r := &reader{
		topic: opts.Topic, run: run, client: client, done: make(chan struct{}),
		reads: make(map[int]int), next: make(map[int32]int64),
	}
	go r.poll()
	return r, nil
}

func (r *reader) close() {
	r.client.Close()
	<-r.done
}

// poll reads until the client is closed.
func (r *reader) poll() {
	defer close(r.done)
	for {
		fetches := r.client.PollFetches(context.Background()) //nolint:forbidigo // close ends it
		if fetches.IsClientClosed() {
			return
		}
		r.mu.Lock()
		for _, record := range fetches.Records() {
			if run, n := decode(record.Value); run == r.run {
				r.reads[n]++
			}
			r.next[record.Partition] = record.Offset + 1
		}
		r.mu.Unlock()
	}
}

// drain waits until everything that is in the topic now was read, and returns
// how often each of the run's records was, by number.
func (r *reader) drain(ctx context.Context, size int) ([]int, error) {
	ends, err := listEnds(ctx, kadm.NewClient(r.client), r.topic)
	if err != nil {
		return nil, err
	}
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		behind := r.behind(ends)
		if behind == 0 {
			break
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("read %s to its end: %w; %d partitions left", r.topic, ctx.Err(), behind)
		case <-tick.C:
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	reads := make([]int, size)
	for n, count := range r.reads {
		if n < size {
			reads[n] = count
		}
	}
	return reads, nil
}

// behind counts the partitions of which something is still unread.
func (r *reader) behind(ends kadm.ListedOffsets) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	behind := 0
	ends.Each(func(o kadm.ListedOffset) {
		if r.next[o.Partition] < o.Offset {
			behind++
		}
	})
	return behind
}

// listEnds are the offsets that the next records will get.
func listEnds(ctx context.Context, admin *kadm.Client, topic string) (kadm.ListedOffsets, error) {
	ends, err := admin.ListEndOffsets(ctx, topic)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		return nil, fmt.Errorf("list the end offsets of %s: %w", topic, err)
	}
	return ends, nil
}
