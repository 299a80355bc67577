package unit

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// unitOf reads a unit file as far as these tests write one, so a case looks as an operator's
// unit does. What systemd makes of such lines over D-Bus is in TestSetup and, from a real systemd,
// in test/system, step `unit shapes`.
func unitOf(t *testing.T, text string) Setup {
	t.Helper()
	u := Setup{ID: testUnit, Names: []string{testUnit}, Group: "/system.slice/" + testUnit, MainPID: 100, KillMode: "control-group", SuccessExitStatus: []int{143}}
	for line := range strings.Lines(text) {
		key, value, ok := strings.Cut(strings.TrimSpace(line), "=")
		if !ok {
			continue
		}
		switch {
		case strings.HasPrefix(key, "Exec"):
			// No dollar sign is special where systemd splits.
			argv := splitQuoted(strings.ReplaceAll(value, "$", "\x01"))
			for i := range argv {
				argv[i] = strings.ReplaceAll(argv[i], "\x01", "$")
			}
			u.Execs = append(u.Execs, Exec{key, argv})
		case key == "Environment":
			u.Environment = append(u.Environment, value)
		case key == "EnvironmentFile":
			u.EnvironmentFiles = append(u.EnvironmentFiles, value)
		case key == "WorkingDirectory":
			u.WorkingDirectory = value
		case key == "PrivateTmp":
			u.PrivateTmp = value == "yes"
		case key == "RuntimeDirectory":
			u.RuntimeDirectory = strings.Fields(value)
		case key == "RuntimeDirectoryPreserve":
			u.RuntimePreserve = value
		case key == "TemporaryFileSystem":
			u.TemporaryFileSystem = strings.Fields(value)
		case key == "ProtectHome":
			u.ProtectHome = value
		case key == "BindPaths":
			_, to, _ := strings.Cut(value, ":")
			u.Bound = append(u.Bound, to)
		case key == "KillMode":
			u.KillMode = value
		case key == "SuccessExitStatus":
			u.SuccessExitStatus = nil
			if n, err := strconv.Atoi(value); err == nil {
				u.SuccessExitStatus = []int{n}
			}
		case key == "FailureAction":
			u.FailureAction = value
		case key == "SuccessAction":
			u.SuccessAction = value
		case key == "ConsistsOf":
			u.Dependents = append(u.Dependents, value)
		default:
			t.Fatalf("unitOf does not know %s", key)
		}
	}
	return u
}

// jvm is a Kafka process in a unit; dir is its working directory, empty for one that cannot be seen.
func jvm(pid int, unit, dir, args string) Process {
	return Process{PID: pid, Group: "/system.slice/" + unit, Dir: dir, Argv: strings.Fields("/usr/bin/java -Xmx1g -cp /opt/kafka/libs/* kafka.Kafka " + args)}
}

// TestOverrides: what the next start takes from --override, as the unit's lines and the process say.
func TestOverrides(t *testing.T) {
	const start = "ExecStart=/opt/kafka/bin/kafka-server-start.sh /srv/server.properties "
	runs := func(args string) []Process { return []Process{jvm(100, testUnit, "", "/srv/server.properties "+args)} }
	for _, c := range []struct {
		name, unit string
		processes  []Process
		want       map[string]string
	}{
		{"none", start, runs(""), map[string]string{}},
		{"in the unit", start + "--override a=1 --override=b=2=3", nil, map[string]string{"a": "1", "b": "2=3"}},
		{"the last one counts", start + "--override a=1 --override a=2", nil, map[string]string{"a": "2"}},
		{"the unit was changed since", start + "--override a=2", runs("--override a=1 --override b=1"), map[string]string{"a": "2"}},
		{"taken out of the unit since", start, runs("--override a=1"), map[string]string{}},
		{"of the process alone", "ExecStart=/usr/local/bin/start", runs("--override a=1"), map[string]string{"a": "1"}},
		{"a value that cannot be seen", "EnvironmentFile=/\n" + start + "--override a=${A} --override b=2", runs("--override a=1 --override c=3"), map[string]string{"a": "1", "b": "2", "c": "3"}},
		{"a word that cannot be seen", "EnvironmentFile=/\n" + start + "--override $A --override b=2", nil, map[string]string{"b": "2"}},
		{"cannot be seen", "ExecStart=/usr/local/bin/start", nil, nil},
		{"cut short", start + "--override", nil, map[string]string{}},
	} {
		p := Picture{Setup: unitOf(t, c.unit), State: "active", Processes: c.processes}
		if d := cmp.Diff(c.want, p.Overrides(Broker{Properties: "/srv/server.properties"})); d != "" {
			t.Errorf("%s: %s", c.name, d)
		}
	}
	// As root writes it down: no values but those that are no secrets.
	p := Picture{Setup: unitOf(t, "EnvironmentFile=/\n"+start+"--override a=1 --override node.id=1"), State: "active"}
	p.Seen = p.Write(func(string) bool { return true })
	if d := cmp.Diff(map[string]string{"node.id": "1"}, p.Overrides(Broker{})); d != "" {
		t.Error(d)
	}
	p.Processes = runs("--override a=1")
	if d := cmp.Diff(map[string]string{"a": "1", "node.id": "1"}, p.Overrides(Broker{Properties: "/srv/server.properties"})); d != "" {
		t.Error(d)
	}
}

// shapes are units as they are found, and what is said of each: one verdict that is not OK, or none.
// docs/operations.md, "Your unit, your file", has them by their names.
var shapes = []struct {
	name      string
	unit      string
	processes []Process
	state     string // ActiveState; empty is active
	blind     error
	level     Level
	what      string
	says      string
}{
	{name: "a plain unit", unit: `ExecStart=/opt/kafka/bin/kafka-server-start.sh DIR/server.properties`},
	{name: "a plain unit that runs", unit: `ExecStart=/opt/kafka/bin/kafka-server-start.sh DIR/server.properties`, processes: []Process{jvm(100, testUnit, "", "DIR/server.properties")}},

	// The command line.
	{name: "override in ExecStart", unit: `ExecStart=/opt/kafka/bin/kafka-server-start.sh DIR/server.properties --override listeners=A://:1`, level: Fault, what: WhatCommand, says: "--override listeners beats server.properties, so the manifest has no effect; remove it from ExecStart= (`systemctl edit --full kafka.service`)"},
	{name: "override in one word", unit: `ExecStart=/usr/bin/java kafka.Kafka DIR/server.properties --override=advertised.listeners=A://b:1`, level: Fault, what: WhatCommand, says: "--override advertised.listeners beats"},
	{name: "override of a password", unit: `ExecStart=/usr/bin/java kafka.Kafka DIR/server.properties --override listener.name.external.ssl.keystore.password=x`, level: Fault, what: WhatCommand, says: "--override listener.name.external.ssl.keystore.password beats"},
	{name: "override of something else", unit: `ExecStart=/opt/kafka/bin/kafka-server-start.sh DIR/server.properties --override log.retention.hours=1`},
	{name: "override cut short", unit: `ExecStart=/opt/kafka/bin/kafka-server-start.sh DIR/server.properties --override`},
	{name: "override in sh -c", unit: `ExecStart=/bin/sh -c '/opt/kafka/bin/kafka-server-start.sh DIR/server.properties --override listeners=A://:1 > DIR/kafka.log 2>&1'`, level: Fault, what: WhatCommand, says: "--override listeners beats"},
	{name: "override in a child of sh", unit: `ExecStart=/usr/local/bin/start`, processes: []Process{jvm(101, testUnit, "", "DIR/server.properties --override listeners=A://:1")}, level: Fault, what: WhatCommand, says: "--override listeners beats"},
	{name: "override in a variable", unit: "Environment=OPTS=--override listeners=A://:1\nExecStart=/opt/kafka/bin/kafka-server-start.sh DIR/server.properties $OPTS", level: Fault, what: WhatCommand, says: "--override listeners beats"},
	{name: "override in an EnvironmentFile", unit: "EnvironmentFile=DIR/env\nExecStart=/opt/kafka/bin/kafka-server-start.sh DIR/server.properties $OPTS", level: Fault, what: WhatCommand, says: "--override advertised.listeners beats"},
	{name: "override in a wrapper", unit: `ExecStart=DIR/wrapper-override`, level: Fault, what: WhatCommand, says: "remove it from DIR/wrapper-override"},
	{name: "override of the id", unit: `ExecStart=/opt/kafka/bin/kafka-server-start.sh DIR/server.properties --override node.id=7`, level: Fault, what: WhatCommand, says: "DIR/server.properties says that this broker is 1, and --override node.id=7 makes it another one; put node.id=7 into DIR/server.properties and remove the override from ExecStart="},
	{name: "override of the same id", unit: `ExecStart=/opt/kafka/bin/kafka-server-start.sh DIR/server.properties --override broker.id=1`},
	{name: "another file", unit: `ExecStart=/opt/kafka/bin/kafka-server-start.sh /opt/kafka/config/server.properties`, level: Fault, what: WhatCommand, says: "is started with /opt/kafka/config/server.properties, and the settings name DIR/server.properties"},
	{name: "a link to the file", unit: `ExecStart=/opt/kafka/bin/kafka-server-start.sh DIR/link.properties`},
	{name: "relative to WorkingDirectory", unit: "WorkingDirectory=DIR\nExecStart=/opt/kafka/bin/kafka-server-start.sh server.properties"},
	{name: "relative to another WorkingDirectory", unit: "WorkingDirectory=/opt/kafka\nExecStart=bin/kafka-server-start.sh config/server.properties", level: Fault, what: WhatCommand, says: "is started with /opt/kafka/config/server.properties"},
	{name: "relative after cd", unit: `ExecStart=/bin/bash -lc 'cd DIR/sub && exec /opt/kafka/bin/kafka-server-start.sh ../server.properties'`},
	{name: "relative to a variable of sh", unit: `ExecStart=/bin/sh -c 'B=DIR/sub; exec /opt/kafka/bin/kafka-server-start.sh $${B}/../server.properties'`},
	{name: "relative and running", unit: "WorkingDirectory=DIR\nExecStart=/opt/kafka/bin/kafka-server-start.sh server.properties", processes: []Process{jvm(100, testUnit, "", "server.properties")}},
	{name: "relative and started from elsewhere", unit: `ExecStart=/usr/local/bin/start`, processes: []Process{jvm(100, testUnit, "", "config/server.properties")}, level: Warning, what: WhatCommand, says: "with which file the broker is started cannot be seen (config/server.properties)"},
	{name: "a file that is mounted there", unit: "BindPaths=/srv/conf:/etc/kafka\nExecStart=/opt/kafka/bin/kafka-server-start.sh /etc/kafka/server.properties", level: Warning, what: WhatCommand, says: "cannot be seen (/etc/kafka/server.properties)"},
	{name: "relative and seen by root", unit: `ExecStart=/usr/local/bin/start`, processes: []Process{jvm(100, testUnit, "DIR", "server.properties")}},
	{name: "file in a variable", unit: "Environment=KAFKA_CONFIG=DIR/server.properties\nExecStart=/opt/kafka/bin/kafka-server-start.sh ${KAFKA_CONFIG}"},
	{name: "other file in a variable of sh", unit: "Environment=KAFKA_CONFIG=/srv/k.properties\nExecStart=/bin/sh -c 'exec /opt/kafka/bin/kafka-server-start.sh \"$KAFKA_CONFIG\"'", level: Fault, what: WhatCommand, says: "is started with /srv/k.properties"},
	{name: "file in a variable that cannot be seen", unit: "EnvironmentFile=DIR/closed/env\nExecStart=/opt/kafka/bin/kafka-server-start.sh $KAFKA_CONFIG", level: Warning, what: WhatCommand, says: "with which file the broker is started cannot be seen ($KAFKA_CONFIG (EnvironmentFile=DIR/closed/env cannot be read by this user))"},
	{name: "a program of the house", unit: `ExecStart=/usr/local/bin/kafkactl run`, level: Warning, what: WhatCommand, says: "cannot be seen; an --override on it would beat"},

	// Other Kafka processes.
	{name: "a second broker", unit: `ExecStart=/opt/kafka/bin/kafka-server-start.sh DIR/server.properties`, processes: []Process{jvm(100, testUnit, "", "DIR/server.properties"), jvm(200, "kafka@2.service", "", "DIR/broker.properties")}, level: Fault, what: WhatOthers, says: "process 200 of kafka@2.service, with DIR/broker.properties is another broker on this machine, which is not supported: one VM is one broker"},
	{name: "a second broker in ZooKeeper mode", unit: `ExecStart=/opt/kafka/bin/kafka-server-start.sh DIR/server.properties`, processes: []Process{jvm(200, "kafka@2.service", "", "DIR/zk.properties")}, level: Fault, what: WhatOthers, says: "one VM is one broker"},
	{name: "a controller next to the broker", unit: `ExecStart=/opt/kafka/bin/kafka-server-start.sh DIR/server.properties`, processes: []Process{jvm(100, testUnit, "", "DIR/server.properties"), jvm(200, "kafka-controller.service", "", "DIR/controller.properties")}},
	{name: "another Kafka whose file cannot be read", unit: `ExecStart=/opt/kafka/bin/kafka-server-start.sh DIR/server.properties`, processes: []Process{jvm(200, "kafka-controller.service", "", "config/controller.properties")}, level: Warning, what: WhatOthers, says: "whether it is a broker cannot be seen"},
	{name: "processes that cannot be seen", unit: `ExecStart=/opt/kafka/bin/kafka-server-start.sh DIR/server.properties`, blind: errors.New("access denied"), level: Warning, what: WhatOthers, says: "cannot be seen (access denied)"},
	{name: "started by hand", state: "inactive", unit: `ExecStart=/opt/kafka/bin/kafka-server-start.sh DIR/server.properties`, processes: []Process{{PID: 300, Group: "/user.slice/user-1000.slice/session-3.scope", Argv: strings.Fields("java kafka.Kafka DIR/server.properties")}}, level: Fault, what: WhatOthers, says: "process 300 of session-3.scope, with DIR/server.properties runs and kafka.service is inactive: it was started outside of the unit; stop it (`kill 300`), wait until it has ended, then `systemctl start kafka.service`"},
	{name: "started by hand with a relative name", state: "failed", unit: `ExecStart=/opt/kafka/bin/kafka-server-start.sh DIR/server.properties`, processes: []Process{{PID: 300, Group: "/user.slice/user-1000.slice/session-3.scope", Argv: strings.Fields("java kafka.Kafka config/server.properties")}}, level: Fault, what: WhatOthers, says: "it was started outside of the unit"},
	{name: "started as another unit", state: "inactive", unit: `ExecStart=/opt/kafka/bin/kafka-server-start.sh DIR/server.properties`, processes: []Process{jvm(300, "broker.service", "", "DIR/server.properties")}, level: Fault, what: WhatOthers, says: "if broker.service is the broker's unit, name it as `unit` in the settings"},
	{name: "a user unit", state: "inactive", unit: `ExecStart=/opt/kafka/bin/kafka-server-start.sh DIR/server.properties`, processes: []Process{{PID: 300, Group: "/user.slice/user-1000.slice/user@1000.service/app.slice/kafka.service", Argv: strings.Fields("java kafka.Kafka DIR/server.properties")}}, level: Fault, what: WhatOthers, says: "runs under the service manager of user 1000 (`systemctl --user`), which the agent cannot reach, and kafka.service is inactive; make it a unit of the system, or use `commands`"},
	{name: "stopped with a controller next to it", state: "inactive", unit: `ExecStart=/opt/kafka/bin/kafka-server-start.sh DIR/server.properties`, processes: []Process{jvm(200, "kafka-controller.service", "", "DIR/controller.properties")}},

	// What a stop reaches.
	{name: "kafka-server-stop.sh alone on the VM", unit: plain + `ExecStop=/opt/kafka/bin/kafka-server-stop.sh`, processes: []Process{jvm(100, testUnit, "", "DIR/server.properties")}, level: Warning, what: WhatReach, says: "ExecStop=/opt/kafka/bin/kafka-server-stop.sh ends every Kafka process of this machine; remove ExecStop= (SIGTERM is all that Kafka needs) (`systemctl edit --full kafka.service`)"},
	{name: "kafka-server-stop.sh next to a controller", unit: plain + `ExecStop=/opt/kafka/bin/kafka-server-stop.sh`, processes: []Process{jvm(100, testUnit, "", "DIR/server.properties"), jvm(200, "kafka-controller.service", "", "DIR/controller.properties")}, level: Hazard, what: WhatReach, says: "process 200 of kafka-controller.service, with DIR/controller.properties too"},
	{name: "kafka-server-stop in sh -c next to a controller", unit: plain + `ExecStop=/bin/sh -c 'sleep 1; /opt/kafka/bin/kafka-server-stop'`, processes: []Process{jvm(200, "kafka-controller.service", "", "DIR/controller.properties")}, level: Hazard, what: WhatReach, says: "process 200 of kafka-controller.service"},
	{name: "kafka-server-stop.sh in a script next to a controller", unit: plain + `ExecStop=DIR/wrapper-stop`, processes: []Process{jvm(200, "kafka-controller.service", "", "DIR/controller.properties")}, level: Hazard, what: WhatReach, says: "kafka-server-stop.sh in DIR/wrapper-stop, which ExecStop= runs ends every Kafka process"},
	{name: "kafka-server-stop.sh for one node", unit: plain + `ExecStop=/opt/kafka/bin/kafka-server-stop.sh --node-id=1`, processes: []Process{jvm(200, "kafka-controller.service", "", "DIR/controller.properties")}},
	{name: "kafka-server-stop.sh for one node that does not know the option", unit: plain + `ExecStop=DIR/old/kafka-server-stop.sh --node-id=1`, processes: []Process{jvm(200, "kafka-controller.service", "", "DIR/controller.properties")}, level: Hazard, what: WhatReach, says: "ends every Kafka process"},
	{name: "kafka-server-stop.sh for brokers next to a controller", unit: plain + `ExecStop=/opt/kafka/bin/kafka-server-stop.sh --process-role=broker`, processes: []Process{jvm(200, "kafka-controller.service", "", "DIR/controller.properties")}},
	{name: "kafka-server-stop.sh with the controller's role", unit: plain + `ExecStop=/opt/kafka/bin/kafka-server-stop.sh --process-role=controller`, processes: []Process{jvm(200, "kafka-controller.service", "", "DIR/controller.properties")}, level: Hazard, what: WhatReach, says: "ends Kafka processes with that role"},
	{name: "pkill before the start", unit: plain + `ExecStartPre=-/usr/bin/pkill -f kafka.Kafka`, processes: []Process{jvm(200, "kafka-controller.service", "", "DIR/controller.properties")}, level: Hazard, what: WhatReach, says: "ends processes by their name"},
	{name: "pkill of another program", unit: plain + `ExecStopPost=-/usr/bin/pkill -f jmx_exporter`, processes: []Process{jvm(200, "kafka-controller.service", "", "DIR/controller.properties")}},
	{name: "pkill of its own children", unit: plain + `ExecStop=/usr/bin/pkill -P $MAINPID`, processes: []Process{jvm(200, "kafka-controller.service", "", "DIR/controller.properties")}},
	{name: "killall java alone on the VM", unit: plain + `ExecStop=/usr/bin/killall java`, level: Warning, what: WhatReach, says: "ends processes by their name"},
	{name: "killall java next to a controller", unit: plain + `ExecStop=/usr/bin/killall -s TERM java`, processes: []Process{jvm(200, "kafka-controller.service", "", "DIR/controller.properties")}, level: Hazard, what: WhatReach, says: "process 200 of kafka-controller.service"},
	{name: "su in ExecStart", unit: `ExecStart=/bin/su - kafka -c '/opt/kafka/bin/kafka-server-start.sh DIR/server.properties'`, processes: []Process{{PID: 101, Group: "/user.slice/user-997.slice/session-c1.scope", Argv: strings.Fields("java kafka.Kafka DIR/server.properties")}}, level: Fault, what: WhatReach, says: "at a stop su sends SIGTERM and 2 s later SIGKILL, long before Kafka has shut down; use User= in the unit"},
	{name: "kill of the main process", unit: plain + `ExecStop=/bin/kill -TERM $MAINPID`},
	{name: "SIGKILL", unit: plain + `ExecStop=/bin/kill -9 $MAINPID`, level: Fault, what: WhatReach, says: "no controlled shutdown"},
	{name: "kill of what ps finds", unit: plain + `ExecStop=/bin/sh -c "ps ax | grep java | awk '{print $$1}' | xargs kill; kill $(pgrep java)"`, level: Warning, what: WhatReach, says: "ends processes that cannot be seen here"},
	{name: "a stop that cannot be seen", unit: plain + `ExecStop=DIR/stop.py`, level: Warning, what: WhatReach, says: "ExecStop=DIR/stop.py does what cannot be seen (it is no shell script)"},
	{name: "stops another unit", unit: plain + `ExecStopPost=/bin/systemctl stop exporter`, level: Warning, what: WhatReach, says: "stops or restarts other units"},
	{name: "a controller that is part of it", unit: plain + `ConsistsOf=kafka-controller.service`, processes: []Process{jvm(200, "kafka-controller.service", "", "DIR/controller.properties")}, level: Hazard, what: WhatReach, says: "a restart of kafka.service takes process 200 of kafka-controller.service"},
	{name: "a registry that requires it", unit: plain + `ConsistsOf=schema-registry.service`, level: Warning, what: WhatReach, says: "systemd stops and restarts schema-registry.service with every restart"},
	{name: "reload by SIGHUP", unit: plain + `ExecReload=/bin/kill -HUP $MAINPID`, level: Warning, what: WhatReach, says: "Kafka ends at SIGHUP, so `systemctl reload kafka.service` takes the broker down"},
	{name: "KillMode=process with a shell", unit: plain + `KillMode=process`, processes: []Process{jvm(101, testUnit, "", "DIR/server.properties")}, level: Fault, what: WhatReach, says: "leaves the broker (process 101)"},
	{name: "KillMode=mixed with a shell", unit: plain + `KillMode=mixed`, processes: []Process{jvm(101, testUnit, "", "DIR/server.properties")}, level: Fault, what: WhatReach, says: "is killed as soon as the shell has ended"},
	{name: "KillMode=mixed without a shell", unit: plain + `KillMode=mixed`, processes: []Process{jvm(100, testUnit, "", "DIR/server.properties")}},
	{name: "a reboot at each failure", unit: plain + "FailureAction=reboot\nSuccessExitStatus=", level: Hazard, what: WhatReach, says: "FailureAction=reboot follows each restart; set SuccessExitStatus=143"},
	{name: "a reboot at a real failure", unit: plain + `FailureAction=reboot`},
	{name: "the machine goes off with the broker", unit: plain + `SuccessAction=poweroff`, level: Hazard, what: WhatReach, says: "SuccessAction=poweroff follows each stop"},

	// The data.
	{name: "PrivateTmp and data below /tmp", unit: plain + `PrivateTmp=yes` + tmpLogs, level: Hazard, what: WhatData, says: "PrivateTmp=yes gives the unit a /tmp of its own, which systemd removes at each stop, and /tmp/kafka-logs of this broker is in it: a restart deletes its data"},
	{name: "PrivateTmp and data elsewhere", unit: plain + `PrivateTmp=yes`},
	{name: "PrivateTmp and data that are mounted there", unit: plain + "PrivateTmp=yes\nBindPaths=/data:/tmp/kafka-logs" + tmpLogs},
	{name: "data below /tmp without PrivateTmp", unit: plain + tmpLogs},
	{name: "RuntimeDirectory with the data", unit: plain + `RuntimeDirectory=kafka` + runLogs, level: Hazard, what: WhatData, says: "RuntimeDirectory=kafka is removed by systemd at each stop, and /run/kafka/data"},
	{name: "RuntimeDirectory that stays", unit: plain + "RuntimeDirectory=kafka\nRuntimeDirectoryPreserve=yes" + runLogs},
	{name: "TemporaryFileSystem over the data", unit: plain + `TemporaryFileSystem=/data`, level: Hazard, what: WhatData, says: "TemporaryFileSystem=/data is empty at each start"},
	{name: "ProtectHome=tmpfs over the data", unit: plain + `ProtectHome=tmpfs` + homeLogs, level: Hazard, what: WhatData, says: "ProtectHome=tmpfs makes /home empty"},
	{name: "ExecStopPost removes the data", unit: plain + `ExecStopPost=/bin/rm -rf /data/kafka`, level: Hazard, what: WhatData, says: "ExecStopPost=/bin/rm -rf /data/kafka removes data of this broker in /data/kafka at each stop; remove that command (`systemctl edit --full kafka.service`)"},
	{name: "removes what is in it", unit: plain + `ExecStartPre=/bin/sh -c 'rm -rf /data/kafka/*'`, level: Hazard, what: WhatData, says: "at each start"},
	{name: "removes the folder above", unit: plain + `ExecStopPost=/bin/rm -r /data`, level: Hazard, what: WhatData, says: "removes data"},
	{name: "removes by a pattern", unit: plain + `ExecStopPost=/bin/sh -c 'rm -rf /data/ka*'`, level: Hazard, what: WhatData, says: "removes data"},
	{name: "removes meta.properties", unit: plain + `ExecStartPre=/bin/rm -f /data/kafka/meta.properties`, level: Hazard, what: WhatData, says: "removes data"},
	{name: "removes with find", unit: plain + `ExecStopPost=/usr/bin/find /data/kafka -type f -delete`, level: Hazard, what: WhatData, says: "removes data"},
	{name: "removes locks with find", unit: plain + `ExecStartPre=/usr/bin/find /data/kafka -name .lock -delete`},
	{name: "removes by a variable", unit: "Environment=LOGS=/data/kafka\n" + plain + `ExecStopPost=/bin/sh -c 'rm -rf "$LOGS"'`, level: Hazard, what: WhatData, says: "removes data"},
	{name: "removes after cd", unit: plain + `ExecStopPost=/bin/sh -c 'cd /data && rm -rf kafka'`, level: Hazard, what: WhatData, says: "removes data"},
	{name: "removes what cannot be seen", unit: plain + `ExecStopPost=/bin/sh -c 'rm -rf $(cat /etc/where)'`, level: Warning, what: WhatData, says: "cannot be seen; see that it is nothing in /data/kafka"},
	{name: "removes the lock alone", unit: plain + `ExecStartPre=/bin/rm -f /data/kafka/.lock`},
	{name: "removes something else", unit: plain + `ExecStopPost=/bin/rm -rf /var/run/kafka.pid /data/kafka2`},
	{name: "rm without -r of a folder", unit: plain + `ExecStopPost=-/bin/rm /data/kafka`},

	// Who writes server.properties.
	{name: "a template is copied over it", unit: plain + `ExecStartPre=/bin/cp /etc/templates/k DIR/server.properties`, level: Warning, what: WhatWriters, says: "ExecStartPre=/bin/cp /etc/templates/k DIR/server.properties writes DIR/server.properties at each start, over what the agent wrote; put the listeners of the manifest into what it writes (`kpls-agent plan --offline` makes them)"},
	{name: "a template is copied into the folder", unit: plain + `ExecStartPre=/bin/cp /etc/templates/server.properties DIR`, level: Warning, what: WhatWriters, says: "writes DIR/server.properties"},
	{name: "envsubst", unit: plain + `ExecStartPre=/bin/sh -c 'envsubst < /etc/t > DIR/server.properties'`, level: Warning, what: WhatWriters, says: "writes DIR/server.properties"},
	{name: "a wrapper that edits it", unit: `ExecStart=DIR/wrapper-sed`, level: Warning, what: WhatWriters, says: "in DIR/wrapper-sed, which ExecStart= runs writes DIR/server.properties"},
	{name: "dockerize", unit: `ExecStart=/usr/bin/dockerize -template /t:DIR/server.properties /opt/kafka/bin/kafka-server-start.sh DIR/server.properties`, processes: []Process{jvm(100, testUnit, "", "DIR/server.properties")}, level: Warning, what: WhatWriters, says: "dockerize"},
	{name: "sed that only reads", unit: plain + `ExecStartPre=/bin/sed -n /listeners/p DIR/server.properties`},
	{name: "another file of the folder is written", unit: plain + `ExecStartPre=/bin/cp /etc/templates/log4j.properties DIR`},
	{name: "storage is formatted if it is new", unit: plain + `ExecStartPre=/opt/kafka/bin/kafka-storage.sh format --ignore-formatted -t x -c DIR/server.properties`},
}

const (
	plain    = "ExecStart=/opt/kafka/bin/kafka-server-start.sh DIR/server.properties\n"
	tmpLogs  = "\nlogs=/tmp/kafka-logs" // log.dirs of server.properties, where it is not /data/kafka
	runLogs  = "\nlogs=/run/kafka/data"
	homeLogs = "\nlogs=/home/kafka/data"
)

// levels are what verdicts come to, without their words.
// TestFiles: the file that the broker is started with, whatever the settings name.
func TestFiles(t *testing.T) {
	const script = "ExecStart=/opt/kafka/bin/kafka-server-start.sh "
	for _, c := range []struct {
		name, unit string
		processes  []Process
		want       []string
	}{
		{"by the unit", script + "/srv/server.properties", nil, []string{"/srv/server.properties"}},
		{"by the process", script + "/srv/server.properties", []Process{jvm(100, testUnit, "/", "/old/server.properties")}, []string{"/old/server.properties"}},
		{"relative", "WorkingDirectory=/srv\n" + script + "config/server.properties", nil, []string{"/srv/config/server.properties"}},
		{"cannot be seen", "ExecStart=/usr/local/bin/start", nil, nil},
	} {
		p := Picture{Setup: unitOf(t, c.unit), State: "active", Processes: c.processes}
		if d := cmp.Diff(c.want, p.Files(Broker{Properties: "/etc/kafka/server.properties"})); d != "" {
			t.Errorf("%s: %s", c.name, d)
		}
	}
}

func levels(list []Verdict) []string {
	var out []string
	for _, v := range list {
		out = append(out, fmt.Sprintf("%s %d", v.What, v.Level))
	}
	return out
}

func TestJudge(t *testing.T) {
	dir := t.TempDir()
	put := func(name, text string, mode os.FileMode) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(strings.ReplaceAll(text, "DIR", dir)), mode)); err != nil {
			t.Fatal(err)
		}
	}
	put("server.properties", "", 0o600)
	put("broker.properties", "process.roles=broker", 0o600)
	put("controller.properties", "process.roles=controller", 0o600)
	put("zk.properties", "", 0o600)
	put("sub/.keep", "", 0o600)
	put("env", "# of the unit\nOPTS=\"--override advertised.listeners=A://b:1\"\n", 0o600)
	put("wrapper-override", "#!/bin/bash\nset -e\nBASE=$(dirname \"$0\")\nexec /opt/kafka/bin/kafka-server-start.sh \"$BASE/server.properties\" --override listeners=A://:1 \"$@\"\n", 0o700)
	put("wrapper-sed", "#!/usr/bin/env bash\nCONF=DIR/server.properties\nif [ -n \"$HOST\" ]; then\n  sed -i \"s/HOST/$HOST/\" \"$CONF\"\nfi\nexec /opt/kafka/bin/kafka-server-start.sh \"$CONF\"\n", 0o700)
	put("wrapper-stop", "#!/bin/sh\ncd /opt/kafka\nbin/kafka-server-stop.sh\n", 0o700)
	put("stop.py", "#!/usr/bin/python3\n", 0o700)
	put("old/kafka-server-stop.sh", "#!/bin/bash\nPIDS=$(ps ax | grep ' kafka\\.Kafka ')\nkill -s TERM $PIDS\n", 0o700)
	if err := errors.Join(os.Symlink("server.properties", filepath.Join(dir, "link.properties")), os.Symlink("loop", filepath.Join(dir, "closed"))); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("closed", filepath.Join(dir, "loop")); err != nil { // cannot be opened, by root either
		t.Fatal(err)
	}
	local := func(s string) string { return strings.ReplaceAll(s, "DIR", dir) }

	for _, c := range shapes {
		t.Run(c.name, func(t *testing.T) {
			text, logs, found := strings.Cut(c.unit, "\nlogs=")
			if !found {
				logs = "/data/kafka"
			}
			p := Picture{Setup: unitOf(t, local(text)), State: or(c.state, "active"), Blind: c.blind}
			for _, process := range c.processes {
				process.Dir, process.Argv = local(process.Dir), strings.Split(local(strings.Join(process.Argv, "\x00")), "\x00")
				p.Processes = append(p.Processes, process)
			}
			if c.state != "" {
				p.MainPID, p.Group = 0, ""
			}
			b := Broker{
				Properties: filepath.Join(dir, "server.properties"), ID: "1", LogDirs: []string{logs},
				Managed: func(key string) bool { return strings.Contains(key, "listener") },
				Roles: func(path string) (string, error) {
					data, err := os.ReadFile(path)
					_, roles, _ := strings.Cut(string(data), "process.roles=")
					return roles, err
				},
			}
			var wrong []string
			hit := false
			for _, v := range p.Judge(b) {
				if strings.Contains(v.Text, "keystore.password=x") {
					t.Error("it shows a value that may be secret")
				}
				if v.Level == OK {
					continue
				}
				line := fmt.Sprintf("%d %s: %s", v.Level, v.What, v.Text)
				if v.Level == c.level && v.What == c.what && strings.Contains(v.Text, local(c.says)) {
					hit = true
				} else {
					wrong = append(wrong, line)
				}
			}
			if hit != (c.level != OK) {
				t.Errorf("no verdict %d %q that says %q", c.level, c.what, local(c.says))
			}
			for _, w := range wrong {
				t.Errorf("in addition: %s", w)
			}
			// The service, which cannot look into root's files, judges by what root wrote down as root does.
			q := p
			q.EnvironmentFiles = append(q.EnvironmentFiles, "/no/such/file") // is one that may be hidden
			q.run = q.Write(func(string) bool { return true }).commands()
			if d := cmp.Diff(levels(p.Judge(b)), levels(q.judge(b))); d != "" {
				t.Errorf("by what root wrote down: %s", d)
			}
		})
	}
}

// A script that calls itself, or asks for a million words, costs neither time nor memory, and hides nothing.
func TestLookIntoHasAnEnd(t *testing.T) {
	path := filepath.Join(t.TempDir(), "start")
	text := "#!/bin/sh\n" + strings.Repeat(path+"\n", 300) + "rm -rf /data/{1..99999999}\n"
	if err := os.WriteFile(path, []byte(text), 0o700); err != nil {
		t.Fatal(err)
	}
	found := lookInto("ExecStart=", known(path), word{"/", true}, nil).found
	if n := len(found); n < 300 || n > 2*maxFound {
		t.Errorf("%d commands", n)
	}
	removes, unseen := 0, 0
	for _, c := range found {
		if c.name() == "rm" && !c.words[2].known {
			removes++
		}
		if c.unseen != "" {
			unseen++
		}
	}
	if removes == 0 || unseen == 0 {
		t.Errorf("%d removals, %d not looked into", removes, unseen)
	}
}

// As systemd 252 and 257 read the lines: findings/environment-file-and-shell.sh.
func TestReadEnvironment(t *testing.T) {
	got := map[string]string{}
	readEnvironment([]byte("# one\n; two\nWHOLE=\"-Xmx1g -Da=b\"\nINNER=-Dfile=\"/etc/jaas.conf\"\nBEHIND=\"-Xmx1g\" # heap\nUNQUOTED=-Xmx1g # heap\nTWICE='a b'c\nOPEN=\"a\n no sign\n"), got)
	want := map[string]string{
		"WHOLE": "-Xmx1g -Da=b", "INNER": `-Dfile="/etc/jaas.conf"`, "BEHIND": "-Xmx1g# heap", "UNQUOTED": "-Xmx1g # heap", "TWICE": "a bc", "OPEN": `"a`,
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}
