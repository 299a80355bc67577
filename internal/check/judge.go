package check

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"example.com/kpls-agent/internal/host"
	"example.com/kpls-agent/internal/unit"
)

// checkJudge tells whether the broker's own Kafka judges a new server.properties before a restart, and what it said
// last. Whether the agent may start it is seen only when it does.
func checkJudge(ctx context.Context, systemd *unit.Systemd, known map[string]*host.Judgement) Finding {
	state, err := systemd.LoadState(ctx, host.JudgeUnit)
	if err != nil {
		return judged(whatJudge, err, "")
	}
	return ofJudge(host.JudgeDropIn, state, known)
}

const whatJudge = "judge"

func ofJudge(dropIn, state string, known map[string]*host.Judgement) Finding {
	const name = whatJudge
	const unasked = "Kafka itself is not asked before a restart what it would refuse: "
	if state != "loaded" {
		return doubtful(name, unasked+"%s is %s; if that is not meant: systemctl unmask %[1]s", host.JudgeUnit, state)
	}
	if _, err := os.Stat(dropIn); errors.Is(err, fs.ErrNotExist) {
		return doubtful(name, unasked+"%s does not exist; `kpls-agent setup` writes it, or says why not", dropIn)
	}
	var last *host.Judgement
	for _, j := range known {
		if last == nil || j.At.After(last.At) {
			last = j
		}
	}
	switch {
	case last == nil:
		return well(name, "set up; no new server.properties has been judged yet")
	case last.Verdict == nil:
		return doubtful(name, "the last new server.properties was not judged by Kafka itself: %s; until that is repaired, "+
			"the agent goes by its own rules alone", last.Fault)
	}
	v := last.Verdict
	by := fmt.Sprintf("Kafka %s on Java %s", v.Kafka, v.Java)
	switch {
	case len(v.Refused) > 0:
		return doubtful(name, "%s refuses the last server.properties that was put to it: %s", by, v.Refused[0])
	case len(v.Unjudged) > 0:
		return well(name, "%s refuses nothing of the last server.properties that was put to it; it could not judge %s", by,
			v.Unjudged[0])
	}
	return well(name, "%s takes the last server.properties that was put to it", by)
}
