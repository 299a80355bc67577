//go:build matrix

package e2e

import (
	"context"
	"errors"
	"net"
	"syscall"
	"testing"
	"time"

	"example.com/kpls-agent/test/sandbox"
)

// portStays is for how long the port must stay closed here, once it is.
const portStays = 10 * time.Second

// TestMatrixPortAtStart: a broker that hangs at its start, since it hears no controller, has not opened the port on which
// the other brokers and the agent reach it: the kernel refuses connections. It opens once the controllers are back. A
// rollback goes by that, and the models of test/sim and test/explore say the same of a broker.
func TestMatrixPortAtStart(t *testing.T) {
	table := "| Kafka | without controllers | with them again |\n| --- | --- | --- |\n"
	for _, version := range matrixVersions {
		t.Run(version, func(t *testing.T) {
			b := newCluster(t, sandbox.Options{Brokers: 1, Controllers: 1, Version: version})
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			broker, controller := b.Broker(1), b.Broker(101)
			b.must(errors.Join(controller.Kill(ctx), broker.Kill(ctx)))
			b.must(broker.Start(ctx))
			dial := func() error {
				conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "tcp", broker.Internal())
				if err == nil {
					_ = conn.Close()
				}
				return err
			}
			for end := time.Now().Add(portStays); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
				if err := dial(); !errors.Is(err, syscall.ECONNREFUSED) {
					t.Fatalf("a connection to %s: %v, wanted is a refused one", broker.Internal(), err)
				}
			}
			if p, err := broker.Process(); err != nil || !p.Alive() {
				t.Fatalf("the broker does not wait, it has ended: %+v, %v", p, err)
			}
			b.must(controller.Start(ctx))
			b.until("the port is open", func() bool { return dial() == nil })
			table += "| " + version + " | the process runs, connections are refused for " + portStays.String() + " | open |\n"
		})
	}
	matrixTable(t, "port", table)
}
