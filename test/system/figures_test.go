package system

import (
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"example.com/kpls-agent/test/machines"
	"example.com/kpls-agent/test/sandbox"
)

// figure is one thing that was measured.
type figure struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
	Unit  string  `json:"unit"`
	Goal  string  `json:"goal,omitempty"`
	Note  string  `json:"note,omitempty"`
}

// figures are all that were measured in this run, in that order.
var figures []figure

// measured notes a figure; goal and note may be empty.
func measured(name string, value float64, unit, goal, note string) {
	figures = append(figures, figure{name, value, unit, goal, note})
}

// report prints the figures, and writes them to the file that FIGURES names.
func report() error {
	w := tabwriter.NewWriter(os.Stdout, 0, 8, 2, ' ', 0)
	for _, f := range figures {
		fmt.Fprintf(w, "%s\t%.4g %s\t%s\t%s\n", f.Name, f.Value, f.Unit, f.Goal, f.Note)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	path := os.Getenv("FIGURES")
	if path == "" {
		return nil
	}
	text, err := json.MarshalIndent(figures, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(text, '\n'), 0o644)
}

// agentUpgraded counts the probes that a load balancer misses meanwhile.
func agentUpgraded(s *system) {
	t := s.fault()
	for _, m := range s.Machines {
		s.on(m, "systemctl restart kpls-agent")
		s.until("the agent of "+m.Name+" is there again", func() bool { return s.agent(m) == atRest })
	}
	measured("probes missed while the agents were restarted", float64(len(t.watch.Missed(t.begun))), "", "0", fmt.Sprintf("of %d", t.watch.Probes(t.begun)))
	begun := time.Now()
	for _, m := range s.Machines {
		s.on(m, "DEBIAN_FRONTEND=noninteractive apt-get -qq install -y "+newer)
		s.until("the agent of "+m.Name+" is there again", func() bool { return s.agent(m) == atRest })
	}
	measured("probes missed while the package was upgraded", float64(len(t.watch.Missed(begun))), "", "0", fmt.Sprintf("of %d", t.watch.Probes(begun)))
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
		s.rollOut()()
		_, f := t.account()
		s.unseen(lb, t.begun)
		worst.Failed, worst.Rebuilt, worst.Lost = worst.Failed+f.Failed, worst.Rebuilt+f.Rebuilt, worst.Lost+f.Lost
		worst.LongestStall, worst.P99 = max(worst.LongestStall, f.LongestStall), max(worst.P99, f.P99)
		if i == 0 {
			s.outages("held, every 5 s, 2 and 2", lb, t)
		}
	}
	measured("changefeed through ten roll-outs, failed sends", float64(worst.Failed), "", "0", "HAProxy, a probe every 5 s, 2 to leave and 2 to come back")
	measured("changefeed through ten roll-outs, sinks rebuilt", float64(worst.Rebuilt), "", "0", "")
	measured("changefeed through ten roll-outs, records lost", float64(worst.Lost), "", "0", "")
	measured("changefeed through ten roll-outs, longest stall", worst.LongestStall.Seconds(), "s", "<= 1.7", fmt.Sprintf("p99 %.2f s in the worst", worst.P99.Seconds()))
}

// outages measures for how long the brokers were away in the eyes of the others, and of the balancer.
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
	measured(name+": longest a broker was away in the eyes of the others", own.Seconds(), "s", "", "")
	measured(name+": longest a broker was away in the eyes of the balancer", seen.Seconds(), "s", "", "")
}

// security is what systemd thinks of the agent's unit; less is better, of 10.
func security(s *system) {
	out := s.on(s.Machines[0], "systemd-analyze security --no-pager kpls-agent.service | tail -n 1")
	_, rest, _ := strings.Cut(out, "kpls-agent.service: ")
	value, err := strconv.ParseFloat(strings.Fields(rest + " ?")[0], 64)
	if err != nil || value > 1.5 {
		s.Errorf("systemd-analyze security: %q", out)
	}
	measured("systemd-analyze security", value, "of 10", "<= 1.5", "")
}

// booting is how long a VM with the package takes from systemd's start to a ready agent.
func booting(s *system) {
	out := s.on(s.Machines[0], "systemctl show --property=UserspaceTimestampMonotonic --value; systemctl show --property=ActiveEnterTimestampMonotonic --value kpls-agent.service")
	var boot, ready float64
	if _, err := fmt.Sscan(out, &boot, &ready); err != nil {
		s.Fatalf("%q: %v", out, err)
	}
	measured("boot to agent ready", (ready-boot)/1e6, "s", "", "from systemd's start as PID 1")
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
	measured("agent at rest, CPU", cpu, "% of a core", "<= 0.2", "the busiest of three over 10 minutes, with Prometheus and the balancer asking")
	measured("agent at rest, resident memory", memory, "MiB", "<= 25", fmt.Sprintf("the largest of three; %.1f MiB of it are its own, the rest file pages", own))
}
