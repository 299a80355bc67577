package sandbox_test

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"example.com/kpls-agent/test/patience"
	"example.com/kpls-agent/test/sandbox"
)

// gate is a TCP port that can be opened and closed; it echoes.
type gate struct {
	t    *testing.T
	addr string
	l    net.Listener
}

func newGate(t *testing.T) *gate {
	g := &gate{t: t, addr: "127.0.0.1:0"}
	g.open()
	g.addr = g.l.Addr().String()
	t.Cleanup(g.close)
	return g
}

func (g *gate) open() {
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", g.addr)
	if err != nil {
		g.t.Fatal(err)
	}
	g.l = l
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				io.Copy(conn, conn) //nolint:errcheck // an echo
			}()
		}
	}()
}

func (g *gate) close() { g.l.Close() }

func startForwarder(t *testing.T, opts sandbox.ForwarderOptions) *sandbox.Forwarder {
	t.Helper()
	f := sandbox.NewForwarder(opts)
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := f.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		cancel()
		running.Wait()
	})
	return f
}

// echo sends one byte through conn and waits for it.
func echo(conn net.Conn) error {
	conn.SetDeadline(time.Now().Add(20 * time.Second)) //nolint:errcheck // a live connection
	if _, err := conn.Write([]byte{1}); err != nil {
		return err
	}
	_, err := io.ReadFull(conn, make([]byte, 1))
	return err
}

func dial(t *testing.T, addr string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", addr)
	if err == nil {
		t.Cleanup(func() { conn.Close() })
	}
	return conn, err
}

func freeAddr(t *testing.T) string {
	g := newGate(t)
	g.close()
	return g.addr
}

func TestForwarderFollowsTheProbe(t *testing.T) {
	backend, probe, front := newGate(t), newGate(t), freeAddr(t)
	f := startForwarder(t, sandbox.ForwarderOptions{
		Fronts:   []sandbox.Front{{Listen: front, Backend: backend.addr, Probe: probe.addr}},
		Interval: 20 * time.Millisecond, Fall: 3,
	})
	patience.Until(t, "the backend is in", func() bool { return f.Up(0) })
	flow, err := dial(t, front)
	if err != nil {
		t.Fatal(err)
	}
	if err := echo(flow); err != nil {
		t.Fatal(err)
	}

	probe.close()
	patience.Until(t, "the backend is out", func() bool { return !f.Up(0) })
	if _, err := dial(t, front); err == nil {
		t.Error("a new connection to a backend that is out succeeded")
	}
	if err := echo(flow); err != nil {
		t.Errorf("an old connection: %v", err)
	}
	failed := 0
	for _, p := range f.Probes(0) {
		if !p.OK {
			failed++
		}
	}
	if failed < 3 {
		t.Errorf("out after %d failed probes, want 3", failed)
	}

	probe.open()
	patience.Until(t, "the backend is in again", func() bool { return f.Up(0) })
	if changes := f.Changes(0); len(changes) != 3 {
		t.Errorf("changes %v, want in, out, in", changes)
	}

	backend.close() // refuses, while the probe is held open
	conn, err := dial(t, front)
	if err == nil { // the reset may come before or after the connection counts as made
		err = echo(conn)
	}
	if err == nil {
		t.Error("an answer from a backend that refuses")
	}
}

func TestSilentForwarderLetsClientsWait(t *testing.T) {
	backend, probe, front := newGate(t), newGate(t), freeAddr(t)
	probe.close()
	f := startForwarder(t, sandbox.ForwarderOptions{
		Fronts:   []sandbox.Front{{Listen: front, Backend: backend.addr, Probe: probe.addr}},
		Interval: 20 * time.Millisecond, Silent: true,
	})
	patience.Until(t, "a first probe", func() bool { return len(f.Probes(0)) > 0 })
	conn, err := dial(t, front)
	if err != nil {
		t.Fatal(err)
	}
	conn.SetDeadline(time.Now().Add(100 * time.Millisecond)) //nolint:errcheck // a live connection
	if _, err := conn.Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("read from a silent front: %v, want a time-out", err)
	}
	probe.open()
	if err := echo(conn); err != nil {
		t.Errorf("after the backend came in: %v", err)
	}
}
