package e2e

import (
	"strings"
	"testing"

	"example.com/kpls-agent/test/fleet"
	"example.com/kpls-agent/test/sandbox"
)

// TestVoidMinISR: in a new cluster of 4.4.0 the controller, whose file says nothing of it, writes
// min.insync.replicas=1 as everybody's default; the broker's own file says 2. `check` says which of them counts.
func TestVoidMinISR(t *testing.T) {
	t.Parallel()
	b := newCluster(t, sandbox.Options{Brokers: 1, Controllers: 1, Version: "4.4.0", Properties: func(id int32) map[string]string {
		if id == 1 {
			return map[string]string{"min.insync.replicas": "2"}
		}
		return nil
	}})
	b.give(b.fleet.Manifest(fleet.ManifestOptions{}))
	f := b.findings(1, "min.insync.replicas")
	if len(f) != 1 || f[0].Level != "warning" ||
		!strings.HasPrefix(f[0].Text, "server.properties has 2, and min.insync.replicas=1 of kafka-configs --entity-default counts") {
		t.Fatalf("check says %+v", f)
	}
	if err := b.SetDynamic(t.Context(), sandbox.AllBrokers, "min.insync.replicas", "2"); err != nil {
		t.Fatal(err)
	}
	b.until("the command that check gives is in force", func() bool { return len(b.findings(1, "min.insync.replicas")) == 0 })
}
