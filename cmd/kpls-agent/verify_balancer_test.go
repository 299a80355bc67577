package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// columns are the blanks between two columns: their number depends on the other rows.
var columns = regexp.MustCompile(`(\S) {2,}`)

// TestVerifyBalancer: people get a table and what to do, programs one object in every case; the exit codes differ.
func TestVerifyBalancer(t *testing.T) {
	of := filepath.Join("..", "..", "internal", "balancer", "testdata")
	file := func(name string) string { return filepath.Join(of, name) }
	cut := filepath.Join(t.TempDir(), "cut.json")
	if err := os.WriteFile(cut, []byte(`{"frontendIPConfigurations": [`), 0o600); err != nil {
		t.Fatal(err)
	}
	azure := []string{
		"--manifest", file("manifest.azure.yaml"), "--balancer", file("azure/lb.show.json"),
		"--balancer", file("azure/external.show.json"), "--balancer", file("azure/external2.show.json"),
	}
	for name, c := range map[string]struct {
		args  []string
		code  int
		says  []string
		err   string
		fault string
	}{
		"agrees": {
			append([]string{"--host", "1=kafka-1-nic", "--host", "2=kafka-2-nic", "--host", "3=kafka-3-nic"}, azure...), exitDone,
			[]string{"EXTERNAL 1 9093 rule EXTERNAL-b1 -> kafka-1-nic:39092 ok\n"},
			"", "",
		},
		"swapped": {
			append([]string{"--host", "2=kafka-1-nic", "--host", "1=kafka-2-nic", "--host", "3=kafka-3-nic"}, azure...), exitFailed,
			[]string{
				"EXTERNAL 1 9093 rule EXTERNAL-b1 -> kafka-1-nic:39092 wrong_broker\n",
				"EXTERNAL, broker 1, port 9093: rule EXTERNAL-b1 leads to kafka-1-nic, the VM of broker 2: ",
				"  to do: lead port 9093 to broker 1 alone\n",
			},
			"the load balancer is not as the manifest needs it", "",
		},
		"one listener": {
			append([]string{"--listener", "external", "--host", "1=kafka-1-nic", "--host", "2=kafka-2-nic", "--host", "3=kafka-3-nic"}, azure...), exitDone,
			[]string{"EXTERNAL 3 9095 rule EXTERNAL-b3 -> kafka-3-nic:39092 ok\n"},
			"", "",
		},
		"which VM is not known": {
			azure, exitFailed,
			[]string{"NOT SHOWN: which broker's VM it is (kafka-1-nic, kafka-2-nic, kafka-3-nic)\n  to do: say it with --host ID=NAME for each broker\n"},
			"nothing differs in what is shown, but not all that matters is shown", "",
		},
		"cut off": {
			[]string{"--manifest", file("manifest.azure.yaml"), "--balancer", cut},
			exitUsage, nil,
			"cut.json: ends in the middle of its JSON, in line 1: it is cut off; run the command again", "usage",
		},
		"no file": {
			[]string{"--manifest", file("manifest.azure.yaml"), "--balancer", file("gone.json")}, exitUsage, nil, "--balancer: open ", "usage",
		},
		"no broker of this id": {
			append([]string{"--host", "7=x"}, azure...), exitUsage, nil, "--host 7=...: the manifest has no broker 7 in its table", "usage",
		},
		"a host without an id": {
			append([]string{"--host", "kafka-1-nic"}, azure...), exitUsage, nil, `--host "kafka-1-nic": expected ID=NAME, such as 1=kafka-1-nic`, "usage",
		},
		"no manifest": {
			[]string{"--manifest", file("gone.yaml"), "--balancer", cut}, exitUsage, nil, "name the file with --manifest", "usage",
		},
		"standard input": {
			[]string{"--manifest", file("manifest.azure.yaml"), "--balancer", "-"}, exitUsage, nil, "-: is an empty list", "usage",
		},
	} {
		run := func(more ...string) (string, string, int) {
			var out, errOut bytes.Buffer
			code := execute(t.Context(), append(append([]string{"verify"}, c.args...), more...), strings.NewReader("[]"), &out, &errOut)
			return out.String(), errOut.String(), code
		}
		out, errOut, code := run()
		if code != c.code || !strings.Contains(errOut, c.err) || (c.err == "") != (errOut == "") {
			t.Errorf("%s: exit %d:\n%s%s", name, code, out, errOut)
		}
		for _, says := range c.says {
			if !strings.Contains(columns.ReplaceAllString(out, "$1 "), says) {
				t.Errorf("%s does not say %q:\n%s", name, says, out)
			}
		}
		out, _, code = run("-o", "json")
		var report struct {
			OK                     *bool
			Fault                  struct{ Code string }
			Rows, Findings, Unseen []any
		}
		if err := json.Unmarshal([]byte(out), &report); err != nil || code != c.code || report.OK == nil || *report.OK != (code == exitDone) ||
			report.Fault.Code != c.fault || strings.Contains(out, "null") {
			t.Errorf("%s: exit %d, %v:\n%s", name, code, err, out)
		}
	}
}
