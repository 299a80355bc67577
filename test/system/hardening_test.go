package system

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"example.com/kpls-agent/test/machines"
	"example.com/kpls-agent/test/tables"
)

var update = flag.Bool("update", false, "write the table of docs/install.md")

// directive is one line, or some, of the agent's unit and an act that it forbids.
type directive struct {
	lines string // as in the unit, without a value where it is the unit's
	from  string // what the agent is kept from
	act   string // succeeds where it is not forbidden; empty where there is none to try
	user  bool   // the act is for the agent's user; else root's: nothing but the directive forbids it
	weak  bool   // a container forbids the act anyway
}

// directives are all of the unit that harden it.
var directives = []directive{
	{lines: "CapabilityBoundingSet", from: "whatever only root may do, such as giving a file away", act: "touch /tmp/mine && chown 1 /tmp/mine"},
	{lines: "AmbientCapabilities", from: "capabilities that an administrator's drop-in might leave to it"},
	{lines: "NoNewPrivileges", from: "more rights by a program with the set-user-ID bit", act: "grep -q 'NoNewPrivs:.0' /proc/self/status", user: true},
	{lines: "UMask", from: "leaving a file that others can read", act: "test $(umask) != 0077"},
	{lines: "LimitCORE", from: "leaving its memory, with a password, in a core file", act: "test $(ulimit -H -c) != 0"},
	{lines: "RemoveIPC", from: "leaving shared memory behind"},
	{lines: "ProtectSystem", from: "writing anywhere but in the folder of server.properties and its state", act: "touch /etc/mine && rm /etc/mine"},
	{lines: "ProtectHome", from: "reading what lies in homes", act: "test -r /root/newer.deb"},
	{lines: "PrivateTmp", from: "seeing the temporary files of others", act: "test -e /tmp/others"},
	{lines: "PrivateDevices", from: "disks and other devices", act: "test -e /dev/kmsg || test -b /dev/sda", weak: true},
	{lines: "PrivateMounts", from: "mounting anything for others to see"},
	{lines: "DevicePolicy", from: "devices once more, by number", act: "rm -f /tmp/device; mknod /tmp/device c 1 2 && head -c 1 /tmp/device", weak: true},
	{lines: "ProtectProc", from: "seeing the processes of others", act: "test -e /proc/1/status", user: true},
	{lines: "ProcSubset", from: "what /proc tells of the machine", act: "test -e /proc/meminfo"},
	{lines: "ProtectClock", from: "setting the clock", act: "date --set=@$(date +%s)", weak: true},
	{lines: "ProtectControlGroups", from: "changing the limits of other services", act: "mkdir /sys/fs/cgroup/mine && rmdir /sys/fs/cgroup/mine"},
	{lines: "ProtectHostname", from: "renaming the machine", act: "hostname $(hostname)"},
	{lines: "ProtectKernelLogs", from: "reading the kernel's log", act: "head -c 1 /dev/kmsg", weak: true},
	{lines: "ProtectKernelModules", from: "loading kernel modules", act: "modprobe dummy", weak: true},
	{lines: "ProtectKernelTunables", from: "changing the kernel's settings", act: "echo 1 >/proc/sys/kernel/printk_ratelimit", weak: true},
	{lines: "LockPersonality", from: "old personalities of the kernel", act: "setarch --addr-no-randomize true"},
	{lines: "MemoryDenyWriteExecute", from: "running code that it has written into memory, as a JVM does", act: "java -version"},
	{lines: "RestrictNamespaces", from: "making namespaces, which open doors in the kernel", act: "unshare --net true"},
	{lines: "RestrictRealtime", from: "taking the processor for itself", act: "chrt --rr 1 true"},
	{lines: "RestrictSUIDSGID", from: "making a program that runs as somebody else", act: "touch /tmp/mine && chmod u+s /tmp/mine"},
	{lines: "SystemCallArchitectures", from: "the system calls of other architectures"},
	{lines: "SystemCallErrorNumber SystemCallFilter", from: "system calls that a service does not need, such as chroot", act: "chroot / true"},
	{lines: "RestrictAddressFamilies", from: "sockets other than TCP, UDP and local ones", act: "ip link"},
	{lines: "PrivateIPC", from: "the shared memory and queues of others"},
}

// hardening tries each act with the directive alone and without it, and holds the
// table of docs/install.md equal to what it saw. That the agent works under all of
// them together is what every other step shows.
func hardening(s *system) {
	text, err := os.ReadFile(filepath.Join("..", "..", "systemd", "kpls-agent.service"))
	if err != nil {
		s.Fatal(err)
	}
	_, part, _ := strings.Cut(string(text), "\n# Rights:")
	part, _, _ = strings.Cut(part, "[Install]")
	lines := map[string][]string{}
	for _, m := range regexp.MustCompile(`(?m)^(\w+)=.*$`).FindAllStringSubmatch(part, -1) {
		lines[m[1]] = append(lines[m[1]], m[0])
	}

	m := s.Machine(3)
	s.on(m, "touch /tmp/others")
	var b strings.Builder
	b.WriteString("| directive | keeps the agent from | seen |\n| --- | --- | --- |\n")
	for _, d := range directives {
		var set []string
		for name := range strings.FieldsSeq(d.lines) {
			if lines[name] == nil {
				s.Errorf("%s is not in the unit", name)
			}
			set = append(set, lines[name]...)
			delete(lines, name)
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", strings.Join(set, "`<br>`"), d.from, s.seen(m, d, set))
	}
	for name := range lines {
		s.Errorf("%s of the unit is not in the table", name)
	}
	s.golden("hardening", b.String())
}

// seen tries the act of a directive.
func (s *system) seen(m *machines.Machine, d directive, set []string) string {
	s.Helper()
	run := func(set []string, act string) error {
		ctx, cancel := context.WithTimeout(s.Context(), time.Minute)
		defer cancel()
		args := []string{"--quiet", "--pipe", "--wait", "--collect"}
		if d.user {
			args = append(args, "--uid=kpls-agent")
		}
		for _, line := range set {
			args = append(args, "--property="+line)
		}
		_, err := m.Output(ctx, "systemd-run", append(args, "sh", "-c", act)...)
		return err
	}
	if err := run(set, "true"); err != nil {
		s.Errorf("%s: nothing can be started with it: %v", d.lines, err)
	}
	if d.act == "" {
		return "starts with it; nothing here to try"
	}
	with, without := run(set, d.act), run(nil, d.act)
	switch {
	case with == nil:
		s.Errorf("%s does not forbid: %s", d.lines, d.act)
		return "not refused"
	case without == nil:
		return "done without it, refused with it"
	case !d.weak:
		s.Errorf("%s: the act is refused without it, too: %v", d.lines, without)
	}
	return "starts with it; the test machine, a container, refuses the act anyway"
}

// golden holds a part of docs/install.md, between two marks, equal to text.
func (s *system) golden(name, text string) {
	s.Helper()
	if err := tables.Hold(filepath.Join("..", "..", "docs", "install.md"), name, "\n"+text+"\n", *update); err != nil {
		s.Error(err)
	}
}

// refused are what the agent's user must not do, by systemctl's words. %s is Kafka's unit.
var refused = []string{
	"stop %s", "start %s", "reload %s", "try-restart %s", "reload-or-restart %s", "kill %s", "reset-failed %s", "set-property --runtime %s CPUWeight=10", "freeze %s",
	"mask %s", "disable %s", "daemon-reload", "restart dbus.service", "restart kpls-agent.service", "stop kpls-agent.service", "reboot", "start rescue.target",
	"stop kpls-agent-judge.service", "restart kpls-agent-judge.service", "mask kpls-agent-judge.service",
}

// polkit: the agent's user may restart the one unit, which every roll-out shows, and
// nothing else; nobody else may do so much.
func polkit(s *system) {
	m := s.Machine(3)
	before := s.processes()[m.ID]
	refuses := func(user, what string) {
		ctx, cancel := context.WithTimeout(s.Context(), time.Minute)
		defer cancel()
		out, err := m.Output(ctx, "runuser", append([]string{"-u", user, "--", "systemctl", "--no-ask-password"}, strings.Fields(what)...)...)
		if text := fmt.Sprint(out, err); err == nil || !strings.Contains(text, "authentication required") && !strings.Contains(text, "Access denied") && !strings.Contains(text, "Permission denied") {
			s.Errorf("%s may %s: %s", user, what, text)
		}
	}
	for _, what := range refused {
		if strings.Contains(what, "%s") {
			what = fmt.Sprintf(what, "kafka.service")
		}
		refuses("kpls-agent", what)
	}
	for _, user := range []string{"kafka", "nobody"} {
		refuses(user, "restart kafka.service")
	}
	if now := s.processes()[m.ID]; now != before {
		s.Errorf("the broker's process was %s and is %s", before, now)
	}
	s.settled()
}
