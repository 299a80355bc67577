package system

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"example.com/kpls-agent/test/machines"
	"example.com/kpls-agent/test/sandbox"
)

// story is the whole job: three fresh VMs are given a cloud-init file, and
// nothing else is done to them.
func story(s *system) {
	t := s.T
	lb, err := s.HAProxy(t.Context(), machines.Fast)
	if err != nil {
		t.Fatal(err)
	}
	defer lb.Close()
	rules, err := filepath.Abs(filepath.Join("..", "..", "packaging", "prometheus"))
	if err != nil {
		t.Fatal(err)
	}
	stop, err := s.Prometheus(t.Context(), filepath.Join(rules, "kpls-agent.alerts.yml"), filepath.Join(rules, "kpls-agent.recording.yml"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)

	begun := time.Now()
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.createTopic()
	measured("three machines switched on to three brokers serving", time.Since(begun).Seconds(), "s", "with cloud-init at the same time")
	traffic := s.start(sandbox.NewLoad(s.within()), false) // the probes open when all brokers serve
	s.settled()
	measured("three machines switched on to EXTERNAL on all brokers", time.Since(begun).Seconds(), "s", "soak 2 s")
	restarts := traffic.judge()
	if len(restarts) != machines.Brokers {
		t.Errorf("%d restarts for %d brokers: %v", len(restarts), machines.Brokers, restarts)
	}
	for _, m := range s.Machines {
		s.until("the load balancer finds "+m.Name, func() bool { return lb.Up(m.ID) })
		if out := s.on(m, "cloud-init status; systemctl --failed --no-legend"); !strings.Contains(out, "status: done") || strings.Contains(out, "failed") {
			t.Errorf("%s: %s", m.Name, out)
		}
	}
	s.checked()
	s.verify()
	s.scraped()
}

// checked expects that cloud-init has nothing to say of the package's example, and
// the preflight nothing of the VMs it made.
func (s *system) checked() {
	s.Helper()
	m := s.Machine(1)
	const example = "/usr/share/doc/kpls-agent/examples/user-data"
	// One release says "cloud-config:", the next one "schema", and each one more line where it finds something.
	s.says(m, "cloud-init schema --config-file "+example+" 2>&1 | sed 's/^Valid [a-z:-]* /Valid: /'", "Valid: "+example)
	for _, m := range s.Machines {
		out := s.on(m, "kpls-agent check")
		for line := range strings.Lines(out) {
			// A container has the clock of its host.
			if !strings.HasPrefix(line, "ok ") && !strings.Contains(line, "clock synchronization") {
				s.Errorf("check on %s: %s", m.Name, line)
			}
		}
	}
}

// verify is the customer's look, by the published names.
func (s *system) verify() {
	s.Helper()
	ctx, cancel := context.WithTimeout(s.Context(), patience)
	defer cancel()
	program := s.Machines[0].Root() + "/usr/bin/kpls-agent"
	manifest := s.Machines[0].Root() + "/etc/kpls-agent/manifest.yaml"
	out, err := s.Client.Command(ctx, program, "verify", "--listener", "EXTERNAL", "--bootstrap", "b1."+machines.Domain+":9093", "--manifest", manifest).CombinedOutput()
	s.Logf("verify:\n%s", out)
	if err != nil {
		s.Errorf("verify: %v", err)
	}
}

// scraped waits until Prometheus has seen all agents at rest, and expects that no
// alert fires or is about to.
func (s *system) scraped() {
	s.Helper()
	s.until("Prometheus has seen three agents at rest", func() bool {
		value, err := s.query(`sum(up * on(instance) kpls_agent_phase{phase="idle"})`)
		return err == nil && value == "3"
	})
	if value, err := s.query(`count(ALERTS) or vector(0)`); err != nil || value != "0" {
		text, _ := s.get(machines.PrometheusAddr, "/api/v1/alerts") // what there is to see
		s.Errorf("%s alerts, %v: %s", value, err, text)
	}
}

// query asks Prometheus for one number.
func (s *system) query(expr string) (string, error) {
	text, err := s.get(machines.PrometheusAddr, "/api/v1/query?query="+url.QueryEscape(expr))
	if err != nil {
		return "", err
	}
	var answer struct {
		Data struct {
			Result []struct {
				Value [2]any `json:"value"`
			} `json:"result"`
		} `json:"data"`
	}
	if err := json.Unmarshal([]byte(text), &answer); err != nil {
		return "", err
	}
	if len(answer.Data.Result) != 1 {
		return "", fmt.Errorf("%s has %d results", expr, len(answer.Data.Result))
	}
	return fmt.Sprint(answer.Data.Result[0].Value[1]), nil
}
