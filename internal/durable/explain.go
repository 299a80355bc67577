package durable

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

var errNotRegular = errors.New("not a regular file")

// explain turns an error into what an operator needs: what, where, what next.
func explain(path, target, op string, err error) error {
	what := map[string]string{
		opResolve: "look at the file",
		opClean:   "remove the temporary file of an earlier attempt",
		opCreate:  "create a temporary file next to it",
		opWrite:   "write the temporary file",
		opOwner:   "keep the owner and the group",
		opMode:    "set the permissions of the temporary file",
		opLabels:  "keep the access control list",
		opSync:    "sync the temporary file to the disk",
		opClose:   "close the temporary file",
		opRename:  "move the temporary file into place",
		opSyncDir: "sync the directory to the disk; the new bytes are in place but might not outlive a power cut",
	}[op]
	name := path
	if target != path {
		name += " (a link to " + target + ")"
	}
	// The temporary file's name in a PathError adds nothing for the reader.
	switch e := err.(type) { //nolint:errorlint // only the outermost: what is wrapped says more than this
	case *fs.PathError:
		err = e.Err
	case *os.LinkError:
		err = e.Err
	}
	return fmt.Errorf("replace %s: %s: %w%s", name, what, err, advice(filepath.Dir(target), op, err))
}

func advice(dir, op string, err error) string {
	var kept *frozenError
	switch {
	case errors.As(err, &kept):
		return fmt.Sprintf("; as root: chattr -%s %s%s", kept.flag, kept.path, unchanged(op))
	case errors.Is(err, ErrAccessLost):
		return "; make the agent's user a member of the file's group and let the group read the file"
	case errors.Is(err, errNotRegular):
		return "; give the path of the file itself"
	case errors.Is(err, unix.EBUSY):
		return "; a file is replaced by renaming another over it, and none can be renamed over a mount point" +
			" (`findmnt` lists them): mount the folder " + dir + " instead of the file" + unchanged(op)
	case errors.Is(err, unix.EROFS):
		return "; the file system of " + dir + " is read-only (or the service has no right to write there: see ReadWritePaths= of its unit); nothing was changed"
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		return "; free some space on the file system of " + dir + unchanged(op)
	case errors.Is(err, fs.ErrPermission):
		return "; the agent's user must be able to write the directory " + dir +
			", since a file is replaced by renaming another over it (`kpls-agent setup` as root gives the service that " +
			"right)" + unchanged(op)
	case errors.Is(err, fs.ErrNotExist) && op == opCreate:
		return "; create the directory " + dir
	}
	return ""
}

func unchanged(op string) string {
	if op == opSyncDir {
		return ""
	}
	return "; nothing was changed"
}
