package probe

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
)

// Handler answers /readyz and /readyz/LISTENER with the truth that the TCP ports
// tell: 200 where the port is open, 503 and why where it is not.
func (p *Prober) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		facts := p.Facts()
		code, text := http.StatusOK, ""
		for _, name := range slices.Sorted(maps.Keys(facts)) {
			line := "open"
			if !facts[name].Open {
				code, line = http.StatusServiceUnavailable, p.closed(name)
			}
			text += name + ": " + line + "\n"
		}
		if len(facts) == 0 {
			code, text = http.StatusServiceUnavailable, "no listener is managed\n"
		}
		reply(w, code, text)
	})
	mux.HandleFunc("GET /readyz/{listener}", func(w http.ResponseWriter, r *http.Request) {
		name := r.PathValue("listener")
		f, ok := p.Facts()[name]
		switch {
		case !ok:
			reply(w, http.StatusNotFound, "no such managed listener\n")
		case f.Open:
			reply(w, http.StatusOK, "open\n")
		default:
			reply(w, http.StatusServiceUnavailable, p.closed(name)+"\n")
		}
	})
	return mux
}

// closed says why a port is closed.
func (p *Prober) closed(name string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	l := p.listeners[name]
	switch {
	case l == nil:
		return "not managed"
	case l.portErr != "":
		return l.portErr
	case !l.serving:
		return "not serving: " + l.why
	case !p.allowed[name]:
		return "serving here; its probes open when all brokers serve it"
	default:
		return "closed for a planned restart"
	}
}

func reply(w http.ResponseWriter, code int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(code)
	_, _ = fmt.Fprint(w, text) // a client that has gone needs no answer
}
