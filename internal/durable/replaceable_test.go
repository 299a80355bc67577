package durable

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// info is a file of which only owner and mode matter.
type info struct {
	uid, gid uint32
	mode     fs.FileMode
}

func (i info) Name() string       { return "server.properties" }
func (i info) Size() int64        { return 0 }
func (i info) Mode() fs.FileMode  { return i.mode }
func (i info) ModTime() time.Time { return time.Time{} }
func (i info) IsDir() bool        { return i.mode.IsDir() }
func (i info) Sys() any           { return &syscall.Stat_t{Uid: i.uid, Gid: i.gid} }

func TestForesee(t *testing.T) {
	const root, kafka, agent = 0, 100, 200 // users, and groups of the same numbers
	member, stranger := process{agent, agent, []int{agent, kafka}}, process{agent, agent, []int{agent}}
	dir := info{root, kafka, fs.ModeDir | 0o770}
	for _, c := range []struct {
		name string
		file info
		dir  info
		who  process
		op   string
		err  error
	}{
		{"root's file, read by the group", info{root, kafka, 0o640}, dir, member, "", nil},
		{"the same, by no member", info{root, kafka, 0o640}, dir, stranger, opOwner, ErrAccessLost},
		{"the same, in a folder that gives its group", info{root, kafka, 0o640}, info{root, kafka, fs.ModeDir | fs.ModeSetgid | 0o777}, stranger, "", nil},
		{"read by all", info{kafka, kafka, 0o644}, dir, stranger, "", nil},
		{"Kafka's alone", info{kafka, kafka, 0o600}, dir, member, opOwner, ErrAccessLost},
		{"our own", info{agent, agent, 0o600}, dir, stranger, "", nil},
		{"a sticky folder", info{root, kafka, 0o640}, info{root, kafka, fs.ModeDir | fs.ModeSticky | 0o777}, member, opRename, unix.EPERM},
		{"our own in a sticky folder", info{agent, kafka, 0o640}, info{root, kafka, fs.ModeDir | fs.ModeSticky | 0o777}, member, "", nil},
		{"as root", info{kafka, kafka, 0o600}, info{kafka, kafka, fs.ModeDir | fs.ModeSticky | 0o700}, process{0, 0, nil}, "", nil},
	} {
		op, err := foresee(c.file, c.dir, c.who)
		if !errors.Is(err, c.err) || (err == nil) != (c.err == nil) || err != nil && op != c.op {
			t.Errorf("%s: got %s %v, want %s %v", c.name, op, err, c.op, c.err)
		}
	}
}

func TestReplaceable(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "server.properties")
	link := filepath.Join(dir, "link")
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	if err := Replaceable(link); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("a missing file: %v", err)
	}
	if err := os.WriteFile(path, []byte("a=b\n"), 0o640); err != nil {
		t.Fatal(err)
	}
	if err := Replaceable(link); err != nil {
		t.Error(err)
	}
	if err := Replaceable(dir); err == nil || !strings.Contains(err.Error(), "not a regular file; give the path of the file itself") {
		t.Errorf("a folder: %v", err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 2 {
		t.Errorf("something was written: %v %v", entries, err)
	}
}
