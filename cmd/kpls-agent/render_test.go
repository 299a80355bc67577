package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"example.com/kpls-agent/internal/render"
)

// renderedManifest is that of README.md.
const renderedManifest = `version: 1
cluster: kafka-pls
listeners:
  EXTERNAL:
    bind: 0.0.0.0:39092
    security_protocol: PLAINTEXT
    advertised: <broker_id>.abc.eastus.azure.3199745.tidbcloud.com:<port>
    probe_port: 39192
brokers:
  1: {ports: {EXTERNAL: 9093}, zone: "1"}
  2: {ports: {EXTERNAL: 9094}, zone: "2"}
  3: {ports: {EXTERNAL: 9095}, zone: "3"}
`

// rendered runs render with a manifest on standard input, in a folder of its own that is called DIR.
func rendered(t *testing.T, dir string, args ...string) (out, errOut string, code int) {
	t.Helper()
	args = append([]string{"render", "--manifest", "-"}, args...)
	for i, a := range args {
		args[i] = strings.ReplaceAll(a, "DIR", dir)
	}
	var o, e bytes.Buffer
	code = execute(t.Context(), args, strings.NewReader(renderedManifest), &o, &e)
	hide := func(b bytes.Buffer) string { return strings.ReplaceAll(b.String(), dir, "DIR") }
	return hide(o), hide(e), code
}

// TestRenderFolder: files are written once, compared, replaced, and left alone where somebody else wrote them.
func TestRenderFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "network")
	file := filepath.Join(dir, "kpls.json")
	printed, errOut, code := rendered(t, dir, "json")
	if code != exitDone || errOut != "" || !render.Ours([]byte(printed)) {
		t.Fatalf("exit %d: %s%s", code, errOut, printed)
	}
	step := func(what string, wantCode int, wantOut, wantErr string, args ...string) {
		t.Helper()
		out, errOut, code := rendered(t, dir, append([]string{"json"}, args...)...)
		if code != wantCode || !strings.Contains(out, wantOut) || wantOut == "" && out != "" || !strings.Contains(errOut, wantErr) ||
			wantErr == "" && errOut != "" {
			t.Errorf("%s: exit %d:\n%s%s", what, code, out, errOut)
		}
	}
	step("nothing is there", exitDiffers, "--- /dev/null\n+++ DIR/kpls.json\n@@ -0,0 +1,", "", "--out", "DIR", "--check")
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("--check has written: %v", err)
	}
	step("first", exitDone, "DIR/kpls.json  written\n", "", "--out", "DIR")
	if got := string(contents(t, file)); got != printed {
		t.Errorf("the file has\n%s", got)
	}
	step("again", exitDone, "DIR/kpls.json  unchanged\n", "", "--out", "DIR")
	step("the same", exitDone, "", "", "--out", "DIR", "--check")
	if err := os.WriteFile(file, []byte(strings.Replace(printed, "9094", "9999", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	step("edited", exitDiffers, "-          \"port\": 9999\n+          \"port\": 9094\n", "", "--out", "DIR", "--check")
	step("another one", exitDone, "DIR/kpls.json  written\n", "", "--out", "DIR", "--host", "1=10.0.0.4")
	if got := string(contents(t, file)); !strings.Contains(got, `"host": "10.0.0.4"`) {
		t.Errorf("the file has\n%s", got)
	}
	if err := os.WriteFile(file, []byte("{}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	const foreign = "kpls-agent: DIR/kpls.json was not written by this command, and is left as it is; move it away"
	step("not ours", exitUsage, "", foreign, "--out", "DIR")
	step("not ours", exitUsage, "", foreign, "--out", "DIR", "--check")
	if got := string(contents(t, file)); got != "{}\n" {
		t.Errorf("the file has\n%s", got)
	}
}

// TestRenderExample: what the user copies and fills in is written once.
func TestRenderExample(t *testing.T) {
	dir := t.TempDir()
	var out, errOut bytes.Buffer
	s := &shared{stdout: &out, stderr: &errOut}
	o := renderOptions{out: dir}
	made := &render.Output{Files: []render.File{{Name: "a.example", Mode: 0o755, Text: []byte("x\n"), Example: true}}}
	for range 2 {
		if err := o.folder(s, made); err != nil {
			t.Fatal(err)
		}
		made.Files[0].Text = []byte("y\n")
	}
	path := filepath.Join(dir, "a.example")
	if got := string(contents(t, path)); got != "x\n" || out.String() != path+"  written\n"+path+"  kept: an example is yours\n" {
		t.Errorf("%q: %s", got, out.String())
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("%v, %v", info, err)
	}
	o.check = true
	if err := o.folder(s, made); err != nil {
		t.Error(err)
	}
	o.out = t.TempDir() // where the user has moved it away
	if err := o.folder(s, made); err != nil {
		t.Errorf("without the example: %v", err)
	}
}

// TestRenderUsage: whatever is mistyped says what is meant, and prints nothing else.
func TestRenderUsage(t *testing.T) {
	for _, c := range []struct {
		args []string
		says string
	}{
		{nil, "`kpls-agent render` takes one target: json"},
		{[]string{"jsno"}, `there is no target "jsno"; expected json`},
		{[]string{"json", "--format", "yaml"}, "--format yaml: json has no such format; expected json"},
		{[]string{"json", "--check"}, "--check compares with files; name their folder with --out"},
		{[]string{"json", "--listener", "inside"}, "--listener INSIDE: there is no such managed listener; expected EXTERNAL"},
		{[]string{"json", "--host", "1"}, "--host 1: expected ID=ADDRESS with a broker's node.id"},
		{[]string{"json", "--host", "1=a b"}, "--host 1=a b: expected a DNS name or an IP address as host"},
		{[]string{"json", "--host", "x=10.0.0.4"}, "--host x=10.0.0.4: expected ID=ADDRESS"},
		{[]string{"json", "--host", "7=10.0.0.4"}, "--host 7=...: the manifest has no broker 7"},
		{[]string{"json", "--host", "1=a", "--host", "1=b"}, "--host 1=b: broker 1 has an address already"},
		{[]string{"json", "--manifest", "DIR/gone"}, "no such file or directory; name the file with --manifest"},
	} {
		out, errOut, code := rendered(t, t.TempDir(), c.args...)
		if code != exitUsage || out != "" || !strings.Contains(errOut, c.says) {
			t.Errorf("%v: exit %d: %s%s", c.args, code, out, errOut)
		}
	}
}

// TestRenderEndpoints: addresses of endpoints, one for all or by zone.
func TestRenderEndpoints(t *testing.T) {
	out, errOut, code := rendered(t, t.TempDir(), "dns", "--endpoint", "10.9.0.4", "--endpoint", "2=10.9.0.5")
	if code != exitDone || !strings.HasPrefix(errOut, "warning: TiDB Cloud makes the records of names such as b1.abc.eastus") ||
		!strings.Contains(out, "\nb2.abc.eastus.azure.3199745.tidbcloud.com. IN A 10.9.0.5 ; port 9094\n"+
			"b3.abc.eastus.azure.3199745.tidbcloud.com. IN A 10.9.0.4 ; port 9095\n") {
		t.Errorf("exit %d: %s%s", code, errOut, out)
	}
	_, errOut, code = rendered(t, t.TempDir(), "dns", "--endpoint", "10.9.0.4", "--endpoint", "10.9.0.5")
	if code != exitUsage || errOut != "kpls-agent: --endpoint 10.9.0.5: this zone has an endpoint already; leave one of them out\n" {
		t.Errorf("exit %d: %s", code, errOut)
	}
}
