package daemon

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"example.com/kpls-agent/internal/agent"
	"example.com/kpls-agent/internal/host"
	"example.com/kpls-agent/internal/kafka"
	"example.com/kpls-agent/internal/probe"
	"example.com/kpls-agent/test/patience"
	"example.com/kpls-agent/test/tables"
)

var update = flag.Bool("update", false, "write the golden files")

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
	return slices.Concat(
		buildInfo("devel"), agent.NewMetrics().Collectors(), host.NewNotes(slog.New(slog.DiscardHandler)).Collectors(),
		prober.Collectors(), kafka.NewMetrics().Collectors(), []prometheus.Collector{newBindFailures(), newHalfOpen(), newSettingsRefused(false)},
	)
}

func TestMetricsAreDocumented(t *testing.T) {
	var table strings.Builder
	table.WriteString("| metric | labels | meaning |\n| --- | --- | --- |\n")
	for _, row := range describe(measured(t)) {
		table.WriteString(row)
	}
	if err := tables.Hold("../../docs/metrics.md", "metrics", "\n"+table.String()+"\n", *update); err != nil {
		t.Error(err)
	}
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

// lines is a log that may be read while it is written.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// TestServeHTTP: the port is another process's first, which is said with its name, and
// served as soon as it is free.
func TestServeHTTP(t *testing.T) {
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	reg, err := newRegistry(buildInfo("devel"))
	if err != nil {
		t.Fatal(err)
	}
	var log lines
	w := &web{
		addr: addr, reg: reg, pulse: &pulse{}, notes: &notes{}, failed: newBindFailures(), log: slog.New(slog.NewTextHandler(&log, nil)),
		ready: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) }),
	}
	w.pulse.beat()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.serve(ctx) }()
	for deadline := time.Now().Add(patience.Long); w.notes.text() == ""; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("a taken port is not said")
		}
	}
	want := fmt.Sprintf("http.listen %s cannot be had (listen tcp %s: bind: address already in use); process %d (", addr, addr, os.Getpid())
	if text := w.notes.text(); !strings.HasPrefix(text, want) || !strings.HasSuffix(text, "listens on it: end that; or choose another http.listen in the settings; it is tried again") {
		t.Errorf("said %q, want %q", text, want)
	}
	if text := log.String(); strings.Count(text, "level=WARN") != 1 || testutil.ToFloat64(w.failed) < 1 {
		t.Errorf("%v failures, logged %s", testutil.ToFloat64(w.failed), text)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	get := func(path string) (int, string) {
		t.Helper()
		deadline := time.Now().Add(patience.Long)
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
	if code, body := get("/healthz"); code != 200 || body != "ok\n" {
		t.Errorf("/healthz: %d %s", code, body)
	}
	w.notes.set(noteSettings, "the settings are old")
	if code, body := get("/healthz"); code != 200 || body != "ok\nthe settings are old\n" {
		t.Errorf("/healthz with a note: %d %s", code, body)
	}
	w.pulse.at.Store(time.Now().Add(-time.Minute).UnixNano())
	if code, body := get("/healthz"); code != 503 || !strings.Contains(body, "has not gone round") {
		t.Errorf("/healthz of a stuck loop: %d %s", code, body)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestPortNeverFree: an agent that waits for its port ends when it is told to.
func TestPortNeverFree(t *testing.T) {
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	w := &web{addr: l.Addr().String(), pulse: &pulse{}, notes: &notes{}, failed: newBindFailures(), log: slog.New(slog.DiscardHandler), ready: http.NotFoundHandler()}
	if w.reg, err = newRegistry(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.serve(ctx) }()
	for deadline := time.Now().Add(patience.Long); w.notes.text() == "" && time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
	}
	cancel()
	if err := <-done; err != nil || testutil.ToFloat64(w.failed) < 1 {
		t.Errorf("%v, %v failures", err, testutil.ToFloat64(w.failed))
	}
}
