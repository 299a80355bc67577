package haproxy

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestDocument types the blocks of docs/on-premises.md that need no other machine, one after the other in one folder.
func TestDocument(t *testing.T) {
	data, err := os.ReadFile("../../docs/on-premises.md")
	if err != nil {
		t.Fatal(err)
	}
	var script strings.Builder
	var names []string
	for _, m := range regexp.MustCompile("(?s)<!-- run: (\\w+) -->\n *```sh\n(.*?)\n *```").FindAllStringSubmatch(string(data), -1) {
		names = append(names, m[1])
		lines := strings.Split(m[2], "\n")
		indent := len(lines[0]) - len(strings.TrimLeft(lines[0], " "))
		for _, line := range lines {
			script.WriteString(strings.TrimPrefix(line, strings.Repeat(" ", indent)) + "\n")
		}
	}
	if got := strings.Join(names, " "); got != "manifest render check names ci" {
		t.Errorf("the document has the blocks %s", got)
	}
	bin := t.TempDir()
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", filepath.Join(bin, "kpls-agent"), "example.com/kpls-agent/cmd/kpls-agent").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	cmd := exec.CommandContext(t.Context(), "bash", "-eux")
	cmd.Dir = t.TempDir()
	cmd.Stdin = strings.NewReader(script.String())
	cmd.Env = append(os.Environ(), "PATH="+bin+":"+filepath.Dir(program(t))+":"+os.Getenv("PATH"))
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{
		"haproxy/haproxy.cfg  written", "Configuration file is valid", "b3.kafka.example.com. IN A 10.1.0.4 ; port 9095",
		"Bootstrap servers  b1.kafka.example.com:9092\n",
	} {
		if !strings.Contains(string(out), want) {
			t.Errorf("nothing says %q:\n%s", want, out)
		}
	}
}
