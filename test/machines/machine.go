package machines

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// dataSize is the size of a broker's data disk. It holds only what the tests write.
const dataSize = "384m"

// Machine is a broker VM. Its disk is a layer over the image and outlives a
// reboot and a power cut; Kafka's data are on a disk of their own.
type Machine struct {
	*Host
	ID int32

	dir   string // upper, work, root, kafka, console.log
	image string
	libs  string // Kafka's jars
	group group

	mu   sync.Mutex
	pid  int           // guarded by mu; of systemd-nspawn, 0 while the machine is off
	off  chan struct{} // guarded by mu; closed when the machine has gone off
	boot int           // guarded by mu; how often it was booted
}

// prepare makes the machine's disks, with the given files by path.
func (m *Machine) prepare(files map[string]string) error {
	for _, d := range []string{"upper", "work", "root", "kafka"} {
		if err := os.MkdirAll(filepath.Join(m.dir, d), 0o755); err != nil {
			return err
		}
	}
	for path, text := range files {
		full := filepath.Join(m.dir, "upper", path)
		if err := errors.Join(os.MkdirAll(filepath.Dir(full), 0o755),
			os.WriteFile(full, []byte(text), 0o644)); err != nil {
			return err
		}
	}
	wants := filepath.Join(m.dir, "upper/etc/systemd/system/multi-user.target.wants")
	if err := os.MkdirAll(wants, 0o755); err != nil {
		return err
	}
	for _, unit := range []string{"kafka.service", "kafka-format.service"} { // as systemctl enables them
		if err := os.Symlink("/usr/lib/systemd/system/"+unit, filepath.Join(wants, unit)); err != nil {
			return err
		}
	}
	overlay := fmt.Sprintf("lowerdir=%s,upperdir=%s/upper,workdir=%s/work", m.image, m.dir, m.dir)
	if err := unix.Mount("overlay", m.Root(), "overlay", 0, overlay); err != nil {
		return fmt.Errorf("mount the disk of %s: %w", m.Name, err)
	}
	if err := unix.Mount("tmpfs", filepath.Join(m.dir, "kafka"), "tmpfs", 0, "size="+dataSize+",mode=755"); err != nil {
		return fmt.Errorf("mount the data disk of %s: %w", m.Name, err)
	}
	return nil
}

// Root is the directory of the machine's file system.
func (m *Machine) Root() string { return filepath.Join(m.dir, "root") }

// Console is the file with the machine's console.
func (m *Machine) Console() string { return filepath.Join(m.dir, "console.log") }

// launch puts the shell into the machine's control groups, named before --, and turns into systemd-nspawn.
const launch = `while [ "$1" != -- ]; do mkdir -p "$1" && echo $$ >"$1/cgroup.procs" || exit 1; shift; done; shift; exec systemd-nspawn "$@"`

// rebooted is the exit status of systemd-nspawn --keep-unit when the guest reboots.
const rebooted = 133

// Start switches the machine on. It does not wait for anything.
func (m *Machine) Start() error {
	console, err := os.OpenFile(m.Console(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	cmd, err := m.spawn(console)
	if err != nil {
		return errors.Join(err, console.Close())
	}
	off := make(chan struct{})
	m.mu.Lock()
	m.off = off
	m.mu.Unlock()
	go func() {
		defer close(off)
		defer console.Close()
		for cmd != nil {
			_ = cmd.Wait() // the status says how it ended
			m.setPID(0)
			if cmd.ProcessState.ExitCode() != rebooted {
				return
			}
			if cmd, err = m.spawn(console); err != nil {
				fmt.Fprintln(console, "boot again:", err)
			}
		}
	}()
	return nil
}

func (m *Machine) spawn(console *os.File) (*exec.Cmd, error) {
	args := append([]string{"-c", launch, "sh"}, m.group.dirs()...)
	args = append(args, "--",
		"--boot", "--quiet", "--register=no", "--keep-unit", "--console=pipe",
		"--directory="+m.Root(), "--machine="+prefix+m.Name, "--network-namespace-path="+m.netnsPath(),
		"--resolv-conf=off", "--timezone=off",
		"--bind-ro="+m.libs+":/opt/kafka", "--bind="+filepath.Join(m.dir, "kafka")+":/var/lib/kafka",
		// As on a real VM, the units' IPAddressDeny= and the like work.
		"--system-call-filter=bpf", "--capability=CAP_BPF,CAP_NET_ADMIN,CAP_PERFMON",
	)
	cmd := exec.Command("sh", args...) //nolint:noctx // it outlives the call; end ends it
	cmd.Stdout, cmd.Stderr = console, console
	cmd.Env = append(os.Environ(), "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1")
	// A signal to the test must not end the machine before the test has looked at it.
	cmd.SysProcAttr = &unix.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	m.mu.Lock()
	m.pid = cmd.Process.Pid
	m.boot++
	m.mu.Unlock()
	return cmd, nil
}

func (m *Machine) setPID(pid int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.pid = pid
}

// Boots is how often the machine has been booted.
func (m *Machine) Boots() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.boot
}

// leader is the machine's PID 1, as the host sees it.
func (m *Machine) leader() (int, error) {
	m.mu.Lock()
	pid := m.pid
	m.mu.Unlock()
	if pid == 0 {
		return 0, fmt.Errorf("%s is off", m.Name)
	}
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		return 0, err
	}
	fields := bytes.Fields(children)
	if len(fields) == 0 {
		return 0, fmt.Errorf("%s is about to boot", m.Name)
	}
	return strconv.Atoi(string(fields[0]))
}

// Path is where the host finds a file of the running machine, one below /run among them.
func (m *Machine) Path(path string) (string, error) {
	leader, err := m.leader()
	return filepath.Join("/proc", strconv.Itoa(leader), "root", path), err
}

// Command is a command inside the machine, as root. It has the host's
// capabilities: what a service may do is for a unit to show.
func (m *Machine) Command(ctx context.Context, name string, args ...string) *exec.Cmd {
	leader, err := m.leader()
	cmd := exec.CommandContext(
		ctx,
		"nsenter",
		append([]string{"--target", strconv.Itoa(leader), "--all", "--", name}, args...)...)
	if err != nil {
		cmd.Err = err
	}
	cmd.WaitDelay = time.Second // a child that it leaves behind must not hold its output open
	return cmd
}

// Output runs a command inside the machine and returns what it printed.
func (m *Machine) Output(ctx context.Context, name string, args ...string) (string, error) {
	var stderr strings.Builder
	cmd := m.Command(ctx, name, args...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("%s: %s: %w: %s%s", m.Name, strings.Join(append([]string{name}, args...), " "), err, out,
			stderr.String())
	}
	return string(out), err
}

// WaitUp waits until systemd says that it has booted; a unit may have failed.
func (m *Machine) WaitUp(ctx context.Context) error {
	for {
		out, err := m.Output(ctx, "systemctl", "is-system-running")
		if state := strings.TrimSpace(out); state == "running" || state == "degraded" ||
			strings.Contains(fmt.Sprint(err), "degraded") {
			return nil
		}
		select {
		case <-ctx.Done():
			console, _ := os.ReadFile(m.Console()) // as much as there is
			return fmt.Errorf("boot %s: %w; last: %w; its console:\n%s", m.Name, ctx.Err(), err, console)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// Reboot asks the machine to reboot and returns once the new boot has begun.
func (m *Machine) Reboot(ctx context.Context) error {
	before := m.Boots()
	if _, err := m.Output(ctx, "systemctl", "--no-block", "reboot"); err != nil {
		return err
	}
	for m.Boots() == before {
		if ctx.Err() != nil {
			return fmt.Errorf("reboot %s: %w", m.Name, ctx.Err())
		}
		pause()
	}
	return nil
}

// kill ends every process of the machine.
func (m *Machine) kill() error {
	if err := m.group.end(); err != nil {
		return err
	}
	m.mu.Lock()
	off := m.off
	m.mu.Unlock()
	if off != nil {
		<-off
	}
	return nil
}
