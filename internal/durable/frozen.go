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

// frozen returns a *frozenError if an attribute of a file, or of its folder, keeps it
// from being replaced; nil, too, where the file system does not tell attributes.
func frozen(target string) error { return judgeFrozen(target, attributes) }

func judgeFrozen(target string, attributes func(path string) uint64) error {
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
