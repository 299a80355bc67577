// Package wait has the two small things that every part with a loop needs: to wait for a while, and to
// wake somebody. It knows nothing of what is waited for.
package wait

import (
	"context"
	"time"
)

// For waits; it is false if ctx ended first.
func For(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// Wake signals a channel of capacity 1: whoever reads it wakes once, however often it was signalled.
func Wake(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
