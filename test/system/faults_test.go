package system

import (
	"strings"

	"example.com/kpls-agent/test/machines"
	"example.com/kpls-agent/test/sandbox"
)

// fault starts a balancer and traffic through it.
func (s *system) fault() *traffic {
	s.Helper()
	s.haproxy(machines.Fast)
	return s.start(sandbox.NewLoad(s.through()), true)
}

// rolledBy ends a fault in which the agents restart each broker, times times all together.
func (t *traffic) rolledBy(times int) {
	t.s.Helper()
	if r := t.judge(); len(r) != times {
		t.s.Errorf("the agents asked for %d restarts: %v", len(r), r)
	}
}

func killedAtRest(s *system) {
	t := s.fault()
	for _, m := range s.Machines {
		s.on(m, "systemctl kill --signal=KILL kpls-agent")
		s.until("the agent of "+m.Name+" is there again", func() bool { return s.agent(m) == atRest })
	}
	t.rolledBy(0)
}

func upgraded(s *system) {
	t := s.fault()
	end := s.rollOut()
	first := s.turn("restarting")
	for _, m := range []*machines.Machine{first, s.other(first), s.other(s.other(first))} {
		s.on(m, "DEBIAN_FRONTEND=noninteractive apt-get -qq install -y "+newer)
	}
	end()
	t.rolledBy(machines.Brokers)
	for _, m := range s.Machines {
		if v := s.on(m, "dpkg-query -W kpls-agent"); !strings.Contains(v, "newer") {
			s.Errorf("%s runs %s", m.Name, v)
		}
	}
}
