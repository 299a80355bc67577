package durable

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// ErrAccessLost is in the error when owner or group cannot be kept and somebody
// would lose access to the file by that.
var ErrAccessLost = errors.New("owner or group of the file cannot be kept")

// keepOwner gives f the owner and the group of old, as far as they differ.
func keepOwner(f *os.File, old fs.FileInfo) error {
	if old == nil {
		return nil
	}
	info, err := f.Stat()
	if err != nil {
		return err
	}
	was, now := owner(old), owner(info)
	// Separately, since a process without the right to give a file to another user may still choose
	// among its own groups. Nothing is called where nothing differs: a service
	// manager's system call filter may forbid even a chown without effect.
	var groupErr, ownerErr error
	if was.gid != now.gid {
		groupErr = f.Chown(-1, was.gid)
	}
	if was.uid != now.uid {
		ownerErr = f.Chown(was.uid, -1)
	}
	return judgeOwner(was, now, old.Mode().Perm(), groupErr, ownerErr)
}

type ids struct{ uid, gid int }

func owner(info fs.FileInfo) ids {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return ids{-1, -1}
	}
	return ids{int(st.Uid), int(st.Gid)}
}

// judgeOwner decides whether a change of ownership that was not permitted takes
// access away from anybody. Who read the file by its group needs the group, or
// permission for all. Who owned it may go on by group or by permission for all;
// root reads everything.
func judgeOwner(was, now ids, perm fs.FileMode, groupErr, ownerErr error) error {
	group, other := perm>>3&7, perm&7
	if groupErr != nil && group&^other != 0 {
		return fmt.Errorf("%w: group %d would lose access: %w", ErrAccessLost, was.gid, groupErr)
	}
	if ownerErr != nil && was.uid != 0 && (group|other)&4 == 0 {
		return fmt.Errorf("%w: the file belongs to user %d alone and would belong to user %d: %w", ErrAccessLost,
			was.uid, now.uid, ownerErr)
	}
	return nil
}

// The extended attributes that say who may do what with a file.
const (
	labelSELinux = "security.selinux"
	labelACL     = "system.posix_acl_access"
)

// keepLabels copies the access control list and the SELinux label of target.
func keepLabels(f *os.File, target string, old fs.FileInfo) error {
	if old == nil {
		return nil
	}
	// The new file's own label comes from the policy for its directory, which is
	// what the old one has unless somebody relabelled it: not worth failing for.
	_ = copyLabel(f, target, labelSELinux)
	if err := copyLabel(f, target, labelACL); err != nil {
		return fmt.Errorf("%w: its access control list: %w", ErrAccessLost, err)
	}
	return nil
}

func copyLabel(f *os.File, target, name string) error {
	value := make([]byte, 4096)
	n, err := unix.Lgetxattr(target, name, value)
	if errors.Is(err, unix.ENODATA) || errors.Is(err, unix.ENOTSUP) || errors.Is(err, unix.ENOSYS) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var set error
	if err := raw.Control(func(fd uintptr) { set = unix.Fsetxattr(int(fd), name, value[:n], 0) }); err != nil {
		return err
	}
	if set != nil {
		return fmt.Errorf("write %s: %w", name, set)
	}
	return nil
}
