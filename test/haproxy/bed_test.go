package haproxy

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"example.com/kpls-agent/internal/config"
	"example.com/kpls-agent/internal/render"
)

// patience bounds every wait; nothing is measured by it.
const patience = time.Minute

// program finds HAProxy. Debian has it where only root's PATH leads.
func program(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"haproxy", "/usr/sbin/haproxy"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	t.Fatal("there is no haproxy; test/setup.sh deb installs it")
	return ""
}

// port accepts connections on an address of the loopback network until the test ends, and counts them. Each gets one
// line that says who answers.
type port struct {
	net.Listener
	accepted atomic.Int64
}

func listen(t *testing.T, address, says string) *port {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	p := &port{Listener: l}
	var served sync.WaitGroup
	served.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			p.accepted.Add(1)
			_, _ = io.WriteString(c, says+"\n")
			_ = c.Close()
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		served.Wait()
	})
	return p
}

// free are ports that nothing has on any address of the loopback network.
func free(t *testing.T, n int) []int {
	t.Helper()
	var out []int
	var held []net.Listener
	for range n {
		l, err := net.Listen("tcp", "0.0.0.0:0")
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, l)
		out = append(out, l.Addr().(*net.TCPAddr).Port)
	}
	for _, l := range held {
		_ = l.Close()
	}
	return out
}

// written is what render makes of a manifest.
func written(t *testing.T, manifest string) string {
	t.Helper()
	m, err := config.ParseManifest("manifest.yaml", []byte(manifest))
	if err != nil {
		t.Fatal(err)
	}
	n, err := render.Resolve(m, render.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, target := range render.Targets() {
		if target.Name == "haproxy" {
			out, err := target.Formats[0].Make(n)
			if err != nil {
				t.Fatal(err)
			}
			return string(out.Files[0].Text)
		}
	}
	t.Fatal("there is no target haproxy")
	return ""
}

// balancer is one HAProxy with its folder.
type balancer struct {
	t       *testing.T
	program string
	dir     string
	cmd     *exec.Cmd
	loaded  int // how often the file was loaded
}

func newBalancer(t *testing.T) *balancer {
	t.Helper()
	dir, err := os.MkdirTemp("", "kpls-haproxy") //nolint:usetesting // a socket's path is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return &balancer{t: t, program: program(t), dir: dir}
}

func (b *balancer) path(name string) string { return filepath.Join(b.dir, name) }

// put writes the file, changed only in what needs root or the folders of a package.
func (b *balancer) put(text string, edits ...string) {
	b.t.Helper()
	edits = append(edits,
		"    user haproxy\n", "", "    group haproxy\n", "", "    chroot /var/lib/haproxy\n", "",
		"/run/haproxy/admin.sock", b.path("admin.sock"), "/var/lib/haproxy/server-state", b.path("state"))
	for i := 0; i < len(edits); i += 2 {
		if !strings.Contains(text, edits[i]) {
			b.t.Fatalf("the file has no %q:\n%s", edits[i], text)
		}
	}
	if err := os.WriteFile(b.path("haproxy.cfg"), []byte(strings.NewReplacer(edits...).Replace(text)), 0o600); err != nil {
		b.t.Fatal(err)
	}
}

func (b *balancer) start() {
	b.t.Helper()
	b.cmd = exec.CommandContext(context.WithoutCancel(b.t.Context()), b.program, "-W", "-f", b.path("haproxy.cfg"))
	log, err := os.Create(b.path("log"))
	if err != nil {
		b.t.Fatal(err)
	}
	b.cmd.Stdout, b.cmd.Stderr = log, log
	err = b.cmd.Start()
	_ = log.Close()
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() {
		_ = b.cmd.Process.Signal(syscall.SIGTERM)
		_ = b.cmd.Wait() // it says that it was ended
		if b.t.Failed() {
			b.t.Log(b.said())
		}
	})
	b.until("haproxy answers", func() bool { return b.worker() != 0 })
	b.ready()
}

// said is what HAProxy has written.
func (b *balancer) said() string {
	text, _ := os.ReadFile(b.path("log")) // for messages, and for who waits for more of it
	return string(text)
}

// ready waits until the master process has said that it is. A signal that comes before is lost: systemd knows of it, too.
func (b *balancer) ready() {
	b.t.Helper()
	b.loaded++
	b.until("haproxy has loaded the file", func() bool { return strings.Count(b.said(), "Loading success.") >= b.loaded })
}

// until waits for a condition.
func (b *balancer) until(what string, holds func() bool) {
	b.t.Helper()
	for end := time.Now().Add(patience); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			b.t.Fatalf("it is not so that %s; haproxy says:\n%s", what, b.said())
		}
	}
}

// ask puts a command to the running process; empty is no answer.
func (b *balancer) ask(command string) string {
	c, err := net.DialTimeout("unix", b.path("admin.sock"), time.Second)
	if err != nil {
		return ""
	}
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := io.WriteString(c, command+"\n"); err != nil {
		return ""
	}
	answer, err := io.ReadAll(c)
	if err != nil {
		return ""
	}
	return string(answer)
}

// worker is the process that has the ports now; 0 if none answers.
func (b *balancer) worker() int {
	for line := range strings.Lines(b.ask("show info")) {
		if text, ok := strings.CutPrefix(line, "Pid: "); ok {
			pid, _ := strconv.Atoi(strings.TrimSpace(text))
			return pid
		}
	}
	return 0
}

// status is that of a server, such as "UP" or "DOWN".
func (b *balancer) status(proxy, server string) string {
	for line := range strings.Lines(b.ask("show stat")) {
		if f := strings.Split(line, ","); len(f) > 17 && f[0] == proxy && strings.HasPrefix(f[1], server) {
			return f[17]
		}
	}
	return ""
}

// reload does what docs/on-premises.md says. With saved false it leaves out to save the servers' states.
func (b *balancer) reload(saved bool) {
	b.t.Helper()
	if out, err := exec.CommandContext(b.t.Context(), b.program, "-c", "-q", "-f", b.path("haproxy.cfg")).CombinedOutput(); err != nil {
		b.t.Fatalf("%v\n%s", err, out)
	}
	if saved {
		states := ""
		b.until("haproxy says its servers' states", func() bool { // else there would be no reload
			states = b.ask("show servers state")
			return strings.HasPrefix(states, "1\n") && strings.HasSuffix(states, "\n\n")
		})
		if err := os.WriteFile(b.path("state"), []byte(states), 0o600); err != nil {
			b.t.Fatal(err)
		}
	}
	before := b.worker()
	if err := b.cmd.Process.Signal(syscall.SIGUSR2); err != nil {
		b.t.Fatal(err)
	}
	b.until("a new worker has the ports", func() bool { pid := b.worker(); return pid != 0 && pid != before })
	b.ready()
}

// answer is who answers at a port of the load balancer; empty if nobody does.
func answer(port int) string {
	c, err := net.DialTimeout("tcp", fmt.Sprintf("127.0.0.1:%d", port), time.Second)
	if err != nil {
		return ""
	}
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(5 * time.Second))
	line, _ := bufio.NewReader(c).ReadString('\n')
	return strings.TrimSpace(line)
}
