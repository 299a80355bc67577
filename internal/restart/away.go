package restart

import "slices"

// away is another broker that counts as down although it may still be up, and why.
type away struct {
	id  int32
	why string
}

// down returns the other brokers that the gates count as down: those that are about to claim (given
// by the caller), those whose claim is among the first max_unavailable ones, those that hold a
// claim and are in the middle of a restart (what another manifest allowed may still be under way), and those
// that are rolled back without a claim, since somebody had started them. Two that are rolled back
// do not count each other so: each would wait for the other.
func (s *round) down(pending []int32) []away {
	out := make([]away, 0, len(pending)+len(s.v.Claims))
	for _, id := range pending {
		out = append(out, away{id, "is about to claim"})
	}
	for i, c := range s.v.Claims {
		switch {
		case c.Broker == s.m.opts.Self:
		case i < s.maxUnavailable():
			out = append(out, away{c.Broker, "holds a claim"})
		case s.v.Statuses[c.Broker].Phase.underWay():
			out = append(out, away{c.Broker, "holds a claim and is in the middle of a restart"})
		}
	}
	if s.j.Stage == StageUndo {
		return out
	}
	for _, id := range s.undoing() {
		if !isDown(out, id) {
			out = append(out, away{id, "is being rolled back"})
		}
	}
	return out
}

func isDown(list []away, id int32) bool {
	return slices.ContainsFunc(list, func(a away) bool { return a.id == id })
}

// awayText names them with the cause of the first: "1, 2 holds a claim".
func awayText(list []away) string {
	all := make([]int32, len(list))
	for i, a := range list {
		all[i] = a.id
	}
	return ids(all) + " " + list[0].why
}
