package login

import (
	"encoding/base64"
	"maps"
	"math/rand/v2"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"example.com/kpls-agent/internal/config"
	"example.com/kpls-agent/test/sandbox"
)

// pieces of JAAS configurations, right ones and wrong ones.
var pieces = []string{
	"a.B", "required", "sufficient", "username", "password", "=", "=", "=", ";", `"x"`, `'y'`, `"a\"b\\c"`, `"\t\101\0411\9"`, `"a;b=c"`, `'it"s'`,
	"12", "-", "a-b", "a1.2", "1a", "/* c; */", "// c\n", "/ c\n", "\n", "\r\n", "\t", "ä", `"ä€"`, `"open`, "@", "$x_", `""`, ".", "-.5",
}

// TestJAASAgainstKafka compares the parser with Kafka's own on generated texts.
func TestJAASAgainstKafka(t *testing.T) {
	const seed, n = 7, 4000
	r := rand.New(rand.NewPCG(seed, seed))
	texts := make([]string, 0, n)
	for range n {
		var b strings.Builder
		if r.IntN(2) == 0 { // one that is nearly right
			b.WriteString("a.B required ")
			for range r.IntN(3) {
				b.WriteString(pieces[3+r.IntN(2)] + "=" + pieces[r.IntN(len(pieces))] + " ")
			}
			b.WriteString(";")
		}
		for range r.IntN(6) {
			b.WriteString(pieces[r.IntN(len(pieces))])
			if r.IntN(2) == 0 {
				b.WriteByte(' ')
			}
		}
		texts = append(texts, b.String())
	}
	accepted := 0
	for i, answer := range kafkaJAAS(t, texts) {
		got := "refused"
		if m, err := config.ParseJAAS(texts[i]); err == nil {
			words := []string{"ok", encode(m.Class)}
			for _, k := range slices.Sorted(maps.Keys(m.Options)) {
				words = append(words, encode(k), encode(m.Options[k]))
			}
			got = strings.Join(words, " ")
			accepted++
		}
		if got != answer {
			t.Errorf("%q: got %s, Kafka says %s", texts[i], got, answer)
		}
	}
	if accepted < n/20 {
		t.Errorf("only %d of %d texts are right", accepted, n)
	}
}

func encode(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

func kafkaJAAS(t *testing.T, texts []string) []string {
	t.Helper()
	libs, err := sandbox.Libs(t.Context(), sandbox.Version())
	if err != nil {
		t.Fatal(err)
	}
	var in strings.Builder
	for _, text := range texts {
		in.WriteString(encode(text) + "\n")
	}
	cmd := exec.CommandContext(t.Context(), "java", "-Xmx192m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", sandbox.ClassPath(libs), "testdata/java/Jaas.java")
	cmd.Stdin = strings.NewReader(in.String())
	var log strings.Builder
	cmd.Stderr = &log
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("the judge: %v\n%s", err, log.String())
	}
	answers := strings.Split(strings.TrimSpace(string(out)), "\n")
	if len(answers) != len(texts) {
		t.Fatalf("%d answers to %d questions\n%s", len(answers), len(texts), log.String())
	}
	return answers
}
