package check

import (
	"testing"

	"example.com/kpls-agent/internal/config"
)

func TestCheckMinISR(t *testing.T) {
	const name = "min.insync.replicas"
	static := func(v string) config.Setting {
		return config.Setting{Name: name, Source: config.SourceStatic, Value: v}
	}
	byDefault := func(v string) config.Setting {
		return config.Setting{Name: name, Source: config.SourceDynamicDefault, Value: v}
	}
	for _, tt := range []struct {
		name, inForce string
		settings      []config.Setting
		want          string
	}{
		{"the file's", "2", []config.Setting{static("2")}, ""},
		{"a higher one", "3", []config.Setting{byDefault("3"), static("2")}, ""},
		{"the file says nothing", "1", []config.Setting{byDefault("1")}, ""},
		{"the file's is not in force, and nothing else is known", "1", []config.Setting{static("2")}, ""},
		{
			"void", "1",
			[]config.Setting{byDefault("1"), static("2")},
			"server.properties has 2, and min.insync.replicas=1 of kafka-configs --entity-default counts, so acks=all may mean one replica; " +
				"where nobody has set it, the controller has (KIP-966). If 2 is meant: kafka-configs --bootstrap-server ... --alter " +
				"--entity-type brokers --entity-default --add-config min.insync.replicas=2",
		},
		{
			"void by a broker's own", "2",
			[]config.Setting{{Name: name, Source: config.SourceDynamicBroker, Value: "2"}, static("3")},
			"server.properties has 3, and min.insync.replicas=2 of kafka-configs --entity-name 7 counts, so acks=all may mean 2 replicas; " +
				"where nobody has set it, the controller has (KIP-966). If 3 is meant: kafka-configs --bootstrap-server ... --alter " +
				"--entity-type brokers --entity-name 7 --add-config min.insync.replicas=3",
		},
	} {
		got := checkMinISR(map[string]config.RunningValue{name: {Value: tt.inForce, Type: "INT", Settings: tt.settings}}, 7)
		switch {
		case tt.want == "" && len(got) > 0, tt.want != "" && (len(got) != 1 || got[0].Level != Warning || got[0].Text != tt.want):
			t.Errorf("%s: %+v", tt.name, got)
		}
	}
}
