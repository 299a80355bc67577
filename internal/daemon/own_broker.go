package daemon

import (
	"context"

	"example.com/kpls-agent/internal/agent"
	"example.com/kpls-agent/internal/host"
	"example.com/kpls-agent/internal/restart"
	"example.com/kpls-agent/internal/wait"
)

// ownBroker asks the broker for the loop, and gives on what its process runs: the probes are
// judged by that, and server.properties is compared with it. Then it asks for the ports that the
// process will need.
type ownBroker struct {
	*host.Cluster
	learned   func(host.Process)
	portTaken func(context.Context, restart.RunningFacts) string
}

var _ agent.Cluster = ownBroker{}

// Running implements agent.Cluster.
func (b ownBroker) Running(ctx context.Context) restart.RunningFacts {
	f := b.ask(ctx)
	f.PortTaken = b.portTaken(ctx, f)
	return f
}

func (b ownBroker) ask(ctx context.Context) restart.RunningFacts {
	f, p := b.Ask(ctx)
	if f.Err == "" {
		b.learned(p)
	}
	return f
}

// learn asks once what the process runs, whatever the loop waits for: a loop that has a
// refusal does not ask, and the probes are judged by what the process has, not by what
// the manifest wants of it.
func (b ownBroker) learn(ctx context.Context) {
	for b.ask(ctx).Err != "" && wait.For(ctx, lookEvery) {
	}
}
