package explore

import (
	"testing"

	"example.com/kpls-agent/internal/restart"
)

// What is taken for one state of a VM decides alike: the exploration, which goes on with the first of them
// only, leaves nothing out. Where an action runs, what it comes to is compared.
func TestEqualKeysDecideAlike(t *testing.T) {
	for _, o := range []config{
		{name: "2 brokers, crash", n: 2, budgets: []budget{{"crash", 1}}},
		{name: "2 brokers, pause", n: 2, budgets: []budget{{"pause", 1}}},
		{name: "2 brokers, bad manifest, corrected", n: 2, versions: []version{first.which("exits"), second}, budgets: []budget{{"disk full", 1}}, limit: 200_000},
		{name: "3 brokers, two together", n: 3, zones: "aaa", most: 2, need: 1},
		{name: "2 brokers, a listener is added and removed", n: 2, before: first, versions: []version{two, removal}, budgets: []budget{{"rolling restart", 1}}, limit: 200_000},
	} {
		t.Run(o.name, func(t *testing.T) {
			t.Parallel()
			const most = 20_000
			type pair struct {
				id int32
				v  vm
			}
			var pairs []pair
			seen := 0
			g := newGraph(o.complete())
			g.x.merged = func(id int32, v *vm) {
				if seen++; len(pairs) < most && seen%3 == 0 {
					pairs = append(pairs, pair{id, *v})
				}
			}
			if wrong := g.visit(); wrong != "" {
				t.Fatal(wrong)
			}
			x := g.x
			x.merged = nil
			inputs := map[int32][]stepKey{}
			for k := range x.stepped {
				inputs[k.vm] = append(inputs[k.vm], k)
			}
			compared := 0
			for _, p := range pairs {
				if p.v.dead || p.v.do.Kind != restart.ActNone {
					continue
				}
				for _, k := range inputs[p.id][:min(2, len(inputs[p.id]))] {
					compared++
					got, want := x.decide(int(k.i), p.v, k.view, k.l), x.stepped[k]
					if got.vm != want.vm || x.news(got.post, k.view) != x.news(want.post, k.view) {
						a, b := x.vms[want.vm], x.vms[got.vm]
						t.Fatalf("agent %d decides two ways:\n%s -> %q\n%s -> %q\n%q\n%q", k.i+1,
							a.a.Status().Reason, a.do.Kind, b.a.Status().Reason, b.do.Kind, a.key(nil, false), b.key(nil, false))
					}
				}
			}
			if compared < 100 {
				t.Errorf("only %d decisions were compared", compared)
			}
			t.Logf("%d decisions of %d merged states", compared, len(pairs))
		})
	}
}

// news is a status from which others learn something, -1 for none.
func (x *explorer) news(post, view int32) int32 {
	if post >= 0 && x.known(post, view) {
		return -1
	}
	return post
}
