// Package portuse says who has a TCP port of this machine, as far as /proc tells it,
// and what to do about it.
//
// It reads /proc/self/net/tcp and tcp6, which every user may read, also under
// ProcSubset=pid. They tell the state of each socket and its user. Which process it is,
// only root sees of other users' processes.
package portuse

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
)

// The states of a socket in /proc/net/tcp (the kernel's include/net/tcp_states.h).
const (
	stateTimeWait = 0x06
	stateListen   = 0x0A
)

// use is one socket that has the port as its own.
type use struct {
	state int
	uid   string
	inode string
}

// Owners are the processes by the inode of each of their sockets, as far as who asked could see them.
type Owners map[string]string

// SeeOwners looks at all processes now. Root sees those of all users, and may keep what
// it saw for a time when it is another user.
func SeeOwners() Owners { return seeOwners("/proc") }

func seeOwners(proc string) Owners {
	links, _ := filepath.Glob(filepath.Join(proc, "[0-9]*/fd/*")) // the pattern is a good one
	owners := Owners{}
	for _, link := range links {
		to, err := os.Readlink(link)
		inode, socket := strings.CutPrefix(to, "socket:[")
		if err != nil || !socket {
			continue
		}
		dir := filepath.Dir(filepath.Dir(link))
		if name, err := os.ReadFile(filepath.Join(dir, "comm")); err == nil {
			owners[strings.TrimSuffix(inode, "]")] = fmt.Sprintf("%s (%s)", filepath.Base(dir),
				strings.TrimSpace(string(name)))
		}
	}
	return owners
}

// Advice says in half a sentence who has a port and what to do, for a bind that was
// refused with EADDRINUSE. It always names a command that shows more, or the process.
func Advice(port int) string { return SeeOwners().Advice(port) }

// Advice is that of the package, with what was seen of the processes before.
func (o Owners) Advice(port int) string { return o.advice("/proc", port) }

func (o Owners) advice(proc string, port int) string {
	var uses []use
	for _, name := range []string{"tcp", "tcp6"} {
		f, err := os.Open(filepath.Join(proc, "self/net", name))
		if err != nil {
			continue // such as a kernel without IPv6
		}
		uses = append(uses, sockets(f, port)...)
		_ = f.Close() // it was only read
	}
	var listens, waits, other *use
	for i := range uses {
		switch u := &uses[i]; u.state {
		case stateListen:
			listens = u
		case stateTimeWait:
			waits = u
		default:
			other = u
		}
	}
	switch {
	case listens != nil:
		if process, seen := o[listens.inode]; seen {
			return fmt.Sprintf("process %s of user %s listens on it: end that", process, userName(listens.uid))
		}
		return fmt.Sprintf("a process of user %s listens on it: see `ss -ltnp sport = :%d` as root, end that",
			userName(listens.uid), port)
	case other != nil:
		return fmt.Sprintf(
			"nobody listens on it, an outgoing connection of user %s has it as its own port: see `ss -tanp sport = :%d` as root, "+
				"end that, and keep such connections away by net.ipv4.ip_local_reserved_ports",
			userName(other.uid),
			port,
		)
	case waits != nil:
		return fmt.Sprintf(
			"nobody listens on it, a connection that has ended keeps it (TIME-WAIT): it is free again within 61 s, see `ss -tan sport = :%d`",
			port)
	}
	return fmt.Sprintf(
		"see `ss -tanp sport = :%d` as root: end what listens there; a connection in TIME-WAIT leaves it within 61 s",
		port)
}

// sockets are those of a table whose own port is this one. What cannot be read is left
// out: it is only a hint.
func sockets(table io.Reader, port int) []use {
	var uses []use
	for lines := bufio.NewScanner(table); lines.Scan(); {
		f := strings.Fields(lines.Text()) // sl local rem st queues timer retransmits uid timeout inode
		if len(f) < 10 {
			continue
		}
		_, local, _ := strings.Cut(f[1], ":")
		if n, err := strconv.ParseUint(local, 16, 16); err != nil || int(n) != port {
			continue
		}
		if state, err := strconv.ParseUint(f[3], 16, 8); err == nil {
			uses = append(uses, use{state: int(state), uid: f[7], inode: f[9]})
		}
	}
	return uses
}

func userName(uid string) string {
	if u, err := user.LookupId(uid); err == nil {
		return u.Username
	}
	return uid
}
