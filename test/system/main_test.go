package system

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"example.com/kpls-agent/test/figures"
	"example.com/kpls-agent/test/machines"
	"example.com/kpls-agent/test/sandbox"
)

// bed is shared by all tests, which run one after the other. Its machines are
// fresh: the first test sees them come up.
var bed *machines.Bed

// seed is where the steps find a VM's cloud-init file; cloud-init itself looks elsewhere.
const seed = "/root/seed"

// newer and older are the paths of packages of other versions, on each VM.
const (
	newer = "/root/newer.deb"
	older = "/root/older.deb"
)

var limit = flag.Duration("limit", 25*time.Minute, "how long all of this may take before it is ended and the machines are removed")

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(func() int {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		defer stop()
		ctx, cancel := context.WithTimeoutCause(ctx, *limit, fmt.Errorf("this is not done after %s; the last step above was under way", *limit))
		defer cancel()
		// Whatever it is that does not come to an end.
		context.AfterFunc(ctx, func() {
			<-time.After(2 * time.Minute)
			fmt.Fprintln(os.Stderr, "the machines could not be removed; the next run tries again")
			os.Exit(1)
		})
		begun := time.Now()
		var err error
		if report, err = figures.New(begun, sandbox.Version()); err == nil {
			err = build(ctx)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, errors.Join(context.Cause(ctx), err))
			return 1
		}
		forget := context.AfterFunc(ctx, func() {
			fmt.Fprintf(os.Stderr, "%v: removing the machines\n", context.Cause(ctx))
			_ = bed.Close() // the next run tries again
			os.Exit(1)
		})
		code := m.Run()
		forget()
		measured("all of this test", time.Since(begun).Minutes(), "min", "")
		err = bed.Close()
		fmt.Print(report.Table())
		if os.Getenv("FIGURES") != "" && code == 0 && flag.Lookup("test.run").Value.String() == "" {
			err = errors.Join(err, report.Write(filepath.Join("..", ".."), "system", "docs/performance.md"))
		}
		if err != nil {
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
	next, err := repack(ctx, deb, "+newer")
	if err != nil {
		return err
	}
	previous, err := repack(ctx, deb, "~older")
	if err != nil {
		return err
	}
	begin := time.Now()
	bed, err = machines.New(ctx, machines.Options{
		Files: func(m *machines.Machine) (map[string]string, error) {
			user, err := userData(deb, m.Archive())
			return map[string]string{
				// cloud-init would set machines up that have no such file of theirs, too.
				"etc/cloud/cloud-init.disabled": "",
				seed + "/user-data":             user,
				seed + "/meta-data":             "instance-id: " + m.Name + "\nlocal-hostname: " + m.Name + "\n",
				newer:                           string(next),
				older:                           string(previous),
			}, err
		},
		Logf: func(format string, args ...any) {
			fmt.Printf("%6.1f s: "+format+"\n", append([]any{time.Since(begin).Seconds()}, args...)...)
		},
	})
	if err != nil {
		return err
	}
	measured("image, network and disks of the machines", time.Since(begin).Seconds(), "s", "the image is made once and kept")
	if info, err := os.Stat(deb); err == nil {
		measured("package", float64(info.Size())/(1<<20), "MiB", filepath.Base(deb))
	}
	if err := serve(bed, filepath.Dir(deb)); err != nil {
		return errors.Join(err, bed.Close())
	}
	return nil
}
