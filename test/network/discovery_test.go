//go:build network

package network

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// discovery is a part of the discovery document of Google's Compute API: what resources are made of.
type discovery struct {
	Revision string
	Schemas  map[string]shape
}

type shape struct {
	Ref        string `json:"$ref"`
	Properties map[string]shape
	Items      *shape
	Enum       []string
}

// compute is the document in the Go module of the API's clients, which OpenTofu needs as well.
func compute(t *testing.T) discovery {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "mod", "download", "-modfile=../../tools/opentofu/go.mod", "-json",
		"google.golang.org/api").Output()
	if err != nil {
		t.Fatal(err)
	}
	var module struct{ Dir string }
	if err := json.Unmarshal(out, &module); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(module.Dir, "compute/v1/compute-api.json"))
	if err != nil {
		t.Fatal(err)
	}
	var d discovery
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	return d
}

// at is the shape of a field, such as backends.group; false if there is none.
func (d discovery) at(resource, path string) (shape, bool) {
	s, ok := d.Schemas[resource]
	for name := range strings.SplitSeq(path, ".") {
		if !ok {
			return s, false
		}
		if s, ok = s.Properties[name]; !ok {
			return s, false
		}
		if s.Items != nil {
			s = *s.Items
		}
		if s.Ref != "" {
			s, ok = d.Schemas[s.Ref]
		}
	}
	return s, ok
}

// asked is a command of the script that reads: its words, and its format.
var asked = regexp.MustCompile(`gcloud compute ([a-z -]+?) (?:describe|list-network-endpoints) .*--format=value[^(]*\(([^)]*)\)`)

// TestGCPFields: what the script reads of a resource are fields that the API has.
func TestGCPFields(t *testing.T) {
	d := compute(t)
	commands, err := os.ReadFile("../../internal/render/testdata/gcp/commands.txt")
	if err != nil {
		t.Fatal(err)
	}
	resources := map[string]string{
		"networks subnets": "Subnetwork", "forwarding-rules": "ForwardingRule", "backend-services": "BackendService",
		"service-attachments": "ServiceAttachment", "network-endpoint-groups": "NetworkEndpointWithHealthStatus",
	}
	read := 0
	for _, found := range asked.FindAllStringSubmatch(string(commands), -1) {
		for field := range strings.SplitSeq(found[2], ",") {
			read++
			if _, ok := d.at(resources[found[1]], field); !ok {
				t.Errorf("%s has no field %s in the API of revision %s", found[1], field, d.Revision)
			}
		}
	}
	if read != 7 {
		t.Errorf("%d fields are read, not 7", read)
	}
}

// TestGCPValues: the values that the script and the module give are those of the API's enumerations, which neither
// gcloud's stand-in nor the stub of the provider knows.
func TestGCPValues(t *testing.T) {
	d := compute(t)
	script := string(files(t, "gcp", "gcloud", gcpManifest(3, "EXTERNAL")).Files[0].Text)
	module := string(files(t, "gcp", "terraform", gcpManifest(3, "EXTERNAL")).Files[0].Text)
	for _, c := range []struct{ resource, field, value, script, module string }{
		{"Subnetwork", "purpose", "PRIVATE_SERVICE_CONNECT", "--purpose=PRIVATE_SERVICE_CONNECT", `"PRIVATE_SERVICE_CONNECT"`},
		{"NetworkEndpointGroup", "networkEndpointType", "GCE_VM_IP_PORTMAP", "--network-endpoint-type=GCE_VM_IP_PORTMAP", `"GCE_VM_IP_PORTMAP"`},
		{"BackendService", "loadBalancingScheme", "INTERNAL", "--load-balancing-scheme=internal", `load_balancing_scheme = "INTERNAL"`},
		{"BackendService", "protocol", "TCP", "--protocol=TCP", `protocol              = "TCP"`},
		{"BackendService", "backends.balancingMode", "CONNECTION", "", `balancing_mode = "CONNECTION"`},
		{"ForwardingRule", "IPProtocol", "TCP", "--ip-protocol=TCP", `ip_protocol           = "TCP"`},
		{"Firewall", "direction", "INGRESS", "--direction=INGRESS", `direction     = "INGRESS"`},
		{"ServiceAttachment", "connectionPreference", "ACCEPT_MANUAL", "--connection-preference=ACCEPT_MANUAL", `"ACCEPT_MANUAL"`},
	} {
		if s, ok := d.at(c.resource, c.field); !ok || !slices.Contains(s.Enum, c.value) {
			t.Errorf("%s of %s takes %v, not %s", c.field, c.resource, s.Enum, c.value)
		}
		if !strings.Contains(script, c.script) {
			t.Errorf("the script has no %s", c.script)
		}
		if !strings.Contains(module, c.module) {
			t.Errorf("the module has no %s", c.module)
		}
	}
}
