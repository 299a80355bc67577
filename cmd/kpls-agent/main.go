// Command kpls-agent keeps one Kafka broker's listeners equal to a manifest
// that all brokers of the cluster share, restarts brokers one safe step at a
// time, answers the load balancer's probe with the truth, and says what it
// does and why. `kpls-agent run` is the daemon; the other commands look or ask.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

// version is set by the linker.
var version = "devel"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := execute(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}
