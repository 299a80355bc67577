package sim

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const product = "../../internal/restart"

// mutant is a deliberate fault in the product. Old stands exactly once in the
// file of internal/restart and is replaced by New.
type mutant struct{ name, file, old, new string }

// rare are the faults that one seed in tens of thousands notices. They are the exploration's to notice.
var rare = map[string]bool{
	"a dynamic configuration counts as a bad manifest":      true,
	"only the halt says that a manifest has failed":         true,
	"one broker's word that another is fenced is enough":    true,
	"a dynamic configuration is ignored under way":          true,
	"the second attempt forgets what ran before the first":  true,
	"a hidden value is proved by a process that may be old": true,
	"others follow a process that may run the new file":     true,
}

// mutants is the list to add to: gates, agreement, order, claims, freshness,
// the steps of a restart, the proof, the way back, what a new agent process remembers.
var mutants = []mutant{
	{"empty metadata counts as a view", "gates.go", `if !v.whole() {`, `if false {`},
	{"brokers that are down do not count", "gates.go", `if !s.inAny(s.m.opts.Self) || len(down)`, `if down = nil; !s.inAny(s.m.opts.Self) || len(down)`},
	{"claimed brokers do not count against max_unavailable", "gates.go", `len(down)+len(counted)+1 <=`, `len(down)+1 <=`},
	{"partitions are checked in one view only", "gates.go", "	for _, v := range s.f.Cluster.Views {\n		n, worst := 0", "	for _, v := range s.f.Cluster.Views[:min(1, len(s.f.Cluster.Views))] {\n		n, worst := 0"},
	{"a partition may come one below its minimum", "gates.go", `if left >= strict {`, `if left >= strict-1 {`},
	{"claimed brokers count as in sync", "gates.go", `if id != self && !isDown(counted, id) && !s.noAnswer(id) {`, `if id != self && !s.noAnswer(id) {`},
	{"a broker that a partition waits for is restarted", "gates.go", `low := len(p.Replicas) > need`, `low := false`},
	{"no majority of voters is needed", "gates.go", `if remain < need {`, `if false {`},
	{"a broker without a vote needs no majority", "gates.go", `case q.ZooKeeper:`, `case q.ZooKeeper || !q.voter(s.m.opts.Self):`},
	{"a voter that is behind counts", "gates.go", `v.Behind >= 0 && v.Behind < voterLag`, `v.Behind >= 0`},
	{"a manifest that differs elsewhere is ignored", "agree.go", "	m := &s.f.Manifest\n	switch {", "	m := &s.f.Manifest\n	st.Manifest, st.Target = m.Hash, s.target\n	switch {"},
	{"a silent agent that is not done counts as ready", "agree.go", "case !s.finished(st) && s.quiet(st):", "case false:"},
	{"the active controller does not go last", "agree.go", "	default:\n		return 3", "	default:\n		return 2"},
	{"nobody waits for an earlier claim", "agree.go", `ahead := 0`, "ahead := 0\n	return nil"},
	{"a pause is ignored", "vetoes.go", `if p := s.v.Pause; p != nil {`, `if p := s.v.Pause; p != nil && false {`},
	{"a halt is ignored", "vetoes.go", "if h, ok := s.v.Halts[s.f.Manifest.Hash]; ok {\n\t\treturn because", "if h, ok := s.v.Halts[s.f.Manifest.Hash]; ok && false {\n\t\treturn because"},
	{"records of a later version are ignored", "vetoes.go", `if len(s.v.Foreign) > 0 {`, `if false {`},
	{"every unknown key stops all agents", "record.go", `case err == nil && said.Version > RecordVersion:`, `case true:`},
	{"no unknown key stops an agent", "record.go", `case err == nil && said.Version > RecordVersion:`, `case false:`},
	{"silence is measured by the agent's own clock", "agree.go", `return s.v.Clock.Sub(st.Seen)`, `return s.f.Now.Sub(st.Seen)`},
	{"one more broker may be down than the manifest says", "machine.go", `max(1, s.f.Manifest.MaxUnavailable)`, `1 + max(1, s.f.Manifest.MaxUnavailable)`},
	{"every observation counts as fresh", "machine.go", `return !t.IsZero() && s.f.Now.Sub(t) <= d`, `return !t.IsZero()`},
	{"an observation from before the claim is enough", "machine.go", `!s.f.Cluster.At.Before(s.m.mem.claim.at)`, `true`},
	{"a failed save is repeated without a pause", "machine.go", "	if s.tooSoon(ActSave) {", "	if false {"},
	{"a hidden value is forgotten", "difference.go", `s.f.Manifest.HiddenChanges || s.j.Hidden`, `s.f.Manifest.HiddenChanges`},
	{"the second attempt forgets what ran before the first", "stage_claim.go", `if again {`, `if false {`},
	{"the file is not noted as unproven", "stage_claim.go", `j.Unproven, j.Why = true, ""`, `j.Unproven, j.Why = false, ""`},
	{"a start by hand on the new file is not proved", "rules.go", `	{"prove what somebody has started", (*round).proveHandStart},`, ``},
	{"the claim is never given back", "stage_rest.go", `if !held || s.tooSoon(ActAppend) ||`, `if true || !held || s.tooSoon(ActAppend) ||`},
	{"a dynamic configuration is ignored", "vetoes.go", `if len(s.f.Running.Dynamic) == 0 || !s.up() {`, `if true {`},
	{"a dynamic configuration counts as a bad manifest", "stage_prove.go", `if r := s.vetoDynamic(); r != nil {`, `if r := s.vetoDynamic(); r != nil && false {`},
	{"one broker's word that another is fenced is enough", "stage_undo.go", `return s.gateViews(nil)`, `return nil`},
	{"a rollback waits for views where nobody listens", "stage_undo.go", `if !s.recent(s.f.Running.NobodyListens, near) {`, `if true {`},
	{"a dynamic configuration is ignored under way", "vetoes.go", `{"dynamic_config", answered | underWay |`, `{"dynamic_config", answered |`},
	{"a refusal is ignored", "vetoes.go", `{"refused", taking |`, `{"refused",`},
	{"probes open before all serve", "stage_idle.go", `|| !s.everyoneDone() || s.tooSoon(ActAppend) {
		return nil`, `|| s.tooSoon(ActAppend) {
		return nil`},
	{"a removal does not wait for the probes", "vetoes.go", `{"probes_closing", beforeClaim |`, `{"probes_closing",`},
	{"a rolling restart never ends", "rules.go", `	{"end the request", (*round).endRequest},`, ``},
	{"a claim is removed although its agent is not silent", "stage_claim.go", `s.silence(st) < long ||
			s.f.Now.Sub(s.m.mem.log.heard[c.Broker].at) < long ||`, `long < 0 ||`},
	{"the gates are checked only once", "rules.go", `	{"gates once more", (*round).lastGates},`, ``},
	{"the claim is not checked again", "vetoes.go", `{"claim_gone", underWay,`, `{"claim_gone", 0,`},
	{"a unit that cannot be seen counts as stopped", "rules.go", `	{"unit unknown", (*round).restartUnseen},`, ``},
	{"a restart may come any time after the decision", "stage_restart.go", `earlier(s.f.Log.At, s.f.Cluster.At).Add(fresh)`, `s.f.Now.Add(time.Hour)`},
	{"the probes stay held", "stage_prove.go", `return s.do(PhaseSoaking, r, Action{Kind: ActEnd}, 0)`, "_ = r\n	return nil"},
	{"a process that ended is waited for", "stage_prove.go", `case u.State == UnitFailed || u.State`, `case u.State`},
	{"a process that keeps ending is waited for", "stage_prove.go", `case s.keepsEnding():`, `case false:`},
	{"a wrong configuration counts as proved", "stage_prove.go", `if d := differs(f.Running.Listeners, want, absent); d.kind != noDifference {`, `if d := differs(f.Running.Listeners, want, absent); false {`},
	{"a process that hangs is waited for", "stage_prove.go", `return s.m.opts.StartTimeout > 0 && asked`, `return false && asked`},
	{"the proof does not wait for the replicas", "stage_prove.go", `n := s.missing(s.m.opts.Self)`, `n := 0`},
	{"the halt names another manifest", "record.go", "	h.Version = RecordVersion\n	return encode(keyHalt", "	h.Version, h.Manifest = RecordVersion, \"v0\"\n	return encode(keyHalt"},
	{"the last good file is not restored", "rules.go", `	{"restore the file", (*round).restoreFile},`, ``},
	{"the rollback does not check who needs the broker", "stage_undo.go", `if b := s.needed(); b != nil {`, `if b := s.needed(); b != nil && false {`},
	{"the first broker does not go alone", "agree.go", `&& s.shown()`, ``},
	{"what the unit's stop would end is ignored", "vetoes.go", `if s.f.Unit.Hazard == ""`, `if true || s.f.Unit.Hazard == ""`},
	{"settings that a restart would drop are ignored", "vetoes.go", `if len(s.f.Manifest.Drops) == 0`, `if true || len(s.f.Manifest.Drops) == 0`},
	{"edits that Kafka would refuse are ignored", "vetoes.go", `if e.Invalid != "" {
				list`, `if e.Invalid != "" && false {
				list`},
	{"a log directory that is offline is ignored", "vetoes.go", `if f := s.storage(); f != "" {`, `if f := s.storage(); f != "" && false {`},
	{"the right to restart is not checked", "vetoes.go", `if s.f.Right.Denied == "" {`, `if true {`},
	{"only the halt says that a manifest has failed", "machine.go", `s.unhalted(),`, `"",`},
	{"a hidden value is proved by a process that may be old", "stage_prove.go", `case s.j.Hidden && p.failure == "" && p.waiting == nil:`, `case false:`},
	{"others follow a process that may run the new file", "machine.go", `s.unproven(),`, `false,`},
	{"what is tried again hides that it failed", "machine.go", `if s.triedAgain(a.Kind) {`, `if false {`},
	{"the failure is not noted in the journal", "stage_undo.go", `j.Failed, j.FileState = manifestOf(j.Target), FileState{}`, `j.FileState = FileState{}`},
}

// TestMutantsApply keeps the list up to date: each still finds its place.
func TestMutantsApply(t *testing.T) {
	names := map[string]bool{}
	for _, m := range mutants {
		src, err := os.ReadFile(filepath.Join(product, m.file))
		if err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(string(src), m.old); n != 1 {
			t.Errorf("%s: %q stands %d times in %s", m.name, m.old, n, m.file)
		}
		if names[m.name] {
			t.Errorf("two mutants are called %q", m.name)
		}
		names[m.name] = true
	}
}
