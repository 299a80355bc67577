package check

import (
	"testing"

	"example.com/kpls-agent/internal/config"
)

func TestCheckStall(t *testing.T) {
	values := func(idle, backoff string) map[string]config.RunningValue {
		return map[string]config.RunningValue{
			"metadata.max.idle.interval.ms": {Value: idle}, "replica.fetch.backoff.ms": {Value: backoff},
		}
	}
	const wait = ": a producer with acks=all may wait about a second whenever a broker restarts; `broker_properties: {"
	old, next := config.Version{Major: 4, Minor: 0, Patch: 2}, config.Version{Major: 4, Minor: 1, Patch: 0}
	for _, tt := range []struct {
		idle, backoff string
		version       config.Version
		want          string
	}{
		{"500", "1000", old, "metadata.max.idle.interval.ms is 500, replica.fetch.backoff.ms is 1000" + wait +
			"metadata.max.idle.interval.ms: 50, replica.fetch.backoff.ms: 50}` in the manifest shortens that"},
		{"50", "1000", old, "metadata.max.idle.interval.ms is 50, replica.fetch.backoff.ms is 1000" + wait +
			"replica.fetch.backoff.ms: 50}` in the manifest shortens that"},
		{"500", "1000", next, "replica.fetch.backoff.ms is 1000" + wait + "replica.fetch.backoff.ms: 50}` in the manifest shortens that"},
		{"500", "50", next, "short: replica.fetch.backoff.ms is 50"},
		{"500", "1000", config.Version{}, "metadata.max.idle.interval.ms is 500, replica.fetch.backoff.ms is 1000" + wait +
			"metadata.max.idle.interval.ms: 50, replica.fetch.backoff.ms: 50}` in the manifest shortens that"},
	} {
		if f := checkStall(values(tt.idle, tt.backoff), tt.version); f.Level != OK || f.Text != tt.want {
			t.Errorf("%s, %s on %v: %s %s\nwant %s", tt.idle, tt.backoff, tt.version, f.Level, f.Text, tt.want)
		}
	}
	if f := checkStall(nil, old); f.Level != Warning {
		t.Errorf("with no value: %+v", f)
	}
}
