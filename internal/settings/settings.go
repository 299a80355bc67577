package settings

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"example.com/kpls-agent/internal/config"
	"example.com/kpls-agent/internal/login"
)

// DefaultPath is where a package's agent looks.
const DefaultPath = "/etc/kpls-agent/kpls-agent.yaml"

// StateDirectory is the default of state_dir, and what systemd makes for the service.
const StateDirectory = "/var/lib/kpls-agent"

// DefaultUnit is the default of unit.
const DefaultUnit = "kafka.service"

// Settings is this VM's own file. An empty or missing file is valid.
type Settings struct {
	Manifest         string
	ServerProperties string
	StateDir         string
	Unit             string // empty if Commands are used
	Commands         Commands
	Kafka            Kafka
	HTTPListen       string
	LogLevel         slog.Level
	LogJSON          bool
	Start            time.Duration // timeouts.start
	Progress         time.Duration
	Takeover         time.Duration
	ProbeInterval    time.Duration
	Storage          Storage
}

// Commands stand in for a service manager. Judge may be empty.
type Commands struct{ Restart, Status, Judge []string }

// Kafka say how to log in to the brokers.
type Kafka struct {
	BootstrapServers []string
	Topic            string
	Listener         string        // that the agents talk over; empty: the inter-broker listener
	ClientProperties string        // a file; instead of the three below
	Client           *login.Client // what it says
	Tokens           *login.Tokens // of it, one for all connections
	SecurityProtocol string        // empty: that of the listener in server.properties
	TLS              TLS
	SASL             SASL
}

// User is the name of the agent's user, empty if it has none.
func (k Kafka) User() string {
	if k.Client == nil || k.Client.Mechanism == "" {
		return k.SASL.Username
	}
	if k.Client.Mechanism == login.OAuthBearer {
		return "" // the broker makes the name out of the token
	}
	name, _, err := k.Client.User()
	if err != nil {
		return "" // every login reports it
	}
	return name
}

// Storage say how much space a log directory must have before a restart.
type Storage struct {
	MinFreeMiB     int64
	MinFreePercent int64
}

// Needed is the least free space, in bytes, of a file system of a size.
func (s Storage) Needed(total int64) int64 {
	return max(s.MinFreeMiB<<20, total/100*s.MinFreePercent)
}

// TLS name PEM files.
type TLS struct{ CAFile, CertFile, KeyFile, ServerName string }

// SASL name the user, and where the password is, never the password itself.
type SASL struct{ Mechanism, Username, PasswordFile, PasswordEnv string }

// Credentials are the user and its password, read as Secret reads it.
func (s SASL) Credentials() (name, password string, err error) {
	password, err = s.Secret()
	return s.Username, password, err
}

// Secret reads the password. It is read each time it is needed, so it can
// be changed under a running agent, and it is kept nowhere.
func (s SASL) Secret() (string, error) {
	if s.PasswordEnv != "" {
		if v := os.Getenv(s.PasswordEnv); v != "" {
			return v, nil
		}
		return "", fmt.Errorf("read the password: the environment variable %s is not set; set it for the agent, or "+
			"name another as kafka.sasl.password_env", s.PasswordEnv)
	}
	b, err := os.ReadFile(s.PasswordFile)
	if err != nil {
		err = fmt.Errorf("read the password: %w", err)
		if errors.Is(err, fs.ErrPermission) {
			return "", Denied(err)
		}
		return "", fmt.Errorf("%w; name a readable file as kafka.sasl.password_file", err)
	}
	password := strings.TrimRight(string(b), "\r\n")
	if password == "" {
		return "", fmt.Errorf("read the password: %s is empty; write the password into it, or name another file as "+
			"kafka.sasl.password_file", s.PasswordFile)
	}
	return password, nil
}

// Load reads the settings for a command, and makes sure that the client properties or the password that they name can
// be read. A missing file at the default place is an empty one; what is wrong in the file comes as config.Faults with
// all of it. Where dir has the last good settings, it returns those and the fault instead: on such a VM, too, an
// operator must be able to see the cluster and to pause it.
func Load(path, dir string) (s *Settings, fault string, err error) {
	force, err := LoadInForce(path, dir)
	if err != nil {
		return nil, "", err
	}
	if err := force.readLogin(); err != nil {
		return nil, "", err
	}
	return force.Settings, force.fault, nil
}

// readLogin makes sure that the login can be read.
func (s *Settings) readLogin() error {
	if err := s.Kafka.ReadClient(); err != nil {
		return err
	}
	if s.Kafka.SASL.Mechanism != "" {
		if _, err := s.Kafka.SASL.Secret(); err != nil {
			return err
		}
	}
	return nil
}

// LoadAlone reads no other file than the settings.
func LoadAlone(path string) (*Settings, error) {
	data, err := read(path)
	if err != nil {
		return nil, err
	}
	return Parse(path, data)
}

// read takes a missing file at the default place for an empty one.
func read(path string) ([]byte, error) {
	data, err := os.ReadFile(path)
	if err != nil && (path != DefaultPath || !errors.Is(err, fs.ErrNotExist)) {
		err = fmt.Errorf("read the settings: %w", err)
		if errors.Is(err, fs.ErrPermission) {
			return nil, Denied(err)
		}
		return nil, fmt.Errorf("%w; name the file with --settings", err)
	}
	return data, nil
}

// ReadClient reads the client properties that the settings name, if they name any.
func (k *Kafka) ReadClient() (err error) {
	if k.ClientProperties == "" {
		return nil
	}
	k.Client, err = login.ReadClient(k.ClientProperties)
	if k.Client != nil {
		k.Tokens = login.NewTokens(k.Client)
	}
	return Denied(err)
}

// Parse decodes settings; relative paths are relative to the file.
func Parse(path string, data []byte) (*Settings, error) {
	doc := config.Decode(path, data, Shape())
	if doc.Root == nil {
		return nil, doc.Err()
	}
	root := doc.Root
	kafka, tls, sasl := root.Get("kafka"), root.Get("kafka").Get("tls"), root.Get("kafka").Get("sasl")
	commands := root.Get("commands")
	file := func(v *config.Value) string {
		if v == nil || v.Text == "" || filepath.IsAbs(v.Text) {
			return text(v)
		}
		return filepath.Join(filepath.Dir(path), v.Text)
	}
	s := &Settings{
		Manifest: file(root.Get("manifest")), ServerProperties: file(root.Get("server_properties")),
		StateDir: file(root.Get("state_dir")),
		Unit:     text(root.Get("unit")),
		Commands: Commands{list(commands.Get("restart")), list(commands.Get("status")), list(commands.Get("judge"))},
		Kafka: Kafka{
			BootstrapServers: list(kafka.Get("bootstrap_servers")), Topic: text(kafka.Get("topic")),
			Listener: text(kafka.Get("listener")), ClientProperties: file(kafka.Get("client_properties")),
			SecurityProtocol: text(kafka.Get("security_protocol")),
			TLS: TLS{
				file(tls.Get("ca_file")), file(tls.Get("cert_file")), file(tls.Get("key_file")),
				text(tls.Get("server_name")),
			},
			SASL: SASL{
				text(sasl.Get("mechanism")), text(sasl.Get("username")), file(sasl.Get("password_file")),
				text(sasl.Get("password_env")),
			},
		},
		HTTPListen: text(root.Get("http").Get("listen")),
		LogJSON:    text(root.Get("log").Get("format")) == "json",
		Start:      span(root.Get("timeouts").Get("start")), Progress: span(root.Get("timeouts").Get("progress")),
		Takeover:      span(root.Get("timeouts").Get("takeover")),
		ProbeInterval: span(root.Get("probe").Get("interval")),
		Storage: Storage{
			whole(root.Get("storage").Get("min_free_mib")),
			whole(root.Get("storage").Get("min_free_percent")),
		},
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
	unit, commands := root.Get("unit"), root.Get("commands")
	if commands.Given && unit.Given {
		doc.Fault(unit, "is given together with commands; keep one of the two")
	}
	kafka := root.Get("kafka")
	tls, sasl, protocol, client := kafka.Get("tls"), kafka.Get("sasl"), kafka.Get("security_protocol"),
		kafka.Get("client_properties")
	if client.Given && (tls.Given || sasl.Given || protocol.Given) {
		doc.Fault(client, "is given together with security_protocol, tls or sasl, which it replaces; keep one of "+
			"the two ways")
	}
	if tls.Given && !tls.Bad && tls.Get("cert_file").Given != tls.Get("key_file").Given {
		doc.Fault(tls, "has only one of cert_file and key_file; they belong together")
	}
	if sasl.Given && !sasl.Bad && sasl.Get("password_file").Given == sasl.Get("password_env").Given {
		doc.Fault(sasl, "expected exactly one of password_file and password_env")
	}
	checkProtocol(doc, protocol, tls, sasl)
}

// checkProtocol holds the security protocol against what is given for it.
func checkProtocol(doc *config.Document, protocol, tls, sasl *config.Value) {
	if !protocol.Given || protocol.Bad {
		return // server.properties says it
	}
	word := protocol.Text
	switch wants := strings.HasPrefix(word, "SASL_"); {
	case wants && !sasl.Given:
		doc.Fault(protocol, "%s needs a user; name one under `kafka.sasl`", word)
	case !wants && sasl.Given:
		doc.Fault(protocol, "%s has no users, so kafka.sasl has no effect; write SASL_%s, or delete kafka.sasl",
			word, word)
	}
	if tls.Given && !strings.HasSuffix(word, "SSL") {
		doc.Fault(protocol, "%s has no TLS, so kafka.tls has no effect; write %s, or delete kafka.tls", word,
			strings.Replace(word, "PLAINTEXT", "SSL", 1))
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

func whole(v *config.Value) int64 {
	if v == nil {
		return 0
	}
	return int64(v.Int)
}
