package host

import (
	"errors"
	"fmt"
	"testing"

	"example.com/kpls-agent/internal/config"
	"example.com/kpls-agent/internal/kafka"
	"example.com/kpls-agent/internal/settings"
)

// TestOtherBroker: the message names the file, the unit and the line to write.
func TestOtherBroker(t *testing.T) {
	const file, address = "/etc/kafka/server.properties", "; if the address is another broker's, correct advertised.listeners of INTERNAL there"
	for name, tt := range map[string]struct {
		is        int32
		unit      string
		overrides map[string]string
		want      string
	}{
		"in the unit": {
			1, "kafka.service",
			map[string]string{"node.id": "1"},
			"put node.id=1 into " + file + ", and take --override node.id=1 out of kafka.service",
		},
		"by its other name": {
			1, "kafka.service",
			map[string]string{"broker.id": "1"},
			"put broker.id=1 into " + file + ", and take --override broker.id=1 out of kafka.service",
		},
		"the unit has another one": {
			1, "kafka.service",
			map[string]string{"node.id": "11"},
			"if kafka.service starts the broker with --override node.id=1 or broker.id=1, put node.id=1 into " + file + address,
		},
		"without a unit":  {1, "", nil, "if the broker is started with --override node.id=1, put node.id=1 into " + file + address},
		"it does not say": {-1, "kafka.service", nil, address[2:]},
	} {
		err := &kafka.OtherBrokerError{Addr: "a:1", Want: 0, Is: tt.is}
		vm, n := &settings.Settings{ServerProperties: file, Unit: tt.unit}, Node{Agents: config.Effective{Name: "INTERNAL"}}
		o := otherBroker{overrides: tt.overrides}
		o.once.Do(func() {}) // no unit is asked
		want := file + " says broker 0, and at a:1 answers broker 1, and not broker 0; " + tt.want
		if tt.is < 0 {
			want = file + " says broker 0, and at a:1 answers another broker, and not broker 0; " + tt.want
		}
		if got := o.explain(t.Context(), vm, n, fmt.Errorf("%w", err)); got.Error() != want {
			t.Errorf("%s: got  %v\nwant %s", name, got, want)
		}
	}
	o, other := otherBroker{}, errors.New("other")
	if got := o.explain(t.Context(), nil, Node{}, other); !errors.Is(got, other) || got.Error() != "other" {
		t.Error(got)
	}
}
