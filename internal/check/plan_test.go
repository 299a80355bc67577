package check

import (
	"flag"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"example.com/kpls-agent/internal/restart"
	"example.com/kpls-agent/test/tables"
)

var update = flag.Bool("update", false, "write the golden files")

// TestPlanText: what plan prints of a broker that is to go, that is on its way, that needs nothing, and that is refused.
// What does not apply to a broker is not printed.
func TestPlanText(t *testing.T) {
	gates := []restart.GateResult{{Name: restart.CodeGateViews, Passes: true}, {Name: restart.CodeGateBrokers, Blocked: "broker 3 is down"}}
	paused := restart.NewReason(restart.CodePaused, "paused by ann; `kpls-agent resume` ends it")
	refused := restart.NewReason(restart.CodeRefused, "broker 7 is not in the manifest")
	var b strings.Builder
	for _, c := range []struct {
		name string
		plan Plan
	}{
		{"to go", Plan{Diff: "-a\n+b\n", Plan: restart.Plan{
			Drift: "the process does not have EXTERNAL yet", Order: []int32{1, 2}, Gates: gates, Blocked: paused,
			Also: []restart.Reason{*restart.NewReason(restart.CodeTurn, "broker 2 goes first")},
		}}},
		{"on its way", Plan{own: "healthy; must stay so for 1m0s", Plan: restart.Plan{Order: []int32{2, 3}, UnderWay: []int32{1}}}},
		{"needs nothing, and others wait", Plan{Plan: restart.Plan{Order: []int32{3}, UnderWay: []int32{2}, Blocked: paused}}},
		{"needs nothing", Plan{Plan: restart.Plan{Order: []int32{}}}},
		{"refused", Plan{Refusal: refused.Text(), Plan: restart.Plan{Order: []int32{}, Blocked: refused}}},
		{"does not answer", Plan{Plan: restart.Plan{NoAnswer: "connection refused", Gates: gates, Order: []int32{}}}},
	} {
		c.plan.Broker, c.plan.Manifest = 1, "3fa9c1d2e4b5aaaa"
		fmt.Fprintf(&b, "# %s; differs: %v\n%s\n", c.name, c.plan.Differs(), c.plan.Text())
	}
	if err := tables.HoldFile(filepath.Join("testdata", "plans.txt"), b.String(), *update); err != nil {
		t.Error(err)
	}
}
