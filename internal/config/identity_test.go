package config

import (
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestIdentity(t *testing.T) {
	got, err := Identity("server.properties", []byte(reference))
	if err != nil {
		t.Fatal(err)
	}
	want := Node{
		BrokerID: 1, KRaft: true, Controller: true, Controllers: []string{"CONTROLLER"},
		InterBroker: Effective{Name: "INTERNAL", BindHost: "0.0.0.0", BindPort: 9092, Advertised: true, AdvertisedHost: "10.0.0.11", AdvertisedPort: 9092, SecurityProtocol: "PLAINTEXT"},
		Listeners: []Effective{
			{Name: "INTERNAL", BindHost: "0.0.0.0", BindPort: 9092, Advertised: true, AdvertisedHost: "10.0.0.11", AdvertisedPort: 9092, SecurityProtocol: "PLAINTEXT"},
			{Name: "CONTROLLER", BindHost: "0.0.0.0", BindPort: 29092, SecurityProtocol: "PLAINTEXT", Controller: true},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if address := got.InterBroker.Address(); address != "10.0.0.11:9092" {
		t.Error(address)
	}
}

func TestAddress(t *testing.T) {
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	for lines, want := range map[string]string{
		"":                               host + ":9092",
		"listeners=PLAINTEXT://[::]:1\n": "", // Kafka would advertise :: itself, which is refused elsewhere
		"listeners=PLAINTEXT://[::1]:1\nadvertised.listeners=PLAINTEXT://:0\n":                                                  "[::1]:1",
		"listeners=PLAINTEXT://0.0.0.0:1\nadvertised.listeners=PLAINTEXT://:2\n":                                                host + ":2",
		"listeners=PLAINTEXT://:1,SSL://10.0.0.5:2\nsecurity.inter.broker.protocol=SSL\n":                                       "10.0.0.5:2",
		"inter.broker.listener.name=a\nlisteners=A://h:1\nlistener.security.protocol.map=A:SSL\nadvertised.listeners=a://b:3\n": "b:3",
	} {
		n, err := Identity("f", []byte(zkHead+lines))
		if err != nil {
			t.Fatalf("%q: %v", lines, err)
		}
		if n.KRaft || n.BrokerID != 1 {
			t.Errorf("%+v", n)
		}
		if got := n.InterBroker.Address(); want != "" && got != want {
			t.Errorf("%q: %s, want %s", lines, got, want)
		}
	}
}

func TestListenerOfNode(t *testing.T) {
	n, err := Identity("f", []byte(`process.roles=broker,controller
node.id=1
controller.quorum.voters=1@h:3
controller.listener.names=CONTROLLER
inter.broker.listener.name=INTERNAL
listeners=INTERNAL://:1,CLIENT://10.0.0.5:2,CONTROLLER://:3,HIDDEN://:4
advertised.listeners=INTERNAL://h:1,CLIENT://:2
listener.security.protocol.map=INTERNAL:SASL_SSL,CLIENT:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT,HIDDEN:PLAINTEXT
sasl.enabled.mechanisms=OAUTHBEARER
listener.name.client.sasl.enabled.mechanisms=PLAIN, SCRAM-SHA-512
`))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"INTERNAL": "h:1", "client": "10.0.0.5:2",
		"CONTROLLER": "listener CONTROLLER is for controllers alone",
		"HIDDEN":     "listener HIDDEN is not in advertised.listeners, so nobody learns of other brokers where it is",
		"OTHER":      "there is no listener OTHER among the listeners of this broker, which has INTERNAL, CLIENT for clients",
	} {
		e, err := n.Listener(name)
		if got := e.Address(); err == nil && got != want || err != nil && err.Error() != want {
			t.Errorf("%s: %s, %v", name, got, err)
		}
	}
	mechanisms := map[string][]string{"INTERNAL": {"OAUTHBEARER"}, "CLIENT": {"PLAIN", "SCRAM-SHA-512"}}
	if diff := cmp.Diff(mechanisms, n.Mechanisms); diff != "" {
		t.Error(diff)
	}
}

func TestIdentityRefused(t *testing.T) {
	for file, rule := range map[string]string{
		"":                                    "ID",
		"broker.id=x\n":                       "ID",
		"\xef\xbb\xbfbroker.id=1\n":           "BOM",
		"process.roles=controller\nnode.id=1": "R19",
		"process.roles=other\nnode.id=1":      "ROLE",
		"broker.id=1\nlisteners=x\n":          "S3",
		"broker.id=1\nlisteners=SSL://:1\n":   "R14",
		"broker.id=1\nnode.id=2\n":            "R24",
		"broker.id=1\nlisteners=${a:b}\n":     "PLACEHOLDER",
	} {
		if _, err := Identity("f", []byte(file)); ruleOf(err) != rule {
			t.Errorf("%q: %v, want rule %s", file, err, rule)
		}
	}
}
