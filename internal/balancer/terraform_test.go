package balancer

import (
	"os"
	"slices"
	"strings"
	"testing"
)

// TestPlans: what a plan cannot know before it is applied is not shown; nothing is called missing, and nothing right.
func TestPlans(t *testing.T) {
	for _, c := range []struct {
		cloud  string
		hosts  map[int32][]string
		unseen []string
	}{
		{"azure", formOf(t, "terraform show (azurerm)").hosts, []string{
			"which VM the port leads to", "the probe", "which frontend the service leads to",
		}},
		{"aws", formOf(t, "terraform show (aws)").hosts, []string{"which VM the port leads to"}},
	} {
		data, err := os.ReadFile("testdata/terraform/" + c.cloud + ".plan.json")
		if err != nil {
			t.Fatal(err)
		}
		r, err := Compare(network(t, "manifest."+c.cloud+".yaml"), []Document{{"plan", data}}, Options{Hosts: c.hosts})
		if err != nil {
			t.Fatal(err)
		}
		var unseen []string
		for _, u := range r.Unseen {
			unseen = append(unseen, u.What)
			if !u.Matters {
				t.Errorf("%s: %s does not matter", c.cloud, u.What)
			}
		}
		if len(r.Findings) > 0 || r.OK || !slices.Equal(unseen, c.unseen) {
			t.Errorf("%s: %s", c.cloud, r.Advice())
		}
		// What a plan knows is compared: here the port at the VM, and a port of the load balancer.
		wrong := strings.Replace(string(data), `"backend_port": 39092`, `"backend_port": 39093`, 1)
		wrong = strings.Replace(wrong, `"port": 9093, "protocol"`, `"port": 9999, "protocol"`, 1)
		wrong = strings.Replace(wrong, `"port": 9093,`, `"port": 9999,`, 1)
		if wrong == string(data) {
			t.Fatalf("%s: nothing was planted", c.cloud)
		}
		r, err = Compare(network(t, "manifest."+c.cloud+".yaml"), []Document{{"plan", []byte(wrong)}}, Options{Hosts: c.hosts})
		if err != nil || len(r.Findings) == 0 {
			t.Errorf("%s: %v, what was planted is not found", c.cloud, err)
		}
	}
}

// TestModules: resources of a module that another one calls are read, and two load balancers are refused.
func TestModules(t *testing.T) {
	data, err := os.ReadFile("testdata/terraform/azure.state.json")
	if err != nil {
		t.Fatal(err)
	}
	f := formOf(t, "terraform show (azurerm)")
	inner := strings.Replace(string(data), `"root_module": {"resources"`, `"root_module": {"child_modules": [{"address": "module.kafka", "resources"`, 1)
	at := strings.LastIndex(inner, "]}}}")
	if at < 0 || inner == string(data) {
		t.Fatal("the state has another form")
	}
	inner = inner[:at] + "]}]" + inner[at+1:]
	r, err := Compare(network(t, "manifest.azure.yaml"), []Document{{"state", []byte(inner)}}, Options{Hosts: f.hosts})
	if err != nil || !r.OK {
		t.Errorf("in a module: %v %+v", err, r)
	}
	twice := strings.Replace(string(data), `{"resources": [`, `{"resources": [{"address": "azurerm_lb.web", "mode": "managed", "type": "azurerm_lb", "name": "web", "values": {}}, `, 1)
	_, err = Compare(network(t, "manifest.azure.yaml"), []Document{{"state", []byte(twice)}}, Options{})
	const want = "state: has 2 load balancers (azurerm_lb.web, azurerm_lb.kpls); give one with `az network lb show -o json`"
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}
