package check

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"time"

	"example.com/kpls-agent/internal/config"
	"example.com/kpls-agent/internal/host"
	"example.com/kpls-agent/internal/restart"
	"example.com/kpls-agent/internal/settings"
	"example.com/kpls-agent/internal/unit"
)

// stopNeeded is how long a stop may take: Kafka waits 5 minutes for the
// controller to move its leaderships away before it stops all the same
// (BrokerServer.shutdown), and flushes its logs then.
const stopNeeded = 330 * time.Second

// checkUnit checks the broker's service.
func checkUnit(ctx context.Context, s *settings.Settings) []Finding {
	u, _, err := host.NewUnit(s, slog.New(slog.DiscardHandler))
	if err != nil {
		return []Finding{judged("commands", err, "")}
	}
	systemd, ok := u.(*unit.Systemd)
	if !ok {
		return []Finding{judgeState("commands", u.State(ctx)), unseenUnit()}
	}
	defer systemd.Close()
	seen, err := systemd.Look(ctx)
	if err != nil {
		return []Finding{judged("unit "+s.Unit, err, "")}
	}
	findings := judgeSetup(s.Unit, seen.Setup)
	if seen.LoadState != "loaded" {
		return findings
	}
	findings = append(findings, judgeState("state of the unit", u.State(ctx)))
	findings = append(findings, ofUnit(append(seen.Judge(host.UnitBroker(s)),
		seen.JudgeRotation("/etc/logrotate.d")...))...)
	return append(findings,
		judged("right to restart the unit", systemd.MayRestart(ctx), ""),
		checkJudge(ctx, systemd, host.LastJudgements(s)),
		judgeSynchronized(systemd.ClockSynchronized(ctx)),
	)
}

// startedWith are the files that the unit starts the broker with, as far as that can be seen.
func startedWith(ctx context.Context, s *settings.Settings) []string {
	systemd, ok := host.Systemd(s)
	if !ok {
		return nil
	}
	defer systemd.Close()
	seen, err := systemd.Look(ctx)
	if err != nil {
		return nil // the lines on the unit say so
	}
	files := seen.Files(host.UnitBroker(s))
	slices.Sort(files)
	return slices.Compact(files)
}

// unseenUnit stands for all lines on the unit where the settings have commands instead of one.
func unseenUnit() Finding {
	return doubtful("unit", "cannot be seen: the settings have `commands`. The agent does not know what these do "+
		"beyond the broker's own process: whether a stop ends other Kafka processes or removes data, whether the "+
		"broker has time to stop, whether it starts at boot, whether its command line has --override. It refuses no "+
		"restart for that; see to it by hand, or, where systemd runs the broker, name its `unit` in the settings")
}

// UnitFaults are the faults of the broker's unit that a roll-out would meet, and what of it is to be written down,
// where one of its files is hidden.
func UnitFaults(
	ctx context.Context, s *settings.Settings, hidden func(path string) bool) ([]Finding, *unit.Seen, error,
) {
	systemd, ok := host.Systemd(s)
	if !ok {
		return nil, nil, nil
	}
	defer systemd.Close()
	seen, err := systemd.Look(ctx)
	if err != nil || seen.LoadState != "loaded" {
		return nil, nil, err // one that is not there yet is no fault of this machine's set-up
	}
	faults := slices.DeleteFunc(ofUnit(seen.Judge(host.UnitBroker(s))),
		func(f Finding) bool { return f.Level != Fault })
	return faults, seen.Write(hidden), nil
}

// ofUnit are the verdicts on the unit as lines of check. What lets the agent refuse a restart is a fault.
func ofUnit(verdicts []unit.Verdict) []Finding {
	var out []Finding
	for _, v := range verdicts {
		switch v.Level {
		case unit.OK:
			out = append(out, well(v.What, "%s", v.Text))
		case unit.Warning:
			out = append(out, doubtful(v.What, "%s", v.Text))
		case unit.Fault:
			out = append(out, broken(v.What, "%s", v.Text))
		case unit.Hazard:
			out = append(out, broken(v.What, "%s. The agent restarts nothing until then", v.Text))
		}
	}
	return out
}

// judgeState takes every state for well that the service manager can tell: a
// broker may be stopped.
func judgeState(what string, f restart.UnitFacts) Finding {
	if f.State == restart.UnitUnknown {
		return broken(what, "%s", f.Detail)
	}
	return well(what, "%s", f.State)
}

// judgeSetup judges the unit's settings, each on its own; one that is not loaded has none.
func judgeSetup(name string, u unit.Setup) []Finding {
	loaded := judgeLoaded(name, u)
	if u.LoadState != "loaded" {
		return []Finding{loaded}
	}
	return []Finding{
		loaded, judgeBoot(name, u), judgeProcess(name, u), judgeKill(name, u), judgeStopTime(name, u),
		judgeExitStatus(name, u), judgeRestarts(name, u),
	}
}

func judgeLoaded(name string, u unit.Setup) Finding {
	what := "unit " + name
	switch {
	case u.LoadState == "masked":
		return broken(what, "is masked, so nobody can start it; `systemctl unmask %s`", name)
	case u.LoadState == "not-found":
		return broken(what, "is not there; name the broker's unit as `unit` in the settings. Units of a user's own "+
			"service manager (`systemctl --user`) cannot be reached: use `commands`")
	case u.LoadState != "loaded":
		return broken(what, "is not loaded (%s: %s); correct its file, then `systemctl daemon-reload`", u.LoadState,
			u.LoadError)
	case u.RefuseManual:
		return broken(what, "cannot be restarted by anybody; remove RefuseManualStart= and RefuseManualStop= from it")
	case u.NeedDaemonReload:
		return doubtful(what, "its file has changed since systemd read it; `systemctl daemon-reload`")
	}
	if u.ID != "" && u.ID != name {
		return well(what, "%s, an alias of %s", u.Fragment, u.ID)
	}
	return well(what, "%s", u.Fragment)
}

func judgeBoot(name string, u unit.Setup) Finding {
	const what = "start at boot"
	if u.UnitFileState == "disabled" {
		return doubtful(what, "the unit is disabled, so the broker stays down after a reboot; `systemctl enable %s`",
			name)
	}
	return well(what, "%s", u.UnitFileState)
}

// judgeProcess asks whether systemd sees the broker's process come and go.
func judgeProcess(name string, u unit.Setup) Finding {
	const what = "process of the unit"
	switch {
	case u.Type == "oneshot" || u.RemainAfterExit:
		return broken(what, "with Type=oneshot or RemainAfterExit=yes systemd does not see the broker end; let the "+
			"unit run it in the foreground, with Type=simple and without -daemon (`systemctl edit --full %s`)", name)
	case u.Type == "forking":
		return doubtful(what, "with Type=forking systemd guesses which process is the broker; run it in the "+
			"foreground, with Type=simple and without -daemon (`systemctl edit --full %s`)", name)
	}
	return well(what, "Type=%s", u.Type)
}

// The signals at which a JVM runs its shutdown hooks: HUP, INT and TERM.
var politeSignals = []int{1, 2, 15}

func judgeKill(name string, u unit.Setup) Finding {
	const what = "way to stop"
	switch {
	case u.KillMode == "none":
		return broken(what, "with KillMode=none a restart does not end the old process, and the new one finds its "+
			"ports taken; remove KillMode= (`systemctl edit --full %s`)", name)
	case !slices.Contains(politeSignals, u.KillSignal):
		return broken(what, "at signal %d Kafka makes no controlled shutdown; remove KillSignal= from the unit, so "+
			"it gets SIGTERM (`systemctl edit --full %s`)", u.KillSignal, name)
	}
	if u.NoSIGKILL && u.TimeoutStop != unit.Forever {
		return doubtful(what, "with SendSIGKILL=no and TimeoutStopSec=%d a broker that needs longer to stop is left "+
			"running, and systemd then refuses to start it; remove SendSIGKILL= and set TimeoutStopSec=%d "+
			"(`systemctl edit --full %s`)",
			int(u.TimeoutStop.Seconds()), int(stopNeeded.Seconds()), name)
	}
	return well(what, "KillMode=%s, signal %d", u.KillMode, u.KillSignal)
}

func judgeStopTime(name string, u unit.Setup) Finding {
	const what = "time to stop"
	switch {
	case u.TimeoutStop == unit.Forever:
		return well(what, "no limit")
	case u.TimeoutStop < stopNeeded:
		return doubtful(what, "systemd kills the broker %s after it asked it to stop, and a controlled shutdown may "+
			"take 5 minutes and the time to flush the logs; set TimeoutStopSec=%d or more (`systemctl edit %s`), or "+
			"a stop in bad times ends in a log recovery", u.TimeoutStop, int(stopNeeded.Seconds()), name)
	}
	return well(what, "%s", u.TimeoutStop)
}

func judgeExitStatus(name string, u unit.Setup) Finding {
	const what = "exit status"
	const bySIGTERM = 143 // of a JVM
	if !slices.Contains(u.SuccessExitStatus, bySIGTERM) {
		if len(u.OnFailure) > 0 {
			return doubtful(what, "a broker that was stopped exits with %d, which systemd takes for a failure, so "+
				"every restart by the agent starts OnFailure=%s; set SuccessExitStatus=%d (`systemctl edit %s`)",
				bySIGTERM, strings.Join(u.OnFailure, " "), bySIGTERM, name)
		}
		return doubtful(what, "a broker that was stopped exits with %d, which systemd takes for a failure; set "+
			"SuccessExitStatus=%d (`systemctl edit %s`), or every stop shows as a failed unit", bySIGTERM, bySIGTERM,
			name)
	}
	return well(what, "%d is success", bySIGTERM)
}

// judgeRestarts asks whether systemd leaves a start for a rollback. A broker
// that fails over a manifest is started by a roll-out, by Restart= again, and
// then by the rollback; beyond its limit systemd refuses every start.
func judgeRestarts(name string, u unit.Setup) Finding {
	const what = "automatic restarts"
	const startsOfARollOut = 3 // the roll-out's, the rollback's, and one by hand
	limited := u.StartLimitBurst > 0 && u.StartLimitInterval > 0
	again := u.Restart != "no" && u.Restart != ""
	switch {
	case limited && u.StartLimitAction != "none" && u.StartLimitAction != "":
		return doubtful(what, "a broker that fails over a manifest may bring about StartLimitAction=%s; remove it "+
			"(`systemctl edit --full %s`), the agent puts such a broker back by itself", u.StartLimitAction, name)
	case limited && u.StartLimitBurst < startsOfARollOut && u.StartLimitInterval > time.Minute:
		return doubtful(what, "systemd allows %d starts in %s, so it may refuse the one of a rollback; set "+
			"StartLimitBurst=5 (`systemctl edit %s`)", u.StartLimitBurst, u.StartLimitInterval, name)
	case limited && again && u.StartLimitInterval > time.Minute &&
		time.Duration(u.StartLimitBurst)*u.RestartDelay < u.StartLimitInterval:
		return doubtful(what, "with Restart=%s a broker that fails over a manifest may use up its %d starts in %s, "+
			"and systemd then refuses the one of the rollback; set RestartSec=%d, or a shorter "+
			"StartLimitIntervalSec= (`systemctl edit %s`)",
			u.Restart, u.StartLimitBurst, u.StartLimitInterval,
			int((u.StartLimitInterval/time.Duration(u.StartLimitBurst)).Seconds())+1, name)
	}
	return well(what, "Restart=%s", u.Restart)
}

// judgeSynchronized is about NTP. What the agents need of their clocks is little:
// an agent counts as silent by the time of its last record.
func judgeSynchronized(synchronized bool, err error) Finding {
	const what = "clock synchronization"
	switch {
	case err != nil:
		return doubtful(what, "%s; see `timedatectl`", config.OneLine(err))
	case !synchronized:
		return doubtful(what, "the system's clock is not kept right by NTP or the like; run a time service, such as "+
			"systemd-timesyncd or chrony: agents with clocks far apart take each other for silent")
	}
	return well(what, "by the system")
}

// clockOff and clockFar: logs can be read side by side, and a healthy agent is not taken for silent.
const clockOff, clockFar = 2 * time.Second, 30 * time.Second

// judgeClock compares this machine's clock with the active controller's.
func judgeClock(ahead, uncertain time.Duration, err error) Finding {
	const what = "clock"
	if err != nil {
		return doubtful(what, "%s", config.OneLine(err))
	}
	where, off := "ahead of", ahead.Abs()
	if ahead < 0 {
		where = "behind"
	}
	off = max(0, off-uncertain).Round(time.Millisecond)
	switch {
	case off > clockFar:
		return broken(what, "this machine is %s %s the active controller; set its clock right: an agent is taken "+
			"for silent after a minute without a record, and roll-outs wait for it", off, where)
	case off > clockOff:
		return doubtful(what, "this machine is %s %s the active controller; run a time service, such as "+
			"systemd-timesyncd or chrony", off, where)
	}
	return well(what, "within %s of the active controller's", (ahead.Abs() + uncertain).Round(time.Millisecond))
}
