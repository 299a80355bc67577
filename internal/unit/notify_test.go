package unit

import (
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"example.com/kpls-agent/test/patience"
)

// manager receives what systemd would.
func manager(t *testing.T) *net.UnixConn {
	t.Helper()
	path := filepath.Join(t.TempDir(), "notify")
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetReadDeadline(time.Now().Add(patience.Long)); err != nil {
		t.Fatal(err)
	}
	t.Setenv("NOTIFY_SOCKET", path)
	return c
}

func receive(t *testing.T, c *net.UnixConn) (string, []int) {
	t.Helper()
	b, oob := make([]byte, 1024), make([]byte, 256)
	n, m, _, _, err := c.ReadMsgUnix(b, oob)
	if err != nil {
		t.Fatal(err)
	}
	var fds []int
	messages, err := unix.ParseSocketControlMessage(oob[:m])
	if err != nil {
		t.Fatal(err)
	}
	for _, cm := range messages {
		got, err := unix.ParseUnixRights(&cm)
		if err != nil {
			t.Fatal(err)
		}
		fds = append(fds, got...)
	}
	return string(b[:n]), fds
}

func TestNotify(t *testing.T) {
	c := manager(t)
	t.Setenv("WATCHDOG_USEC", "30000000")
	t.Setenv("WATCHDOG_PID", strconv.Itoa(os.Getpid()))
	n, err := NewNotifier()
	if err != nil {
		t.Fatal(err)
	}
	if n.WatchdogTimeout() != 30*time.Second {
		t.Errorf("watchdog %s", n.WatchdogTimeout())
	}
	for want, send := range map[string]func() error{
		"READY=1\n":                          n.Ready,
		"STATUS=idle, all is well READY=0\n": func() error { return n.Status("idle,\nall is  well\nREADY=0") },
		"STOPPING=1\n":                       n.Stopping,
		"WATCHDOG=1\n":                       n.Watchdog,
		"FDSTOREREMOVE=1\nFDNAME=EXTERNAL\n": func() error { return n.Forget("EXTERNAL") },
	} {
		if err := send(); err != nil {
			t.Fatal(err)
		}
		if got, _ := receive(t, c); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	if err := n.Reloading(); err != nil {
		t.Fatal(err)
	}
	if got, _ := receive(t, c); !strings.HasPrefix(got, "RELOADING=1\nMONOTONIC_USEC=") {
		t.Errorf("got %q", got)
	}
}

func TestNotifyStoresAWorkingCopy(t *testing.T) {
	c := manager(t)
	n, err := NewNotifier()
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Store("EXTERNAL", l); err != nil {
		t.Fatal(err)
	}
	got, fds := receive(t, c)
	if got != "FDSTORE=1\nFDNAME=EXTERNAL\n" || len(fds) != 1 {
		t.Fatalf("got %q with %d sockets", got, len(fds))
	}
	f := os.NewFile(uintptr(fds[0]), "EXTERNAL")
	defer f.Close()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	again := tcpListener(f)
	if again == nil {
		t.Fatal("the copy is no listening socket")
	}
	defer again.Close()
	client, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	served, err := again.Accept()
	if err != nil {
		t.Fatal(err)
	}
	served.Close()
}

func TestNotifyBadNames(t *testing.T) {
	n := &Notifier{}
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, name := range []string{"", "a:b", "a\nREADY=1", strings.Repeat("x", 256)} {
		if err := n.Store(name, l); err == nil {
			t.Errorf("%q is stored", name)
		}
		if err := n.Forget(name); err == nil {
			t.Errorf("%q is forgotten", name)
		}
	}
}

func TestNotifyWithoutSystemd(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	n, err := NewNotifier()
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Ready(); err != nil || n.WatchdogTimeout() != 0 {
		t.Errorf("got %v, %s", err, n.WatchdogTimeout())
	}
	t.Setenv("NOTIFY_SOCKET", filepath.Join(t.TempDir(), "gone"))
	if n, err = NewNotifier(); err != nil {
		t.Fatal(err)
	}
	if err := n.Watchdog(); err == nil || !strings.HasPrefix(err.Error(), "notify systemd: ") {
		t.Errorf("got %v", err)
	}
	t.Setenv("WATCHDOG_USEC", "soon")
	if _, err := NewNotifier(); err == nil {
		t.Error("a nonsensical watchdog time is no error")
	}
}

// TestStoredListeners starts this test again as systemd starts a service that
// has stored sockets: two that listen, a copy, one that does not, and a file.
func TestStoredListeners(t *testing.T) {
	if os.Getenv("STORED_CHILD") != "" {
		got := StoredListeners()
		for _, name := range slices.Sorted(maps.Keys(got)) {
			fmt.Println("stored", name, got[name].Addr())
		}
		if again := StoredListeners(); len(again) != 0 || os.Getenv("LISTEN_FDS") != "" {
			t.Errorf("taken twice: %v", again)
		}
		return
	}
	var files []*os.File
	var addrs []string
	for range 3 {
		l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		f, err := l.File()
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		files, addrs = append(files, f), append(addrs, l.Addr().String())
	}
	if err := unix.Shutdown(int(files[2].Fd()), unix.SHUT_RDWR); err != nil {
		t.Fatal(err)
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	cmd := exec.CommandContext(t.Context(), "/bin/sh", "-c", `LISTEN_PID=$$ exec "$0" -test.run='^TestStoredListeners$' -test.v`, os.Args[0])
	cmd.ExtraFiles = []*os.File{files[0], files[1], files[0], files[2], null}
	cmd.Env = append(os.Environ(), "STORED_CHILD=1", "LISTEN_FDS=5", "LISTEN_FDNAMES=A:B:A:GONE:NULL")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	want := "stored A " + addrs[0] + "\nstored B " + addrs[1] + "\n"
	if !strings.Contains(string(out), want) || strings.Contains(string(out), "GONE") {
		t.Errorf("got %s, want %s", out, want)
	}
}
