package check

import (
	"errors"
	"testing"
)

func TestJudgeVersions(t *testing.T) {
	const mixed = ": an upgrade is under way; bring all brokers to one version. What only the newer one knows (`kafka-features upgrade`) has to wait until then"
	for _, tt := range []struct {
		name     string
		versions map[int32]string
		unseen   map[int32]error
		level    Level
		want     string
	}{
		{"one", map[int32]string{1: "4.4", 2: "4.4", 3: "4.4"}, nil, OK, "brokers 1, 2, 3 run Kafka 4.4"},
		{"a single broker", map[int32]string{1: "3.7"}, nil, OK, "broker 1 runs Kafka 3.7"},
		{"two", map[int32]string{1: "4.2", 2: "4.4", 3: "4.4"}, nil, Warning, "brokers 2, 3 run Kafka 4.4, broker 1 runs Kafka 4.2" + mixed},
		{"by number and not by letter", map[int32]string{1: "3.9", 2: "3.10"}, nil, Warning, "broker 2 runs Kafka 3.10, broker 1 runs Kafka 3.9" + mixed},
		{"newer than known", map[int32]string{1: "4.4", 2: "4.4+"}, nil, Warning, "broker 2 runs a Kafka newer than 4.4, broker 1 runs Kafka 4.4" + mixed},
		{"one does not answer", map[int32]string{1: "4.4"}, map[int32]error{2: errors.New("ask broker 2 for its version: refused")}, Warning, "broker 1 runs Kafka 4.4; ask broker 2 for its version: refused"},
		{"none answers", nil, map[int32]error{2: errors.New("refused")}, Warning, "refused"},
		{"two, and one does not answer", map[int32]string{1: "4.4", 3: "4.2"}, map[int32]error{2: errors.New("refused")}, Warning, "broker 1 runs Kafka 4.4, broker 3 runs Kafka 4.2" + mixed + "; refused"},
	} {
		if f := judgeVersions(tt.versions, tt.unseen); f.Level != tt.level || f.Text != tt.want {
			t.Errorf("%s: %+v\nwant %s %s", tt.name, f, tt.level, tt.want)
		}
	}
}
