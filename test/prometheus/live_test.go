package prometheus

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"example.com/kpls-agent/test/fleet"
	"example.com/kpls-agent/test/sandbox"
)

// patience bounds every wait; nothing is measured by it.
const patience = 4 * time.Minute

// TestOnRealBrokers has a real Prometheus scrape the agents of three real
// brokers through a roll-out: every query is answered, nothing fires; then the
// faults that alerts are for begin, and they are seen.
func TestOnRealBrokers(t *testing.T) {
	f := startFleet(t)
	p := startServer(t, f)
	probed(t, f)
	p.until(t, "all agents are scraped", func() bool { return len(p.query(t, "kpls_agent_restart_duration_seconds_count")) == 3 })
	manifest := f.Manifest(fleet.ManifestOptions{})
	if err := f.WriteManifest(manifest); err != nil {
		t.Fatal(err)
	}
	wait(t, f, "the roll-out is over", func(r fleet.Report) bool {
		return r.State == "idle" && slices.Equal(r.Active, []string{"EXTERNAL"}) && r.All(3, func(row fleet.Row) bool {
			return row.Phase == "idle" && !row.Drift && len(row.Open) == 1
		})
	})

	t.Run("metrics", func(t *testing.T) {
		// The Go runtime's and the process's own names are not ours to judge.
		var own strings.Builder
		for line := range strings.Lines(get(t, "http://"+f.Agents[0].HTTP()+"/metrics")) {
			if strings.Contains(line, "kpls_agent_") {
				own.WriteString(line)
			}
		}
		promtool(t, []byte(own.String()), "check", "metrics")
		for _, name := range names("\\| `(kpls_agent_\\w+)` \\|", text(t, "../../docs/metrics.md")) {
			// Some have series only while a roll-out is under way: this one was just now.
			if len(p.query(t, fmt.Sprintf(`last_over_time({__name__=~"%s(_bucket)?"}[10m])`, name))) == 0 {
				t.Errorf("no agent has %s", name)
			}
		}
	})
	t.Run("recorded", func(t *testing.T) {
		for _, r := range rules(t, recordingFile) {
			p.until(t, r.Record+" has data", func() bool { return len(p.query(t, r.Record)) > 0 })
		}
		for query, want := range map[string]string{
			"kafka_cluster:kpls_agent_up:sum": "3", "kafka_cluster:kpls_agent_broker_up:sum": "3", "kafka_cluster:kpls_agent_pending_brokers:max": "0",
			"kafka_cluster:kpls_agent_halted:max": "0", "kafka_cluster:kpls_agent_paused:max": "0", "kafka_cluster:kpls_agent_manifests:count": "1",
			"kafka_cluster_listener:kpls_agent_probe_open:sum": "3",
		} {
			p.until(t, query+" is "+want, func() bool { return slices.Equal(p.query(t, query), []string{want}) })
		}
	})
	t.Run("dashboard", func(t *testing.T) { p.answersDashboard(t) })
	t.Run("quiet", func(t *testing.T) {
		p.until(t, "no alert is near", func() bool { return len(p.alerts(t)) == 0 })
	})
	t.Run("alerts", func(t *testing.T) { faults(t, f, p) })
}

// probed lets a load balancer ask every probe port until the test ends.
func probed(t *testing.T, f *fleet.Fleet) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan struct{})
	go func() {
		defer close(done)
		var d net.Dialer
		sandbox.Every(ctx, time.Second, func() {
			for _, a := range f.Agents {
				if conn, err := d.DialContext(ctx, "tcp", a.Probe()); err == nil { // closed until the roll-out is over
					_ = conn.Close() // that is all of a TCP probe
				}
			}
		})
	}()
	t.Cleanup(func() { cancel(); <-done })
}

// faults brings about what alerts are for, all at the same time, and looks for
// each alert with its broker. Its rule's `for` need not pass: that it does is promtool's to say.
func faults(t *testing.T, f *fleet.Fleet, p *server) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	at := func(id int32) string { return "instance=" + f.Agent(id).HTTP() }
	if _, stderr, code := f.Agents[0].Command(ctx, "pause"); code != 0 {
		t.Fatalf("pause: %s", stderr)
	}
	if err := f.Agent(1).WriteManifest("version: 2\n"); err != nil {
		t.Fatal(err)
	}
	if err := f.Agent(2).WriteManifest(f.Manifest(fleet.ManifestOptions{FirstPort: 9193})); err != nil {
		t.Fatal(err)
	}
	if err := f.Cluster.Brokers[2].Kill(ctx); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"KplsRolloutPaused kafka_cluster=sandbox", "KplsManifestNotInForce " + at(1),
		"KplsManifestsDiffer kafka_cluster=sandbox", "KplsBrokerDown " + at(3),
	} {
		p.until(t, want, func() bool { return slices.Contains(p.alerts(t), want) })
	}
	f.Agent(2).Kill()
	p.until(t, "the dead agent is noticed", func() bool { return slices.Contains(p.alerts(t), "KplsAgentDown "+at(2)) })
}

// answersDashboard asks every query as Grafana does, with all of each variable.
func (p *server) answersDashboard(t *testing.T) {
	b := dashboard(t)
	fill := strings.NewReplacer("$kafka_cluster", ".*", "$instance", ".*", "$__rate_interval", "1m")
	quiet := 0
	for _, panel := range b.Panels {
		for _, target := range panel.Targets {
			expr := fill.Replace(target.Expr)
			if strings.Contains(expr, "ALERTS{") { // a healthy cluster has none
				quiet++
				if got := p.query(t, expr); len(got) > 0 {
					t.Errorf("%s: %v", panel.Title, got)
				}
				continue
			}
			p.until(t, panel.Title+" has data", func() bool {
				got := p.query(t, expr)
				return len(got) > 0 && !slices.Contains(got, "NaN")
			})
		}
	}
	if quiet != 1 {
		t.Errorf("%d panels show alerts", quiet)
	}
	for _, v := range b.Templating.List {
		if v.Type != "query" {
			continue
		}
		m := regexp.MustCompile(`^label_values\((.+), (\w+)\)$`).FindStringSubmatch(v.Definition)
		if m == nil {
			t.Fatalf("variable %s: %s", v.Name, v.Definition)
		}
		if got := p.query(t, fmt.Sprintf("count by (%s) (%s)", m[2], fill.Replace(m[1]))); len(got) == 0 {
			t.Errorf("variable %s has no values", v.Name)
		}
	}
}

func startFleet(t *testing.T) *fleet.Fleet {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	dir := t.TempDir()
	bin, err := fleet.Build(ctx, dir)
	if err != nil {
		t.Fatal(err)
	}
	c, err := sandbox.New(ctx, sandbox.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := c.Start(ctx); err != nil {
		t.Fatal(err)
	}
	f, err := fleet.New(c, bin, dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	t.Cleanup(func() {
		if !t.Failed() {
			return
		}
		for _, a := range f.Agents {
			log, _ := os.ReadFile(a.Log()) // without it there is nothing to show
			t.Logf("agent %d:\n%s", a.ID, log[max(0, len(log)-4000):])
		}
	})
	if err := f.Start(ctx); err != nil {
		t.Fatal(err)
	}
	return f
}

func wait(t *testing.T, f *fleet.Fleet, what string, ok func(fleet.Report) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if _, err := f.Wait(ctx, what, ok); err != nil {
		t.Fatal(err)
	}
}

// server is a real Prometheus.
type server struct{ base string }

// startServer scrapes the agents every second, as the example does.
func startServer(t *testing.T, f *fleet.Fleet) *server {
	t.Helper()
	dir := t.TempDir()
	var targets []string
	for _, a := range f.Agents {
		targets = append(targets, a.HTTP())
	}
	absolute := func(path string) string {
		abs, err := filepath.Abs(path)
		if err != nil {
			t.Fatal(err)
		}
		return abs
	}
	cfg, err := json.Marshal(map[string]any{ // which is YAML, too
		"global":     map[string]any{"scrape_interval": "1s", "evaluation_interval": "1s"},
		"rule_files": []string{absolute(recordingFile), absolute(alertsFile)},
		"scrape_configs": []any{map[string]any{
			"job_name":       "kpls-agent",
			"static_configs": []any{map[string]any{"targets": targets, "labels": map[string]any{"kafka_cluster": "sandbox"}}},
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(config, cfg, 0o600); err != nil {
		t.Fatal(err)
	}
	// The cluster's own address for it: nobody else listens there.
	addr := f.Cluster.Host(100) + ":9090"
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program(t, "prometheus"), "--config.file="+config, "--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+addr)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // it must not outlive a test that is killed
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // an error means that it has ended
		if err := cmd.Wait(); err != nil || t.Failed() {
			out, _ := os.ReadFile(log.Name())
			t.Logf("prometheus: %v\n%s", err, out)
		}
		_ = log.Close()
	})
	p := &server{"http://" + addr}
	p.until(t, "Prometheus is ready", func() bool {
		resp, err := http.Get(p.base + "/-/ready")
		if err != nil {
			return false
		}
		_ = resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
	return p
}

func (p *server) until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(200 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited until: %s; alerts: %v", what, p.alerts(t))
		}
	}
}

func get(t *testing.T, url string) string {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s %v\n%s", url, resp.Status, err, body)
	}
	return string(body)
}

// query returns the values of an instant query's series.
func (p *server) query(t *testing.T, expr string) []string {
	t.Helper()
	var answer struct {
		Status string
		Data   struct {
			Result []struct{ Value [2]any }
		}
	}
	if err := json.Unmarshal([]byte(get(t, p.base+"/api/v1/query?query="+url.QueryEscape(expr))), &answer); err != nil || answer.Status != "success" {
		t.Fatalf("%s: %+v %v", expr, answer, err)
	}
	var values []string
	for _, r := range answer.Data.Result {
		values = append(values, fmt.Sprint(r.Value[1]))
	}
	return values
}

// alerts returns every alert that fires, or will after its rule's `for`: its
// name and the label that says where. Every rule must be healthy.
func (p *server) alerts(t *testing.T) []string {
	t.Helper()
	var answer struct {
		Data struct {
			Groups []struct {
				Rules []struct {
					Name, Health, LastError string
					Alerts                  []struct{ Labels, Annotations map[string]string }
				}
			}
		}
	}
	if err := json.Unmarshal([]byte(get(t, p.base+"/api/v1/rules")), &answer); err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, g := range answer.Data.Groups {
		for _, r := range g.Rules {
			if r.Health == "err" {
				t.Fatalf("%s: %s", r.Name, r.LastError)
			}
			for _, a := range r.Alerts {
				for text := range maps.Values(a.Annotations) {
					if strings.Contains(text, "error expanding") {
						t.Errorf("%s: %s", r.Name, text)
					}
				}
				where := "kafka_cluster=" + a.Labels["kafka_cluster"]
				if a.Labels["instance"] != "" {
					where = "instance=" + a.Labels["instance"]
				}
				out = append(out, r.Name+" "+where)
			}
		}
	}
	return out
}
