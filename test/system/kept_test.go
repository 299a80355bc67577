package system

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"example.com/kpls-agent/test/machines"
)

const agentSettings = "/etc/kpls-agent/kpls-agent.yaml"

// ownStart: what goes wrong at the agent's own start takes no healthy broker from its
// customers, and calls none open that nobody judges. A typo in the settings on the first
// VM, a taken port on the second and an agent that cannot start on the third, side by side.
func ownStart(s *system) {
	typo, taken, broken := s.Machines[0], s.Machines[1], s.Machines[2]
	const dropIn = "/run/systemd/system/kpls-agent.service.d"
	mend := "rm -rf " + dropIn + "; systemctl daemon-reload"
	s.orElse(broken, mend)
	begun := time.Now()
	s.on(broken, "mkdir -p "+dropIn+" && printf '[Service]\\nExecStartPre=/bin/false\\n' >"+dropIn+"/broken.conf && systemctl daemon-reload && systemctl kill --signal=KILL kpls-agent")
	if !s.LB.Accepts(s.Context(), broken.Probe()) {
		s.Errorf("%s: the probe closes as soon as the agent has ended", broken.Name)
	}
	s.settingsTypo(typo)
	s.portTaken(taken)

	s.until("the probe of an agent that cannot start is closed", func() bool { return !s.LB.Accepts(s.Context(), broken.Probe()) })
	closed, failed := time.Time{}, 0
	for _, e := range s.journal(broken, begun, "kpls-agent.service") {
		if !closed.IsZero() {
			break // what follows is of the next round
		}
		if strings.Contains(e.Message, "Start request repeated too quickly") {
			closed = e.At
		}
		if strings.Contains(e.Message, "Failed with result 'exit-code'") {
			failed++
		}
	}
	if closed.IsZero() || failed != 5 {
		s.Errorf("%s: %d failed starts before systemd gave it up at %s", broken.Name, failed, closed)
	}
	measured("agent ended and unable to start, to its kept probe closed", closed.Sub(begun).Seconds(), "s", "five starts, 2 s apart")
	s.on(broken, mend)
	s.back(broken) // systemd goes on starting it
	for _, m := range s.Machines {
		s.says(m, "systemctl --failed --no-legend", "")
	}
	s.stopped(s.Machines[0])
	s.settled()
}

// unjudged: a probe port that nobody answers, while its broker is stopped. A balancer that makes
// whole connections fills the port's queue and finds the broker down; HAProxy's plain check
// makes none, and finds it up for ever. The plain one goes first: whole connections of anybody
// fill the queue for it, too.
func unjudged(s *system) {
	m := s.Machine(1)
	const folder = "/run/systemd/system/kpls-agent.service.d"
	const undo = "systemctl kill --kill-who=main --signal=CONT kpls-agent; rm -rf " + folder + "; systemctl daemon-reload; systemctl start kafka; systemctl restart kpls-agent"
	s.orElse(m, undo)
	s.on(m, "mkdir -p "+folder+" && printf '[Service]\\nWatchdogSec=0\\n' >"+folder+"/watchdog.conf && systemctl daemon-reload && systemctl restart kpls-agent")
	s.settled()
	const queue = 129 // connections that wait in the port's queue
	for _, plain := range []bool{true, false} {
		p := machines.Probing{Interval: 100 * time.Millisecond, Fall: 2, Rise: 2, Plain: plain}
		lb := s.haproxy(p)
		s.on(m, "systemctl kill --kill-who=main --signal=STOP kpls-agent")
		begun := time.Now()
		s.on(m, "systemctl stop kafka")
		for most := 3 * queue * p.Interval; lb.Up(m.ID) && time.Since(begun) < most; {
			time.Sleep(p.Interval)
		}
		took, name := time.Since(begun).Seconds(), "whole checks"
		if plain {
			name = "plain checks"
		}
		if lb.Up(m.ID) != plain {
			s.Errorf("%s: up after %.0f s: %t", name, took, lb.Up(m.ID))
		}
		measured("HAProxy, "+name+" every 0.1 s: nobody answers the probe, to DOWN", took, "s", fmt.Sprintf("down: %t", !lb.Up(m.ID)))
		s.on(m, "systemctl kill --kill-who=main --signal=CONT kpls-agent; systemctl start kafka")
		if err := lb.Close(); err != nil {
			s.Error(err)
		}
		s.settled()
	}
	s.on(m, undo)
	s.settled()
}

// wrongChecks: checks that HAProxy makes by mistake. Of half-open ones no process knows, and
// by HTTP a probe port takes no broker in; `check` and `status` say which it is, and what to do.
func wrongChecks(s *system) {
	m := s.Machine(1)
	for _, c := range []struct {
		name string
		how  machines.Probing
		says string
	}{
		{"half-open checks", machines.Probing{Plain: true}, "Connections that are given up half-open do come to this machine"},
		{"checks by HTTP", machines.Probing{HTTP: true}, "HTTP was spoken to it "},
	} {
		c.how.Interval, c.how.Fall, c.how.Rise = time.Second, 2, 2
		begun := time.Now()
		lb, err := s.HAProxy(s.Context(), c.how)
		if err != nil {
			s.Fatal(err)
		}
		s.Cleanup(func() { lb.Close() })
		for _, command := range []string{"check", "status"} {
			s.until("kpls-agent "+command+" tells of "+c.name, func() bool {
				return strings.Contains(s.on(m, "kpls-agent "+command+"; true"), c.says)
			})
		}
		measured("HAProxy, "+c.name+", to kpls-agent check and status", time.Since(begun).Seconds(), "s",
			"a probe that came a minute ago is no news, and one connection a minute is looked at")
		if c.how.HTTP {
			s.until("HAProxy takes the broker out", func() bool { return !lb.Up(m.ID) })
		}
		if err := lb.Close(); err != nil {
			s.Error(err)
		}
	}
}

// settingsTypo: the last good settings stay in force, the probe tells the truth, and the
// corrected file is taken over without a hand.
func (s *system) settingsTypo(m *machines.Machine) {
	s.Helper()
	good := "sed -i '/^nonsense: /d' " + agentSettings
	s.orElse(m, good)
	s.on(m, "echo 'nonsense: yes' >>"+agentSettings+" && systemctl restart kpls-agent")
	s.until("the agent of "+m.Name+" says what is wrong", func() bool { return s.agent(m).reason == "refused" })
	if text := s.on(m, "systemctl show --property=StatusText --value kpls-agent"); !strings.Contains(text, "nonsense: unknown field") || !strings.Contains(text, "the last good ones stay in force") {
		s.Errorf("%s: systemctl status says %q", m.Name, text)
	}
	for path, want := range map[string]string{"/metrics": "\nkpls_agent_settings_refused 1\n", "/healthz": "the last good ones stay in force"} {
		if text, err := s.get(m.Metrics(), path); err != nil || !strings.Contains(text, want) {
			s.Errorf("%s: %s has no %q: %v", m.Name, path, want, err)
		}
	}
	if !s.LB.Accepts(s.Context(), m.Probe()) {
		s.Errorf("%s: a typo in the agent's settings closes the probe of a healthy broker", m.Name)
	}
	s.on(m, "systemctl stop kafka")
	s.until("the probe of a stopped broker is closed", func() bool { return !s.LB.Accepts(s.Context(), m.Probe()) })
	s.on(m, "systemctl start kafka")
	s.until("the probe is open again", func() bool { return s.LB.Accepts(s.Context(), m.Probe()) })
	life := s.invocation(m, "kpls-agent")
	s.on(m, good)
	s.until("the agent takes the corrected file over", func() bool { return s.invocation(m, "kpls-agent") != life })
}

// portTaken: an agent without its metrics port does all else, and has it as soon as it is free.
func (s *system) portTaken(m *machines.Machine) {
	s.Helper()
	s.orElse(m, "systemctl stop taker; systemctl start kpls-agent")
	s.on(m, "systemctl stop kpls-agent && systemd-run --quiet --unit=taker systemd-socket-activate --listen="+machines.MetricsPort+" sleep infinity")
	s.until("the port is taken", func() bool { return s.LB.Accepts(s.Context(), m.Metrics()) })
	s.on(m, "systemctl start kpls-agent")
	s.until("the probe is open without metrics", func() bool { return s.LB.Accepts(s.Context(), m.Probe()) })
	const want = "cannot be had (listen tcp :9464: bind: address already in use); a process of user root listens on it"
	s.until("it is said", func() bool {
		return strings.Contains(s.on(m, "systemctl show --property=StatusText --value kpls-agent"), want)
	})
	if out := s.on(m, "kpls-agent check; true"); !strings.Contains(out, "FAULT    port of the metrics: 9464 is taken, and not by the agent; process ") {
		s.Errorf("%s: check says\n%s", m.Name, out)
	}
	s.on(m, "systemctl stop taker")
	s.back(m)
}

// stopped: what a probe says while its agent is stopped depends on what systemd can keep.
func (s *system) stopped(m *machines.Machine) {
	s.Helper()
	version, err := strconv.Atoi(strings.TrimSpace(s.on(m, "systemctl --version | sed -n '1s/^systemd \\([0-9]*\\).*/\\1/p'")))
	if err != nil {
		s.Fatal(err)
	}
	if version < 254 {
		s.on(m, "systemctl stop kpls-agent")
		if s.LB.Accepts(s.Context(), m.Probe()) {
			s.Errorf("%s: systemd %d keeps the probe of a stopped agent open", m.Name, version)
		}
		s.on(m, "systemctl start kpls-agent")
		return
	}
	// The package's own limit is 10 min; a shorter one shows the same.
	const folder = "/run/systemd/system/kpls-agent-expire.timer.d"
	s.on(m, "mkdir -p "+folder+" && printf '[Timer]\\nOnActiveSec=\\nOnActiveSec=8s\\n' >"+folder+"/limit.conf && systemctl daemon-reload")
	s.orElse(m, "rm -rf "+folder+"; systemctl daemon-reload; systemctl start kpls-agent")
	s.on(m, "systemctl stop kpls-agent")
	begun := time.Now()
	s.until("the probe of a stopped agent is closed", func() bool { return !s.LB.Accepts(s.Context(), m.Probe()) })
	if took := time.Since(begun); took < 5*time.Second {
		s.Errorf("%s: closed %s after the stop", m.Name, took)
	}
	s.on(m, "rm -rf "+folder+"; systemctl daemon-reload; systemctl start kpls-agent")
	s.says(m, "systemctl is-active kpls-agent-expire.timer; true", "inactive")
}
