package restart

import (
	"encoding/json"
	"reflect"
	"slices"
	"testing"
	"time"
)

// records are one of each kind, as they are written, and some that nobody of ours wrote.
func records() []Record {
	at := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	return []Record{
		NewStatus(Status{Broker: 1, Cluster: "c", Manifest: "h", Target: "h+r", Phase: PhaseSoaking, Since: at, Up: true, Serving: []string{"EXTERNAL"}}),
		NewClaim(Claim{Broker: 1, Zone: "a", Target: "h", At: at}, "n"),
		NewRelease("claim/1/n"),
		NewHalt(Halt{Broker: 1, Manifest: "h", Why: "it ended", At: at}),
		NewUnhalt("h"),
		NewActive("EXTERNAL"), NewInactive("EXTERNAL"),
		NewPause(Pause{By: "ann", Why: "audit", At: at}), NewResume(),
		NewRequest(Request{ID: "r", By: "ann", At: at}), NewRequestDone("r"),
		NewTakeover("broker 2", Claim{Key: "claim/1/n"}, "silent", at),
		{Key: "status/1", Value: []byte(`{"version":2,"broker":1}`)},
		{Key: "status/-0", Value: []byte(`{"version":1,"broker":0}`)},
		{Key: "status/99999999999", Value: []byte(`{}`)},
		{Key: "claim/1/", Value: []byte(`{"version":1,"broker":1,"at":"2030"}`)},
		{Key: "halt/", Value: []byte(`{"version":1}`)},
		{Key: "", Value: []byte("null")},
		{Key: "unheard of", Value: []byte(`{"version":1,"broker":1}`)},
		{Key: "unheard of", Value: []byte(`{"version":2}`)},
		{Key: "restart", Value: []byte(`{"version":1}`)},
		{Key: "restart/", Value: []byte(`{"version":1}`)},
	}
}

// FuzzFold: whatever somebody writes to the log, nothing panics, nothing is
// passed over in silence, and nothing stays when its key is deleted.
func FuzzFold(f *testing.F) {
	for _, a := range records() {
		for _, b := range records() {
			f.Add(a.Key, a.Value, a.Value == nil, b.Key, b.Value)
		}
	}
	f.Fuzz(func(t *testing.T, key1 string, value1 []byte, tombstone bool, key2 string, value2 []byte) {
		v := NewView()
		first := Record{Key: key1, Value: value1}
		if tombstone {
			first.Value = nil
		} else if value1 == nil {
			first.Value = []byte{}
		}
		for i, r := range []Record{first, {Key: key2, Value: append([]byte{}, value2...)}, first} {
			r.Offset = int64(i)
			before := v.Clone()
			v.Fold(r)
			if v.Next != r.Offset+1 {
				t.Fatalf("next is %d after offset %d", v.Next, r.Offset)
			}
			_, foreign := v.Foreign[r.Key]
			_, ignored := v.Ignored[r.Key]
			if r.Value != nil && !foreign && !ignored && r.Key != keyGuard && !kept(v, r.Key) {
				t.Fatalf("%q %q is passed over in silence", r.Key, r.Value)
			}
			if !slices.IsSortedFunc(v.Claims, func(a, b Claim) int { return int(a.Offset - b.Offset) }) {
				t.Fatalf("the queue is not in the log's order: %+v", v.Claims)
			}
			if before.Next != v.Next-1 && i > 0 {
				t.Fatal("a clone changed with its original")
			}
		}
		clone := v.Clone()
		if !reflect.DeepEqual(clone.Claims, v.Claims) && len(v.Claims) > 0 || len(clone.Foreign) != len(v.Foreign) || len(clone.Ignored) != len(v.Ignored) {
			t.Fatalf("%+v is cloned as %+v", v, clone)
		}
		for _, key := range []string{key1, key2} {
			v.Fold(Record{Key: key, Offset: 9})
		}
		if len(v.Claims)+len(v.Statuses)+len(v.Halts)+len(v.Active)+len(v.Foreign)+len(v.Ignored) > 0 || v.Pause != nil || v.Request() != nil {
			t.Fatalf("all keys are deleted, and there is still %+v", v)
		}
	})
}

// kept is true if a view has what a key stands for.
func kept(v *View, key string) bool {
	w := v.Clone()
	w.Fold(Record{Key: key})
	count := func(v *View) int {
		return len(v.Claims) + len(v.Statuses) + len(v.Halts) + len(v.Active) + len(v.Requests)
	}
	return count(w) < count(v) || w.Pause != v.Pause
}

// FuzzJournal: whatever a journal says that can be read, the machine decides
// without a panic, restarts nothing on it alone, and keeps the step it does not know.
func FuzzJournal(f *testing.F) {
	for _, step := range []Stage{StageNone, StageApply, StageRestart, StageProve, StageRestore, StageUndo, StageProveUndo, StageNeedsOperator, "later"} {
		j := going(step).Journal
		b, err := json.Marshal(j)
		if err != nil {
			f.Fatal(err)
		}
		for state := range uint8(6) {
			f.Add(b, state)
		}
	}
	states := []UnitState{UnitUnknown, UnitRunning, UnitStarting, UnitStopping, UnitStopped, UnitFailed}
	f.Fuzz(func(t *testing.T, data []byte, state uint8) {
		var j Journal
		if json.Unmarshal(data, &j) != nil {
			return
		}
		facts := claiming()
		facts.Log = LogFacts{View: NewView(), Err: "not read yet"}
		facts.Cluster = ClusterFacts{}
		facts.Journal = j
		facts.Unit.State = states[int(state)%len(states)]
		up := facts.Unit.State == UnitRunning || facts.Unit.State == UnitStarting || facts.Unit.State == UnitStopping
		m := machine()
		for range 6 {
			d := m.Decide(&facts)
			if d.Do.Kind == ActRestart && (up || facts.Unit.State == UnitUnknown) && facts.Unit.State == UnitRunning && facts.Unit.Restarts == 0 {
				t.Fatalf("a broker that runs is restarted, and nothing was looked at: %+v", d)
			}
			if d.Do.Kind == ActSave {
				facts.Journal = *d.Do.Journal
			}
			facts.Now = facts.Now.Add(time.Second)
		}
	})
}
