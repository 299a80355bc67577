package check

import (
	"flag"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"example.com/kpls-agent/internal/config"
	"example.com/kpls-agent/internal/host"
	"example.com/kpls-agent/internal/restart"
	"example.com/kpls-agent/internal/settings"
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
		{"its agent is denied what who asks may do", Plan{Denied: "the service manager would refuse the restart", Plan: restart.Plan{
			Drift: "a rolling restart was asked for by ann", Order: []int32{1, 2}, Gates: gates[:1],
		}}},
		{"does not answer", Plan{Plan: restart.Plan{NoAnswer: "connection refused", Gates: gates, Order: []int32{}}}},
	} {
		c.plan.Broker, c.plan.Manifest = 1, "3fa9c1d2e4b5aaaa"
		fmt.Fprintf(&b, "# %s; differs: %v\n%s\n", c.name, c.plan.Differs(), c.plan.Text())
	}
	if err := tables.HoldFile(filepath.Join("testdata", "plans.txt"), b.String(), *update); err != nil {
		t.Error(err)
	}
}

// TestPlanDenied: who asks, often root, may restart the unit, and the broker's own agent is not permitted to.
func TestPlanDenied(t *testing.T) {
	const says = "the service manager would refuse the restart, so nothing is begun"
	for _, c := range []struct {
		code restart.Code
		asks string // why who asks is not permitted to
		want string
	}{
		{restart.CodeRestartDenied, "", says}, {restart.CodeRestartDenied, "not permitted", ""}, {restart.CodeInSync, "", ""},
	} {
		a := ahead(t)
		a.Facts.Right.Denied = c.asks
		a.Facts.Log.View.Statuses[a.Node.BrokerID] = restart.Status{Reason: *restart.NewReason(c.code, says)}
		if got := NewPlan(a).Denied; got != c.want {
			t.Errorf("%s, who asks %q: %q, want %q", c.code, c.asks, got, c.want)
		}
	}
}

// ahead is a VM of broker 1 without a server.properties, with a log in which nobody has reported.
func ahead(t *testing.T) Ahead {
	t.Helper()
	m, err := config.ParseManifest("m.yaml", []byte("version: 1\ncluster: c\nabsent: [OLD]\n"))
	if err != nil {
		t.Fatal(err)
	}
	vm := &settings.Settings{ServerProperties: filepath.Join(t.TempDir(), "server.properties"), StateDir: t.TempDir()}
	a := Ahead{VM: vm, Manifest: m, Files: host.ViewFiles(vm, 1, host.Holding(vm, m))}
	a.Node.BrokerID = 1
	a.Facts.Now = time.Now()
	a.Facts.Log = restart.LogFacts{At: a.Facts.Now, View: restart.NewView()}
	return a
}
