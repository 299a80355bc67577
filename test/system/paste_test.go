package system

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"

	"example.com/kpls-agent/test/machines"
)

// block is a code block of a document that a reader pastes into a shell. The comment above it has its name.
var block = regexp.MustCompile("(?ms)^<!-- paste: ([a-z ]+) -->\n```sh\n(.*?)^```")

// blocks are those of a document, by name.
func (s *system) blocks(document string) map[string]string {
	s.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", document))
	if err != nil {
		s.Fatal(err)
	}
	all := map[string]string{}
	for _, m := range block.FindAllStringSubmatch(string(text), -1) {
		all[m[1]] = m[2]
	}
	return all
}

// reader is somebody who pastes, on a host that reaches the load balancer and, by ssh and scp, the VMs.
type reader struct {
	*system
	blocks map[string]string
	home   string
	values string
	dir    string   // where the reader's clone is
	caches []string // of Go, which would be below the reader's home
}

// variable is one that the reader sets.
var variable = regexp.MustCompile(`(?m)^(\w+)=`)

// read opens a document. values are the reader's own; they must set what the document's first block sets.
func (s *system) read(document, values string) *reader {
	s.Helper()
	r := &reader{s, s.blocks(document), s.TempDir(), values, s.checkout(), nil}
	for _, name := range []string{"GOCACHE", "GOMODCACHE"} {
		path, err := exec.CommandContext(s.Context(), "go", "env", name).Output()
		if err != nil {
			s.Fatal(err)
		}
		r.caches = append(r.caches, name+"="+strings.TrimSpace(string(path)))
	}
	if got, want := variable.FindAllString(values, -1), variable.FindAllString(r.blocks["values"], -1); !slices.Equal(got, want) {
		s.Fatalf("%s lets the reader set %q, the test sets %q", document, want, got)
	}
	// No daemon for logins runs on the machines: the two programs do what a login as root would do.
	ssh := "#!/bin/sh\nwhile [ \"${1#-}\" != \"$1\" ]; do shift; done\nvm=$1; shift\ncase $vm in\n"
	scp := "#!/bin/sh\n[ \"$1\" = -qr ] || exit 2\ncase $3 in\n" // from one folder to a home
	for _, m := range s.Machines {
		enter := m.Command(s.Context(), "env", "-C", "/root", "HOME=/root", "sh", "-c")
		if enter.Err != nil {
			s.Fatal(enter.Err)
		}
		ssh += fmt.Sprintf("%s) exec %s \"sudo() { \\\"\\$@\\\"; }; $*\";;\n", m.Name, strings.Join(enter.Args, " "))
		scp += fmt.Sprintf("%[1]s:) exec tar -C \"${2%%/*}\" -c \"${2##*/}\" | ssh %[1]s tar -x --no-same-owner;;\n", m.Name)
	}
	for name, text := range map[string]string{"ssh": ssh, "scp": scp} {
		if err := os.WriteFile(filepath.Join(r.home, name), []byte(text+"*) exit 255;;\nesac\n"), 0o755); err != nil {
			s.Fatal(err)
		}
	}
	return r
}

// change changes a block where this bed differs from what the document is for.
func (r *reader) change(name string, changes map[string]string) {
	r.Helper()
	for old, now := range changes {
		if !strings.Contains(r.blocks[name], old) {
			r.Fatalf("the block %q has no %q", name, old)
		}
		r.blocks[name] = strings.Replace(r.blocks[name], old, now, 1)
	}
}

// checkout is the top folder of this repository.
func (s *system) checkout() string {
	s.Helper()
	path, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		s.Fatal(err)
	}
	return path
}

// take returns a block. Each is pasted once.
func (r *reader) take(name string) string {
	r.Helper()
	text, ok := r.blocks[name]
	if !ok {
		r.Fatalf("there is no block %q among %q", name, slices.Sorted(maps.Keys(r.blocks)))
	}
	delete(r.blocks, name)
	return text
}

// shell is the reader's shell, with commands.
func (r *reader) shell(commands string) *exec.Cmd {
	cmd := r.Client.Command(r.Context(), "bash", "-euc", r.values+commands)
	cmd.Dir = r.dir
	cmd.Env = append(os.Environ(), r.caches...)
	cmd.Env = append(cmd.Env, "HOME="+r.home, "PATH="+r.home+":"+os.Getenv("PATH"))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return cmd
}

// paste runs a block to its end and returns what the reader sees.
func (r *reader) paste(name string) string {
	r.Helper()
	out, err := r.shell(r.take(name)).CombinedOutput()
	r.Logf("pasted %q:\n%s", name, out)
	if err != nil {
		r.Errorf("pasted %q: %v", name, err)
	}
	return string(out)
}

// watch runs a block that goes on until the reader types Ctrl-C, which is when until returns.
func (r *reader) watch(name string, until func()) string {
	r.Helper()
	var out strings.Builder
	cmd := r.shell(r.take(name))
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		r.Fatal(err)
	}
	ended := false
	defer func() {
		if !ended {
			_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // the test has failed
			_ = cmd.Wait()
		}
	}()
	until()
	if err := syscall.Kill(-cmd.Process.Pid, syscall.SIGINT); err != nil {
		r.Errorf("%q had ended: %v", name, err)
	}
	_ = cmd.Wait() // by the signal
	ended = true
	r.Logf("pasted %q:\n%s", name, out.String())
	return out.String()
}

// readme are the README's five minutes, with the reader's values here.
func (s *system) readme() *reader {
	s.Helper()
	var names []string
	for _, m := range s.Machines {
		names = append(names, m.Name)
	}
	r := s.read("README.md", "vms=("+strings.Join(names, " ")+")\nload_balancer="+s.LB.Addr+"\ndomain="+machines.Domain+"\n")
	if build := r.blocks["build"]; build != "make deb\n" {
		s.Errorf("README builds by %q, this test had `make deb`", build)
	}
	delete(r.blocks, "build")
	// The machines' data disks are small.
	r.change("write", map[string]string{"unit: kafka.service\n": "unit: kafka.service\nstorage: {min_free_mib: 16}\n"})
	return r
}

// replaceLibrary replaces a library that the broker's process maps, as an upgrade does, and
// leaves needrestart with a broker to restart.
const replaceLibrary = `set -e
lib=$(sed -n 's|.* \(/.*/libz\.so[^ ]*\)$|\1|p' /proc/$(systemctl show --property MainPID --value kafka)/maps | head -n 1)
cp -p "$lib" "$lib.new" && mv "$lib.new" "$lib"`
