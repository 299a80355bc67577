package unit

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestNames(t *testing.T) {
	for _, c := range []struct {
		name  string
		id    string
		names []string
		want  []string
	}{
		{"no alias", testUnit, []string{testUnit}, []string{testUnit}},
		{"an alias", "kafka2.service", []string{testUnit, "kafka2.service", "broker.service"}, []string{"kafka2.service", "broker.service", testUnit}},
		{"not there", testUnit, []string{testUnit}, []string{testUnit}},
		{"nothing is told", "", nil, []string{testUnit}},
	} {
		p := newPeer(t)
		conn, err := p.dial(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		p.set(map[string]any{"Id": c.id, "Names": c.names})
		m := &Manager{conn}
		got, err := m.Names(t.Context(), testUnit)
		m.Close()
		if d := cmp.Diff(c.want, got); d != "" || err != nil {
			t.Errorf("%s: %v %s", c.name, err, d)
		}
	}
}

func TestParseVersion(t *testing.T) {
	for s, want := range map[string]int{"252 (252.39-1~deb12u2)": 252, "257.8-1~deb13u2": 257, "v256": 256, "255": 255, "": 0, "rolling": 0} {
		if got, err := parseVersion(s); got != want || (err == nil) != (want > 0) {
			t.Errorf("%q: %d, %v", s, got, err)
		}
	}
}
