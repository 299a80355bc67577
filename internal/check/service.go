package check

import (
	"context"

	"example.com/kpls-agent/internal/config"
	"example.com/kpls-agent/internal/settings"
	"example.com/kpls-agent/internal/unit"
)

// checkService checks the agent itself: that it runs, that it starts at boot, and that it is the program that is
// installed.
func checkService(ctx context.Context, s *settings.Settings, o Options) []Finding {
	agent := AskNeighbour(ctx, s.HTTPListen)
	if !o.Service || !unit.Booted() {
		return append(judgeAgent(agent, s.HTTPListen), judgeRunning(agent, o.Version)...)
	}
	own, err := ownUnit(ctx)
	return append(judgeService(own, err, agent, s.HTTPListen), judgeRunning(agent, o.Version)...)
}

func ownUnit(ctx context.Context) (unit.Own, error) {
	m, err := unit.NewManager(ctx)
	if err != nil {
		return unit.Own{}, err
	}
	defer m.Close()
	return m.Own(ctx)
}

const whatAgent = "agent"

// judgeAgent knows no unit: the agent may be run by anything.
func judgeAgent(agent Neighbour, listen string) []Finding {
	if agent.Runs() {
		return []Finding{well(whatAgent, "runs, and answers at %s", listen)}
	}
	return []Finding{doubtful(whatAgent, "no agent answers at %s (http.listen); start it: `kpls-agent run`", listen)}
}

// judgeService goes by what systemd says of the agent's own unit.
func judgeService(own unit.Own, err error, agent Neighbour, listen string) []Finding {
	if err != nil {
		return []Finding{doubtful(whatAgent, "%s", config.OneLine(err))}
	}
	const logs = "`journalctl -u kpls-agent` says why"
	var f Finding
	switch own.LoadState {
	case "loaded":
	case "masked":
		return []Finding{broken(whatAgent, "%s is masked, so nobody can start it; type "+
			"`sudo systemctl unmask --now kpls-agent`", unit.AgentService)}
	default:
		return judgeAgent(agent, listen) // some other unit may run it
	}
	switch own.ActiveState {
	case "active", "reloading":
		f = well(whatAgent, "%s runs", unit.AgentService)
		if !agent.Runs() {
			f = doubtful(whatAgent, "%s runs, and does not answer at %s (http.listen); "+
				"if it was started just now, ask again, otherwise "+logs, unit.AgentService, listen)
		}
	case "activating":
		f = doubtful(whatAgent, "%s is starting; if that stays so, "+logs, unit.AgentService)
	default:
		f = broken(whatAgent, "%s does not run (%s), so a roll-out waits for this VM; type "+
			"`sudo systemctl start kpls-agent`; if it ends again, "+logs, unit.AgentService, own.ActiveState)
	}
	if own.UnitFileState == "disabled" {
		return []Finding{f, doubtful("start of the agent at boot", "%s is disabled, so the agent stays down after a "+
			"reboot; type `sudo systemctl enable kpls-agent`", unit.AgentService)}
	}
	return []Finding{f, well("start of the agent at boot", "%s", own.UnitFileState)}
}

// judgeRunning compares the agent that runs with the program that asks.
func judgeRunning(agent Neighbour, installed string) []Finding {
	const what = "version of the agent"
	switch runs := agent.version(); runs {
	case "":
		return nil // it does not run, which is said already
	case installed:
		return []Finding{well(what, "%s", installed)}
	default:
		return []Finding{doubtful(what, "%s runs, and %s is installed; type `sudo systemctl restart kpls-agent`, which "+
			"restarts no broker", runs, installed)}
	}
}
