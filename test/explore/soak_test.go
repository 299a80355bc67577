//go:build soak

package explore

import "testing"

// large is what takes minutes: part of `make soak`.
var large = append([]config{
	{name: "3 brokers, one is stopped", n: 3, need: 1, only: 3, budgets: []budget{{"stop by hand", 1}}},
	{name: "2 brokers, crash, delay and stale read", n: 2, budgets: []budget{{"crash", 1}, {"delay", 1}, {"stale read", 1}}},
	{name: "2 brokers, two manifests, crash and delay", n: 2, versions: []version{first, second}, budgets: []budget{{"crash", 1}, {"delay", 1}}},
	{name: "2 brokers, loops, crash", n: 2, before: first, versions: []version{second.which("loops")}, budgets: []budget{{"crash", 1}}},
	{name: "2 brokers, release and delay", n: 2, only: 1, budgets: []budget{{"release", 1}, {"delay", 1}}},
	{name: "2 brokers, rolling restart that is taken back, and delay", n: 2, before: first, versions: []version{first}, budgets: []budget{{"rolling restart", 1}, {"delay", 1}}},
	{name: "2 brokers, pause and delay", n: 2, budgets: []budget{{"pause", 1}, {"delay", 1}}},
	{name: "3 brokers, two crashes", n: 3, budgets: []budget{{"crash", 2}}},
	{name: "2 brokers, the deaf broker is asked first, kill", n: 2, deafFirst: true, budgets: []budget{{"deaf broker", 1}, {"kill", 1}}},
	{
		name: "3 brokers, wrong, the deaf broker is asked first", n: 3, before: first, versions: []version{second.which("wrong")},
		deafFirst: true, only: 3, budgets: []budget{{"deaf broker", 1}},
	},
	{
		name: "2 brokers, wrong, stop and restart by hand", n: 2, only: 2, before: first, versions: []version{second.which("wrong")},
		budgets: []budget{{"stop by hand", 1}, {"restart by hand", 1}}, limit: 4_000_000,
	},
}, each("3 brokers that vote, ", config{n: 3, voters: []int{1, 2, 3}, limit: 4_000_000})...)

// TestLarge visits at least 10 million states.
func TestLarge(t *testing.T) { run(t, large) }
