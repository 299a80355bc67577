package render

import (
	"strings"
	"testing"
)

// TestGCP: what both formats write for two listeners.
func TestGCP(t *testing.T) {
	n := resolved(t, cloudManifest(t, "gcp"))
	out, err := gcpGcloud(n)
	goldenFiles(t, "gcp/gcloud", out, err)
	const want = "the port mapping of Google Cloud asks no probe: customers reach a new listener's ports before all brokers serve it, " +
		"so publish the ports after the roll-out\n" +
		"`during_restart: close` of EXTERNAL2 does nothing on Google Cloud: nobody asks the probe, and customers connect to a " +
		"broker until it stops"
	if got := strings.Join(out.Warnings, "\n"); got != want {
		t.Errorf("warnings:\ngot  %s\nwant %s", got, want)
	}
	out, err = gcpTerraform(n)
	goldenFiles(t, "gcp/terraform", out, err)
}

// TestGCPRefuses: what would not lead to the right broker, and what Google Cloud would refuse.
func TestGCPRefuses(t *testing.T) {
	cases := []struct {
		name  string
		pairs []string
		want  string // empty for nothing
	}{
		{name: "nothing"},
		{
			// On Azure each listener has a frontend of its own, and this is right.
			name:  "two listeners with one port",
			pairs: []string{"port_base: 9200", "port_base: 9092"},
			want: "manifest.yaml:13: listeners.EXTERNAL2.port_base: 9093 leads to broker 1 of EXTERNAL on one service attachment of " +
				"Google Cloud already, so it cannot lead to broker 1 of EXTERNAL2; give broker 1 of EXTERNAL2 a port that is not taken",
		},
		{
			name: "a bootstrap listener",
			pairs: []string{
				"advertised: <broker_id>.def.us-west1.gcp.3199745.tidbcloud.com:<port>\n    port_base: 9200",
				"bootstrap: {of: EXTERNAL, port: 9092}",
			},
			want: "manifest.yaml:12: listeners.EXTERNAL2.bootstrap: one port to all brokers cannot be had from the port mapping of Google " +
				"Cloud, where each port leads to one VM; leave this listener out by naming the others with --listener, and give " +
				"customers the ports of brokers as bootstrap ports",
		},
		{
			name:  "a long name",
			pairs: []string{"kafka-pls", strings.Repeat("kafka-", 9) + "kafkas"},
			want: "manifest.yaml:2: cluster: kafka-kafka-kafka-kafka-kafka-kafka-kafka-kafka-kafka-kafkas makes the name " +
				"kafka-kafka-kafka-kafka-kafka-kafka-kafka-kafka-kafka-kafkas-psc of 64 characters for a subnet of Google Cloud, which " +
				"takes 63; begin the names with another one by --name",
		},
		{
			name:  "a digit first",
			pairs: []string{"kafka-pls", "3kafka"},
			want: "manifest.yaml:2: cluster: 3kafka makes the name 3kafka-psc for a subnet of Google Cloud, which must begin with a " +
				"letter; begin the names with another one by --name",
		},
		{
			name:  "a bind that nobody reaches, and a port written out",
			pairs: []string{"0.0.0.0:39092", "127.0.0.1:39092", "def.us-west1.gcp.3199745.tidbcloud.com:<port>\n    port_base: 9200", "def.us-west1.gcp.3199745.tidbcloud.com:9200"},
			want: "manifest.yaml:12: listeners.EXTERNAL2.advertised: has a port written out, so a port does not tell one broker from " +
				"another; write <port>, and give each broker its own under `brokers`\n" +
				"manifest.yaml:5: listeners.EXTERNAL.bind: 127.0.0.1 is this VM's own address, so no load balancer can connect to EXTERNAL; " +
				"bind an IPv4 address of the VM, or all by 0.0.0.0:39092",
		},
		{name: "a short interval is nobody's", pairs: []string{"interval: 5s", "interval: 1500ms"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			for format, write := range map[string]func(*Network) (*Output, error){"gcloud": gcpGcloud, "terraform": gcpTerraform} {
				n := resolved(t, cloudManifest(t, "gcp", c.pairs...))
				_, err := write(n)
				if got := text(err); got != c.want {
					t.Errorf("%s:\ngot  %s\nwant %s", format, got, c.want)
				}
			}
		})
	}
}
