package system

import (
	"context"
	"regexp"
	"strings"
	"time"

	"example.com/kpls-agent/test/fleet"
	"example.com/kpls-agent/test/machines"
	"example.com/kpls-agent/test/sandbox"
)

// planned are the lines of the manifest that say what a probe does through a planned restart.
var planned = regexp.MustCompile(`(?m)^    (during_restart|hold_limit|drain): .*\n`)

// during sets these lines for EXTERNAL.
func (s *system) during(lines ...string) {
	s.Helper()
	s.manifest(func(text string) string {
		text = planned.ReplaceAllString(text, "")
		for _, l := range lines {
			text = strings.Replace(text, "    probe_port: ", "    "+l+"\n    probe_port: ", 1)
		}
		return text
	})
	s.settled()
}

func (s *system) nftables(p machines.Probing) *machines.Balancer {
	s.Helper()
	return s.balancer(func(ctx context.Context) (*machines.Balancer, error) { return s.NFTables(ctx, p) })
}

// unseen expects that the load balancer saw nothing of a roll-out.
func (s *system) unseen(lb *machines.Balancer, begun time.Time) {
	s.Helper()
	for _, m := range s.Machines {
		for _, c := range lb.Changes(m.ID) {
			if c.At.After(begun) {
				s.Errorf("the load balancer took %s in or out at %s (up: %v)", m.Name, c.At.Format("15:04:05.000"), c.Up)
			}
		}
	}
}

// waitedFor expects that the load balancer took each broker out, and had it back
// before the next one was restarted.
func (s *system) waitedFor(lb *machines.Balancer, restarts []restart) {
	s.Helper()
	for i, r := range restarts {
		var down, up time.Time
		for _, c := range lb.Changes(r.broker) {
			// A probe that is closed first is seen to be so before the restart.
			if !c.Up && down.IsZero() && c.At.After(r.at.Add(-15*time.Second)) {
				down = c.At
			}
			if c.Up && !down.IsZero() && up.IsZero() {
				up = c.At
			}
		}
		if down.IsZero() || up.IsZero() {
			s.Errorf("the load balancer never took b%d out and in again: %v", r.broker, lb.Changes(r.broker))
			continue
		}
		s.Logf("the load balancer saw b%d down for %.1f s", r.broker, up.Sub(down).Seconds())
		if i+1 < len(restarts) && restarts[i+1].at.Before(up) {
			s.Errorf("b%d was restarted at %s, the load balancer had b%d back at %s only", restarts[i+1].broker,
				restarts[i+1].at.Format("15:04:05.000"), r.broker, up.Format("15:04:05.000"))
		}
	}
}

// held: with Azure's fastest probe a held port hides the roll-out from the
// balancer, and a changefeed goes on through it.
func held(s *system) {
	s.during()
	lb := s.haproxy(machines.Azure)
	t := s.start(s.changefeed(), false)
	t.mayGiveUp = true
	s.rollOut()()
	t.rolledBy(machines.Brokers)
	s.unseen(lb, t.begun)
}

func (s *system) changefeed() runner {
	o := s.through()
	o.Rate = 500
	return sandbox.NewChangefeed(o)
}

func heldFlows(s *system) {
	s.during()
	lb := s.nftables(machines.Fast)
	t := s.start(sandbox.NewLoad(s.through()), false)
	s.rollOut()()
	t.rolledBy(machines.Brokers)
	s.unseen(lb, t.begun)
}

func closed(s *system) {
	s.during("during_restart: close", "drain: 2s")
	lb := s.haproxy(machines.Fast)
	t := s.start(sandbox.NewLoad(s.through()), false)
	s.rollOut()()
	s.waitedFor(lb, t.judge())
}

func closedFlows(s *system) {
	s.during("during_restart: close", "drain: 2s")
	lb := s.nftables(machines.Fast)
	t := s.start(sandbox.NewLoad(s.through()), false)
	s.rollOut()()
	s.waitedFor(lb, t.judge())
}

// unprobed: nobody waits for a load balancer that is not there.
func unprobed(s *system) {
	s.during("during_restart: close", "drain: 0s")
	lb, err := s.Straight(s.Context())
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() { lb.Close() })
	t := s.start(sandbox.NewLoad(s.through()), false)
	s.rollOut()()
	t.rolledBy(machines.Brokers)
}

// heldTooLong: a probe that was held for its limit tells the truth, and then the
// balancer is waited for.
func heldTooLong(s *system) {
	s.during("hold_limit: 1s")
	lb := s.haproxy(machines.Fast)
	t := s.start(sandbox.NewLoad(s.through()), false)
	s.rollOut()()
	s.waitedFor(lb, t.judge())
}

// lostBroker: a broker that does not come back is not held for ever, nobody else
// is restarted, and a person is asked for.
func lostBroker(s *system) {
	s.during("hold_limit: 3s")
	lb := s.haproxy(machines.Fast)
	t := s.start(sandbox.NewLoad(s.through()), false)
	t.mayGiveUp = true
	end := s.rollOut()
	m := s.turn(nil, "applying", "restarting")
	s.on(m, "printf '[Service]\\nExecStartPre=/bin/false\\n' >/etc/systemd/system/kafka.service.d/broken.conf && systemctl daemon-reload")
	s.orElse(m, "rm -f /etc/systemd/system/kafka.service.d/broken.conf; systemctl daemon-reload; systemctl reset-failed kafka; systemctl start kafka; kpls-agent resume --yes")
	s.until("the load balancer has taken "+m.Name+" out", func() bool { return !lb.Up(m.ID) })
	r := s.wait("a person is asked for", func(r fleet.Report) bool {
		return r.State == "halted" && r.Row(m.ID).Reason.Code == "needs_operator"
	})
	s.Logf("%s says: %s", m.Name, r.Row(m.ID).Reason.Text)
	for _, r := range s.restarts(t.begun) {
		if r.broker != m.ID {
			s.Errorf("b%d was restarted while %s was lost", r.broker, m.Name)
		}
	}
	// Whoever has repaired it resumes, and does not wait until it serves.
	s.on(m, "rm /etc/systemd/system/kafka.service.d/broken.conf && systemctl daemon-reload && systemctl reset-failed kafka && systemctl start kafka && kpls-agent resume --yes")
	end()
	t.judge()
	s.until("the load balancer has "+m.Name+" back", func() bool { return lb.Up(m.ID) })
}
