package sandbox

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Group is consumers that share a topic. Its Figures are about deliveries: a
// record was sent when its producer made it, and is acknowledged when the first
// member has it. The topic must be without transactions, whose marks have offsets too.
type Group struct {
	opts    LoadOptions
	members int
	name    string

	mu         sync.Mutex
	begin, end map[int32]int64         // guarded by mu; of what the group is to read, end after the run only
	reads      map[int32]map[int64]int // guarded by mu; deliveries by partition and offset
	waits      waits                   // guarded by mu; of records made after from
	from       time.Time               // guarded by mu
	acked      int                     // guarded by mu
	failed     int                     // guarded by mu
	lastErr    string                  // guarded by mu
}

// NewGroup returns a group; Run runs it.
func NewGroup(opts LoadOptions, members int) *Group {
	return &Group{
		opts: opts.withDefaults(), members: members, name: fmt.Sprintf("group-%x", rand.Uint64()),
		begin: make(map[int32]int64), end: make(map[int32]int64), reads: make(map[int32]map[int64]int),
	}
}

// Run reads what is written from now on, until ctx ends; then it waits until the
// topic is read to its end, and sums up. An error means that there is no account.
func (g *Group) Run(ctx context.Context) (Figures, error) {
	rest := context.WithoutCancel(ctx)
	plain, err := g.opts.client()
	if err != nil {
		return Figures{}, err
	}
	defer plain.Close()
	admin := kadm.NewClient(plain)
	if err := g.setOut(ctx, admin); err != nil {
		return Figures{}, err
	}
	polling, stop := context.WithCancel(rest)
	var members sync.WaitGroup
	defer members.Wait()
	defer stop()
	for range g.members {
		member, err := g.opts.client(kgo.ConsumerGroup(g.name), kgo.ConsumeTopics(g.opts.Topic))
		if err != nil {
			return Figures{}, err
		}
		members.Go(func() {
			defer member.Close()
			g.poll(polling, member)
		})
	}
	<-ctx.Done()
	return g.drain(rest, admin)
}

// setOut commits the topic's ends for the group, so whatever is written later is
// its to read. It tries again as long as the group's coordinator is being found.
func (g *Group) setOut(ctx context.Context, admin *kadm.Client) error {
	ctx, cancel := context.WithTimeout(ctx, drainTimeout)
	defer cancel()
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	var ends kadm.ListedOffsets
	for {
		var err error
		if ends, err = listEnds(ctx, admin, g.opts.Topic); err == nil {
			err = admin.CommitAllOffsets(ctx, g.name, ends.Offsets())
		}
		if err == nil {
			break
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("let %s begin at the end of %s: %w", g.name, g.opts.Topic, err)
		case <-tick.C:
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	ends.Each(func(o kadm.ListedOffset) {
		g.begin[o.Partition], g.reads[o.Partition] = o.Offset, make(map[int64]int)
	})
	return nil
}

func (g *Group) poll(ctx context.Context, member *kgo.Client) {
	for {
		fetches := member.PollFetches(ctx)
		if ctx.Err() != nil {
			return
		}
		g.mu.Lock()
		fetches.EachError(func(_ string, _ int32, err error) {
			g.failed++
			g.lastErr = err.Error()
		})
		for _, r := range fetches.Records() {
			if g.reads[r.Partition][r.Offset]++; g.reads[r.Partition][r.Offset] == 1 {
				g.acked++
				if r.Timestamp.After(g.from) {
					g.waits = append(g.waits, time.Since(r.Timestamp))
				}
			}
		}
		g.mu.Unlock()
	}
}

// drain waits until everything that is in the topic now was read.
func (g *Group) drain(ctx context.Context, admin *kadm.Client) (Figures, error) {
	ctx, cancel := context.WithTimeout(ctx, drainTimeout)
	defer cancel()
	ends, err := listEnds(ctx, admin, g.opts.Topic)
	if err != nil {
		return Figures{}, err
	}
	g.mu.Lock()
	ends.Each(func(o kadm.ListedOffset) { g.end[o.Partition] = o.Offset })
	g.mu.Unlock()
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		f := g.Figures()
		if f.Lost == 0 {
			return f, nil
		}
		select {
		case <-ctx.Done():
			return f, nil // what is not read by now is lost
		case <-tick.C:
		}
	}
}

// Measure lets the stalls count of records that are made from now on.
func (g *Group) Measure() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.from = time.Now()
}

// Figures are those so far; Sent and Lost are known after the run only.
func (g *Group) Figures() Figures {
	g.mu.Lock()
	defer g.mu.Unlock()
	f := Figures{Acked: g.acked, Failed: g.failed, LastError: g.lastErr}
	for partition, end := range g.end {
		f.Sent += int(end - g.begin[partition])
	}
	f.Lost = f.Sent
	for partition, offsets := range g.reads {
		for offset, count := range offsets {
			if offset >= g.begin[partition] && offset < g.end[partition] {
				f.Lost--
			}
			if count > 1 {
				f.Duplicated++
			}
		}
	}
	g.waits.sum(&f)
	return f
}
