package kafka_test

import (
	"context"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"example.com/kpls-agent/internal/kafka"
)

func TestBrokerConfig(t *testing.T) {
	noLeaks(t)
	c := newCluster(t, 2, kfake.BrokerConfigs(map[string]string{"max.connections": "7"}))
	cl := open(t, c, func(o *kafka.Options) { o.Self, o.OwnAddress = 1, c.ListenAddrs()[1] })
	got, err := cl.BrokerConfig(within(t))
	if err != nil {
		t.Fatal(err)
	}
	if e, ok := got["broker.id"]; !ok || e.Value != "1" {
		t.Errorf("broker.id is %+v", e)
	}
	if len(got) < 10 {
		t.Errorf("%d properties", len(got))
	}
}

// Kafka answers the same (docs/matrix.md).
func TestBrokerConfigOfAnotherBroker(t *testing.T) {
	c := newCluster(t, 2)
	cl := open(t, c, func(o *kafka.Options) { o.Self, o.OwnAddress = 1, c.ListenAddrs()[0] })
	_, err := cl.BrokerConfig(within(t))
	want := "at " + c.ListenAddrs()[0] + " answers another broker, and not broker 1" // the fake does not say which
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	// Kafka's own words, as 3.7.1 and 4.4.0 have them.
	for text, want := range map[string]int32{
		"Unexpected broker id, expected 7 or empty string, but received 1": 7,
		"": -1, "Unexpected broker id": -1, "expected 99999999999": -1,
	} {
		if e := kafka.OtherBrokerOf(&text); e.Is != want {
			t.Errorf("%q: %d, want %d", text, e.Is, want)
		}
	}
}

// closedPort is an address at which nobody listens.
func closedPort(t *testing.T) string {
	t.Helper()
	var l net.ListenConfig
	none, err := l.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := none.Close(); err != nil {
		t.Fatal(err)
	}
	return none.Addr().String()
}

// A port that nobody has opened is told from one that is open and says nothing, and from a login that is refused.
func TestNobodyListens(t *testing.T) {
	var l net.ListenConfig
	mute, err := l.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer mute.Close()
	c := newCluster(t, 1)
	for addr, want := range map[string]bool{closedPort(t): true, mute.Addr().String(): false} {
		cl := open(t, c, func(o *kafka.Options) { o.OwnAddress = addr })
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		if _, err := cl.BrokerConfig(ctx); err == nil || kafka.NobodyListens(err) != want {
			t.Errorf("%s: got %v, nobody listens: %v", addr, err, !want)
		}
	}
	if kafka.NobodyListens(kerr.SaslAuthenticationFailed) {
		t.Error("a refused login is a closed port")
	}
}

// Where no broker answers, those are named at which nobody listens, by the addresses that were kept: not one that
// takes connections and says nothing, nor one whose address is not known.
func TestNobodyListensAnywhere(t *testing.T) {
	var l net.ListenConfig
	mute, err := l.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer mute.Close()
	known := map[int32]string{1: closedPort(t), 2: closedPort(t), 3: mute.Addr().String()}
	cl := open(t, newCluster(t, 1), func(o *kafka.Options) { o.Known, o.Seeds, o.OwnAddress = known, []string{known[1]}, known[1] })
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	f := cl.Observe(ctx)
	if want := []int32{1, 2}; len(f.Views) > 0 || !slices.Equal(f.NobodyListens, want) {
		t.Errorf("%d views, nobody listens at %v, want %v (%s)", len(f.Views), f.NobodyListens, want, f.Err)
	}
}

// Both the connection and the broker's process may be new since last time.
func TestBrokerConfigAfterDeadConnection(t *testing.T) {
	c := newCluster(t, 1)
	var mu sync.Mutex
	var last net.Conn
	dials := 0
	cl := open(t, c, func(o *kafka.Options) {
		o.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := (&net.Dialer{}).DialContext(ctx, network, addr)
			mu.Lock()
			defer mu.Unlock()
			last, dials = conn, dials+1
			return conn, err
		}
	})
	for i := range 4 {
		if i == 2 {
			_ = last.Close()
		}
		if _, err := cl.BrokerConfig(within(t)); err != nil {
			t.Fatal(err)
		}
	}
	if dials != 2 {
		t.Errorf("%d connections for 4 questions and one that died", dials)
	}
}

func TestEntry(t *testing.T) {
	config := func(name string, value *string, sensitive bool, source kmsg.ConfigSource, synonyms ...kmsg.DescribeConfigsResponseResourceConfigConfigSynonym) kmsg.DescribeConfigsResponseResourceConfig {
		c := kmsg.NewDescribeConfigsResponseResourceConfig()
		c.Name, c.Value, c.IsSensitive, c.Source, c.ConfigSynonyms = name, value, sensitive, source, synonyms
		return c
	}
	synonym := func(name string, source kmsg.ConfigSource) kmsg.DescribeConfigsResponseResourceConfigConfigSynonym {
		s := kmsg.NewDescribeConfigsResponseResourceConfigConfigSynonym()
		s.Name, s.Source = name, source
		return s
	}
	const dynamicBroker, dynamicDefault, static, fallback = 2, 3, 4, 5
	for _, tt := range []struct {
		name string
		in   kmsg.DescribeConfigsResponseResourceConfig
		want kafka.Entry
	}{
		{"static", config("listeners", new("A://:1"), false, static, synonym("listeners", static)), kafka.Entry{Value: "A://:1", Static: true}},
		{"default", config("listeners", new("A://:1"), false, fallback), kafka.Entry{Value: "A://:1"}},
		{"no value", config("advertised.listeners", nil, false, fallback), kafka.Entry{Null: true}},
		{"hidden", config("x.password", nil, true, static), kafka.Entry{Hidden: true, Static: true}},
		{"dynamic over static", config("listeners", new("B://:1"), false, dynamicBroker, synonym("listeners", dynamicBroker), synonym("listeners", static)), kafka.Entry{Value: "B://:1", Dynamic: true, Static: true}},
		{"dynamic for all", config("listeners", new("B://:1"), false, dynamicDefault), kafka.Entry{Value: "B://:1", Dynamic: true}},
		{"another name's synonym", config("log.retention.ms", nil, false, fallback, synonym("log.retention.hours", dynamicBroker)), kafka.Entry{Null: true}},
	} {
		got := kafka.EntryOf(tt.in)
		if len(got.Synonyms) != len(tt.in.ConfigSynonyms) || got.Type != "UNKNOWN" {
			t.Errorf("%s: %+v", tt.name, got)
		}
		got.Synonyms, got.Type = nil, ""
		if d := cmp.Diff(tt.want, got); d != "" {
			t.Errorf("%s: %s", tt.name, d)
		}
	}
}

// By the requests that kfake is told to know; real brokers by TestReleaseAndQuorumOfRealBrokers.
func TestVersion(t *testing.T) {
	for _, tt := range []struct {
		versions *kversion.Versions
		want     string
	}{
		{kversion.V3_3_0(), "3.3"},
		{kversion.V3_5_0(), "3.5"},
		{kversion.V3_7_0(), "3.7"},
		{kversion.V3_8_0(), "3.8"},
		{kversion.V3_9_0(), "3.9"},
		{kversion.V4_0_0(), "4.0"},
		{kversion.V4_1_0(), "4.1"},
	} {
		c := newCluster(t, 1, kfake.MaxVersions(tt.versions))
		got, err := open(t, c).Version(within(t))
		if err != nil || got != tt.want {
			t.Errorf("got %q, %v, want %s", got, err, tt.want)
		}
	}
	zk := kmsg.NewPtrApiVersionsResponse() // in ZooKeeper mode there is no metadata.version
	kversion.V3_6_0().EachMaxKeyVersion(func(key, version int16) {
		k := kmsg.NewApiVersionsResponseApiKey()
		k.ApiKey, k.MaxVersion = key, version
		zk.ApiKeys = append(zk.ApiKeys, k)
	})
	if got := kafka.ReleaseOf(zk); got != "3.6" {
		t.Errorf("a broker in ZooKeeper mode: %q", got)
	}
	for level, want := range map[int16]string{1: "", 7: "3.3", 17: "3.7", 19: "3.7", 25: "4.0", 27: "4.1", 29: "4.2", 31: "4.4", 33: "4.4", 34: "4.4+", 99: "4.4+"} {
		hello := kmsg.NewPtrApiVersionsResponse()
		f := kmsg.NewApiVersionsResponseSupportedFeature()
		f.Name, f.MaxVersion = "metadata.version", level
		hello.SupportedFeatures = append(hello.SupportedFeatures, f)
		if got := kafka.ReleaseOf(hello); got != want {
			t.Errorf("level %d: got %q, want %q", level, got, want)
		}
	}
}
