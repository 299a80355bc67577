package check

import (
	"testing"

	"example.com/kpls-agent/internal/config"
	"example.com/kpls-agent/internal/host"
	"example.com/kpls-agent/internal/restart"
)

const gib = 1 << 30

func TestCheckStorage(t *testing.T) {
	for _, c := range []struct {
		dir   restart.LogDir
		level Level
		says  string
	}{
		{
			restart.LogDir{Path: "/a", Free: 5 * gib, Total: 10 * gib},
			OK,
			"/a: 5120 MiB free of 10240 MiB; its meta.properties is there",
		},
		{
			restart.LogDir{Path: "/a", Free: 5 * gib, Total: 10 * gib, Unseen: "X cannot be seen"},
			Warning,
			"/a: 5120 MiB free of 10240 MiB; X cannot be seen",
		},
		{restart.LogDir{Path: "/a", Free: -1, Total: -1}, Warning, "/a: its free space cannot be seen"},
		{restart.LogDir{Path: "/a", Free: -1, Total: -1, Fault: "offline"}, Fault, "offline"},
	} {
		got := checkStorage([]restart.LogDir{c.dir}, "")
		if len(got) != 1 || got[0].Level != c.level || got[0].Text != c.says {
			t.Errorf("%+v: %+v", c.dir, got)
		}
	}
}

// TestCheckCordoned: what of a broker is cordoned, and by whom. The values and the directories are as 4.4.0 answers
// (TestMatrixKafka4 of test/e2e).
func TestCheckCordoned(t *testing.T) {
	const name = "cordoned.log.dirs"
	set := func(source config.Source, value string) config.RunningValue {
		return config.RunningValue{
			Value: value, Dynamic: source != config.SourceStatic,
			Settings: []config.Setting{{Name: name, Source: source, Value: value}, {Name: name, Source: config.SourceOther}},
		}
	}
	const end = "; to end that: kafka-configs --bootstrap-server ... --alter --entity-type brokers --entity-name 2 --delete-config cordoned.log.dirs"
	for _, c := range []struct {
		name           string
		value          config.RunningValue
		cordoned, open []string
		want           string
	}{
		{"not known to this Kafka", config.RunningValue{}, nil, []string{"/a"}, ""},
		{"none", config.RunningValue{Settings: []config.Setting{{Name: name, Source: config.SourceOther}}}, nil, []string{"/a"}, ""},
		{
			"all", set(config.SourceDynamicBroker, "*"),
			[]string{"/a", "/b"},
			nil,
			"all of this broker are cordoned (cordoned.log.dirs=* of kafka-configs --entity-name 2), so it gets no new partition, and a new topic may find too few brokers for its replicas" + end,
		},
		{
			"one", set(config.SourceDynamicBroker, "/a"),
			[]string{"/a"},
			[]string{"/b", "/c"},
			"new partitions go to /b, /c, and not to /a (cordoned.log.dirs=/a of kafka-configs --entity-name 2)" + end,
		},
		{
			"by the file", set(config.SourceStatic, "/a"),
			[]string{"/a"},
			nil,
			"all of this broker are cordoned (cordoned.log.dirs=/a of server.properties), so it gets no new partition, and a new topic may find too few brokers for its replicas; to end that: remove cordoned.log.dirs from it; that counts from the next start on",
		},
		{
			"without effect", set(config.SourceDynamicBroker, "./data"), nil,
			[]string{"/a"},
			"cordoned.log.dirs=./data of kafka-configs --entity-name 2 has no effect: the broker says that none of them is cordoned. Kafka 4.4.0 was seen to do that where log.dirs has relative names",
		},
		{
			"directories that cannot be seen", set(config.SourceDynamicBroker, "*"), nil, nil,
			"some of them may be cordoned, and get no new partition (cordoned.log.dirs=* of kafka-configs --entity-name 2)" + end,
		},
	} {
		p := host.Process{Values: map[string]config.RunningValue{name: c.value}, Cordoned: c.cordoned, Open: c.open}
		got := checkCordoned(p, 2)
		switch {
		case c.want == "" && len(got) > 0, c.want != "" && (len(got) != 1 || got[0].What != "log directories" || got[0].Level != Warning || got[0].Text != c.want):
			t.Errorf("%s: %+v\nwant %s", c.name, got, c.want)
		}
	}
}
