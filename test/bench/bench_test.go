package main

import (
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"example.com/kpls-agent/test/sandbox"
)

func TestReport(t *testing.T) {
	dir := t.TempDir()
	doc, readme := filepath.Join(dir, "docs", "performance.md"), filepath.Join(dir, "README.md")
	write := func(path, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(doc, "# Before\n"+tableBegin+"old\n"+tableEnd+"\nafter\n")
	write(readme, "no markers\n")
	r := report{Kafka: "3.7.1"}
	r.add(
		figure{Name: "fine", Unit: "s", Goal: new(1.0), Value: 1},
		figure{Name: "near", Unit: "s", Goal: new(1.0), Value: 1.1},
		figure{Name: "free", Value: 3, Note: "why"},
	)
	for range 2 { // the second changes nothing
		if err := r.write(dir); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(doc)
	if err != nil {
		t.Fatal(err)
	}
	want := "# Before\n" + tableBegin + "| figure | goal | measured | verdict | |\n| --- | --- | --- | --- | --- |\n" +
		"| fine | <= 1 s | 1 s | reached |  |\n| near | <= 1 s | 1.1 s | missed |  |\n| free |  | 3 |  | why |\n"
	if !strings.HasPrefix(string(got), want) || !strings.HasSuffix(string(got), tableEnd+"\nafter\n") || strings.Contains(string(got), "old") {
		t.Errorf("performance.md:\n%s", got)
	}
	if got, err := os.ReadFile(readme); err != nil || string(got) != "no markers\n" {
		t.Errorf("a document without markers became %q, %v", got, err)
	}
	if r.farOff() {
		t.Error("10 % above a goal is far off")
	}
	if r.add(figure{Goal: new(0.0), Value: 1}); !r.farOff() {
		t.Error("one lost record is not far off")
	}
}

func TestCountRequests(t *testing.T) {
	counts := map[string]int{}
	countRequests(counts, []byte(`[x] DEBUG Completed request:{"requestHeader":{"requestApiKey":1,"clientId":"kpls-agent","requestApiKeyName":"FETCH"}} (kafka.request.logger)
[x] DEBUG Completed request:{"requestHeader":{"requestApiKey":1,"clientId":"broker-1-fetcher-0","requestApiKeyName":"FETCH"}} (kafka.request.logger)
[x] DEBUG Completed request:{"requestHeader":{"requestApiKey":3,"clientId":"kpls-agent","requestApiKeyName":"METADATA"}} (kafka.request.logger)
[x] INFO kpls-agent
`))
	if want := map[string]int{"FETCH": 1, "METADATA": 1}; !maps.Equal(counts, want) {
		t.Errorf("counted %v, expected %v", counts, want)
	}
}

func TestUsage(t *testing.T) {
	for begin := time.Now(); ; {
		u, err := usageOf(os.Getpid())
		if err != nil || u.file < 1 || u.resident <= u.file || u.resident > 10000 || time.Since(begin) > time.Minute {
			t.Fatalf("this process uses %+v, %v", u, err)
		}
		if u.ticks > 0 {
			return
		}
	}
}

func TestSince(t *testing.T) {
	begin := time.Now()
	restarts := []sandbox.Restart{{Broker: 1, Requested: begin.Add(-time.Second)}, {Broker: 2, Requested: begin.Add(time.Second)}}
	if got := since(restarts, begin); len(got) != 1 || got[0].Broker != 2 {
		t.Errorf("restarts %v", got)
	}
	if got := since(restarts, begin.Add(time.Minute)); len(got) != 0 {
		t.Errorf("restarts %v", got)
	}
}
