package host

import (
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"example.com/kpls-agent/internal/config"
)

// contestedWithin is the time in which a second rewrite means that another program
// writes server.properties regularly, such as a run of configuration management.
const contestedWithin = 24 * time.Hour

// Notes tells the log and the metrics what happens to server.properties. A nil
// one tells nothing: commands look at the file once.
type Notes struct {
	log   *slog.Logger
	total prometheus.Counter
	now   func() time.Time

	mu sync.Mutex
	// agreed is the manifest that the file was last seen or made to agree with.
	agreed string
	undone []time.Time // within contestedWithin
}

// NewNotes returns one that has seen no file yet.
func NewNotes(log *slog.Logger) *Notes {
	return &Notes{log: log, now: time.Now, total: prometheus.NewCounter(prometheus.CounterOpts{
		Name: "file_rewrites_total",
		Help: "Times that somebody else changed the agent's lines of server.properties under the same manifest; " +
			"the agent restores them.",
	})}
}

// Collectors returns what is to be registered.
func (n *Notes) Collectors() []prometheus.Collector { return []prometheus.Collector{n.total} }

// looked is told what the manifest would change in the file as it is.
func (n *Notes) looked(manifest string, d config.Desired, r *config.Rendered) {
	if n == nil {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if !r.Changed {
		n.agreed = manifest
		return
	}
	if n.agreed != manifest {
		return // the manifest is new, or this agent has put the last good file back
	}
	n.agreed = ""
	n.total.Inc()
	now := n.now()
	for len(n.undone) > 0 && now.Sub(n.undone[0]) >= contestedWithin {
		n.undone = n.undone[1:]
	}
	n.undone = append(n.undone, now)
	if len(n.undone) < 2 {
		n.log.Info("somebody else changed the agent's lines of server.properties", "properties", r.Keys)
		return
	}
	n.log.Warn("somebody else keeps changing the agent's lines of server.properties; "+
		"let whoever writes the file write them as well, or leave them alone",
		"properties", r.Keys, "times", len(n.undone), "within", contestedWithin, "must_hold", d.Items())
}

// writing is told before the file is replaced.
func (n *Notes) writing(r *config.Rendered) {
	if n == nil {
		return
	}
	for _, w := range r.Warnings {
		n.log.Warn("server.properties is written", "warning", w)
	}
	n.log.Info("server.properties is written", "properties", r.Keys)
}

// wrote is told after the file was replaced by what a manifest asks for; "" is the last good copy.
func (n *Notes) wrote(manifest string) {
	if n == nil {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.agreed = manifest
}
