package daemon

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/procfs"

	"example.com/kpls-agent/internal/check"
)

// halfOpenEvery is how often the kernel's counter is read.
const halfOpenEvery = 5 * time.Second

// newHalfOpen shows when a client last gave a connection up before it was made.
func newHalfOpen() prometheus.Gauge {
	return prometheus.NewGauge(prometheus.GaugeOpts{
		Name: check.HalfOpenName,
		Help: "When a client last reset a connection to this machine before it was made, at any port (TcpExt " +
			"EmbryonicRsts), in seconds since the epoch; " +
			"0 while none was seen. A load balancer with half-open checks does so at each one, and no process ever " +
			"sees it.",
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
