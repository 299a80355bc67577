package host

import (
	"bytes"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"example.com/kpls-agent/internal/restart"
	"example.com/kpls-agent/internal/settings"
)

// asAnybody runs f with no rights of root on files. The thread that has given
// them up ends with its goroutine.
func asAnybody(t *testing.T, f func()) {
	t.Helper()
	done := make(chan error, 1)
	go func() {
		if os.Geteuid() == 0 {
			runtime.LockOSThread()
			const nobody = 65534
			if err := unix.Setfsuid(nobody); err != nil {
				done <- err
				return
			}
		}
		f()
		done <- nil
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// openUp lets anybody come to a folder and read what is in it, and write nothing.
func openUp(t *testing.T, dir string) {
	t.Helper()
	chmod := func(path string, mode os.FileMode) {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	chmod(filepath.Dir(dir), 0o755) // the folder around all of a test's
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil {
			chmod(path, map[bool]os.FileMode{true: 0o755, false: 0o644}[d.IsDir()])
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// looked is what a new agent process says of its manifest and its server.properties.
func looked(s *settings.Settings) restart.ManifestFacts {
	st := OpenStore(s, slog.New(slog.DiscardHandler))
	st.Update(os.ReadFile(s.Manifest))
	f, err := OpenFiles(s, 1, st)
	if err != nil {
		return restart.ManifestFacts{Fault: err.Error()}
	}
	return f.Manifest(restart.RunningFacts{})
}

// TestBadManifestFile: without a good one nothing is done; with one of before, that stays.
func TestBadManifestFile(t *testing.T) {
	for _, tt := range []struct {
		name          string
		spoil         func(path string) error
		first, beside string // the fault, without and with a manifest that was good; empty: it is none, and the same
	}{
		{
			"none", os.Remove, "DIR/manifest.yaml does not exist; put the manifest there",
			"DIR/manifest.yaml does not exist any more; the last good manifest stays in force, restore the file",
		},
		{"empty", replaceBy(""), "DIR/manifest.yaml:1:1: the file is empty; expected at least `version` and `cluster`", ""},
		{"not YAML", replaceBy("version: 1\nnonsense: {\n"), "DIR/manifest.yaml:3:1: the file is not YAML: did not find expected node content", ""},
		{"unknown field", replaceBy(goodManifest + "zones: 3\n"), "DIR/manifest.yaml:11:1: zones: unknown field; expected version, cluster, listeners, brokers, absent, broker_properties, rollout or load_balancer", ""},
		{"another cluster", replaceBy(strings.Replace(goodManifest, "cluster: c", "cluster: d", 1)), "", `the manifest is for cluster "d", and this agent serves cluster "c"; put the right file here`},
		{"a directory", mkdirInstead, "read DIR/manifest.yaml: is a directory", ""},
		{"unreadable", func(path string) error { return os.Chmod(path, 0) }, "open DIR/manifest.yaml: " + settings.Denied(fs.ErrPermission).Error(), ""},
	} {
		for _, before := range []bool{false, true} {
			if tt.first == "" && !before {
				continue
			}
			t.Run(tt.name, func(t *testing.T) {
				want := tt.first
				found := map[string][]byte{}
				if before {
					found["manifest.yaml"] = []byte(goodManifest)
					if tt.beside != "" {
						want = tt.beside
					}
				}
				s := stateDir(t, found)
				openUp(t, filepath.Dir(s.Manifest))
				if err := tt.spoil(s.Manifest); err != nil {
					t.Fatal(err)
				}
				var facts restart.ManifestFacts
				asAnybody(t, func() { facts = looked(s) })
				if got := strings.ReplaceAll(facts.Fault, filepath.Dir(s.Manifest), "DIR"); got != want {
					t.Errorf("got  %s\nwant %s", got, want)
				}
				if facts.NoFile != (tt.name == "none" && !before) {
					t.Errorf("no file: %v", facts.NoFile)
				}
				if (facts.Hash != "") != before {
					t.Errorf("in force is %q", facts.Hash)
				}
				if !bytes.Equal(contents(t, s.ServerProperties), []byte(brokerFile)) {
					t.Error("server.properties was changed")
				}
			})
		}
	}
}

func mkdirInstead(path string) error { return errors.Join(os.Remove(path), os.Mkdir(path, 0o755)) }

func replaceBy(text string) func(string) error {
	return func(path string) error { return os.WriteFile(path, []byte(text), 0o600) }
}

// TestBadServerProperties: each fault has its sentence, and the file stays as it is.
func TestBadServerProperties(t *testing.T) {
	for _, tt := range []struct {
		name, file, want string
		spoil            func(path string) error
	}{
		{"missing", "", "read FILE: open FILE: no such file or directory; name the broker's server.properties in the settings", os.Remove},
		{"unreadable", brokerFile, "read FILE: open FILE: " + settings.Denied(fs.ErrPermission).Error(), func(path string) error { return os.Chmod(path, 0) }},
		{"a directory", "", "FILE is not a file (d---------); name the broker's server.properties in the settings", mkdirInstead},
		{"with a BOM", "\xef\xbb\xbf" + brokerFile, "FILE:1: the file begins with a UTF-8 byte order mark, which Kafka takes for a part of the first key (in the file as it is); save it without the mark", nil},
		{"with a placeholder", brokerFile + "listeners=${file:/x:y}\n", "FILE:11: listeners holds a placeholder, which only Kafka can resolve (in the file as it is); write the value itself", nil},
		{"of a controller", "process.roles=controller\nnode.id=1\n", "FILE:1: this node is only a controller and must not have a listener for clients (in the file as it is); run kpls-agent on brokers only", nil},
		{"of another broker", strings.Replace(brokerFile, "node.id=1", "node.id=2", 1), "FILE:3: node.id is 2, and this agent serves broker 1; correct the one that is wrong", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := stateDir(t, map[string][]byte{"manifest.yaml": []byte(goodManifest)})
			if err := os.WriteFile(s.ServerProperties, []byte(tt.file), 0o600); err != nil {
				t.Fatal(err)
			}
			openUp(t, filepath.Dir(s.Manifest))
			if tt.spoil != nil {
				if err := tt.spoil(s.ServerProperties); err != nil {
					t.Fatal(err)
				}
			}
			var facts restart.ManifestFacts
			asAnybody(t, func() { facts = looked(s) })
			if facts.Refusal == nil {
				t.Fatalf("not refused: %+v", facts)
			}
			if got := strings.ReplaceAll(facts.Refusal.Text(), s.ServerProperties, "FILE"); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
			if info, err := os.Stat(s.ServerProperties); err == nil && info.Mode().IsRegular() {
				openUp(t, filepath.Dir(s.Manifest))
				if string(contents(t, s.ServerProperties)) != tt.file {
					t.Error("the file was changed")
				}
			}
		})
	}
}

// TestCannotWrite: server.properties cannot be replaced, or its last good copy
// not be kept. Nothing has changed then, and nothing is left over.
func TestCannotWrite(t *testing.T) {
	if os.Getenv("KPLS_AGENT_TEST_MOUNTS") == "" {
		inOwnMounts(t)
		return
	}
	const readOnly = syscall.MS_REMOUNT | syscall.MS_RDONLY
	for _, tt := range []struct {
		name, want string
		spoil      func(t *testing.T, properties, state string)
	}{
		{
			"full disk", "replace FILE: write the temporary file: no space left on device; free some space on the file system of DIR; nothing was changed",
			func(t *testing.T, properties, _ string) { t.Helper(); fill(t, properties) },
		},
		{
			"full disk of the state", "keep the last good server.properties: replace STATE/server.properties.last-good: write the temporary file: no space left on device; free some space on the file system of STATE; nothing was changed",
			func(t *testing.T, _, state string) { t.Helper(); fill(t, state) },
		},
		{
			"read-only file system", "replace FILE: remove the temporary file of an earlier attempt: read-only file system; the file system of DIR is read-only (or the service has no right to write there: see ReadWritePaths= of its unit); nothing was changed",
			func(t *testing.T, properties, _ string) {
				t.Helper()
				if err := unix.Mount("", properties, "", readOnly, ""); err != nil {
					t.Fatal(err)
				}
			},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := stateDir(t, nil)
			dir := filepath.Join(t.TempDir(), "disk")
			s.ServerProperties = filepath.Join(dir, "server.properties")
			for _, d := range []string{dir, s.StateDir} {
				if err := os.MkdirAll(d, 0o755); err != nil {
					t.Fatal(err)
				}
				if err := unix.Mount("tmpfs", d, "tmpfs", 0, "size=64k"); err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() {
					if err := unix.Unmount(d, unix.MNT_DETACH); err != nil {
						t.Error(err)
					}
				})
			}
			if err := os.WriteFile(s.ServerProperties, []byte(brokerFile), 0o644); err != nil {
				t.Fatal(err)
			}
			st := OpenStore(s, slog.New(slog.DiscardHandler))
			st.Update([]byte(goodManifest), nil)
			f, err := OpenFiles(s, 1, st)
			if err != nil {
				t.Fatal(err)
			}
			tt.spoil(t, dir, s.StateDir)
			before := names(t, dir)
			notApplied(t, s, f.Apply(f.Manifest(restart.RunningFacts{}).Hash), tt.want)
			if after := names(t, dir); !slices.Equal(before, after) {
				t.Errorf("next to server.properties was %v, is %v", before, after)
			}
		})
	}
}

// TestNoRightToWrite: the file may be written and its folder not, so it cannot be replaced.
func TestNoRightToWrite(t *testing.T) {
	s := stateDir(t, nil)
	dir := filepath.Dir(s.ServerProperties)
	openUp(t, dir)
	for path, mode := range map[string]os.FileMode{s.StateDir: 0o777, s.ServerProperties: 0o666, dir: 0o555} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { _ = os.Chmod(dir, 0o755) }) // so that it can be removed
	before := names(t, dir)
	var err error
	asAnybody(t, func() {
		st := OpenStore(s, slog.New(slog.DiscardHandler))
		st.Update([]byte(goodManifest), nil)
		var f *Files
		if f, err = OpenFiles(s, 1, st); err == nil {
			err = f.Apply(f.Manifest(restart.RunningFacts{}).Hash)
		}
	})
	notApplied(t, s, err, "replace FILE: create a temporary file next to it: permission denied; the agent's user must be able to write the directory DIR, since a file is replaced by renaming another over it (`kpls-agent setup` as root gives the service that right); nothing was changed")
	if after := names(t, dir); !slices.Equal(before, after) {
		t.Errorf("next to server.properties was %v, is %v", before, after)
	}
}

func notApplied(t *testing.T, s *settings.Settings, err error, want string) {
	t.Helper()
	if err == nil {
		t.Fatal("it was applied")
	}
	got := strings.NewReplacer(s.ServerProperties, "FILE", s.StateDir, "STATE", filepath.Dir(s.ServerProperties), "DIR").Replace(err.Error())
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if string(contents(t, s.ServerProperties)) != brokerFile {
		t.Error("server.properties was changed")
	}
}

// inOwnMounts runs the test once more, where it may mount.
func inOwnMounts(t *testing.T) {
	t.Helper()
	id := func(of int) []syscall.SysProcIDMap {
		return []syscall.SysProcIDMap{{ContainerID: 0, HostID: of, Size: 1}}
	}
	again := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	again.Env = append(os.Environ(), "KPLS_AGENT_TEST_MOUNTS=1")
	again.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	if os.Geteuid() != 0 {
		again.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		again.SysProcAttr.UidMappings, again.SysProcAttr.GidMappings = id(os.Getuid()), id(os.Getgid())
	}
	out, err := again.CombinedOutput()
	t.Logf("%s", out)
	if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Errorf("in mounts of its own (as root, or where user namespaces are allowed): %v", err)
	}
}

// fill fills a small disk.
func fill(t *testing.T, dir string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, "ballast"), make([]byte, 1<<20), 0o600); err == nil {
		t.Fatal("the disk is not full")
	}
}

func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}
