package system

import "testing"

type step struct {
	name string
	run  func(*system)
}

// steps go through everything on one bed: the story first, which leaves three
// brokers with EXTERNAL; then each fault, which leaves them as it found them.
var steps = []step{
	{"story", story},
	{"hardening", hardening},
	{"polkit", polkit},
	{"an administrator's choices", choices},
	{"package removed and purged", removed},
	{"first boot", firstBoot},
	{"agents killed at rest", killedAtRest},
	{"agents killed and upgraded in mid roll-out", killedAndUpgraded},
	{"VM frozen in its turn, agent gone", frozenAndSilent},
	{"VMs rebooted", rebooted},
	{"cable cut in its turn", cut},
	{"log directory full", diskFull},
	{"what a person has to mend", repairs},
	{"held, HAProxy", held},
	{"closed, nftables", closedFlows},
}

func TestSystem(t *testing.T) {
	for _, step := range steps {
		if !t.Run(step.name, func(t *testing.T) { step.run(&system{t, bed}) }) && step.name == "story" {
			t.Fatal("there is nothing to go on with")
		}
	}
}
