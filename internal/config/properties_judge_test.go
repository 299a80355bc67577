package config

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"example.com/kpls-agent/test/sandbox"
)

// judge is a JVM that answers for the real java.util.Properties and for the
// configuration class of one Kafka version.
type judge struct {
	tb  testing.TB
	in  io.Writer
	out *bufio.Reader
	log bytes.Buffer
}

// newJudge starts the JVM; it ends with the test.
func newJudge(tb testing.TB, version string, options ...string) *judge {
	tb.Helper()
	libs, err := sandbox.Libs(tb.Context(), version)
	if err != nil {
		tb.Fatal(err)
	}
	args := slices.Concat(options, []string{
		"-Xmx192m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", sandbox.ClassPath(libs), "testdata/java/Judge.java",
	})
	cmd := exec.CommandContext(tb.Context(), "java", args...)
	j := &judge{tb: tb}
	cmd.Stderr = &j.log
	in, err1 := cmd.StdinPipe()
	out, err2 := cmd.StdoutPipe()
	if err1 != nil || err2 != nil {
		tb.Fatal(err1, err2)
	}
	j.in, j.out = in, bufio.NewReaderSize(out, 1<<16)
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		in.Close()
		if err := cmd.Wait(); err != nil && tb.Context().Err() == nil {
			tb.Errorf("the judge: %v\n%s", err, j.log.String())
		}
	})
	return j
}

// ask sends one request and returns the words of the answer.
func (j *judge) ask(what string, file []byte) (ok bool, words []string) {
	j.tb.Helper()
	if _, err := io.WriteString(j.in, what+" "+base64.StdEncoding.EncodeToString(file)+"\n"); err != nil {
		j.tb.Fatalf("the judge has ended: %v", err)
	}
	line, err := j.out.ReadString('\n')
	if err != nil {
		j.tb.Fatalf("the judge gives no answer: %v", err)
	}
	fields := strings.Split(strings.TrimSuffix(line, "\n"), " ")
	for _, f := range fields[1:] {
		word, err := base64.StdEncoding.DecodeString(f)
		if err != nil {
			j.tb.Fatalf("the judge answers %q", line)
		}
		words = append(words, string(word))
	}
	return fields[0] == "ok", words
}
