package check

import (
	"fmt"
	"maps"
	"slices"

	"example.com/kpls-agent/internal/restart"
)

// planOf plans on what was seen. A manifest that this VM's agent has not taken over, such as that of
// `plan --manifest`, is in nobody's way for that: the plan says once where it is in force, and looks for what is in
// the way once all agents have it.
func planOf(id int32, f restart.Facts) restart.Plan {
	hash, log := f.Manifest.Hash, f.Log
	if hash == "" || log.View == nil || log.At.IsZero() || log.Err != "" || log.View.Statuses[id].Manifest == hash {
		return restart.NewPlan(id, f)
	}
	if log.Missing {
		f.Log.View = withoutManifest(id, f)
	}
	p := restart.NewPlan(id, f)
	f.Log.View = takenOver(id, f, p.Drift != "")
	after := restart.NewPlan(id, f)
	p.Blocked, p.Also = after.Blocked, after.Also
	idle := p.Drift == "" && p.NoAnswer == "" && len(p.Order) == 0
	if idle || slices.Contains(p.UnderWay, id) || p.Blocked != nil && p.Blocked.Code == restart.CodeRefused {
		return p
	}
	if p.Blocked != nil {
		p.Also = slices.Concat([]restart.Reason{*p.Blocked}, p.Also)
	}
	p.Blocked = restart.NewReason(restart.CodeManifestDiffers, notYet(log.View, hash))
	return p
}

// notYet says where a manifest is in force that is not in force here.
func notYet(v *restart.View, hash string) string {
	var has []int32
	for _, id := range slices.Sorted(maps.Keys(v.Statuses)) {
		if v.Statuses[id].Manifest == hash {
			has = append(has, id)
		}
	}
	if len(has) == 0 {
		return "this file is in force on no VM yet: put it on all of them"
	}
	return fmt.Sprintf("this file is in force on some VMs (brokers %s), and not here: put it on all of them", joinIDs(has))
}

// withoutManifest is the log of a cluster without a coordination topic, as if each agent had said that it has no
// manifest: before the first manifest no agent can say anything.
func withoutManifest(self int32, f restart.Facts) *restart.View {
	v := f.Log.View.Clone()
	for _, id := range slices.AppendSeq(slices.Clone(f.Cluster.Brokers), maps.Keys(f.Manifest.Zones)) {
		if _, heard := v.Statuses[id]; heard || id == self || slices.Contains(f.Manifest.Optional, id) {
			continue
		}
		v.Statuses[id] = restart.Status{
			Broker: id, Phase: restart.PhaseUnmanaged, Seen: v.Clock,
			Up:     len(f.Cluster.Brokers) == 0 || slices.Contains(f.Cluster.Brokers, id),
			Reason: *restart.NewReason(restart.CodeNoManifest, "there is no manifest yet"),
		}
	}
	return v
}

// takenOver is the log as if the other agents had taken the manifest over. Where it changes something here, it does
// so on their brokers.
func takenOver(self int32, f restart.Facts, drift bool) *restart.View {
	v := f.Log.View.Clone()
	target := f.Manifest.Hash
	if q := v.Request(); q != nil {
		target += "+" + q.ID
	}
	for id, st := range v.Statuses {
		if id == self || st.Manifest == f.Manifest.Hash {
			continue
		}
		st.Manifest, st.Target, st.Drift, st.ManifestFault = f.Manifest.Hash, target, st.Drift || drift, ""
		v.Statuses[id] = st
	}
	return v
}
