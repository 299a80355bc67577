package durable

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// Options says what cannot be learnt from the file that is replaced.
type Options struct {
	// Mode is the permission of a file that does not exist yet; 0 is 0600. An
	// existing file keeps its own.
	Mode fs.FileMode
}

// WriteFile replaces the file at path, or creates it, atomically and durably.
//
// An existing file keeps its permission bits, its owner where the process may
// set it, its group, its access control list and its SELinux label; a symbolic
// link stays and what it leads to is replaced. Where keeping owner or group is
// not permitted and somebody who could read the old file could not read the new
// one, nothing is replaced and the error is ErrAccessLost.
//
// On any error the old file is untouched and the temporary file is removed, with
// one exception: if only the directory could not be synced (the last step), the
// new bytes are in place but might not outlive a power cut; do it again.
//
// Hard links are not kept: other names of the file keep the old bytes.
func WriteFile(path string, data []byte, o Options) error {
	return writer{step: direct}.write(path, data, o)
}

// TempName returns the name of the temporary file that WriteFile uses for path,
// in the directory of the file itself. Nobody else should touch it.
func TempName(path string) string {
	return filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".kpls-agent.tmp")
}

// writer takes the steps of a replacement. Every step goes through step, by
// name, where tests let it fail or stop.
type writer struct {
	step func(op string, do func() error) error
}

func direct(_ string, do func() error) error { return do() }

// The names of the steps, in their order.
const (
	opResolve = "resolve"
	opClean   = "clean"
	opCreate  = "create"
	opWrite   = "write"
	opOwner   = "owner"
	opMode    = "mode"
	opLabels  = "labels"
	opSync    = "sync"
	opClose   = "close"
	opRename  = "rename"
	opSyncDir = "syncdir"
)

func (w writer) write(path string, data []byte, o Options) error {
	target, old, err := w.resolve(path)
	if err != nil {
		return explain(path, target, opResolve, err)
	}
	if err := frozen(target); err != nil { // before a temporary file that could not be removed
		return explain(path, target, opRename, err)
	}
	temp := TempName(target)
	op, err := w.fill(temp, target, old, data, o)
	if err == nil {
		op = opRename
		err = w.step(op, func() error { return os.Rename(temp, target) })
	}
	if err != nil {
		if op != opClean { // what could not be removed before cannot be removed now
			_ = os.Remove(temp)
		}
		return explain(path, target, op, err)
	}
	if err := w.step(opSyncDir, func() error { return syncDir(filepath.Dir(target)) }); err != nil {
		return explain(path, target, opSyncDir, err)
	}
	return nil
}

// resolve follows symbolic links and returns the file they lead to, and what is
// there now: nil where there is none yet.
func (w writer) resolve(path string) (target string, old fs.FileInfo, err error) {
	target = path
	err = w.step(opResolve, func() error {
		info, err := os.Lstat(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil && info.Mode().Type() == fs.ModeSymlink {
			if target, err = filepath.EvalSymlinks(path); err != nil {
				target = path
				return fmt.Errorf("follow the symbolic link: %w", err)
			}
			info, err = os.Lstat(target)
		}
		if err == nil && !info.Mode().IsRegular() {
			return fmt.Errorf("%w: it is %s", errNotRegular, kind(info.Mode()))
		}
		old = info
		return err
	})
	return target, old, err
}

// fill makes the temporary file everything that the target is to be. On an
// error it says which step failed.
func (w writer) fill(temp, target string, old fs.FileInfo, data []byte, o Options) (string, error) {
	if err := w.step(opClean, func() error { return removeStale(temp) }); err != nil {
		return opClean, err
	}
	var f *os.File
	if err := w.step(opCreate, func() (err error) {
		// O_EXCL does not follow a link that somebody put there.
		f, err = os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		return err
	}); err != nil {
		return opCreate, err
	}
	for _, s := range []struct {
		op string
		do func() error
	}{
		{opWrite, func() error { _, err := f.Write(data); return err }},
		{opOwner, func() error { return keepOwner(f, old) }},
		{opMode, func() error { return f.Chmod(mode(old, o)) }}, // after chown, which clears bits
		{opLabels, func() error { return keepLabels(f, target, old) }},
		{opSync, f.Sync},
	} {
		if err := w.step(s.op, s.do); err != nil {
			_ = f.Close()
			return s.op, err
		}
	}
	return opClose, w.step(opClose, f.Close)
}

// removeStale removes what a crash has left behind.
func removeStale(temp string) error {
	if err := os.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func mode(old fs.FileInfo, o Options) fs.FileMode {
	switch {
	case old != nil:
		return old.Mode().Perm()
	case o.Mode != 0:
		return o.Mode.Perm()
	default:
		return 0o600
	}
}

// syncDir makes the rename itself durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	if cerr := d.Close(); err == nil {
		err = cerr
	}
	// Some file systems (FUSE, network mounts) cannot sync a directory; there the rename is as durable as it gets.
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOTSUP) {
		return nil
	}
	return err
}

func kind(m fs.FileMode) string {
	switch {
	case m.IsDir():
		return "a directory"
	case m&fs.ModeNamedPipe != 0:
		return "a named pipe"
	case m&fs.ModeSocket != 0:
		return "a socket"
	default:
		return "a device"
	}
}
