package haproxy

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"
)

// bed is a manifest of three brokers on the loopback network, with servers in their place.
type bed struct {
	// bind and probe are ports of the brokers; lead are those of the load balancer, by broker; pool leads to all.
	bind, poolBind, probe, poolProbe int
	lead                             [4]int
	pool, extra                      int
	host                             string // of broker 1, where a test moves it
}

func newBed(t *testing.T) *bed {
	t.Helper()
	p := free(t, 9)
	return &bed{bind: p[0], poolBind: p[1], probe: p[2], poolProbe: p[3], lead: [4]int{0, p[4], p[5], p[6]}, pool: p[7], extra: p[8]}
}

// manifest has a fourth broker on demand: that changes the file.
func (b *bed) manifest(fourth bool) string {
	var text strings.Builder
	fmt.Fprintf(&text, `version: 1
cluster: kafka-pls
listeners:
  EXTERNAL:
    bind: 0.0.0.0:%d
    security_protocol: PLAINTEXT
    advertised: <broker_id>.example.com:<port>
    probe_port: %d
  BOOTSTRAP:
    bind: 0.0.0.0:%d
    security_protocol: PLAINTEXT
    bootstrap: {of: EXTERNAL, port: %d}
    probe_port: %d
    during_restart: close
brokers:
`, b.bind, b.probe, b.poolBind, b.pool, b.poolProbe)
	for id := 1; id <= 3; id++ {
		fmt.Fprintf(&text, "  %d: {ports: {EXTERNAL: %d}, host: 127.0.1.1%d}\n", id, b.lead[id], id)
	}
	if fourth {
		fmt.Fprintf(&text, "  4: {ports: {EXTERNAL: %d}, host: 127.0.1.14}\n", b.extra)
	}
	return text.String()
}

// brokers serves brokers 1 to 3. The probes of broker 3 are closed, and what comes to it all the same is returned.
func (b *bed) brokers(t *testing.T) (closed []*port) {
	t.Helper()
	for id := 1; id <= 3; id++ {
		at := func(port int, says string) *port {
			return listen(t, fmt.Sprintf("127.0.1.1%d:%d", id, port), says)
		}
		who := fmt.Sprintf("b%d", id)
		traffic := []*port{at(b.bind, who), at(b.poolBind, who)}
		if id == 3 {
			return traffic
		}
		at(b.probe, "probe")
		at(b.poolProbe, "probe")
	}
	return nil
}

// leaked reloads HAProxy n times while the probe of broker 3 is closed and clients connect to its own port and to the shared
// one, and returns how many of them reached it, and how many were served by another broker.
func leaked(t *testing.T, n int, saved bool, edits ...string) (reached, served int64) {
	t.Helper()
	bed, lb := newBed(t), newBalancer(t)
	closed := bed.brokers(t)
	lb.put(written(t, bed.manifest(false)), edits...)
	lb.start()
	lb.until("broker 3 is down", func() bool {
		return lb.status("external-b3", "b3-") == "DOWN" && lb.status("bootstrap", "b3-") == "DOWN"
	})
	before := closed[0].accepted.Load() + closed[1].accepted.Load()

	stop := make(chan struct{})
	var clients sync.WaitGroup
	clients.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(2 * time.Millisecond):
			}
			answer(bed.lead[3])
			if answer(bed.pool) != "" {
				served++
			}
		}
	})
	for i := range n {
		lb.put(written(t, bed.manifest(i%2 == 0)), edits...)
		lb.reload(saved)
		until := time.Now().Add(200 * time.Millisecond) // the new worker gets clients
		lb.until("clients were there", func() bool { return time.Now().After(until) })
	}
	close(stop)
	clients.Wait()
	return closed[0].accepted.Load() + closed[1].accepted.Load() - before, served
}

// TestReload: no client reaches a broker whose probe is closed, whatever changes in the file.
func TestReload(t *testing.T) {
	const reloads = 20
	reached, served := leaked(t, reloads, true)
	if reached != 0 || served < reloads {
		t.Errorf("%d clients reached the broker whose probe is closed, %d others", reached, served)
	}
	t.Logf("%d reloads: %d clients reached the broker whose probe is closed, %d others", reloads, reached, served)
}

// TestReloadWithoutStates shows that it is the saved states that keep clients off, and what is left without them.
func TestReloadWithoutStates(t *testing.T) {
	const off = "    load-server-state-from-file global\n"
	const reloads = 5
	reached, _ := leaked(t, reloads, false, off, "")
	whole, _ := leaked(t, reloads, false, off, "", "    max-spread-checks 100ms\n", "")
	t.Logf("%d reloads: %d clients reached the broker whose probe is closed; without max-spread-checks %d", reloads, reached, whole)
	if whole == 0 || reached >= whole {
		t.Errorf("%d clients reached the broker whose probe is closed; without max-spread-checks %d", reached, whole)
	}
}
