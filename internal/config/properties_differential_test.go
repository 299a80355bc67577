package config

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// judged are the Kafka versions whose own classes are asked.
var judged = []string{"3.7.1", "3.9.2", "4.1.2", "4.2.2", "4.4.0"}

// stricter are the rules by which a file is refused although Kafka's
// configuration class accepts it, each on purpose.
var stricter = map[string]string{
	"BOM":         "Java reads a strange first key",
	"ROLE":        "a role twice, which 4.2 only warns of",
	"MIGRATION":   "3.3 does not know the property yet",
	"S0":          "a key over two lines or no key at all: two independent readings must agree",
	"S5":          "names that Kafka's own parsing of maps and prefixes goes astray with",
	"S8":          "a name twice in the map in upper and lower case: which one counts depends on hashing",
	"R7":          "an advertised :: is no better than 0.0.0.0",
	"R9":          "a port that registering the broker fails with, later",
	"R26":         "a port that binding the listener fails with, later",
	"ID":          "no id, or another broker's: Kafka knows no other",
	"R19":         "a controller-only node is Kafka's business, not the agent's",
	"PLACEHOLDER": "what only Kafka can resolve cannot be compared",
	"NAME":        "a manifest that wants to manage the node's own listeners",
}

// TestAgainstJava compares the reading of files with java.util.Properties, and the
// verdict on files, before and after the edit, with kafka.server.KafkaConfig: what
// is accepted Kafka accepts, with the listeners predicted; what Kafka refuses is
// refused.
func TestAgainstJava(t *testing.T) {
	if testing.Short() {
		t.Log("short: hard cases only")
	}
	for _, version := range judged {
		t.Run(version, func(t *testing.T) {
			v, err := ParseVersion(version)
			if err != nil {
				t.Fatal(err)
			}
			c := comparison{T: t, judge: newJudge(t, version), version: v, refused: map[string]int{}}
			for _, h := range hardCases {
				c.compare(h.name, []byte(h.file), h.desired)
			}
			for seed := range uint64(generated()) {
				g := newGenerator(seed)
				file, desired := g.file()
				c.compare(fmt.Sprintf("seed %d", seed), file, desired)
				c.reading(fmt.Sprintf("noise %d", seed), g.noise())
			}
			c.reserved()
			c.report()
			c.hidden()
			c.types(version)
		})
	}
}

func generated() int {
	if testing.Short() {
		return 0
	}
	return 150
}

// comparison counts while it compares.
type comparison struct {
	*testing.T
	judge            *judge
	version          Version
	accepted, agreed int            // files both accept, files both refuse
	refused          map[string]int // files only this package refuses, by rule
}

func (c *comparison) report() {
	c.Logf("Kafka %s: both accept %d files, both refuse %d", c.version, c.accepted, c.agreed)
	for _, rule := range slices.Sorted(maps.Keys(c.refused)) {
		c.Logf("  on purpose stricter than Kafka in %d: %s, %s", c.refused[rule], rule, stricter[rule])
	}
	if !testing.Short() && (c.accepted < 50 || c.agreed < 50) {
		c.Errorf("the generated files prove little: %d accepted, %d refused", c.accepted, c.agreed)
	}
}

// compare looks at one file as it is and as it becomes.
func (c *comparison) compare(name string, file []byte, desired Desired) {
	c.reading(name, file)
	c.verdict(name+", as it is", file, Desired{})
	if len(desired.names()) == 0 {
		return
	}
	if out, ok := editOnly(file, desired, c.version); ok {
		c.reading(name+", edited", out)
		c.verdict(name+", edited", file, desired)
	}
}

// reserved compares Kafka's default of reserved.broker.max.id with ours.
func (c *comparison) reserved() {
	c.Helper()
	for id := int32(1000); id <= 1001; id++ {
		file := fmt.Appendf(nil, "broker.id=%d\nzookeeper.connect=zk:2181\n", id)
		_, err := Render(RenderInput{Path: "f", File: file, BrokerID: id, Version: c.version})
		ok, words := c.judge.ask("config", file)
		if ok != (err == nil) {
			c.Errorf("broker.id=%d: Kafka %s accepts it: %t (%q), but here: %v", id, c.version, ok, words, err)
		}
		if want := c.version.maybeBefore(4, 0) && id == 1000; ok != want {
			c.Errorf("broker.id=%d: Kafka %s accepts it: %t", id, c.version, ok)
		}
	}
}

// hidden compares which listener properties the broker shows.
func (c *comparison) hidden() {
	for key := range shown {
		c.isHidden(key, "false")
	}
	for _, key := range mechanismProperties {
		want := "false"
		if key == "sasl.jaas.config" {
			want = "true"
		}
		c.isHidden("scram-sha-512."+key, want)
	}
	c.isHidden("no.such.property", "true")
}

func (c *comparison) isHidden(key, want string) {
	c.Helper()
	if _, words := c.judge.ask("hidden", []byte(listenerPrefix("EXTERNAL")+key)); !slices.Equal(words, []string{want}) {
		c.Errorf("Kafka %s says hidden %q of %s, want %s", c.version, words, key, want)
	}
}

// reading compares keys and values.
func (c *comparison) reading(name string, file []byte) {
	c.Helper()
	ok, words := c.judge.ask("props", file)
	p, err := readProperties("f", file)
	if r, isRefusal := errors.AsType[*Refusal](err); isRefusal && r.Rule == "BOM" {
		return // refused on purpose; Java reads a strange key
	}
	if ok != (err == nil) {
		c.Errorf("%s: java.util.Properties reads it: %t (%q), but here: %v\n%q", name, ok, words, err, file)
		return
	}
	if !ok {
		return
	}
	want, got := map[string]string{}, map[string]string{}
	for i := 0; i < len(words); i += 2 {
		want[words[i]] = words[i+1]
	}
	for key := range p.last {
		got[key], _ = p.get(key)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		c.Errorf("%s: reading differs from java.util.Properties (-Java +here):\n%s\n%q", name, diff, file)
	}
}

// verdict compares what becomes of a file.
func (c *comparison) verdict(name string, file []byte, desired Desired) {
	c.Helper()
	in := RenderInput{Path: "f", File: file, BrokerID: 1, Desired: desired, Version: c.version}
	r, err := Render(in)
	after := file
	if err == nil {
		after = r.File
	} else if out, ok := editOnly(file, desired, c.version); ok {
		after = out
	}
	ok, words := c.judge.ask("config", after)
	refusal, isRefusal := errors.AsType[*Refusal](err)
	switch {
	case err != nil && !isRefusal:
		c.Errorf("%s: %v is no Refusal", name, err)
	case err == nil && !ok:
		c.Errorf("%s: accepted here, and Kafka %s says %q\n%s", name, c.version, words, after)
	case err == nil:
		c.accepted++
		slices.Sort(words)
		if diff := cmp.Diff(words, predicted(r.File, c.version)); diff != "" {
			c.Errorf("%s: Kafka %s has other listeners (-Kafka +here):\n%s\n%s", name, c.version, diff, after)
		}
	case !ok:
		c.agreed++
	case stricter[refusal.Rule] == "":
		c.Errorf("%s: Kafka %s accepts it, but here: %v\n%s", name, c.version, err, after)
	default:
		c.refused[refusal.Rule]++
	}
	c.unknown(name, in, ok, err == nil)
}

// unknown checks that what is accepted without knowing the version every version
// accepts, but for what tells the version apart: a mode that only old ones have, a
// quorum that only new ones have, and the defect of one release (R12).
func (c *comparison) unknown(name string, in RenderInput, kafka, known bool) {
	c.Helper()
	in.Version = Version{}
	r, err := Render(in)
	if err != nil || kafka && known {
		return
	}
	p, err := readProperties("f", r.File)
	if err != nil {
		c.Fatal(err)
	}
	old := !p.has(keyRoles) && c.version.surelySince(4, 0)
	dynamic := !p.has(keyVoters) && c.version.maybeBefore(3, 9)
	if !old && !dynamic && c.version != (Version{3, 9, 0}) {
		c.Errorf("%s: accepted for an unknown version, but not for %s\n%s", name, c.version, r.File)
	}
}

// editOnly does the edit without judging the result.
func editOnly(file []byte, desired Desired, v Version) ([]byte, bool) {
	p, err := readProperties("f", file)
	if err != nil {
		return nil, false
	}
	c, err := newBrokerConfig(p, v)
	if err != nil {
		return nil, false
	}
	out, _, err := c.edit(c.plan(desired))
	return out, err == nil
}

// predicted is what the judge should say of a file.
func predicted(file []byte, v Version) []string {
	p, _ := readProperties("f", file)
	c, _ := newBrokerConfig(p, v)
	words := []string{"interbroker " + c.interBroker()}
	for _, l := range c.listeners {
		words = append(words, fmt.Sprintf("listener %s %s %d", l.name, l.host, l.port))
	}
	for _, l := range c.advertised {
		if !c.isController(l.name) {
			words = append(words, fmt.Sprintf("advertised %s %s %d", l.name, l.host, l.port))
		}
	}
	names := map[string]bool{}
	for _, m := range c.protocols {
		names[m.name] = true
	}
	for name := range names {
		protocol, _ := lookupProtocol(c.protocols, name)
		words = append(words, "protocol "+name+" "+protocol)
	}
	slices.Sort(words)
	return words
}

// outside returns a file's bytes without the lines that may change.
func outside(t *testing.T, file []byte, d Desired) string {
	t.Helper()
	p, err := readProperties("f", file)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	at := 0
	for i, e := range p.entries {
		start, own := p.markStart(i)
		switch {
		case own:
			b.Write(file[at:start])
			at = e.end
		case e.key == keyListeners || e.key == keyAdvertised || e.key == keyProtocolMap || d.scopedKey(e.key):
			b.Write(file[at:e.start])
			at = e.end
		}
	}
	b.Write(file[at:])
	return strings.TrimRight(b.String(), "\r\n")
}

// TestRenderGenerated checks what must hold for every file without asking
// anybody: a second Render changes nothing, no byte outside the managed lines
// changes, and the result is what was desired.
func TestRenderGenerated(t *testing.T) {
	for seed := range uint64(600) {
		g := newGenerator(seed)
		file, desired := g.file()
		checkRender(t, file, desired, Version{Major: 3, Minor: 7, Patch: 1})
	}
}

func checkRender(t *testing.T, file []byte, desired Desired, v Version) {
	t.Helper()
	r, err := Render(RenderInput{Path: "f", File: file, BrokerID: 1, Desired: desired, Version: v})
	if err != nil {
		if _, ok := errors.AsType[*Refusal](err); !ok || strings.ContainsAny(err.Error(), "\r\n") {
			t.Fatalf("%v is no Refusal of one line", err)
		}
		if strings.Contains(err.Error(), "(EDIT") {
			t.Fatalf("%v\n%q\n%+v", err, file, desired)
		}
		return
	}
	again, err := Render(RenderInput{Path: "f", File: r.File, BrokerID: 1, Desired: desired, Version: v})
	if err != nil || again.Changed || again.HiddenChanges || again.Diff != "" {
		t.Fatalf("a second Render: %v\n%+v\n%q", err, again, r.File)
	}
	if r.Changed != (r.Diff != "") || r.Changed == bytes.Equal(file, r.File) {
		t.Fatalf("changed %t, diff %q", r.Changed, r.Diff)
	}
	if diff := cmp.Diff(outside(t, file, desired), outside(t, r.File, desired)); diff != "" {
		t.Fatalf("other bytes changed:\n%s\n%q", diff, file)
	}
	notASCII := func(r rune) bool { return r > '~' }
	if a, b := bytes.IndexFunc(r.File, notASCII), bytes.IndexFunc(file, notASCII); a >= 0 && b < 0 {
		t.Fatalf("other bytes than ASCII were written: %q", r.File)
	}
	for _, e := range desired.Endpoints {
		i := slices.IndexFunc(r.Listeners, func(l Effective) bool { return l.Name == e.Name })
		want := Effective{e.Name, e.BindHost, e.BindPort, true, e.AdvertisedHost, e.AdvertisedPort, e.SecurityProtocol, false}
		if i < 0 || r.Listeners[i] != want {
			t.Fatalf("%s is not as desired: %+v\n%q", e.Name, r.Listeners, r.File)
		}
	}
	for _, name := range desired.Absent {
		if slices.ContainsFunc(r.Listeners, func(l Effective) bool { return l.Name == name }) {
			t.Fatalf("%s is still there: %q", name, r.File)
		}
	}
	checkBrokerProperties(t, file, desired, r)
}

func checkBrokerProperties(t *testing.T, file []byte, desired Desired, r *Rendered) {
	t.Helper()
	before, err1 := readProperties("f", file)
	after, err2 := readProperties("f", r.File)
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	for _, name := range BrokerPropertyNames() {
		want, wanted := desired.BrokerProperties[name]
		others := before.has(name) && !before.ownLast(name)
		switch got, has := r.BrokerProperties[name]; {
		case has != (wanted && !others), has && (got != want || !sameValue(typeInt, after.text(name), want)):
			t.Fatalf("%s: %q, %t; want %q, %t\n%q", name, got, has, want, wanted, r.File)
		case !wanted && after.hasOwn(name):
			t.Fatalf("%s is still there: %q", name, r.File)
		case others && after.text(name) != before.text(name):
			t.Fatalf("%s of somebody else's became %q", name, after.text(name))
		}
	}
}
