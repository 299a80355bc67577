package sandbox

import (
	"fmt"
	"slices"
	"sync"
	"time"
)

// Figures are what a load run saw.
type Figures struct {
	Sent  int // records handed to the client
	Acked int // records that the brokers acknowledged
	// Failed records were given up by the client. A changefeed sends them again, so they may count in Acked too.
	Failed int
	// Lost records were acknowledged and never read, Duplicated ones read more than once. Known after the run only.
	Lost, Duplicated int
	// Rebuilt counts how often a changefeed tore its sink down.
	Rebuilt int
	// Late records were acknowledged more than lateAfter after their creation.
	Late int
	// LongestStall is the longest time from a record's creation to its
	// acknowledgement; P50 and P99 are the quantiles of that time.
	LongestStall, P50, P99 time.Duration
	// LastError is the last error of the client, for the reader.
	LastError string
}

// lateAfter is what people and other programs begin to notice.
const lateAfter = 500 * time.Millisecond

// String is one line.
func (f Figures) String() string {
	s := fmt.Sprintf(
		"sent %d, acked %d, failed %d, lost %d, duplicated %d, rebuilt %d, longest stall %.2f s, p50 %.3f s, p99 %.3f s",
		f.Sent, f.Acked, f.Failed, f.Lost, f.Duplicated, f.Rebuilt, f.LongestStall.Seconds(), f.P50.Seconds(),
		f.P99.Seconds())
	if f.LastError != "" {
		s += ", last error: " + f.LastError
	}
	return s
}

// ledger keeps account of numbered records.
type ledger struct {
	mu      sync.Mutex
	created []time.Time     // by number
	acked   []bool          // by number
	waits   []time.Duration // by number; of acknowledged records
	from    int             // waits count from this number on
	failed  int
	rebuilt int
	lastErr string
}

// create notes a new record and returns its number.
func (l *ledger) create() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.created = append(l.created, time.Now())
	l.acked = append(l.acked, false)
	l.waits = append(l.waits, 0)
	return len(l.created) - 1
}

// ack notes the first acknowledgement of a record.
func (l *ledger) ack(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.acked[n] {
		l.acked[n] = true
		l.waits[n] = time.Since(l.created[n])
	}
}

func (l *ledger) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failed++
	l.lastErr = err.Error()
}

// measure lets the waits count of records that are created from now on: before, a
// client may have been starting.
func (l *ledger) measure() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.from = len(l.created)
}

func (l *ledger) tornDown(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rebuilt++
	l.lastErr = err.Error()
}

// figures sums up; reads holds how often each record was read, or is nil during the run.
func (l *ledger) figures(reads []int) Figures {
	l.mu.Lock()
	defer l.mu.Unlock()
	f := Figures{Sent: len(l.created), Failed: l.failed, Rebuilt: l.rebuilt, LastError: l.lastErr}
	for n, count := range reads {
		if count == 0 && l.acked[n] {
			f.Lost++
		}
		if count > 1 {
			f.Duplicated++
		}
	}
	// A record that still waits is a stall already.
	for n, acked := range l.acked {
		if !acked && reads == nil {
			f.LongestStall = max(f.LongestStall, time.Since(l.created[n]))
			break // the oldest
		}
	}
	var counted waits
	for n, acked := range l.acked {
		if acked {
			f.Acked++
		}
		if acked && n >= l.from {
			counted = append(counted, l.waits[n])
		}
	}
	counted.sum(&f)
	return f
}

// waits are how long records waited.
type waits []time.Duration

// sum adds what they say of a run.
func (w waits) sum(f *Figures) {
	if len(w) == 0 {
		return
	}
	sorted := slices.Sorted(slices.Values(w))
	f.P50, f.P99 = sorted[len(sorted)/2], sorted[len(sorted)*99/100]
	f.LongestStall = max(f.LongestStall, sorted[len(sorted)-1])
	for _, wait := range sorted {
		if wait > lateAfter {
			f.Late++
		}
	}
}

// size is the number of records so far.
func (l *ledger) size() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.created)
}
