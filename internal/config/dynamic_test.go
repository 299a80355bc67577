package config

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// setting makes the settings of one property, from words such as "broker=4".
func settings(name string, words ...string) (out []Setting) {
	sources := map[string]Source{"broker": SourceDynamicBroker, "all": SourceDynamicDefault, "file": SourceStatic, "kafka": SourceDefault}
	for _, w := range words {
		from, value, _ := strings.Cut(w, "=")
		out = append(out, Setting{Name: name, Source: sources[from], Value: value})
	}
	return out
}

func TestDropped(t *testing.T) {
	for _, c := range []struct {
		name  string
		value RunningValue
		want  []DroppedSetting
	}{
		{"in force", RunningValue{Value: "4", Type: "INT", Settings: settings("x", "all=4", "file=2")}, nil},
		{
			"not in force",
			RunningValue{Value: "2", Type: "INT", Settings: settings("x", "all=4", "file=2")},
			[]DroppedSetting{{"x", "default", "4", "2"}},
		},
		{
			"of this broker",
			RunningValue{Value: "2", Type: "INT", Settings: settings("x", "broker=5", "all=4")},
			[]DroppedSetting{{"x", "broker", "5", "2"}},
		},
		{
			"the broker's own wins",
			RunningValue{Value: "5", Type: "INT", Settings: settings("x", "broker=5", "all=4")},
			nil,
		},
		{"only the file", RunningValue{Value: "3", Type: "INT", Settings: settings("x", "file=03 ")}, nil},
		{
			"a number written otherwise",
			RunningValue{Value: "1073741824", Type: "LONG", Settings: settings("x", "all=+1073741824")},
			nil,
		},
		{
			"blanks",
			RunningValue{Value: "delete,compact", Type: "LIST", Settings: settings("x", "all=delete , compact")},
			nil,
		},
		{
			"another order is another list",
			RunningValue{Value: "a,b", Type: "LIST", Settings: settings("x", "all=b,a")},
			[]DroppedSetting{{"x", "default", "b,a", "a,b"}},
		},
		{"TRUE", RunningValue{Value: "true", Type: "BOOLEAN", Settings: settings("x", "all=TRUE")}, nil},
		{".50", RunningValue{Value: "0.5", Type: "DOUBLE", Settings: settings("x", "broker=.50")}, nil},
		{
			"a string is taken to the letter",
			RunningValue{Value: "gzip", Type: "STRING", Settings: settings("x", "all=GZIP")},
			[]DroppedSetting{{"x", "default", "GZIP", "gzip"}},
		},
		{"a config provider", RunningValue{Value: "7", Type: "INT", Settings: settings("x", "all=${env:X}")}, nil},
		{
			"a secret",
			RunningValue{Hidden: true, Type: "PASSWORD", Settings: []Setting{{Name: "x", Source: SourceDynamicBroker, Secret: true}}},
			nil,
		},
		{"another name", RunningValue{Value: "3", Type: "INT", Settings: settings("y", "all=4")}, nil},
	} {
		if d := cmp.Diff(c.want, Dropped(map[string]RunningValue{"x": c.value})); d != "" {
			t.Errorf("%s: %s", c.name, d)
		}
	}
}

// Of log.retention.ms and log.retention.minutes Kafka puts only one in force.
func TestDroppedBesideItsKin(t *testing.T) {
	entries := map[string]RunningValue{
		"log.retention.ms":      {Value: "7200000", Type: "LONG", Settings: settings("log.retention.ms", "broker=7200000")},
		"log.retention.minutes": {Type: "INT", Settings: settings("log.retention.minutes", "all=60")},
	}
	if got := Dropped(entries); got != nil {
		t.Errorf("%+v", got)
	}
}

func TestDropsAhead(t *testing.T) {
	const io, net, ours = "num.io.threads", "num.network.threads", "listener.name.external.num.network.threads"
	for _, c := range []struct {
		name, file string
		entries    map[string][]Setting
		want       []DropAhead
	}{
		{"nothing dynamic", "num.io.threads=2", map[string][]Setting{io: settings(io, "file=2", "kafka=8")}, nil},
		{"doubled once", "num.io.threads=2", map[string][]Setting{io: settings(io, "all=4", "file=2", "kafka=8")}, nil},
		{
			"doubled twice", "num.io.threads=2",
			map[string][]Setting{io: settings(io, "all=8", "file=2", "kafka=8")},
			[]DropAhead{{io, "default", "8", "2", io + "=8"}},
		},
		{
			"doubled twice, the file has followed", "num.io.threads=4",
			map[string][]Setting{io: settings(io, "all=8", "file=2", "kafka=8")},
			nil,
		},
		{
			"the file went away from it", "num.io.threads=3",
			map[string][]Setting{io: settings(io, "all=8", "file=4", "kafka=8")},
			[]DropAhead{{io, "default", "8", "3", io + "=8"}},
		},
		{
			"no line in the file", "",
			map[string][]Setting{io: settings(io, "all=32", "kafka=8")},
			[]DropAhead{{io, "default", "32", "8", io + "=32"}},
		},
		{"within, no line", "", map[string][]Setting{io: settings(io, "all=16", "kafka=8")}, nil},
		{"half, rounded down", "num.io.threads=5", map[string][]Setting{io: settings(io, "broker=2", "kafka=8")}, nil},
		{
			"less than half", "num.io.threads=8",
			map[string][]Setting{io: settings(io, "broker=3", "kafka=8")},
			[]DropAhead{{io, "broker", "3", "8", io + "=3"}},
		},
		{
			"the broker's own counts", "num.io.threads=8",
			map[string][]Setting{io: settings(io, "broker=8", "all=64", "kafka=8")},
			nil,
		},
		{
			"over the cluster's default", "num.io.threads=8",
			map[string][]Setting{io: settings(io, "broker=32", "all=16", "kafka=8")},
			[]DropAhead{{io, "broker", "32", "8", io + "=32"}},
		},
		{
			"the default leads away from the broker's own", "num.io.threads=8",
			map[string][]Setting{io: settings(io, "broker=16", "all=4", "kafka=8")},
			[]DropAhead{{io, "broker", "16", "8", io + "=16"}},
		},
		{
			"two levels that need a third value", "num.io.threads=5",
			map[string][]Setting{io: settings(io, "broker=5", "all=2", "kafka=8")},
			[]DropAhead{{io, "broker", "5", "5", io + "=6"}},
		},
		{
			"written oddly", "num.io.threads = \\\n 04 ",
			map[string][]Setting{io: settings(io, "all=8", "file=04 ", "kafka=8")},
			nil,
		},
		{
			"no number in the file", "num.io.threads=4 # four",
			map[string][]Setting{io: settings(io, "all=8", "file=2", "kafka=8")},
			nil,
		},
		{
			"a config provider", "num.io.threads=${env:N}",
			map[string][]Setting{io: settings(io, "all=8", "file=2", "kafka=8")},
			[]DropAhead{{io, "default", "8", "2", io + "=8"}},
		},
		{
			"cleaners", "",
			map[string][]Setting{"log.cleaner.threads": settings("log.cleaner.threads", "all=4", "kafka=1")},
			[]DropAhead{{"log.cleaner.threads", "default", "4", "1", "log.cleaner.threads=4"}},
		},
		{
			"no thread count", "",
			map[string][]Setting{"message.max.bytes": settings("message.max.bytes", "all=99", "kafka=1")},
			nil,
		},
		{
			"of a listener, next to the file's for all", "num.network.threads=3",
			map[string][]Setting{ours: settings(ours, "broker=12"), net: settings(net, "file=3", "kafka=3")},
			[]DropAhead{{ours, "broker", "12", "3", ours + "=12"}},
		},
		{
			"of a listener, within the file's own", "listener.name.external.num.network.threads=6",
			map[string][]Setting{ours: settings(ours, "broker=12", "file=6"), net: settings(net, "kafka=3")},
			nil,
		},
	} {
		entries := map[string]RunningValue{}
		for name, s := range c.entries {
			entries[name] = RunningValue{Type: "INT", Settings: s}
		}
		file, err := ReadProperties("server.properties", []byte(c.file))
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(c.want, DropsAhead(entries, file)); d != "" {
			t.Errorf("%s: %s", c.name, d)
		}
	}
}
