package check

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"example.com/kpls-agent/internal/host"
)

// checkJudge tells whether the broker's own Kafka judges a new server.properties before a restart, and what it said
// last.
func checkJudge(dropIn string, known map[string]*host.Judgement) Finding {
	const name = "judge"
	if _, err := os.Stat(dropIn); errors.Is(err, fs.ErrNotExist) {
		return doubtful(name, "Kafka itself is not asked before a restart what it would refuse: %s does not exist; "+
			"`kpls-agent setup` writes it, or says why not", dropIn)
	}
	var last *host.Judgement
	for _, j := range known {
		if last == nil || j.At.After(last.At) {
			last = j
		}
	}
	switch {
	case last == nil:
		return well(name, "Kafka itself is asked before the next restart that changes server.properties; no file has been "+
			"judged yet")
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
