package sandbox

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// subnet is 127.0.X.0/24, held by this process alone as far as sandboxes go, so
// that clusters of several test processes run side by side on the same ports.
type subnet struct {
	x    int
	lock *os.File
}

// takeSubnet takes a free subnet. The kernel gives it back when the process ends.
func takeSubnet() (*subnet, error) {
	dir := filepath.Join(os.TempDir(), fmt.Sprintf("kpls-sandbox-subnets-%d", os.Getuid()))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	for x := 10; x < 250; x++ {
		f, err := os.OpenFile(filepath.Join(dir, fmt.Sprint(x)), os.O_CREATE|os.O_RDWR, 0o600)
		if err != nil {
			return nil, err
		}
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return &subnet{x: x, lock: f}, nil
		}
		f.Close()
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("lock a subnet in %s: %w", dir, err)
		}
	}
	return nil, fmt.Errorf("all subnets of %s are in use; end other sandboxes first", dir)
}

// host is the n-th address of the subnet.
func (s *subnet) host(n int) string { return fmt.Sprintf("127.0.%d.%d", s.x, n) }

func (s *subnet) release() error { return s.lock.Close() }
