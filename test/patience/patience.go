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
	for end := time.Now().Add(Long); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %s: %s", Long, what)
		}
	}
}
