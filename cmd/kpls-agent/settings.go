package main

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"example.com/kpls-agent/internal/config"
)

// defaultSettings is where a package's agent looks.
const defaultSettings = "/etc/kpls-agent/kpls-agent.yaml"

// Settings is this VM's own file. An empty or missing file is valid.
type Settings struct {
	Manifest         string
	ServerProperties string
	StateDir         string
	Unit             string // empty if Commands are used
	Commands         CommandSettings
	Kafka            KafkaSettings
	HTTPListen       string
	LogLevel         slog.Level
	LogJSON          bool
	Start            time.Duration // timeouts.start
	Progress         time.Duration
	Takeover         time.Duration
	ProbeInterval    time.Duration
}

// CommandSettings stand in for a service manager.
type CommandSettings struct{ Restart, Status []string }

// KafkaSettings say how to log in to the inter-broker listener.
type KafkaSettings struct {
	BootstrapServers []string
	Topic            string
	SecurityProtocol string // empty: that of the inter-broker listener
	TLS              TLSSettings
	SASL             SASLSettings
}

// TLSSettings name PEM files.
type TLSSettings struct{ CAFile, CertFile, KeyFile, ServerName string }

// SASLSettings name the user, and where the password is, never the password itself.
type SASLSettings struct{ Mechanism, Username, PasswordFile, PasswordEnv string }

// Secret reads the password. It is read each time it is needed, so that it can
// be changed under a running agent, and it is kept nowhere.
func (s SASLSettings) Secret() (string, error) {
	if s.PasswordEnv != "" {
		if v := os.Getenv(s.PasswordEnv); v != "" {
			return v, nil
		}
		return "", fmt.Errorf("the environment variable %s, named as kafka.sasl.password_env, is not set", s.PasswordEnv)
	}
	b, err := os.ReadFile(s.PasswordFile)
	if err != nil {
		return "", fmt.Errorf("read the password: %w; name a readable file as kafka.sasl.password_file", err)
	}
	return strings.TrimRight(string(b), "\r\n"), nil
}

// LoadSettings reads the settings file. A missing file at the default place is
// an empty one; errors are config.Faults with all of them.
func LoadSettings(path string) (*Settings, error) {
	data, err := os.ReadFile(path)
	if err != nil && (path != defaultSettings || !errors.Is(err, fs.ErrNotExist)) {
		return nil, fmt.Errorf("read the settings: %w; name the file with --settings", err)
	}
	return ParseSettings(path, data)
}

// ParseSettings decodes settings; relative paths are relative to the file.
func ParseSettings(path string, data []byte) (*Settings, error) {
	doc := config.Decode(path, data, settingsShape())
	if doc.Root == nil {
		return nil, doc.Err()
	}
	root := doc.Root
	kafka, tls, sasl := root.Get("kafka"), root.Get("kafka").Get("tls"), root.Get("kafka").Get("sasl")
	file := func(v *config.Value) string {
		if v == nil || v.Text == "" || filepath.IsAbs(v.Text) {
			return text(v)
		}
		return filepath.Join(filepath.Dir(path), v.Text)
	}
	s := &Settings{
		Manifest: file(root.Get("manifest")), ServerProperties: file(root.Get("server_properties")), StateDir: file(root.Get("state_dir")),
		Unit:     text(root.Get("unit")),
		Commands: CommandSettings{list(root.Get("commands").Get("restart")), list(root.Get("commands").Get("status"))},
		Kafka: KafkaSettings{
			BootstrapServers: list(kafka.Get("bootstrap_servers")), Topic: text(kafka.Get("topic")), SecurityProtocol: text(kafka.Get("security_protocol")),
			TLS:  TLSSettings{file(tls.Get("ca_file")), file(tls.Get("cert_file")), file(tls.Get("key_file")), text(tls.Get("server_name"))},
			SASL: SASLSettings{text(sasl.Get("mechanism")), text(sasl.Get("username")), file(sasl.Get("password_file")), text(sasl.Get("password_env"))},
		},
		HTTPListen: text(root.Get("http").Get("listen")),
		LogJSON:    text(root.Get("log").Get("format")) == "json",
		Start:      span(root.Get("timeouts").Get("start")), Progress: span(root.Get("timeouts").Get("progress")), Takeover: span(root.Get("timeouts").Get("takeover")),
		ProbeInterval: span(root.Get("probe").Get("interval")),
	}
	if err := s.LogLevel.UnmarshalText([]byte(text(root.Get("log").Get("level")))); err != nil {
		s.LogLevel = slog.LevelInfo // Decode has refused every other word already
	}
	s.check(doc)
	if err := doc.Err(); err != nil {
		return nil, err
	}
	if len(s.Commands.Restart) > 0 {
		s.Unit = ""
	}
	return s, nil
}

// check holds what one field alone cannot break.
func (s *Settings) check(doc *config.Document) {
	root := doc.Root
	commands := root.Get("commands")
	if (len(s.Commands.Restart) > 0) != (len(s.Commands.Status) > 0) {
		doc.Fault(commands, "needs both `restart` and `status`")
	}
	if len(s.Commands.Restart) > 0 && root.Get("unit").Given {
		doc.Fault(root.Get("unit"), "`unit` and `commands` exclude each other; remove one")
	}
	sasl := root.Get("kafka").Get("sasl")
	if p := s.Kafka.SecurityProtocol; strings.HasPrefix(p, "SASL_") && s.Kafka.SASL.Mechanism == "" {
		doc.Fault(sasl, "security_protocol %s needs `mechanism`, `username` and a password", p)
	}
	if s.Kafka.SASL.Mechanism != "" {
		if s.Kafka.SASL.Username == "" {
			doc.Fault(sasl, "needs `username`")
		}
		if (s.Kafka.SASL.PasswordFile == "") == (s.Kafka.SASL.PasswordEnv == "") {
			doc.Fault(sasl, "needs one of `password_file` and `password_env`")
		}
	}
	tls := root.Get("kafka").Get("tls")
	if (s.Kafka.TLS.CertFile == "") != (s.Kafka.TLS.KeyFile == "") {
		doc.Fault(tls, "`cert_file` and `key_file` belong together")
	}
}

func text(v *config.Value) string {
	if v == nil {
		return ""
	}
	return v.Text
}

func span(v *config.Value) time.Duration {
	if v == nil {
		return 0
	}
	return v.Duration
}

func list(v *config.Value) []string {
	if v == nil {
		return nil
	}
	var out []string
	for _, item := range v.Items {
		out = append(out, item.Text)
	}
	return out
}

// settingsShape declares the settings file.
func settingsShape() *config.Shape {
	str := func() config.Shape { return config.Shape{Kind: config.KindString} }
	argv := func() config.Shape {
		return config.Shape{Kind: config.KindList, AtLeast: 1, Elem: &config.Shape{Kind: config.KindString}}
	}
	object := func(fields ...config.Field) config.Shape {
		return config.Shape{Kind: config.KindObject, Fields: fields}
	}
	span := func(shortest, longest time.Duration) config.Shape {
		return config.Shape{Kind: config.KindDuration, Shortest: shortest, Longest: longest}
	}
	address := config.Shape{Kind: config.KindString, Pattern: regexp.MustCompile(`^[^\s]*:[0-9]{1,5}$`), Want: "HOST:PORT"}
	s := object(
		config.Field{Name: "manifest", Default: "/etc/kpls-agent/manifest.yaml", Doc: "The manifest, the same bytes on every broker VM.", Shape: str()},
		config.Field{Name: "server_properties", Default: "/etc/kafka/server.properties", Doc: "The broker's configuration file. The agent must be able to write its folder.", Shape: str()},
		config.Field{Name: "state_dir", Default: "/var/lib/kpls-agent", Doc: "Where the agent keeps what must survive a crash.", Shape: str()},
		config.Field{Name: "unit", Default: "kafka.service", Doc: "The broker's systemd unit.", Shape: str()},
		config.Field{Name: "commands", Unset: "the unit is used", Doc: "Instead of `unit`, where there is no systemd.", Shape: object(
			config.Field{Name: "restart", Unset: "the unit is used", Doc: "Stops the broker if it runs, starts it, and exits with 0 once the new process runs. No shell is involved.", Shape: argv()},
			config.Field{Name: "status", Unset: "the unit is used", Doc: "Exits with 0 and prints one line that is different for every process while the broker runs; exits with 3 while it does not.", Shape: argv()},
		)},
		config.Field{Name: "kafka", Doc: "How to log in to the inter-broker listener.", Shape: object(
			config.Field{Name: "bootstrap_servers", Unset: "the inter-broker listener of server.properties, and the addresses learnt before", Doc: "Addresses to begin with.", Shape: config.Shape{Kind: config.KindList, AtLeast: 1, Elem: &address}},
			config.Field{Name: "topic", Default: "__kpls_agent", Doc: "The coordination topic; the same for all agents.", Shape: config.Shape{Kind: config.KindString, Pattern: regexp.MustCompile(`^[A-Za-z0-9._-]{1,200}$`), Want: "a topic name"}},
			config.Field{Name: "security_protocol", Unset: "that of the inter-broker listener", Doc: "The listener's security protocol.", Shape: config.Shape{Kind: config.KindString, Enum: []string{"PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"}, Fold: true}},
			config.Field{Name: "tls", Doc: "PEM files for SSL and SASL_SSL.", Shape: object(
				config.Field{Name: "ca_file", Unset: "the system's certificates", Doc: "Certificates that may sign the brokers'.", Shape: str()},
				config.Field{Name: "cert_file", Unset: "no client certificate", Doc: "The agent's own certificate, for `ssl.client.auth`.", Shape: str()},
				config.Field{Name: "key_file", Unset: "no client certificate", Doc: "Its key.", Shape: str()},
				config.Field{Name: "server_name", Unset: "the host that is dialled", Doc: "The name that the brokers' certificates must have.", Shape: str()},
			)},
			config.Field{Name: "sasl", Doc: "The user, for SASL_PLAINTEXT and SASL_SSL.", Shape: object(
				config.Field{Name: "mechanism", Unset: "no login", Doc: "The SASL mechanism.", Shape: config.Shape{Kind: config.KindString, Enum: []string{"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"}, Fold: true}},
				config.Field{Name: "username", Unset: "no login", Doc: "The user's name.", Shape: str()},
				config.Field{Name: "password_file", Unset: "`password_env` is needed", Doc: "A file with the password and nothing else; a line end is dropped.", Shape: str()},
				config.Field{Name: "password_env", Unset: "`password_file` is needed", Doc: "An environment variable with the password.", Shape: config.Shape{Kind: config.KindString, Pattern: regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`), Want: "the name of an environment variable, not the password itself", Private: true}},
			)},
		)},
		config.Field{Name: "http", Doc: "Metrics, /readyz/LISTENER and /healthz.", Shape: object(
			config.Field{Name: "listen", Default: ":9464", Doc: "Where to listen.", Shape: address},
		)},
		config.Field{Name: "log", Doc: "The agent's log, on standard error.", Shape: object(
			config.Field{Name: "level", Default: "info", Doc: "The least level that is logged.", Shape: config.Shape{Kind: config.KindString, Enum: []string{"debug", "info", "warn", "error"}}},
			config.Field{Name: "format", Default: "text", Doc: "The format of a line.", Shape: config.Shape{Kind: config.KindString, Enum: []string{"text", "json"}}},
		)},
		config.Field{Name: "timeouts", Doc: "How long to wait before something counts as a failure.", Shape: object(
			config.Field{Name: "start", Default: "15m", Doc: "From the restart to a broker that answers. Longer for brokers that recover their logs for longer.", Shape: span(10*time.Second, 24*time.Hour)},
			config.Field{Name: "progress", Default: "5m", Doc: "How long a broker that catches up may make no progress before the reason says `stalled`.", Shape: span(10*time.Second, 24*time.Hour)},
			config.Field{Name: "takeover", Default: "5m", Doc: "How long an agent must be silent before another may take its claim away, and then only if its broker is provably healthy.", Shape: span(time.Minute, 24*time.Hour)},
		)},
		config.Field{Name: "probe", Doc: "How the agent judges its own broker.", Shape: object(
			config.Field{Name: "interval", Default: "2s", Doc: "Time between two protocol-level checks of a listener. The end of the broker is noticed at once, whatever this is.", Shape: span(100*time.Millisecond, time.Minute)},
		)},
	)
	return &s
}
