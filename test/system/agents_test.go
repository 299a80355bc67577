package system

import (
	"context"
	"slices"
	"strings"
	"time"

	"example.com/kpls-agent/test/fleet"
	"example.com/kpls-agent/test/machines"
)

// agent is what an agent says of itself in its metrics.
type agent struct {
	phase, reason          string
	drift, claims, pending string
}

// agent asks the agent of a VM; zero if it does not answer.
func (s *system) agent(m *machines.Machine) agent {
	text, err := s.get(m.Metrics(), "/metrics")
	if err != nil {
		return agent{}
	}
	var a agent
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		name, label, _ := strings.Cut(strings.TrimPrefix(name, "kpls_agent_"), `="`)
		label = strings.TrimSuffix(label, `"}`)
		switch {
		case name == "phase{phase" && value == "1":
			a.phase = label
		case name == "reason{reason" && value == "1":
			a.reason = label
		case name == "drift":
			a.drift = value
		case name == "claims":
			a.claims = value
		case name == "pending_brokers":
			a.pending = value
		}
	}
	return a
}

// atRest is what agents say when nothing is left to do.
var atRest = agent{phase: "idle", reason: "in_sync", drift: "0", claims: "0", pending: "0"}

// settled waits until all agents are at rest and all probes open.
func (s *system) settled() {
	s.Helper()
	var agents []agent
	for deadline := time.Now().Add(patience); ; time.Sleep(200 * time.Millisecond) {
		agents = agents[:0]
		good := true
		for _, m := range s.Machines {
			a := s.agent(m)
			agents = append(agents, a)
			good = good && a == atRest && s.LB.Accepts(s.Context(), m.Probe())
		}
		if good {
			return
		}
		if time.Now().After(deadline) {
			s.Fatalf("the agents do not come to rest: %+v", agents)
		}
	}
}

// rollOut asks for a rolling restart, and returns what waits for its end.
func (s *system) rollOut() (end func()) {
	s.Helper()
	before := s.processes()
	s.on(s.Machines[0], "kpls-agent restart --yes")
	return func() {
		s.Helper()
		s.until("every broker has been restarted", func() bool {
			now := s.processes()
			for id, process := range before {
				if now[id] == "" || now[id] == process {
					return false
				}
			}
			return true
		})
		s.settled()
		if r := s.wait("the roll-out has ended", func(fleet.Report) bool { return true }); r.State != "idle" {
			s.Errorf("the roll-out has ended and the state is %s", r.State)
		}
	}
}

// processes identify the brokers' running processes; empty for one that cannot be asked.
func (s *system) processes() map[int32]string {
	out := map[int32]string{}
	for _, m := range s.Machines {
		out[m.ID] = s.invocation(m, "kafka")
	}
	return out
}

// invocation identifies the life of a service; empty if its VM cannot be asked.
func (s *system) invocation(m *machines.Machine, service string) string {
	ctx, cancel := context.WithTimeout(s.Context(), 5*time.Second)
	defer cancel()
	text, err := m.Output(ctx, "systemctl", "show", "--property=InvocationID", "--value", service+".service")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(text)
}

// turn waits until a broker, but not that on one VM, is in one of these phases of
// its restart, and returns its VM.
func (s *system) turn(but *machines.Machine, phases ...string) *machines.Machine {
	s.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		for _, m := range s.Machines {
			if phase := s.agent(m).phase; m != but && slices.Contains(phases, phase) {
				s.Logf("%s is %s", m.Name, phase)
				return m
			}
		}
		if time.Now().After(deadline) {
			s.Fatalf("no broker came to be %v", phases)
		}
	}
}

// other is another VM than m.
func (s *system) other(m *machines.Machine) *machines.Machine {
	return s.Machine(m.ID%machines.Brokers + 1)
}
