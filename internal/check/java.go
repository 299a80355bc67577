package check

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"example.com/kpls-agent/internal/config"
	"example.com/kpls-agent/internal/host"
	"example.com/kpls-agent/internal/settings"
	"example.com/kpls-agent/internal/unit"
)

// checkJava says with which Java the broker runs and would be started, and whether its Kafka takes that. Where the
// settings have `commands` nothing of it can be seen, which the line on the unit says.
func checkJava(ctx context.Context, s *settings.Settings, p host.Process) []Finding {
	systemd, ok := host.Systemd(s)
	if !ok {
		return nil
	}
	defer systemd.Close()
	seen, err := systemd.Look(ctx)
	if err != nil || seen.LoadState != "loaded" {
		return nil // the lines on the unit say so
	}
	runs, next := seen.Java(host.UnitBroker(s))
	return []Finding{judgeJava(s.Unit, runs, next, p.Version, logsIn(p.Values))}
}

// Java releases that matter to Kafka.
const (
	javaOfKafka4 = 17 // what Kafka 4 needs at least (KIP-1013)
	// From 23 on Subject.getSubject fails, unless -Djava.security.manager=allow; from 24 on always (JEP 486). By it
	// Kafka before 3.9.1 finds the login with which it opens a connection with SASL (KAFKA-17078). On Java 25, 3.7.1
	// was seen to fail as a client of its controller, and to serve clients with SASL well; 3.9.2 does both.
	javaWithFlag, javaWithout = 23, 24
)

// judgeJava judges the Java of the next start by what this Kafka takes; login is the listener at which the broker logs
// in with SASL itself, empty for none.
func judgeJava(name string, runs, next unit.Java, kafka config.Version, login string) Finding {
	const what = "Java"
	running := "what the process runs cannot be seen: " + runs.Unseen
	switch {
	case runs.Version != "" && runs.ByName:
		running = fmt.Sprintf("the process was started with %s, which is %s now", runs.Program, runs.Version)
	case runs.Version != "":
		running = fmt.Sprintf("the process runs %s (%s)", runs.Version, runs.Program)
	case runs == unit.Java{}:
		running = ""
	}
	if next.Version == "" {
		text := "what the next start would use cannot be seen: " + next.Unseen
		if running != "" {
			text = running + "; " + text
		}
		return doubtful(what, "%s", text)
	}
	text := fmt.Sprintf("the next start would use %s (%s)", next.Version, next.Program)
	if running != "" {
		text = running + "; " + text
	}
	remedy := fmt.Sprintf("JAVA_HOME of the unit, or the java that it names, decides (`systemctl edit %s`)", name)
	level, why := refusesJava(javaRelease(next.Version), kafka, login)
	switch {
	case level == Fault:
		return broken(what, "%s, and %s; %s", text, why, remedy)
	case level == Warning:
		return doubtful(what, "%s, and %s; %s", text, why, remedy)
	case runs.Version != "" && javaRelease(runs.Version) != javaRelease(next.Version):
		return doubtful(what, "a restart brings another Java: %s; %s", text, remedy)
	case runs.ByName && runs.Program == next.Program:
		return well(what, "the next start would use %s (%s), by which the process was started", next.Version, next.Program)
	case runs == next:
		return well(what, "%s (%s), as the next start would use it", next.Version, next.Program)
	}
	return well(what, "%s", text)
}

// refusesJava says what a release of Java does to a version of Kafka.
func refusesJava(java int, kafka config.Version, login string) (Level, string) {
	unknown := kafka.IsZero()
	switch {
	case java == 0:
		return Warning, "which release of Java that is cannot be told"
	case java < javaOfKafka4 && kafka.Major >= 4:
		return Fault, fmt.Sprintf("Kafka %s does not start with Java before %d", kafka, javaOfKafka4)
	case java < javaOfKafka4 && unknown:
		return Warning, fmt.Sprintf("Kafka 4 does not start with Java before %d; which Kafka this is cannot be asked now",
			javaOfKafka4)
	case java < javaWithFlag, unknown, login == "", kafka.Major > 3, kafka.Minor > 9, kafka.Minor == 9 && kafka.Patch > 0:
		return OK, ""
	}
	level, when := Fault, fmt.Sprintf("on Java %d or later", javaWithout)
	if java < javaWithout {
		level, when = Warning, fmt.Sprintf("on Java %d without -Djava.security.manager=allow", javaWithFlag)
	}
	if kafka.Minor == 9 && kafka.Patch < 0 {
		level, when = Warning, when+", unless it is 3.9.1 or later"
	}
	return level, fmt.Sprintf("Kafka %s cannot log in to the listener %s of other nodes with SASL %s (KAFKA-17078)", kafka,
		login, when)
}

// javaRelease is the feature release of a version: 17 of 17.0.15, 8 of 1.8.0_392, 0 where there is none.
func javaRelease(version string) int {
	digits := strings.TrimPrefix(version, "1.")
	if end := strings.IndexFunc(digits, func(r rune) bool { return r < '0' || r > '9' }); end >= 0 {
		digits = digits[:end]
	}
	n, _ := strconv.Atoi(digits)
	return n
}

// logsIn is a listener at which the broker itself logs in with SASL, as it does at its controllers' and at other
// brokers'; empty for none.
func logsIn(values map[string]config.RunningValue) string {
	protocols := map[string]string{}
	for item := range strings.SplitSeq(values["listener.security.protocol.map"].Value, ",") {
		name, protocol, _ := strings.Cut(item, ":")
		protocols[strings.TrimSpace(name)] = strings.TrimSpace(protocol)
	}
	names := strings.Split(values["controller.listener.names"].Value, ",")
	names = append(names, values["inter.broker.listener.name"].Value)
	for _, name := range names {
		if name = strings.TrimSpace(name); strings.HasPrefix(protocols[name], "SASL_") {
			return name
		}
	}
	if p := values["security.inter.broker.protocol"].Value; values["inter.broker.listener.name"].Value == "" &&
		strings.HasPrefix(p, "SASL_") {
		return p
	}
	return ""
}
