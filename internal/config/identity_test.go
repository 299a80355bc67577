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
	if got.Bootstrap() != "10.0.0.11:9092" {
		t.Error(got.Bootstrap())
	}
}

func TestBootstrap(t *testing.T) {
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
		if got := n.Bootstrap(); want != "" && got != want {
			t.Errorf("%q: %s, want %s", lines, got, want)
		}
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
