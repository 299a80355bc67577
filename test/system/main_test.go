package system

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"example.com/kpls-agent/test/machines"
)

// bed is shared by all tests, which run one after the other. Its machines are
// fresh: the first test sees them come up.
var bed *machines.Bed

// newer is the path of the newer package, on each VM.
const newer = "/root/newer.deb"

func TestMain(m *testing.M) {
	os.Exit(func() int {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		defer stop()
		begun := time.Now()
		if err := build(ctx); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		forget := context.AfterFunc(ctx, func() {
			fmt.Fprintln(os.Stderr, "interrupted: removing the machines")
			_ = bed.Close() // the next run tries again
			os.Exit(1)
		})
		code := m.Run()
		forget()
		measured("all of this test", time.Since(begun).Minutes(), "min", "", "")
		if err := errors.Join(bed.Close(), report()); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return code
	}())
}

// build makes the bed, with the packages in an archive and the cloud-init file on each VM's seed.
func build(ctx context.Context) error {
	deb, err := packaged()
	if err != nil {
		return err
	}
	next, err := repack(ctx, deb)
	if err != nil {
		return err
	}
	begin := time.Now()
	bed, err = machines.New(ctx, machines.Options{
		Files: func(m *machines.Machine) (map[string]string, error) {
			user, err := userData(deb, m.Archive())
			return map[string]string{
				"var/lib/cloud/seed/nocloud/user-data": user,
				"var/lib/cloud/seed/nocloud/meta-data": "instance-id: " + m.Name + "\nlocal-hostname: " + m.Name + "\n",
				newer:                                  string(next),
			}, err
		},
		Logf: func(format string, args ...any) {
			fmt.Printf("%6.1f s: "+format+"\n", append([]any{time.Since(begin).Seconds()}, args...)...)
		},
	})
	if err != nil {
		return err
	}
	measured("image, network and disks of the machines", time.Since(begin).Seconds(), "s", "", "the image is made once and kept")
	if info, err := os.Stat(deb); err == nil {
		measured("package", float64(info.Size())/(1<<20), "MiB", "", filepath.Base(deb))
	}
	if err := serve(bed, filepath.Dir(deb)); err != nil {
		return errors.Join(err, bed.Close())
	}
	return nil
}
