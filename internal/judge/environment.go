package judge

import (
	"slices"
	"strings"
)

// options are variables with options for Java.
var options = []string{"KAFKA_OPTS", "JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "_JAVA_OPTIONS"}

// dropped are variables that are the broker's own: its memory, its logs, its ports.
var dropped = []string{
	"KAFKA_HEAP_OPTS", "KAFKA_JVM_PERFORMANCE_OPTS", "KAFKA_GC_LOG_OPTS", "KAFKA_LOG4J_OPTS", "KAFKA_JMX_OPTS", "JMX_PORT",
	"KAFKA_DEBUG", "EXTRA_ARGS", "LOG_DIR", "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "CREDENTIALS_DIRECTORY",
}

// foreign begin options that would open a port of the broker's, write its files, or take its memory: two processes with
// the same agent on the same port end the second one without a verdict.
var foreign = []string{
	"-javaagent:", "-agentlib:", "-agentpath:", "-Dcom.sun.management.", "-Xlog:", "-Xloggc:", "-Xms", "-Xmx", "-Xmn",
	"-XX:", "-Xrunjdwp", "-Xdebug", "-Dkafka.logs.dir=", "-Dlog4j",
}

// environment is that of a broker, fit for another Java beside it.
func environment(broker []string) []string {
	var out []string
	for _, kv := range broker {
		name, value, _ := strings.Cut(kv, "=")
		switch {
		case slices.Contains(dropped, name), strings.HasPrefix(name, "KPLS_"):
		case slices.Contains(options, name):
			out = append(out, name+"="+withoutForeign(value))
		default:
			out = append(out, kv)
		}
	}
	return out
}

func withoutForeign(value string) string {
	words := slices.DeleteFunc(strings.Fields(value), func(w string) bool {
		return slices.ContainsFunc(foreign, func(prefix string) bool { return strings.HasPrefix(w, prefix) })
	})
	return strings.Join(words, " ")
}

// knowsOptions is true where the environment says which options the broker's Java has: that variable is set, if only to
// nothing.
func knowsOptions(broker []string) bool {
	return slices.ContainsFunc(broker, func(kv string) bool { return strings.HasPrefix(kv, "KAFKA_OPTS=") })
}

// value of a variable, or "".
func value(env []string, name string) string {
	for _, kv := range slices.Backward(env) { // the last one counts
		if v, ok := strings.CutPrefix(kv, name+"="); ok {
			return v
		}
	}
	return ""
}
