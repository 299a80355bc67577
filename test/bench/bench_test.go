package main

import (
	"maps"
	"os"
	"testing"
	"time"

	"example.com/kpls-agent/test/sandbox"
)

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
