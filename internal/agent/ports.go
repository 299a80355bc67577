package agent

import (
	"context"

	"example.com/kpls-agent/internal/restart"
)

// The interfaces through which the shell (Loop) reaches the world. Each is
// implemented by one package, named behind it, and by fakes in tests.

// Log is the coordination log (internal/kafka).
type Log interface {
	// Append appends the records in order to the one partition and waits until
	// they were read back. An error means unknown, not "not written": read on.
	Append(ctx context.Context, records ...restart.Record) error
	// Facts returns what has been read so far.
	Facts() restart.LogFacts
	// Sync reads to the end of the log as it is at the call.
	Sync(ctx context.Context) error
	// Changed is signalled (capacity 1) after every change of Facts.
	Changed() <-chan struct{}
}

// Cluster asks the brokers (internal/kafka).
type Cluster interface {
	// Observe asks at least two brokers where there are two, this agent's own
	// broker never being the only one.
	Observe(ctx context.Context) restart.ClusterFacts
	// Running asks this agent's own broker for its configuration.
	Running(ctx context.Context) restart.RunningFacts
}

// Unit is the broker's service (internal/unit).
type Unit interface {
	State(ctx context.Context) restart.UnitFacts
	// MayRestart returns why a restart would be refused, or nil: it would not, or nobody can be asked.
	MayRestart(ctx context.Context) error
	// Restart restarts the unit and returns when the service manager is done
	// with it, which does not mean that the broker is back.
	Restart(ctx context.Context) error
	// Changed is signalled (capacity 1) when the unit may have changed.
	Changed() <-chan struct{}
}

// Files is server.properties and the agent's own state (over internal/config and internal/durable).
type Files interface {
	// Manifest reads and checks what is to be: the manifest in force against server.properties as it is now.
	Manifest(running restart.RunningFacts) restart.ManifestFacts
	// LastGood is true when server.properties is the last good copy.
	LastGood() bool
	// Apply saves the current server.properties as the last good copy, unless
	// it is what the manifest asks for already, and replaces it. The manifest is the
	// one with this hash: it fails if another one is in force by now, since what the
	// journal says of the file, and what is halted if it fails, are of this one.
	Apply(manifest string) error
	// Restore puts the last good copy back.
	Restore() error
	// SaveJournal makes the journal durable.
	SaveJournal(restart.Journal) error
}

// Probes is the load balancer's side (internal/probe).
type Probes interface {
	Facts() map[string]restart.ProbeFacts
	// Set says which listeners may be open at all: each opens when it serves.
	Set(allowed []string)
	// Begin starts a planned restart: `hold` listeners stay open for at most
	// their limit, `close` listeners close now.
	Begin()
	// End ends it: from now on the truth.
	End()
	Changed() <-chan struct{}
}
