package check

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"example.com/kpls-agent/internal/config"
	"example.com/kpls-agent/internal/host"
	"example.com/kpls-agent/internal/probe"
	"example.com/kpls-agent/internal/report"
)

// Whether a load balancer asks the probe ports, as the agent that runs here knows it.

// The names of what an agent measures of it, without the prefix.
const (
	lastAnsweredName = "probe_last_answered_timestamp_seconds"
	lastSpokenName   = "probe_spoken_timestamp_seconds"
	HalfOpenName     = "half_open_connection_timestamp_seconds"
)

// askedLately is for how long a probe port that nobody asks is no news: the slowest
// probe of a cloud comes every 5 min, and most every 5 to 30 s.
const askedLately = time.Minute

// spokenLately is for how long it is news that something else than a TCP check was seen
// at a probe port, of which one connection a minute is looked at.
const spokenLately = 3 * time.Minute

// value is a metric of the agent that runs here, for a listener or "" for all; false if it has none.
func (n Neighbour) value(name, listener string) (float64, bool) {
	if listener != "" {
		name += fmt.Sprintf("{listener=%q}", listener)
	}
	return n.series(name)
}

// series is one series of the agent that runs here; false if it has none.
func (n Neighbour) series(name string) (float64, bool) {
	_, rest, found := strings.Cut(string(n), "\n"+name+" ")
	text, _, _ := strings.Cut(rest, "\n")
	v, err := strconv.ParseFloat(text, 64)
	return v, found && err == nil
}

// since is the time since a timestamp among the metrics; false if there is none yet.
func (n Neighbour) since(name, listener string, now time.Time) (time.Duration, bool) {
	v, ok := n.value(name, listener)
	return ago(v, now), ok && v != 0
}

func ago(timestamp float64, now time.Time) time.Duration {
	return now.Sub(time.UnixMilli(int64(timestamp * 1e3)))
}

// spoken says what else than a TCP check came to a probe port lately; empty if nothing did.
func (n Neighbour) spoken(listener string, now time.Time) string {
	for _, p := range probe.Protocols() {
		v, ok := n.series(fmt.Sprintf("kpls_agent_%s{listener=%q,protocol=%q}", lastSpokenName, listener, string(p)))
		if d := ago(v, now); ok && v != 0 && d <= spokenLately {
			return fmt.Sprintf("%s was spoken to it %s ago; %s", p, report.Elapsed(d), p.Advice(listener))
		}
	}
	return ""
}

// asked says in one sentence when a load balancer last asked an open probe port. It is
// not ok if nobody does, or not by TCP, as far as this agent process is old enough to know.
func (n Neighbour) asked(listener string, now time.Time) (text string, ok bool) {
	if text := n.spoken(listener, now); text != "" {
		return text, false
	}
	if port, ok := n.series(fmt.Sprintf("kpls_agent_probe_former_port{listener=%q}", listener)); ok && port != 0 {
		return fmt.Sprintf("no probe has come to it since the manifest moved it from %.0f, which is answered as well until then; "+
			"point the load balancer's check at the new port", port), false
	}
	last, ever := n.since("kpls_agent_"+lastAnsweredName, listener, now)
	if ever && last <= askedLately {
		return fmt.Sprintf("a probe came %s ago", report.Elapsed(last)), true
	}
	lives, known := n.since("process_start_time_seconds", "", now)
	switch {
	case known && lives <= askedLately:
		return fmt.Sprintf("no probe has come since the agent started %s ago", report.Elapsed(lives)), true
	case ever:
		text = fmt.Sprintf("the last probe came %s ago", report.Elapsed(last))
	default:
		text = "no probe has come since the agent started"
		if known {
			text += fmt.Sprintf(" %s ago", report.Elapsed(lives))
		}
	}
	text += "; let the load balancer probe this port"
	if half, seen := n.since("kpls_agent_"+HalfOpenName, "", now); seen && half <= askedLately {
		text += fmt.Sprintf(". Connections that are given up half-open do come to this machine (the last one %s ago): "+
			"so does HAProxy's TCP check without `linger`; give it `option tcp-check` and `tcp-check connect linger`",
			report.Elapsed(half))
	}
	return text, false
}

// checkAsked is a finding for each probe port that is open.
func checkAsked(agent Neighbour, d config.Desired, now time.Time) []Finding {
	var findings []Finding
	for _, e := range d.Endpoints {
		if !agent.Open(e.Name) {
			continue
		}
		what := "load balancer of " + e.Name
		if text, ok := agent.asked(e.Name, now); ok {
			findings = append(findings, well(what, "%s", text))
		} else {
			findings = append(findings, doubtful(what, "probe port %d is open, and %s", e.ProbePort, text))
		}
	}
	return findings
}

// OwnProbes are the lines of `status` on the open probes of this VM, of which only its
// agent knows whether somebody asks.
func OwnProbes(agent Neighbour, now time.Time) []string {
	var lines []string
	for line := range strings.Lines(string(agent)) {
		line, open := strings.CutSuffix(line, "\"} 1\n")
		listener, probe := strings.CutPrefix(line, "kpls_agent_probe_open{listener=\"")
		if open && probe {
			text, _ := agent.asked(listener, now)
			lines = append(lines, fmt.Sprintf("probe of %s on this VM: %s", listener, text))
		}
	}
	return lines
}

// Neighbour is the agent that runs here, as its metrics show it; empty if none answers.
type Neighbour string

// Runs is true if an agent answered.
func (n Neighbour) Runs() bool { return strings.Contains(string(n), "\nkpls_agent_build_info{") }

// version is that of the agent; empty if none answers.
func (n Neighbour) version() string {
	_, rest, _ := strings.Cut(string(n), "\nkpls_agent_build_info{version=\"")
	version, _, _ := strings.Cut(rest, "\"")
	return version
}

// Open is true if the agent keeps the probe port of the listener open.
func (n Neighbour) Open(listener string) bool {
	return strings.Contains(string(n), fmt.Sprintf("\nkpls_agent_probe_open{listener=%q} 1\n", listener))
}

// AskNeighbour asks the agent that may run here.
func AskNeighbour(ctx context.Context, listen string) Neighbour {
	name, port, err := net.SplitHostPort(listen)
	if err != nil {
		return ""
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet,
		"http://"+net.JoinHostPort(host.DialHost(name), port)+"/metrics", nil)
	if err != nil {
		return ""
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "" // as a rule: nobody listens
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 4<<20))
	if err != nil {
		return ""
	}
	return Neighbour("\n" + string(body))
}
