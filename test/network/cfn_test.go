//go:build network

package network

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// template is the template of a manifest.
func template(t *testing.T, manifest string) string {
	t.Helper()
	return string(files(t, "aws", "cloudformation", manifest).Files[0].Text)
}

// cfnLint is what cfn-lint says of a template; empty is nothing.
func cfnLint(t *testing.T, text string) string {
	t.Helper()
	lint, err := filepath.Abs("../../.cache/cfn-lint/bin/cfn-lint")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(lint); err != nil {
		t.Fatalf("%v; `make network` installs it", err)
	}
	file := filepath.Join(t.TempDir(), "kpls.cfn.json")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), lint, "--regions", "us-west-2", "--format", "parseable", file).CombinedOutput()
	if err != nil && len(out) == 0 {
		t.Fatal(err)
	}
	return strings.ReplaceAll(string(out), file, "kpls.cfn.json")
}

// TestCloudFormation: cfn-lint has nothing to say, for clusters of all sizes.
func TestCloudFormation(t *testing.T) {
	for name, manifest := range map[string]string{
		"three brokers":                awsManifest(3),
		"two listeners":                awsManifest(11, "EXTERNAL2"),
		"all that a load balancer has": awsManifest(49),
	} {
		t.Run(name, func(t *testing.T) {
			if out := cfnLint(t, template(t, manifest)); out != "" {
				t.Error(out)
			}
		})
	}
}
