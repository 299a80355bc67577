package daemon

import (
	"context"
	"log/slog"
	"net"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"golang.org/x/sys/unix"

	"example.com/kpls-agent/test/patience"
)

// TestHalfOpen: a connection that its client resets before it is made, as HAProxy's plain
// check does by turning quick ACKs off and closing with SO_LINGER 0, is seen in the
// kernel's counter; a whole one is not. The counter is one for the whole machine, so
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
	for deadline := time.Now().Add(patience.Long); testutil.ToFloat64(g) == 0; time.Sleep(100 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("half-open connections are not seen")
		}
		halfOpen()
	}
	if now, err := embryonicResets(); err != nil || now <= before {
		t.Errorf("the counter was %v and is %v (%v)", before, now, err)
	}
}
