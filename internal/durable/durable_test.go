package durable

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

var steps = []string{
	opResolve, opClean, opCreate, opWrite, opOwner, opMode, opLabels, opSync, opClose, opRename, opSyncDir,
}

const (
	oldBytes = "listeners=INTERNAL://:9092\n"
	newBytes = "listeners=INTERNAL://:9092,EXTERNAL://:39092\n"
)

func oldFile(t *testing.T, perm fs.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "server.properties")
	put(t, path, oldBytes, perm)
	return path
}

func put(t *testing.T, path, data string, perm fs.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, []byte(data), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, perm); err != nil {
		t.Fatal(err)
	}
}

func wantBytes(t *testing.T, path string, want ...string) {
	t.Helper()
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(want, string(got)) {
		t.Fatalf("%s has %q, want one of %q", path, got, want)
	}
}

func wantNames(t *testing.T, dir string, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if !slices.Equal(got, want) {
		t.Fatalf("%s has %q, want %q", dir, got, want)
	}
}

func TestReplaceKeepsPermissionBits(t *testing.T) {
	for _, perm := range []fs.FileMode{0o600, 0o640, 0o664, 0o444} {
		path := oldFile(t, perm)
		if err := WriteFile(path, []byte(newBytes), Options{Mode: 0o777}); err != nil {
			t.Fatal(err)
		}
		wantBytes(t, path, newBytes)
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != perm {
			t.Errorf("mode is %v, want %v", info.Mode().Perm(), perm)
		}
		wantNames(t, filepath.Dir(path), "server.properties")
	}
}

func TestCreate(t *testing.T) {
	for mode, want := range map[fs.FileMode]fs.FileMode{0: 0o600, 0o644: 0o644} {
		path := filepath.Join(t.TempDir(), "journal.json")
		if err := WriteFile(path, []byte("{}"), Options{Mode: mode}); err != nil {
			t.Fatal(err)
		}
		wantBytes(t, path, "{}")
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want {
			t.Errorf("mode is %v (%v), want %v", info.Mode().Perm(), err, want)
		}
	}
}

// TestKeepsOwnGroups changes a file to a group of the process, which anybody may
// do; as root the test also gives the file away.
func TestKeepsOwnGroups(t *testing.T) {
	path := oldFile(t, 0o640)
	gids, err := os.Getgroups()
	if err != nil {
		t.Fatal(err)
	}
	uid, gid := os.Getuid(), append(gids, os.Getgid())[0]
	if uid == 0 {
		uid, gid = 12345, 23456
	}
	if err := os.Chown(path, uid, gid); err != nil {
		t.Fatal(err)
	}
	if err := WriteFile(path, []byte(newBytes), Options{}); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := owner(info); got != (ids{uid, gid}) {
		t.Errorf("owner is %v, want %d:%d", got, uid, gid)
	}
	if info.Mode().Perm() != 0o640 {
		t.Errorf("mode is %v", info.Mode().Perm())
	}
}

func TestFollowsLinks(t *testing.T) {
	file := oldFile(t, 0o640)
	dir := t.TempDir()
	link, second := filepath.Join(dir, "link"), filepath.Join(dir, "second")
	if err := os.Symlink(file, link); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("link", second); err != nil {
		t.Fatal(err)
	}
	if err := WriteFile(second, []byte(newBytes), Options{}); err != nil {
		t.Fatal(err)
	}
	wantBytes(t, file, newBytes)
	wantNames(t, dir, "link", "second")
	if to, err := os.Readlink(second); err != nil || to != "link" {
		t.Errorf("the link leads to %q (%v)", to, err)
	}
	if to, err := os.Readlink(link); err != nil || to != file {
		t.Errorf("the link leads to %q (%v)", to, err)
	}
}

// An error at any step leaves the old file and no temporary file; after the
// rename the new file is there.
func TestErrorAtEachStep(t *testing.T) {
	for _, after := range []bool{false, true} {
		for _, op := range steps {
			path := oldFile(t, 0o640)
			boom := errors.New("boom")
			w := writer{step: func(name string, do func() error) error {
				if name != op {
					return do()
				}
				if after {
					if err := do(); err != nil {
						return err
					}
				}
				return boom
			}}
			err := w.write(path, []byte(newBytes), Options{})
			if !errors.Is(err, boom) {
				t.Fatalf("%s: got %v", op, err)
			}
			if !strings.Contains(err.Error(), path) {
				t.Errorf("%s: %q does not name the file", op, err)
			}
			switch {
			case op == opSyncDir || op == opRename && after:
				wantBytes(t, path, newBytes)
			default:
				wantBytes(t, path, oldBytes)
			}
			wantNames(t, filepath.Dir(path), "server.properties")
		}
	}
}

type crash struct{}

// A process that dies at any step leaves all of the old or all of the new
// bytes, and the next replacement clears away what it left.
func TestDeathAtEachStep(t *testing.T) {
	for _, after := range []bool{false, true} {
		for _, op := range steps {
			path := oldFile(t, 0o640)
			w := writer{step: func(name string, do func() error) error {
				if name == op && !after {
					panic(crash{})
				}
				err := do()
				if name == op {
					panic(crash{})
				}
				return err
			}}
			func() {
				defer func() {
					if _, ok := recover().(crash); !ok {
						t.Errorf("%s: the step was not reached", op)
					}
				}()
				_ = w.write(path, []byte(newBytes), Options{})
			}()
			want := oldBytes
			if op == opSyncDir || op == opRename && after {
				want = newBytes
			}
			wantBytes(t, path, want)
			if err := WriteFile(path, []byte("again\n"), Options{}); err != nil {
				t.Fatalf("%s: the next replacement: %v", op, err)
			}
			wantBytes(t, path, "again\n")
			wantNames(t, filepath.Dir(path), "server.properties")
		}
	}
}

// Half of the bytes fit on the disk.
func TestDiskFullHalfWay(t *testing.T) {
	path := oldFile(t, 0o640)
	w := writer{step: func(name string, do func() error) error {
		if name == opWrite {
			if err := os.WriteFile(TempName(path), []byte(newBytes[:10]), 0o600); err != nil {
				t.Fatal(err)
			}
			return &fs.PathError{Op: "write", Path: TempName(path), Err: syscall.ENOSPC}
		}
		return do()
	}}
	err := w.write(path, []byte(newBytes), Options{})
	want := "replace " + path + ": write the temporary file: no space left on device; free some space on the file system of " + filepath.Dir(path) + "; nothing was changed"
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Error("the errno is not in the chain")
	}
	wantBytes(t, path, oldBytes)
	wantNames(t, filepath.Dir(path), "server.properties")
}

func TestMessages(t *testing.T) {
	cases := []struct {
		op   string
		err  error
		want string
	}{
		{opCreate, syscall.EROFS, "create a temporary file next to it: read-only file system; the file system of DIR is read-only (or the service has no right to write there: see ReadWritePaths= of its unit); nothing was changed"},
		{opCreate, syscall.EACCES, "create a temporary file next to it: permission denied; the agent's user must be able to write the directory DIR, since a file is replaced by renaming another over it (`kpls-agent setup` as root gives the service that right); nothing was changed"},
		{opRename, syscall.EPERM, "move the temporary file into place: operation not permitted; the agent's user must be able to write the directory DIR, since a file is replaced by renaming another over it (`kpls-agent setup` as root gives the service that right); nothing was changed"},
		{opSync, syscall.EDQUOT, "sync the temporary file to the disk: disk quota exceeded; free some space on the file system of DIR; nothing was changed"},
		{opSync, syscall.EIO, "sync the temporary file to the disk: input/output error"},
		{opSyncDir, syscall.EIO, "sync the directory to the disk; the new bytes are in place but might not outlive a power cut: input/output error"},
	}
	for _, c := range cases {
		path := oldFile(t, 0o640)
		w := writer{step: func(name string, do func() error) error {
			if name == c.op {
				return &fs.PathError{Op: "op", Path: "temp", Err: c.err}
			}
			return do()
		}}
		err := w.write(path, []byte(newBytes), Options{})
		want := "replace " + path + ": " + strings.ReplaceAll(c.want, "DIR", filepath.Dir(path))
		if err == nil || err.Error() != want {
			t.Errorf("%s:\ngot  %v\nwant %s", c.op, err, want)
		}
	}
}

func TestRefused(t *testing.T) {
	dir := t.TempDir()
	pipe := filepath.Join(dir, "pipe")
	if err := unix.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	dangling := filepath.Join(dir, "dangling")
	if err := os.Symlink("nowhere", dangling); err != nil {
		t.Fatal(err)
	}
	missing := filepath.Join(dir, "no", "such", "file")
	for path, want := range map[string]string{
		dir:      "not a regular file: it is a directory; give the path of the file itself",
		pipe:     "not a regular file: it is a named pipe; give the path of the file itself",
		dangling: "follow the symbolic link",
		missing:  "create a temporary file next to it: no such file or directory; create the directory " + filepath.Dir(missing),
	} {
		err := WriteFile(path, []byte(newBytes), Options{})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", path, err, want)
		}
	}
	wantNames(t, dir, "dangling", "pipe")
}

// Somebody put a link where the temporary file belongs: what it leads to is safe.
func TestTemporaryFileIsNeverFollowed(t *testing.T) {
	path := oldFile(t, 0o640)
	victim := filepath.Join(t.TempDir(), "victim")
	put(t, victim, "precious", 0o600)
	if err := os.Symlink(victim, TempName(path)); err != nil {
		t.Fatal(err)
	}
	if err := WriteFile(path, []byte(newBytes), Options{}); err != nil {
		t.Fatal(err)
	}
	wantBytes(t, path, newBytes)
	wantBytes(t, victim, "precious")
}

// What stands where the temporary file belongs and cannot be removed is named.
func TestTemporaryFileInTheWay(t *testing.T) {
	path := oldFile(t, 0o640)
	if err := os.MkdirAll(filepath.Join(TempName(path), "x"), 0o700); err != nil {
		t.Fatal(err)
	}
	err := WriteFile(path, []byte(newBytes), Options{})
	if err == nil || !strings.Contains(err.Error(), "remove the temporary file of an earlier attempt") {
		t.Errorf("got %v", err)
	}
	wantBytes(t, path, oldBytes)
}

func TestJudgeOwner(t *testing.T) {
	denied := syscall.EPERM
	kafka, root, agent := ids{100, 100}, ids{0, 100}, ids{200, 200}
	cases := []struct {
		name              string
		was               ids
		perm              fs.FileMode
		groupErr, ownerEr error
		lost              bool
	}{
		{"all kept", kafka, 0o600, nil, nil, false},
		{"root's file, read by its group", root, 0o640, nil, denied, false},
		{"the broker's own file, read by its group too", kafka, 0o640, nil, denied, false},
		{"the broker's own file, read by nobody else", kafka, 0o600, nil, denied, true},
		{"root's file, read by nobody else", root, 0o600, nil, denied, false},
		{"group lost where it counts", root, 0o640, denied, denied, true},
		{"group lost where all may read", root, 0o644, denied, denied, false},
		{"group may write and others not", root, 0o664, denied, nil, true},
		{"group lost where it has no right", root, 0o600, denied, nil, false},
	}
	for _, c := range cases {
		err := judgeOwner(c.was, agent, c.perm, c.groupErr, c.ownerEr)
		if errors.Is(err, ErrAccessLost) != c.lost {
			t.Errorf("%s: got %v", c.name, err)
		}
		if c.lost && !errors.Is(err, denied) {
			t.Errorf("%s: the reason is not in the chain: %v", c.name, err)
		}
	}
}

func TestLostAccessIsExplained(t *testing.T) {
	path := oldFile(t, 0o640)
	w := writer{step: func(name string, do func() error) error {
		if name == opOwner {
			return judgeOwner(ids{0, 100}, ids{200, 200}, 0o640, syscall.EPERM, nil)
		}
		return do()
	}}
	err := w.write(path, []byte(newBytes), Options{})
	want := "replace " + path + ": keep the owner and the group: owner or group of the file cannot be kept: group 100 would lose access: operation not permitted; make the agent's user a member of the file's group and let the group read the file"
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	wantBytes(t, path, oldBytes)
}

// TestKeepsACL gives the file an access control list as setfacl -m u:12345:r
// writes it; where the file system has none there is nothing to keep.
func TestKeepsACL(t *testing.T) {
	path := oldFile(t, 0o640)
	acl := []byte{
		2, 0, 0, 0, // version
		0x01, 0, 6, 0, 0xff, 0xff, 0xff, 0xff, // the owner: rw
		0x02, 0, 4, 0, 0x39, 0x30, 0, 0, // user 12345: r
		0x04, 0, 4, 0, 0xff, 0xff, 0xff, 0xff, // the group: r
		0x10, 0, 4, 0, 0xff, 0xff, 0xff, 0xff, // the mask: r
		0x20, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, // others: nothing
	}
	if err := unix.Setxattr(path, labelACL, acl, 0); err != nil {
		t.Logf("no access control lists here: %v", err)
		acl = nil
	}
	if err := WriteFile(path, []byte(newBytes), Options{}); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 256)
	n, err := unix.Getxattr(path, labelACL, got)
	if acl != nil && (err != nil || string(got[:n]) != string(acl)) {
		t.Errorf("the access control list is %x (%v), want %x", got[:max(n, 0)], err, acl)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("mode is %v (%v)", info.Mode(), err)
	}
}
