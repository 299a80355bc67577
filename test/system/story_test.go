package system

import (
	"context"
	"encoding/json"
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
	stop, err := s.Prometheus(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer stop()

	begun := time.Now()
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.createTopic()
	traffic := s.start(sandbox.NewLoad(s.within()), false) // the probes open when all brokers serve
	s.settled()
	t.Logf("switched on to EXTERNAL on three brokers: %.1f s", time.Since(begun).Seconds())
	restarts := traffic.judge()
	if len(restarts) != machines.Brokers {
		t.Errorf("%d restarts for %d brokers: %v", len(restarts), machines.Brokers, restarts)
	}
	for _, m := range s.Machines {
		s.until("the balancer finds "+m.Name, func() bool { return lb.Up(m.ID) })
		if out := s.on(m, "cloud-init status; systemctl --failed --no-legend"); !strings.Contains(out, "status: done") || strings.Contains(out, "failed") {
			t.Errorf("%s: %s", m.Name, out)
		}
	}
	s.verify()
	s.scraped()
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

// scraped waits until Prometheus has seen all agents at rest.
func (s *system) scraped() {
	s.Helper()
	s.until("Prometheus has seen three agents at rest", func() bool {
		text, err := s.get(machines.PrometheusAddr, "/api/v1/query?query=sum(up*on(instance)kpls_agent_phase%7Bphase=%22idle%22%7D)")
		var answer struct {
			Data struct {
				Result []struct {
					Value [2]any `json:"value"`
				} `json:"result"`
			} `json:"data"`
		}
		return err == nil && json.Unmarshal([]byte(text), &answer) == nil && len(answer.Data.Result) == 1 && answer.Data.Result[0].Value[1] == "3"
	})
}
