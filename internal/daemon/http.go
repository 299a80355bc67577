package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"example.com/kpls-agent/internal/agent"
	"example.com/kpls-agent/internal/portuse"
	"example.com/kpls-agent/internal/wait"
)

// pulse is when the loop last went round.
type pulse struct{ at atomic.Int64 }

func (p *pulse) beat() { p.at.Store(time.Now().UnixNano()) }

func (p *pulse) age() time.Duration { return time.Since(time.Unix(0, p.at.Load())) }

// stuckAfter is how long the loop may take for a round before /healthz says so.
const stuckAfter = 6 * agent.BeatEvery

// mostConnections is how many connections to the HTTP port are open at a time at most.
const mostConnections = 256

// newRegistry registers everything this agent measures under kpls_agent_.
func newRegistry(groups ...[]prometheus.Collector) (*prometheus.Registry, error) {
	reg := prometheus.NewRegistry()
	own := prometheus.WrapRegistererWithPrefix("kpls_agent_", reg)
	errs := []error{
		reg.Register(collectors.NewGoCollector()),
		reg.Register(collectors.NewProcessCollector(collectors.ProcessCollectorOpts{})),
	}
	for _, group := range groups {
		for _, c := range group {
			errs = append(errs, own.Register(c))
		}
	}
	return reg, errors.Join(errs...)
}

func buildInfo(version string) []prometheus.Collector {
	build := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "build_info", Help: "1, with the agent's version."},
		[]string{"version"})
	build.WithLabelValues(version).Set(1)
	return []prometheus.Collector{build}
}

// web is the agent's HTTP server. Nothing it serves changes anything.
type web struct {
	addr   string
	reg    *prometheus.Registry
	ready  http.Handler
	pulse  *pulse
	notes  *notes
	failed prometheus.Counter // attempts to listen
	log    *slog.Logger
}

// newBindFailures counts the attempts of a web to listen that failed.
func newBindFailures() prometheus.Counter {
	return prometheus.NewCounter(prometheus.CounterOpts{
		Name: "http_bind_failures_total",
		Help: "Attempts to listen on http.listen that failed, such as while another process held the port.",
	})
}

// The first and the longest pause before a port that could not be had is tried again.
const listenPause, listenPauseMost = time.Second, 30 * time.Second

// serve answers until ctx ends. A port that cannot be had is no reason to end: metrics
// are a side matter, and the probes and the roll-out go on without them.
func (w *web) serve(ctx context.Context) error {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(w.reg, promhttp.HandlerOpts{MaxRequestsInFlight: 4}))
	mux.Handle("GET /readyz", w.ready)
	mux.Handle("GET /readyz/", w.ready)
	mux.HandleFunc("GET /healthz", w.health)
	server := &http.Server{
		Handler: mux, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 5 * time.Second,
		WriteTimeout: 15 * time.Second, IdleTimeout: time.Minute,
		MaxHeaderBytes: 16 << 10, ErrorLog: slog.NewLogLogger(w.log.Handler(), slog.LevelDebug),
	}
	listener := w.listen(ctx)
	if listener == nil {
		return nil // the agent was told to end
	}
	stopped := context.AfterFunc(ctx, func() { _ = server.Close() }) // scrapes can be repeated
	defer stopped()
	if err := server.Serve(&limited{Listener: listener, most: mostConnections}); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// listen tries until it has the port; nil if ctx ended first.
func (w *web) listen(ctx context.Context) net.Listener {
	told := ""
	for pause := listenPause; ; pause = min(2*pause, listenPauseMost) {
		l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", w.addr)
		if err == nil {
			if told != "" {
				w.log.Info("metrics are served now", "listen", w.addr)
				w.notes.set(noteHTTP, "")
			}
			return l
		}
		if ctx.Err() != nil {
			return nil
		}
		w.failed.Inc()
		if text := listenFault(w.addr, err); text != told {
			told = text
			w.log.Warn("no metrics, no /readyz and no /healthz, all else goes on", "err", text)
			w.notes.set(noteHTTP, text)
		}
		if !wait.For(ctx, pause) {
			return nil
		}
	}
}

// listenFault is for the operator.
func listenFault(addr string, err error) string {
	text := fmt.Sprintf("http.listen %s cannot be had (%v)", addr, err)
	_, port, _ := net.SplitHostPort(addr)
	number, convErr := strconv.Atoi(port)
	if convErr == nil && errors.Is(err, syscall.EADDRINUSE) {
		text += "; " + portuse.Advice(number)
	}
	return text + "; or choose another http.listen in the settings; it is tried again"
}

// health says whether the loop goes round, and what else is not well with the agent itself.
func (w *web) health(rw http.ResponseWriter, _ *http.Request) {
	if age := w.pulse.age(); age > stuckAfter {
		http.Error(rw, fmt.Sprintf("the loop has not gone round for %s", age.Round(time.Second)),
			http.StatusServiceUnavailable)
		return
	}
	_, _ = fmt.Fprintln(rw, "ok") // a client that has gone needs no answer
	if text := w.notes.text(); text != "" {
		_, _ = fmt.Fprintln(rw, text)
	}
}

// limited bounds the connections that are open at a time. For each one too many
// the address that has most of them loses its oldest: a probe or a scrape from
// another address is answered however many clients are slow, and what they cost
// stays the same.
type limited struct {
	net.Listener
	most int

	mu   sync.Mutex
	open []*counted // the oldest first
}

// Accept makes room by closing another connection.
func (l *limited) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	own := &counted{Conn: c, by: l}
	if a, ok := c.RemoteAddr().(*net.TCPAddr); ok {
		own.from = a.AddrPort().Addr()
	}
	if out := l.add(own); out != nil {
		_ = out.Close() // its client may come again
	}
	return own, nil
}

// add returns the connection that is one too many, or nil.
func (l *limited) add(c *counted) *counted {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open = append(l.open, c)
	if len(l.open) <= l.most {
		return nil
	}
	per := map[netip.Addr]int{}
	for _, o := range l.open {
		per[o.from]++
	}
	out := l.open[0]
	for _, o := range l.open {
		if per[o.from] > per[out.from] {
			out = o
		}
	}
	return out
}

func (l *limited) remove(c *counted) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if i := slices.Index(l.open, c); i >= 0 { // it may be closed twice
		l.open = slices.Delete(l.open, i, i+1)
	}
}

type counted struct {
	net.Conn
	by   *limited
	from netip.Addr
}

// Close closes the connection, and counts it no more.
func (c *counted) Close() error {
	c.by.remove(c)
	return c.Conn.Close()
}
