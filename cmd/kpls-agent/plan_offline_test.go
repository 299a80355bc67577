package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"example.com/kpls-agent/test/sandbox"
)

// planned runs plan --offline in a folder of its own.
func planned(t *testing.T, properties string, args ...string) (dir, out, errOut string, code int) {
	t.Helper()
	dir = t.TempDir()
	for name, text := range map[string]string{"in": properties, "manifest": checkedManifest} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o640); err != nil {
			t.Fatal(err)
		}
	}
	args = append([]string{"plan", "--offline", "--server-properties", filepath.Join(dir, "in"), "--manifest", filepath.Join(dir, "manifest"), "--kafka-version", "3.7.1"}, args...)
	for i, a := range args {
		args[i] = strings.ReplaceAll(a, "DIR", dir)
	}
	var o, e bytes.Buffer
	code = execute(t.Context(), args, strings.NewReader(""), &o, &e)
	hide := func(b bytes.Buffer) string { return strings.ReplaceAll(b.String(), dir, "DIR") }
	return dir, hide(o), hide(e), code
}

const brokerFile = "# a broker\n" + checkedProperties

func TestPlanOffline(t *testing.T) {
	const diff = "--- DIR/in\n+++ DIR/in\n@@ -7,1 +7,1 @@\n-listeners="
	dir, out, errOut, code := planned(t, brokerFile, "--out", "DIR/out")
	info, err := os.Stat(filepath.Join(dir, "out"))
	if err != nil {
		t.Fatal(err)
	}
	wanted := string(contents(t, filepath.Join(dir, "out")))
	if code != exitDiffers || !strings.HasPrefix(out, diff) || errOut != "" || info.Mode().Perm() != 0o640 || !strings.Contains(wanted, "EXTERNAL://127.0.0.1:39092") {
		t.Errorf("exit %d, mode %s:\n%s%s\n%s", code, info.Mode(), out, errOut, wanted)
	}
	// Nothing is to change: the file is there all the same.
	dir, out, errOut, code = planned(t, wanted, "--out", "DIR/out")
	if got := string(contents(t, filepath.Join(dir, "out"))); code != exitDone || out != "" || errOut != "" || got != wanted {
		t.Errorf("exit %d:\n%s%s\n%s", code, out, errOut, got)
	}
	// To standard output goes the file alone.
	_, out, errOut, code = planned(t, brokerFile, "--out", "-")
	if code != exitDiffers || out != wanted || !strings.HasPrefix(errOut, diff) {
		t.Errorf("exit %d:\n%s%s", code, out, errOut)
	}
	// What is odd is told, of a refused file as well.
	const odd = "warning: DIR/in:11: CONTROLLER looks like the rest of a value that was torn"
	for file, want := range map[string]int{
		brokerFile + "  CONTROLLER://127.0.0.1:29092\n":                                                                exitDiffers,
		strings.ReplaceAll(brokerFile, ",CONTROLLER://127.0.0.1:29092", "") + "  CONTROLLER://127.0.0.1:29092\n":       exitUsage,
		strings.ReplaceAll(wanted, ",EXTERNAL://127.0.0.1:39092", "") + "  CONTROLLER://127.0.0.1:29092\nlog.dirs=a\n": exitDiffers,
	} {
		if _, out, errOut, code := planned(t, file, "--out", "DIR/out"); code != want || !strings.Contains(errOut, odd) {
			t.Errorf("exit %d:\n%s%s", code, out, errOut)
		}
	}
	_, out, errOut, code = planned(t, strings.ReplaceAll(wanted, ",EXTERNAL://127.0.0.1:39092", "")+"log.dirs=a\n", "--out", "DIR/out", "-o", "json")
	for _, want := range []string{`"changed": true`, `"broker": 1`, `log.dirs is given 2 times`, `Kafka would not start with DIR/in:8 as it is: listener EXTERNAL is advertised and not in listeners`} {
		if !strings.Contains(out, want) || code != exitDiffers || errOut != "" {
			t.Errorf("exit %d, without %q:\n%s%s", code, want, out, errOut)
		}
	}
	for _, args := range [][]string{{"--out", "-", "-o", "json"}, {}, {"--out", "DIR/no/such"}, {"--out", "DIR/out", "--kafka-version", "x"}} {
		if _, _, errOut, code := planned(t, brokerFile, args...); code == exitDiffers || code == exitDone || errOut == "" {
			t.Errorf("%v: exit %d, %s", args, code, errOut)
		}
	}
}

// TestPlanJudged: an installed Kafka refuses what no rule of the agent's sees; without one the result is written, and said.
func TestPlanJudged(t *testing.T) {
	libs, err := sandbox.Libs(t.Context(), sandbox.Version())
	if err != nil {
		t.Fatal(err)
	}
	none := filepath.Join(t.TempDir(), "none.p12")
	broken := brokerFile + "metric.reporters=com.example.Reporter\n"
	for _, c := range []struct {
		name, file, home string
		code             int
		want             string
	}{
		{"taken", brokerFile, libs, exitDiffers, ""},
		{"refused", broken, libs, exitUsage, "would not start a broker with the result: metric.reporters: class com.example.Reporter cannot be loaded"},
		{"not judged", broken, none, exitDiffers, "warning: Kafka has not judged the result: " + none + " is no Kafka"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir, out, errOut, code := planned(t, c.file, "--out", "DIR/out", "--kafka-home", c.home)
			_, err := os.Stat(filepath.Join(dir, "out"))
			if code != c.code || !strings.Contains(errOut, c.want) || (err == nil) != (c.code == exitDiffers) || c.want == "" && errOut != "" {
				t.Errorf("exit %d, written: %v\n%s%s", code, err, out, errOut)
			}
		})
	}
	_, out, errOut, code := planned(t, brokerFile, "--out", "DIR/out", "--kafka-home", libs, "-o", "json")
	if code != exitDiffers || !strings.Contains(out, `"kafka": "`+sandbox.Version()+`"`) {
		t.Errorf("exit %d\n%s%s", code, out, errOut)
	}
}

// TestCheckSharedFile: check sees lines that another program tore or undid.
func TestCheckSharedFile(t *testing.T) {
	undone := strings.Replace(checkedProperties, "advertised.listeners=", "advertised.listeners=EXTERNAL://b1.kafka.example.com:9093,", 1)
	out, code := checked(t, undone+"  CONTROLLER://127.0.0.1:29092\nlog.dirs=/x\n", checkedManifest, "--offline")
	for _, want := range []string{
		"warning  lines of server.properties: DIR/server.properties:10: CONTROLLER looks like the rest of a value that was torn",
		"warning  lines of server.properties: DIR/server.properties:11: log.dirs is given 2 times (lines 9 and 11)",
		"warning  manifest for this broker: Kafka would not start with DIR/server.properties:8 as it is: listener EXTERNAL ",
		"; whoever writes it must write EXTERNAL://127.0.0.1:39092 into listeners, EXTERNAL://b1.kafka.example.com:9093 into advertised.listeners, EXTERNAL:PLAINTEXT into ",
	} {
		if !strings.Contains(out, want) || code != exitDone {
			t.Errorf("exit %d, without %q:\n%s", code, want, out)
		}
	}
}
