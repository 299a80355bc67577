package settings

import (
	"fmt"
	"net"
	"regexp"
	"strconv"
	"strings"
	"time"

	"example.com/kpls-agent/internal/config"
)

// Shape declares the settings file.
func Shape() *config.Shape {
	return &config.Shape{Kind: config.KindObject, Fields: []config.Field{
		{Name: "manifest", Default: "/etc/kpls-agent/manifest.yaml", Doc: "The manifest, the same bytes on every " +
			"broker VM.", Shape: pathShape()},
		{Name: "server_properties", Default: "/etc/kafka/server.properties", Doc: "The broker's configuration file. " +
			"The agent must be able to write its folder.", Shape: pathShape()},
		{
			Name: "state_dir", Default: StateDirectory, Doc: "Where the agent keeps what must survive a crash.",
			Shape: pathShape(),
		},
		{
			Name: "unit", Default: DefaultUnit, Doc: "The broker's systemd unit.",
			Shape: config.Shape{
				Kind:    config.KindString,
				Pattern: regexp.MustCompile(`^[A-Za-z0-9:_.@\\-]{1,240}\.service$`),
				Want:    "the name of a systemd unit, such as kafka.service",
			},
		},
		{Name: "commands", Unset: "`unit` is used", Doc: "Instead of `unit`, where there is no systemd. No shell is " +
			"involved.", Shape: objectShape(
			config.Field{Name: "restart", Required: true, Doc: "Stops the broker if it runs, starts it, and exits " +
				"with 0 once the new process runs.", Shape: argvShape()},
			config.Field{Name: "status", Required: true, Doc: "Exits with 0 and prints one line that is different " +
				"for every process while the broker runs; exits with 3 while it does not.", Shape: argvShape()},
			config.Field{Name: "judge", Unset: "only the agent's own rules", Doc: "Has Kafka judge a new " +
				"server.properties, whose path is appended, before a restart. It prints what `kpls-agent judge " +
				"--output json FILE` prints, and may be that command, run as the broker's user.", Shape: argvShape()},
		)},
		{Name: "kafka", Doc: "How to reach the brokers and log in to them.", Shape: objectShape(kafkaFields()...)},
		{Name: "http", Doc: "Metrics, `/readyz/LISTENER` and `/healthz`.", Shape: objectShape(
			config.Field{Name: "listen", Default: ":9464", Shape: addressShape(0), Doc: "Where to listen; without a " +
				"host on all addresses. " +
				"9464 is the default of OpenTelemetry's Prometheus exporter as well: where the broker has its Java " +
				"agent, choose another port here or there. " +
				"While another process has the port, the agent works without it and tries again."},
		)},
		{Name: "log", Doc: "The agent's log, on standard error.", Shape: objectShape(
			config.Field{
				Name: "level", Default: "info", Doc: "The least level that is logged.",
				Shape: config.Shape{Kind: config.KindString, Enum: []string{"debug", "info", "warn", "error"}},
			},
			config.Field{
				Name: "format", Default: "text", Doc: "The format of a line.",
				Shape: config.Shape{Kind: config.KindString, Enum: []string{"text", "json"}},
			},
		)},
		{Name: "timeouts", Doc: "How long to wait before something counts as a failure.", Shape: objectShape(
			config.Field{Name: "start", Default: "15m", Doc: "From the restart to a broker that answers. Longer for " +
				"brokers that recover their logs for longer.", Shape: spanShape(10*time.Second, 24*time.Hour)},
			config.Field{Name: "progress", Default: "5m", Doc: "How long a broker that catches up may make no " +
				"progress before the reason says `stalled`.", Shape: spanShape(10*time.Second, 24*time.Hour)},
			config.Field{
				Name: "takeover", Default: "5m", Doc: "How long an agent must be silent before another may " +
					"remove its claim, and then only if its broker is provably healthy.",
				Shape: spanShape(time.Minute, 24*time.Hour),
			},
		)},
		{Name: "storage", Doc: "What each log directory of the broker must have free before a restart: the larger " +
			"of the two. A broker with a full disk does not come up.", Shape: objectShape(
			config.Field{
				Name: "min_free_mib", Default: "1024", Doc: "In MiB; 0 asks for none.",
				Shape: config.Shape{Kind: config.KindInt, Min: 0, Max: 1 << 30},
			},
			config.Field{Name: "min_free_percent", Default: "2", Doc: "In percent of the file system; 0 asks for " +
				"none.", Shape: config.Shape{Kind: config.KindInt, Min: 0, Max: 90}},
		)},
		{Name: "probe", Doc: "How the agent judges its own broker.", Shape: objectShape(
			config.Field{
				Name: "interval", Default: "2s", Doc: "Time between two protocol-level checks of a " +
					"listener. The end of the broker is noticed at once, whatever this is.",
				Shape: spanShape(100*time.Millisecond, time.Minute),
			},
		)},
	}}
}

// PasswordMechanisms are the SASL mechanisms for a user with a password.
func PasswordMechanisms() []string { return []string{"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"} }

func kafkaFields() []config.Field {
	address := addressShape(1)
	return []config.Field{
		{
			Name: "bootstrap_servers", Unset: "this broker's own in server.properties, and the addresses learnt before",
			Doc:   "Addresses of brokers to begin with, all of the agents' listener.",
			Shape: config.Shape{Kind: config.KindList, AtLeast: 1, Want: "at least one HOST:PORT", Elem: &address},
		},
		{
			Name: "topic", Default: "__kpls_agent",
			Doc: "The coordination topic; the same for all agents of a cluster.",
			Shape: config.Shape{
				Kind: config.KindString, Pattern: regexp.MustCompile(`^[A-Za-z0-9._-]{1,200}$`),
				Want: "the name of a topic, 1 to 200 letters, digits, `.`, `_` or `-`",
			},
		},
		{Name: "listener", Unset: "the inter-broker listener", Doc: "The listener over which the agents talk to the " +
			"brokers, by its name, in any case. Every broker must have it and advertise it, and the manifest must " +
			"not manage it.", Shape: config.Shape{
			Kind:    config.KindString,
			Pattern: regexp.MustCompile(`^[A-Za-z0-9_.-]{1,200}$`), Want: "the name of a listener, such as CLIENT",
		}},
		{Name: "client_properties", Unset: "`security_protocol`, `tls` and `sasl`", Doc: "Instead of these three: " +
			"the file that Kafka's own tools take for `--command-config`. Its `bootstrap.servers` serve where " +
			"`bootstrap_servers` is missing.", Shape: pathShape()},
		{Name: "security_protocol", Unset: "that of the listener", Doc: "The listener's security protocol, in any " +
			"case.", Shape: config.Shape{
			Kind: config.KindString,
			Enum: []string{"PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"}, Fold: true,
		}},
		{Name: "tls", Unset: "the system's certificates", Doc: "PEM files for SSL and SASL_SSL.", Shape: objectShape(
			config.Field{Name: "ca_file", Unset: "the system's certificates", Doc: "Certificates that may sign the " +
				"brokers'.", Shape: pathShape()},
			config.Field{Name: "cert_file", Unset: "no client certificate", Doc: "The agent's own certificate, for " +
				"`ssl.client.auth` of the inter-broker listener and of managed ones.", Shape: pathShape()},
			config.Field{Name: "key_file", Unset: "no client certificate", Doc: "Its key.", Shape: pathShape()},
			config.Field{Name: "server_name", Unset: "the host that is dialled", Doc: "The name that the brokers' " +
				"certificates must have.", Shape: wordShape("a host name")},
		)},
		{Name: "sasl", Unset: "no user", Doc: "The user, for SASL_PLAINTEXT and SASL_SSL.", Shape: objectShape(
			config.Field{
				Name: "mechanism", Required: true, Doc: "The SASL mechanism, in any case.",
				Shape: config.Shape{Kind: config.KindString, Enum: PasswordMechanisms(), Fold: true},
			},
			config.Field{
				Name: "username", Required: true, Doc: "The user's name.",
				Shape: wordShape("the user's name"),
			},
			config.Field{Name: "password_file", Unset: "`password_env` is needed", Doc: "A file with the password " +
				"and nothing else; a line end is dropped.", Shape: pathShape()},
			config.Field{Name: "password_env", Unset: "`password_file` is needed", Doc: "The name of an environment " +
				"variable with the password.", Shape: config.Shape{
				Kind:    config.KindString,
				Pattern: regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`), Want: "the name of an environment variable, " +
					"never the password itself", Private: true,
			}},
		)},
	}
}

func objectShape(fields ...config.Field) config.Shape {
	return config.Shape{Kind: config.KindObject, Fields: fields}
}

func spanShape(shortest, longest time.Duration) config.Shape {
	return config.Shape{Kind: config.KindDuration, Shortest: shortest, Longest: longest}
}

// wordShape is a string that is not empty and on one line.
func wordShape(want string) config.Shape {
	return config.Shape{Kind: config.KindString, Pattern: regexp.MustCompile(`^[^\x00-\x1f\x7f]+$`), Want: want}
}

// pathShape is a path of a file. A URL would be taken for a strange relative one.
func pathShape() config.Shape {
	s := wordShape("the path of a file")
	s.Check = func(text string) string {
		if strings.Contains(text, "://") {
			return "expected the path of a file, found a URL; fetch it and name the file"
		}
		return ""
	}
	return s
}

// argvShape is a program and its arguments.
func argvShape() config.Shape {
	word := wordShape("a string on one line")
	return config.Shape{Kind: config.KindList, AtLeast: 1, Want: "a program and its arguments as a list", Elem: &word}
}

// addressShape is HOST:PORT with a port of at least lowest.
func addressShape(lowest int) config.Shape {
	return config.Shape{Kind: config.KindString, Want: "HOST:PORT", Check: func(text string) string {
		host, port, err := net.SplitHostPort(text)
		n, errPort := strconv.Atoi(port)
		if err != nil || errPort != nil || n < lowest || n > 65535 || lowest > 0 && host == "" ||
			strings.ContainsAny(text, " /") {
			return fmt.Sprintf("expected HOST:PORT with a port from %d to 65535, found %q", lowest, text)
		}
		return ""
	}}
}
