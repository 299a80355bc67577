package restart

import "time"

// ActionKind is one thing the shell can do for the machine.
type ActionKind string

// The actions. Each may be done twice without harm, and the machine learns of
// its success only by what it sees afterwards, never by an answer alone.
const (
	ActNone    ActionKind = ""
	ActAppend  ActionKind = "append"  // append Records and read them back
	ActObserve ActionKind = "observe" // ask the brokers about the cluster
	ActRunning ActionKind = "running" // ask the own broker for its configuration, and the service manager for the right to restart it
	ActSave    ActionKind = "save"    // make Journal durable
	ActApply   ActionKind = "apply"   // keep the last good server.properties, write the new one
	ActRestore ActionKind = "restore" // put the last good server.properties back
	ActBegin   ActionKind = "begin"   // tell the probes that a planned restart begins
	ActEnd     ActionKind = "end"     // tell the probes that it has ended
	ActRestart ActionKind = "restart" // restart the unit, if it is not later than NotAfter
)

// Action is the one thing to do now.
type Action struct {
	Kind    ActionKind
	Records []Record // ActAppend
	Journal *Journal // ActSave, else nil
	// NotAfter bounds an ActRestart: what allowed it may no longer hold then.
	NotAfter time.Time
}

// Decision is what a machine decides at one instant.
type Decision struct {
	Do Action
	// Rule names the rule that decided (rules.go), for logs and tests.
	Rule   string
	Status Status
	// Allowed lists the listeners whose probes may be open at all; nil leaves them as they are.
	Allowed []string
	// Wake is when to decide again at the latest, even if nothing changed; 0 is no need.
	Wake time.Duration
}
