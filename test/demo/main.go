// Command demo shows kpls-agent at work on this machine: three Kafka brokers
// without EXTERNAL, three agents, a forwarder in place of the cloud's load
// balancer, a producer and a consumer. One manifest adds EXTERNAL; a bad one is
// rolled back; what the customer sees and the figures come last.
//
// KAFKA_VERSION chooses the Kafka version. It exits with 1 if a record is lost or
// refused, or if the end is not as promised. It leaves nothing behind, also when
// it is interrupted. It never uses more than loopback addresses, but to fetch Kafka.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() { os.Exit(run()) }

// run returns the exit code.
func run() int {
	// A closed terminal or pipe must not keep us from cleaning up, so these are caught, too.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP,
		syscall.SIGPIPE)
	defer stop()
	s := newScreen(os.Stdout)
	err := show(ctx, s)
	switch {
	case ctx.Err() != nil:
		s.say("interrupted; everything is stopped and removed")
	case err != nil:
		fmt.Fprintln(os.Stderr, "demo:", err)
	default:
		return 0
	}
	return 1
}
