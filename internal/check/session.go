package check

import (
	"strconv"

	"example.com/kpls-agent/internal/config"
	"example.com/kpls-agent/internal/host"
)

// shortSession is a session that leaves little of the wait, in ms; docs/matrix.md has what it spares a roll-out.
const shortSession = 6000

// checkSession says for how long a broker of Kafka 4 is silent whenever it restarts: until the session of its process
// before has ended, also after a clean stop (KAFKA-19047). Kafka's own value is no fault of the cluster's.
func checkSession(entries map[string]config.RunningValue, n host.Node, v config.Version) []Finding {
	const what, name = "session of a broker", "broker.session.timeout.ms"
	if v.Major < 4 {
		return nil
	}
	session, err := strconv.Atoi(entries[name].Value)
	if err != nil {
		return []Finding{doubtful(what, "the broker does not tell its %s", name)}
	}
	whose := ""
	if !n.Controller {
		whose = " in this broker's file, and that of the controllers counts"
	}
	if session <= shortSession {
		return []Finding{well(what, "short: %s is %d%s", name, session, whose)}
	}
	return []Finding{well(what, "%s is %d%s: a broker that restarts is silent until the session of its process before has "+
		"ended. 4500, with broker.heartbeat.interval.ms=1500, on controllers and brokers shortens that; a broker that "+
		"pauses for so long is then fenced", name, session, whose)}
}
