package check

import (
	"errors"
	"testing"

	"example.com/kpls-agent/internal/unit"
)

// TestJudgeService: what systemd says of the agent's own unit, and what the agent that runs says of itself.
func TestJudgeService(t *testing.T) {
	const silent, runs = Neighbour(""), Neighbour("\nkpls_agent_build_info{version=\"1.2\"} 1\n")
	loaded := func(active, enabled string) unit.Own {
		return unit.Own{LoadState: "loaded", ActiveState: active, UnitFileState: enabled}
	}
	for _, c := range []struct {
		name  string
		own   unit.Own
		err   error
		agent Neighbour
		what  string
		level Level
		says  string
	}{
		{name: "all is well", own: loaded("active", "enabled"), agent: runs},
		{name: "told to read its files again", own: loaded("reloading", "enabled"), agent: runs},
		{"does not run", loaded("inactive", "enabled"), nil, silent, "agent", Fault, "does not run (inactive), so a roll-out waits for this VM; type `sudo systemctl start kpls-agent`"},
		{"has failed", loaded("failed", "enabled"), nil, silent, "agent", Fault, "does not run (failed)"},
		{"is started again and again", loaded("activating", "enabled"), nil, silent, "agent", Warning, "is starting; if that stays so, `journalctl -u kpls-agent` says why"},
		{"does not answer", loaded("active", "enabled"), nil, silent, "agent", Warning, "does not answer at :9464 (http.listen)"},
		{"not at boot", loaded("active", "disabled"), nil, runs, "start of the agent at boot", Warning, "`sudo systemctl enable kpls-agent`"},
		{"masked", unit.Own{LoadState: "masked"}, nil, silent, "agent", Fault, "`sudo systemctl unmask --now kpls-agent`"},
		{name: "another unit runs it", own: unit.Own{LoadState: "not-found"}, agent: runs},
		{"no unit and no agent", unit.Own{LoadState: "not-found"}, nil, silent, "agent", Warning, "no agent answers at :9464 (http.listen); start it"},
		{"systemd cannot be asked", unit.Own{}, errors.New("no bus"), silent, "agent", Warning, "no bus"},
	} {
		t.Run(c.name, func(t *testing.T) {
			expect(t, judgeService(c.own, c.err, c.agent, ":9464"), c.what, c.level, c.says)
		})
	}
	expect(t, judgeRunning(runs, "1.2"), "", "", "")
	expect(t, judgeRunning(silent, "1.2"), "", "", "")
	expect(t, judgeRunning(runs, "1.3"), "version of the agent", Warning, "1.2 runs, and 1.3 is installed; type `sudo systemctl restart kpls-agent`")
}
