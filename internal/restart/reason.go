package restart

import "fmt"

// Reason says why an agent does what it does, or nothing.
type Reason struct {
	// Code is stable and documented in docs/operations.md.
	Code Code `json:"code"`
	// Text is one sentence for people: what is in the way, where, and who can change it.
	Text string `json:"text"`
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
	CodeRefused       Code = "refused"
	CodeDynamicConfig Code = "dynamic_config"

	// A restart of this broker would do harm, or would not be had.
	CodeUnitHazard        Code = "unit_hazard"
	CodeRestartDenied     Code = "restart_denied"
	CodeSettingsDropped   Code = "settings_dropped"
	CodeSettingsWouldDrop Code = "settings_would_drop"
	CodePendingEdits      Code = "pending_edits"
	CodeGateStorage       Code = "gate_storage"

	CodeNoAnswer       Code = "no_answer"
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
	CodeOrder      Code = "order"
	CodeClaimAhead Code = "claim_ahead"
	CodeClaiming   Code = "claiming"

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
	CodeReleasing     Code = "releasing"
	CodeRollingBack   Code = "rolling_back"
	CodeNeedsOperator Code = "needs_operator"
)

// Queueing is true for a broker that waits for other brokers only.
func (c Code) Queueing() bool { return c == CodeOrder || c == CodeClaimAhead }

func because(code Code, format string, args ...any) *Reason {
	return &Reason{Code: code, Text: fmt.Sprintf(format, args...)}
}
