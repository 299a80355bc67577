package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"example.com/kpls-agent/test/sandbox"
)

// TestJudgeCommand: what the judge's service is given, and what it leaves.
func TestJudgeCommand(t *testing.T) {
	libs, err := sandbox.Libs(t.Context(), sandbox.Version())
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	good, bad := filepath.Join(dir, "good"), filepath.Join(dir, "bad")
	for path, text := range map[string]string{good: brokerFile, bad: brokerFile + "num.io.threads=8 # tuned\n"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{good, "--kafka-home", libs}, exitDone, "Kafka " + sandbox.Version() + " on Java "},
		{[]string{bad, "--kafka-home", libs}, exitDiffers, "refused     " + bad + ":11: "},
		{[]string{good, "--kafka-home", libs, "--override", "num.io.threads=x", "-o", "json"}, exitDiffers, `"refused": [`},
		{[]string{good, "--kafka-home", dir}, exitFailed, dir + " is no Kafka"},
		{[]string{good, "--kafka-home", dir, "-o", "json"}, exitFailed, `"fault": "kafka has not judged `},
		{[]string{filepath.Join(dir, "none")}, exitUsage, "read the file"},
	} {
		var o, e bytes.Buffer
		code := execute(t.Context(), append([]string{"judge"}, c.args...), strings.NewReader(""), &o, &e)
		if code != c.code || !strings.Contains(o.String()+e.String(), c.want) {
			t.Errorf("%v: exit %d, want %q:\n%s%s", c.args, code, c.want, o.String(), e.String())
		}
		if c.args[len(c.args)-1] == "json" && !json.Valid(o.Bytes()) {
			t.Errorf("%v: no JSON: %s", c.args, o.String())
		}
	}
}
