package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"example.com/kpls-agent/internal/kafka"
	"example.com/kpls-agent/internal/probe"
	"example.com/kpls-agent/internal/restart"
)

// describe returns name, labels and help of every collector, as it describes itself.
func describe(cs []prometheus.Collector) []string {
	var rows []string
	for _, c := range cs {
		ch := make(chan *prometheus.Desc, 10)
		c.Describe(ch)
		close(ch)
		for d := range ch {
			text := d.String()
			field := func(name, end string) string {
				_, rest, _ := strings.Cut(text, name)
				value, _, _ := strings.Cut(rest, end)
				return value
			}
			labels := strings.Trim(field("variableLabels: {", "}"), " ")
			rows = append(rows, fmt.Sprintf("| `kpls_agent_%s` | %s | %s |\n", field(`fqName: "`, `"`), labels, field(`help: "`, `", `)))
		}
	}
	return rows
}

// measured is every collector of an agent.
func measured(t testing.TB) []prometheus.Collector {
	t.Helper()
	prober := probe.New(probe.Options{Logger: slog.New(slog.DiscardHandler)})
	return slices.Concat(buildInfo(), restart.NewMetrics().Collectors(), prober.Collectors(), kafka.NewMetrics().Collectors())
}

func TestMetricsAreDocumented(t *testing.T) {
	var table strings.Builder
	table.WriteString("| metric | labels | meaning |\n| --- | --- | --- |\n")
	for _, row := range describe(measured(t)) {
		table.WriteString(row)
	}
	goldenTable(t, "../../docs/metrics.md", "metrics", table.String())
}

func TestMetricsLint(t *testing.T) {
	reg, err := newRegistry(measured(t))
	if err != nil {
		t.Fatal(err)
	}
	problems, err := testutil.GatherAndLint(reg)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

func TestServeHTTP(t *testing.T) {
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	reg, err := newRegistry(buildInfo())
	if err != nil {
		t.Fatal(err)
	}
	p := &pulse{}
	p.beat()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	ready := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) })
	go func() { done <- serveHTTP(ctx, addr, reg, ready, p, slog.New(slog.DiscardHandler)) }()
	get := func(path string) (int, string) {
		t.Helper()
		deadline := time.Now().Add(30 * time.Second)
		for {
			resp, err := http.Get("http://" + addr + path)
			if err == nil {
				body, _ := io.ReadAll(resp.Body)
				_ = resp.Body.Close()
				return resp.StatusCode, string(body)
			}
			if time.Now().After(deadline) {
				t.Fatal(err)
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
	if code, body := get("/metrics"); code != 200 || !strings.Contains(body, "kpls_agent_build_info{version=") {
		t.Errorf("/metrics: %d %s", code, body)
	}
	if code, _ := get("/readyz/EXTERNAL"); code != 503 {
		t.Errorf("/readyz/EXTERNAL: %d", code)
	}
	if code, _ := get("/healthz"); code != 200 {
		t.Errorf("/healthz: %d", code)
	}
	p.at.Store(time.Now().Add(-time.Minute).UnixNano())
	if code, body := get("/healthz"); code != 503 || !strings.Contains(body, "has not gone round") {
		t.Errorf("/healthz of a stuck loop: %d %s", code, body)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
