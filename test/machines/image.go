package machines

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"example.com/kpls-agent/test/sandbox"
)

// suite is the Debian release of the machines, which the environment may choose.
func suite() string { return cmp.Or(os.Getenv("DEBIAN"), "bookworm") }

// imagePackages are what a broker VM has, and what the agent's package depends on:
// the machines reach no archive.
var imagePackages = []string{
	"systemd", "systemd-sysv", "libpam-systemd", "dbus", "polkitd", "passwd", "acl", "procps", "iproute2",
	"curl", "ca-certificates", "cloud-init", "default-jre-headless", "needrestart",
}

// imageSteps are run in the image once it is complete; $1 is its root. Timers
// would work at times of their own, cloud-init would wait for a network to set up.
// needrestart is as dangerous as it can be: every installation of every test runs it
// in automatic mode.
const imageSteps = `set -e
for timer in apt-daily apt-daily-upgrade dpkg-db-backup man-db e2scrub_all fstrim; do
  ln -sf /dev/null "$1/etc/systemd/system/$timer.timer"
done
printf 'datasource_list: [NoCloud, None]\nnetwork: {config: disabled}\n' >"$1/etc/cloud/cloud.cfg.d/99-machine.cfg"
printf '$nrconf{restart} = "a";\n' >"$1/etc/needrestart/conf.d/10-machine.conf"
rm -rf "$1"/var/cache/apt/* "$1"/var/lib/apt/lists/*`

// image returns the directory with the root file system that all machines share.
// It is made once for each recipe; older ones of the same release are removed.
func image(ctx context.Context, logf func(string, ...any)) (string, error) {
	cache, err := sandbox.CacheDir()
	if err != nil {
		return "", err
	}
	suite := suite()
	recipe := sha256.Sum256([]byte(suite + imageSteps + strings.Join(imagePackages, " ")))
	dir := filepath.Join(cache, fmt.Sprintf("machine-%s-%x", suite, recipe[:6]))
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	old, err := filepath.Glob(filepath.Join(cache, "machine-"+suite+"-*"))
	for _, path := range old {
		err = errors.Join(err, unmountBelow(path), os.RemoveAll(path))
	}
	if err = errors.Join(err, os.MkdirAll(cache, 0o755)); err != nil {
		return "", fmt.Errorf("remove old machine images: %w", err)
	}
	logf("machines: making the image, %s with %d packages", suite, len(imagePackages))
	part := dir + ".part"
	build := exec.CommandContext(ctx, "mmdebstrap", "--quiet", "--variant=apt",
		"--include="+strings.Join(imagePackages, ","), suite, part)
	build.Cancel = func() error { return build.Process.Signal(unix.SIGTERM) } // it takes its mounts back
	build.WaitDelay = 30 * time.Second
	err = run(build)
	if err == nil {
		err = run(exec.CommandContext(ctx, "sh", "-c", imageSteps, "sh", part))
	}
	if err != nil {
		err = errors.Join(err, unmountBelow(part), os.RemoveAll(part))
		return "", fmt.Errorf("make the machines' image: %w; it needs a Debian mirror that apt can reach", err)
	}
	return dir, os.Rename(part, dir)
}

// run runs a command whose output matters only if it fails.
func run(cmd *exec.Cmd) error {
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", cmd, err, out)
	}
	return nil
}
