package durable

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"
)

// Replaceable returns why WriteFile could not replace the file at path, as far
// as rights go and without trying; nil if it could. The error is WriteFile's own.
func Replaceable(path string) error {
	target, err := filepath.EvalSymlinks(path)
	if err != nil {
		return explain(path, path, opResolve, err)
	}
	old, err := os.Lstat(target)
	if err == nil && !old.Mode().IsRegular() {
		err = errNotRegular
	}
	if err != nil {
		return explain(path, target, opResolve, err)
	}
	if err := frozen(target); err != nil {
		return explain(path, target, opRename, err)
	}
	folder := filepath.Dir(target)
	dir, err := os.Stat(folder)
	if err == nil {
		err = unix.Access(folder, unix.W_OK|unix.X_OK)
	}
	if err != nil {
		return explain(path, target, opCreate, err)
	}
	groups, err := os.Getgroups()
	if err != nil {
		return explain(path, target, opOwner, err)
	}
	if op, err := foresee(old, dir, process{os.Geteuid(), os.Getegid(), groups}); err != nil {
		return explain(path, target, op, err)
	}
	return nil
}

// process is who would replace a file.
type process struct {
	uid, gid int
	groups   []int
}

// foresee returns the step of a replacement that would fail, and how.
func foresee(old, dir fs.FileInfo, p process) (op string, err error) {
	if p.uid == 0 {
		return "", nil
	}
	was, in := owner(old), owner(dir)
	// In a sticky directory only the owner of the file or of the directory moves another over it.
	if dir.Mode()&fs.ModeSticky != 0 && was.uid != p.uid && in.uid != p.uid {
		return opRename, fmt.Errorf("the folder is sticky, and neither it nor the file is ours: %w", unix.EPERM)
	}
	now := ids{p.uid, p.gid}
	if dir.Mode()&fs.ModeSetgid != 0 {
		now.gid = in.gid
	}
	var groupErr, ownerErr error
	if was.gid != now.gid && was.gid != p.gid && !slices.Contains(p.groups, was.gid) {
		groupErr = unix.EPERM
	}
	if was.uid != now.uid {
		ownerErr = unix.EPERM
	}
	return opOwner, judgeOwner(was, now, old.Mode().Perm(), groupErr, ownerErr)
}
