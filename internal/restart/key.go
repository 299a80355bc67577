package restart

import (
	"encoding/binary"
	"maps"
	"slices"
	"time"
)

// The keys say what of a value decides on the future. Two agents with the same keys decide alike from
// then on, so whoever explores all their states (test/explore) need visit one of them only. Times stand
// in a key by the class of their age, and by their order where two of them are compared. Texts for people
// and times that are only shown are left out; key_test.go lists every field that is, and why.

// AppendKey appends the key of the memory at f.Now, and of the times of the facts. What the facts
// say is not in it.
func (m *Machine) AppendKey(b []byte, f *Facts) []byte {
	mem := &m.mem
	p, c, g := &mem.process, &mem.claim, &mem.stage
	b = appendText(b, string(mem.shown.phase), mem.judged.target, p.invocation, c.key, string(g.stage), g.moving,
		mem.nonce)
	b = appendFlags(b, g.haltTried, g.kept, g.issued.IsZero(), p.stoppedAt.IsZero(), c.at.IsZero(), p.at.IsZero(),
		p.mayBeOld, mem.wrote.IsZero())
	seen, asked := f.Cluster.At, f.Running.At
	b = appendFlags(
		b, seen.Before(c.at), seen.Before(p.at), seen.Before(asked),
		asked.Before(p.at), asked.Before(mem.judged.at), asked.Before(c.at), asked.Before(p.stoppedAt), mem.sawUnit,
	)
	if g.stage != StageNone { // only a proof has a time limit
		began := p.at
		if g.at.After(began) {
			began = g.at
		}
		b = append(b, age(f.Now, began, max(m.opts.StartTimeout, 1)), age(asked, began, max(m.opts.StartTimeout, 1)+1))
	}
	if g.stage == StageUndo {
		b = appendFlags(b, seen.Before(g.at), asked.Before(seen))
		b = append(b, age(f.Now, f.Running.NobodyListens, near, fresh))
	}
	if g.moving != "" {
		b = append(b, age(f.Now, g.movedAt, max(m.opts.ProgressTimeout, 1)))
	}
	b = append(
		b,
		age(f.Now, mem.begun, f.Manifest.Drain),
		age(f.Now, g.healthy, f.Manifest.Soak/4, f.Manifest.Soak, balancerGone),
		age(f.Now, mem.log.deafSince, deaf),
		age(f.Now, seen, paceProve, paceBlocked, near, fresh, paceWaiting, paceRest),
		age(f.Now, asked, paceProve, paceBlocked, paceWaiting, paceRest),
		age(f.Now, f.Log.At, near, fresh),
	)
	for _, id := range slices.Sorted(maps.Keys(mem.log.heard)) {
		b = append(binary.AppendVarint(b, int64(id)), age(f.Now, mem.log.heard[id].at, m.opts.Takeover, 4*Heartbeat(0)))
	}
	for _, kind := range slices.Sorted(maps.Keys(f.Failed)) {
		e := f.Failed[kind]
		b = append(appendInts(appendText(b, string(kind)), min(e.Count, 6)), age(f.Now, e.At, backoff(e.Count)))
		if kind == ActRestart {
			b = appendFlags(b, e.At.After(g.at))
		}
	}
	return append(b, '.')
}

// AppendKey appends the key of a journal at an instant.
func (j *Journal) AppendKey(b []byte, now time.Time) []byte {
	b = appendText(b, string(j.Stage), j.Target, j.RequestID, j.Edits, j.DropNoted, j.Invocation, j.Failed, j.Passed,
		j.Request)
	b = appendFlags(b, j.BeforeUnknown, j.Hidden, j.Unproven, j.Halted, j.Served, j.Planned(now), j.Why != "",
		j.Prior != nil)
	b = appendFlags(b, j.MayBeOld)
	b = appendInts(b, j.Version, min(j.Starts, maxStarts+1), j.Restarts)
	b = appendMap(appendMap(b, j.Listeners), j.Before)
	b = append(appendText(append(appendText(b, j.Absent...), '.'), j.Active...), '.')
	if p := j.Prior; p != nil {
		b = append(appendText(appendMap(appendText(b, p.Target, p.RequestID), p.Listeners), p.Absent...), '.')
	}
	return b
}

// AppendKey appends the key of a status: what others decide by.
func (s *Status) AppendKey(b []byte) []byte {
	b = appendText(binary.AppendVarint(b, int64(s.Broker)), s.Cluster, s.Manifest, s.Target, string(s.Phase),
		string(s.Reason.Code), s.Passed, s.Failed, s.Invocation, s.Zone, s.ManifestFault, s.Storage)
	b = appendFlags(b, s.Up, s.Drift, s.Ended, s.Unproven)
	for _, list := range [][]string{s.Serving, s.Open, s.Unprotected} {
		b = append(appendText(b, list...), '.')
	}
	return appendInts(b, s.Version, s.Level)
}

// AppendKey appends the key of a view. Takeover is that of the agents (Options).
func (v *View) AppendKey(b []byte, takeover time.Duration) []byte {
	for i := range v.Claims {
		c := &v.Claims[i]
		b = appendText(binary.AppendVarint(b, int64(c.Broker)), c.Key, c.Zone, c.Target)
	}
	b = append(b, '|')
	silent := 4 * Heartbeat(len(v.Statuses))
	for _, id := range slices.Sorted(maps.Keys(v.Statuses)) {
		st := v.Statuses[id]
		b = append(st.AppendKey(b), age(v.Clock, st.Seen, silent, takeover))
	}
	b = append(b, '|')
	for _, key := range slices.Sorted(maps.Keys(v.Halts)) {
		h := v.Halts[key]
		b = appendText(binary.AppendVarint(b, int64(h.Broker)), key, string(h.Cause))
	}
	b = append(appendText(append(b, '|'), slices.Sorted(maps.Keys(v.Active))...), '|')
	b = appendFlags(b, v.Pause != nil)
	for i := range v.Requests {
		b = appendText(b, v.Requests[i].ID)
	}
	return append(appendText(append(b, '|'), slices.Sorted(maps.Keys(v.Foreign))...), '|')
}

// age is the class of a time: 0 for none, else one more than the number of bounds that its age has reached.
func age(now, at time.Time, bounds ...time.Duration) byte {
	if at.IsZero() {
		return 0
	}
	class, d := byte(1), now.Sub(at)
	for _, bound := range bounds {
		if d >= bound {
			class++
		}
	}
	return class
}

func appendText(b []byte, list ...string) []byte {
	for _, s := range list {
		b = append(append(b, s...), 0)
	}
	return b
}

func appendInts(b []byte, list ...int) []byte {
	for _, n := range list {
		b = binary.AppendVarint(b, int64(n))
	}
	return b
}

func appendFlags(b []byte, list ...bool) []byte {
	x := byte(0)
	for i, f := range list {
		if f {
			x |= 1 << i
		}
	}
	return append(b, x)
}

func appendMap(b []byte, m map[string]string) []byte {
	for _, k := range slices.Sorted(maps.Keys(m)) {
		b = appendText(b, k, m[k])
	}
	return append(b, '.')
}
