package config

import (
	"strings"
	"testing"
)

func TestParseVersion(t *testing.T) {
	for in, want := range map[string]Version{
		"": {}, "3.7.1": {3, 7, 1}, "3.9": {3, 9, -1}, "3.7.1-ccs": {3, 7, 1}, "4.1.0+x": {4, 1, 0}, "7.0.0": {7, 0, 0},
	} {
		if got, err := ParseVersion(in); err != nil || got != want {
			t.Errorf("%q: %v, %v", in, got, err)
		}
	}
	for _, in := range []string{"3", "x", "3.x", "3.2.9", "2.8.1", "3.7.x", "-3.7", "3.-7"} {
		if got, err := ParseVersion(in); err == nil {
			t.Errorf("%q: %v", in, got)
		}
	}
	for v, want := range map[Version]string{{}: "an unknown version", {3, 9, -1}: "3.9", {4, 1, 0}: "4.1.0"} {
		if v.String() != want {
			t.Errorf("%s, want %s", v, want)
		}
	}
}

// TestRulesByVersion: what depends on the version, and what an unknown one means.
// Kafka itself was seen to agree at 3.3.2, 3.5.1, 3.7.1, 3.9.0, 3.9.1, 4.1.1 and 4.2.0.
func TestRulesByVersion(t *testing.T) {
	const lists = "listeners=PLAINTEXT://:9092,CONTROLLER://:29092\n"
	for _, tt := range []struct {
		name, file string
		want       map[string]string // version -> rule
	}{
		{
			"an empty item", kraftHead + strings.TrimSuffix(lists, "\n") + ",\n",
			map[string]string{"3.3.0": "", "4.1.1": "", "4.2.0": "S2", "": "S2"},
		},
		{
			"an empty item in another list", strings.Replace(reference, "0.0.0.0:29092", "h:29092", 1) + "early.start.listeners=CONTROLLER,\n",
			map[string]string{"3.3.0": "", "4.1.1": "", "4.2.0": "S2", "4.3": "S2", "": "S2"},
		},
		{
			"an empty item in a list of a listener's own", strings.Replace(reference, "0.0.0.0:29092", "h:29092", 1) + "listener.name.internal.sasl.enabled.mechanisms=PLAIN,,SCRAM-SHA-256\n",
			map[string]string{"3.3.0": "", "4.1.1": "", "4.2.0": "S2", "4.4.0": "S2", "": "S2"},
		},
		{
			"a port for two families", zkHead + "listeners=PLAINTEXT://127.0.0.1:1,SSL://[::1]:1\nadvertised.listeners=PLAINTEXT://h:1\n",
			map[string]string{"3.5.2": "R2", "3.6.0": "", "4.0.0": "R21", "": "R2"},
		},
		{
			"an advertised controller", kraftHead + lists + "advertised.listeners=PLAINTEXT://h:1,CONTROLLER://h:2\n",
			map[string]string{"3.8.1": "R10", "3.9.0": "", "3.9": "", "4.2.0": "", "": "R10"},
		},
		{
			"a controller on 0.0.0.0", reference,
			map[string]string{"3.8.1": "", "3.9.0": "R12", "3.9": "", "3.9.1": "", "": ""},
		},
		{
			"blanks in the controllers' names", strings.Replace(kraftHead, "=CONTROLLER", "=CONTROLLER, C", 1) + "listeners=PLAINTEXT://:9092,CONTROLLER://:1,C://:2\n",
			map[string]string{"4.0.0": "S9", "4.1.0": "", "": "S9"},
		},
		{
			"a dynamic quorum", "process.roles=broker\nnode.id=1\ncontroller.listener.names=CONTROLLER\ncontroller.quorum.bootstrap.servers=h:1\n",
			map[string]string{"3.8.1": "R20", "3.9.0": "", "": ""},
		},
		{"ZooKeeper", zkHead, map[string]string{"3.3.0": "", "3.9.2": "", "4.0.0": "R21", "": ""}},
		{
			"a control plane with roles", brokerHead + "control.plane.listener.name=X\n",
			map[string]string{"3.9.1": "R21", "4.0.0": "", "": "R21"},
		},
	} {
		for version, want := range tt.want {
			v, err := ParseVersion(version)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := render(tt.file, Desired{}, v); ruleOf(err) != want {
				t.Errorf("%s with %s: %v, want rule %q", tt.name, v, err, want)
			}
		}
	}
}
