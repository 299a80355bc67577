package system

import (
	"os"
	"testing"
)

type step struct {
	name string
	run  func(*system)
}

// steps go through everything on one bed: the step story first, which leaves three
// brokers with EXTERNAL; then each fault, which leaves them as it found them.
var steps = []step{
	{"story", story},
	{"hardening", hardening},
	{"polkit", polkit},
	{"Kafka judges", kafkaJudges},
	{"unit shapes", unitShapes},
	{"an administrator's choices", choices},
	{"package removed and purged", removed},
	{"first boot", firstBoot},
	{"the agent's own start", ownStart},
	{"the probe port moves", movedProbe},
	{"agents killed, stuck and downgraded at rest", replaced},
	{"agents killed and upgraded during a roll-out", killedAndUpgraded},
	{"VM frozen in its turn, agent gone", frozenAndSilent},
	{"VMs rebooted", rebooted},
	{"cable cut in its turn", cut},
	{"log directory full", diskFull},
	{"what an operator has to repair", repairs},
	{"held, HAProxy", held},
	{"closed, nftables", closedFlows},
}

// measurements take too long for every day. FIGURES=1 asks for them, and for docs/system.json.
var measurements = []step{
	{"story", story},
	{"agent upgraded", agentUpgraded},
	{"systemd-analyze security", security},
	{"boot to agent ready", booting},
	{"a probe that nobody answers", unjudged},
	{"checks of a wrong kind", wrongChecks},
	{"closed, HAProxy", closed},
	{"closed, no balancer", unprobed},
	{"held, nftables", heldFlows},
	{"closed, HAProxy as Azure", closedAzure},
	{"held, HAProxy as Azure", tenRolls},
	{"held for too long, HAProxy", heldTooLong},
	{"broker does not come back", lostBroker},
	{"another unit, folder and group", elsewhere},
	{"at rest", resting},
}

func TestSystem(t *testing.T) {
	todo := steps
	switch {
	case os.Getenv("HOUR") != "":
		todo = []step{{"first hour", firstHour}} // for docs/first-hour.md
	case os.Getenv("FIGURES") != "":
		todo = measurements
	}
	for _, step := range todo {
		if !t.Run(step.name, func(t *testing.T) { step.run(&system{t, bed}) }) && step.name == todo[0].name {
			t.Fatal("there is nothing to go on with")
		}
	}
}
