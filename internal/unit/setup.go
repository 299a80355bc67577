package unit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"strings"
	"time"

	"github.com/godbus/dbus/v5"
)

// Setup is how the broker's unit is set up, as systemd has loaded it. The names
// and words are those of org.freedesktop.systemd1; a word is empty where systemd
// does not tell it.
type Setup struct {
	LoadState     string // loaded, masked, not-found, bad-setting, error
	LoadError     string // systemd's own words
	UnitFileState string // enabled, disabled, static, ...
	Fragment      string // path of the unit's file
	// Type, Restart and KillMode are systemd's words for the settings of these names.
	Type, Restart, KillMode string
	KillSignal              int
	RemainAfterExit         bool
	RefuseManual            bool // RefuseManualStart or RefuseManualStop
	NeedDaemonReload        bool
	// TimeoutStop is how long a stop may take before systemd kills; Forever if there is no limit.
	TimeoutStop time.Duration
	// SuccessExitStatus lists exit codes that count as success beside 0.
	SuccessExitStatus []int
	// RestartDelay is RestartSec. Within StartLimitInterval at most
	// StartLimitBurst starts are made; then comes StartLimitAction.
	RestartDelay, StartLimitInterval time.Duration
	StartLimitBurst                  int
	StartLimitAction                 string
	// Command is the broker's command line: that of the process where it can be
	// seen, else that of the unit.
	Command []string
}

// Forever is a time without a limit.
const Forever = time.Duration(math.MaxInt64)

// Setup asks systemd how the unit is set up.
func (s *Systemd) Setup(ctx context.Context) (Setup, error) {
	p, err := s.properties(ctx)
	if err != nil {
		return Setup{}, err
	}
	u := setup(p)
	if pid := number(p["MainPID"]); pid > 0 {
		// Hidden from a hardened service (ProtectProc=invisible).
		if line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)); err == nil && len(line) > 0 {
			u.Command = strings.Split(string(bytes.TrimSuffix(line, []byte{0})), "\x00")
		}
	}
	return u, nil
}

func setup(p map[string]any) Setup {
	u := Setup{
		LoadState: text(p["LoadState"]), UnitFileState: text(p["UnitFileState"]), Fragment: text(p["FragmentPath"]),
		Type: text(p["Type"]), Restart: text(p["Restart"]), KillMode: text(p["KillMode"]), KillSignal: number(p["KillSignal"]),
		RemainAfterExit: p["RemainAfterExit"] == true, NeedDaemonReload: p["NeedDaemonReload"] == true,
		RefuseManual: p["RefuseManualStart"] == true || p["RefuseManualStop"] == true,
		TimeoutStop:  span(p["TimeoutStopUSec"]), RestartDelay: span(p["RestartUSec"]),
		StartLimitInterval: span(p["StartLimitIntervalUSec"]), StartLimitBurst: number(p["StartLimitBurst"]), StartLimitAction: text(p["StartLimitAction"]),
	}
	if e, ok := p["LoadError"].([]any); ok && len(e) == 2 { // (name, message)
		u.LoadError = text(e[1])
	}
	if e, ok := p["SuccessExitStatus"].([]any); ok && len(e) == 2 { // (codes, signals)
		codes, _ := e[0].([]int32)
		for _, c := range codes {
			u.SuccessExitStatus = append(u.SuccessExitStatus, int(c))
		}
	}
	if e, ok := p["ExecStart"].([][]any); ok && len(e) > 0 && len(e[0]) > 1 { // (path, argv, ...) of each command
		u.Command, _ = e[0][1].([]string)
	}
	return u
}

// span is a time of systemd's, which counts microseconds; all bits are infinity.
func span(v any) time.Duration {
	us, _ := v.(uint64)
	if us > uint64(Forever/time.Microsecond) {
		return Forever
	}
	return time.Duration(us) * time.Microsecond
}

// MayRestart returns nil if systemd, and polkit behind it, would let this
// process restart the unit. It asks systemd itself for a restart, in the mode
// "isolate": the right to restart is checked first, and then the mode is refused,
// since only a start, of a unit with AllowIsolate=, can isolate (systemd's
// manager_add_job). Polkit cannot be asked instead: only root may tell it which
// unit the question is about.
func (s *Systemd) MayRestart(ctx context.Context) error {
	b, err := s.connection(ctx)
	if err != nil {
		return err
	}
	_, err = b.RestartUnitContext(ctx, s.o.Unit, "isolate", nil)
	if e, ok := errors.AsType[dbus.Error](err); ok && (e.Name == "org.freedesktop.DBus.Error.InvalidArgs" || e.Name == "org.freedesktop.systemd1.NoIsolation") {
		return nil
	}
	if err == nil {
		return fmt.Errorf("ask for the right to restart %s: systemd took a question for an order; see `systemctl status %s`, and report this with `systemctl --version`", s.o.Unit, s.o.Unit)
	}
	return s.refusal(err)
}

// ClockSynchronized asks systemd whether the system's clock is kept right by
// NTP or the like ("System clock synchronized" of timedatectl).
func (s *Systemd) ClockSynchronized(ctx context.Context) (bool, error) {
	b, err := s.connection(ctx)
	if err != nil {
		return false, err
	}
	var v dbus.Variant
	const iface = "org.freedesktop.timedate1"
	clock := b.signals.Object(iface, "/org/freedesktop/timedate1")
	if err := clock.CallWithContext(ctx, "org.freedesktop.DBus.Properties.Get", 0, iface, "NTPSynchronized").Store(&v); err != nil {
		return false, fmt.Errorf("ask systemd whether the clock is synchronized: %w", err)
	}
	synchronized, ok := v.Value().(bool)
	if !ok {
		return false, fmt.Errorf("ask systemd whether the clock is synchronized: the answer is %s", v)
	}
	return synchronized, nil
}
