//go:build network

package network

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// block is a code block of a document that needs no cloud to be run. The comment above it has its name. In a list it is
// indented.
var block = regexp.MustCompile("(?ms)^ *<!-- run: ([a-z ]+) -->\n( *)```sh\n(.*?)^ *```")

// TestDocuments runs the commands of the documents, one after the other, as a reader types them: render is the program
// itself, terraform is OpenTofu with the stub, and gcloud a stand-in.
func TestDocuments(t *testing.T) {
	for document, shown := range map[string][]string{
		"aws.md": {
			"Apply complete!", `"Bootstrap Ports" = "9092"`, `"Zones" = "usw2-az1,usw2-az2,usw2-az3"`,
			"Plan: 4 to add, 2 to change, 0 to destroy.",
		},
		"azure.md": {
			"Apply complete! Resources: 19 added, 0 changed, 0 destroyed.", `"bootstrap_ports" = "9092"`,
			"Plan: 11 to add, 1 to change, 0 to destroy.", // a second project
			"Plan: 18 to add, 1 to change, 0 to destroy.", // and a fourth broker
		},
		"gcp.md": {
			"Service Attachment: projects/my-project/regions/us-west1/serviceAttachments/kafka-pls",
			"Bootstrap Ports of EXTERNAL: 9093,9094,9095",
			"--add-endpoint=client-destination-port=9096,instance=projects/my-project/zones/us-west1-a/instances/kafka-4,port=39092",
		},
	} {
		t.Run(document, func(t *testing.T) {
			script := blocks(t, document)
			out := typed(t, script)
			for _, want := range shown {
				if !strings.Contains(out, want) {
					t.Errorf("nothing shows %q:\n%s", want, out)
				}
			}
		})
	}
}

// blocks are the commands of a document, in its order.
func blocks(t *testing.T, document string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("../../docs", document))
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, found := range block.FindAllStringSubmatch(string(text), -1) {
		fmt.Fprintf(&b, "echo '== %s'\n", found[1])
		for line := range strings.Lines(found[3]) {
			b.WriteString(strings.TrimPrefix(line, found[2]))
		}
	}
	return b.String()
}

// typed runs a script in an empty folder, and has what a reader sees.
func typed(t *testing.T, script string) string {
	t.Helper()
	folder, bin := t.TempDir(), t.TempDir()
	build := exec.CommandContext(t.Context(), "go", "build", "-o", filepath.Join(bin, "kpls-agent"), "../../cmd/kpls-agent")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	fake, err := os.ReadFile("../../internal/render/testdata/gcp/fake-gcloud")
	if err != nil {
		t.Fatal(err)
	}
	tofu := command(t, folder, "version")
	for name, text := range map[string]string{
		"terraform": "#!/bin/sh\nexec " + tofu.Path + ` "$@"` + "\n", "gcloud": string(fake),
	} {
		if err := os.WriteFile(filepath.Join(bin, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	c := exec.CommandContext(t.Context(), "bash", "-euo", "pipefail", "-c", script)
	c.Dir = folder
	c.Env = append(os.Environ(), tofu.Env...)
	c.Env = append(c.Env, "PATH="+bin+":"+os.Getenv("PATH"), "FAKE="+t.TempDir(), "TF_CLI_ARGS=-no-color", "PAGER=cat")
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return string(out)
}
