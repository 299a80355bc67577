package sim

import (
	"os"
	"runtime/debug"
	"strconv"
	"testing"
)

// runs is how many seeds TestSimulation plays; SIM_RUNS says another number and
// SIM_SEED plays one and prints its events.
const runs = 150

// seldom lets the collector run when the heap has grown to 17 times what is in use, not to twice: a run makes much
// garbage and keeps little, about 5 MB. It takes 150 MB for that, and saves a fifth of the time.
func seldom(tb testing.TB) {
	tb.Helper()
	was := debug.SetGCPercent(1600)
	tb.Cleanup(func() { debug.SetGCPercent(was) })
}

func TestSimulation(t *testing.T) {
	seldom(t)
	if one := os.Getenv("SIM_SEED"); one != "" {
		seed, err := strconv.ParseUint(one, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		r := play(seed, true)
		t.Logf("seed %d\n%s", seed, r.transcript())
		if len(r.failures) > 0 {
			t.Fatal(r.failures)
		}
		return
	}
	n, first := number(t, "SIM_RUNS", runs), number(t, "SIM_FIRST", 0)
	for part := range uint64(2) {
		t.Run(strconv.FormatUint(part, 10), func(t *testing.T) {
			t.Parallel()
			for seed := first + part; seed < first+n; seed += 2 {
				if r := play(seed, false); len(r.failures) > 0 {
					t.Fatalf("seed %d: %v\nagain: SIM_SEED=%d go test -run TestSimulation ./test/sim\n%s", seed, r.failures, seed, play(seed, true).transcript())
				}
			}
		})
	}
}

func number(t *testing.T, name string, otherwise uint64) uint64 {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

// TestSimulationReplays plays seeds twice.
func TestSimulationReplays(t *testing.T) {
	seldom(t)
	for seed := range uint64(20) {
		a, b := play(seed, true), play(seed, true)
		if a.transcript() != b.transcript() {
			t.Fatalf("seed %d went two ways", seed)
		}
		if c := play(seed, false); len(c.failures) != len(a.failures) || !c.now.Equal(a.now) {
			t.Fatalf("seed %d goes another way when nothing is recorded", seed)
		}
	}
}

func BenchmarkSimulation(b *testing.B) {
	seldom(b)
	seed, events := uint64(0), 0
	for b.Loop() {
		events += play(seed, false).played
		seed++
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "seeds/s")
	b.ReportMetric(float64(events)/b.Elapsed().Seconds(), "events/s")
}
