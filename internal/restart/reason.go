package restart

import (
	"encoding/json"
	"fmt"
	"reflect"
	"time"
)

// Reason says why an agent does what it does, or nothing. It is data; the sentence is made where it is shown.
type Reason struct {
	// Code is stable and documented in docs/operations.md.
	Code Code
	About
	// The sentence: a format and what goes into it, or the text as another agent has written it.
	format string
	args   []any
	text   string
}

// About is what a reason is about. What does not apply is left out.
type About struct {
	// Broker is the other broker that is waited for.
	Broker *int32 `json:"broker,omitempty"`
	// Partition is an example of what is waited for: topic-number.
	Partition string `json:"partition,omitempty"`
	// Need is how many are needed and Have how many there are: in-sync replicas, voters, views, or probes;
	// where Need is 0, Have counts partitions that are not in sync. Both are 0 where nothing is counted.
	Need int `json:"need,omitempty"`
	Have int `json:"have,omitempty"`
	// Until is when the wait ends if nothing changes.
	Until time.Time `json:"until,omitzero"`
}

// NewReason returns a reason with a sentence that is made already.
func NewReason(code Code, text string) *Reason { return &Reason{Code: code, text: text} }

// Text is one sentence for people: what is in the way, where, and who can change it.
func (r Reason) Text() string {
	if r.format == "" {
		return r.text
	}
	return fmt.Sprintf(r.format, r.args...)
}

// String is the sentence.
func (r Reason) String() string { return r.Text() }

// Equal is true if two reasons say the same.
func (r Reason) Equal(o Reason) bool {
	if r.Code != o.Code {
		return false
	}
	if r.format == "" || r.format != o.format || len(r.args) != len(o.args) {
		return r.Text() == o.Text()
	}
	for i, a := range r.args {
		if !sameArg(a, o.args[i]) {
			return false
		}
	}
	return true
}

// sameArg compares what goes into a sentence, the common types first.
func sameArg(a, b any) bool {
	switch a := a.(type) {
	case string:
		o, ok := b.(string)
		return ok && a == o
	case int32:
		o, ok := b.(int32)
		return ok && a == o
	case int:
		o, ok := b.(int)
		return ok && a == o
	case Phase:
		o, ok := b.(Phase)
		return ok && a == o
	case example:
		o, ok := b.(example)
		return ok && a == o
	case difference:
		o, ok := b.(difference)
		return ok && a == o
	case time.Duration:
		o, ok := b.(time.Duration)
		return ok && a == o
	default:
		return reflect.DeepEqual(a, b)
	}
}

// wireReason is a reason in a record. Agents of earlier builds read code and text.
type wireReason struct {
	Code Code   `json:"code"`
	Text string `json:"text"`
	About
}

// MarshalJSON writes the data and the sentence.
func (r Reason) MarshalJSON() ([]byte, error) {
	return json.Marshal(r.wire())
}

func (r Reason) wire() wireReason { return wireReason{r.Code, r.Text(), r.About} }

// UnmarshalJSON reads what MarshalJSON, or an agent of an earlier build, has written.
func (r *Reason) UnmarshalJSON(b []byte) error {
	var w wireReason
	if err := json.Unmarshal(b, &w); err != nil {
		return err
	}
	*r = Reason{Code: w.Code, About: w.About, text: w.Text}
	return nil
}

func because(code Code, format string, args ...any) *Reason {
	return &Reason{Code: code, format: format, args: args}
}

// of says which other broker a reason is about.
func (r *Reason) of(broker int32) *Reason {
	r.Broker = &broker
	return r
}

// ofPartition names an example: topic-number.
func (r *Reason) ofPartition(partition string) *Reason {
	r.Partition = partition
	return r
}

// counting says how many are needed and how many there are.
func (r *Reason) counting(need, have int) *Reason {
	r.Need, r.Have = need, have
	return r
}

// lasting says when the wait ends if nothing changes.
func (r *Reason) lasting(until time.Time) *Reason {
	r.Until = until
	return r
}

// Code is the stable name of a reason; it is also a metric label.
type Code string

// The reasons, in the order in which they are looked for.
const (
	// Nothing to do.
	CodeNoManifest Code = "no_manifest"
	CodeInSync     Code = "in_sync"

	// This broker cannot take the manifest, or cannot be judged.
	CodeUnitUnknown   Code = "unit_unknown"
	CodeStopped       Code = "stopped"
	CodeOutsideUnit   Code = "outside_unit"
	CodeJudging       Code = "judging"
	CodeRefused       Code = "refused"
	CodeDynamicConfig Code = "dynamic_config"

	// A restart of this broker would do harm, or would not be had.
	CodeUnitHazard        Code = "unit_hazard"
	CodeRestartDenied     Code = "restart_denied"
	CodeSettingsDropped   Code = "settings_dropped"
	CodeSettingsWouldDrop Code = "settings_would_drop"
	CodePendingEdits      Code = "pending_edits"
	CodeGateStorage       Code = "gate_storage"

	CodeAsking         Code = "asking"
	CodeNoAnswer       Code = "broker_not_answering"
	CodeActionFailed   Code = "action_failed"
	CodeLogUnreadable  Code = "log_unreadable"
	CodeLogForeign     Code = "log_foreign"
	CodePaused         Code = "paused"
	CodeHalted         Code = "halted"
	CodeClusterUnknown Code = "cluster_unknown"

	// The agents do not agree yet.
	CodeAgentMissing     Code = "agent_missing"
	CodeAgentSilent      Code = "agent_silent"
	CodeManifestDiffers  Code = "manifest_differs"
	CodeRefusedElsewhere Code = "refused_elsewhere"
	CodeNotInManifest    Code = "not_in_manifest"
	CodeProbesClosing    Code = "probes_closing"

	// The queue.
	CodeTurn     Code = "waiting_for_turn"
	CodeQueue    Code = "waiting_for_claim"
	CodeClaiming Code = "claiming"

	// The gates.
	CodeGateViews       Code = "gate_views"
	CodeGateBrokers     Code = "gate_brokers"
	CodeGatePartitions  Code = "gate_partitions"
	CodeGateUnprotected Code = "gate_unprotected"
	CodeGateQuorum      Code = "gate_quorum"

	// A restart of our own.
	CodeApplying      Code = "applying"
	CodeDraining      Code = "draining"
	CodeRestarting    Code = "restarting"
	CodeNoEffect      Code = "restart_without_effect"
	CodeStarting      Code = "starting"
	CodeListener      Code = "listener_not_serving"
	CodeFenced        Code = "fenced"
	CodeCatchingUp    Code = "catching_up"
	CodeStalled       Code = "stalled"
	CodeBalancer      Code = "balancer"
	CodeSoaking       Code = "soaking"
	CodeSaving        Code = "saving"
	CodeRollingBack   Code = "rolling_back"
	CodeNeedsOperator Code = "needs_operator"
)

// passing is true for what an agent does in an instant, under the phase that it had before: no reason for that phase.
func (c Code) passing() bool { return c == CodeAsking || c == CodeSaving || c == CodeStarting }

// Queueing is true for a broker that waits for other brokers only.
func (c Code) Queueing() bool { return c == CodeTurn || c == CodeQueue }
