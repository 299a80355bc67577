package unit

import (
	"context"
	"fmt"
	"math"
	"slices"
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
	// SuccessExitStatus lists exit codes that count as success in addition to 0.
	SuccessExitStatus []int
	// RestartDelay is RestartSec. Within StartLimitInterval at most
	// StartLimitBurst starts are made; then comes StartLimitAction.
	RestartDelay, StartLimitInterval time.Duration
	StartLimitBurst                  int
	StartLimitAction                 string

	// ID is systemd's own name of the unit; Names are all, that one among them.
	ID    string
	Names []string
	// Group is the unit's control group; MainPID is 0 without a process.
	Group   string
	MainPID int
	// Execs are its command lines, in the order in which they are run.
	Execs []Exec
	// Environment has KEY=VALUE; EnvironmentFiles are read when a command is started.
	Environment, EnvironmentFiles []string
	// WorkingDirectory and RootDirectory are empty for /; User for root.
	WorkingDirectory, RootDirectory, User string
	// PrimaryGroup is that of the processes; empty for the user's own. MoreGroups are in addition to it.
	PrimaryGroup string
	MoreGroups   []string
	DynamicUser  bool

	// PrivateTmp is true with DynamicUser=, too.
	PrivateTmp bool
	// RuntimeDirectory are names below /run, RuntimePreserve says when they stay (no, restart, yes).
	RuntimeDirectory []string
	RuntimePreserve  string
	ProtectHome      string
	// TemporaryFileSystem are folders with an empty file system of their own, Bound those that
	// other folders are mounted on.
	TemporaryFileSystem, Bound []string

	NoSIGKILL                    bool // SendSIGKILL=no
	OnFailure                    []string
	FailureAction, SuccessAction string
	// Dependents are units that systemd stops or restarts with this one: those with Requires=,
	// BindsTo= or PartOf= of it, and its PropagatesStopTo=.
	Dependents []string
}

// Forever is a time without a limit.
const Forever = time.Duration(math.MaxInt64)

// Setup asks systemd how the unit is set up.
func (s *Systemd) Setup(ctx context.Context) (Setup, error) {
	p, err := s.properties(ctx)
	if err != nil {
		return Setup{}, err
	}
	return setup(p), nil
}

func setup(p map[string]any) Setup {
	u := Setup{
		LoadState:          text(p["LoadState"]),
		UnitFileState:      text(p["UnitFileState"]),
		Fragment:           text(p["FragmentPath"]),
		Type:               text(p["Type"]),
		Restart:            text(p["Restart"]),
		KillMode:           text(p["KillMode"]),
		KillSignal:         number(p["KillSignal"]),
		RemainAfterExit:    p["RemainAfterExit"] == true,
		NeedDaemonReload:   p["NeedDaemonReload"] == true,
		RefuseManual:       p["RefuseManualStart"] == true || p["RefuseManualStop"] == true,
		TimeoutStop:        span(p["TimeoutStopUSec"]),
		RestartDelay:       span(p["RestartUSec"]),
		StartLimitInterval: span(p["StartLimitIntervalUSec"]),
		StartLimitBurst:    number(p["StartLimitBurst"]),
		StartLimitAction:   text(p["StartLimitAction"]),
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
	u.describe(p)
	return u
}

// describe adds what the unit starts, and what its processes see.
func (u *Setup) describe(p map[string]any) {
	list := func(name string) []string { l, _ := p[name].([]string); return l }
	u.ID, u.Names, u.Group, u.MainPID = text(p["Id"]), list("Names"), text(p["ControlGroup"]), number(p["MainPID"])
	u.Execs, u.Environment, u.EnvironmentFiles = execs(p), list("Environment"), firsts(p["EnvironmentFiles"])
	u.WorkingDirectory, u.RootDirectory, u.User = text(p["WorkingDirectory"]), text(p["RootDirectory"]), text(p["User"])
	u.PrimaryGroup, u.MoreGroups = text(p["Group"]), list("SupplementaryGroups")
	u.DynamicUser = p["DynamicUser"] == true
	u.PrivateTmp = p["PrivateTmp"] == true || p["DynamicUser"] == true
	u.RuntimeDirectory, u.RuntimePreserve = list("RuntimeDirectory"), text(p["RuntimeDirectoryPreserve"])
	u.ProtectHome, u.TemporaryFileSystem = text(p["ProtectHome"]), firsts(p["TemporaryFileSystem"])
	for _, mounts := range []string{"BindPaths", "BindReadOnlyPaths"} { // (from, to, ignore, flags)
		list, _ := p[mounts].([][]any)
		for _, m := range list {
			if len(m) > 1 {
				u.Bound = append(u.Bound, text(m[1]))
			}
		}
	}
	u.NoSIGKILL = p["SendSIGKILL"] == false
	u.OnFailure, u.FailureAction, u.SuccessAction = list("OnFailure"), text(
		p["FailureAction"]), text(p["SuccessAction"])
	for _, by := range []string{"RequiredBy", "BoundBy", "ConsistsOf", "PropagatesStopTo"} {
		for _, d := range list(by) {
			if strings.HasSuffix(d, ".service") && !slices.Contains(u.Dependents, d) {
				u.Dependents = append(u.Dependents, d)
			}
		}
	}
}

// firsts are the first members of a list of structures.
func firsts(v any) []string {
	list, _ := v.([][]any)
	var out []string
	for _, e := range list {
		if len(e) > 0 {
			out = append(out, text(e[0]))
		}
	}
	return out
}

// span is a time of systemd's, which counts microseconds; all bits are infinity.
func span(v any) time.Duration {
	us, _ := v.(uint64)
	if us > uint64(Forever/time.Microsecond) {
		return Forever
	}
	return time.Duration(us) * time.Microsecond
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
	if err := clock.CallWithContext(ctx, "org.freedesktop.DBus.Properties.Get", 0, iface, "NTPSynchronized").
		Store(&v); err != nil {
		return false, fmt.Errorf("ask systemd whether the clock is synchronized: %w", err)
	}
	synchronized, ok := v.Value().(bool)
	if !ok {
		return false, fmt.Errorf("ask systemd whether the clock is synchronized: the answer is %s", v)
	}
	return synchronized, nil
}
