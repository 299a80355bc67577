package daemon

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"syscall"
	"testing"
	"time"

	"example.com/kpls-agent/internal/check"
	"example.com/kpls-agent/internal/host"
	"example.com/kpls-agent/test/patience"
)

// A port that is held is told from a free one, and a running agent's from a stranger's.
func TestPortsOfANeighbour(t *testing.T) {
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().(*net.TCPAddr)
	if err := host.Bindable(t.Context(), "127.0.0.1", addr.Port); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("held: %v", err)
	}
	l.Close()
	if err := host.Bindable(t.Context(), "127.0.0.1", addr.Port); err != nil {
		t.Errorf("free: %v", err)
	}
	if n := check.AskNeighbour(t.Context(), addr.String()); n.Runs() || n.Open("EXTERNAL") {
		t.Errorf("nobody runs: %q", n)
	}
	reg, err := newRegistry(buildInfo("devel"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		w := &web{
			addr: addr.String(), reg: reg, ready: http.NotFoundHandler(), pulse: &pulse{}, notes: &notes{},
			failed: newBindFailures(), log: slog.New(slog.DiscardHandler),
		}
		done <- w.serve(ctx)
	}()
	defer func() { cancel(); <-done }()
	for deadline := time.Now().Add(patience.Long); !check.AskNeighbour(t.Context(), addr.String()).Runs(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the agent is never seen")
		}
	}
	n := check.Neighbour("\nkpls_agent_probe_open{listener=\"A\"} 1\nkpls_agent_probe_open{listener=\"B\"} 0\n")
	if !n.Open("A") || n.Open("B") || n.Open("C") {
		t.Errorf("the ports of %q", n)
	}
}
