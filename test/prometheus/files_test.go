package prometheus

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"
)

// What the package ships.
const (
	alertsFile    = "../../packaging/prometheus/kpls-agent.alerts.yml"
	recordingFile = "../../packaging/prometheus/kpls-agent.recording.yml"
	exampleFile   = "../../packaging/prometheus/prometheus.example.yml"
	dashboardFile = "../../packaging/grafana/kpls-agent.json"
)

// program returns the path of prometheus or promtool, fetched if it must be.
func program(t *testing.T, name string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "../prometheus.sh", name)
	var log bytes.Buffer
	cmd.Stderr = &log
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", name, err, &log)
	}
	return strings.TrimSpace(string(out))
}

func promtool(t *testing.T, stdin []byte, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program(t, "promtool"), args...)
	cmd.Stdin = bytes.NewReader(stdin)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

func TestRules(t *testing.T) {
	promtool(t, nil, "check", "rules", recordingFile, alertsFile)
	promtool(t, nil, "check", "config", exampleFile)
	promtool(t, nil, "test", "rules", "rules_test.yml")
}

// rule is one rule of a file.
type rule struct {
	Alert, Record, Expr string
	Labels, Annotations map[string]string
}

func rules(t *testing.T, path string) []rule {
	t.Helper()
	var file struct {
		Groups []struct{ Rules []rule }
	}
	decode(t, path, yaml.Unmarshal, &file)
	var all []rule
	for _, g := range file.Groups {
		all = append(all, g.Rules...)
	}
	return all
}

func decode(t *testing.T, path string, unmarshal func([]byte, any) error, into any) {
	t.Helper()
	if err := unmarshal([]byte(text(t, path)), into); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

func text(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// Every alert fires in one case of rules_test.yml and is quiet in another, and
// every recorded series is compared with figures.
func TestEveryRuleIsTried(t *testing.T) {
	var file struct {
		Tests []struct {
			Cases []struct {
				Expr    string
				Samples []any `yaml:"exp_samples"`
			} `yaml:"promql_expr_test"`
		}
	}
	decode(t, "rules_test.yml", yaml.Unmarshal, &file)
	fires, quiet := map[string]bool{}, map[string]bool{}
	for _, group := range file.Tests {
		for _, c := range group.Cases {
			fires[c.Expr] = fires[c.Expr] || len(c.Samples) > 0
			quiet[c.Expr] = quiet[c.Expr] || len(c.Samples) == 0
		}
	}
	alerts := rules(t, alertsFile)
	if len(alerts) == 0 {
		t.Error("no alerts")
	}
	for _, r := range alerts {
		expr := fmt.Sprintf(`ALERTS{alertname=%q, alertstate="firing"}`, r.Alert)
		if !fires[expr] || !quiet[expr] {
			t.Errorf("%s: fires in a test %v, is quiet in a test %v", r.Alert, fires[expr], quiet[expr])
		}
		if s := r.Labels["severity"]; s != "critical" && s != "warning" {
			t.Errorf("%s has severity %q", r.Alert, s)
		}
		if r.Annotations["summary"] == "" || r.Annotations["description"] == "" {
			t.Errorf("%s lacks a summary or a description", r.Alert)
		}
	}
	for _, r := range rules(t, recordingFile) {
		if !fires[r.Record] {
			t.Errorf("%s is not tested", r.Record)
		}
	}
}

// docs/metrics.md has a row for each alert, and for nothing else.
func TestAlertsAreDocumented(t *testing.T) {
	_, section, _ := strings.Cut(text(t, "../../docs/metrics.md"), "## Alerts")
	var rows []string
	for _, m := range regexp.MustCompile("(?m)^\\| `(\\w+)` \\| (\\w+) \\|").FindAllStringSubmatch(section, -1) {
		rows = append(rows, m[1]+" "+m[2])
	}
	var want []string
	for _, r := range rules(t, alertsFile) {
		want = append(want, r.Alert+" "+r.Labels["severity"])
	}
	if !slices.Equal(rows, want) {
		t.Errorf("the alerts are documented as %q, and are %q", rows, want)
	}
}

// names returns the first group of every match, each once.
func names(expr, in string) []string {
	var out []string
	for _, m := range regexp.MustCompile(expr).FindAllStringSubmatch(in, -1) {
		out = append(out, m[1])
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// A metric, phase or reason that there is not makes a rule that never fires.
func TestOnlyWhatExistsIsNamed(t *testing.T) {
	metrics := names("\\| `(kpls_agent_\\w+)` \\|", text(t, "../../docs/metrics.md"))
	reasons, _, _ := strings.Cut(text(t, "../../docs/operations.md"), "\n## Commands")
	words := names("(?m)^\\| `(\\w+)` \\|", reasons)
	var exprs []string
	for _, r := range slices.Concat(rules(t, recordingFile), rules(t, alertsFile)) {
		exprs = append(exprs, r.Expr)
	}
	for _, p := range dashboard(t).Panels {
		for _, target := range p.Targets {
			exprs = append(exprs, target.Expr)
		}
	}
	all := strings.Join(exprs, "\n")
	for _, name := range names(`(?:^|[^\w:])(kpls_agent_\w+)`, all) {
		base := strings.TrimSuffix(strings.TrimSuffix(strings.TrimSuffix(name, "_bucket"), "_sum"), "_count")
		if !slices.Contains(metrics, name) && !slices.Contains(metrics, base) {
			t.Errorf("there is no metric %s", name)
		}
	}
	for _, list := range names(`(?:phase|reason)!?=~?"([^"$]+)"`, all) {
		for word := range strings.SplitSeq(list, "|") {
			if !slices.Contains(words, word) {
				t.Errorf("docs/operations.md knows no phase or reason %s", word)
			}
		}
	}
	for _, record := range rules(t, recordingFile) {
		if !strings.Contains(all, record.Record) {
			t.Errorf("nothing asks for %s", record.Record)
		}
	}
}

// board is a Grafana dashboard, as far as it matters here.
type board struct {
	Panels []struct {
		ID      int
		Type    string
		Title   string
		GridPos struct{ X, Y, W, H int }
		Targets []struct {
			RefID      string
			Expr       string
			Datasource struct{ Type, UID string }
		}
	}
	Templating struct {
		List []struct{ Name, Type, Definition string }
	}
}

func dashboard(t *testing.T) board {
	t.Helper()
	var b board
	decode(t, dashboardFile, json.Unmarshal, &b)
	return b
}

func TestDashboardIsWhole(t *testing.T) {
	b := dashboard(t)
	at, ids := map[[2]int]string{}, map[int]bool{}
	for _, p := range b.Panels {
		if ids[p.ID] {
			t.Errorf("panel id %d stands twice", p.ID)
		}
		ids[p.ID] = true
		if p.Title == "" || p.GridPos.X+p.GridPos.W > 24 {
			t.Errorf("panel %d (%s) at %+v", p.ID, p.Title, p.GridPos)
		}
		for x := range p.GridPos.W {
			for y := range p.GridPos.H {
				cell := [2]int{p.GridPos.X + x, p.GridPos.Y + y}
				if at[cell] != "" {
					t.Fatalf("%s lies over %s", p.Title, at[cell])
				}
				at[cell] = p.Title
			}
		}
		if (len(p.Targets) == 0) != (p.Type == "row") {
			t.Errorf("%s (%s) has %d queries", p.Title, p.Type, len(p.Targets))
		}
		for _, target := range p.Targets {
			if target.Datasource.Type != "prometheus" || target.Datasource.UID != "${datasource}" {
				t.Errorf("%s is bound to a data source of its own: %+v", p.Title, target.Datasource)
			}
		}
	}
}
