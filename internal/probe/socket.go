package probe

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"example.com/kpls-agent/internal/portuse"
	"example.com/kpls-agent/internal/wait"
)

// socket is an open probe port: it accepts and closes, one connection at a time,
// so that nobody can make it hold more than one.
type socket struct {
	tcp     *net.TCPListener
	arrived func(*socket)  // for each connection
	looked  func(net.Conn) // for each connection, before it is closed
	former  atomic.Bool    // the port was moved away from here
	done    atomic.Bool
}

func newSocket(l *net.TCPListener, arrived func(*socket), looked func(net.Conn)) *socket {
	return &socket{tcp: l, arrived: arrived, looked: looked}
}

// backlog is how many connections may wait in a probe port. A running agent takes
// each at once. Where nobody does, as behind a socket that systemd keeps for a
// stopped agent, backlog + 1 probes are answered by the kernel, and then no more: they
// time out. At one probe in 5 s that is after 10 min; the default of Go, 4096, would be
// hours. A burst is no more than the checkers of a load balancer at one instant.
const backlog = 128

// queue makes a listening socket keep no more than backlog connections. That listen(2)
// may be called again is Linux's own rule (inet_listen).
func queue(l *net.TCPListener) error {
	raw, err := l.SyscallConn()
	if err != nil {
		return err
	}
	var set error
	return errors.Join(raw.Control(func(fd uintptr) { set = unix.Listen(int(fd), backlog) }), set)
}

// empty throws away what waits in a socket that was kept while nobody answered: those
// probes are of the past, and most of their clients have gone. It does not wait.
func empty(l *net.TCPListener) {
	raw, err := l.SyscallConn()
	if err != nil {
		return // closed: nothing waits in it
	}
	_ = raw.Control(func(fd uintptr) {
		for range 2 * mostWaiting { // whatever comes meanwhile
			conn, _, err := unix.Accept4(int(fd), unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK)
			switch {
			case err == nil:
				_ = unix.Close(conn)
			case !errors.Is(err, unix.EINTR) && !errors.Is(err, unix.ECONNABORTED):
				return // EAGAIN, as a rule: it is empty
			}
		}
	})
}

// mostWaiting is more than Linux lets wait in one socket (net.core.somaxconn, 4096 by
// default), such as in one that an earlier version of the agent opened.
const mostWaiting = 4096

// listen opens a port. The error is for the operator.
func listen(host string, port int) (*net.TCPListener, error) {
	var ip net.IP
	if host != "" {
		if ip = net.ParseIP(host); ip == nil {
			return nil, fmt.Errorf(
				"the probe's address %q is no IP address; correct the broker's `host` in the manifest", host)
		}
	}
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: ip, Port: port})
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("the probe port %d is taken; %s, or choose another probe_port (%w)", port,
			portuse.Advice(port), err)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return nil, fmt.Errorf(
			"the probe's address %s is none of this machine's; correct `bind` of the listener, or the broker's `host`, in the manifest (%w)", host,
			err)
	case errors.Is(err, syscall.EACCES):
		return nil, fmt.Errorf("the agent has no right to open the probe port %d; choose one above 1023 (%w)", port,
			err)
	case err != nil:
		return nil, fmt.Errorf("open the probe port %d: %w", port, err)
	}
	if err := queue(l); err != nil {
		return nil, errors.Join(fmt.Errorf("bound what waits in the probe port %d: %w", port, err), l.Close())
	}
	return l, nil
}

// place is where the socket listens; an empty host is all addresses.
func (s *socket) place() (host string, port int) {
	addr, err := netip.ParseAddrPort(s.tcp.Addr().String())
	if err == nil && !addr.Addr().IsUnspecified() {
		host = addr.Addr().Unmap().String()
	}
	return host, int(addr.Port())
}

// at is true if the socket listens where it should.
func (s *socket) at(host string, port int) bool {
	addr, err := netip.ParseAddrPort(s.tcp.Addr().String())
	if err != nil || int(addr.Port()) != port {
		return false
	}
	want, err := netip.ParseAddr(host)
	if err != nil || want.IsUnspecified() {
		return addr.Addr().IsUnspecified()
	}
	return addr.Addr().Unmap() == want.Unmap()
}

// serve answers until the socket is shut or released, or ctx ends.
func (s *socket) serve(ctx context.Context) {
	pause := time.Duration(0)
	for {
		conn, err := s.tcp.Accept()
		if err != nil {
			if s.done.Load() || errors.Is(err, net.ErrClosed) {
				return
			}
			// Out of file descriptors, most likely: the kernel goes on accepting meanwhile.
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			if !wait.For(ctx, pause) {
				return
			}
			continue
		}
		pause = 0
		s.arrived(s)
		s.looked(conn)
		_ = conn.Close() // all there is to say has been said
	}
}

// shut makes the port refuse connections. Closing alone would not: systemd may
// keep a copy of the socket, and the kernel would go on accepting for it.
func (s *socket) shut() {
	s.done.Store(true)
	if raw, err := s.tcp.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) { _ = unix.Shutdown(int(fd), unix.SHUT_RDWR) })
	}
	_ = s.tcp.Close()
}

// release ends serving and leaves a copy, if somebody keeps one, listening.
func (s *socket) release() {
	s.done.Store(true)
	_ = s.tcp.Close()
}
