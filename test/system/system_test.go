package system

import "testing"

// TestSystem goes through everything on one bed: the story first, which leaves
// three brokers with EXTERNAL; then each fault, which leaves them as it found them.
func TestSystem(t *testing.T) {
	for _, step := range []struct {
		name string
		run  func(*system)
	}{
		{"story", story},
		{"agents killed at rest", killedAtRest},
		{"package upgraded in mid roll-out", upgraded},
		{"hardening", hardening},
		{"polkit", polkit},
		{"an administrator's choices", choices},
		{"package removed and purged", removed},
		{"first boot", firstBoot},
	} {
		if !t.Run(step.name, func(t *testing.T) { step.run(&system{t, bed}) }) && step.name == "story" {
			t.Fatal("there is nothing to go on with")
		}
	}
}
