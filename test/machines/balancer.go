package machines

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"example.com/kpls-agent/test/sandbox"
)

// firstPort is the load balancer's port that leads to broker 1; the others follow.
const firstPort = 9093

// Probing says how a load balancer probes, by TCP on the brokers' probe port.
type Probing struct {
	Interval   time.Duration
	Fall, Rise int // failed probes in a row that take a broker out, good ones that bring it back
	// Plain is HAProxy's own `check`, which ends each connection before it is made.
	Plain bool
	// HTTP has HAProxy ask by HTTP, which a probe port does not answer.
	HTTP bool
}

// Azure is the fastest that Azure's load balancer can do, Fast is for tests without patience.
var (
	Azure = Probing{Interval: 5 * time.Second, Fall: 2, Rise: 2}
	Fast  = Probing{Interval: 500 * time.Millisecond, Fall: 2, Rise: 2}
)

// Balancer is the load balancer: its ports 9093 to 9095 lead to the EXTERNAL
// listener of b1 to b3, each as long as the broker's probe answers.
type Balancer struct {
	bed  *Bed
	stop func() error

	mu      sync.Mutex
	changes map[int32][]sandbox.Change // guarded by mu
}

// HAProxy starts HAProxy: a proxy with connections of its own.
func (b *Bed) HAProxy(ctx context.Context, p Probing) (*Balancer, error) {
	l := &Balancer{bed: b, changes: map[int32][]sandbox.Change{}}
	path := filepath.Join(dir, "haproxy.cfg")
	text, err := b.haproxyConfig(ctx, p)
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	cmd := b.LB.Command(ctx, "haproxy", "-db", "-f", path)
	cmd.SysProcAttr = &unix.SysProcAttr{Setsid: true}
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		cancel()
		return nil, err
	}
	read := make(chan struct{})
	go func() { defer close(read); l.follow(out) }()
	l.stop = func() error {
		cancel()
		<-read
		_ = cmd.Wait() // it was killed
		return nil
	}
	return l, b.listening(ctx, l)
}

// haproxyConfig is what `kpls-agent render haproxy` writes for these machines, so a roll-out with real clients tries it.
// Changed is only what is special to this bed: the paths, how fast HAProxy asks, and how it asks where a test wants
// that to be wrong.
func (b *Bed) haproxyConfig(ctx context.Context, p Probing) (string, error) {
	root, err := sandbox.ModuleRoot()
	if err != nil {
		return "", err
	}
	program := filepath.Join(root, "dist", "host", "kpls-agent")
	cmd := exec.CommandContext(ctx, program, "render", "haproxy", "--manifest", "-")
	cmd.Stdin = strings.NewReader(b.manifest())
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s; make deb builds the program: %w", cmd, err)
	}
	const whole = "    option tcp-check\n    tcp-check connect linger\n"
	edits := []string{
		"inter 5000ms rise 2 fall 2", fmt.Sprintf("inter %dms rise %d fall %d", p.Interval.Milliseconds(), p.Rise, p.Fall),
		"/run/haproxy/admin.sock", filepath.Join(dir, "haproxy.sock"),
		"/var/lib/haproxy/server-state", filepath.Join(dir, "haproxy.state"),
	}
	switch {
	case p.Plain: // resets each connection before it is made
		edits = append(edits, whole, "")
	case p.HTTP:
		edits = append(edits, whole, "    option httpchk\n")
	}
	for i := 0; i < len(edits); i += 2 {
		if !strings.Contains(string(out), edits[i]) {
			return "", fmt.Errorf("the rendered haproxy.cfg has no %q:\n%s", edits[i], out)
		}
	}
	return strings.NewReplacer(edits...).Replace(string(out)), nil
}

// manifest is the procedure's, with the addresses of the machines.
func (b *Bed) manifest() string {
	var text strings.Builder
	fmt.Fprintf(&text, `version: 1
cluster: kafka-pls
listeners:
  EXTERNAL:
    bind: 0.0.0.0:%s
    security_protocol: PLAINTEXT
    advertised: <broker_id>.%s:<port>
    probe_port: %s
brokers:
`, ExternalPort, Domain, ProbePort)
	for i, m := range b.Machines {
		fmt.Fprintf(&text, "  %d: {ports: {EXTERNAL: %d}, host: %s}\n", m.ID, firstPort+i, m.Addr)
	}
	return text.String()
}

// follow reads HAProxy's log: "Server external-b1/b1-39092-39192 is DOWN, ..." for a change, and
// "Health check for server external-b1/b1-39092-39192 succeeded, ..." for the first state of all.
func (l *Balancer) follow(log io.Reader) {
	for lines := bufio.NewScanner(log); lines.Scan(); {
		line := lines.Text()
		for _, m := range l.bed.Machines {
			name := fmt.Sprintf("erver external-%s/%s-%s-%s ", m.Name, m.Name, ExternalPort, ProbePort)
			_, what, found := strings.Cut(line, name)
			if !found {
				continue
			}
			switch {
			case strings.HasPrefix(what, "is UP"), strings.HasPrefix(what, "succeeded") && l.unknown(m.ID):
				l.note(m.ID, true)
			case strings.HasPrefix(what, "is DOWN"):
				l.note(m.ID, false)
			}
		}
	}
}

// listening waits until HAProxy has its ports.
func (b *Bed) listening(ctx context.Context, l *Balancer) error {
	for deadline := time.Now().Add(20 * time.Second); ; pause() {
		if b.LB.Accepts(ctx, "127.0.0.1:"+strconv.Itoa(firstPort+Brokers-1)) {
			return nil
		}
		if time.Now().After(deadline) {
			return errors.Join(
				errors.New(
					"haproxy does not listen; see what it says by: haproxy -c -f "+filepath.Join(dir, "haproxy.cfg")),
				l.Close(),
			)
		}
	}
}

func (l *Balancer) unknown(id int32) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.changes[id]) == 0
}

func (l *Balancer) note(id int32, up bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.changes[id] = append(l.changes[id], sandbox.Change{At: time.Now(), Up: up})
}

// Up is true while the load balancer sends clients to a broker.
func (l *Balancer) Up(id int32) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.changes[id]
	return len(c) > 0 && c[len(c)-1].Up
}

// Changes are all changes of a broker between in and out, oldest first.
func (l *Balancer) Changes(id int32) []sandbox.Change {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.changes[id])
}

// Close ends the load balancer. It may be called twice.
func (l *Balancer) Close() error {
	if l.stop == nil {
		return nil
	}
	stop := l.stop
	l.stop = nil
	return stop()
}
