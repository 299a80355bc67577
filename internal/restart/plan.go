package restart

import (
	"cmp"
	"slices"
	"sort"
	"strings"
)

// Plan is what would be done and what is in the way, as of some facts.
type Plan struct {
	// Drift says how the process differs from the manifest; empty is not at all, or,
	// with NoAnswer, that this is not known.
	Drift string `json:"drift,omitempty"`
	// NoAnswer says why the process could not be asked what it runs.
	NoAnswer string `json:"no_answer,omitempty"`
	// Order is the brokers still to be restarted, in the order in which they will go.
	Order []int32 `json:"order"`
	// UnderWay is the brokers, ascending, whose restart has begun, up to the end of its proof.
	UnderWay []int32 `json:"under_way,omitempty"`
	// Gates are all gates with what blocks them, as for a restart of this broker now; none if it needs no restart.
	Gates []GateResult `json:"gates"`
	// Blocked is the first thing in the way of a restart of this broker; nil is nothing. On a broker that needs nothing
	// it is what keeps every other one of the order from being restarted.
	Blocked *Reason `json:"blocked,omitempty"`
	// Also is what else is in the way, in the order in which it is looked for, gates aside.
	Also []Reason `json:"also,omitempty"`
	// Unprotected lists topics on this broker that no roll-out can protect, at most 10.
	Unprotected []string `json:"unprotected,omitempty"`
}

// GateResult is one gate, passed or not.
type GateResult struct {
	Name    Code   `json:"name"`
	Passes  bool   `json:"passes"`
	Blocked string `json:"blocked,omitempty"`
}

// Standing is one veto, and why it stands; nil where it does not.
type Standing struct {
	Name   string
	Reason *Reason
}

// Vetoes looks for everything that is in the way of a restart of a broker now, in the order of
// the list, but for the gates that look at every partition.
func Vetoes(self int32, f Facts) []Standing { return planned(self, &f).standing() }

func (s *round) standing() []Standing {
	var out []Standing
	for i := range vetoes {
		if v := &vetoes[i]; v.when&planning != 0 && v.when&lastLook == 0 {
			out = append(out, Standing{v.name, v.check(s)})
		}
	}
	return out
}

// Unfit returns all that keeps a broker from being restarted, as far as its own VM knows: no
// log and no view of the cluster is needed in the facts.
func Unfit(self int32, f Facts) []Reason {
	s := planned(self, &f)
	var out []Reason
	for i := range vetoes {
		if v := &vetoes[i]; v.when&checking != 0 {
			if r := v.check(s); r != nil {
				out = append(out, *r)
			}
		}
	}
	return out
}

// planned is a round of a machine that has seen these facts and nothing before.
func planned(self int32, f *Facts) *round {
	if f.Log.View == nil {
		f.Log.View = NewView()
	}
	m := NewMachine(Options{Self: self})
	s := newRound(&m, f)
	if f.Log.Err != "" { // it was asked once, just now
		s.m.mem.log.deafSince = f.Now.Add(-deaf)
	}
	return s
}

// NewPlan looks at facts as a Machine would, and does nothing. Without a journal, what the broker's own agent has
// written to the log says for which request it has been restarted.
func NewPlan(self int32, f Facts) Plan {
	s := planned(self, &f)
	mine, told := s.v.Statuses[self]
	if q := s.v.Request(); q != nil && f.Journal.Version == 0 && told && mine.Target == s.target && !mine.Drift {
		s.j.Request = q.ID
	}
	p := Plan{
		Drift: s.drift().String(), NoAnswer: f.Running.Err, Order: []int32{}, Gates: []GateResult{},
		Unprotected: s.unprotected(),
	}
	s.order(&p)
	switch {
	case slices.Contains(p.UnderWay, self): // its agent says what it waits for
		return p
	case p.Drift == "" && p.NoAnswer == "":
		s.blockOthers(&p)
		return p
	}
	for i := range vetoes {
		if v := &vetoes[i]; strings.HasPrefix(v.name, "gate_") {
			p.Gates = append(p.Gates, s.gateResult(v))
		}
	}
	p.block(s.vetoed(planning), s.standing())
	return p
}

// order says who is on its way, and who is still to go.
func (s *round) order(p *Plan) {
	self := s.m.opts.Self
	others, _ := s.others()
	for _, id := range append([]int32{self}, others...) {
		st, known := s.v.Statuses[id]
		_, listed := s.f.Manifest.Zones[id]
		switch {
		case s.onItsWay(id):
			p.UnderWay = append(p.UnderWay, id)
		case id == self && p.Drift == "":
		// An agent that has not taken this manifest over yet will find drift if this one does.
		case id != self && (known && s.done(st) || p.Drift == "" && st.Target != s.target):
		case s.f.Manifest.Table && !listed: // its agent refuses the manifest
		default:
			p.Order = append(p.Order, id)
		}
	}
	slices.Sort(p.UnderWay)
	sort.Slice(p.Order, func(i, k int) bool {
		a, b := p.Order[i], p.Order[k]
		return s.before(a, s.sound(a), b, s.sound(b))
	})
}

// onItsWay is true for a broker whose restart for the target has begun and may still end well. The journal of this
// broker knows better than its status, which its agent may have failed to write.
func (s *round) onItsWay(id int32) bool {
	if id == s.m.opts.Self && s.j.Version != 0 {
		return s.j.Stage != StageNone
	}
	st := s.v.Statuses[id]
	switch st.Phase {
	case PhaseApplying, PhaseRestarting, PhaseStarting, PhaseCatchingUp, PhaseBalancer, PhaseSoaking:
		return st.Target == s.target
	default:
		return false
	}
}

// blockOthers is what is in the way where this broker needs nothing: that its agent cannot take the manifest, or does
// not look after the broker; or what keeps the others from going.
func (s *round) blockOthers(p *Plan) {
	if r := cmp.Or(s.vetoed(taking|answered), s.vetoStopped()); r != nil {
		p.Blocked = r
		return
	}
	if len(p.Order) > 0 {
		p.Blocked = s.vetoed(anyBroker)
	}
}

// block notes the first thing that is in the way, and what else is.
func (p *Plan) block(first *Reason, all []Standing) {
	p.Blocked = first
	for _, v := range all {
		if v.Reason != nil && p.Blocked != nil && !v.Reason.Equal(*p.Blocked) {
			p.Also = append(p.Also, *v.Reason)
		}
	}
}

// PlanAfter plans as if these records were in the log already, and each agent had heard of a request among them.
func PlanAfter(self int32, f Facts, records ...Record) Plan {
	v := NewView()
	if f.Log.View != nil {
		v = f.Log.View.Clone()
	}
	had := v.Request()
	for _, r := range records {
		r.Offset, r.Time = v.Next, v.Clock
		v.Fold(r)
	}
	if q := v.Request(); q != nil && had == nil {
		for id, st := range v.Statuses {
			if st.Target == f.Manifest.Hash && st.Target != "" {
				st.Target, st.Drift = st.Target+"+"+q.ID, true
				v.Statuses[id] = st
			}
		}
	}
	f.Log.View = v
	return NewPlan(self, f)
}

// Obstacles is all that keeps the first broker of the order from being restarted, as far as this broker sees it:
// that brokers wait for one another is none.
func (p Plan) Obstacles() []Reason {
	var out []Reason
	add := func(r Reason) {
		same := func(o Reason) bool { return o.Text() == r.Text() }
		if !r.Code.Queueing() && !slices.ContainsFunc(out, same) {
			out = append(out, r)
		}
	}
	if p.Blocked != nil {
		add(*p.Blocked)
	}
	for _, r := range p.Also {
		add(r)
	}
	for _, g := range p.Gates {
		if !g.Passes {
			add(*NewReason(g.Name, g.Blocked))
		}
	}
	return out
}

// gateResult evaluates one gate for people.
func (s *round) gateResult(v *veto) GateResult {
	r := GateResult{Name: Code(v.name), Passes: true}
	switch b := v.check(s); {
	case b != nil:
		r.Passes, r.Blocked = false, b.Text()
	case len(s.f.Cluster.Views) == 0:
		r.Passes, r.Blocked = false, "not known, since the cluster cannot be seen"
	}
	return r
}
