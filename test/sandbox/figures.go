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
	// LongestStall is the longest time from a record's creation to its
	// acknowledgement; P50 and P99 are the quantiles of that time.
	LongestStall, P50, P99 time.Duration
	// LastError is the last error of the client, for the reader.
	LastError string
}

// String is one line.
func (f Figures) String() string {
	s := fmt.Sprintf("sent %d, acked %d, failed %d, lost %d, duplicated %d, rebuilt %d, longest stall %.2f s, p50 %.3f s, p99 %.3f s",
		f.Sent, f.Acked, f.Failed, f.Lost, f.Duplicated, f.Rebuilt, f.LongestStall.Seconds(), f.P50.Seconds(), f.P99.Seconds())
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
	waits   []time.Duration // of acknowledged records
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
	return len(l.created) - 1
}

// ack notes the first acknowledgement of a record.
func (l *ledger) ack(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.acked[n] {
		l.acked[n] = true
		l.waits = append(l.waits, time.Since(l.created[n]))
	}
}

func (l *ledger) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failed++
	l.lastErr = err.Error()
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
	f := Figures{Sent: len(l.created), Acked: len(l.waits), Failed: l.failed, Rebuilt: l.rebuilt, LastError: l.lastErr}
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
	if waits := slices.Sorted(slices.Values(l.waits)); len(waits) > 0 {
		f.P50, f.P99 = waits[len(waits)/2], waits[len(waits)*99/100]
		f.LongestStall = max(f.LongestStall, waits[len(waits)-1])
	}
	return f
}

// size is the number of records so far.
func (l *ledger) size() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.created)
}
