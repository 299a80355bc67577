package restart

import (
	"maps"
	"time"
)

// JournalVersion is the version of the journal's format.
const JournalVersion = 1

// Stage is how far this agent's own restart has come. It is saved before anything of it
// is done, so an agent that died anywhere knows what may have happened.
type Stage string

// The stages of a restart.
const (
	StageNone          Stage = ""               // no restart of ours is under way
	StageApply         Stage = "apply"          // the file may have been replaced
	StageRestart       Stage = "restart"        // the unit may have been restarted
	StageProve         Stage = "prove"          // the process has been restarted and must prove itself
	StageRestore       Stage = "restore"        // failed: the last good file may have been restored
	StageUndo          Stage = "undo"           // the unit may have been restarted on the last good file
	StageProveUndo     Stage = "prove_undo"     // the process runs the last good file and must prove itself
	StageNeedsOperator Stage = "needs_a_person" // rolled back, and the broker does not serve
)

// Journal is the durable local record of one agent. Its parts have a lifetime each, and are reset as a whole.
type Journal struct {
	Version int   `json:"version"`
	Stage   Stage `json:"step,omitempty"`
	Intent
	Origin
	Followed
	FileState
	Failure
	Past
}

// Intent is what server.properties is written for: the manifest may change before that has proved itself.
type Intent struct {
	Target    string            `json:"target,omitempty"`
	Listeners map[string]string `json:"listeners,omitempty"`
	Absent    []string          `json:"absent,omitempty"`
	// RequestID is the rolling-restart request that the restart under way fulfils.
	RequestID string `json:"request_id,omitempty"`
}

// Origin is what there was before the restart under way.
type Origin struct {
	// Before is what the process ran: what a rollback must bring back.
	Before map[string]string `json:"before,omitempty"`
	// BeforeUnknown is true where the broker was down and nobody knows what it
	// ran: a rollback may bring back anything that serves.
	BeforeUnknown bool `json:"before_unknown,omitempty"`
	// Edits describes edits of others that server.properties had and that
	// the process had not been started with; empty for none.
	Edits string `json:"edits,omitempty"`
}

// Followed is the process that a restart is about.
type Followed struct {
	// Invocation is the process that is to go (StageRestart, StageUndo),
	// or the one that has come (StageProve, StageProveUndo).
	Invocation string `json:"invocation,omitempty"`
	// Started is when the stage began: for a while after it a new agent process still lets the probes hold their ports.
	Started time.Time `json:"started,omitzero"`
	// Starts counts the processes seen since StageProve began, to notice one that keeps ending.
	Starts int `json:"starts,omitempty"`
	// Restarts is the service manager's count when the proof began: more of them are a failure.
	Restarts int `json:"restarts,omitempty"`
}

// FileState is what is not proved of server.properties.
type FileState struct {
	// Unproven is true while server.properties may be one that no process has
	// proved: a process that anybody starts on it has to prove itself.
	Unproven bool `json:"unproven,omitempty"`
	// Hidden is true from when a value that no process shows, such as a password, may have
	// been written to server.properties until a process that was started on it has proved itself.
	Hidden bool `json:"hidden,omitempty"`
	// MayBeOld is true where the process that Invocation names may have been started on the server.properties before:
	// what it runs, and what it does not show, then says nothing of the one that is to be proved.
	MayBeOld bool `json:"may_be_old,omitempty"`
	// Prior is what server.properties was written for before it was to be written for Target, where
	// no process had proved that: a process that is started before the write runs that one.
	Prior *Intent `json:"prior,omitempty"`
}

// Failure is a restart that failed here.
type Failure struct {
	// Why is its cause, for people.
	Why string `json:"why,omitempty"`
	// Failed is the hash of the manifest; it is not tried again before an operator's order.
	Failed string `json:"failed,omitempty"`
	// Halted is true once our halt record was read back from the log, which may be while the rollback is
	// still running: if the record is gone later, an operator has resumed the roll-out.
	Halted bool `json:"halted,omitempty"`
}

// Past is what outlives a restart.
type Past struct {
	// Passed is the last target this broker was restarted for cleanly.
	Passed string `json:"passed,omitempty"`
	// Request is the last rolling-restart request this broker has fulfilled.
	Request string `json:"request,omitempty"`
	// Served is true once this agent has seen its broker run: from then on a
	// broker that is down is not configured without the others' agreement.
	Served bool `json:"served,omitempty"`
	// Active lists the listeners whose probes had been opened on all brokers.
	Active []string `json:"active,omitempty"`
	// DropNoted is the process whose dropped dynamic settings have halted the roll-out already.
	DropNoted string `json:"drop_noted,omitempty"`
}

// unchanged is true if the restart under way changes nothing in what the process is started with.
func (j Journal) unchanged() bool {
	return !j.Hidden && !j.BeforeUnknown && j.Edits == "" && maps.Equal(j.Before, j.Listeners)
}

// cause is what a failure of the restart under way is a failure of.
func (j Journal) cause() Cause {
	switch {
	case j.unchanged():
		return CauseBroker
	case j.Edits != "" && !j.Hidden && maps.Equal(j.Before, j.Listeners):
		return CauseEdits
	case j.RequestID != "" && j.BeforeUnknown && !j.Hidden && j.Edits == "":
		return CauseRequest
	default:
		return CauseManifest
	}
}

// resumeHold is how long after a restart began a new agent process still
// lets the probes hold their ports.
const resumeHold = 30 * time.Second

// Planned is true while a broker that is down is so by this agent's own restart.
func (j Journal) Planned(now time.Time) bool {
	return (j.Stage == StageRestart || j.Stage == StageProve) && now.Sub(j.Started) < resumeHold
}
