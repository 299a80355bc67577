package unit

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/activation"
	"github.com/coreos/go-systemd/v22/daemon"
	"golang.org/x/sys/unix"
)

// Notifier tells systemd about the agent itself (sd_notify(3)). Where systemd
// did not start the agent, every method does nothing and returns nil.
type Notifier struct {
	socket   string
	watchdog time.Duration
}

// NewNotifier reads NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID from the environment.
func NewNotifier() (*Notifier, error) {
	every, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		return nil, fmt.Errorf("read the watchdog's time: %w", err)
	}
	return &Notifier{socket: os.Getenv("NOTIFY_SOCKET"), watchdog: every}, nil
}

// WatchdogTimeout is the time after which systemd kills an agent that has not
// called Watchdog; 0 is never. Call it at least twice in that time.
func (n *Notifier) WatchdogTimeout() time.Duration { return n.watchdog }

// Ready says that the agent has started or reloaded.
func (n *Notifier) Ready() error { return n.send("READY=1\n") }

// Status shows one line in `systemctl status`.
func (n *Notifier) Status(status string) error {
	return n.send("STATUS=" + strings.Join(strings.Fields(status), " ") + "\n")
}

// Reloading says that the agent has begun to reload; Ready ends it.
func (n *Notifier) Reloading() error {
	return n.send("RELOADING=1\n" + daemon.SdNotifyMonotonicUsec())
}

// Stopping says that the agent is about to end.
func (n *Notifier) Stopping() error { return n.send("STOPPING=1\n") }

// Watchdog says that the agent is alive.
func (n *Notifier) Watchdog() error { return n.send("WATCHDOG=1\n") }

// Store gives systemd a copy of a socket under a name, to be handed to the next
// life of the agent. The unit needs FileDescriptorStoreMax=.
func (n *Notifier) Store(name string, c syscall.Conn) error {
	if err := validName(name); err != nil {
		return err
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return fmt.Errorf("store the socket %s: %w", name, err)
	}
	var sent error
	// Not through File and Fd, which would make the socket blocking.
	err = raw.Control(func(fd uintptr) {
		sent = n.send("FDSTORE=1\nFDNAME="+name+"\n", int(fd))
	})
	return errors.Join(err, sent)
}

// Forget has systemd drop every socket that it keeps under the name.
func (n *Notifier) Forget(name string) error {
	if err := validName(name); err != nil {
		return err
	}
	return n.send("FDSTOREREMOVE=1\nFDNAME=" + name + "\n")
}

// validName holds for what systemd takes as a name (sd_pid_notify_with_fds(3)).
func validName(name string) error {
	bad := func(r rune) bool { return r <= ' ' || r > '~' || r == ':' }
	if name == "" || len(name) > 255 || strings.ContainsFunc(name, bad) {
		return fmt.Errorf("%q cannot name a stored socket", name)
	}
	return nil
}

// send bounds its time: a systemd that hangs must not hang the agent.
func (n *Notifier) send(state string, fds ...int) error {
	if n.socket == "" {
		return nil
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: n.socket, Net: "unixgram"})
	if err != nil {
		return fmt.Errorf("notify systemd: %w", err)
	}
	defer conn.Close() // nothing is buffered
	if err := conn.SetWriteDeadline(time.Now().Add(time.Second)); err != nil {
		return fmt.Errorf("notify systemd: %w", err)
	}
	var rights []byte
	if len(fds) > 0 {
		rights = unix.UnixRights(fds...)
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return fmt.Errorf("notify systemd: %w", err)
	}
	var sent error
	err = raw.Write(func(fd uintptr) bool {
		sent = unix.Sendmsg(int(fd), []byte(state), rights, nil, 0)
		return !errors.Is(sent, unix.EAGAIN) && !errors.Is(sent, unix.EINTR)
	})
	if err = errors.Join(err, sent); err != nil {
		return fmt.Errorf("notify systemd: %w", err)
	}
	return nil
}

// StoredListeners takes over the listening TCP sockets that systemd kept, by
// name. Call it once, early: it takes every inherited socket, closes those that
// do not listen any more, and removes LISTEN_* from the environment.
func StoredListeners() map[string]*net.TCPListener {
	out := map[string]*net.TCPListener{}
	for _, f := range activation.Files(true) {
		if l := tcpListener(f); l != nil {
			if out[f.Name()] == nil {
				out[f.Name()] = l
			} else {
				_ = l.Close() // the same socket, stored twice
			}
		}
		_ = f.Close()
	}
	return out
}

func tcpListener(f *os.File) *net.TCPListener {
	listening := 0
	raw, err := f.SyscallConn()
	if err != nil {
		return nil
	}
	err = raw.Control(func(fd uintptr) {
		listening, _ = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
	})
	if err != nil || listening == 0 {
		return nil
	}
	l, err := net.FileListener(f)
	if err != nil {
		return nil
	}
	t, ok := l.(*net.TCPListener)
	if !ok {
		_ = l.Close()
		return nil
	}
	return t
}
