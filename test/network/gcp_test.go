//go:build network

package network

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// gcpManifest is one of n brokers with listeners whose ports do not overlap.
func gcpManifest(n int, listeners ...string) string {
	var b strings.Builder
	b.WriteString("version: 1\ncluster: kafka-pls\nlisteners:\n")
	for i, l := range listeners {
		fmt.Fprintf(&b, "  %s:\n    bind: 0.0.0.0:%d\n    security_protocol: SASL_SSL\n    advertised: <broker_id>.%s.example.com:<port>\n"+
			"    port_base: %d\n    probe_port: %d\n", l, 39092+i, strings.ToLower(l), 9092+1000*i, 39192+i)
	}
	b.WriteString("brokers:\n")
	for id := 1; id <= n; id++ {
		fmt.Fprintf(&b, "  %d: {zone: us-west1-%c}\n", id, 'a'+(id-1)%3)
	}
	return b.String()
}

// TestGCPLeads plans and applies the module for two listeners, and follows each port to its broker.
func TestGCPLeads(t *testing.T) {
	text := gcpManifest(11, "EXTERNAL", "EXTERNAL2")
	m := rendered(t, "gcp", "terraform", text)
	m.tofu("validate")
	m.tofu("fmt", "-check", "-diff")
	m.tofu("apply", "-auto-approve")
	made := m.made()
	var got, want []string
	hosts := map[int32][]string{}
	for _, r := range made {
		if r.Type == "google_compute_region_network_endpoint" {
			got = append(got, fmt.Sprintf("%v -> %v (%v):%v", r.Values["client_destination_port"], r.Values["instance"],
				r.Values["ip_address"], r.Values["port"]))
		}
	}
	for id := 1; id <= 11; id++ {
		hosts[int32(id)] = []string{fmt.Sprintf("kafka-%d", id)}
		vm := fmt.Sprintf("projects/my-project/zones/us-west1-a/instances/kafka-%d (10.64.0.%d)", id, id)
		want = append(want, fmt.Sprintf("%d -> %s:39092", 9092+id, vm), fmt.Sprintf("%d -> %s:39093", 10092+id, vm))
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("\ngot  %s\nwant %s", strings.Join(got, "\n     "), strings.Join(want, "\n     "))
	}
	attachment := made["google_compute_service_attachment.kpls"].Values
	for name, want := range map[string]any{
		"connection_preference": "ACCEPT_MANUAL", "enable_proxy_protocol": false, "reconcile_connections": true,
		"target_service": made["google_compute_forwarding_rule.kpls"].Values["id"],
	} {
		if got := attachment[name]; got != want {
			t.Errorf("%s of the service attachment is %v, want %v", name, got, want)
		}
	}
	if checks := made["google_compute_region_backend_service.kpls"].Values["health_checks"]; checks != nil {
		t.Errorf("a port mapping takes no health check: %v", checks)
	}
	allow := made["google_compute_firewall.psc"].Values["allow"].([]any)[0].(map[string]any)
	if ports := fmt.Sprint(allow["ports"]); ports != "[39092 39093]" {
		t.Errorf("the firewall lets %s in", ports)
	}
	if out := m.tofu("plan", "-detailed-exitcode"); !strings.Contains(out, "No changes.") {
		t.Errorf("a second plan changes something:\n%s", out)
	}
	m.verified(text, hosts)
}

// TestGCPChanges: a broker that comes makes its own endpoints and changes nothing else.
func TestGCPChanges(t *testing.T) {
	m := rendered(t, "gcp", "terraform", gcpManifest(9, "EXTERNAL", "EXTERNAL2"))
	m.tofu("apply", "-auto-approve")
	m.render(gcpManifest(10, "EXTERNAL", "EXTERNAL2"))
	m.user(gcpManifest(10, "EXTERNAL", "EXTERNAL2"))
	want := []string{
		`create google_compute_region_network_endpoint.kpls["external-b10"]`,
		`create google_compute_region_network_endpoint.kpls["external2-b10"]`,
		`update google_compute_forwarding_rule.kpls`, // its label says which manifest it follows
	}
	if got := m.changes(); !slices.Equal(got, want) {
		t.Errorf("a tenth broker:\n%s", strings.Join(got, "\n"))
	}
}

// TestGCPPreconditions: what the user forgets is refused before anything is asked of Google Cloud.
func TestGCPPreconditions(t *testing.T) {
	for name, c := range map[string]struct{ from, to, want string }{
		"a broker without a VM": {`  "2" = `, `  "4" = `, "brokers must have the brokers of the manifest and no others: 1, 2, 3."},
		"one VM twice":          {`instances/kafka-2"`, `instances/kafka-1"`, "Two brokers have the same VM."},
		"no tag":                {`["kafka"]`, `[]`, "broker_tags needs at least one tag"},
	} {
		t.Run(name, func(t *testing.T) {
			m := rendered(t, "gcp", "terraform", gcpManifest(3, "EXTERNAL"))
			m.edit("terraform.tfvars", c.from, c.to)
			out, err := m.try("plan")
			if err == nil || !strings.Contains(strings.Join(strings.Fields(out), " "), c.want) {
				t.Errorf("%v, not %q:\n%s", err, c.want, out)
			}
		})
	}
}
