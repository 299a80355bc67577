package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// templates are the golden files of internal/render: its tests compare them with what is written.
const templates = "../../../internal/render/testdata/azure/*/arm/kpls.arm.json"

// TestTemplates: Azure's types have every property, with its type.
func TestTemplates(t *testing.T) {
	files, err := filepath.Glob(templates)
	if err != nil || len(files) < 3 {
		t.Fatalf("%v, %d templates", err, len(files))
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, lost := range judge(string(text)) {
			t.Errorf("%s: %s", file, lost)
		}
	}
}

// TestMistakes: what is planted is found, so a template without a finding means something.
func TestMistakes(t *testing.T) {
	text, err := os.ReadFile(strings.Replace(templates, "*", "three", 1))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ from, to, want string }{
		{`"probeThreshold"`, `"probeTreshold"`, "probeTreshold: no property of this type"},
		{`"enableTcpReset"`, `"enableTCPReset"`, "enableTCPReset: no property of this type"},
		{`"noHealthyBackendsBehavior"`, `"noHealthyBackendBehavior"`, "noHealthyBackendBehavior: no property of this type"},
		{`"frontendPort": 9093`, `"frontendPort": "9093"`, "FrontendPort: json: cannot unmarshal string"},
		{`"privateLinkServiceNetworkPolicies"`, `"privateLinkServicePolicies"`, "privateLinkServicePolicies: no property of this type"},
		{`Microsoft.Network/privateLinkServices"`, `Microsoft.Network/privateLinkService"`, "no type for"},
	} {
		if !strings.Contains(string(text), c.from) {
			t.Fatalf("the template has no %s", c.from)
		}
		if got := strings.Join(judge(strings.Replace(string(text), c.from, c.to, 1)), "\n"); !strings.Contains(got, c.want) {
			t.Errorf("%s: got %q, want %q", c.to, got, c.want)
		}
	}
}
