package unit

import (
	"encoding/hex"
	"fmt"
	"strings"

	"example.com/kpls-agent/internal/restart"
)

// stoppedBySignal is what a JVM exits with after SIGTERM. systemd takes it for a
// failure unless the unit has SuccessExitStatus=143, and Kafka never exits with
// it by itself, so it means that somebody stopped the broker.
const stoppedBySignal = 143

// facts says what systemd's properties of a service mean.
//
// Its words are those of org.freedesktop.systemd1: LoadState, ActiveState,
// SubState, Result, InvocationID, NRestarts, ExecMainCode, ExecMainStatus.
func facts(unit string, p map[string]any) restart.UnitFacts {
	f := restart.UnitFacts{
		State:    state(p),
		Restarts: number(p["NRestarts"]),
		Detail:   detail(unit, p),
	}
	f.Invocation = invocation(p)
	if active := text(p["ActiveState"]); active == "inactive" || active == "failed" {
		f.Queued = queued(p)
	}
	return f
}

// invocation is empty for a unit that was never started.
func invocation(p map[string]any) string {
	id, _ := p["InvocationID"].([]byte)
	return hex.EncodeToString(id)
}

func state(p map[string]any) restart.UnitState {
	sub := text(p["SubState"])
	switch text(p["ActiveState"]) {
	case "active":
		if sub == "exited" { // the unit is "up" but its process is not systemd's to see
			return restart.UnitUnknown
		}
		return restart.UnitRunning
	case "reloading", "refreshing":
		return restart.UnitRunning
	case "activating":
		return restart.UnitStarting
	case "deactivating":
		return restart.UnitStopping
	case "failed":
		if waitsForRestart(sub) {
			return restart.UnitStarting
		}
		if number(p["ExecMainCode"]) == cldExited && number(p["ExecMainStatus"]) == stoppedBySignal {
			return restart.UnitStopped
		}
		return restart.UnitFailed
	case "inactive":
		if waitsForRestart(sub) {
			return restart.UnitStarting
		}
		// A unit that is not there says nothing about the broker: it may run under another name.
		if load := text(p["LoadState"]); load == "not-found" || load == "error" {
			return restart.UnitUnknown
		}
		return restart.UnitStopped
	}
	return restart.UnitUnknown
}

// queued is true if systemd has a job for the unit. For one that is down, that is its start.
func queued(p map[string]any) bool {
	job, _ := p["Job"].([]any) // (id, path); id 0 is none
	if len(job) == 0 {
		return false
	}
	id, _ := job[0].(uint32)
	return id != 0
}

// waitsForRestart is true while systemd is about to start the process again by
// itself (auto-restart, auto-restart-queued, dead-before-auto-restart, failed-before-auto-restart).
func waitsForRestart(sub string) bool { return strings.Contains(sub, "auto-restart") }

// cldExited, cldKilled and cldDumped are the values of waitid's si_code.
const cldExited, cldKilled, cldDumped = 1, 2, 3

func detail(unit string, p map[string]any) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s is %s (%s)", unit, or(text(p["ActiveState"]), "in no known state"),
		or(text(p["SubState"]), "unknown"))
	if load := text(p["LoadState"]); load != "loaded" && load != "" {
		fmt.Fprintf(&b, ", %s", load)
		if load == "not-found" {
			b.WriteString(
				"; name the broker's unit in the settings, or `commands` where it is one of a user's own service manager")
			return b.String()
		}
	}
	if r := text(p["Result"]); r != "success" && r != "" {
		fmt.Fprintf(&b, ", %s", r)
		switch status := number(p["ExecMainStatus"]); number(p["ExecMainCode"]) {
		case cldExited:
			fmt.Fprintf(&b, ", exit status %d", status)
		case cldKilled, cldDumped:
			fmt.Fprintf(&b, ", ended by signal %d", status)
		}
	}
	if n := number(p["NRestarts"]); n > 0 {
		fmt.Fprintf(&b, ", automatic restarts: %d", n)
	}
	if text(p["SubState"]) == "exited" {
		b.WriteString(
			"; systemd does not see the broker's process, so the unit must run it in the foreground (Type=simple)")
	}
	return b.String()
}

func or(s, instead string) string {
	if s == "" {
		return instead
	}
	return s
}

func text(v any) string {
	s, _ := v.(string)
	return s
}

func number(v any) int {
	switch n := v.(type) {
	case uint32:
		return int(n)
	case int32:
		return int(n)
	}
	return 0
}
