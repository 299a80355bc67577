package system

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"time"

	facts "example.com/kpls-agent/internal/restart"
	"example.com/kpls-agent/internal/unit"
	"example.com/kpls-agent/test/machines"
)

// shapes are units of other people's making, on a machine with systemd. A shell by the name of java
// stands in for their brokers: what is asked here is what systemd says and does, and to which
// processes, not what Kafka does. internal/unit has the same answers in its tables.
const shapes = `
mkdir -p /opt/shapes/bin /run/shapes
cp /bin/bash /opt/shapes/java
printf 'process.roles=broker\nnode.id=9\nlog.dirs=/tmp/shapes,/run/shape/data\n' >/opt/shapes/server.properties
printf 'process.roles=controller\nnode.id=10\n' >/opt/shapes/controller.properties
cat >/opt/shapes/bin/kafka-server-stop.sh <<'END'
#!/bin/bash
kill -s TERM $(ps ax | grep ' kafka\.Kafka ' | grep /opt/shapes/java | grep -v grep | awk '{print $1}')
END
chmod +x /opt/shapes/bin/kafka-server-stop.sh
cd /etc/systemd/system
cat >shape.service <<'END'
[Unit]
StartLimitIntervalSec=0
[Service]
Environment=CONF=server.properties "ROLE=a broker"
WorkingDirectory=/opt/shapes
PrivateTmp=yes
RuntimeDirectory=shape
Restart=on-failure
RestartSec=200ms
SuccessExitStatus=143
ExecStartPre=/bin/sh -c 'test ! -e /run/shapes/once || { rm /run/shapes/once; exit 1; }'
ExecStart=/bin/sh -c '/opt/shapes/java -c "trap \'exit 143\' TERM; touch /tmp/mark /run/shape/mark; sleep infinity & wait" java kafka.Kafka "$CONF" --override "listeners=A://:1" ${ROLE}; exit $$?'
ExecStop=/opt/shapes/bin/kafka-server-stop.sh
END
ln -s shape.service shape-alias.service
cat >shape-part.service <<'END'
[Service]
ExecStart=/opt/shapes/java -c 'trap "exit 143" TERM; sleep infinity & wait' java kafka.Kafka /opt/shapes/controller.properties
SuccessExitStatus=143
END
systemctl daemon-reload
systemctl start shape.service
`

const noShapes = `
systemctl stop shape.service shape-part.service shape-hand.service 2>/dev/null
rm -rf /opt/shapes /run/shapes /etc/kpls-agent/shapes.yaml /etc/systemd/system/shape.service /etc/systemd/system/shape-*.service
systemctl daemon-reload; systemctl reset-failed
unset DBUS_SYSTEM_BUS_ADDRESS
kpls-agent setup # for the machine's own broker again
chown kpls-agent:kafka /etc/kafka/server.properties # which setup gave back when the settings named another file
`

// shape is a unit of the machine as the agent's own package sees it.
type shape struct {
	*system
	m      *machines.Machine
	unit   *unit.Systemd
	broker unit.Broker
}

// unitShapes: a real systemd and internal/unit about units that tests elsewhere describe.
func unitShapes(s *system) {
	m := s.Machine(3)
	bus, err := m.Path("run/dbus/system_bus_socket")
	if err != nil {
		s.Fatal(err)
	}
	s.Setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path="+bus)
	s.on(m, shapes)
	s.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(s.Context()), patience)
		defer cancel()
		if out, err := m.Output(ctx, "sh", "-c", noShapes); err != nil {
			s.Error(err, out)
		}
	})
	b := unit.Broker{
		Properties: "/opt/shapes/server.properties", ID: "9", LogDirs: []string{"/tmp/shapes", "/run/shape/data"},
		Managed: func(key string) bool { return key == "listeners" },
		Roles: func(path string) (string, error) {
			return strings.TrimSpace(s.on(m, "sed -n s/process.roles=//p "+path)), nil
		},
	}
	judged := func() unit.Broker { return b }
	h := &shape{s, m, unit.NewSystemd(unit.SystemdOptions{Unit: "shape-alias.service", Logger: slog.New(slog.DiscardHandler), Broker: judged}), b}
	ctx, stop := context.WithCancel(s.Context())
	done := make(chan struct{})
	go func() { defer close(done); _ = h.unit.Run(ctx) }() // it ends with ctx
	defer func() { stop(); <-done }()

	h.described()
	h.byTheAgent()
	h.refused()
	s.on(m, "systemctl stop shape-part; sed -i -e '/^PrivateTmp/d' -e '/^RuntimeDirectory/d' -e '/^ExecStop/d' /etc/systemd/system/shape.service; systemctl daemon-reload; systemctl restart shape")
	h.failsOnce()
	h.byHand()
}

// run runs a shell command on the machine, which must not look for the bus where this process does.
func (h *shape) run(command string) string {
	h.Helper()
	return h.on(h.m, "unset DBUS_SYSTEM_BUS_ADDRESS; "+command)
}

// described: the lines of a unit and its processes are as the tables of internal/unit have them.
func (h *shape) described() {
	h.Helper()
	h.until("the broker's stand-in runs", func() bool {
		p, err := h.unit.Look(h.Context())
		return err == nil && h.standIn(p).PID > 0
	})
	p, err := h.unit.Look(h.Context())
	if err != nil || p.Blind != nil {
		h.Fatal(err, p.Blind)
	}
	if h.unit.ID() != "shape.service" || p.ID != "shape.service" {
		h.Errorf("its own name is %q", p.ID)
	}
	// A shell is around it, and systemd has replaced ${ROLE} and left $CONF to the shell.
	const argv = "kafka.Kafka server.properties --override listeners=A://:1 a broker"
	in := h.standIn(p)
	if got := strings.Join(in.Argv, " "); in.PID == p.MainPID || !strings.HasSuffix(got, argv) {
		h.Errorf("the process is %q", got)
	}
	h.says(p, map[string]string{
		unit.WhatCommand: "--override listeners beats server.properties",
		unit.WhatReach:   "ExecStop=/opt/shapes/bin/kafka-server-stop.sh ends every Kafka process",
		unit.WhatData:    "PrivateTmp=yes gives the unit a /tmp of its own, which systemd removes at each stop, and /tmp/shapes",
		unit.WhatOthers:  "with /etc/kafka/server.properties is another broker on this machine", // the machine's own
	})
	// That is what happens at a restart.
	h.run("ls /tmp/systemd-private-*-shape.service-*/tmp/mark /run/shape/mark && for d in /tmp/systemd-private-*-shape.service-*/tmp /run/shape; do touch $d/data; done; systemctl restart shape")
	if left := strings.TrimSpace(h.run("ls -d /tmp/systemd-private-*-shape.service-*/tmp/data /run/shape/data 2>/dev/null; true")); left != "" {
		h.Errorf("a restart leaves %s", left)
	}
}

// standIn is the process of the unit.
func (h *shape) standIn(p unit.Picture) unit.Process {
	for _, process := range p.Processes {
		if strings.HasSuffix(process.Group, "/shape.service") {
			return process
		}
	}
	return unit.Process{}
}

// says fails unless each question has a verdict that is not OK and says its text.
func (h *shape) says(p unit.Picture, texts map[string]string) {
	h.Helper()
	for _, v := range p.Judge(h.broker) {
		if v.Level != unit.OK && strings.Contains(v.Text, texts[v.What]) {
			delete(texts, v.What)
		}
	}
	for what, text := range texts {
		h.Errorf("%s: nothing says %q", what, text)
	}
}

// byTheAgent: the service itself sees the same under its own hardening, and its right to restart
// an alias is that of systemd's own name.
func (h *shape) byTheAgent() {
	h.Helper()
	const settings = "/etc/kpls-agent/shapes.yaml"
	h.run("printf 'unit: shape-alias.service\nserver_properties: /opt/shapes/server.properties\nstate_dir: /run/shapes\n' >" + settings + "; chmod 644 " + settings + " /opt/shapes/*.properties")
	check := func() string {
		return h.run(`systemd-run --quiet --pipe --wait --collect --uid=kpls-agent --property=ProtectProc=invisible --property=ProcSubset=pid --property=PrivateTmp=yes \
kpls-agent check --settings ` + settings + ` || test $? -le 2`)
	}
	out := check()
	for _, want := range []string{
		"FAULT    command line of the broker: --override listeners beats",
		"FAULT    data of the broker at a stop: PrivateTmp=yes",
		"FAULT    right to restart the unit: restart shape-alias.service: not permitted",
	} {
		if !strings.Contains(out, want) {
			h.Errorf("check does not say %q:\n%s", want, out)
		}
	}
	h.run("kpls-agent setup --settings " + settings + " || test $? = 1") // it has things left to do
	h.until("the right to restart the alias is there", func() bool { return strings.Contains(check(), "ok       right to restart the unit") })
}

// refused: what would take another process down is not restarted.
func (h *shape) refused() {
	h.Helper()
	h.run("systemctl start shape-part.service shape.service")
	h.until("the other process is seen", func() bool {
		p, err := h.unit.Look(h.Context())
		return err == nil && slices.ContainsFunc(p.Judge(h.broker), func(v unit.Verdict) bool {
			return v.Level == unit.Hazard && strings.Contains(v.Text, "shape-part.service")
		})
	})
	before := h.invocation(h.m, "shape.service")
	err := h.unit.Restart(h.Context())
	if err == nil || !strings.Contains(err.Error(), "of shape-part.service, with /opt/shapes/controller.properties") {
		h.Errorf("restart: %v", err)
	}
	if now := h.invocation(h.m, "shape.service"); now != before {
		h.Error("it was restarted")
	}
	if f := h.unit.State(h.Context()); f.Hazard == "" || f.State != facts.UnitRunning {
		h.Errorf("the agent's veto: %+v", f)
	}
}

// failsOnce: a start that comes to nothing before the broker's own process is told from others, and
// the failed job of a unit that comes up is no error.
func (h *shape) failsOnce() {
	h.Helper()
	before := h.unit.State(h.Context())
	if before.State != facts.UnitRunning || before.StartFailures != 0 {
		h.Fatalf("before: %+v", before)
	}
	h.run("touch /run/shapes/once")
	if err := h.unit.Restart(h.Context()); err != nil {
		h.Errorf("a job that failed: %v", err)
	}
	var f facts.UnitFacts
	h.until("it runs again", func() bool {
		f = h.unit.State(h.Context())
		return f.State == facts.UnitRunning && f.Invocation != before.Invocation
	})
	if f.Restarts != 1 || f.StartFailures != 1 {
		h.Errorf("ExecStartPre= failed once: %+v", f)
	}
	h.run("systemctl kill --signal=KILL shape") // the broker itself ends
	h.until("it runs once more", func() bool {
		g := h.unit.State(h.Context())
		again := g.State == facts.UnitRunning && g.Invocation != f.Invocation
		if again {
			f = g
		}
		return again
	})
	if f.Restarts != 2 || f.StartFailures != 1 {
		h.Errorf("and was killed: %+v", f)
	}
}

// byHand: a broker outside of its stopped unit is not taken for one that is stopped.
func (h *shape) byHand() {
	h.Helper()
	h.run("systemctl stop shape; systemd-run --quiet --scope --unit=shape-hand /opt/shapes/java -c 'sleep infinity & wait' java kafka.Kafka /opt/shapes/server.properties >/dev/null 2>&1 &")
	begun := time.Now()
	var f facts.UnitFacts
	h.until("it is seen", func() bool {
		f = h.unit.State(h.Context())
		return f.State == facts.UnitUnknown
	})
	if !strings.Contains(f.Detail, "of shape-hand.scope, with /opt/shapes/server.properties runs and shape.service is inactive: it was started outside of the unit") {
		h.Errorf("got %+v after %s", f, time.Since(begun))
	}
	h.run("systemctl stop shape-hand.scope")
	h.until("it is gone", func() bool { return h.unit.State(h.Context()).State == facts.UnitStopped })
}
