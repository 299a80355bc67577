package render

import (
	"strings"
	"testing"
)

// made is what a format writes, or what it refuses.
func made(t *testing.T, manifest string, o Options, format func(*Network) (*Output, error)) string {
	t.Helper()
	n, err := Resolve(parsed(t, manifest), o)
	if err != nil {
		t.Fatal(err)
	}
	out, err := format(n)
	if err != nil {
		return "refused:\n" + err.Error() + "\n"
	}
	var b strings.Builder
	for _, w := range out.Warnings {
		b.WriteString("warning: " + w + "\n")
	}
	_, text, _ := strings.Cut(string(out.Files[0].Text), "\n\n") // below what TestMark holds
	return b.String() + text
}

const shared = `  BOOTSTRAP:
    bind: 0.0.0.0:39090
    security_protocol: PLAINTEXT
    bootstrap: {of: EXTERNAL, port: 9092}
    probe_port: 39190
`

// withShared is the manifest with a shared bootstrap port.
func withShared() string {
	return strings.Replace(manifest, "  EXTERNAL2:\n", shared+"  EXTERNAL2:\n", 1)
}

func TestDNS(t *testing.T) {
	at := func(endpoints ...string) Options {
		o := Options{Endpoints: map[string]string{}}
		for i := 0; i < len(endpoints); i += 2 {
			o.Endpoints[endpoints[i]] = endpoints[i+1]
		}
		return o
	}
	tidb := strings.Replace(manifest, "<broker_id>.abc.example.com", "<broker_id>.abc.eastus.azure.3199745.tidbcloud.com", 1)
	for _, c := range []struct {
		name, manifest string
		o              Options
		want           string
	}{
		{"one address", withShared(), at("", "10.9.0.4"), `; EXTERNAL
b2.abc.example.com. IN A 10.9.0.4 ; port 9094
b10.abc.example.com. IN A 10.9.0.4 ; port 9103

; EXTERNAL2
b2.az1.example.com. IN A 10.9.0.4 ; port 9102
b10.az2.example.com. IN A 10.9.0.4 ; port 9110
`},
		{"by zone", manifest, at("az1", "fd00::4", "", "vpce-1.example.net"), `; EXTERNAL
b2.abc.example.com. IN AAAA fd00::4 ; port 9094
b10.abc.example.com. IN CNAME vpce-1.example.net. ; port 9103

; EXTERNAL2
b2.az1.example.com. IN AAAA fd00::4 ; port 9102
b10.az2.example.com. IN CNAME vpce-1.example.net. ; port 9110
`},
		{
			"TiDB Cloud", tidb,
			Options{Listeners: []string{"EXTERNAL"}, Endpoints: map[string]string{"": "10.9.0.4"}},
			"warning: TiDB Cloud makes the records of names such as b10.abc.eastus.azure.3199745.tidbcloud.com itself; " +
				"`kpls-agent render console` says what it needs\n" + `; EXTERNAL
b2.abc.eastus.azure.3199745.tidbcloud.com. IN A 10.9.0.4 ; port 9094
b10.abc.eastus.azure.3199745.tidbcloud.com. IN A 10.9.0.4 ; port 9103
`,
		},
		{"no endpoint", manifest, Options{}, "refused:\nmanifest.yaml: dns needs the address of the customer's endpoint; give " +
			"--endpoint ADDRESS, or --endpoint ZONE=ADDRESS for each zone\n"},
		{"wrong endpoints", manifest, at("az1", "10.9.0.4", "az3", "b 2"), "refused:\n" +
			"manifest.yaml:19: brokers.10.zone: zone \"az2\" has no endpoint; give --endpoint az2=ADDRESS\n" +
			"manifest.yaml: --endpoint az3=...: no broker of the table `brokers` is in zone az3\n" +
			"manifest.yaml: --endpoint b 2: expected a DNS name or an IP address as host, found \"b 2\"\n"},
		{"itself", manifest, at("", "b2.abc.example.com"), "refused:\nmanifest.yaml: --endpoint b2.abc.example.com: broker 2 " +
			"advertises that very name; give the endpoint's own one\n"},
		{
			"addresses", strings.Replace(manifest, "<broker_id>.abc.example.com", "10.8.0.1", 1),
			Options{Listeners: []string{"EXTERNAL"}, Endpoints: map[string]string{"": "10.9.0.4"}},
			"refused:\nmanifest.yaml: advertises addresses alone, and no name, so there is no record to write\n",
		},
	} {
		if got := made(t, c.manifest, c.o, makeDNS); got != c.want {
			t.Errorf("%s:\ngot\n%s\nwant\n%s", c.name, got, c.want)
		}
	}
}

func TestConsole(t *testing.T) {
	const brokers = "brokers:\n  1: {ports: {EXTERNAL: 9093}, zone: a}\n  2: {ports: {EXTERNAL: 9094}, zone: a}\n" +
		"  3: {ports: {EXTERNAL: 9095}, zone: b}\n  10: {ports: {EXTERNAL: 9102}, zone: c}\n  11: {ports: {EXTERNAL: 9103}, zone: d}\n"
	of := func(advertised, more, brokers string) string {
		return "version: 1\ncluster: kafka-pls\nlisteners:\n  EXTERNAL:\n    bind: 0.0.0.0:39092\n    security_protocol: PLAINTEXT\n" +
			"    " + advertised + "\n    probe_port: 39192\n" + more + brokers
	}
	const azure = "advertised: <broker_id>.abc.eastus.azure.3199745.tidbcloud.com:<port>"
	gcp := strings.Replace(azure, "eastus.azure", "us-west1.gcp", 1)
	aws := "advertised_by_zone: {a: '<broker_id>.usw2-az1.abc.us-west-2.aws.3199015.tidbcloud.com:<port>'}"
	form := func(field, value, ports string) string {
		return "EXTERNAL of kafka-pls, in TiDB Cloud: Create Changefeed > Kafka > " + map[string]string{"Service Attachment": "Private Service Connect"}[field] +
			"\n  Kafka Advertised Listener Pattern  abc\n  " + field + strings.Repeat(" ", 35-len(field)) + value + "\n  Bootstrap Ports                    " + ports + "\n"
	}
	for _, c := range []struct{ name, manifest, want string }{
		{"one for each zone", of(azure, "", brokers), form("Alias of the Private Link Service", "<the alias of the private link service>", "9093,9095,9102")},
		{"a shared port", of(azure, shared, brokers), form("Alias of the Private Link Service", "<the alias of the private link service>", "9092")},
		{"AWS", of(aws, "", "brokers:\n  1: {ports: {EXTERNAL: 9093}, zone: a}\n"), form("Endpoint Service Name", "<the name of the endpoint service>", "9093")},
		{
			"Google Cloud", of(gcp, "", strings.NewReplacer("zone: b", "zone: a", "zone: c", "zone: a", "zone: d", "zone: a").Replace(brokers)),
			form("Service Attachment", "<the name of the service attachment>", "9093,9094"),
		},
		{"another customer", of("advertised: <broker_id>.example.com:<port>", "", brokers), "EXTERNAL of kafka-pls\n" +
			"  Bootstrap servers  b1.example.com:9093,b3.example.com:9095,b10.example.com:9102\n  Security protocol  PLAINTEXT\n" +
			"  Names              the customer makes them: kpls-agent render dns --listener EXTERNAL\n"},
		{"another form", of("advertised: <broker_id>.abc.alicloud.plc.tidbcloud.com:<port>", shared, brokers), "EXTERNAL of kafka-pls\n" +
			"  Bootstrap servers  b1.abc.alicloud.plc.tidbcloud.com:9092\n  Security protocol  PLAINTEXT\n" +
			"  Names              TiDB Cloud makes them\n"},
		{"no port of its own", of("advertised: <broker_id>.example.com:9092", "", "brokers:\n  1: {}\n"), "refused:\nmanifest.yaml:7: " +
			"listeners.EXTERNAL.advertised: has a port written out, so a port does not tell one broker from another; write <port>, " +
			"and give each broker its own under `brokers`\n"},
	} {
		want := c.want
		if strings.Contains(want, "in TiDB Cloud") && !strings.Contains(want, "Service Connect") {
			want = strings.Replace(want, "Kafka > \n", "Kafka > Private Link\n", 1)
		}
		if got := made(t, c.manifest, Options{}, makeConsole); got != want {
			t.Errorf("%s:\ngot\n%s\nwant\n%s", c.name, got, want)
		}
	}
	// The port of a listener that is not asked for counts all the same; that listener alone has no form.
	both := of(azure, shared, brokers)
	alone := made(t, both, Options{Listeners: []string{"EXTERNAL"}}, makeConsole)
	if !strings.HasSuffix(alone, "\n  Bootstrap Ports                    9092\n") {
		t.Errorf("got\n%s", alone)
	}
	const refused = "refused:\nmanifest.yaml: has no listener with addresses of its own to render, so there is nothing to type; name " +
		"one with --listener\n"
	if got := made(t, both, Options{Listeners: []string{"BOOTSTRAP"}}, makeConsole); got != refused {
		t.Errorf("got\n%s", got)
	}
}
