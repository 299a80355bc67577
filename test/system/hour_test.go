package system

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"example.com/kpls-agent/test/fleet"
	"example.com/kpls-agent/test/machines"
	"example.com/kpls-agent/test/sandbox"
)

// hour is what a new operator does in the first hour, with what is seen. It becomes docs/first-hour.md.
type hour struct {
	*reader
	text  strings.Builder
	table strings.Builder
	total time.Duration
}

func (h *hour) title(text string) { fmt.Fprintf(&h.text, "\n## %s\n", text) }

func (h *hour) says(text string) { fmt.Fprintf(&h.text, "\n%s\n", text) }

// shown is at most this much of an output: the rest is the same for the next VM, or apt's.
const shown = 24

// types runs commands as the reader types them, and returns what is seen and how long it took.
func (h *hour) types(commands string) (string, time.Duration) {
	h.Helper()
	begun := time.Now()
	cmd := h.shell(commands)
	cmd.Env = append(cmd.Env, "MAKELEVEL=", "MAKEFLAGS=") // the reader's make is not called by another one
	out, err := cmd.CombinedOutput()
	took := time.Since(begun)
	seen := strings.Split(strings.TrimSpace(string(out)), "\n")
	for i, line := range seen {
		line = strings.TrimRight(line, " \r")
		seen[i] = line[strings.LastIndex(line, "\r")+1:] // a terminal shows what was written last
	}
	if more := len(seen) - shown; more > 0 {
		seen = append(seen[:shown-4:shown-4], append([]string{fmt.Sprintf("... %d lines ...", more)}, seen[len(seen)-4:]...)...)
	}
	fmt.Fprintf(&h.text, "\n```console\n%s\n```\n", strings.TrimSpace(commands))
	if out := strings.Join(seen, "\n"); out != "" {
		fmt.Fprintf(&h.text, "\n```text\n%s\n```\n", out)
	}
	if err != nil {
		h.Errorf("%s: %v\n%s", commands, err, out)
	}
	return string(out), took
}

// must is types for what has to show a text.
func (h *hour) must(commands, want string) {
	h.Helper()
	if out, _ := h.types(commands); !strings.Contains(out, want) {
		h.Errorf("%s does not show %q:\n%s", commands, want, out)
	}
}

// pastes is a block of README, with a row of the table.
func (h *hour) pastes(name, step string) string {
	h.Helper()
	text := h.take(name)
	out, took := h.types(text)
	h.row(step, took)
	return out
}

func (h *hour) row(step string, took time.Duration) {
	h.total += took
	fmt.Fprintf(&h.table, "| %s | %.0f |\n", step, took.Seconds())
}

// soaked is how long the brokers soaked, as their agents' logs say.
func (h *hour) soaked(since time.Time) time.Duration {
	h.Helper()
	var sum time.Duration
	for _, m := range h.Machines {
		var from time.Time
		for _, e := range h.journal(m, since, "kpls-agent.service") {
			switch {
			case strings.Contains(e.Message, "phase=soaking") && from.IsZero():
				from = e.At
			case strings.Contains(e.Message, "was=soaking") && strings.Contains(e.Message, "phase=idle") && !from.IsZero():
				sum, from = sum+e.At.Sub(from), time.Time{}
			}
		}
	}
	return sum
}

// firstHour pastes README with its own soak, from the clone on, with typical mistakes and what else a new
// operator tries. It writes docs/first-hour.md.
func firstHour(s *system) {
	lb := s.boot()
	defer lb.Close()
	traffic := s.start(sandbox.NewLoad(s.within()), false)
	h := &hour{reader: s.readme()}

	h.title("Install")
	clone := filepath.Join(h.home, "clone")
	_, took := h.types("git clone --quiet . ~/clone")
	h.row("clone", took)
	h.dir = clone
	h.blocks["build"] = "make deb\n"
	h.pastes("build", "`make deb`, on warm caches")
	h.pastes("write", "write the manifest and the settings")
	installed := h.pastes("install", "install the package on three VMs")
	if n := strings.Count(installed, "next: kpls-agent check"); n != machines.Brokers {
		s.Errorf("%d installations are complete:\n%s", n, installed)
	}

	h.title("Three mistakes")
	h.says("A space is missing in the manifest. `check` says so before any broker has it.")
	const bad = "sed 's/bind: /bind:/' ~/kpls/manifest.yaml >~/kpls/typo.yaml; scp -qr ~/kpls \"$vm\":; "
	h.types("vm=b1; " + bad + "ssh \"$vm\" 'sudo kpls-agent check --manifest kpls/typo.yaml | grep -v \"^ok\"' || true; rm ~/kpls/typo.yaml")
	h.says("With the correct one:")
	h.pastes("check", "check the manifest on three VMs")
	h.says("A command is mistyped.")
	h.must("ssh b1 'sudo kpls-agent statsu' || echo exit code $?", "status")
	h.says("The manifest is put on two of the three VMs. Nothing is restarted, and `status` says why.")
	h.types(`for vm in b1 b2; do ssh "$vm" 'sudo install -m 0644 kpls/manifest.yaml /etc/kpls-agent/manifest.yaml'; done`)
	s.wait("an agent says that broker 3 has no manifest", func(r fleet.Report) bool {
		return strings.Contains(r.Row(1).Reason.Text, "broker 3 has no manifest")
	})
	h.types("ssh b1 'sudo kpls-agent status'")

	h.title("Roll out")
	begun := time.Now()
	copied, _, _ := strings.Cut(h.take("roll out"), "\nssh -t") // nobody is there to see it go on
	_, took = h.types(copied)
	h.row("put the manifest on three VMs", took)
	h.says("`kpls-agent status --watch` shows each change. At the end:")
	s.settled()
	soak := h.soaked(begun)
	h.row("roll-out, without its soak", time.Since(begun)-took-soak)
	h.types("ssh b3 'sudo kpls-agent status'")
	for _, m := range s.Machines {
		s.until("the load balancer finds "+m.Name, func() bool { return lb.Up(m.ID) })
	}
	h.pastes("verify", "`verify`")
	h.says("The probe's port is given instead of the broker's.")
	h.types("dist/host/kpls-agent verify --manifest ~/kpls/manifest.yaml --bootstrap 10.77.0.11:39192 || echo exit code $?")

	h.title("A second listener")
	h.says("docs/configuration.md shows the lines to add; here `sed` adds them. The soak is shortened, to write this document in\nless time.")
	h.types(`sed -i -e 's/^brokers:/  EXTERNAL2:\n    bind: 0.0.0.0:39093\n    security_protocol: PLAINTEXT\n    advertised: <broker_id>.example.com:<port>\n    probe_port: 39193\nrollout: {soak: 5s}\nbrokers:/' \
  -e 's/EXTERNAL: 909\([345]\)/&, EXTERNAL2: 919\1/' ~/kpls/manifest.yaml
for vm in "${vms[@]}"; do scp -qr ~/kpls "$vm":; ssh "$vm" 'sudo install -m 0644 kpls/manifest.yaml /etc/kpls-agent/manifest.yaml'; done`)
	s.turn(nil, "restarting", "starting", "catching_up", "soaking")

	h.title("A pause")
	h.says("A broker whose restart has begun finishes it. No other one begins before `resume`.")
	h.types("ssh b1 'sudo kpls-agent pause --why \"lunch\"'")
	s.wait("the roll-out is paused", func(r fleet.Report) bool { return r.State == "paused" })
	h.types("ssh b1 'sudo kpls-agent status'")
	h.types("ssh b1 'sudo kpls-agent resume --yes'")
	s.settled()
	h.types("ssh b1 'sudo kpls-agent status'")

	h.title("A cancelled restart")
	h.types("ssh b1 'sudo kpls-agent restart --yes'")
	s.turn(nil, "restarting", "starting", "catching_up", "soaking")
	h.types("ssh b1 'sudo kpls-agent restart --cancel'")
	s.settled()
	h.types("ssh b1 'sudo kpls-agent status'")

	h.title("The second listener is removed")
	h.types(`sed -i -e '/EXTERNAL2:$/,/probe_port: 39193/d' -e 's/, EXTERNAL2: 919.//' -e '$a absent: [EXTERNAL2]' ~/kpls/manifest.yaml
for vm in "${vms[@]}"; do scp -qr ~/kpls "$vm":; ssh "$vm" 'sudo install -m 0644 kpls/manifest.yaml /etc/kpls-agent/manifest.yaml'; done`)
	s.turn(nil, "restarting", "starting", "catching_up", "soaking")
	s.settled()
	h.types("ssh b1 'sudo kpls-agent status'")

	h.title("What the clients saw")
	traffic.judge()
	h.says("A producer with acks=all and a consumer worked all the time. No record was lost, and none failed.")
	h.types("dist/host/kpls-agent verify --listener EXTERNAL --manifest ~/kpls/manifest.yaml --bootstrap \"$load_balancer:9093\" --map \"*.$domain=$load_balancer\"")
	aimed("clone to a working verify by pasting alone, without the soak", 240, h.total.Seconds(), "s", fmt.Sprintf("soak %.0f s", soak.Seconds()))

	var doc strings.Builder
	fmt.Fprintf(&doc, "# The first hour\n\n<!-- Written by `make first-hour`. -->\n\nWhat a new operator types and sees, from the clone to a cancelled restart, on three machines with\nsystemd and Kafka "+
		"%s. `vms`, `load_balancer` and `domain` are set as in README's first block. `ssh` and\n`scp` lead to the machines b1, b2 and b3 as root.\n\n"+
		"| step, by pasting README's blocks | seconds |\n| --- | --- |\n%s| **clone to a working `verify`** (goal: 240) | **%.0f** |\n\n"+
		"The soak (%.0f s in all) is not counted.\n%s",
		sandbox.Version(), h.table.String(), h.total.Seconds(), soak.Seconds(), h.text.String())
	if s.Failed() {
		s.Logf("not written:\n%s", doc.String())
		return
	}
	if err := os.WriteFile(filepath.Join("..", "..", "docs", "first-hour.md"), []byte(doc.String()), 0o644); err != nil {
		s.Fatal(err)
	}
}
