package host

import (
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"example.com/kpls-agent/internal/kafka"
	"example.com/kpls-agent/internal/login"
	"example.com/kpls-agent/internal/settings"
)

// twoListeners is a broker whose brokers talk over what no agent of a password's
// can log in to, with a second listener in addition.
const twoListeners = `process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:3
controller.listener.names=CONTROLLER
inter.broker.listener.name=INTERNAL
listeners=INTERNAL://:1,CLIENT://:2,USERS://:4,CONTROLLER://:3
advertised.listeners=INTERNAL://127.0.0.1:1,CLIENT://127.0.0.2:2,USERS://127.0.0.3:4
listener.security.protocol.map=INTERNAL:SASL_SSL,CLIENT:PLAINTEXT,USERS:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT
sasl.mechanism.inter.broker.protocol=GSSAPI
listener.name.users.sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-512
`

// TestOpenKafka: which listener the agent talks over, and what is said where the
// login of the settings is not for it.
func TestOpenKafka(t *testing.T) {
	path := filepath.Join(t.TempDir(), "server.properties")
	if err := os.WriteFile(path, []byte(twoListeners), 0o600); err != nil {
		t.Fatal(err)
	}
	user := settings.SASL{Mechanism: "PLAIN", Username: "agent", PasswordEnv: "NONE"}
	plain := &login.Client{Path: "/etc/agent/client.properties", Protocol: "PLAINTEXT", Bootstrap: []string{"127.0.0.2:2"}}
	const internal, client, users = "the inter-broker listener INTERNAL, which the agent talks to, has SASL_SSL", "127.0.0.2:2", "127.0.0.3:4"
	for name, tt := range map[string]struct {
		kafka settings.Kafka
		want  string // the address, or the whole error
	}{
		"no user": {
			settings.Kafka{},
			internal + ", and the settings name no user; set mechanism, username and password_file of kafka.sasl (the listener offers GSSAPI), or kafka.client_properties; " +
				"for a user with a password add SCRAM-SHA-512 to sasl.enabled.mechanisms of that listener, or name another listener of the brokers as kafka.listener",
		},
		"a user":                 {settings.Kafka{SASL: user}, "127.0.0.1:1"},
		"another listener":       {settings.Kafka{Listener: "CLIENT"}, client},
		"another listener, seed": {settings.Kafka{Listener: "client", BootstrapServers: []string{"127.0.0.9:2"}}, client},
		"another listener with users, no user": {
			settings.Kafka{Listener: "users"},
			"the listener USERS (kafka.listener), which the agent talks to, has SASL_PLAINTEXT, and the settings name no user; " +
				"set mechanism, username and password_file of kafka.sasl (the listener offers PLAIN, SCRAM-SHA-512), or kafka.client_properties",
		},
		"another listener with users": {settings.Kafka{Listener: "USERS", SASL: user}, users},
		"another protocol": {
			settings.Kafka{SecurityProtocol: "PLAINTEXT", BootstrapServers: []string{client}},
			"kafka.security_protocol is PLAINTEXT, and " + internal + "; correct it, or name the listener that is meant as kafka.listener",
		},
		"another protocol in client.properties": {
			settings.Kafka{Client: plain},
			"/etc/agent/client.properties is for a listener with PLAINTEXT, and " + internal + "; name a file for that one as kafka.client_properties, or the listener that is meant as kafka.listener",
		},
		"client.properties": {settings.Kafka{Client: plain, Listener: "CLIENT"}, client},
		"no such listener": {
			settings.Kafka{Listener: "OTHER"},
			path + ": there is no listener OTHER among the listeners of this broker, which has INTERNAL, CLIENT, USERS for clients; correct kafka.listener in the settings, or give every broker the listener",
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := &settings.Settings{ServerProperties: path, StateDir: t.TempDir(), Kafka: tt.kafka}
			n, err := ReadNode(s)
			var own string
			if err == nil {
				var cl *kafka.Client
				cl, err = Dial(s, n, slog.New(slog.DiscardHandler), func(o *kafka.Options) { own = o.OwnAddress })
				if err == nil {
					cl.Close()
				}
			}
			got := own
			if err != nil {
				got = err.Error()
			}
			if got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
			if word := n.Word(); err == nil && strings.Contains(word, "(kafka.listener)") != (tt.kafka.Listener != "") {
				t.Errorf("it is called %q", word)
			}
		})
	}
}

// TestAddressesOfAListener: what was learnt over one listener is no seed for another one.
func TestAddressesOfAListener(t *testing.T) {
	s := &settings.Settings{StateDir: t.TempDir()}
	other := &settings.Settings{StateDir: s.StateDir, Kafka: settings.Kafka{Listener: "client"}}
	log := slog.New(slog.DiscardHandler)
	SaveAddresses(s, log)(map[int32]string{1: "a:1"})
	SaveAddresses(other, log)(map[int32]string{1: "a:2"})
	if got, want := slices.Concat(slices.Collect(maps.Values(loadAddresses(s))), slices.Collect(maps.Values(loadAddresses(other)))), []string{"a:1", "a:2"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
