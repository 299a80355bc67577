package portuse

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestAdvice asks the kernel of this machine about ports that are in use in each way.
func TestAdvice(t *testing.T) {
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	l6, err := net.Listen("tcp", "[::]:0") // both families: in tcp6 only
	if err != nil {
		t.Fatal(err)
	}
	defer l6.Close()
	out, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	mine := fmt.Sprintf("process %d (%s) of user %s listens on it: end that", os.Getpid(), comm(t), me.Username)
	for name, c := range map[string]struct {
		port int
		want string
	}{
		"listens":    {port(l.Addr()), mine},
		"both":       {port(l6.Addr()), mine},
		"outgoing":   {port(out.LocalAddr()), fmt.Sprintf("nobody listens on it, an outgoing connection of user %s has it as its own port", me.Username)},
		"time-wait":  {timeWait(t), "nobody listens on it, a connection that has ended keeps it (TIME-WAIT): it is free again within 61 s"},
		"nobody now": {1, "see `ss -tanp sport = :1` as root"},
	} {
		if got := Advice(c.port); !strings.HasPrefix(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

// TestAdviceOnOthers: of another user's process only the user is seen.
func TestAdviceOnOthers(t *testing.T) {
	proc := t.TempDir()
	table := "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n" +
		"   0: 0100007F:24F8 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4242 1 0000000000000000\n" +
		"   1: torn\n"
	if err := os.MkdirAll(filepath.Join(proc, "self/net"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(proc, "self/net/tcp"), []byte(table), 0o600); err != nil {
		t.Fatal(err)
	}
	const want = "a process of user root listens on it: see `ss -ltnp sport = :9464` as root, end that"
	if got := seeOwners(proc).advice(proc, 9464); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	// What root saw before it became another user.
	if err := os.MkdirAll(filepath.Join(proc, "77/fd"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.WriteFile(filepath.Join(proc, "77/comm"), []byte("java\n"), 0o600), os.Symlink("socket:[4242]", filepath.Join(proc, "77/fd/9"))); err != nil {
		t.Fatal(err)
	}
	if got, want := seeOwners(proc).advice(proc, 9464), "process 77 (java) of user root listens on it: end that"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func port(a net.Addr) int { return a.(*net.TCPAddr).Port }

func comm(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("/proc/self/comm")
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(b))
}

// timeWait leaves a connection in TIME-WAIT at the side that ends it first, and returns its port.
func timeWait(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	out, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	in, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	if err := out.(*net.TCPConn).CloseWrite(); err != nil { // FIN
		t.Fatal(err)
	}
	if _, err := in.Read(make([]byte, 1)); err == nil {
		t.Fatal("no end")
	}
	p := port(out.LocalAddr())
	if err := in.Close(); err != nil { // its FIN: the first side waits
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 1)); err == nil {
		t.Fatal("no end")
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		t.Fatal(err)
	}
	// What the advice is for: not even SO_REUSEADDR, which Java and Go set, has it now.
	err = unix.Bind(fd, &unix.SockaddrInet4{Port: p, Addr: [4]byte{127, 0, 0, 1}})
	if err == nil {
		err = unix.Listen(fd, 1)
	}
	if !errors.Is(err, unix.EADDRINUSE) {
		t.Errorf("a listener on a port in TIME-WAIT: %v", err)
	}
	return p
}
