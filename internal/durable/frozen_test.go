package durable

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
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

func TestJudgeMounted(t *testing.T) {
	const file = "/etc/kafka/server.properties"
	for mounted, want := range map[string]error{file: unix.EBUSY, "/etc/kafka": nil, "/etc": nil} {
		err := judgeFrozen(file, func(path string) uint64 {
			if path == mounted {
				return unix.STATX_ATTR_MOUNT_ROOT
			}
			return 0
		})
		if !errors.Is(err, want) {
			t.Errorf("%s is mounted: %v", mounted, err)
		}
	}
}

// TestMounted mounts a file on its own, in a mount namespace that ends with the
// thread. Where that is refused (it takes root), the file is an ordinary one.
func TestMounted(t *testing.T) {
	dir := t.TempDir()
	path, source := filepath.Join(dir, "server.properties"), filepath.Join(t.TempDir(), "source")
	put(t, path, "placeholder\n", 0o640)
	put(t, source, oldBytes, 0o640)
	type seen struct {
		Mounted, Outdated, OutdatedLater bool
		Data                             string
		Errs                             []error // of Replaceable, WriteFile
	}
	var got seen
	var mounted, replaced error
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlocked: the thread ends, and its namespace
		if mounted = unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS); mounted == nil {
			mounted = errors.Join(
				unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""),
				unix.Mount(source, path, "", unix.MS_BIND, ""))
		}
		got.Mounted, got.Outdated = Mounted(path), Current(path) != nil
		got.Errs = []error{Replaceable(path), WriteFile(path, []byte(newBytes), Options{})}
		replaced = errors.Join(os.WriteFile(source+".new", []byte("new\n"), 0o600), os.Rename(source+".new", source))
		got.OutdatedLater = Current(path) != nil
		data, _ := os.ReadFile(path)
		got.Data = string(data)
	}()
	<-done
	if replaced != nil {
		t.Fatal(replaced)
	}
	wantNames(t, dir, "server.properties") // no temporary file is left
	if mounted != nil {
		if got.Mounted || got.Outdated || got.OutdatedLater || got.Data != newBytes || errors.Join(got.Errs...) != nil {
			t.Errorf("not mounted (%v): %+v", mounted, got)
		}
		return
	}
	if !got.Mounted || got.Outdated || !got.OutdatedLater || got.Data != oldBytes {
		t.Errorf("%+v", got)
	}
	want := "replace " + path + ": move the temporary file into place: " + path + " is a mount point of its own:" +
		" a bind mount of one file; a file is replaced by renaming another over it, and none can be renamed over" +
		" a mount point (`findmnt` lists them): mount the folder " + dir + " instead of the file; nothing was changed"
	for i, err := range got.Errs {
		if err == nil || err.Error() != want {
			t.Errorf("%d: %v, want %s", i, err, want)
		}
	}
}
