package explore

import "example.com/kpls-agent/internal/restart"

// good is true for a good end: the newest manifest runs everywhere; or it is a bad one, all are rolled
// back, and its halt stands.
func (x *explorer) good(w *world) bool {
	v, given := x.views[w.log], w.given
	if len(v.Claims) > 0 || len(v.Requests) > 0 {
		return false
	}
	_, halted := v.Halts[hash(given)]
	bad := x.version(given).bad != ""
	if bad && !halted {
		return false
	}
	for i := range x.o.n {
		b, m := &w.b[i], x.vms[w.vm[i]]
		if m.dead || m.manifest != given || m.disk.Stage != restart.StageNone || !b.has(up|ready|listed|inSync) || m.planned {
			return false
		}
		if bad && x.version(b.runs).bad != "" || !bad && (!x.same(b.runs, given) || !x.same(m.file, given)) {
			return false
		}
	}
	if !bad {
		for _, name := range x.version(given).names() {
			if !v.Active[name] {
				return false
			}
		}
	}
	return true
}
