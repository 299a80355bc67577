package durable

import (
	"fmt"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// frozenError is a file or folder that an attribute keeps as it is, from root too
// (ioctl_iflags(2), chattr(1)).
type frozenError struct{ path, attribute, flag string }

func (e *frozenError) Error() string {
	return fmt.Sprintf("%s has the attribute %s (lsattr shows `%s`)", e.path, e.attribute, e.flag)
}
func (e *frozenError) Unwrap() error { return unix.EPERM }

// mountedError is a file that is mounted on its own: rename(2) answers EBUSY.
type mountedError struct{ path string }

func (e *mountedError) Error() string {
	return e.path + " is a mount point of its own: a bind mount of one file"
}
func (e *mountedError) Unwrap() error { return unix.EBUSY }

// Mounted is true if the file at path is mounted on its own: a bind mount of one
// file, as BindReadOnlyPaths=FILE:FILE of a unit or a container makes it. Where the
// kernel does not tell (before 5.8), it is false.
func Mounted(path string) bool {
	target, err := filepath.EvalSymlinks(path)
	return err == nil && attributes(target)&unix.STATX_ATTR_MOUNT_ROOT != 0
}

// Current returns an error if the file at path has no name in its own folder any more:
// it was replaced, or removed, under a mount (a bind mount, or the lower layer of an
// overlay), and whoever reads it here gets the old content. It is nil for a file that
// cannot be looked at: reading it says why.
func Current(path string) error {
	nameless := func() bool {
		var st unix.Stat_t
		return unix.Stat(path, &st) == nil && st.Nlink == 0
	}
	for range 2 { // a rename between the lookup of the name and the answer shows as no name, too, but once
		if !nameless() {
			return nil
		}
	}
	return fmt.Errorf("%s was replaced under its bind mount, and here its old content stays; "+
		"mount the folder %s instead of the file (`findmnt` lists the mounts), then restart kpls-agent", path, filepath.Dir(path))
}

// frozen returns a *frozenError if an attribute of a file, or of its folder, keeps it
// from being replaced, a *mountedError if a mount does; nil, too, where the file
// system does not tell.
func frozen(target string) error { return judgeFrozen(target, attributes) }

func judgeFrozen(target string, attributes func(path string) uint64) error {
	if attributes(target)&unix.STATX_ATTR_MOUNT_ROOT != 0 {
		return &mountedError{target}
	}
	for _, path := range []string{target, filepath.Dir(target)} {
		switch has := attributes(path); {
		case has&unix.STATX_ATTR_IMMUTABLE != 0:
			return &frozenError{path, "immutable", "i"}
		case has&unix.STATX_ATTR_APPEND != 0:
			return &frozenError{path, "append only", "a"}
		}
	}
	return nil
}

// attributes are those of statx(2) that the file system knows; 0 if it cannot be asked.
func attributes(path string) uint64 {
	var st unix.Statx_t
	if err := unix.Statx(unix.AT_FDCWD, path, unix.AT_SYMLINK_NOFOLLOW, 0, &st); err != nil {
		return 0
	}
	return st.Attributes & st.Attributes_mask
}
