package figures

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestReport(t *testing.T) {
	const begin, end = "<!-- bench -->\n", "<!-- /bench -->"
	dir := t.TempDir()
	doc := filepath.Join(dir, "docs", "performance.md")
	write := func(path, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(doc, "# Before\n"+begin+"old\n"+end+"\nafter\n")
	r := Report{Kafka: "3.7.1"}
	r.Add(
		Figure{Name: "fine", Unit: "s", Goal: new(1.0), Value: 1},
		Figure{Name: "near", Unit: "s", Goal: new(1.0), Value: 1.1},
		Figure{Name: "free", Value: 3, Note: "why"},
	)
	for range 2 { // the second changes nothing
		if err := r.Write(dir, "bench", "docs/performance.md"); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(doc)
	if err != nil {
		t.Fatal(err)
	}
	want := "# Before\n" + begin + "| figure | goal | measured | verdict | |\n| --- | --- | --- | --- | --- |\n" +
		"| fine | <= 1 s | 1 s | reached |  |\n| near | <= 1 s | 1.1 s | missed |  |\n| free |  | 3 |  | why |\n"
	if !strings.HasPrefix(string(got), want) || !strings.HasSuffix(string(got), end+"\nafter\n") || strings.Contains(string(got), "old") {
		t.Errorf("performance.md:\n%s", got)
	}
	if r.FarOff() {
		t.Error("10 % above a goal is far off")
	}
	if r.Add(Figure{Goal: new(0.0), Value: 1}); !r.FarOff() {
		t.Error("one lost record is not far off")
	}
}
