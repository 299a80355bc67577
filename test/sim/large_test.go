//go:build soak

package sim

import (
	"strings"
	"testing"
	"time"

	"example.com/kpls-agent/test/tables"
)

// TestLargeFleet measures hundreds of brokers and writes the table of
// docs/simulation.md. It takes many minutes: `make fleet`.
func TestLargeFleet(t *testing.T) {
	var table strings.Builder
	table.WriteString("| brokers | partitions | max_unavailable | roll-out | records/s | fetches/s an agent | observations/s | at rest: records/s | fetches/s an agent | observations/s | asks/s an agent |\n" +
		"| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n")
	for _, f := range []fleet{
		{brokers: 30, partitions: 20_000, maxUnavailable: 1},
		{brokers: 30, partitions: 20_000, maxUnavailable: 10},
		{brokers: 90, partitions: 60_000, maxUnavailable: 1},
		{brokers: 90, partitions: 60_000, maxUnavailable: 30},
		{brokers: 300, partitions: 200_000, maxUnavailable: 10},
		{brokers: 300, partitions: 200_000, maxUnavailable: 100},
		{brokers: 300, partitions: 200_000, maxUnavailable: 1},
	} {
		began := time.Now()
		f.play()
		if len(f.failures) > 0 {
			t.Fatal(f.failures)
		}
		t.Logf("%s(%s; %d steps)", f.row(), time.Since(began).Round(time.Second), f.during.steps)
		table.WriteString(f.row())
	}
	if err := tables.Replace(document, "fleet", table.String()); err != nil {
		t.Fatal(err)
	}
}
