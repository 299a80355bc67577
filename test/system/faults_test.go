package system

import (
	"context"
	"slices"
	"strings"
	"time"

	"example.com/kpls-agent/test/fleet"
	"example.com/kpls-agent/test/machines"
	"example.com/kpls-agent/test/sandbox"
)

// fault starts a load balancer and traffic through it.
func (s *system) fault() *traffic {
	s.Helper()
	s.haproxy(machines.Fast)
	return s.start(sandbox.NewLoad(s.through()), true)
}

// orElse runs a command on a VM if the test has failed before it took its fault back.
func (s *system) orElse(m *machines.Machine, command string) {
	s.Cleanup(func() {
		if s.Failed() {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(s.Context()), time.Minute)
			defer cancel()
			_, err := m.Output(ctx, "sh", "-c", command)
			s.Log(command, err)
		}
	})
}

// rolledBy ends a fault in which the agents restart each broker, times times all together.
func (t *traffic) rolledBy(times int) {
	t.s.Helper()
	if r := t.judge(); len(r) != times {
		t.s.Errorf("the agents asked for %d restarts: %v", len(r), r)
	}
}

// replaced: agents are killed, get stuck and are replaced by an older version, and
// neither a broker nor a probe shows it.
func replaced(s *system) {
	t := s.fault()
	for _, m := range s.Machines {
		s.on(m, "systemctl kill --signal=KILL kpls-agent")
		s.back(m)
	}
	s.stuck(s.Machine(1))
	for _, m := range s.Machines {
		s.on(m, install(older))
		s.back(m)
		s.isVersion(m, "older")
	}
	t.rolledBy(0)
}

// back waits until the agent of a VM is at rest again.
func (s *system) back(m *machines.Machine) {
	s.Helper()
	s.until("the agent of "+m.Name+" is there again", func() bool { return s.agent(m) == atRest })
}

// isVersion fails unless a VM has the package that repack has given this end.
func (s *system) isVersion(m *machines.Machine, end string) {
	s.Helper()
	if v := s.on(m, "dpkg-query -W kpls-agent"); !strings.HasSuffix(strings.TrimSpace(v), end) {
		s.Errorf("%s has %s", m.Name, v)
	}
}

// stuck expects that systemd ends an agent that does nothing any more, and starts
// it again. The unit's own limit is a minute; a shorter one shows the same.
func (s *system) stuck(m *machines.Machine) {
	s.Helper()
	const folder = "/run/systemd/system/kpls-agent.service.d"
	s.on(m, "mkdir "+folder+" && printf '[Service]\\nWatchdogSec=10\\n' >"+folder+"/watchdog.conf && systemctl daemon-reload && systemctl restart kpls-agent")
	s.back(m)
	begun, life := time.Now(), s.invocation(m, "kpls-agent")
	s.on(m, "systemctl kill --kill-who=main --signal=STOP kpls-agent")
	s.until("systemd starts the agent again", func() bool { return s.invocation(m, "kpls-agent") != life })
	s.back(m)
	var said strings.Builder
	for _, e := range s.journal(m, begun, "kpls-agent.service") {
		said.WriteString(e.Message + "\n")
	}
	for _, want := range []string{"Watchdog timeout", "SIGABRT", "goroutine ", "Failed with result 'watchdog'"} {
		if !strings.Contains(said.String(), want) {
			s.Errorf("the journal of %s has no %q:\n%s", m.Name, want, said.String())
		}
	}
	s.on(m, "rm -r "+folder+" && systemctl daemon-reload && systemctl restart kpls-agent")
	s.back(m)
}

// killedAndUpgraded: agents die in every phase of a restart, and then are upgraded.
func killedAndUpgraded(s *system) {
	t := s.fault()
	end := s.rollOut()
	for _, phase := range []string{"restarting", "starting", "soaking"} {
		m := s.turn(nil, phase)
		s.on(m, "systemctl kill --signal=KILL kpls-agent")
		s.on(s.other(m), "systemctl kill --signal=KILL kpls-agent")
	}
	for _, m := range s.Machines {
		s.on(m, "DEBIAN_FRONTEND=noninteractive apt-get -qq install -y "+newer)
	}
	end()
	t.judge()
	for _, m := range s.Machines {
		// The next life may ask once more for the restart that systemd is about to do already.
		if n := s.starts(m, t.begun); n != 1 {
			s.Errorf("the broker on %s was started %d times", m.Name, n)
		}
		s.isVersion(m, "newer")
	}
}

// frozenAndSilent: while a VM hangs in its turn nobody else is touched; and the
// roll-out does not end without an agent that is gone, and says so.
func frozenAndSilent(s *system) {
	t := s.fault()
	t.mayGiveUp = true
	end := s.rollOut()
	m := s.turn(nil, "restarting")
	gone := s.other(m)
	if slices.ContainsFunc(s.restarts(t.begun), func(r restart) bool { return r.broker == gone.ID }) {
		gone = s.other(gone) // the turn was seen late: the other one was first, and this one is yet to come
	}
	t.silenced = gone.ID
	s.on(gone, "systemctl stop kpls-agent")
	s.orElse(gone, "systemctl start kpls-agent")
	if err := m.Freeze(); err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() { _ = m.Thaw() }) // once more does no harm
	others := func() int {
		return len(slices.DeleteFunc(s.restarts(t.begun), func(r restart) bool { return r.broker == m.ID }))
	}
	before := others()           // the turn may be the second one
	time.Sleep(60 * time.Second) // the fault itself
	if n := others() - before; n != 0 {
		s.Errorf("while %s was frozen: %d restarts of others: %v", m.Name, n, s.restarts(t.begun))
	}
	if err := m.Thaw(); err != nil {
		s.Fatal(err)
	}
	s.wait("the others wait for "+gone.Name+" and say so", func(r fleet.Report) bool {
		for _, c := range r.Claims { // the agent that is gone may have left one, behind the one of m
			if c.Broker != gone.ID {
				return false
			}
		}
		return r.State == "waiting" && r.Row(gone.ID).Silent && r.Row(gone.ID).Drift
	})
	s.on(gone, "systemctl start kpls-agent")
	end()
	t.judge()
}

// rebooted: one VM in its turn, then another one out of its turn, while a third
// one is down for its restart.
func rebooted(s *system) {
	t := s.fault()
	t.mayGiveUp = true
	end := s.rollOut()
	m := s.turn(nil, "restarting")
	if err := m.Reboot(s.Context()); err != nil {
		s.Fatal(err)
	}
	if err := s.other(t.asked(s.turn(m, "restarting"))).Reboot(s.Context()); err != nil {
		s.Fatal(err)
	}
	end()
	t.judge()
}

func cut(s *system) {
	t := s.fault()
	t.mayGiveUp = true
	end := s.rollOut()
	m := s.turn(nil, "restarting")
	if err := m.Cut(s.Context()); err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() { _ = m.Mend(context.WithoutCancel(s.Context())) }) // once more does no harm
	time.Sleep(20 * time.Second)                                         // the fault itself
	if r := s.restarts(t.begun); len(r) != 1 {
		s.Errorf("while %s was cut off: restarts %v", m.Name, r)
	}
	if err := m.Mend(s.Context()); err != nil {
		s.Fatal(err)
	}
	end()
	t.judge()
}

// asked waits until the agent of a VM has asked for the restart of its broker: in the phase "restarting" that may
// still be ahead, and a fault of another VM must not come before it.
func (t *traffic) asked(m *machines.Machine) *machines.Machine {
	t.s.Helper()
	t.s.until("the restart on "+m.Name+" is asked for", func() bool {
		return slices.ContainsFunc(t.s.restarts(t.begun), func(r restart) bool { return r.broker == m.ID })
	})
	return m
}

// diskFull: a broker fails in the middle of a roll-out, and nobody else is taken
// down until somebody has made room and started it.
func diskFull(s *system) {
	t := s.fault()
	t.mayGiveUp = true
	end := s.rollOut()
	m := t.asked(s.turn(nil, "restarting"))
	full := s.other(m)
	s.on(full, "dd if=/dev/zero of=/var/lib/kafka/full bs=1M 2>/dev/null; true")
	s.orElse(full, "rm -f /var/lib/kafka/full; systemctl reset-failed kafka; systemctl start kafka")
	s.until("the broker on "+full.Name+" has failed", func() bool {
		out, err := full.Output(s.Context(), "systemctl", "show", "--property=ActiveState,NRestarts", "kafka.service")
		return err == nil && (strings.Contains(out, "failed") || !strings.Contains(out, "NRestarts=0"))
	})
	before := len(s.restarts(t.begun))
	s.wait("somebody says that it waits for "+full.Name, func(r fleet.Report) bool {
		return slices.ContainsFunc(r.Brokers, func(row fleet.Row) bool {
			return row.Broker != full.ID && strings.Contains(row.Reason.Text, "broker "+full.Name[1:])
		})
	})
	s.Logf("%s", s.on(m, "kpls-agent status"))
	s.on(full, "rm /var/lib/kafka/full; systemctl reset-failed kafka; systemctl start kafka")
	s.Logf("restarts before room was made: %d", before)
	end()
	t.judge()
}

// staysOpen expects that the probe of a broker is open for longer than a drain takes.
func (s *system) staysOpen(m *machines.Machine) {
	s.Helper()
	for until := time.Now().Add(3 * time.Second); time.Now().Before(until); time.Sleep(100 * time.Millisecond) {
		if !s.LB.Accepts(s.Context(), m.Probe()) {
			s.Errorf("the probe of %s is closed, and its broker serves", m.Name)
			return
		}
	}
}

// repairs: what only an operator can repair holds the roll-out up, each agent says
// what it is, and the roll-out continues by itself afterwards. What an operator writes
// into server.properties stays, unless it is the agent's to say.
func repairs(s *system) {
	s.during("during_restart: close", "drain: 2s") // a restart that is refused must close no probe
	s.haproxy(machines.Fast)
	t := s.start(sandbox.NewLoad(s.through()), false)
	ruleless, masked, edited := s.Machines[0], s.Machines[1], s.Machines[2]
	s.on(ruleless, "rm /etc/polkit-1/rules.d/50-kpls-agent.rules")
	s.orElse(ruleless, "kpls-agent setup")
	s.on(masked, "systemctl mask kafka.service")
	s.orElse(masked, "systemctl unmask kafka.service")
	end := s.rollOut()
	const file = "/etc/kafka/server.properties"
	s.on(edited, belowTmp)
	before := s.on(edited, "cat "+file)
	s.on(edited, "sed -i 's/tidbcloud.com:909/tidbcloud.com:919/' "+file+" && echo 'num.io.threads=7' >>"+file)

	mend := map[*machines.Machine]struct{ says, by string }{
		ruleless: {"polkit", "kpls-agent setup"},
		masked:   {"masked", "systemctl unmask kafka.service"},
	}
	for len(mend) > 0 {
		s.wait("an agent says what is missing", func(r fleet.Report) bool {
			for m, repair := range mend {
				if text := r.Row(m.ID).Reason.Text; strings.Contains(text, repair.says) {
					s.Logf("%s says: %s", m.Name, text)
					s.staysOpen(m)
					s.on(m, repair.by)
					delete(mend, m)
					return true
				}
			}
			return false
		})
	}
	end()
	if now := s.on(edited, "cat "+file); now != before+"num.io.threads=7\n" {
		s.Errorf("%s has\n%s\nbefore:\n%s", edited.Name, now, before)
	}
	t.judge()
	s.seesBelowTmp(edited)
}

// belowTmp gives a broker's data a name below /tmp, which the broker has from its next restart on.
const belowTmp = `mkdir /tmp/kafka-logs && mount --bind /var/lib/kafka/data /tmp/kafka-logs &&
sed -i 's|^log.dirs=.*|log.dirs=/tmp/kafka-logs|' /etc/kafka/server.properties`

// seesBelowTmp: the service, which has a /tmp of its own, sees the log directory of a broker below /tmp once
// setup has bound it, and reports no fault of one that it does not see. The data keep the name until the next restart.
func (s *system) seesBelowTmp(m *machines.Machine) {
	s.Helper()
	const mend = "cd /var/lib/kafka; rm -f full; test ! -e data/hidden || mv data/hidden data/meta.properties"
	s.orElse(m, mend)
	// A new agent process looks at once and reports what it sees; one that runs looks every 30 s.
	reports := func(what, act, want string) {
		s.Helper()
		s.on(m, act+" && systemctl stop kpls-agent")
		begun := time.Now()
		s.on(m, "systemctl start kpls-agent")
		s.wait(what, func(r fleet.Report) bool {
			row := r.Row(m.ID)
			return row.Seen.After(begun) && row.Phase == "idle" && (row.Storage == want || want != "" && strings.Contains(row.Storage, want))
		})
	}
	reports("no fault of a folder that is not seen", "mv /var/lib/kafka/data/meta.properties /var/lib/kafka/data/hidden", "")
	reports("meta.properties is gone", "kpls-agent setup", "log directory /tmp/kafka-logs has no meta.properties any more")
	reports("little space is left", "mv /tmp/kafka-logs/hidden /tmp/kafka-logs/meta.properties; fallocate -l $(($(df --output=avail /tmp/kafka-logs | tail -1) - 12288))K /var/lib/kafka/full",
		"log directory /tmp/kafka-logs has 1")
	reports("all is well", mend+"; sed -i 's|^log.dirs=.*|log.dirs=/var/lib/kafka/data|' /etc/kafka/server.properties; kpls-agent setup", "")
}
