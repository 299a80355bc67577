package render

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// cloudManifest is testdata/CLOUD/manifest.yaml with replacements: pairs of old and new.
func cloudManifest(t *testing.T, cloud string, pairs ...string) string {
	t.Helper()
	data, err := os.ReadFile("testdata/" + cloud + "/manifest.yaml")
	if err != nil {
		t.Fatal(err)
	}
	text := string(data)
	for i := 0; i < len(pairs); i += 2 {
		if !strings.Contains(text, pairs[i]) {
			t.Fatalf("the manifest has no %q", pairs[i])
		}
		text = strings.ReplaceAll(text, pairs[i], pairs[i+1])
	}
	return text
}

// goldenFiles compares a format's files, except what is embedded as it is, with those below testdata.
func goldenFiles(t *testing.T, folder string, out *Output, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range out.Files {
		if f.Name != "main.tf" {
			golden(t, folder+"/"+f.Name, string(f.Text))
		}
		if !f.Example && !Ours(f.Text) {
			t.Errorf("%s/%s does not say in its first lines that a format has made it", folder, f.Name)
		}
	}
}

// TestAWS: what both formats write for two listeners, one of them with the zone in its names, and a bootstrap listener.
func TestAWS(t *testing.T) {
	n := resolved(t, cloudManifest(t, "aws"))
	out, err := awsTerraform(n)
	goldenFiles(t, "aws/terraform", out, err)
	out, err = awsCloudFormation(n)
	goldenFiles(t, "aws/cloudformation", out, err)
}

// TestAWSRefuses: what would not lead to the right broker, and what AWS would refuse.
func TestAWSRefuses(t *testing.T) {
	rows := ""
	for id := 12; id < 37; id++ {
		rows += fmt.Sprintf("  %d: {ports: {EXTERNAL: %d}, zone: usw2-az1}\n", id, 9092+id)
	}
	cases := []struct {
		name     string
		pairs    []string
		want     string // empty for nothing
		template string // what a template is refused for; the same if it is empty
	}{
		{name: "nothing"},
		{
			name:  "one port in two zones",
			pairs: []string{"{EXTERNAL: 9094}", "{EXTERNAL: 9093}"},
			want: "manifest.yaml:26: brokers.2.ports.EXTERNAL: 9093 leads to broker 1 of EXTERNAL on one load balancer of AWS already, " +
				"so it cannot lead to broker 2 of EXTERNAL; give broker 2 of EXTERNAL a port that is not taken",
		},
		{
			name:  "two listeners with one port",
			pairs: []string{"port_base: 9200", "port_base: 9092"},
			want: "manifest.yaml:16: listeners.EXTERNAL2.port_base: 9093 leads to broker 1 of EXTERNAL on one load balancer of AWS " +
				"already, so it cannot lead to broker 1 of EXTERNAL2; give broker 1 of EXTERNAL2 a port that is not taken",
		},
		{
			name:  "a bootstrap port that another listener's broker has",
			pairs: []string{"port: 9092", "port: 9202"},
			want: "manifest.yaml:21: listeners.BOOTSTRAP.bootstrap.port: 9202 leads to broker 2 of EXTERNAL2 on one load balancer " +
				"of AWS already, so it cannot lead to all brokers for EXTERNAL; give all brokers for EXTERNAL a port that is not taken",
		},
		{
			name:  "more listeners than a load balancer has",
			pairs: []string{"load_balancer:", rows + "load_balancer:"},
			want: "manifest.yaml: needs 59 ports of a load balancer (brokers x listeners, and one for each bootstrap listener), and an " +
				"endpoint service of AWS publishes at most 50; render one listener at a time by --listener, each with its own --name " +
				"and folder",
		},
		{
			name:  "names of zones",
			pairs: []string{"usw2-az2", "us-west-2b"},
			want: "manifest.yaml:26: brokers.2.zone: us-west-2b is the name of an availability zone, which means another zone in each " +
				"account; write its id, such as usw2-az1, here and in advertised_by_zone (`aws ec2 describe-availability-zones` shows both)",
		},
		{
			name:  "probes",
			pairs: []string{"interval: 5s, healthy_threshold: 2", "interval: 4500ms, healthy_threshold: 11"},
			want: "manifest.yaml:29: load_balancer.interval: 4.5s is no whole number of seconds, which AWS needs; write 5s\n" +
				"manifest.yaml:29: load_balancer.healthy_threshold: 11 is outside what AWS takes; write 2 to 10",
		},
		{
			name:  "long names",
			pairs: []string{"cluster: kafka-pls", "cluster: kafka-of-the-third-data-center"},
			want: "manifest.yaml:2: cluster: kafka-of-the-third-data-center makes the name kafka-of-the-third-data-center-external-b11 " +
				"of 43 characters for a target group of AWS, which takes 32; begin the names with another one by --name\n" +
				"manifest.yaml:2: cluster: kafka-of-the-third-data-center makes the name kafka-of-the-third-data-center-external2-b11 " +
				"of 44 characters for a target group of AWS, which takes 32; begin the names with another one by --name\n" +
				"manifest.yaml:2: cluster: kafka-of-the-third-data-center makes the name kafka-of-the-third-data-center-bootstrap " +
				"of 40 characters for a target group of AWS, which takes 32; begin the names with another one by --name",
			template: "none",
		},
		{
			name:  "a name that AWS keeps for itself",
			pairs: []string{"cluster: kafka-pls", "cluster: internal-kafka"},
			want: "manifest.yaml:2: cluster: internal-kafka makes the name internal-kafka for a load balancer of AWS, which must not " +
				"begin with internal-; begin the names with another one by --name",
			template: "none",
		},
		{
			name:  "equal names",
			pairs: []string{"  EXTERNAL2:\n", "  BOOT-STRAP:\n", "  BOOTSTRAP:\n", "  BOOT_STRAP:\n"},
			want: "manifest.yaml:18: listeners.BOOT_STRAP: and BOOT-STRAP both become boot-strap in the names that a cloud takes, where " +
				"`_` is no different from `-`; give one of them another name",
			template: "manifest.yaml:18: listeners.BOOT_STRAP: and BOOT-STRAP both become BootStrap in a template of CloudFormation, " +
				"which has only letters and digits in its names; give one of them another name",
		},
		{
			name:  "a bind that nobody reaches, and a port written out",
			pairs: []string{"bind: 0.0.0.0:39093", "bind: 127.0.0.1:39093", "<broker_id>.kafka.example.com:<port>\n    port_base: 9200", "<broker_id>.kafka.example.com:9200"},
			want: "manifest.yaml:15: listeners.EXTERNAL2.advertised: has a port written out, so a port does not tell one broker from " +
				"another; write <port>, and give each broker its own under `brokers`\n" +
				"manifest.yaml:13: listeners.EXTERNAL2.bind: 127.0.0.1 is this VM's own address, so no load balancer can connect to " +
				"EXTERNAL2; bind an IPv4 address of the VM, or all by 0.0.0.0:39093",
		},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			for format, write := range map[string]func(*Network) (*Output, error){
				"terraform": awsTerraform, "cloudformation": awsCloudFormation,
			} {
				n := resolved(t, cloudManifest(t, "aws", c.pairs...))
				want := c.want
				if format == "cloudformation" && c.template != "" {
					want = strings.TrimPrefix(c.template, "none")
				}
				_, err := write(n)
				if got := text(err); got != want {
					t.Errorf("%s:\ngot  %s\nwant %s", format, got, want)
				}
			}
		})
	}
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// TestAWSWarns: what AWS takes and a customer might not.
func TestAWSWarns(t *testing.T) {
	n := resolved(t, cloudManifest(t, "aws"))
	n.Listeners = n.Listeners[:2]
	out, err := awsTerraform(n)
	if err != nil {
		t.Fatal(err)
	}
	const want = "EXTERNAL has no bootstrap listener, so its customers are given ports that lead to one broker each, and reach it " +
		"only by the endpoint of that broker's zone; add a listener with `bootstrap: {of: EXTERNAL, port: 9092}`"
	if got := strings.Join(out.Warnings, "\n"); got != want {
		t.Errorf("\ngot  %s\nwant %s", got, want)
	}
	rows := ""
	for id := 12; id < 32; id++ {
		rows += fmt.Sprintf("  %d: {ports: {EXTERNAL: %d}, zone: usw2-az1}\n", id, 9092+id)
	}
	out, err = awsCloudFormation(resolved(t, cloudManifest(t, "aws", "load_balancer:", rows+"load_balancer:")))
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(out.Warnings, "\n"); !strings.Contains(got, "bytes, and the AWS CLI sends at most 51200 by itself; deploy it with --s3-bucket") {
		t.Errorf("a large template: %s", got)
	}
}
