package durable

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestJudgeFrozen(t *testing.T) {
	const file, folder = "/etc/kafka/server.properties", "/etc/kafka"
	for name, tt := range map[string]struct {
		has  map[string]uint64
		want string
	}{
		"nothing":     {map[string]uint64{file: unix.STATX_ATTR_ENCRYPTED, "/etc": unix.STATX_ATTR_IMMUTABLE}, ""},
		"the file":    {map[string]uint64{file: unix.STATX_ATTR_IMMUTABLE | unix.STATX_ATTR_APPEND}, file + " has the attribute immutable (lsattr shows `i`)"},
		"the folder":  {map[string]uint64{folder: unix.STATX_ATTR_IMMUTABLE}, folder + " has the attribute immutable (lsattr shows `i`)"},
		"append only": {map[string]uint64{folder: unix.STATX_ATTR_APPEND}, folder + " has the attribute append only (lsattr shows `a`)"},
	} {
		err := judgeFrozen(file, func(path string) uint64 { return tt.has[path] })
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || err.Error() != tt.want || !errors.Is(err, unix.EPERM)) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// setFlags changes what lsattr shows, and returns whether it could.
func setFlags(t *testing.T, path string, change func(int) int) bool {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	flags, err := unix.IoctlGetInt(int(f.Fd()), unix.FS_IOC_GETFLAGS)
	return err == nil && unix.IoctlSetPointerInt(int(f.Fd()), unix.FS_IOC_SETFLAGS, change(flags)) == nil
}

// TestFrozen makes a file immutable as an operator does, with chattr. Only root may,
// and not on every file system: where that is refused, nothing is frozen.
func TestFrozen(t *testing.T) {
	dir := t.TempDir()
	path, link := filepath.Join(dir, "server.properties"), filepath.Join(t.TempDir(), "link")
	if err := errors.Join(os.WriteFile(path, []byte("a=b\n"), 0o640), os.Symlink(path, link)); err != nil {
		t.Fatal(err)
	}
	const immutable, appendOnly = 0x10, 0x20 // FS_IMMUTABLE_FL, FS_APPEND_FL
	for _, tt := range []struct {
		path, says string
		flag       int
	}{
		{path, path + " has the attribute immutable (lsattr shows `i`); as root: chattr -i " + path + "; nothing was changed", immutable},
		{path, path + " has the attribute append only (lsattr shows `a`); as root: chattr -a " + path + "; nothing was changed", appendOnly},
		{dir, dir + " has the attribute immutable (lsattr shows `i`); as root: chattr -i " + dir + "; nothing was changed", immutable},
		{dir, dir + " has the attribute append only (lsattr shows `a`); as root: chattr -a " + dir + "; nothing was changed", appendOnly},
	} {
		set := setFlags(t, tt.path, func(f int) int { return f | tt.flag })
		checked := Replaceable(link)
		written := WriteFile(link, []byte("c=d\n"), Options{})
		data, err := os.ReadFile(path)
		if set && !setFlags(t, tt.path, func(f int) int { return f &^ tt.flag }) {
			t.Fatalf("%s stays frozen", tt.path)
		}
		if err != nil {
			t.Fatal(err)
		}
		if !set {
			if checked != nil || written != nil || string(data) != "c=d\n" {
				t.Errorf("not frozen: %v, %v, %q", checked, written, data)
			}
			continue
		}
		for what, err := range map[string]error{"Replaceable": checked, "WriteFile": written} {
			if err == nil || !strings.HasPrefix(err.Error(), "replace "+link+" (a link to "+path+"): ") || !strings.HasSuffix(err.Error(), tt.says) {
				t.Errorf("%s: %v, want %q at its end", what, err, tt.says)
			}
		}
		if string(data) != "a=b\n" {
			t.Errorf("the file has %q", data)
		}
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("left behind: %v %v", entries, err)
	}
}
