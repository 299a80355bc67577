package main

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/procfs"

	"example.com/kpls-agent/internal/config"
)

// Whether a load balancer asks the probe ports, as the agent that runs here knows it.

// The names of what an agent measures of it, without the prefix.
const (
	lastAnsweredName = "probe_last_answered_timestamp_seconds"
	halfOpenName     = "half_open_connection_timestamp_seconds"
)

// halfOpenEvery is how often the kernel's counter is read.
const halfOpenEvery = 5 * time.Second

// newHalfOpen shows when a client last gave a connection up before it was made.
func newHalfOpen() prometheus.Gauge {
	return prometheus.NewGauge(prometheus.GaugeOpts{
		Name: halfOpenName,
		Help: "When a client last reset a connection to this machine before it was made, at any port (TcpExt EmbryonicRsts), in seconds since the epoch; " +
			"0 while none was seen. A load balancer with half-open checks does so at each one, and no process ever sees it.",
	})
}

// watchHalfOpen sets the gauge until ctx ends. Where the counter cannot be read it stays 0.
func watchHalfOpen(ctx context.Context, g prometheus.Gauge, every time.Duration, log *slog.Logger) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	last, err := embryonicResets()
	if err != nil {
		log.Info("half-open checks cannot be seen", "err", err)
		return
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now, err := embryonicResets()
		if err == nil && now > last {
			g.SetToCurrentTime()
		}
		if err == nil {
			last = now
		}
	}
}

// embryonicResets counts the connections of this network namespace that were reset
// before they were made: by the client, as a half-open check does.
func embryonicResets() (float64, error) {
	proc, err := procfs.Self() // /proc/net is not there under ProcSubset=pid
	if err != nil {
		return 0, err
	}
	stat, err := proc.Netstat()
	if err != nil {
		return 0, err
	}
	if stat.EmbryonicRsts == nil {
		return 0, fmt.Errorf("/proc/%d/net/netstat has no EmbryonicRsts", proc.PID)
	}
	return *stat.EmbryonicRsts, nil
}

// askedLately is for how long a probe port that nobody asks is no news: the slowest
// probe of a cloud comes every 5 min, and most every 5 to 30 s.
const askedLately = time.Minute

// value is a metric of the agent that runs here, for a listener or "" for all; false if it has none.
func (n neighbour) value(name, listener string) (float64, bool) {
	if listener != "" {
		name += fmt.Sprintf("{listener=%q}", listener)
	}
	_, rest, found := strings.Cut(string(n), "\n"+name+" ")
	text, _, _ := strings.Cut(rest, "\n")
	v, err := strconv.ParseFloat(text, 64)
	return v, found && err == nil
}

// since is the time since a timestamp among the metrics; false if there is none yet.
func (n neighbour) since(name, listener string, now time.Time) (time.Duration, bool) {
	v, ok := n.value(name, listener)
	if !ok || v == 0 {
		return 0, false
	}
	return now.Sub(time.UnixMilli(int64(v * 1e3))), true
}

// asked says in one sentence when a load balancer last asked an open probe port. It is
// not ok if nobody does, as far as this life of the agent is old enough to know.
func (n neighbour) asked(listener string, now time.Time) (text string, ok bool) {
	last, ever := n.since("kpls_agent_"+lastAnsweredName, listener, now)
	if ever && last <= askedLately {
		return fmt.Sprintf("a probe came %s ago", elapsed(last)), true
	}
	lives, known := n.since("process_start_time_seconds", "", now)
	switch {
	case known && lives <= askedLately:
		return fmt.Sprintf("no probe has come since the agent started %s ago", elapsed(lives)), true
	case ever:
		text = fmt.Sprintf("the last probe came %s ago", elapsed(last))
	default:
		text = "no probe has come since the agent started"
		if known {
			text += fmt.Sprintf(" %s ago", elapsed(lives))
		}
	}
	text += "; let the load balancer probe this port"
	if half, seen := n.since("kpls_agent_"+halfOpenName, "", now); seen && half <= askedLately {
		text += fmt.Sprintf(". Connections that are given up half-open do come to this machine (the last one %s ago): "+
			"so does HAProxy's TCP check without `linger`; give it `option tcp-check` and `tcp-check connect linger`", elapsed(half))
	}
	return text, false
}

// checkAsked is a finding for each probe port that is open.
func checkAsked(agent neighbour, d config.Desired, now time.Time) []finding {
	var findings []finding
	for _, e := range d.Endpoints {
		if !agent.open(e.Name) {
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

// ownProbes are the lines of `status` on the open probes of this VM, of which only its
// agent knows whether somebody asks.
func ownProbes(agent neighbour, now time.Time) string {
	var b strings.Builder
	for line := range strings.Lines(string(agent)) {
		line, open := strings.CutSuffix(line, "\"} 1\n")
		listener, probe := strings.CutPrefix(line, "kpls_agent_probe_open{listener=\"")
		if open && probe {
			text, _ := agent.asked(listener, now)
			fmt.Fprintf(&b, "probe of %s on this VM: %s\n", listener, text)
		}
	}
	return b.String()
}
