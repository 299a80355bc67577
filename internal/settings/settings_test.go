package settings

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v4"

	"example.com/kpls-agent/internal/config"
	"example.com/kpls-agent/test/tables"
)

const (
	settingsSchema = "../../packaging/settings.schema.json"
	settingsManual = "../../docs/configuration.md"
)

var updateGolden = flag.Bool("update", false, "write the golden files")

// golden compares with a file, or writes it with -update.
func golden(t *testing.T, path, got string) {
	t.Helper()
	if err := tables.HoldFile(path, got, *updateGolden); err != nil {
		t.Error(err)
	}
}

func readSettings(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func settingsFiles(t *testing.T, pattern string) []string {
	t.Helper()
	names, err := filepath.Glob("testdata/" + pattern)
	if err != nil || len(names) == 0 {
		t.Fatalf("no files match %s: %v", pattern, err)
	}
	return names
}

// TestSettingsFaults proves each rule with a file that breaks it and the exact message.
func TestSettingsFaults(t *testing.T) {
	for _, path := range settingsFiles(t, "invalid/*/*.yaml") {
		t.Run(strings.TrimPrefix(path, "testdata/invalid/"), func(t *testing.T) {
			s, err := Parse("kpls-agent.yaml", readSettings(t, path))
			var faults config.Faults
			if !errors.As(err, &faults) || s != nil {
				t.Fatalf("got %v, %v; want nil and Faults", s, err)
			}
			if strings.Contains(err.Error(), "hunter") || strings.Contains(err.Error(), "123456") {
				t.Errorf("shows a secret: %v", err)
			}
			golden(t, strings.TrimSuffix(path, ".yaml")+".txt", err.Error()+"\n")
		})
	}
}

// defaults is what an empty file means.
func defaults() *Settings {
	return &Settings{
		Manifest: "/etc/kpls-agent/manifest.yaml", ServerProperties: "/etc/kafka/server.properties", StateDir: "/var/lib/kpls-agent",
		Unit: "kafka.service", Kafka: Kafka{Topic: "__kpls_agent"}, HTTPListen: ":9464",
		Start: 15 * time.Minute, Progress: 5 * time.Minute, Takeover: 5 * time.Minute, ProbeInterval: 2 * time.Second,
		Storage: Storage{1024, 2},
	}
}

func TestSettingsValues(t *testing.T) {
	commands := defaults()
	commands.Unit = ""
	commands.Commands = Commands{[]string{"/usr/local/bin/kafka", "restart"}, []string{"/usr/local/bin/kafka", "status"}, nil}
	commands.Kafka.SASL = SASL{Mechanism: "PLAIN", Username: "agent", PasswordEnv: "KAFKA_PASSWORD"}
	client := defaults()
	client.Kafka.ClientProperties = "/etc/agent/kafka/client.properties"
	for name, want := range map[string]*Settings{
		"empty": defaults(), "client": client, "comments": defaults(), "commands": commands,
		"everything": {
			Manifest: "/etc/agent/conf/manifest.yaml", ServerProperties: "/opt/kafka/config/server.properties", StateDir: "/srv/kpls-agent",
			Unit: "kafka@1.service",
			Kafka: Kafka{
				BootstrapServers: []string{"10.0.0.11:9092", "[fd00::12]:9092", "kafka-3.internal:9092"}, Topic: "__agents", Listener: "client", SecurityProtocol: "SASL_SSL",
				TLS:  TLS{CAFile: "/etc/agent/tls/ca.pem", CertFile: "/etc/agent/tls/agent.pem", KeyFile: "/etc/agent/tls/agent.key", ServerName: "kafka.internal"},
				SASL: SASL{Mechanism: "SCRAM-SHA-512", Username: "kpls-agent", PasswordFile: "/etc/agent/kafka.password"},
			},
			HTTPListen: "127.0.0.1:9465", LogLevel: slog.LevelWarn, LogJSON: true,
			Start: time.Hour, Progress: 10 * time.Minute, Takeover: 150 * time.Second, ProbeInterval: 500 * time.Millisecond,
			Storage: Storage{10240, 5},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Parse("/etc/agent/kpls-agent.yaml", readSettings(t, "testdata/valid/"+name+".yaml"))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// credentials are those that the settings lead to.
func credentials(s *Settings) (name, password string, err error) {
	if s.Kafka.Client != nil {
		return s.Kafka.Client.User()
	}
	return s.Kafka.SASL.Credentials()
}

func TestLoadSettings(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	t.Setenv("KPLS_TEST_PASSWORD", "hunter2")
	write("password", "hunter2\r\n")
	write("empty", "\n")
	const jaas = "sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required username=\"agent\" password=\"hunter2\";\n"
	write("client", "security.protocol=SASL_PLAINTEXT\nsasl.mechanism=PLAIN\n"+jaas)
	write("kerberos", "security.protocol=SASL_PLAINTEXT\n"+jaas)
	const client, kerberos = "kafka: {client_properties: client}\n", "kafka: {client_properties: kerberos}\n"
	sasl := func(where string) string {
		return "kafka: {sasl: {mechanism: PLAIN, username: x, " + where + "}}\n"
	}
	for name, want := range map[string]string{
		"":                                       "",
		client:                                   "hunter2",
		sasl("password_file: password"):          "hunter2",
		sasl("password_env: KPLS_TEST_PASSWORD"): "hunter2",
	} {
		s, _, err := Load(write("settings.yaml", name), "")
		if err != nil {
			t.Fatal(err)
		}
		if want == "" {
			continue
		}
		if _, got, err := credentials(s); err != nil || got != want {
			t.Errorf("%s: %q, %v", name, got, err)
		}
		var b bytes.Buffer
		slog.New(slog.NewJSONHandler(&b, nil)).Info("x", "settings", s)
		fmt.Fprintf(&b, "%v %+v %#v", *s, *s, *s)
		if j, err := json.Marshal(s); err != nil || strings.Contains(b.String()+string(j), "hunter") {
			t.Errorf("%s: shows the secret: %s %s %v", name, b.String(), j, err)
		}
	}
	for text, want := range map[string]string{
		kerberos:                               dir + "/kerberos: sasl.mechanism is not set, which means GSSAPI (Kerberos) to Kafka, and that is not supported; add SCRAM-SHA-512 to sasl.enabled.mechanisms of the listener and give the agent a user with it, or name another listener of the brokers as kafka.listener",
		sasl("password_file: gone"):            "read the password: open " + dir + "/gone: no such file or directory; name a readable file as kafka.sasl.password_file",
		sasl("password_file: empty"):           "read the password: " + dir + "/empty is empty; write the password into it, or name another file as kafka.sasl.password_file",
		sasl("password_env: KPLS_TEST_UNSET_"): "read the password: the environment variable KPLS_TEST_UNSET_ is not set; set it for the agent, or name another as kafka.sasl.password_env",
	} {
		if _, _, err := Load(write("settings.yaml", text), ""); err == nil || err.Error() != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	}
	_, _, err := Load(filepath.Join(dir, "none.yaml"), "")
	if want := "read the settings: open " + dir + "/none.yaml: no such file or directory; name the file with --settings"; err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

// TestSettingsSchema holds the schema file equal to the decoder's declaration,
// and proves it by a validator of its own.
func TestSettingsSchema(t *testing.T) {
	data, err := Shape().JSONSchema("kpls-agent settings", "What is special to one broker VM: paths, the unit to restart, the login to Kafka.")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, settingsSchema, string(data))
	schema, err := jsonschema.NewCompiler().Compile(settingsSchema)
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range slices.Concat(settingsFiles(t, "valid/*.yaml"), settingsFiles(t, "invalid/structure/*.yaml")) {
		var v any
		if data := readSettings(t, path); len(data) > 0 {
			if err := yaml.Load(data, &v); err != nil {
				t.Fatal(err)
			}
		}
		if v == nil {
			v = map[string]any{} // an editor has nothing to look at
		}
		j, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		instance, err := jsonschema.UnmarshalJSON(bytes.NewReader(j))
		if err != nil {
			t.Fatal(err)
		}
		err = schema.Validate(instance)
		if valid := strings.Contains(path, "/valid/"); valid != (err == nil) {
			t.Errorf("%s: the schema says %v", path, err)
		}
	}
}

// TestSettingsReference holds the manual's reference equal to the decoder's declaration, and its examples valid.
func TestSettingsReference(t *testing.T) {
	if err := tables.Hold(settingsManual, "settings fields", "\n"+Shape().Reference()+"\n", *updateGolden); err != nil {
		t.Error(err)
	}
	n := 0
	for i, block := range strings.Split(string(readSettings(t, settingsManual)), "```yaml\n")[1:] {
		example, _, _ := strings.Cut(block, "```")
		if strings.HasPrefix(example, "version: 1\n") {
			continue // a manifest
		}
		n++
		if _, err := Parse("example", []byte(example)); err != nil {
			t.Errorf("example %d: %v", i+1, err)
		}
	}
	if n < 2 {
		t.Errorf("found %d settings in %s", n, settingsManual)
	}
}
