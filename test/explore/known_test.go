package explore

import (
	"example.com/kpls-agent/internal/agent"
	"example.com/kpls-agent/test/truth"
)

// saysTruth holds the reason of every decision against the facts that it was made on.
func saysTruth(i int, after *vm, t agent.Turn) string {
	f := after.a.Facts()
	return truth.Known(int32(i+1), &f, t.Decision)
}
