package e2e

import (
	"context"
	"fmt"
	"net"
	"strings"
	"testing"

	"example.com/kpls-agent/test/fleet"
	"example.com/kpls-agent/test/sandbox"
)

// TestSharedBootstrap: a broker takes two listeners that advertise the same address, and a customer who begins at the
// shared port is led to the port of each broker. For that the load balancer's port leads to any of the brokers.
func TestSharedBootstrap(t *testing.T) {
	t.Parallel()
	b := newBed(t, sandbox.Options{})
	var text strings.Builder
	fmt.Fprintf(&text, `version: 1
cluster: sandbox
listeners:
  BOOTSTRAP:
    bind: <host>:39090
    security_protocol: PLAINTEXT
    bootstrap: {of: EXTERNAL, port: 9092}
    probe_port: 39190
    during_restart: close
    drain: 0s
  EXTERNAL:
    bind: <host>:%d
    security_protocol: PLAINTEXT
    advertised: <broker_id>.%s:<port>
    probe_port: %d
brokers:
`, sandbox.ExternalPort, fleet.Domain, fleet.ProbePort)
	for i, br := range b.Brokers {
		fmt.Fprintf(&text, "  %d: {ports: {EXTERNAL: %d}, host: %s}\n", br.ID, 9093+i, br.Host)
	}
	text.WriteString("rollout:\n  soak: 0s\n")
	b.give(text.String())
	b.rolled(text.String())

	host := b.Host(100)
	last := b.Brokers[len(b.Brokers)-1]
	balance(b, sandbox.ForwarderOptions{Fronts: []sandbox.Front{{
		Listen: net.JoinHostPort(host, "9092"), Backend: last.Addr(39090), Probe: last.Addr(39190),
	}}})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	said := ""
	b.until("a customer reaches every broker from the shared port", func() bool {
		out, errOut, code := b.fleet.Agents[0].Command(ctx, "verify", "--listener", "EXTERNAL", "--bootstrap", net.JoinHostPort(host, "9092"),
			"--map", "*."+fleet.Domain+"="+host)
		said = out + errOut
		return code == 0
	})
	t.Log(said)
	for i, br := range b.Brokers {
		if want := fmt.Sprintf("b%d.%s:%d ", br.ID, fleet.Domain, 9093+i); !strings.Contains(said, want) {
			t.Errorf("verify does not name %s:\n%s", want, said)
		}
	}
}
