package config

import (
	"strings"
	"testing"
)

// TestHints: a usual mistake in YAML is named, at its own line, whatever the parser stumbles over. The column is the
// parser's where it stopped on that line.
func TestHints(t *testing.T) {
	const good = `version: 1
cluster: c
listeners:
  EXTERNAL:
    bind: 0.0.0.0:39092
    security_protocol: PLAINTEXT
    advertised: <broker_id>.x.example.com:<port>
    probe_port: 39192
brokers:
  1: {ports: {EXTERNAL: 9093}}
`
	if _, err := ParseManifest("m.yaml", []byte(good)); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, old, new, want string }{
		{"an IPv6 address", "0.0.0.0:39092", "[::]:39092", "m.yaml:5:15: the file is not YAML: did not find expected key; an address in brackets needs quotes: \"[::]:39092\""},
		{"a tab", "    bind", "\tbind", "m.yaml:5:1: the file is not YAML: found character that cannot start any token; this line is indented with a tab; indent with spaces"},
		{"a tab after blanks", "    bind", "  \tbind", "m.yaml:5:3: the file is not YAML: found character that cannot start any token; this line is indented with a tab; indent with spaces"},
		{"no blank, in the first line", "version: 1", "version:1", "m.yaml:1:1: the file is not YAML: mapping values are not allowed in this context; a space is missing after `version:`"},
		{"no blank, first field", "bind: 0", "bind:0", "m.yaml:5:5: the file is not YAML: mapping values are not allowed in this context; a space is missing after `bind:`"},
		{"no blank, in the middle", "security_protocol: P", "security_protocol:P", "m.yaml:6:5: the file is not YAML: could not find expected ':'; a space is missing after `security_protocol:`"},
		{"no blank, last field", "probe_port: 3", "probe_port:3", "m.yaml:8:5: the file is not YAML: could not find expected ':'; a space is missing after `probe_port:`"},
		{"no blank before a mapping", "1: {", "1:{", "m.yaml:10:29: the file is not YAML: did not find expected key; a space is missing after `1:`"},
		{"no blank within a mapping", "{ports: {", "{ports:{", "m.yaml:10:13: the file is not YAML: did not find expected ',' or '}'; a space is missing after `ports:`"},
		{"no blank in a name", "EXTERNAL: 9093", "EXTERNAL:9093", "m.yaml:10:15: brokers.1.ports: expected a listener name: a letter, then letters, digits, `_` or `-`, found \"EXTERNAL:9093\"; is a space missing after the colon?"},
		{"indented less", "    security", "   security", "m.yaml:6:4: the file is not YAML: did not find expected key; this line is indented by 3 spaces, and the one before by 4; the fields of one mapping begin in the same column"},
		{"indented more", "    security", "     security", "m.yaml:6:23: the file is not YAML: mapping values are not allowed in this context; this line is indented by 5 spaces, and the one before by 4; the fields of one mapping begin in the same column"},
		{"a colon within a value", "<broker_id>.x", "<broker_id>: x", "m.yaml:7:28: the file is not YAML: mapping values are not allowed in this context; a value with a colon and a space in it needs quotes"},
		{"a sign", "<broker_id>.x", "%x", "m.yaml:7:17: the file is not YAML: found character that cannot start any token; a value that begins with a sign needs quotes"},
		{"no colon", "EXTERNAL:\n", "EXTERNAL\n", "m.yaml:4:3: the file is not YAML: mapping values are not allowed in this context; a colon is missing at the end of this line"},
		{"a brace that is not closed", "9093}}", "9093}", "m.yaml:11:1: the file is not YAML: did not find expected ',' or '}' (while parsing a flow mapping that begins on line 10)"},
		{"a quote that is not closed", "0.0.0.0:39092", `"0.0.0.0:39092`, "m.yaml:11:1: the file is not YAML: found unexpected end of stream (while scanning a quoted scalar that begins on line 5)"},
	} {
		_, err := ParseManifest("m.yaml", []byte(strings.Replace(good, c.old, c.new, 1)))
		if err == nil || err.Error() != c.want {
			t.Errorf("%s:\ngot  %v\nwant %s", c.name, err, c.want)
		}
	}
}
