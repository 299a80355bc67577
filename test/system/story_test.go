package system

import (
	"encoding/json"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"example.com/kpls-agent/test/machines"
	"example.com/kpls-agent/test/sandbox"
)

// story is the whole job: on three fresh VMs with Kafka, somebody pastes what README says. apt's hook
// restarts what uses replaced libraries, which every broker does, and restarts no broker.
func story(s *system) {
	t := s.T
	lb := s.boot()
	defer lb.Close()
	begun := time.Now()
	traffic := s.start(sandbox.NewLoad(s.within()), false) // the probes open when all brokers serve
	for _, m := range s.Machines {
		s.on(m, replaceLibrary)
	}
	r := s.readme()
	r.change("write", map[string]string{"brokers:\n": "rollout: {soak: 2s}\nbrokers:\n"})
	r.paste("write")
	installed := r.paste("install")
	if n := strings.Count(installed, "systemctl restart kafka.service"); n != machines.Brokers || !strings.Contains(installed, "deferred") {
		t.Errorf("needrestart deferred the restart of %d brokers", n)
	}
	if n := strings.Count(installed, "kpls-agent: next: kpls-agent check"); n != machines.Brokers {
		t.Errorf("%d installations have nothing left to do", n)
	}
	for _, m := range s.Machines {
		if n := s.starts(m, traffic.begun); n > 0 {
			t.Errorf("the installation restarted the broker of %s", m.Name)
		}
	}
	r.paste("check")
	watched := r.watch("roll out", s.settled)
	for _, alarm := range []string{"do not see this broker", "delete it"} {
		if strings.Contains(watched, alarm) {
			t.Errorf("nothing went wrong, and for a moment status said %q", alarm)
		}
	}
	measured("README pasted to EXTERNAL on all brokers", time.Since(begun).Seconds(), "s", "soak 2 s")
	restarts := traffic.judge()
	if len(restarts) != machines.Brokers {
		t.Errorf("%d restarts for %d brokers: %v", len(restarts), machines.Brokers, restarts)
	}
	for _, m := range s.Machines {
		if n := s.starts(m, traffic.begun); n != 1 {
			t.Errorf("the broker of %s was started %d times", m.Name, n)
		}
		s.until("the load balancer finds "+m.Name, func() bool { return lb.Up(m.ID) })
		s.says(m, "systemctl --failed --no-legend", "")
	}
	s.checked()
	r.paste("verify")
	s.scraped()
}

// boot switches the fresh machines on, with a load balancer and Prometheus, and waits for three brokers.
func (s *system) boot() *machines.Balancer {
	s.Helper()
	lb, err := s.HAProxy(s.Context(), machines.Fast)
	if err != nil {
		s.Fatal(err)
	}
	rules, err := filepath.Abs(filepath.Join("..", "..", "packaging", "prometheus"))
	if err != nil {
		s.Fatal(err)
	}
	stop, err := s.Prometheus(s.Context(), filepath.Join(rules, "kpls-agent.alerts.yml"), filepath.Join(rules, "kpls-agent.recording.yml"))
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(stop)

	begun := time.Now()
	if err := s.Start(s.Context()); err != nil {
		s.Fatal(err)
	}
	s.createTopic()
	measured("three machines switched on to three brokers serving", time.Since(begun).Seconds(), "s", "")
	return lb
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
