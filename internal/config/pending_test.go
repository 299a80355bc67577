package config

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// process makes what a broker says that was started with a file.
func process(t *testing.T, file string) map[string]RunningValue {
	t.Helper()
	p, err := ReadProperties("server.properties", []byte(file))
	if err != nil {
		t.Fatal(err)
	}
	entries := map[string]RunningValue{}
	v := Version{3, 7, 1}
	for name := range p.file.last {
		value, _ := p.Get(name)
		kind := "UNKNOWN"
		if list := kinds(baseName(name), v); len(list) > 0 {
			kind = list[0].kind
		}
		secret := secretProperty(baseName(name), v)
		s := Setting{Name: name, Source: SourceStatic, Value: value, Secret: secret}
		if secret {
			s.Value = ""
		}
		entries[name] = RunningValue{Value: s.Value, Hidden: secret, Type: kind, Settings: []Setting{s}}
	}
	return entries
}

func TestPending(t *testing.T) {
	const head = "process.roles=broker,controller\nnode.id=1\ncontroller.listener.names=CONTROLLER\ncontroller.quorum.voters=1@h:2\ninter.broker.listener.name=INTERNAL\n" +
		"listeners=INTERNAL://h:9092,CONTROLLER://h:2\nadvertised.listeners=INTERNAL://h:9092\nlistener.security.protocol.map=INTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT\n"
	const withExternal = "process.roles=broker,controller\nnode.id=1\ncontroller.listener.names=CONTROLLER\ncontroller.quorum.voters=1@h:2\ninter.broker.listener.name=INTERNAL\n" +
		"listeners=INTERNAL://h:9092,CONTROLLER://h:2,EXTERNAL://:39092\nadvertised.listeners=INTERNAL://h:9092,EXTERNAL://b1.x:9093\nlistener.security.protocol.map=INTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT,EXTERNAL:PLAINTEXT\n"
	desired := external()
	for _, c := range []struct {
		name, started, file string
		want                []PendingEdit
	}{
		{"nothing", head, head, nil},
		{"the manifest's listener", head, withExternal, nil},
		{"the manifest's listener, the process has it", withExternal, head, nil},
		{
			"the manifest's listener's own", withExternal,
			withExternal + "listener.name.external.ssl.keystore.location=/x\n", nil,
		},
		{
			"written otherwise",
			head + "num.io.threads=8\nlog.cleanup.policy=delete,compact\nlog.cleaner.enable=true\n",
			head + "num.io.threads : 08 \nlog.cleanup.policy=delete ,\\\n  compact\nlog.cleaner.enable=TRUE\n", nil,
		},
		{
			"another order, and a comment", head + "num.io.threads=8\nnum.network.threads=4\n",
			"# moved\nnum.network.threads=4\n" + head + "num.io.threads=8\n", nil,
		},
		{
			"given twice, the last counts", head + "num.io.threads=8\n", head + "num.io.threads=4\nnum.io.threads=8\n",
			nil,
		},
		{
			"changed", head + "num.io.threads=8\n", head + "num.io.threads=16\n",
			[]PendingEdit{{Name: "num.io.threads", Running: "8", File: "16"}},
		},
		{"added", head, head + "num.io.threads=16\n", []PendingEdit{{Name: "num.io.threads", File: "16"}}},
		{"gone", head + "num.io.threads=16\n", head, []PendingEdit{{Name: "num.io.threads", Running: "16"}}},
		{
			"Kafka would not start", head + "num.io.threads=8\n", head + "num.io.threads=8 # tuned\n",
			[]PendingEdit{{Name: "num.io.threads", Running: "8", File: "8 # tuned", Invalid: "it is not a number of type INT"}},
		},
		{
			"a new word that is none", head, head + "auto.create.topics.enable=maybe\n",
			[]PendingEdit{{Name: "auto.create.topics.enable", File: "maybe", Invalid: "it is neither true nor false"}},
		},
		{"a config provider", head + "num.io.threads=8\n", head + "num.io.threads=${env:THREADS}\n", nil},
		{"a secret that is there", head + "ssl.keystore.password=a\n", head + "ssl.keystore.password=b\n", nil},
		{
			"a secret that is new", head, head + "ssl.keystore.password=hunter2\n",
			[]PendingEdit{{Name: "ssl.keystore.password", File: secretValue}},
		},
		{
			"a secret of a listener that is gone", head + "listener.name.internal.ssl.keystore.password=hunter2\n",
			head,
			[]PendingEdit{{Name: "listener.name.internal.ssl.keystore.password", Running: secretValue}},
		},
		{
			"JAAS of a mechanism", head,
			head + "listener.name.internal.plain.sasl.jaas.config=x password=\"hunter2\";\n",
			[]PendingEdit{{Name: "listener.name.internal.plain.sasl.jaas.config", File: secretValue}},
		},
		{"unknown to Kafka, there", head + "my.own=a\n", head + "my.own=b\n", nil},
		{"unknown to Kafka, new", head, head + "my.own=hunter2\n", []PendingEdit{{Name: "my.own", File: secretValue}}},
		{
			"another listener moved", head, "process.roles=broker,controller\nnode.id=1\ncontroller.listener.names=CONTROLLER\ncontroller.quorum.voters=1@h:2\ninter.broker.listener.name=INTERNAL\n" +
				"listeners=INTERNAL://h:9099,CONTROLLER://h:2\nadvertised.listeners=INTERNAL://h:9099\nlistener.security.protocol.map=INTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT\n",
			[]PendingEdit{{Name: "listener INTERNAL", Running: "INTERNAL://h:9092 PLAINTEXT advertised h:9092", File: "INTERNAL://h:9099 PLAINTEXT advertised h:9099"}},
		},
		{"the other name of the id", head, head + "broker.id=1\n", nil},
	} {
		file, err := ReadProperties("server.properties", []byte(c.file))
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(c.want, Pending(process(t, c.started), file, desired, Version{3, 7, 1})); d != "" {
			t.Errorf("%s: %s", c.name, d)
		}
	}
}

// TestPendingUnderOverrides: what the command line has counts in place of the file's line, now and at
// the next start.
// That a broker calls an --override the STATIC value of the name, and tells nothing of the file's line,
// was seen on Kafka 3.7.1 and 4.4.0.
func TestPendingUnderOverrides(t *testing.T) {
	const head = "process.roles=broker\nnode.id=1\n"
	v, desired := Version{3, 7, 1}, external()
	for _, c := range []struct {
		name, started, file string
		overrides           map[string]string
		want, hidden        []PendingEdit
	}{
		{"not in the file", head + "num.io.threads=8\n", head, map[string]string{"num.io.threads": "8"}, nil, nil},
		{"the same in the file", head + "num.io.threads=8\n", head + "num.io.threads=08\n", map[string]string{"num.io.threads": "8"}, nil, nil},
		{
			"another one in the file", head + "num.io.threads=8\n", head + "num.io.threads=16 # tuned\n",
			map[string]string{"num.io.threads": "8"},
			nil,
			[]PendingEdit{{Name: "num.io.threads", Running: "8", File: "16 # tuned"}},
		},
		{
			"changed on the command line", head + "num.io.threads=8\n", head + "num.io.threads=8\n",
			map[string]string{"num.io.threads": "many"},
			[]PendingEdit{{Name: "num.io.threads", Running: "8", File: "many", Invalid: "it is not a number of type INT", Override: true}},
			[]PendingEdit{{Name: "num.io.threads", Running: "many", File: "8"}},
		},
		{
			"removed from the command line", head + "num.io.threads=8\n", head + "num.io.threads=16\n",
			map[string]string{},
			[]PendingEdit{{Name: "num.io.threads", Running: "8", File: "16"}},
			nil,
		},
		{
			"a secret", head + "ssl.key.password=a\n", head + "ssl.key.password=b\n",
			map[string]string{"ssl.key.password": "a"},
			nil,
			[]PendingEdit{{Name: "ssl.key.password", Running: secretValue, File: secretValue}},
		},
		{"the manifest's own", head + "listeners=A://:1\n", head + "listeners=A://:2\n", map[string]string{"listeners": "A://:1"}, nil, nil},
	} {
		file, err := ReadProperties("server.properties", []byte(c.file))
		if err != nil {
			t.Fatal(err)
		}
		entries := process(t, c.started)
		edits := Pending(entries, file.Under(c.overrides), desired, v)
		if d := cmp.Diff(c.want, edits); d != "" {
			t.Errorf("%s: %s", c.name, d)
		}
		if d := cmp.Diff(c.hidden, Hidden(entries, file, c.overrides, desired, v)); d != "" {
			t.Errorf("%s, hidden: %s", c.name, d)
		}
		if back, err := TakeBack(file, edits); err != nil || string(back) != c.file {
			t.Errorf("%s: taken back: %q, %v", c.name, back, err)
		}
	}
	file, err := ReadProperties("server.properties", []byte(head))
	if err != nil {
		t.Fatal(err)
	}
	entries := process(t, head+"num.io.threads=8\n")
	e := entries["num.io.threads"]
	e.Settings = append(e.Settings, Setting{Name: "num.io.threads", Source: SourceDynamicDefault, Value: "16"}, Setting{Name: "num.io.threads", Source: SourceDefault, Value: "2"})
	entries["num.io.threads"] = e
	if DropsAhead(entries, file) == nil || DropsAhead(entries, file.Under(map[string]string{"num.io.threads": "8"})) != nil {
		t.Error("the start takes its thread count from the command line")
	}
}

func TestTakeBack(t *testing.T) {
	started := "a=1\nnum.io.threads=8\nlog.cleaner.enable=true\n"
	for _, c := range []struct{ name, file, want string }{
		{"nothing to take back", started + "num.network.threads=4\n", started + "num.network.threads=4\n"},
		{
			"one line, the others' edits stay",
			"a=1\nnum.io.threads=8 # tuned\nlog.cleaner.enable=true\nnum.network.threads=4\n",
			started + "num.network.threads=4\n",
		},
		{
			"a line that was not there", started + "auto.create.topics.enable=maybe\nnum.network.threads=4\n",
			started + "num.network.threads=4\n",
		},
		{
			"the last of two lines counts", "num.io.threads=8\n" + started + "num.io.threads=x\n",
			"num.io.threads=8\n" + started + "num.io.threads=8\n",
		},
		{"a continued line", "a=1\nnum.io.threads=8 \\\n  # tuned\nlog.cleaner.enable=true\n", started},
	} {
		file, err := ReadProperties("server.properties", []byte(c.file))
		if err != nil {
			t.Fatal(err)
		}
		v := Version{3, 7, 1}
		got, err := TakeBack(file, Pending(process(t, started), file, Desired{}, v))
		if err != nil || string(got) != c.want {
			t.Errorf("%s: %v, got\n%s\nwant\n%s", c.name, err, got, c.want)
		}
		again, err := ReadProperties("server.properties", got)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range Pending(process(t, started), again, Desired{}, v) {
			if e.Invalid != "" {
				t.Errorf("%s: still there: %+v", c.name, e)
			}
		}
	}
}
