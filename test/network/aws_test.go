//go:build network

package network

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// awsManifest is one of n brokers in three zones, with the zone in the names of EXTERNAL, a bootstrap port, and further
// listeners without a zone in theirs.
func awsManifest(n int, more ...string) string {
	var b strings.Builder
	b.WriteString("version: 1\ncluster: kafka-pls\nlisteners:\n  EXTERNAL:\n    bind: 0.0.0.0:39092\n" +
		"    security_protocol: SASL_SSL\n    advertised_by_zone:\n")
	for z := 1; z <= 3; z++ {
		fmt.Fprintf(&b, "      usw2-az%d: <broker_id>.usw2-az%d.abc.us-west-2.aws.3199015.tidbcloud.com:<port>\n", z, z)
	}
	b.WriteString("    probe_port: 39192\n  BOOTSTRAP:\n    bind: 0.0.0.0:39090\n    security_protocol: SASL_SSL\n" +
		"    bootstrap: {of: EXTERNAL, port: 9092}\n    probe_port: 39190\n    during_restart: close\n")
	for i, l := range more {
		fmt.Fprintf(&b, "  %s:\n    bind: 0.0.0.0:%d\n    security_protocol: SASL_SSL\n    advertised: <broker_id>.%s.example.com:<port>\n"+
			"    port_base: %d\n    probe_port: %d\n", l, 39093+i, strings.ToLower(l), 9200+100*i, 39193+i)
	}
	b.WriteString("brokers:\n")
	for id := 1; id <= n; id++ {
		fmt.Fprintf(&b, "  %d: {ports: {EXTERNAL: %d}, zone: usw2-az%d}\n", id, 9092+id, (id-1)%3+1)
	}
	b.WriteString("load_balancer: {interval: 5s, healthy_threshold: 2}\n")
	return b.String()
}

func aws(t *testing.T, manifest string) module {
	t.Helper()
	return rendered(t, "aws", "terraform", manifest)
}

// TestAWSPlans: OpenTofu takes what is written, for as many brokers as an endpoint service has, and would make a
// listener and a target group for each listener and broker.
func TestAWSPlans(t *testing.T) {
	cases := []struct {
		name, manifest  string
		groups, members int
		ranges          int // of ports that customers reach
	}{
		{"three brokers", awsManifest(3), 4, 6, 1},
		{"two listeners", awsManifest(11, "EXTERNAL2"), 23, 33, 2},
		{"all that a load balancer has", awsManifest(49), 50, 98, 1},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			m := aws(t, c.manifest)
			m.tofu("validate")
			m.tofu("fmt", "-check", "-diff")
			planned := m.planned()
			for kind, want := range map[string]int{
				"aws_lb": 1, "aws_lb_listener": c.groups, "aws_lb_target_group": c.groups,
				"aws_lb_target_group_attachment": c.members, "aws_vpc_endpoint_service": 1,
				"aws_vpc_security_group_ingress_rule": c.ranges + 2*(2+strings.Count(c.manifest, "EXTERNAL2:")),
			} {
				if got := count(planned, kind); got != want {
					t.Errorf("%d of %s, want %d", got, kind, want)
				}
			}
		})
	}
}

// TestAWSLeads applies the module, and follows each port to its brokers by the ids that the resources have.
func TestAWSLeads(t *testing.T) {
	text := awsManifest(11, "EXTERNAL2")
	m := aws(t, text)
	m.tofu("apply", "-auto-approve")
	made := m.made()
	members, groups := map[string][]string{}, map[string]resource{} // by ARN
	for _, r := range made {
		switch r.Type {
		case "aws_lb_target_group_attachment":
			arn := r.Values["target_group_arn"].(string)
			members[arn] = append(members[arn], fmt.Sprintf("%v:%v", r.Values["target_id"], r.Values["port"]))
		case "aws_lb_target_group":
			groups[r.Values["arn"].(string)] = r
		}
	}
	var got []string
	for _, r := range made {
		if r.Type != "aws_lb_listener" {
			continue
		}
		arn := r.Values["default_action"].([]any)[0].(map[string]any)["target_group_arn"].(string)
		g := groups[arn].Values
		check := g["health_check"].([]any)[0].(map[string]any)
		state := g["target_health_state"].([]any)[0].(map[string]any)
		slices.Sort(members[arn])
		got = append(got, fmt.Sprintf("%v -> %s, probe %v every %v s, %v s, %v up, across zones %v, cut %v, idle %v",
			r.Values["port"], strings.Join(members[arn], " "), check["port"], check["interval"], check["timeout"],
			check["healthy_threshold"], g["load_balancing_cross_zone_enabled"],
			state["enable_unhealthy_connection_termination"], r.Values["tcp_idle_timeout_seconds"]))
	}
	const probes = "probe %d every 5 s, 5 s, 2 up, across zones %v, cut %v, idle 900"
	var want, all []string
	hosts := map[int32][]string{}
	for id := 1; id <= 11; id++ {
		instance := fmt.Sprintf("i-%017d", id)
		hosts[int32(id)] = []string{instance}
		all = append(all, instance+":39090")
		want = append(want,
			fmt.Sprintf("%d -> %s:39092, "+probes, 9092+id, instance, 39192, false, false),
			fmt.Sprintf("%d -> %s:39093, "+probes, 9200+id, instance, 39193, true, false))
	}
	want = append(want, fmt.Sprintf("9092 -> %s, "+probes, strings.Join(all, " "), 39190, true, true))
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("\ngot  %s\nwant %s", strings.Join(got, "\n     "), strings.Join(want, "\n     "))
	}
	service := made["aws_vpc_endpoint_service.kpls"].Values
	if service["acceptance_required"] != true || fmt.Sprint(service["network_load_balancer_arns"]) !=
		fmt.Sprint([]any{made["aws_lb.kpls"].Values["arn"]}) {
		t.Errorf("the endpoint service: %v", service)
	}
	var console map[string]map[string]string
	if err := json.Unmarshal([]byte(m.tofu("output", "-json", "console")), &console); err != nil {
		t.Fatal(err)
	}
	for listener, want := range map[string]string{"EXTERNAL": "9092", "EXTERNAL2": "9201,9202,9203"} {
		if got := console[listener]["Bootstrap Ports"]; got != want {
			t.Errorf("bootstrap ports of %s: %q, want %q", listener, got, want)
		}
	}
	if out := m.tofu("plan", "-detailed-exitcode"); !strings.Contains(out, "No changes.") {
		t.Errorf("a second plan changes something:\n%s", out)
	}
	m.verified(text, hosts)
}

// TestAWSChanges: a broker that comes makes its own resources and touches no other's, also with an id that stands before
// others as text. A VM that is replaced moves its targets only.
func TestAWSChanges(t *testing.T) {
	m := aws(t, awsManifest(9))
	m.tofu("apply", "-auto-approve")
	m.render(awsManifest(10))
	m.user(awsManifest(10))
	want := []string{
		`create aws_lb_listener.kpls["external-b10"]`,
		`create aws_lb_target_group.kpls["external-b10"]`,
		`create aws_lb_target_group_attachment.kpls["bootstrap/10"]`,
		`create aws_lb_target_group_attachment.kpls["external-b10/10"]`,
		`update aws_lb.kpls`, // its tag says which manifest it follows
		`update aws_vpc_security_group_ingress_rule.clients["EXTERNAL/9092/10.250.0.0/16"]`,
	}
	if got := m.changes(); !slices.Equal(got, want) {
		t.Errorf("a tenth broker:\n%s", strings.Join(got, "\n"))
	}
	m.tofu("apply", "-auto-approve")

	m.edit("terraform.tfvars", `"i-00000000000000002"`, `"i-00000000000000099"`)
	m.edit("kpls.auto.tfvars.json", `"interval_seconds": 5`, `"interval_seconds": 10`)
	got := m.changes()
	for _, c := range got {
		if !strings.HasPrefix(c, "update aws_lb_target_group.kpls") && !strings.Contains(c, "/2\"]") {
			t.Errorf("a replaced VM and another interval: %s", c)
		}
	}
	if len(got) != 11+2 {
		t.Errorf("%d changes:\n%s", len(got), strings.Join(got, "\n"))
	}
}

// TestAWSPreconditions: what the user forgets is refused before anything is asked of AWS.
func TestAWSPreconditions(t *testing.T) {
	for name, c := range map[string]struct{ from, to, want string }{
		"a broker without a target": {`  "2" = "i-00000000000000002"` + "\n", "", "broker_targets must have the brokers of the manifest and no others: 1, 2, 3."},
		"one target twice":          {"00002\"\n  \"3\"", "00001\"\n  \"3\"", "Two brokers have the same target."},
		"a zone without a subnet":   {`"usw2-az3" = `, `"usw2-az4" = `, "subnet_ids needs a subnet in each zone of the manifest: usw2-az1, usw2-az2, usw2-az3."},
		"a listener without CIDR":   {`"EXTERNAL" = `, `"OTHER" = `, "client_cidrs must have the listeners of the manifest and no others: EXTERNAL."},
		"no security group":         {`["sg-0123456789abcdef0"]`, `[]`, "broker_security_group_ids needs at least one group"},
	} {
		t.Run(name, func(t *testing.T) {
			m := aws(t, awsManifest(3))
			m.edit("terraform.tfvars", c.from, c.to)
			out, err := m.try("plan")
			if err == nil || !strings.Contains(strings.Join(strings.Fields(out), " "), c.want) {
				t.Errorf("%v, not %q:\n%s", err, c.want, out)
			}
		})
	}
}
