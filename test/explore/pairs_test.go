//go:build soak

package explore

import "testing"

// pairs are all pairs of faults in the smallest worlds, with a delay: what comes late is decided on what was.
func pairs() []config {
	var out []config
	for i, f := range faults {
		for _, g := range faults[i:] {
			for _, bad := range []string{"", "wrong"} {
				if bad != "" && (f.name == "state lost" || g.name == "state lost") {
					continue // without its journal nobody knows that what runs is of the manifest that failed
				}
				for n := 1; n <= 2; n++ {
					c := config{n: n, limit: 150_000, before: first, versions: []version{second.which(bad)}}
					c.name = map[int]string{1: "1 broker, ", 2: "2 brokers, "}[n] + bad + " " + f.name + " and " + g.name
					c.budgets = []budget{{f.name, 1}, {g.name, 1}}
					c.only = n - 1 // of two brokers the first, which goes first
					if f.name == g.name {
						c.budgets = []budget{{f.name, 2}}
					}
					if n == 1 && f.name != "delay" {
						c.budgets = append(c.budgets, budget{"delay", 1})
					}
					out = append(out, c)
				}
			}
		}
	}
	return out
}

// TestPairs visits the states of every pair of faults.
func TestPairs(t *testing.T) { run(t, pairs()) }
