package system

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"example.com/kpls-agent/test/machines"
)

// serve serves a directory from the monitoring host, as a package archive does.
func serve(b *machines.Bed, dir string) error {
	l, err := b.Mon.Listen(context.Background(), net.JoinHostPort(b.Mon.Addr, strconv.Itoa(80)))
	if err != nil {
		return err
	}
	go func() { _ = http.Serve(l, http.FileServer(http.Dir(dir))) }() // until the process ends
	return nil
}

// packaged is the agent's package that `make deb` has built for this machine.
func packaged() (string, error) {
	found, err := filepath.Glob(filepath.Join("..", "..", "dist", "kpls-agent_*_"+runtime.GOARCH+".deb"))
	if err == nil && len(found) != 1 {
		err = fmt.Errorf("expected one package for %s in dist, found %q; run `make deb`, or this whole test by `make e2e`", runtime.GOARCH, found)
	}
	if err != nil {
		return "", err
	}
	return filepath.Abs(found[0])
}

// repack makes a package with the same content, of a version with another end, and returns its bytes.
func repack(ctx context.Context, deb, end string) ([]byte, error) {
	dir, err := os.MkdirTemp("", "kpls-repack-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	const steps = `dpkg-deb -R "$1" "$2/x" && sed -i "s/^Version: .*/&$3/" "$2/x/DEBIAN/control" && dpkg-deb --root-owner-group -Zgzip -z1 -b "$2/x" "$2/other.deb"`
	if out, err := exec.CommandContext(ctx, "sh", "-c", steps, "sh", deb, dir, end).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("make a package %s of %s: %w\n%s", end, deb, err, out)
	}
	return os.ReadFile(filepath.Join(dir, "other.deb"))
}

// userData is the package's example of a cloud-init file, with the address of
// the archive here, and a short soak.
func userData(deb string, mon string) (string, error) {
	example, err := os.ReadFile(filepath.Join("..", "..", "packaging", "examples", "user-data"))
	if err != nil {
		return "", err
	}
	text := string(example)
	for old, now := range map[string]string{
		"https://packages.example.com/kpls-agent_amd64.deb":   "http://" + mon + "/" + filepath.Base(deb),
		"        3: {ports: {EXTERNAL: 9095}, zone: \"3\"}\n": "        3: {ports: {EXTERNAL: 9095}, zone: \"3\"}\n      rollout:\n        soak: 2s\n",
		// The machines' data disks are small.
		"      unit: kafka.service\n": "      unit: kafka.service\n      storage: {min_free_mib: 16}\n",
	} {
		if !strings.Contains(text, old) {
			return "", fmt.Errorf("packaging/examples/user-data has no %q", old)
		}
		text = strings.ReplaceAll(text, old, now)
	}
	return text, nil
}
