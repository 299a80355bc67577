//go:build network

package network

import (
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// azure is a module with the values of the example that it comes with.
func azure(t *testing.T, manifest string) module {
	t.Helper()
	return rendered(t, "azure", "terraform", manifest)
}

// azureMistaken is the manifest that mistakes are planted into.
const azureMistaken = `version: 1
cluster: kafka-pls
listeners:
  EXTERNAL:
    bind: 0.0.0.0:39092
    security_protocol: PLAINTEXT
    advertised_by_zone:
      "1": <broker_id>.z1.example.com:<port>
      "2": <broker_id>.z2.example.com:<port>
      "3": <broker_id>.z3.example.com:<port>
    probe_port: 39192
  EXTERNAL2:
    bind: 0.0.0.0:39093
    security_protocol: PLAINTEXT
    advertised: <broker_id>.external2.example.com:<port>
    port_base: 9200
    probe_port: 39193
brokers:
  1: {ports: {EXTERNAL: 9093}, zone: "1"}
  2: {ports: {EXTERNAL: 9094}, zone: "2"}
  3: {ports: {EXTERNAL: 9095}, zone: "3"}
load_balancer: {interval: 5s, healthy_threshold: 2}
`

// azureTypes is what Azure's own types say of a template; empty is nothing.
func azureTypes(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "kpls.arm.json")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), "../../.cache/network/arm", file).CombinedOutput()
	if err != nil && len(out) == 0 {
		t.Fatalf("%v; `make network` builds it", err)
	}
	return string(out)
}

// azureHosts are the network interfaces of the example, by broker.
func azureHosts(brokers int) map[int32][]string {
	out := map[int32][]string{}
	for id := range int32(brokers) {
		out[id+1] = []string{fmt.Sprintf("broker-node-%d", id+1)}
	}
	return out
}

// TestAzurePlans: OpenTofu takes what is written, for clusters of all sizes, and would make a pool and a rule for each
// listener and broker.
func TestAzurePlans(t *testing.T) {
	cases := []struct {
		name, manifest                      string
		rules, members, probes, services, n int
	}{
		{"three brokers", manifest(3, "EXTERNAL"), 3, 3, 1, 1, 3},
		{"two listeners", manifest(49, "EXTERNAL", "EXTERNAL2"), 98, 98, 2, 2, 49},
		{"a bootstrap port", withBootstrap(manifest(49, "EXTERNAL")), 50, 98, 2, 1, 49},
		{"300 brokers", manifest(300, "EXTERNAL"), 300, 300, 1, 1, 300},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			m := azure(t, c.manifest)
			m.tofu("validate")
			planned := m.planned()
			for kind, want := range map[string]int{
				"azurerm_lb": 1, "azurerm_lb_rule": c.rules, "azurerm_lb_backend_address_pool": c.rules,
				"azurerm_network_interface_backend_address_pool_association": c.members,
				"azurerm_lb_probe": c.probes, "azurerm_private_link_service": c.services, "azurerm_subnet": 1,
			} {
				if got := count(planned, kind); got != want {
					t.Errorf("%d of %s, want %d", got, kind, want)
				}
			}
			for name, want := range map[string]any{
				"frontend_port": 9092. + float64(c.n), "backend_port": 39092., "floating_ip_enabled": false,
				"tcp_reset_enabled": true, "idle_timeout_in_minutes": 15., "disable_outbound_snat": true,
				"frontend_ip_configuration_name": "external", "protocol": "Tcp",
			} {
				last := planned[fmt.Sprintf(`azurerm_lb_rule.rule["external-b%d"]`, c.n)]
				if got := last.Values[name]; got != want {
					t.Errorf("%s of the last rule is %v, want %v", name, got, want)
				}
			}
		})
	}
}

// TestAzureLeads applies the module, and follows each port to its broker by the ids that the resources have.
func TestAzureLeads(t *testing.T) {
	text := withBootstrap(manifest(11, "EXTERNAL", "EXTERNAL2"))
	m := azure(t, text)
	m.tofu("apply", "-auto-approve")
	m.verified(text, azureHosts(11))
	made := m.made()
	members := map[string][]string{} // network interfaces by the id of a pool
	for _, r := range made {
		if r.Type == "azurerm_network_interface_backend_address_pool_association" {
			pool := r.Values["backend_address_pool_id"].(string)
			members[pool] = append(members[pool], path.Base(r.Values["network_interface_id"].(string)))
		}
	}
	var got []string
	for _, r := range made {
		if r.Type == "azurerm_lb_rule" {
			pool := r.Values["backend_address_pool_ids"].([]any)[0].(string)
			slices.Sort(members[pool])
			got = append(got, fmt.Sprintf("%v:%v -> %v:%v, %v", r.Values["frontend_ip_configuration_name"],
				r.Values["frontend_port"], strings.Join(members[pool], " "), r.Values["backend_port"], r.Values["probe_id"]))
		}
	}
	var want, all []string
	for id := 1; id <= 11; id++ {
		nic := fmt.Sprintf("broker-node-%d", id)
		all = append(all, nic)
		want = append(want,
			fmt.Sprintf("external:%d -> %s:39092, /azurerm_lb_probe/external/id", 9092+id, nic),
			fmt.Sprintf("external2:%d -> %s:39093, /azurerm_lb_probe/external2/id", 9092+id, nic))
	}
	slices.Sort(all)
	want = append(want, fmt.Sprintf("external:9092 -> %s:39090, /azurerm_lb_probe/all/id", strings.Join(all, " ")))
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("\ngot  %s\nwant %s", strings.Join(got, "\n     "), strings.Join(want, "\n     "))
	}
	for address, want := range map[string]string{
		`azurerm_private_link_service.listener["external"]`:  "[/azurerm_lb/kafka-pls-lb/id/frontendIPConfigurations/external]",
		`azurerm_private_link_service.listener["external2"]`: "[/azurerm_lb/kafka-pls-lb/id/frontendIPConfigurations/external2]",
	} {
		if got := fmt.Sprint(made[address].Values["load_balancer_frontend_ip_configuration_ids"]); got != want {
			t.Errorf("%s: got %s, want %s", address, got, want)
		}
	}
	out := m.tofu("output", "-json", "console")
	for _, want := range []string{`"bootstrap_ports":"9092"`, `"bootstrap_ports":"9093,9094,9095"`} {
		if !strings.Contains(out, want) {
			t.Errorf("the output has no %s:\n%s", want, out)
		}
	}
	if out := m.tofu("plan", "-detailed-exitcode"); !strings.Contains(out, "No changes.") {
		t.Errorf("a second plan changes something:\n%s", out)
	}
}

// TestAzureChanges: a broker that comes makes three resources and changes none; a customer that goes takes away only
// what was its own, and in an order that Azure takes: what refers to a frontend goes before the frontend.
func TestAzureChanges(t *testing.T) {
	customerGone := strings.ReplaceAll(manifest(3, "EXTERNAL2"), "39092", "39093")
	customerGone = strings.ReplaceAll(customerGone, "39192", "39193")
	m := azure(t, manifest(3, "EXTERNAL", "EXTERNAL2"))
	m.tofu("apply", "-auto-approve")

	m.render(manifest(4, "EXTERNAL", "EXTERNAL2"))
	m.user(manifest(4, "EXTERNAL", "EXTERNAL2"))
	changes := m.changes()
	want := []string{
		`create azurerm_lb_backend_address_pool.rule["external-b4"]`,
		`create azurerm_lb_backend_address_pool.rule["external2-b4"]`,
		`create azurerm_lb_rule.rule["external-b4"]`,
		`create azurerm_lb_rule.rule["external2-b4"]`,
		`create azurerm_network_interface_backend_address_pool_association.member["external-b4"]`,
		`create azurerm_network_interface_backend_address_pool_association.member["external2-b4"]`,
		`update azurerm_lb.kpls`, // its tag says which manifest it follows
	}
	if !slices.Equal(changes, want) {
		t.Errorf("a fourth broker:\n%s", strings.Join(changes, "\n"))
	}

	m.render(customerGone)
	m.user(customerGone)
	out := m.tofu("apply", "-auto-approve")
	frontend := strings.Index(out, "azurerm_lb.kpls: Modifying")
	gone := regexp.MustCompile(`(\S+): Destruction complete`).FindAllStringSubmatchIndex(out, -1)
	if frontend < 0 || len(gone) != 11 {
		t.Fatalf("the frontend goes at %d, and %d resources go:\n%s", frontend, len(gone), out)
	}
	for _, at := range gone {
		if address := out[at[2]:at[3]]; strings.Contains(address, "external2") || at[0] > frontend {
			t.Errorf("%s goes, or too late:\n%s", address, out)
		}
	}
}

// TestAzurePreconditions: a broker without a network interface, and a listener without a customer, are refused.
func TestAzurePreconditions(t *testing.T) {
	for name, c := range map[string]struct{ from, to, want string }{
		"a broker more":      {"2: {ports", "4: {ports", "azure.broker_nics must have exactly the brokers of the manifest: 1, 3, 4."},
		"another listener":   {"EXTERNAL", "OTHER", "azure.consumers must have exactly the listeners other."},
		"nine NAT addresses": {"", "", "azure.nat_subnet.addresses must be 1 to 8."},
	} {
		t.Run(name, func(t *testing.T) {
			m := azure(t, manifest(3, "EXTERNAL"))
			if c.from != "" {
				m.render(strings.ReplaceAll(manifest(3, "EXTERNAL"), c.from, c.to))
			} else {
				m.edit("terraform.tfvars", "address_prefix ", "addresses = 9\n    address_prefix ")
			}
			out, err := m.try("plan")
			if err == nil || !strings.Contains(strings.Join(strings.Fields(out), " "), c.want) {
				t.Errorf("%v, not %q:\n%s", err, c.want, out)
			}
		})
	}
}

func count(all map[string]resource, kind string) int {
	n := 0
	for _, r := range all {
		if r.Type == kind {
			n++
		}
	}
	return n
}
