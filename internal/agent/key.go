package agent

import (
	"time"

	"example.com/kpls-agent/internal/restart"
)

// AppendKey appends what of this agent decides on its future, at an instant: two agents with the same key
// decide alike from then on, as long as they see the same. What its facts say is not in it but for the
// journal, nor what Needs says: whoever uses the key reads the unit and the files before each decision.
// heartbeats says whether it matters when the last status was published.
func (a *Agent) AppendKey(b []byte, now time.Time, heartbeats bool) []byte {
	f := a.facts
	f.Now, f.Log = now, restart.LogFacts{} // the log is given with each decision
	b = a.machine.AppendKey(b, &f)
	b = f.Journal.AppendKey(b, now)
	b = append(append(append(b, a.doing...), 0), f.Nonce...)
	b = append(append(append(b, 0), a.status.Phase...), 0)
	b = append(append(b, a.status.Reason.Code...), 0)
	return a.out.appendKey(append(b, bit(a.settled)), now, heartbeats && now.Sub(a.out.at0) >= restart.Heartbeat(0))
}

func (o *outbox) appendKey(b []byte, now time.Time, due bool) []byte {
	b = append(b,
		bit(o.waiting)|bit(o.inFlight)<<1|bit(o.pause > 0)<<2|bit(due)<<3|bit(o.waiting && now.Before(o.next))<<4)
	if o.waiting {
		b = o.newest.AppendKey(b)
	}
	if o.inFlight {
		b = o.sent.AppendKey(b)
	}
	return o.offered.AppendKey(b)
}

func bit(on bool) byte {
	if on {
		return 1
	}
	return 0
}
