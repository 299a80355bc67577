package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"golang.org/x/sys/unix"

	"example.com/kpls-agent/internal/config"
)

// TestAsked: when a balancer last asked, as the agent's metrics tell it.
func TestAsked(t *testing.T) {
	now := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	ago := func(d time.Duration) string { return fmt.Sprintf("%f", float64(now.Add(-d).UnixMilli())/1e3) }
	const hour = time.Hour
	for name, c := range map[string]struct {
		open, last, started, half string // "" is a series that is not there
		level                     level
		says, not                 string
	}{
		"asked now":          {"1", ago(2 * time.Second), ago(hour), "0", levelOK, "a probe came 2s ago", ";"},
		"asked long ago":     {"1", ago(20 * time.Minute), ago(hour), "0", levelWarning, "probe port 39192 is open, and the last probe came 20m00s ago; let the load balancer probe this port", "linger"},
		"never":              {"1", "0", ago(hour), "0", levelWarning, "no probe has come since the agent started 1h00m ago", "linger"},
		"half-open":          {"1", "0", ago(hour), ago(3 * time.Second), levelWarning, "(the last one 3s ago): so does HAProxy's TCP check without `linger`", "linger`; give"},
		"half-open long ago": {"1", "0", ago(hour), ago(hour), levelWarning, "no probe has come", "linger"},
		"the agent is young": {"1", "0", ago(5 * time.Second), "0", levelOK, "no probe has come since the agent started 5s ago", ";"},
		"an older agent":     {"1", "", "", "", levelWarning, "no probe has come since the agent started; let", "linger"},
		"closed":             {"0", "0", ago(hour), "0", "", "", ""},
	} {
		metrics := "\n"
		for series, v := range map[string]string{
			`kpls_agent_probe_open{listener="EXTERNAL"}`: c.open, `kpls_agent_` + lastAnsweredName + `{listener="EXTERNAL"}`: c.last,
			"process_start_time_seconds": c.started, "kpls_agent_" + halfOpenName: c.half,
		} {
			if v != "" {
				metrics += series + " " + v + "\n"
			}
		}
		agent := neighbour(metrics)
		found := checkAsked(agent, config.Desired{Endpoints: []config.Endpoint{{Name: "EXTERNAL", ProbePort: 39192}}}, now)
		own := ownProbes(agent, now)
		if c.level == "" {
			if len(found) != 0 || own != "" {
				t.Errorf("%s: %+v %q", name, found, own)
			}
			continue
		}
		if len(found) != 1 || found[0].Level != c.level || !strings.Contains(found[0].Text, c.says) || name != "half-open" && strings.Contains(found[0].Text, c.not) {
			t.Errorf("%s: %+v", name, found)
			continue
		}
		text := strings.TrimPrefix(found[0].Text, "probe port 39192 is open, and ")
		if own != "probe of EXTERNAL on this VM: "+text+"\n" {
			t.Errorf("%s: status says %q", name, own)
		}
	}
}

// TestHalfOpen: a connection that its client resets before it is made, as HAProxy's plain
// check does by turning quick ACKs off and closing with SO_LINGER 0, is seen in the
// kernel's counter; a whole one is not. The counter is one for the whole machine, so that
// only its growth can be tested.
func TestHalfOpen(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	before, err := embryonicResets()
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	halfOpen := func() {
		t.Helper()
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		// The third packet of the handshake is held back until the socket is closed.
		for _, set := range []func() error{
			func() error { return unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_QUICKACK, 0) },
			func() error {
				return unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
			},
			func() error { return unix.Connect(fd, &unix.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}}) },
			func() error { return unix.Close(fd) },
		} {
			if err := set(); err != nil {
				t.Fatal(err)
			}
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	g, done := newHalfOpen(), make(chan struct{})
	go func() { defer close(done); watchHalfOpen(ctx, g, 50*time.Millisecond, slog.New(slog.DiscardHandler)) }()
	defer func() { cancel(); <-done }()
	for deadline := time.Now().Add(30 * time.Second); testutil.ToFloat64(g) == 0; time.Sleep(100 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("half-open connections are not seen")
		}
		halfOpen()
	}
	if now, err := embryonicResets(); err != nil || now <= before {
		t.Errorf("the counter was %v and is %v (%v)", before, now, err)
	}
}
