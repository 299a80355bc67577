package probe

import (
	"errors"
	"net"
	"syscall"
)

// former is where a listener's probe was answered before the manifest moved it. The load balancer asks there until
// somebody changes its check, and would see the broker as down; so that place is answered as well, until a probe has
// come to the new one. It is open exactly while the new one should be.
type former struct {
	host string
	port int
	sock *socket // nil: closed
}

// formerName is the name under which the socket of a former place is kept for the next agent process. No listener's
// name has a full stop.
const formerName = ".former"

// move makes the place of the open socket the former one. Of several moves before the first probe, the place that the
// load balancer was last seen to ask is kept.
func (l *listener) move(old Target) {
	sock := l.sock
	l.sock = nil
	switch f := l.former; {
	case l.formerIs(l.target): // and back again
		l.sock, l.former = f.sock, &former{old.Host, old.Port, sock}
		l.sock.former.Store(false)
		sock.former.Store(true)
		l.prober.o.OnClose(l.name)
		l.prober.o.OnClose(l.name + formerName)
		l.prober.o.OnListen(l.name, l.sock.tcp)
		l.prober.o.OnListen(l.name+formerName, sock.tcp)
	case f != nil:
		sock.shut()
		l.prober.o.OnClose(l.name)
	default:
		l.former = &former{old.Host, old.Port, sock}
		sock.former.Store(true)
		l.prober.o.OnClose(l.name) // first: systemd keeps a socket under one name only, the first
		l.prober.o.OnListen(l.name+formerName, sock.tcp)
	}
	l.asked.Store(false)
	l.prober.o.Logger.Info("probe port moves; the one before is answered as well until a probe comes to the new one",
		"listener", l.name, "before", l.former.port, "port", l.target.Port)
}

// formerIs is true if the former place is open and is a target's.
func (l *listener) formerIs(t Target) bool {
	return l.former != nil && l.former.sock != nil && l.former.sock.at(t.Host, t.Port)
}

// comeBack makes the former place the one that counts again: the new one could never be had.
func (l *listener) comeBack() {
	l.sock, l.former = l.former.sock, nil
	l.sock.former.Store(false)
	l.prober.o.OnClose(l.name + formerName)
	l.prober.o.OnListen(l.name, l.sock.tcp)
}

// listen opens the port of the target. Where the former place is in its way, as all addresses are in the way of one of
// them, that closes first; it opens again if the new one cannot be had then, either.
func (l *listener) listen() (*net.TCPListener, error) {
	tcp, err := listen(l.target.Host, l.target.Port)
	f := l.former
	if f == nil || f.sock == nil || f.port != l.target.Port || !errors.Is(err, syscall.EADDRINUSE) {
		return tcp, err
	}
	l.shutFormer()
	tcp, err = listen(l.target.Host, l.target.Port)
	if err != nil {
		l.openFormer()
	}
	return tcp, err
}

// openFormer opens the former place again, if it can be had: it was closed with the new one, or for it.
func (l *listener) openFormer() {
	f := l.former
	if f == nil || f.sock != nil {
		return
	}
	tcp, err := listen(f.host, f.port)
	if err != nil {
		if l.sock != nil {
			l.former = nil // the new socket covers it, or somebody else has it
		}
		return
	}
	f.sock = l.newFormerSocket(tcp)
	l.prober.spawn(f.sock.serve)
	l.prober.o.OnListen(l.name+formerName, tcp)
}

func (l *listener) newFormerSocket(tcp *net.TCPListener) *socket {
	s := newSocket(tcp, l.arrived, l.looked)
	s.former.Store(true)
	return s
}

func (l *listener) shutFormer() {
	if l.former != nil && l.former.sock != nil {
		l.former.sock.shut()
		l.former.sock = nil
		l.prober.o.OnClose(l.name + formerName)
	}
}

// leaveFormer gives the former place up once a probe has come to the new one.
func (l *listener) leaveFormer() {
	if l.former == nil || l.sock == nil || !l.asked.Load() {
		return
	}
	l.prober.o.Logger.Info("the load balancer asks the new probe port; the one before closes", "listener", l.name,
		"before", l.former.port, "port", l.target.Port)
	l.shutFormer()
	l.former = nil
}

// isOpen is whether the load balancer finds a port open.
func (l *listener) isOpen() bool { return l.sock != nil || l.former != nil && l.former.sock != nil }

// inheritFormer takes over the socket of a former place from an earlier agent process.
func (l *listener) inheritFormer(tcp *net.TCPListener) {
	f := &former{sock: l.newFormerSocket(tcp)}
	f.host, f.port = f.sock.place()
	l.former = f
}
