package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"example.com/kpls-agent/internal/restart"
)

// pulse is when the loop last went round.
type pulse struct{ at atomic.Int64 }

func (p *pulse) beat() { p.at.Store(time.Now().UnixNano()) }

func (p *pulse) age() time.Duration { return time.Since(time.Unix(0, p.at.Load())) }

// stuckAfter is how long the loop may not have gone round before /healthz says so.
const stuckAfter = 6 * restart.BeatEvery

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

func buildInfo() []prometheus.Collector {
	build := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "build_info", Help: "1, with the agent's version."}, []string{"version"})
	build.WithLabelValues(version).Set(1)
	return []prometheus.Collector{build}
}

// serveHTTP answers until ctx ends. Nothing it serves changes anything.
func serveHTTP(ctx context.Context, addr string, reg *prometheus.Registry, ready http.Handler, p *pulse, log *slog.Logger) error {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(reg, promhttp.HandlerOpts{MaxRequestsInFlight: 4}))
	mux.Handle("GET /readyz", ready)
	mux.Handle("GET /readyz/", ready)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		if age := p.age(); age > stuckAfter {
			http.Error(w, fmt.Sprintf("the loop has not gone round for %s", age.Round(time.Second)), http.StatusServiceUnavailable)
			return
		}
		_, _ = fmt.Fprintln(w, "ok") // a client that has gone needs no answer
	})
	server := &http.Server{
		Handler: mux, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 5 * time.Second, WriteTimeout: 15 * time.Second, IdleTimeout: time.Minute,
		MaxHeaderBytes: 16 << 10, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
	if err != nil {
		return fmt.Errorf("listen for metrics: %w; choose another http.listen in the settings", err)
	}
	stopped := context.AfterFunc(ctx, func() { _ = server.Close() }) // scrapes can be repeated
	defer stopped()
	if err := server.Serve(&limited{Listener: listener, slots: make(chan struct{}, 256)}); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// limited bounds the connections that are open at a time.
type limited struct {
	net.Listener
	slots chan struct{}
}

// Accept waits for a free slot.
func (l *limited) Accept() (net.Conn, error) {
	l.slots <- struct{}{}
	c, err := l.Listener.Accept()
	if err != nil {
		<-l.slots
		return nil, err
	}
	return &slotted{Conn: c, free: func() { <-l.slots }}, nil
}

type slotted struct {
	net.Conn
	free  func()
	freed atomic.Bool
}

// Close gives the slot back.
func (s *slotted) Close() error {
	if s.freed.CompareAndSwap(false, true) {
		s.free()
	}
	return s.Conn.Close()
}
