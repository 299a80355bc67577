package check

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"example.com/kpls-agent/internal/config"
)

// TestAsked: when a load balancer last asked, as the agent's metrics say.
func TestAsked(t *testing.T) {
	now := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	ago := func(d time.Duration) string { return fmt.Sprintf("%f", float64(now.Add(-d).UnixMilli())/1e3) }
	const hour = time.Hour
	for name, c := range map[string]struct {
		open, last, started, half string // "" is a series that is not there
		level                     Level
		says, not                 string
		http                      string
	}{
		"asked now":          {"1", ago(2 * time.Second), ago(hour), "0", OK, "a probe came 2s ago", ";", ""},
		"asked long ago":     {"1", ago(20 * time.Minute), ago(hour), "0", Warning, "probe port 39192 is open, and the last probe came 20m00s ago; let the load balancer probe this port", "linger", ""},
		"never":              {"1", "0", ago(hour), "0", Warning, "no probe has come since the agent started 1h00m ago", "linger", ""},
		"half-open":          {"1", "0", ago(hour), ago(3 * time.Second), Warning, "(the last one 3s ago): so does HAProxy's TCP check without `linger`", "linger`; give", ""},
		"half-open long ago": {"1", "0", ago(hour), ago(hour), Warning, "no probe has come", "linger", ""},
		"the agent is young": {"1", "0", ago(5 * time.Second), "0", OK, "no probe has come since the agent started 5s ago", ";", ""},
		"an older agent":     {"1", "", "", "", Warning, "no probe has come since the agent started; let", "linger", ""},
		"closed":             {"0", "0", ago(hour), "0", "", "", "", ""},
		"HTTP now":           {"1", ago(time.Second), ago(hour), "0", Warning, "HTTP was spoken to it 20s ago; the port answers nothing, so the load balancer takes this broker for down: let it probe by TCP, or by HTTP at the agent's HTTP port (http.listen), path /readyz/EXTERNAL", "linger", ago(20 * time.Second)},
		"HTTP long ago":      {"1", ago(time.Second), ago(hour), "0", OK, "a probe came 1s ago", "HTTP", ago(10 * time.Minute)},
		"HTTP never":         {"1", ago(time.Second), ago(hour), "0", OK, "a probe came 1s ago", "HTTP", "0"},
	} {
		metrics := "\n"
		for series, v := range map[string]string{
			`kpls_agent_probe_open{listener="EXTERNAL"}`: c.open, `kpls_agent_` + lastAnsweredName + `{listener="EXTERNAL"}`: c.last,
			"process_start_time_seconds": c.started, "kpls_agent_" + HalfOpenName: c.half,
			`kpls_agent_` + lastSpokenName + `{listener="EXTERNAL",protocol="http"}`: c.http,
		} {
			if v != "" {
				metrics += series + " " + v + "\n"
			}
		}
		agent := Neighbour(metrics)
		found := checkAsked(agent, config.Desired{Endpoints: []config.Endpoint{{Name: "EXTERNAL", ProbePort: 39192}}}, now)
		own := strings.Join(OwnProbes(agent, now), "\n")
		if c.level == "" {
			if len(found) != 0 || own != "" {
				t.Errorf("%s: %+v %q", name, found, own)
			}
			continue
		}
		if len(found) != 1 || found[0].Level != c.level || !strings.Contains(found[0].Text, c.says) || name != "half-open" && strings.Contains(found[0].Text, c.not) {
			t.Errorf("%s: %+v", name, found)
			continue
		}
		text := strings.TrimPrefix(found[0].Text, "probe port 39192 is open, and ")
		if own != "probe of EXTERNAL on this VM: "+text {
			t.Errorf("%s: status says %q", name, own)
		}
	}
}
