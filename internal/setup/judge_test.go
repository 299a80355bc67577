package setup

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"example.com/kpls-agent/internal/settings"
	"example.com/kpls-agent/internal/unit"
)

// TestSetupJudge: the judge runs as the broker does, and the agent may start it.
func TestSetupJudge(t *testing.T) {
	m := newMachine(t)
	m.put("kafka/etc/server.properties", "node.id=1\n", 0o644)
	m.put("kpls-agent.yaml", "server_properties: kafka/etc/server.properties\nunit: kafka.service\n", 0o644)
	broker := unit.Setup{
		LoadState: "loaded", User: "kafka", PrimaryGroup: "kafka", MoreGroups: []string{"ssl-cert"},
		Environment: []string{"LOG_DIR=/var/log/kafka", `KAFKA_OPTS=-Da="b %i" -Dc=$d`}, EnvironmentFiles: []string{"/etc/default/kafka"},
		Execs: []unit.Exec{{Setting: "ExecStart", Argv: []string{"/opt/my kafka/bin/kafka-server-start.sh", "/etc/s", "--override", "a=$b"}}},
	}
	m.u.Broker = func(context.Context, *settings.Settings) (unit.Setup, error) { return broker, nil }
	m.u.JudgeDropIn = m.dir + "/systemd/kpls-agent-judge.service.d/10-setup.conf"

	said, code := m.apply()
	if code != Done || !strings.Contains(said, "write DIR/systemd/kpls-agent-judge.service.d/10-setup.conf\n") || m.reloads != 1 {
		t.Errorf("outcome %d, %d reloads, said:\n%s", code, m.reloads, said)
	}
	m.want("drop-in", m.file(m.u.JudgeDropIn), "# Written by `kpls-agent setup` from DIR/kpls-agent.yaml and the unit kafka.service. Change these and run it\n"+`# again instead of changing this file.
[Service]
User=kafka
Group=kafka
SupplementaryGroups=ssl-cert
# All options of the broker's Java are known: what is not set below is not set at all.
Environment=KAFKA_OPTS=
Environment="LOG_DIR=/var/log/kafka"
Environment="KAFKA_OPTS=-Da=\"b %%i\" -Dc=$d"
EnvironmentFile=-/etc/default/kafka
ExecStart=
ExecStart=/usr/bin/kpls-agent judge --output json --kafka-home "/opt/my kafka" --override "a=$$b" ${CREDENTIALS_DIRECTORY}/server.properties
`)
	rule := m.file(m.u.Rule)
	if !strings.Contains(rule, `action.lookup("unit") == "kpls-agent-judge.service"`) || strings.Count(rule, `subject.user == "kpls-agent"`) != 2 {
		t.Errorf("rule:\n%s", rule)
	}
	if said, code := m.apply(); code != Done || said != "nothing to change" {
		t.Errorf("a second time: outcome %d, said:\n%s", code, said)
	}

	// A unit that starts Java itself.
	dir := m.put("jars/kafka-clients-3.7.1.jar", "", 0o644)
	broker.Execs[0].Argv = []string{"/opt/java 21/bin/java", "-Da=$b", "-cp", filepath.Dir(dir) + "/*", "kafka.Kafka", "/etc/s"}
	m.apply()
	const line = `ExecStart=/usr/bin/env "JAVA_HOME=/opt/java 21" "KAFKA_OPTS=-Da=$$b" /usr/bin/kpls-agent judge --output json --kafka-home "DIR/jars" ${CREDENTIALS_DIRECTORY}/server.properties`
	if text := m.file(m.u.JudgeDropIn); !strings.Contains(text, "\n"+line+"\n") || strings.Contains(text, "Environment=KAFKA_OPTS=\n") {
		t.Errorf("Java itself:\n%s", text)
	}

	// Where the start cannot be seen there is no judge, and no right to start one.
	broker.Execs[0].Argv = []string{"/usr/local/bin/start-the-broker"}
	said, code = m.apply()
	if _, err := os.Stat(m.u.JudgeDropIn); err == nil || code != Done || !strings.Contains(said, "Kafka does not judge a new server.properties before a restart: 0 commands") ||
		strings.Contains(m.file(m.u.Rule), "judge") {
		t.Errorf("outcome %d, said:\n%s\n%s", code, said, m.file(m.u.Rule))
	}

	broker.Execs[0].Argv = []string{"/opt/kafka/bin/kafka-server-start.sh", "/etc/s"}
	m.apply()
	said, _ = m.undo()
	if _, err := os.Stat(m.u.JudgeDropIn); err == nil || !strings.Contains(said, "remove DIR/systemd/kpls-agent-judge.service.d/10-setup.conf") {
		t.Errorf("undo said:\n%s", said)
	}
}
