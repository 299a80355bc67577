package check

import (
	"strings"
	"testing"

	"example.com/kpls-agent/internal/config"
	"example.com/kpls-agent/internal/host"
)

// TestSession: what it spares is measured on real brokers by TestMatrixSessions (test/e2e).
func TestSession(t *testing.T) {
	combined, alone := host.Node{}, host.Node{}
	combined.Controller = true
	for _, c := range []struct {
		name, value string
		node        host.Node
		major       int
		level       Level
		want        string // nothing is said where it is empty
	}{
		{"Kafka's own", "9000", combined, 4, OK, "broker.session.timeout.ms is 9000: a broker that restarts is silent until"},
		{"shorter", "4500", combined, 4, OK, "short: broker.session.timeout.ms is 4500"},
		{"controllers elsewhere", "9000", alone, 4, OK, "broker.session.timeout.ms is 9000 in this broker's file, and that of the controllers counts: "},
		{"not told", "", combined, 4, Warning, "the broker does not tell its broker.session.timeout.ms"},
		{"Kafka 3", "9000", combined, 3, OK, ""},
	} {
		got := checkSession(map[string]config.RunningValue{"broker.session.timeout.ms": {Value: c.value}}, c.node, config.Version{Major: c.major})
		switch {
		case c.want == "" && len(got) == 0:
		case len(got) != 1 || got[0].Level != c.level || !strings.HasPrefix(got[0].Text, c.want):
			t.Errorf("%s: %+v", c.name, got)
		}
	}
}
