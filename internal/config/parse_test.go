package config_test

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"example.com/kpls-agent/internal/config"
)

var update = flag.Bool("update", false, "write the golden files")

// golden compares with a file, or writes it with -update.
func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s differs (-want +got; -update writes it):\n%s", path, diff)
	}
}

func files(t *testing.T, pattern string) []string {
	t.Helper()
	names, err := filepath.Glob(pattern)
	if err != nil || len(names) == 0 {
		t.Fatalf("no files match %s: %v", pattern, err)
	}
	return names
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func mustParse(t *testing.T, text string) *config.Manifest {
	t.Helper()
	m, err := config.ParseManifest("manifest.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestManifestFaults proves each rule with a file that breaks it and the exact
// message next to it.
func TestManifestFaults(t *testing.T) {
	for _, path := range files(t, "testdata/manifest/invalid/*/*.yaml") {
		t.Run(strings.TrimPrefix(path, "testdata/manifest/invalid/"), func(t *testing.T) {
			m, err := config.ParseManifest("manifest.yaml", read(t, path))
			var faults config.Faults
			if !errors.As(err, &faults) || m != nil {
				t.Fatalf("got %v, %v; want nil and Faults", m, err)
			}
			golden(t, strings.TrimSuffix(path, ".yaml")+".txt", err.Error()+"\n")
		})
	}
}

// TestManifestBytes are the files that an editor would spoil.
func TestManifestBytes(t *testing.T) {
	for name, test := range map[string]struct{ data, want string }{
		"BOM":           {"\xef\xbb\xbfversion: 1\n", "m.yaml:1:1: the file begins with a byte order mark; save it as UTF-8 without one"},
		"UTF-16":        {"\xff\xfev\x00", "m.yaml:1:1: the file is UTF-16; save it as UTF-8"},
		"not UTF-8":     {"version: 1\ncluster: caf\xe9\n", "m.yaml:2:13: the byte 0xe9 is not UTF-8; save the file as UTF-8"},
		"control":       {"version: 1\ncluster: a\x00b\n", "m.yaml:2:11: the control character 0x00 is not allowed; delete it"},
		"too large":     {strings.Repeat("#", config.MaxFileSize+1), "m.yaml: the file has more than 4 MiB; is it the right file?"},
		"empty":         {"", "m.yaml:1:1: the file is empty; expected at least `version` and `cluster`"},
		"only comments": {"# nothing\n\n---\n", "m.yaml:1:1: the file is empty; expected at least `version` and `cluster`"},
		"a secret":      {"version: *hunter2\n", "m.yaml:1:10: the file is not YAML: anchors and aliases are not supported; write the value out, in quotes if it begins with `*` or `&`"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := config.ParseManifest("m.yaml", []byte(test.data))
			if err == nil || err.Error() != test.want {
				t.Errorf("got  %v\nwant %s", err, test.want)
			}
		})
	}
}

func TestManifestValue(t *testing.T) {
	m := mustParse(t, string(read(t, "testdata/manifest/valid/azure.yaml")))
	want := &config.Manifest{
		Cluster: "kafka-pls",
		Listeners: []config.Listener{{
			Name: "EXTERNAL", BindHost: "0.0.0.0", BindPort: 39092, SecurityProtocol: "SASL_PLAINTEXT",
			Advertised: "<broker_id>.abc.eastus.azure.3199745.tidbcloud.com:<port>", ProbePort: 39192,
			Properties: map[string]string{
				"sasl.enabled.mechanisms":        "SCRAM-SHA-512",
				"scram-sha-512.sasl.jaas.config": "org.apache.kafka.common.security.scram.ScramLoginModule required;",
				"max.connections":                "500",
				"connections.max.reauth.ms":      "3600000",
			},
			DuringRestart: "hold", HoldLimit: time.Minute,
		}, {
			Name: "BOOTSTRAP", BindHost: "<host>", BindPort: 39093, SecurityProtocol: "SASL_PLAINTEXT",
			Advertised: "<broker_id>.abc.eastus.azure.3199745.tidbcloud.com:<port>", ProbePort: 39193,
			DuringRestart: "close", HoldLimit: time.Minute, Drain: 30 * time.Second,
		}},
		Brokers: []config.Broker{
			{ID: 1, Zone: "1", Host: "10.0.0.11", Ports: map[string]int{"EXTERNAL": 9093, "BOOTSTRAP": 9093}},
			{ID: 2, Zone: "2", Host: "10.0.0.12", Ports: map[string]int{"EXTERNAL": 9094, "BOOTSTRAP": 9094}},
			{ID: 3, Zone: "3", Host: "kafka-3.internal", Ports: map[string]int{"EXTERNAL": 9095, "BOOTSTRAP": 9095}},
		},
		Absent:       []string{"EXTERNAL2"},
		Rollout:      config.Rollout{MaxUnavailable: 1, Soak: 90 * time.Second, RefuseUnprotected: true, PendingEdits: "refuse_invalid"},
		LoadBalancer: config.LoadBalancer{HealthyThreshold: 3, Interval: 15 * time.Second},
		Hash:         m.Hash, Origin: m.Origin,
	}
	if diff := cmp.Diff(want, m); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if len(m.Hash) != 64 || strings.Trim(m.Hash, "0123456789abcdef") != "" {
		t.Errorf("hash %q", m.Hash)
	}
}

func TestManifestDefaults(t *testing.T) {
	m := mustParse(t, string(read(t, "testdata/manifest/valid/minimal.yaml")))
	l := m.Listeners[0]
	if l.DuringRestart != "hold" || l.HoldLimit != time.Minute || l.Drain != 10*time.Second || l.Properties != nil {
		t.Errorf("listener %+v", l)
	}
	if want := (config.Rollout{MaxUnavailable: 1, Soak: time.Minute, PendingEdits: "refuse_invalid"}); m.Rollout != want {
		t.Errorf("rollout %+v", m.Rollout)
	}
	if want := (config.LoadBalancer{HealthyThreshold: 2, Interval: 5 * time.Second}); m.LoadBalancer != want {
		t.Errorf("load balancer %+v", m.LoadBalancer)
	}
}

// many is a manifest of n brokers in three zones.
func many(n int) []byte {
	var b bytes.Buffer
	b.WriteString("version: 1\ncluster: big\nlisteners:\n  EXTERNAL:\n    bind: <host>:39092\n    security_protocol: PLAINTEXT\n    advertised: <broker_id>.abc.example.com:<port>\n    probe_port: 39192\nbrokers:\n")
	for i := range n {
		fmt.Fprintf(&b, "  %d: {ports: {EXTERNAL: %d}, zone: z%d, host: 10.0.%d.%d}\n", i, 9093+i, i%3, i/200, i%200+1)
	}
	return b.Bytes()
}

func TestManifestOf300Brokers(t *testing.T) {
	data := many(300)
	m := mustParse(t, string(data))
	if len(m.Brokers) != 300 {
		t.Fatalf("%d brokers", len(m.Brokers))
	}
	for id := range int32(300) {
		d, err := m.For(id)
		if err != nil {
			t.Fatal(err)
		}
		e := d.Endpoints[0]
		if e.AdvertisedPort != 9093+int(id) || e.AdvertisedHost != fmt.Sprintf("b%d.abc.example.com", id) {
			t.Fatalf("broker %d: %+v", id, e)
		}
	}
	// Every broker wrong: every one is named, and the summary stays one line.
	_, err := config.ParseManifest("m.yaml", bytes.ReplaceAll(data, []byte("ports: {EXTERNAL:"), []byte("port: {EXTERNAL:")))
	var faults config.Faults
	if !errors.As(err, &faults) || len(faults) != 300 {
		t.Fatalf("got %d faults", len(faults))
	}
	if want := `m.yaml:10:7: brokers.0.port: unknown field; did you mean "ports"? (and 299 more)`; faults.Summary() != want {
		t.Errorf("summary %q", faults.Summary())
	}
}

// TestFor resolves each listener of the valid files for each broker.
func TestFor(t *testing.T) {
	for _, path := range files(t, "testdata/manifest/valid/*.yaml") {
		t.Run(filepath.Base(path), func(t *testing.T) {
			m := mustParse(t, string(read(t, path)))
			ids := []int32{1, 2, 3, 7, 60000}
			var b strings.Builder
			for _, id := range ids {
				d, err := m.For(id)
				if err != nil {
					fmt.Fprintf(&b, "%d: error: %v\n", id, err)
					continue
				}
				for _, e := range d.Endpoints {
					fmt.Fprintf(&b, "%d: %s bind %q %d advertised %s %d %s probe %q %d %s %s %s\n", id, e.Name, e.BindHost, e.BindPort,
						e.AdvertisedHost, e.AdvertisedPort, e.SecurityProtocol, e.ProbeHost, e.ProbePort, e.DuringRestart, e.HoldLimit, e.Drain)
				}
				fmt.Fprintf(&b, "%d: absent %v\n", id, d.Absent)
			}
			fmt.Fprintf(&b, "needs table %v, zones %v\n", m.NeedsTable(), m.Zones())
			golden(t, strings.TrimSuffix(path, ".yaml")+".txt", b.String())
		})
	}
}

func TestForKeepsTheManifest(t *testing.T) {
	m := mustParse(t, string(read(t, "testdata/manifest/valid/azure.yaml")))
	d, err := m.For(1)
	if err != nil {
		t.Fatal(err)
	}
	maps.DeleteFunc(d.Endpoints[0].Properties, func(string, string) bool { return true })
	d.Absent[0] = "X"
	if len(m.Listeners[0].Properties) != 4 || m.Absent[0] != "EXTERNAL2" {
		t.Error("changing the result changes the manifest")
	}
}

func TestForNotInManifest(t *testing.T) {
	for ids, want := range map[string]string{
		"1 2 3":          "broker is not in the manifest: it lists 1-3, and not 9; check node.id in server.properties, or add a row `9:` under `brokers`",
		"1 2 5 10 11 12": "broker is not in the manifest: it lists 1, 2, 5, 10-12, and not 9; check node.id in server.properties, or add a row `9:` under `brokers`",
	} {
		text := "version: 1\ncluster: c\nlisteners:\n  E: {bind: :1, security_protocol: SSL, advertised: \"<broker_id>.x.io:<port>\", probe_port: 2}\nbrokers:\n"
		for _, id := range slices.Backward(strings.Fields(ids)) {
			text += fmt.Sprintf("  %s: {ports: {E: %s}}\n", id, id)
		}
		_, err := mustParse(t, text).For(9)
		if !errors.Is(err, config.ErrNotInManifest) || err.Error() != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	}
}

func TestCheckSuccession(t *testing.T) {
	base := string(read(t, "testdata/manifest/valid/azure.yaml"))
	previous := mustParse(t, base)
	gone := mustParse(t, string(read(t, "testdata/manifest/valid/minimal.yaml")))
	removed := mustParse(t, strings.Replace(string(read(t, "testdata/manifest/valid/minimal.yaml")), "brokers:", "absent: [BOOTSTRAP]\nbrokers:", 1))
	taken := func(port int, listener string, from, to int) string {
		return fmt.Sprintf("port %d of listener %s leads to broker %d, and this manifest gives it to broker %d; give broker %d a port that no broker has. "+
			"To take over the port of a broker that stays, move that broker to another port in an earlier manifest, and change the load balancer's rules", port, listener, from, to, to)
	}
	swap := func(s, a, b string) string { return strings.NewReplacer(a, b, b, a).Replace(s) }
	other := mustParse(t, strings.Replace(base, "cluster: kafka-pls", "cluster: other", 1))
	for _, test := range []struct {
		name           string
		previous, next *config.Manifest
		want           string
	}{
		{"the first", nil, previous, ""},
		{"the same", previous, previous, ""},
		{"one more", gone, previous, ""},
		{"no longer absent", previous, mustParse(t, strings.Replace(base, "absent: [external2]\n", "", 1)), ""},
		{"moved to absent", previous, removed, ""},
		{"vanished", previous, gone, "listener BOOTSTRAP has vanished from the manifest, and its clients would be cut off; restore it, or list it under `absent` to remove it"},
		{
			"ports swapped", previous, mustParse(t, swap(base, "9093", "9094")),
			strings.Join([]string{taken(9094, "EXTERNAL", 2, 1), taken(9093, "EXTERNAL", 1, 2), taken(9094, "BOOTSTRAP", 2, 1), taken(9093, "BOOTSTRAP", 1, 2)}, "\n"),
		},
		{
			"a port of another broker, which moves away", previous, mustParse(t, strings.ReplaceAll(strings.ReplaceAll(base, "9094", "9199"), "9093", "9094")),
			taken(9094, "EXTERNAL", 2, 1) + "\n" + taken(9094, "BOOTSTRAP", 2, 1),
		},
		{"a port of nobody's", previous, mustParse(t, strings.ReplaceAll(base, "9094", "9199")), ""},
		{"a port of a broker that goes", previous, mustParse(t, strings.ReplaceAll(base, "  3: {", "  4: {")), ""},
		{"another cluster", previous, other, `the manifest is for cluster "other", and this agent serves cluster "kafka-pls"; put the right file here`},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := config.CheckSuccession(test.previous, test.next)
			if got := fmt.Sprint(err); err == nil && test.want != "" || err != nil && got != test.want {
				t.Errorf("got  %v\nwant %s", err, test.want)
			}
		})
	}
}

func TestMoves(t *testing.T) {
	base := string(read(t, "testdata/manifest/valid/azure.yaml"))
	previous := mustParse(t, base)
	if got := config.Moves(previous, previous); got != nil {
		t.Errorf("the same manifest moves %q", got)
	}
	want := []string{"the probe port of EXTERNAL moves from 39192 to 39292 on each VM as soon as that VM has this manifest; " +
		"both are answered until a probe comes to 39292: point the load balancer's check there"}
	if got := config.Moves(previous, mustParse(t, strings.Replace(base, "39192", "39292", 1))); !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
	if got := config.Moves(mustParse(t, string(read(t, "testdata/manifest/valid/minimal.yaml"))), previous); got != nil {
		t.Errorf("a listener that comes moves %q", got)
	}
}

// FuzzParseManifest: nothing panics, faults have a place inside the file, and
// what parses also resolves for each broker of its table.
func FuzzParseManifest(f *testing.F) {
	for _, pattern := range []string{"valid/*.yaml", "invalid/*/*.yaml"} {
		paths, err := filepath.Glob("testdata/manifest/" + pattern)
		if err != nil {
			f.Fatal(err)
		}
		for _, path := range paths {
			data, err := os.ReadFile(path)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := config.ParseManifest("m", data)
		if err != nil {
			var faults config.Faults
			if !errors.As(err, &faults) || m != nil {
				t.Fatalf("%v, %v", m, err)
			}
			for _, one := range faults {
				if one.Line > bytes.Count(data, []byte("\n"))+strings.Count(string(data), "\r")+strings.Count(string(data), "\u0085")+strings.Count(string(data), "\u2028")+strings.Count(string(data), "\u2029")+2 || one.Text == "" {
					t.Fatalf("fault %+v", one)
				}
			}
			return
		}
		if err := config.CheckSuccession(m, m); err != nil {
			t.Fatal(err)
		}
		for _, row := range m.Brokers {
			if _, err := m.For(row.ID); err != nil {
				t.Fatalf("broker %d: %v", row.ID, err)
			}
		}
	})
}
