package sim

import (
	"slices"
	"time"

	"example.com/kpls-agent/internal/restart"
)

const (
	// lookEvery is how often the reasons that agents show are compared with the world.
	lookEvery = time.Minute
	// lookAgain is how soon one is compared again that was false.
	lookAgain = 5 * time.Second
	// standsFor is how long an agent must have shown a reason unchanged before it is compared.
	standsFor = 90 * time.Second
	// falseFor is how long it may then be false all the time: longer than an agent waits for another one's heartbeat,
	// and than every fact is old.
	falseFor = 90 * time.Second
)

// shows is the reason that an agent shows.
type shows struct {
	code   restart.Code
	broker int32 // that it names; 0 for none
	since  time.Time
	wrong  time.Time // since when it was false whenever it was compared; zero for not
}

// reasons compares the reasons that agents have shown unchanged for long with the world. It returns when to do so
// again.
func (j *judge) reasons() time.Time {
	next := j.now.Add(lookEvery)
	for _, a := range j.agents {
		s := &a.shows
		// Nobody can know that a broker shows what was.
		deaf := slices.ContainsFunc(j.brokers, func(b *broker) bool { return b.deaf })
		if deaf || j.since(s.since) < standsFor || !a.able() {
			s.wrong = time.Time{}
			continue
		}
		_, wrong := j.truth(a)
		switch {
		case wrong == "":
			s.wrong = time.Time{}
			continue
		case s.wrong.IsZero():
			s.wrong = j.now
		case j.since(s.wrong) > falseFor:
			j.fail("a true reason, all the time", "agent %d has said %s (%s) for %s, and for %s %s", a.id, s.code,
				a.Status().Reason.Text(), j.since(s.since), j.since(s.wrong), wrong)
		}
		next = j.now.Add(lookAgain)
	}
	return next
}

// able is true for an agent that could know better: it lives, reads and writes the log, and goes on.
func (a *agent) able() bool {
	_, begun := a.Doing()
	hangs := a.busy() && a.since(begun) > appendPatience
	return !a.dead && !hangs && !a.blind && !a.silent && !a.cutOff && !a.cutLog && a.log.up() && a.readErr == "" &&
		a.writeErr == ""
}

// shown notes the reason that an agent shows now.
func (s *shows) shown(st *restart.Status, now time.Time) {
	broker := int32(0)
	if st.Reason.Broker != nil {
		broker = *st.Reason.Broker
	}
	if s.code != st.Reason.Code || s.broker != broker {
		*s = shows{code: st.Reason.Code, broker: broker, since: now}
	}
}
