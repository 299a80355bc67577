package system

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"example.com/kpls-agent/test/figures"
	"example.com/kpls-agent/test/machines"
	"example.com/kpls-agent/test/sandbox"
)

// report is all that was measured in this run, in that order.
var report figures.Report

// measured notes a figure that has no goal; the note may be empty.
func measured(name string, value float64, unit, note string) {
	report.Add(figures.Figure{Name: name, Value: value, Unit: unit, Note: note})
}

// aimed notes a figure and the most that it should be.
func aimed(name string, goal, value float64, unit, note string) {
	report.Add(figures.Figure{Name: name, Goal: &goal, Value: value, Unit: unit, Note: note})
}

// agentUpgraded counts the probes that a load balancer misses meanwhile.
func agentUpgraded(s *system) {
	t := s.fault()
	for _, m := range s.Machines {
		s.on(m, "systemctl restart kpls-agent")
		s.back(m)
	}
	aimed("probes missed while the agents were restarted", 0, float64(len(t.watch.Missed(t.begun))), "", fmt.Sprintf("of %d", t.watch.Probes(t.begun)))
	begun := time.Now()
	for _, m := range s.Machines {
		s.on(m, "DEBIAN_FRONTEND=noninteractive apt-get -qq install -y "+newer)
		s.back(m)
	}
	aimed("probes missed while the package was upgraded", 0, float64(len(t.watch.Missed(begun))), "", fmt.Sprintf("of %d", t.watch.Probes(begun)))
	t.rolledBy(0)
}

// closedAzure is what a closed probe costs with Azure's fastest probe.
func closedAzure(s *system) {
	s.during("during_restart: close", "drain: 12s")
	lb := s.haproxy(machines.Azure)
	t := s.start(sandbox.NewLoad(s.through()), false)
	s.rollOut()()
	s.waitedFor(lb, t.judge())
	s.outages("closed, every 5 s, 2 and 2", lb, t)
}

// tenRolls: a changefeed streams through ten roll-outs.
func tenRolls(s *system) {
	s.during()
	lb := s.haproxy(machines.Azure)
	var worst sandbox.Figures
	for i := range 10 {
		t := s.start(s.changefeed(), false)
		t.mayGiveUp = true // the figures tell
		s.rollOut()()
		_, f := t.account()
		s.unseen(lb, t.begun)
		worst.Failed, worst.Rebuilt, worst.Lost = worst.Failed+f.Failed, worst.Rebuilt+f.Rebuilt, worst.Lost+f.Lost
		worst.LongestStall, worst.P99 = max(worst.LongestStall, f.LongestStall), max(worst.P99, f.P99)
		if i == 0 {
			s.outages("held, every 5 s, 2 and 2", lb, t)
		}
	}
	aimed("changefeed through ten roll-outs, failed sends", 0, float64(worst.Failed), "", "HAProxy, a probe every 5 s, 2 to leave and 2 to come back")
	aimed("changefeed through ten roll-outs, sinks rebuilt", 0, float64(worst.Rebuilt), "", "")
	aimed("changefeed through ten roll-outs, records lost", 0, float64(worst.Lost), "", "")
	aimed("changefeed through ten roll-outs, longest stall", 1.7, worst.LongestStall.Seconds(), "s", fmt.Sprintf("p99 %.2f s in the worst", worst.P99.Seconds()))
}

// outages measures for how long the brokers were down as the others, and the load balancer, saw it.
func (s *system) outages(name string, lb *machines.Balancer, t *traffic) {
	var own, seen time.Duration
	for _, o := range t.watch.Outages(t.begun) {
		own = max(own, o.To.Sub(o.From))
	}
	for _, m := range s.Machines {
		var down time.Time
		for _, c := range lb.Changes(m.ID) {
			if !c.Up {
				down = c.At
			} else if down.After(t.begun) {
				seen = max(seen, c.At.Sub(down))
			}
		}
	}
	measured(name+": longest a broker was down as the others saw it", own.Seconds(), "s", "")
	measured(name+": longest a broker was down as the load balancer saw it", seen.Seconds(), "s", "")
}

// security is what systemd thinks of the agent's unit; less is better, of 10.
func security(s *system) {
	out := s.on(s.Machines[0], "systemd-analyze security --no-pager kpls-agent.service | tail -n 1")
	_, rest, _ := strings.Cut(out, "kpls-agent.service: ")
	value, err := strconv.ParseFloat(strings.Fields(rest + " ?")[0], 64)
	if err != nil || value > 1.5 {
		s.Errorf("systemd-analyze security: %q", out)
	}
	aimed("systemd-analyze security", 1.5, value, "of 10", "")
}

// booting is how long a VM with the package takes from systemd's start to a ready agent.
func booting(s *system) {
	m := s.Machines[0]
	if err := m.Reboot(s.Context()); err != nil {
		s.Fatal(err)
	}
	if err := m.WaitUp(s.Context()); err != nil {
		s.Fatal(err)
	}
	s.settled()
	out := s.on(m, "systemctl show --property=UserspaceTimestampMonotonic --value; systemctl show --property=ActiveEnterTimestampMonotonic --value kpls-agent.service")
	var boot, ready float64
	if _, err := fmt.Sscan(out, &boot, &ready); err != nil {
		s.Fatalf("%q: %v", out, err)
	}
	measured("boot to agent ready", (ready-boot)/1e6, "s", "from systemd's start as PID 1")
}

// resting is what an agent takes of its VM in ten minutes without work.
func resting(s *system) {
	const look = `p=$(systemctl show --property=MainPID --value kpls-agent.service); awk '{print $14 + $15}' /proc/$p/stat; awk '/^VmRSS/ {print $2}' /proc/$p/status; awk '/^RssAnon/ {print $2}' /proc/$p/status`
	usage := func(m *machines.Machine) (ticks, rss, anon float64) {
		out := s.on(m, look)
		if _, err := fmt.Sscan(out, &ticks, &rss, &anon); err != nil {
			s.Fatalf("%q: %v", out, err)
		}
		return ticks, rss, anon
	}
	var before [machines.Brokers]float64
	for i, m := range s.Machines {
		before[i], _, _ = usage(m)
	}
	begun := time.Now()
	time.Sleep(10 * time.Minute) // the measurement itself
	var cpu, memory, own float64
	for i, m := range s.Machines {
		ticks, rss, anon := usage(m)
		cpu = max(cpu, (ticks-before[i])/100/time.Since(begun).Seconds()*100)
		memory, own = max(memory, rss/1024), max(own, anon/1024)
	}
	aimed("agent at rest, CPU", 0.2, cpu, "% of a core", "the busiest of three over 10 minutes, with Prometheus and the load balancer asking")
	aimed("agent at rest, resident memory", 25, memory, "MiB", fmt.Sprintf("the largest of three; %.1f MiB of it are its own, the rest file pages", own))
}
