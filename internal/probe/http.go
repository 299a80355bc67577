package probe

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Handler answers GET /readyz/LISTENER as the listener's TCP port does, with 200
// or 503 and one line that says why, and GET /readyz for all listeners at once.
// Answers of 200 for one listener count as probes.
func (p *Prober) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /readyz/{listener}", func(w http.ResponseWriter, r *http.Request) {
		status, line := p.ready(r.PathValue("listener"))
		write(w, status, line)
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		status, lines := p.allReady()
		write(w, status, lines)
	})
	return mux
}

func (p *Prober) ready(name string) (int, string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	l := p.listeners[name]
	if l == nil || !l.hasTarget {
		line := "no listener of that name is managed"
		if names := p.names(); len(names) > 0 {
			line += "; those are: " + strings.Join(names, ", ")
		}
		return http.StatusNotFound, line
	}
	open, line := l.line(time.Now())
	if !open {
		return http.StatusServiceUnavailable, line
	}
	l.answered()
	return http.StatusOK, line
}

func (p *Prober) allReady() (int, string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	names := p.names()
	if len(names) == 0 {
		return http.StatusServiceUnavailable, "no listener is managed"
	}
	status, now := http.StatusOK, time.Now()
	var lines []string
	for _, name := range names {
		open, line := p.listeners[name].line(now)
		if !open {
			status = http.StatusServiceUnavailable
		}
		lines = append(lines, line)
	}
	return status, strings.Join(lines, "\n")
}

// names lists the listeners that have a target.
func (p *Prober) names() []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(p.listeners)),
		func(name string) bool { return !p.listeners[name].hasTarget })
}

func write(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = fmt.Fprintln(w, text) // a client that has gone needs no answer
}
