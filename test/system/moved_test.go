package system

import (
	"maps"
	"net"
	"slices"
	"strings"
	"time"

	"example.com/kpls-agent/test/machines"
	"example.com/kpls-agent/test/sandbox"
)

// movedProbe: the manifest moves the probe port, and the load balancer does not follow for a while. It goes on finding
// every broker, also after an agent was restarted or killed in between; no broker is restarted, and no
// customer notices. A `bind` address that is nobody's is refused, and costs nothing, either.
func movedProbe(s *system) {
	const before, after = "probe_port: 39192", "probe_port: 39292"
	move := func(from, to string) func(string) string {
		return func(text string) string { return strings.Replace(text, from, to, 1) }
	}
	lb := s.haproxy(machines.Fast)
	t := s.start(sandbox.NewLoad(s.through()), false)
	processes := s.processes()
	at := func(m *machines.Machine, port string) bool {
		return s.LB.Accepts(s.Context(), net.JoinHostPort(m.Addr, port))
	}
	m := s.Machines[0]
	up := func(when string) {
		s.Helper()
		for _, m := range s.Machines {
			if !at(m, "39192") || !lb.Up(m.ID) {
				s.Errorf("%s: %s is taken out", when, m.Name)
			}
		}
	}

	s.manifest(move(before, after))
	up("the probe port has moved")
	s.until("kpls-agent status says that nobody asks the new port", func() bool {
		return strings.Contains(s.on(m, "kpls-agent status"), "no probe has come to it since the manifest moved it from 39192")
	})
	for _, command := range []string{"systemctl restart kpls-agent", "systemctl kill --signal=KILL kpls-agent"} {
		s.on(m, command)
		s.until("the agent is back", func() bool { return s.agent(m) == atRest })
		up(command)
	}

	s.manifest(move("bind: 0.0.0.0:", "bind: 192.0.2.1:"))
	s.until("the agents refuse an address that no VM has", func() bool {
		return !slices.ContainsFunc(s.Machines, func(m *machines.Machine) bool { return s.agent(m).reason != "refused" })
	})
	if text := s.on(m, "kpls-agent status; true"); !strings.Contains(text, "192.0.2.1 is no address of this machine") {
		s.Errorf("status says\n%s", text)
	}
	if text := s.on(m, "kpls-agent check; true"); !strings.Contains(text, "FAULT    port of EXTERNAL: the address is none of this machine's") {
		s.Errorf("check says\n%s", text)
	}
	up("an address that no VM has")
	s.manifest(move("bind: 192.0.2.1:", "bind: 0.0.0.0:"))

	t.judge()
	if now := s.processes(); !maps.Equal(processes, now) {
		s.Errorf("brokers were restarted: %v, before %v", now, processes)
	}

	// The load balancer still asks the port before: whoever asks the new one first takes the brokers out.
	for _, m := range s.Machines {
		s.until("the port before closes with the first probe of the new one", func() bool { return at(m, "39292") && !at(m, "39192") })
	}
	begun := time.Now()
	s.manifest(move(after, before))
	for _, m := range s.Machines {
		s.until("the port is where it was", func() bool { return at(m, "39192") && !at(m, "39292") })
		s.until("the load balancer finds "+m.Name, func() bool { return lb.Up(m.ID) })
	}
	s.settled()
	measured("probe port moved back, to all brokers found again", time.Since(begun).Seconds(), "s", "")
}
