package config

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const backoff = "replica.fetch.backoff.ms"

// TestBrokerProperties: lines of the agent's come, change and go; those of somebody else stay.
func TestBrokerProperties(t *testing.T) {
	own := func(value string) string { return ownMark + "\n" + backoff + "=" + value + "\n" }
	for _, tt := range []struct {
		name, file, want string // what follows the reference
		asked            string // "" is not in the manifest
		has              string // of the new file, by lines of the agent's
		hidden           bool
		warning          string
	}{
		{name: "neither", file: "a=b\n", want: "a=b\n"},
		{name: "comes", file: "a=b\n", asked: "50", want: "a=b\n" + own("50"), has: "50"},
		{name: "comes after a last line without an end", file: "a=b", asked: "50", want: "a=b\n" + own("50"), has: "50"},
		{name: "comes to a file of DOS", file: "a=b\r\n", asked: "50", want: "a=b\n" + own("50"), has: "50"},
		{name: "is there", file: own("50") + "a=b\n", asked: "50", want: own("50") + "a=b\n", has: "50"},
		{name: "is there in another spelling", file: own(" 050 "), asked: "50", want: own(" 050 "), has: "50"},
		{name: "changes", file: own("50") + "a=b\n", asked: "20", want: own("20") + "a=b\n", has: "20"},
		{name: "changes in a spelling that cannot be edited in place", file: ownMark + "\n" + backoff + " \\\n 50\na=b\n", asked: "20", want: own("20") + "a=b\n", has: "20"},
		{name: "was changed by hand", file: own("1000"), asked: "50", want: own("50"), has: "50"},
		{name: "goes", file: "# mine\n" + own("50") + "a=b\n", want: "# mine\na=b\n", hidden: true},
		{name: "goes from two places", file: own("50") + "a=b\n" + own("20"), want: "a=b\n", hidden: true},
		{name: "somebody else's", file: backoff + "=700\n", want: backoff + "=700\n"},
		{name: "somebody else's with the same value", file: backoff + "=50\n", asked: "50", want: backoff + "=50\n"},
		{
			name: "somebody else's with another value", file: backoff + "=700\n", asked: "50", want: backoff + "=700\n",
			warning: "server.properties:LINE: replica.fetch.backoff.ms=700 is somebody else's line, so it stays; the manifest's " +
				"broker_properties asks for 50 and has no effect; delete this line, or the name in broker_properties",
		},
		{name: "somebody else's before the agent's", file: backoff + "=700\n" + own("50"), asked: "20", want: backoff + "=700\n" + own("20"), has: "20"},
		{
			name: "somebody else's after the agent's", file: own("50") + backoff + "=700\n", asked: "50", want: own("50") + backoff + "=700\n",
			warning: "server.properties:LINE: replica.fetch.backoff.ms=700 is somebody else's line, so it stays; the manifest's " +
				"broker_properties asks for 50 and has no effect; delete this line, or the name in broker_properties",
		},
		{name: "goes, somebody else's stays", file: own("50") + backoff + "=700\n", want: backoff + "=700\n", hidden: true},
		{name: "the mark is not next to it", file: ownMark + "\n\n" + backoff + "=50\n", want: ownMark + "\n\n" + backoff + "=50\n"},
		{name: "the mark is another line's", file: ownMark + "\na=b\n" + backoff + "=50\n", want: ownMark + "\na=b\n" + backoff + "=50\n"},
		{name: "the mark is a part of a value", file: "a=\\\n" + ownMark + "\n" + backoff + "=50\n", want: "a=\\\n" + ownMark + "\n" + backoff + "=50\n"},
		{name: "the mark before another property", file: ownMark + "\nnum.io.threads=8\n", want: ownMark + "\nnum.io.threads=8\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := Desired{}
			want := map[string]string{}
			if tt.asked != "" {
				d.BrokerProperties = map[string]string{backoff: tt.asked}
			}
			if tt.has != "" {
				want[backoff] = tt.has
			}
			r := mustRender(t, reference+tt.file, d)
			if got := strings.ReplaceAll(strings.TrimPrefix(string(r.File), reference), "\r\n", "\n"); got != tt.want {
				t.Errorf("got\n%s\nwant\n%s", got, tt.want)
			}
			if diff := cmp.Diff(want, r.BrokerProperties); diff != "" || r.HiddenChanges != tt.hidden {
				t.Errorf("%s, hidden changes %t", diff, r.HiddenChanges)
			}
			warned := strings.Join(r.Warnings, "; ")
			if line := strings.Index(warned, ":"); line > 0 { // its number is that of the reference
				from := line + 1 + strings.Index(warned[line+1:], ":")
				warned = warned[:line+1] + "LINE" + warned[from:]
			}
			if warned != tt.warning {
				t.Errorf("warned %q, want %q", warned, tt.warning)
			}
			if again := mustRender(t, string(r.File), d); again.Changed || again.HiddenChanges {
				t.Errorf("a second Render changes\n%s", again.Diff)
			}
		})
	}
}

// TestBrokerPropertyDiff: the diff shows the mark and the value, and whole lines go.
func TestBrokerPropertyDiff(t *testing.T) {
	const file = "process.roles=broker\nnode.id=1\ncontroller.quorum.voters=2@h:2\ncontroller.listener.names=CONTROLLER\n"
	d := Desired{BrokerProperties: map[string]string{backoff: "50"}}
	r := mustRender(t, file, d)
	if want := "--- server.properties\n+++ server.properties\n@@ -4,0 +5,2 @@\n+" + ownMark + "\n+" + backoff + "=50\n"; r.Diff != want {
		t.Errorf("got\n%s\nwant\n%s", r.Diff, want)
	}
	back := mustRender(t, string(r.File), Desired{})
	if want := "--- server.properties\n+++ server.properties\n@@ -5,2 +4,0 @@\n-" + ownMark + "\n-" + backoff + "=50\n"; back.Diff != want {
		t.Errorf("got\n%s\nwant\n%s", back.Diff, want)
	}
	if string(back.File) != file {
		t.Errorf("taken back: %q", back.File)
	}
	if diff := cmp.Diff([]string{backoff}, back.Keys); diff != "" {
		t.Error(diff)
	}
}

// TestBrokerPropertyPending: a line of the agent's, and its going, are no edits of somebody else.
func TestBrokerPropertyPending(t *testing.T) {
	const head = "process.roles=broker,controller\nnode.id=1\ncontroller.listener.names=CONTROLLER\ncontroller.quorum.voters=1@h:2\ninter.broker.listener.name=INTERNAL\n" +
		"listeners=INTERNAL://h:9092,CONTROLLER://h:2\nadvertised.listeners=INTERNAL://h:9092\nlistener.security.protocol.map=INTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT\n"
	own := head + ownMark + "\n" + backoff + "=50\n"
	for _, tt := range []struct {
		name, started, file string
		overrides           map[string]string
		want                []PendingEdit
	}{
		{"comes", head, own, nil, nil},
		{"goes", own, head, nil, nil},
		{"somebody else's comes", head, head + backoff + "=700\n", nil, []PendingEdit{{Name: backoff, File: "700"}}},
		{"somebody else's is wrong", head, head + backoff + "=-1\n", nil, []PendingEdit{{Name: backoff, File: "-1", Invalid: "it is less than 0"}}},
		{"the command line hides it", head, own, map[string]string{backoff: "9"}, []PendingEdit{{Name: backoff, File: "9", Override: true}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			file, err := ReadProperties("server.properties", []byte(tt.file))
			if err != nil {
				t.Fatal(err)
			}
			got := Pending(process(t, tt.started), file.Under(tt.overrides), Desired{BrokerProperties: map[string]string{backoff: "50"}}, v371)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestRunningBrokerProperties(t *testing.T) {
	own := Setting{Name: backoff, Source: SourceStatic, Value: " 050"}
	kafkas := Setting{Name: "metadata.max.idle.interval.ms", Source: SourceDefault, Value: "500"}
	got := RunningBrokerProperties(map[string]RunningValue{
		backoff:                         {Value: "50", Settings: []Setting{own}},
		"metadata.max.idle.interval.ms": {Value: "500", Settings: []Setting{kafkas}},
		"num.io.threads":                {Value: "8", Settings: []Setting{{Name: "num.io.threads", Source: SourceStatic, Value: "8"}}},
	})
	if diff := cmp.Diff(map[string]string{backoff: "50"}, got); diff != "" {
		t.Error(diff)
	}
}
