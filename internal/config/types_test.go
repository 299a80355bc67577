package config

import (
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// types holds the table of a version to Kafka's own, and every verdict on a value to Kafka's:
// what is refused here is refused there, and what is refused there is refused here unless a
// rule is not known here.
func (c *comparison) types(version string) {
	c.Helper()
	_, lines := c.judge.ask("types", nil)
	got := strings.Join(lines, "\n") + "\n"
	path := "types/" + version + ".tsv"
	if f := flag.Lookup("update"); f != nil && f.Value.String() == "true" { // of the package's outer tests
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			c.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		c.Fatal(err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		c.Errorf("%s is not what Kafka says; -update writes it (-file +Kafka):\n%s", path, d)
	}
	refused, missed := 0, map[string]int{}
	for _, line := range lines {
		name, _, _ := strings.Cut(line, "\t")
		for _, value := range typeValues {
			ok, _ := c.judge.ask("value", []byte(name+"="+value))
			why := RefusedValue(name, value, c.version)
			switch {
			case ok && why != "":
				c.Errorf("%s=%q is refused here (%s), and Kafka takes it", name, value, why)
			case !ok && why == "" && strings.TrimSpace(value) == "" && strings.Contains(line, "\tLIST\t"):
			case !ok && why == "" && !strings.ContainsFunc(value, func(r rune) bool { return r > '~' }):
				missed[line[len(name)+1:]]++
			case !ok && why != "":
				refused++
			}
		}
	}
	c.Logf("%d values of %d properties refused as by Kafka", refused, len(lines))
	for kind, n := range missed {
		if p := strings.SplitN(kind, "\t", 2); !unknownRules(property{p[0], p[1]}) {
			c.Errorf("Kafka refuses %d values of a property of %s, which are taken here", n, kind)
		}
	}
	if refused < 1000 {
		c.Errorf("only %d values were refused", refused)
	}
}

// unknownRules are those of which only Kafka knows what they refuse: classes, which must be
// on its class path, rules of their own code, and lists that must not be empty.
func unknownRules(p property) bool {
	class, _, _ := strings.Cut(p.rule, " ")
	return p.kind == typeClass || p.kind == typeDouble ||
		p.rule != "" && class != "Range" && class != "ValidString" && class != "NonEmptyString" && class != "CaseInsensitiveValidString" && class != "ValidList"
}

// typeValues are values of all kinds, and what people write for them.
var typeValues = []string{
	"0", "1", "8", "08", "+8", " 8 ", "-1", "-2", "8 # tuned", "8;", "8.0", "8k", "1_000", "0x10", "1e3", "99999", "2147483647", "2147483648", "-2147483649", "9223372036854775807",
	"9223372036854775808", "", " ", "true", "TRUE", "yes", "on", "false # not", ".50", "0.5", "1.5", "0.5f", "1e400", "NaN", "Infinity", "-0.1", "0,5",
	"delete", "delete , compact", "delete,keep", "delete,", ",delete", "delete,,compact", ",", "gzip", "GZIP", "producer", "PLAINTEXT", "plaintext", "required", "none", "CreateTime", "broker,controller", "٣",
}

// TestTypes: every line of every table can be read.
func TestTypes(t *testing.T) {
	for _, version := range judged {
		v, err := ParseVersion(version)
		if err != nil {
			t.Fatal(err)
		}
		text, err := types.ReadFile("types/" + version + ".tsv")
		if n := len(typesByVersion()[Version{v.Major, v.Minor, -1}]); err != nil || n != strings.Count(string(text), "\n") || n < 290 {
			t.Errorf("%s: %d properties, %v", version, n, err)
		}
	}
}

// TestRefusedValue: what is said of the values that people get wrong, and that nothing is said
// where Kafka is not certain to refuse.
func TestRefusedValue(t *testing.T) {
	for _, c := range []struct{ version, name, value, want string }{
		{"3.7.1", "num.io.threads", "8 # tuned", "it is not a number of type INT"},
		{"3.7.1", "num.io.threads", " 08 ", ""},
		{"3.7.1", "num.io.threads", "0", "it is less than 1"},
		{"3.7.1", "num.io.threads", "3000000000", "it is not a number of type INT"},
		{"3.7.1", "auto.create.topics.enable", "yes", "it is neither true nor false"},
		{"3.7.1", "compression.type", "gzip9", "it is none of uncompressed, zstd, lz4, snappy, gzip, producer"},
		{"3.7.1", "log.cleanup.policy", "delete, keep", `"keep" is none of compact, delete`},
		{"3.7.1", "log.cleaner.io.buffer.load.factor", "0,9", "it is not a number of type DOUBLE"},
		{"3.7.1", "log.cleaner.io.buffer.load.factor", "0x1p-2d", ""}, // Java's own affair
		{"3.7.1", "log.cleaner.min.cleanable.ratio", "1.5", "it is more than 1"},
		{"3.7.1", "num.io.threads", "${env:N}", ""},
		{"3.7.1", "my.own", "x", ""},
		{"3.7.1", "zookeeper.max.in.flight.requests", "0", "it is less than 1"},
		{"4.4.0", "zookeeper.max.in.flight.requests", "0", ""}, // unknown to it
		{"4.0.2", "num.io.threads", "0", "it is less than 1"},  // no table of its own: those next to it agree
		{"4.1.2", "metric.reporters", "a,", ""},
		{"4.2.2", "metric.reporters", "a,", "it has an empty item"},
		{"4.3.1", "metric.reporters", "a, ,b", "it has an empty item"},
		{"5.0.0", "metric.reporters", "a,", "it has an empty item"}, // newer than all: the newest rules
		{"", "metric.reporters", "a,", ""},
		{"3.7.1", "log.cleanup.policy", "delete,", "it has an empty item"},
		{"", "num.io.threads", "8k", "it is not a number of type INT"},
		{"4.0.2", "group.coordinator.rebalance.protocols", "classic,streams", ""}, // they do not agree
	} {
		v, err := ParseVersion(c.version)
		if err != nil {
			t.Fatal(err)
		}
		if got := RefusedValue(c.name, c.value, v); got != c.want {
			t.Errorf("%s %s=%q: %q, want %q", c.version, c.name, c.value, got, c.want)
		}
	}
}
