package machines

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

const cgroups = "/sys/fs/cgroup"

// hierarchies are the control group trees that systemd-nspawn needs a group in:
// one where the host has cgroup v2 alone, two where it is a hybrid.
func hierarchies() []string {
	if _, err := os.Stat(filepath.Join(cgroups, "cgroup.procs")); err == nil {
		return []string{cgroups}
	}
	return []string{filepath.Join(cgroups, "unified"), filepath.Join(cgroups, "systemd")}
}

// group is the control group of a machine in each hierarchy. It holds every process of the machine.
type group string

func (g group) dirs() []string {
	var dirs []string
	for _, h := range hierarchies() {
		dirs = append(dirs, filepath.Join(h, prefix+string(g)))
	}
	return dirs
}

// control writes to a file of cgroup v2, see cgroups(7); nothing happens if the group does not exist.
func (g group) control(file, value string) error {
	err := os.WriteFile(filepath.Join(g.dirs()[0], file), []byte(value), 0o600)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// empty is true if no process is in the group or below.
func (g group) empty() bool {
	events, err := os.ReadFile(filepath.Join(g.dirs()[0], "cgroup.events"))
	return err != nil || strings.Contains(string(events), "populated 0")
}

// end kills every process in the group and removes it.
func (g group) end() error {
	err := errors.Join(g.control("cgroup.freeze", "0"), g.control("cgroup.kill", "1"))
	for deadline := time.Now().Add(30 * time.Second); !g.empty(); pause() {
		if time.Now().After(deadline) {
			return errors.Join(err,
				fmt.Errorf("processes stay in %s although they were killed; see their state with ps", g.dirs()[0]))
		}
	}
	for _, dir := range g.dirs() {
		err = errors.Join(err, removeGroup(dir))
	}
	return err
}

// removeGroup removes a group from its leaves up; the kernel may need a moment to let go of it.
func removeGroup(dir string) error {
	for deadline := time.Now().Add(10 * time.Second); ; pause() {
		var dirs []string
		_ = filepath.WalkDir(
			dir,
			func(path string, d fs.DirEntry, err error) error { // what is not there needs no removal
				if err == nil && d.IsDir() {
					dirs = append(dirs, path)
				}
				return nil
			},
		)
		if len(dirs) == 0 {
			return nil
		}
		var err error
		for _, d := range slices.Backward(dirs) {
			err = errors.Join(err, os.Remove(d))
		}
		if err != nil && time.Now().After(deadline) {
			return err
		}
	}
}

// pause is between two looks at something that takes a moment.
func pause() { <-time.After(50 * time.Millisecond) }
