package check

import (
	"fmt"
	"strconv"
	"strings"

	"example.com/kpls-agent/internal/config"
)

// shortWait is the value that is proposed, in ms; docs/matrix.md has what it spares a producer.
const shortWait = 50

// checkStall says which settings of the brokers make clients wait in the restart of a broker, and what to write into
// the manifest instead. Kafka's own values are no fault of the cluster's.
func checkStall(entries map[string]config.RunningValue, v config.Version) Finding {
	const what = "stall in a restart"
	var now, better []string
	for _, name := range config.StallProperties(v) {
		value, err := strconv.Atoi(entries[name].Value)
		if err != nil {
			return doubtful(what, "the broker does not tell its %s", name)
		}
		now = append(now, fmt.Sprintf("%s is %d", name, value))
		if value > 2*shortWait {
			better = append(better, fmt.Sprintf("%s: %d", name, shortWait))
		}
	}
	if len(better) == 0 {
		return well(what, "short: %s", strings.Join(now, ", "))
	}
	return well(what, "%s: a producer with acks=all may wait about a second whenever a broker restarts; "+
		"`broker_properties: {%s}` in the manifest shortens that", strings.Join(now, ", "), strings.Join(better, ", "))
}
