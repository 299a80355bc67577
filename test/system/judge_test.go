package system

import (
	"maps"
	"slices"
	"strings"
	"time"

	"example.com/kpls-agent/test/machines"
	"example.com/kpls-agent/test/sandbox"
)

// kafkaJudges: each broker's own Kafka refuses a manifest in which no rule of the agent's sees a fault, before any
// broker is restarted. It runs as the broker's user, and no secret of the file is left anywhere.
func kafkaJudges(s *system) {
	const secret, mistyped = "Str0mboli", "org.apache.kafka.common.security.plain.PlainLoginModul"
	processes := s.processes()
	m := s.Machines[0]
	plain := "    security_protocol: PLAINTEXT\n"
	sasl := "    security_protocol: SASL_PLAINTEXT\n    properties:\n      sasl.enabled.mechanisms: PLAIN\n" +
		"      plain.sasl.jaas.config: '" + mistyped + " required user_a=\"" + secret + "\";'\n"
	replace := func(from, to string) func(string) string {
		return func(text string) string { return strings.Replace(text, from, to, 1) }
	}
	begun := time.Now()
	s.manifest(replace(plain, sasl))
	s.until("each agent refuses what its Kafka refuses", func() bool {
		return !slices.ContainsFunc(s.Machines, func(m *machines.Machine) bool { return s.agent(m).reason != "refused" })
	})
	want := "Kafka " + sandbox.Version() + " itself would not start with the new server.properties: listener EXTERNAL: class " + mistyped
	for what, text := range map[string]string{
		"plan": s.on(m, "kpls-agent plan; true"), "check": s.on(m, "kpls-agent check; true"),
	} {
		if !strings.Contains(strings.Join(strings.Fields(text), " "), mistyped) {
			s.Errorf("%s does not name the class:\n%s", what, text)
		}
	}
	if text := s.on(m, "kpls-agent status -o json; true"); !strings.Contains(text, want) {
		s.Errorf("status says\n%s\nwant %q", text, want)
	}
	s.manifest(replace(sasl, plain))
	s.settled()
	if now := s.processes(); !maps.Equal(processes, now) {
		s.Errorf("brokers were restarted: %v, before %v", now, processes)
	}
	for _, m := range s.Machines {
		if left := s.on(m, "ls /var/lib/kpls-agent/judge"); strings.TrimSpace(left) != "last.json" {
			s.Errorf("the judge has left %s", left)
		}
		// The manifest itself has the secret, and the journal's own log of it must not.
		s.on(m, "! grep -rlF "+secret+" /var/lib/kpls-agent/judge /run/kpls-agent-judge 2>/dev/null")
		for _, unit := range []string{"kpls-agent.service", "kpls-agent-judge.service"} {
			for _, e := range s.journal(m, begun, unit) {
				if strings.Contains(e.Message, secret) {
					s.Errorf("%s: the journal of %s has a secret: %s", m.Name, unit, e.Message)
				}
			}
		}
	}
	// Without the judge the agent goes by its own rules, and says so.
	s.on(m, "systemctl mask --runtime kpls-agent-judge.service")
	s.orElse(m, "systemctl unmask --runtime kpls-agent-judge.service")
	if text := s.on(m, "runuser -u kpls-agent -- systemctl --no-ask-password start kpls-agent-judge.service 2>&1; true"); !strings.Contains(text, "masked") {
		s.Errorf("a masked judge: %s", text)
	}
	if text := s.on(m, "kpls-agent check; true"); !strings.Contains(text, "kpls-agent-judge.service is masked") {
		s.Errorf("check says\n%s", text)
	}
	s.on(m, "systemctl unmask --runtime kpls-agent-judge.service")
}
