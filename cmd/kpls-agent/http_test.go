package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"example.com/kpls-agent/internal/probe"
	"example.com/kpls-agent/internal/restart"
)

var updateDocs = flag.Bool("update-docs", false, "write docs/metrics.md anew")

const metricsHead = `# Metrics

Served at ` + "`/metrics`" + ` of the agent's HTTP address (` + "`http.listen`" + `, ` + "`:9464`" + ` by default), beside ` + "`/readyz`" + `,
` + "`/readyz/LISTENER`" + ` and ` + "`/healthz`" + `. Go's and the process's own metrics (` + "`go_*`, `process_*`" + `) come with them. This table is
held equal to the code by a test.

| metric | labels | meaning |
| --- | --- | --- |
`

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

func TestMetricsAreDocumented(t *testing.T) {
	prober := probe.New(probe.Options{Logger: slog.New(slog.DiscardHandler)})
	want := metricsHead + "| `kpls_agent_build_info` | version | 1, with the agent's version. |\n" +
		strings.Join(describe(restart.NewMetrics().Collectors()), "") + strings.Join(describe(prober.Collectors()), "")
	const path = "../../docs/metrics.md"
	if *updateDocs {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("docs/metrics.md differs from the code; run `go test ./cmd/kpls-agent -run Metrics -update-docs`. It should be\n%s", want)
	}
}

func TestMetricsLint(t *testing.T) {
	prober := probe.New(probe.Options{Logger: slog.New(slog.DiscardHandler)})
	reg, err := newRegistry(restart.NewMetrics().Collectors(), prober.Collectors())
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
	reg, err := newRegistry()
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
