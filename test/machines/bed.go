package machines

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"example.com/kpls-agent/test/sandbox"
)

// Brokers is the number of broker VMs.
const Brokers = 3

// dir is where the bed keeps its disks and logs; lock is held by whoever has the bed.
const (
	dir  = "/var/tmp/" + prefix + "machines"
	lock = "/run/" + prefix + "machines.lock"
)

// Options say what is special to a bed.
type Options struct {
	// Files are put on a machine's disk before its first boot, by path; nil is none.
	Files func(m *Machine) (map[string]string, error)
	// Logf gets a line for each long step.
	Logf func(format string, args ...any)
}

// Bed is three broker VMs, b1 to b3, and the hosts around them.
type Bed struct {
	Machines        []*Machine
	LB, Client, Mon *Host

	logf   func(string, ...any)
	hosts  map[string]*Host
	unlock func()
}

// New makes the disks and the network, and switches nothing on. It waits for
// another bed on the same host to end. The caller must Close it.
func New(ctx context.Context, o Options) (_ *Bed, err error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("build machines: this needs root")
	}
	b := &Bed{hosts: hosts(), logf: o.Logf}
	if b.unlock, err = sandbox.LockFile(lock); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, b.Close())
		}
	}()
	b.LB, b.Client, b.Mon = b.hosts["lb"], b.hosts["client"], b.hosts["mon"]
	if err := b.sweep(); err != nil {
		return nil, fmt.Errorf("remove what an earlier run left: %w", err)
	}
	var libs, root string
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() (err error) { libs, err = sandbox.Libs(gctx, sandbox.Version()); return err })
	g.Go(func() (err error) { root, err = image(gctx, o.Logf); return err })
	if err := g.Wait(); err != nil {
		return nil, err
	}
	if err := connect(ctx, b.hosts); err != nil {
		return nil, fmt.Errorf("make the network: %w", err)
	}
	for i := range Brokers {
		name := "b" + strconv.Itoa(i+1)
		m := &Machine{
			Host:  b.hosts[name],
			ID:    int32(i + 1),
			dir:   filepath.Join(dir, name),
			image: root,
			libs:  libs,
			group: group(name),
		}
		files, err := m.seed()
		if err != nil {
			return nil, err
		}
		if o.Files != nil {
			more, err := o.Files(m)
			if err != nil {
				return nil, err
			}
			maps.Copy(files, more)
		}
		if err := m.prepare(files); err != nil {
			return nil, err
		}
		b.Machines = append(b.Machines, m)
	}
	return b, nil
}

// Start switches all machines on and waits until each has booted.
func (b *Bed) Start(ctx context.Context) error {
	begin := time.Now()
	g, ctx := errgroup.WithContext(ctx)
	for _, m := range b.Machines {
		g.Go(func() error {
			if err := m.Start(); err != nil {
				return err
			}
			return m.WaitUp(ctx)
		})
	}
	err := g.Wait()
	b.logf("machines: booted after %.1f s", time.Since(begin).Seconds())
	return err
}

// Machine returns the VM of a broker.
func (b *Bed) Machine(id int32) *Machine { return b.Machines[id-1] }

// Internal is the address of the inter-broker listener of every broker.
func (b *Bed) Internal() []string {
	var addrs []string
	for _, m := range b.Machines {
		addrs = append(addrs, m.Internal())
	}
	return addrs
}

// Close ends every process of the bed and removes everything but the image. It may be called twice.
func (b *Bed) Close() error {
	if b.unlock == nil {
		return nil
	}
	var err error
	for _, m := range b.Machines {
		err = errors.Join(err, m.kill())
	}
	err = errors.Join(err, b.sweep())
	b.unlock()
	b.unlock = nil
	return err
}

// sweep removes whatever there is of a bed, by the fixed names, no matter who left it and in what state.
func (b *Bed) sweep() error {
	var err error
	for name, h := range b.hosts {
		err = errors.Join(err, group(name).end(), h.end())
	}
	err = errors.Join(err, unmountBelow(dir), removeNetns(switchNS))
	for _, h := range b.hosts {
		err = errors.Join(err, removeNetns(h.netns()), os.RemoveAll(h.etc()))
		_ = os.Remove(
			filepath.Join("/run/systemd/nspawn/propagate", prefix+h.Name)) // nspawn makes it for machines only
	}
	_ = os.Remove("/etc/netns") // unless somebody else has something there
	if err != nil {
		return err // something still uses the files
	}
	return os.RemoveAll(dir)
}

// end kills what runs in the host's network.
func (h *Host) end() error {
	there, err := os.Stat(h.netnsPath())
	if err != nil {
		return nil //nolint:nilerr // there is no such host
	}
	for deadline := time.Now().Add(10 * time.Second); ; pause() {
		pids := h.pids(there)
		if len(pids) == 0 {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("processes %v stay in the network of %s although they were killed", pids, h.Name)
		}
		for _, pid := range pids {
			_ = unix.Kill(pid, unix.SIGKILL) // it may have ended
		}
	}
}

// pids are the processes in a network namespace.
func (*Host) pids(there os.FileInfo) []int {
	var pids []int
	entries, _ := os.ReadDir("/proc") // what cannot be seen cannot be killed
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if its, err := os.Stat(fmt.Sprintf("/proc/%d/ns/net", pid)); err == nil && os.SameFile(its, there) {
			pids = append(pids, pid)
		}
	}
	return pids
}

func removeNetns(name string) error {
	path := "/run/netns/" + name
	if _, err := os.Stat(path); err != nil {
		return nil //nolint:nilerr // it is not there
	}
	_ = unix.Unmount(path, unix.MNT_DETACH) // a name that is no mount point is left from a run that was killed
	return os.Remove(path)
}

// unmountBelow unmounts everything under a directory, the deepest first.
func unmountBelow(top string) error {
	table, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	var points []string
	for line := range strings.Lines(string(table)) {
		if fields := strings.Fields(line); len(fields) > 4 && strings.HasPrefix(fields[4], top+"/") {
			points = append(points, fields[4])
		}
	}
	slices.Reverse(points)
	for _, p := range points {
		for deadline := time.Now().Add(10 * time.Second); ; pause() {
			err := unix.Unmount(p, 0)
			if err == nil {
				break
			}
			if time.Now().After(deadline) {
				return fmt.Errorf("unmount %s: %w", p, err)
			}
		}
	}
	return nil
}
