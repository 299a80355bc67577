package host

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"

	"example.com/kpls-agent/internal/config"
	"example.com/kpls-agent/internal/kafka"
	"example.com/kpls-agent/internal/restart"
	"example.com/kpls-agent/internal/settings"
)

// diskView is what this process sees of a directory.
type diskView struct {
	unseen      string // why it sees nothing
	noMeta      bool   // there is no meta.properties
	free, total int64  // bytes; -1 where that is not known
}

// logDirFacts judges the log directories of a broker that reported them, and its directory of
// metadata where that is another one, of which no broker tells.
func logDirFacts(
	told []kafka.LogDir, values map[string]config.RunningValue, s settings.Storage, look func(string) diskView,
) []restart.LogDir {
	if meta := values["metadata.log.dir"].Value; meta != "" && filepath.IsAbs(meta) &&
		!slices.ContainsFunc(told, func(d kafka.LogDir) bool { return d.Path == filepath.Clean(meta) }) {
		told = append(slices.Clone(told), kafka.LogDir{Path: filepath.Clean(meta), Free: -1, Total: -1})
	}
	out := make([]restart.LogDir, 0, len(told))
	for _, d := range told {
		out = append(out, judgeLogDir(d, look(d.Path), s))
	}
	return out
}

// judgeLogDir says whether a broker could be restarted with a log directory. A directory that
// this process sees otherwise than the broker does is not seen: the service has a /tmp and
// homes of its own.
func judgeLogDir(d kafka.LogDir, seen diskView, s settings.Storage) restart.LogDir {
	out := restart.LogDir{Path: d.Path, Free: d.Free, Total: d.Total}
	if d.Err != nil {
		out.Fault = fmt.Sprintf("log directory %s is offline (%v): repair the disk or the directory, and restart "+
			"the broker by hand",
			d.Path, d.Err)
		return out
	}
	if seen.unseen == "" && d.Total >= 0 && d.Total != seen.total {
		seen.unseen = "another file system is there for the agent"
	}
	if seen.unseen == "" && out.Free < 0 {
		out.Free, out.Total = seen.free, seen.total
	}
	switch {
	case out.Free >= 0 && out.Free < s.Needed(out.Total):
		out.Fault = fmt.Sprintf("log directory %s has %d MiB left of %d MiB, and needs %d MiB for a restart, or the "+
			"broker might not come up: free some space, or lower storage.min_free_mib and storage.min_free_percent in the "+
			"agent's settings",
			d.Path, out.Free>>20, out.Total>>20, s.Needed(out.Total)>>20)
	case seen.unseen != "":
		out.Unseen = fmt.Sprintf("whether log directory %s has its meta.properties cannot be seen: %s; `kpls-agent "+
			"setup` lets the agent see it", d.Path, seen.unseen)
	case seen.noMeta:
		out.Fault = fmt.Sprintf("log directory %s has no meta.properties any more: a broker that starts finds no "+
			"data there. Files below /tmp may have been removed by systemd-tmpfiles. Copy what is left, move the "+
			"partitions to other brokers, and give the broker a log.dirs that nobody cleans", d.Path)
	}
	return out
}

// lookAt looks at a log directory from this process.
func lookAt(dir string) diskView {
	v := diskView{free: -1, total: -1}
	info, err := os.Stat(dir)
	if err == nil && removed(info) {
		v.unseen = "it was made again since the agent was started"
		return v
	}
	if err != nil {
		v.unseen = seenAs(err)
		return v
	}
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		v.unseen = seenAs(err)
		return v
	}
	v.free, v.total = bytesOf(st.Bavail, st.Frsize), bytesOf(st.Blocks, st.Frsize)
	switch _, err := os.Stat(filepath.Join(dir, "meta.properties")); {
	case errors.Is(err, fs.ErrNotExist):
		v.noMeta = true
	case err != nil:
		v.unseen = seenAs(err)
	}
	return v
}

func seenAs(err error) string {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "it is not there for the agent"
	case errors.Is(err, fs.ErrPermission):
		return "permission denied"
	}
	return err.Error()
}

// removed is true for a directory that is mounted here and has no name any more.
func removed(info fs.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && st.Nlink == 0
}

func bytesOf(blocks uint64, size int64) int64 {
	if size > 0 && blocks > uint64(math.MaxInt64/size) { //nolint:gosec // neither is negative
		return math.MaxInt64
	}
	return int64(blocks) * size //nolint:gosec // it was compared
}
