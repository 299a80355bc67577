// Package patience waits in tests for what happens in its own time: a goroutine, a process, a broker.
// It never decides whether something is fast enough; that belongs in benchmarks.
package patience

import (
	"testing"
	"time"
)

// Long is how long a test waits before it fails. Only a failing test takes as long. A machine with two cores that
// runs everything at the same time, this with a low priority, has taken more than 30 s for what else takes 3 s.
const Long = 4 * time.Minute

// Until waits until ok holds, and fails the test if it does not within [Long]. It looks every 5 ms.
func Until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	end, look := time.NewTimer(Long), time.NewTicker(5*time.Millisecond)
	defer end.Stop()
	defer look.Stop()
	for !ok() {
		select {
		case <-look.C:
		case <-end.C:
			t.Fatalf("not within %s: %s", Long, what)
		}
	}
}
