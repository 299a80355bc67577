package machines

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// prefix marks the names of everything that a bed makes on the host.
const prefix = "kpls-"

// Domain is the domain of the published procedure's example.
const Domain = "abc.eastus.azure.3199745.tidbcloud.com"

// Host is one end of a cable: a network namespace with one address.
type Host struct {
	Name, Addr string
}

// hosts are all that hang on the switch.
func hosts() map[string]*Host {
	all := map[string]*Host{}
	for name, n := range map[string]int{"b1": 11, "b2": 12, "b3": 13, "lb": 20, "client": 30, "mon": 40} {
		all[name] = &Host{Name: name, Addr: fmt.Sprintf("10.77.0.%d", n)}
	}
	return all
}

// switchNS is the namespace that holds the bridge. The host's own has no interface
// of the bed, so nothing can leave it.
const switchNS = prefix + "sw"

func (h *Host) netns() string { return prefix + h.Name }

func (h *Host) netnsPath() string { return "/run/netns/" + h.netns() }

// etc is the directory whose files `ip netns exec` puts over those in /etc.
func (h *Host) etc() string { return "/etc/netns/" + h.netns() }

// connect makes the switch and all hosts.
func connect(ctx context.Context, all map[string]*Host) error {
	var global, inside strings.Builder
	fmt.Fprintf(&global, "netns add %s\n", switchNS)
	fmt.Fprintf(&inside, "link set lo up\nlink add br0 type bridge\nlink set br0 up\n")
	for _, h := range all {
		fmt.Fprintf(&global, "netns add %s\n", h.netns())
		fmt.Fprintf(&inside, "link add %s type veth peer name eth0 netns %s\nlink set %s master br0 up\n", h.Name,
			h.netns(), h.Name)
	}
	if err := ip(ctx, global.String()); err != nil {
		return err
	}
	if err := ip(ctx, inside.String(), "-n", switchNS); err != nil {
		return err
	}
	for _, h := range all {
		// What cloud-init writes into /etc/sysctl.d on a VM; a container has no right to set it.
		if err := h.within(func() error {
			return os.WriteFile("/proc/sys/net/ipv4/ip_local_reserved_ports", []byte(ExternalPort+","+ProbePort), 0o644)
		}); err != nil {
			return fmt.Errorf("reserve the ports of %s: %w", h.Name, err)
		}
		own := fmt.Sprintf("link set lo up\naddr add %s/24 dev eth0\nlink set eth0 up\n", h.Addr)
		if err := ip(ctx, own, "-n", h.netns()); err != nil {
			return err
		}
	}
	return publish(all["client"], all["lb"].Addr)
}

// publish gives a host what the customer's private DNS zone has: each broker's name
// leads to the load balancer.
func publish(client *Host, lb string) error {
	var text strings.Builder
	text.WriteString("127.0.0.1 localhost\n")
	for i := range Brokers {
		fmt.Fprintf(&text, "%s b%d.%s\n", lb, i+1, Domain)
	}
	if err := os.MkdirAll(client.etc(), 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(client.etc(), "hosts"), []byte(text.String()), 0o644)
}

// ip runs commands of ip(8), one a line.
func ip(ctx context.Context, batch string, flags ...string) error {
	cmd := exec.CommandContext(ctx, "ip", append(flags, "-batch", "-")...)
	cmd.Stdin = strings.NewReader(batch)
	return run(cmd)
}

// Command is a command with the host's network and names, and the file system of the real host.
func (h *Host) Command(ctx context.Context, name string, args ...string) *exec.Cmd {
	return exec.CommandContext(ctx, "ip", append([]string{"netns", "exec", h.netns(), name}, args...)...)
}

// Dial opens a connection from the host. addr must be an IP address and a port:
// the resolver would ask in the network of the test.
func (h *Host) Dial(ctx context.Context, network, addr string) (conn net.Conn, err error) {
	err = h.within(func() error {
		dialer := net.Dialer{FallbackDelay: -1}
		conn, err = dialer.DialContext(ctx, network, addr)
		return err
	})
	return conn, err
}

// Listen listens on the host.
func (h *Host) Listen(ctx context.Context, addr string) (l net.Listener, err error) {
	err = h.within(func() error {
		l, err = new(net.ListenConfig).Listen(ctx, "tcp", addr)
		return err
	})
	return l, err
}

// Accepts is true if an address takes a connection of the host within three seconds.
func (h *Host) Accepts(ctx context.Context, addr string) bool {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	conn, err := h.Dial(ctx, "tcp", addr)
	if err != nil {
		return false
	}
	conn.Close()
	return true
}

// within runs f with the network of the host. A socket keeps the network that it was made in.
func (h *Host) within(f func() error) error {
	there, err := os.Open(h.netnsPath())
	if err != nil {
		return err
	}
	defer there.Close()
	runtime.LockOSThread()
	home, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		runtime.UnlockOSThread()
		return err
	}
	defer home.Close()
	if err := unix.Setns(int(there.Fd()), unix.CLONE_NEWNET); err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("enter %s: %w", h.netnsPath(), err)
	}
	result := f()
	if err := unix.Setns(int(home.Fd()), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("leave %s: %w", h.netnsPath(), err) // still locked: the thread ends with its goroutine
	}
	runtime.UnlockOSThread()
	return result
}
