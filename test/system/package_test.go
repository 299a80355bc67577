package system

import (
	"strconv"
	"strings"

	"example.com/kpls-agent/test/machines"
)

const (
	dropIn   = "/etc/systemd/system/kpls-agent.service.d/10-setup.conf"
	rule     = "/etc/polkit-1/rules.d/50-kpls-agent.rules"
	override = "/etc/needrestart/conf.d/50-kpls-agent.conf"
)

// install installs a package as cloud-init does, also where there is one.
func install(deb string) string {
	return "DEBIAN_FRONTEND=noninteractive apt-get install --yes --reinstall --allow-downgrades " + deb + " 2>&1"
}

// says fails unless a command on a VM prints want.
func (s *system) says(m *machines.Machine, command, want string) {
	s.Helper()
	if got := strings.TrimSpace(s.on(m, command)); got != want {
		s.Errorf("%s: %s: %q, want %q", m.Name, command, got, want)
	}
}

// choices: what an administrator decided about the service outlives an upgrade.
func choices(s *system) {
	m := s.Machine(3)
	broker := s.processes()[m.ID]
	const service = "systemctl is-enabled kpls-agent; systemctl is-active kpls-agent; true"
	s.on(m, "systemctl disable --now kpls-agent")
	s.on(m, install(newer))
	s.says(m, service, "disabled\ninactive")
	s.on(m, "systemctl mask kpls-agent 2>&1")
	s.on(m, install(newer))
	s.says(m, service, "masked\ninactive")
	s.on(m, "systemctl unmask kpls-agent 2>&1 && systemctl enable --now kpls-agent 2>&1")
	s.settled()
	s.on(m, "systemctl reload kpls-agent")
	s.settled()
	if now := s.processes()[m.ID]; now != broker {
		s.Errorf("the broker's process was %s and is %s", broker, now)
	}
}

// removed: removal and purge leave the broker alone and nothing of the agent behind,
// and the package can come back.
func removed(s *system) {
	m := s.Machine(3)
	broker := s.processes()[m.ID]
	properties := s.on(m, "cat /etc/kafka/server.properties")
	const file = "stat -c '%U:%G %a' /etc/kafka/server.properties; getfacl --omit-header --absolute-names /etc/kafka | grep kpls"
	s.says(m, file, "kpls-agent:kafka 640\nuser:kpls-agent:rwx")
	s.says(m, "stat -c '%U:%G %a' /var/lib/kpls-agent /var/lib/kpls-agent/server.properties.last-good", "kpls-agent:kpls-agent 750\nkpls-agent:kpls-agent 600")
	s.says(m, "kpls-agent setup", "nothing to change")

	out := s.on(m, "apt-get remove --yes kpls-agent 2>&1")
	for _, want := range []string{"let kpls-agent no longer write in /etc/kafka", "give /etc/kafka/server.properties back to root"} {
		if !strings.Contains(out, want) {
			s.Errorf("removal does not say %q:\n%s", want, out)
		}
	}
	s.says(m, file+"; true", "root:kafka 640")
	s.says(m, "ls "+rule+" "+dropIn+" "+override+" /usr/bin/kpls-agent 2>/dev/null; systemctl is-active kpls-agent; ls /etc/kpls-agent", "inactive\nkpls-agent.yaml\nmanifest.yaml")

	blocks := s.blocks("docs/install.md")
	s.on(m, "set -e; mkdir /root/one; cd /root/one; cp /etc/kpls-agent/*.yaml .; cp "+newer+" kpls-agent_9_all.deb\n"+blocks["one machine"])
	s.says(m, "systemctl is-enabled kpls-agent; systemctl is-active kpls-agent", "enabled\nactive")
	s.settled()

	s.on(m, "cp -r /etc/kpls-agent /root/kept; apt-get purge --yes kpls-agent 2>&1")
	s.says(m, "ls -d /etc/kpls-agent /var/lib/kpls-agent "+rule+" "+dropIn+" "+override+" /etc/systemd/system/multi-user.target.wants/kpls-agent.service 2>/dev/null; find / -xdev -user kpls-agent -not -path '/proc/*'", "")
	s.says(m, file+"; true", "root:kafka 640")
	if now := s.on(m, "cat /etc/kafka/server.properties"); now != properties {
		s.Errorf("server.properties was\n%s\nand is\n%s", properties, now)
	}

	// Without a manifest the agent idles and says so.
	s.on(m, install(newer))
	s.until("the agent has no manifest", func() bool { return s.agent(m).reason == "no_manifest" })
	s.says(m, "systemctl show --property StatusText --value kpls-agent", "unmanaged: there is no manifest yet: /etc/kpls-agent/manifest.yaml does not exist; put the manifest there")
	s.on(m, "apt-get purge --yes kpls-agent 2>&1")
	s.cloudInit(m)
	s.on(m, "cp /root/kept/* /etc/kpls-agent/\n"+blocks["settings changed"]) // the same bytes as on the other VMs
	s.settled()
	if now := s.processes()[m.ID]; now != broker {
		s.Errorf("the broker's process was %s and is %s", broker, now)
	}
}

// holdLock has dpkg's lock, as another apt would, until apt waits for it.
const holdLock = `import fcntl, time
lock = open("/var/lib/dpkg/lock-frontend", "w")
fcntl.lockf(lock, fcntl.LOCK_EX)
while "Waiting for cache lock" not in open("/var/log/cloud-init-output.log").read():
    time.sleep(0.1)
`

// cloudInit runs the stages of a first boot on a VM that has nothing of the agent, while another apt has dpkg's
// lock. The user-data is the package's example.
func (s *system) cloudInit(m *machines.Machine) {
	s.Helper()
	s.on(m, `set -e
rm -rf /run/cloud-init /etc/cloud/cloud-init.disabled; cloud-init clean --logs; touch /var/log/cloud-init-output.log
install -D -m 0644 -t /var/lib/cloud/seed/nocloud `+seed+`/*
cat >/root/hold.py <<'END'
`+holdLock+`END
systemd-run --quiet --collect --service-type=exec python3 /root/hold.py
while ! grep -q "$(stat -c :%i /var/lib/dpkg/lock-frontend) " /proc/locks; do sleep 0.1; done
cloud-init init --local; cloud-init init; cloud-init modules --mode config; cloud-init modules --mode final`)
	out := s.on(m, "cat /var/lib/cloud/data/result.json; cat /var/log/cloud-init-output.log; rm -r /var/lib/cloud/seed")
	for _, want := range []string{`"errors": []`, "Waiting for cache lock", "kpls-agent: next: kpls-agent check"} {
		if !strings.Contains(out, want) {
			s.Errorf("cloud-init does not show %q:\n%s", want, out)
		}
	}
	s.says(m, "systemctl is-active kpls-agent; ls /etc/kpls-agent /etc/sysctl.d/60-kpls-agent.conf", "active\n/etc/sysctl.d/60-kpls-agent.conf\n\n/etc/kpls-agent:\nkpls-agent.yaml\nmanifest.yaml")
}

// pristine puts a VM back to before the agent ever ran: no state, and a
// server.properties without EXTERNAL.
const pristine = `set -e
systemctl stop kpls-agent
systemctl stop kafka
rm -rf /var/lib/kpls-agent/*
sed -i -e 's/,EXTERNAL:[^,]*//g' -e 's/,EXTERNAL:\/\/[^,]*//g' /etc/kafka/server.properties
! grep EXTERNAL /etc/kafka/server.properties
chown root:kafka /etc/kafka/server.properties; chmod 640 /etc/kafka/server.properties
`

// firstBoot: at the first boot the file is right before the broker starts, and a
// manifest or settings that are wrong keep no broker from starting.
func firstBoot(s *system) {
	m := s.Machine(3)
	reboot := func() {
		s.Helper()
		ctx := s.Context()
		if err := m.Reboot(ctx); err != nil {
			s.Fatal(err)
		}
		if err := m.WaitUp(ctx); err != nil {
			s.Fatal(err)
		}
		s.until("the broker is there", func() bool { return s.processes()[m.ID] != "" })
	}
	// microseconds since boot
	at := func(unit, property string) int64 {
		s.Helper()
		n, err := strconv.ParseInt(strings.TrimSpace(s.on(m, "systemctl show --value --property "+property+" "+unit)), 10, 64)
		if err != nil {
			s.Fatal(err)
		}
		return n
	}
	const starts = `journalctl --boot --unit kafka.service | grep -c 'Started kafka.service'`

	s.on(m, pristine)
	reboot()
	ready, started := at("kpls-agent", "ActiveEnterTimestampMonotonic"), at("kafka", "ExecMainStartTimestampMonotonic")
	if ready == 0 || started < ready {
		s.Errorf("the broker started %d µs after boot, the agent was ready after %d µs", started, ready)
	}
	s.settled()
	s.says(m, starts, "1")
	s.Logf("boot to agent ready: %.2f s", float64(ready-at("kpls-agent", "InactiveExitTimestampMonotonic"))/1e6)

	for _, c := range []struct{ name, breaks, mends string }{
		{"a manifest that is none", "cp /etc/kpls-agent/manifest.yaml /root/good.yaml; echo nonsense >/etc/kpls-agent/manifest.yaml", "cp /root/good.yaml /etc/kpls-agent/manifest.yaml"},
		{"settings that are none", "cp /etc/kpls-agent/kpls-agent.yaml /root/good.yaml; echo nonsense >/etc/kpls-agent/kpls-agent.yaml", "cp /root/good.yaml /etc/kpls-agent/kpls-agent.yaml"},
		{"no D-Bus for the agent", "printf '[Service]\\nInaccessiblePaths=/run/dbus\\n' >/etc/systemd/system/kpls-agent.service.d/99-test.conf", "rm /etc/systemd/system/kpls-agent.service.d/99-test.conf; systemctl daemon-reload; systemctl restart kpls-agent"},
	} {
		s.on(m, pristine+c.breaks)
		reboot()
		if waited := at("kafka", "ExecMainStartTimestampMonotonic") - at("basic.target", "ActiveEnterTimestampMonotonic"); waited > 25e6 {
			s.Errorf("%s kept the broker from starting for %.1f s", c.name, float64(waited)/1e6)
		}
		s.on(m, c.mends)
	}
	s.settled() // with a restart of the broker in its turn
}
