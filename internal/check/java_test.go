package check

import (
	"strings"
	"testing"

	"example.com/kpls-agent/internal/config"
	"example.com/kpls-agent/internal/unit"
)

func TestJudgeJava(t *testing.T) {
	java := func(version string) unit.Java { return unit.Java{Program: "/jdk/" + version, Version: version} }
	named := func(version string) unit.Java {
		j := java(version)
		j.ByName = true
		return j
	}
	unseen := unit.Java{Unseen: "only root can see it"}
	v := func(major, minor, patch int) config.Version {
		return config.Version{Major: major, Minor: minor, Patch: patch}
	}
	const remedy = "; JAVA_HOME of the unit, or the java that it names, decides (`systemctl edit kafka.service`)"
	for _, tt := range []struct {
		name       string
		runs, next unit.Java
		kafka      config.Version
		login      string
		level      Level
		want       string
	}{
		{"the same", java("17.0.15"), java("17.0.15"), v(4, 4, -1), "", OK, "17.0.15 (/jdk/17.0.15), as the next start would use it"},
		{"the same name", named("17.0.15"), java("17.0.15"), v(4, 4, -1), "", OK, "the next start would use 17.0.15 (/jdk/17.0.15), by which the process was started"},
		{"another name", named("17.0.14"), java("17.0.15"), v(4, 4, -1), "", OK, "the process was started with /jdk/17.0.14, which is 17.0.14 now; the next start would use 17.0.15 (/jdk/17.0.15)"},
		{"a newer patch", java("17.0.14"), java("17.0.15"), v(4, 4, -1), "", OK, "the process runs 17.0.14 (/jdk/17.0.14); the next start would use 17.0.15 (/jdk/17.0.15)"},
		{"another release", java("17.0.15"), java("21.0.5"), v(4, 4, -1), "", Warning, "a restart brings another Java: the process runs 17.0.15 (/jdk/17.0.15); the next start would use 21.0.5 (/jdk/21.0.5)" + remedy},
		{"no process", unit.Java{}, java("17.0.15"), v(4, 4, -1), "", OK, "the next start would use 17.0.15 (/jdk/17.0.15)"},
		{"a process that cannot be seen", unseen, java("17.0.15"), v(4, 4, -1), "", OK, "what the process runs cannot be seen: only root can see it; the next start would use 17.0.15 (/jdk/17.0.15)"},
		{"a start that cannot be seen", java("17.0.15"), unseen, v(4, 4, -1), "", Warning, "the process runs 17.0.15 (/jdk/17.0.15); what the next start would use cannot be seen: only root can see it"},
		{"nothing can be seen", unseen, unseen, v(4, 4, -1), "", Warning, "what the process runs cannot be seen: only root can see it; what the next start would use cannot be seen: only root can see it"},
		{"neither process nor start", unit.Java{}, unseen, v(4, 4, -1), "", Warning, "what the next start would use cannot be seen: only root can see it"},

		{"too old for 4.x", unit.Java{}, java("11.0.2"), v(4, 0, -1), "", Fault, "the next start would use 11.0.2 (/jdk/11.0.2), and Kafka 4.0 does not start with Java before 17" + remedy},
		{"11 and 3.9", unit.Java{}, java("11.0.2"), v(3, 9, -1), "A", OK, ""},
		{"8", unit.Java{}, java("1.8.0_392"), v(4, 4, -1), "", Fault, "Java before 17"},
		{"too old, if it is 4.x", unit.Java{}, java("11.0.2"), config.Version{}, "", Warning, "which Kafka this is cannot be asked now"},
		{"a word", unit.Java{}, java("next"), v(4, 4, -1), "", Warning, "which release of Java that is cannot be told"},

		{"25 without SASL", unit.Java{}, java("25.0.3"), v(3, 7, -1), "", OK, ""},
		{"25 with SASL", unit.Java{}, java("25.0.3"), v(3, 7, -1), "CONTROLLER", Fault, ", and Kafka 3.7 cannot log in to the listener CONTROLLER of other nodes with SASL on Java 24 or later (KAFKA-17078)" + remedy},
		{"an early 24", unit.Java{}, java("24-ea"), v(3, 8, -1), "A", Fault, "on Java 24 or later"},
		{"23 with SASL", unit.Java{}, java("23.0.1"), v(3, 7, -1), "A", Warning, "on Java 23 without -Djava.security.manager=allow (KAFKA-17078)"},
		{"22 with SASL", unit.Java{}, java("22"), v(3, 7, -1), "A", OK, ""},
		{"3.9", unit.Java{}, java("25"), v(3, 9, -1), "A", Warning, "Kafka 3.9 cannot log in to the listener A of other nodes with SASL on Java 24 or later, unless it is 3.9.1 or later (KAFKA-17078)"},
		{"3.9.0", unit.Java{}, java("25"), v(3, 9, 0), "A", Fault, "Kafka 3.9.0 cannot log in"},
		{"3.9.1", unit.Java{}, java("25"), v(3, 9, 1), "A", OK, ""},
		{"4.0 with SASL", unit.Java{}, java("25"), v(4, 0, -1), "A", OK, ""},
		{"a Kafka that does not answer", unit.Java{}, java("25"), config.Version{}, "", OK, ""},
	} {
		f := judgeJava("kafka.service", tt.runs, tt.next, tt.kafka, tt.login)
		if f.What != "Java" || f.Level != tt.level || !strings.Contains(f.Text, tt.want) || tt.level == OK && tt.want != "" && f.Text != tt.want {
			t.Errorf("%s: %+v\nwant %s %s", tt.name, f, tt.level, tt.want)
		}
	}
}

// TestLogsIn: where the broker itself is a client with SASL. A listener for clients alone is no such place.
func TestLogsIn(t *testing.T) {
	const protocols = "CONTROLLER:SASL_SSL,INTERNAL:SASL_PLAINTEXT,EXTERNAL:SASL_SSL,PLAIN:PLAINTEXT"
	for _, tt := range []struct {
		name, controllers, broker, protocol, want string
	}{
		{"the controllers' and the brokers'", "CONTROLLER", "INTERNAL", "PLAINTEXT", "CONTROLLER"},
		{"the brokers' alone", "PLAIN", "INTERNAL", "PLAINTEXT", "INTERNAL"},
		{"ZooKeeper", "", "INTERNAL", "PLAINTEXT", "INTERNAL"},
		{"neither", "PLAIN", "PLAIN", "PLAINTEXT", ""},
		{"named by its protocol", "PLAIN", "", "SASL_SSL", "SASL_SSL"},
		{"a protocol that does not count", "PLAIN", "PLAIN", "SASL_SSL", ""},
	} {
		values := map[string]config.RunningValue{
			"listener.security.protocol.map": {Value: protocols}, "controller.listener.names": {Value: tt.controllers},
			"inter.broker.listener.name": {Value: tt.broker}, "security.inter.broker.protocol": {Value: tt.protocol},
		}
		if got := logsIn(values); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
	if got := logsIn(nil); got != "" {
		t.Errorf("of nothing: %q", got)
	}
}
