package config

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// describe answers as a broker would that runs a file.
func describe(t *testing.T, file []byte) map[string]RunningValue {
	t.Helper()
	p, err := readProperties("f", file)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]RunningValue{
		keyListeners: {Value: defaultListeners}, keyAdvertised: {}, keyRoles: {},
		keyProtocolMap: {Value: "SASL_SSL:SASL_SSL,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT"},
	}
	for key := range p.last {
		value, _ := p.get(key)
		_, base, scoped := strings.Cut(strings.TrimPrefix(key, prefixListener), ".")
		if strings.HasPrefix(key, prefixListener) && scoped && !shownByBroker(base) {
			out[key] = RunningValue{Hidden: true}
			continue
		}
		out[key] = RunningValue{Value: value}
	}
	return out
}

// TestFingerprintsAgree: a process that runs what Render wrote has the
// fingerprints of what was desired, whatever the file looks like.
func TestFingerprintsAgree(t *testing.T) {
	compared := 0
	for seed := range uint64(600) {
		file, desired := newGenerator(seed).file()
		r, err := Render(RenderInput{Path: "f", File: file, BrokerID: 1, Desired: desired, Version: v371})
		if err != nil {
			continue
		}
		running, err := RunningFingerprints(describe(t, r.File))
		if err != nil {
			t.Fatalf("%v\n%q", err, r.File)
		}
		if len(running) != len(r.Listeners) {
			t.Fatalf("%d listeners run, %d are in the file: %q", len(running), len(r.Listeners), r.File)
		}
		for name, want := range desired.Fingerprints() {
			compared++
			if running[name] != want {
				t.Fatalf("%s runs\n%s, desired\n%s\n%q", name, running[name], want, r.File)
			}
		}
		// And the other way round: where they agree before, Render leaves the lists alone.
		before, err := RunningFingerprints(describe(t, file))
		if err != nil {
			continue
		}
		for _, e := range desired.Endpoints {
			if agrees := before[e.Name] == desired.Fingerprints()[e.Name]; agrees && strings.Contains(r.Diff, "+listeners") && len(desired.names()) == 1 {
				t.Fatalf("%s runs as desired, and yet:\n%s", e.Name, r.Diff)
			}
		}
	}
	if compared < 200 {
		t.Errorf("only %d fingerprints compared", compared)
	}
}

func TestFingerprints(t *testing.T) {
	d := external()
	d.Endpoints[0].Properties = map[string]string{
		"sasl.enabled.mechanisms": "PLAIN, SCRAM-SHA-512 ", "plain.sasl.jaas.config": "geheim;", "max.connections": "7", "ssl.allow.dn.changes": "true",
	}
	want := map[string]string{
		"EXTERNAL": `0.0.0.0:39092 advertised b1.abc.eastus.azure.3199745.tidbcloud.com:9093 PLAINTEXT max.connections=7 plain.sasl.jaas.config=hidden sasl.enabled.mechanisms="PLAIN, SCRAM-SHA-512" ssl.allow.dn.changes=hidden`,
	}
	if diff := cmp.Diff(want, d.Fingerprints()); diff != "" {
		t.Error(diff)
	}
	running, err := RunningFingerprints(map[string]RunningValue{
		// As 4.2 and later answer: lists joined with bare commas.
		keyListeners:                             {Value: "INTERNAL://:9092,external://[::1]:39092,CONTROLLER://0.0.0.0:29092"},
		keyAdvertised:                            {Value: "INTERNAL://h:9092,EXTERNAL://b1:09093"},
		keyProtocolMap:                           {Value: "INTERNAL:sasl_ssl,EXTERNAL:PLAINTEXT"},
		keyControllerNames:                       {Value: "CONTROLLER"},
		keyRoles:                                 {Value: "broker,controller"},
		"max.connections":                        {Value: "5"}, // the base value is no listener's own
		"ssl.client.auth":                        {Value: "none"},
		"listener.name.other":                    {Value: "x"},
		"listener.name.external.max.connections": {Value: " 7 "},
		"listener.name.external.plain.sasl.jaas.config": {Hidden: true},
		// A newer broker may know and show what an older one hides.
		"listener.name.external.ssl.allow.dn.changes": {Value: "true"},
		"listener.name.internal.sasl.jaas.config":     {Hidden: true},
	})
	if err != nil {
		t.Fatal(err)
	}
	want = map[string]string{
		"INTERNAL":   "0.0.0.0:9092 advertised h:9092 SASL_SSL sasl.jaas.config=hidden",
		"EXTERNAL":   "[::1]:39092 advertised b1:9093 PLAINTEXT max.connections=7 plain.sasl.jaas.config=hidden ssl.allow.dn.changes=hidden",
		"CONTROLLER": "0.0.0.0:29092 not advertised PLAINTEXT",
	}
	if diff := cmp.Diff(want, running); diff != "" {
		t.Error(diff)
	}
}

func TestRunningFingerprintsRefuse(t *testing.T) {
	for name, entries := range map[string]map[string]RunningValue{
		"nothing":     {},
		"no list":     {keyListeners: {}},
		"no protocol": {keyListeners: {Value: "A://:1"}, keyProtocolMap: {Value: "B:SSL"}},
		"nonsense":    {keyListeners: {Value: "A"}},
	} {
		if got, err := RunningFingerprints(entries); err == nil {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestRunningFacts(t *testing.T) {
	d := external()
	d.Endpoints[0].Properties = map[string]string{"max.connections": "7", "ssl.keystore.password": "x", "num.network.threads": "2"}
	got := DynamicOverrides(map[string]RunningValue{
		keyListeners:                                   {Value: "x", Dynamic: true},
		keyAdvertised:                                  {Value: "x"},
		keyProtocolMap:                                 {Value: "x", Dynamic: true},
		"max.connections":                              {Value: "5", Dynamic: true},
		"listener.name.internal.max.connections":       {Value: "5", Dynamic: true},
		"listener.name.external.max.connections":       {Value: "8", Dynamic: true},
		"listener.name.external.num.network.threads":   {Value: "2", Dynamic: true},
		"listener.name.external.ssl.keystore.password": {Hidden: true, Dynamic: true},
		"listener.name.external.ssl.keystore.type":     {Value: "JKS", Dynamic: true},
	}, d)
	want := []string{keyListeners, keyProtocolMap, "listener.name.external.max.connections", "listener.name.external.ssl.keystore.type"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
