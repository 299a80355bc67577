package restart

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// cluster3 is a healthy cluster of three as broker 1 sees it, ready to be spoiled.
func cluster3() Facts {
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	topics := []Topic{
		{Name: "orders", Partitions: []Partition{
			{ID: 0, Leader: 1, Replicas: []int32{1, 2, 3}, ISR: []int32{1, 2, 3}},
			{ID: 1, Leader: 2, Replicas: []int32{1, 2, 3}, ISR: []int32{1, 2, 3}},
		}},
		{Name: "lonely", Partitions: []Partition{{ID: 0, Leader: 1, Replicas: []int32{1}, ISR: []int32{1}}}},
	}
	views := func() []BrokerView {
		var out []BrokerView
		for _, b := range []int32{2, 3} {
			v := BrokerView{Broker: b, Alive: []int32{1, 2, 3}}
			for _, t := range topics {
				t.Partitions = append([]Partition(nil), t.Partitions...)
				v.Topics = append(v.Topics, t)
			}
			out = append(out, v)
		}
		return out
	}
	return Facts{
		Now:      now,
		Manifest: ManifestFacts{Hash: "h", Cluster: "c", Zones: map[int32]string{1: "a", 2: "a", 3: "b"}, Table: true, MaxUnavailable: 1},
		Unit:     UnitFacts{At: now, State: UnitRunning, Invocation: "i"},
		Log:      LogFacts{At: now, View: NewView()},
		Cluster: ClusterFacts{
			At: now, Views: views(), MinISR: map[string]int{"orders": 2, "lonely": 1}, Brokers: []int32{1, 2, 3},
			Quorum: &Quorum{Leader: 2, Voters: []Voter{{1, 0}, {2, 0}, {3, 0}}},
		},
	}
}

func stepOn(f Facts) *round {
	return newRound(newMachine(Options{Self: 1}), &f)
}

func claimOf(f *Facts, broker int32) {
	r := NewClaim(Claim{Broker: broker}, "n")
	r.Offset, r.Time = f.Log.View.Next, f.Now
	f.Log.View.Fold(r)
}

// spoiledGates has one thing in the way of broker 1 that the gates see, or nothing.
var spoiledGates = []struct {
	name  string
	spoil func(*Facts)
	code  Code
	text  string
}{
	{"healthy", func(*Facts) {}, "", ""},
	{"nobody asked", func(f *Facts) { f.Cluster = ClusterFacts{} }, CodeGateViews, "no broker was asked yet"},
	{"nobody answers", func(f *Facts) { f.Cluster.Views, f.Cluster.Err = nil, "connection refused" }, CodeGateViews, "connection refused"},
	{"one view", func(f *Facts) { f.Cluster.Views = f.Cluster.Views[:1] }, CodeGateViews, "1 of the 2 brokers needed"},
	{"own view only counts with another", func(f *Facts) { f.Cluster.Views[0].Broker, f.Cluster.Views[1].Broker = 1, 1 }, CodeGateViews, "only this broker itself"},
	{"empty metadata", func(f *Facts) { f.Cluster.Views[1].Alive = nil }, CodeGateViews, "broker 3 answered with empty metadata"},
	{"no topics at all", func(f *Facts) { f.Cluster.Views[1].Topics = nil }, CodeGateViews, "empty metadata"},
	{"another broker down in one view", func(f *Facts) { f.Cluster.Views[0].Alive = []int32{1, 2} }, CodeGateBrokers, "broker 3 is down"},
	{"another broker down, two may be down", func(f *Facts) {
		f.Cluster.Views[0].Alive, f.Cluster.Views[1].Alive = []int32{1, 2}, []int32{1, 2}
		f.Manifest.MaxUnavailable = 2
	}, "", ""},
	{"a broker of the table that never was", func(f *Facts) { f.Manifest.Zones[4] = "b" }, CodeGateBrokers, "broker 4 is down"},
	{"an optional broker of the table that never was", func(f *Facts) {
		f.Manifest.Zones[4], f.Manifest.Optional = "b", []int32{4}
	}, "", ""},
	{"an optional broker that holds replicas, and is down", func(f *Facts) {
		f.Manifest.Zones[4], f.Manifest.Optional, f.Cluster.Brokers = "b", []int32{4}, []int32{1, 2, 3, 4}
	}, CodeGateBrokers, "broker 4 is down"},
	{"a broker that is said to be alive and does not answer", func(f *Facts) { f.Cluster.NoAnswer = []int32{3} }, CodeGateBrokers, "broker 3 is down; nothing is restarted until it is back (it is registered, and does not answer)"},
	{"does not answer, two may be down", func(f *Facts) {
		f.Cluster.NoAnswer, f.Manifest.MaxUnavailable = []int32{3}, 2
	}, CodeGatePartitions, "orders-0 has 3 in-sync replicas"},
	{"does not answer, two may be down, nothing is kept", func(f *Facts) {
		f.Cluster.NoAnswer, f.Manifest.MaxUnavailable = []int32{3}, 2
		for i := range f.Cluster.Views {
			f.Cluster.Views[i].Topics = f.Cluster.Views[i].Topics[1:]
		}
	}, CodeGateQuorum, "not caught up: 3"},
	{"this broker is down already", func(f *Facts) {
		for i := range f.Cluster.Views {
			f.Cluster.Views[i].Alive = []int32{2}
			for k := range 2 {
				f.Cluster.Views[i].Topics[0].Partitions[k].ISR = []int32{2}
			}
		}
		f.Cluster.Quorum.Voters[2].Behind = 0
	}, "", ""},
	{"a partition at its minimum", func(f *Facts) { f.Cluster.Views[1].Topics[0].Partitions[1].ISR = []int32{1, 2} }, CodeGatePartitions, "1 partition would come below min.insync.replicas without this broker: orders-1 has 2 in-sync replicas (1, 2) and needs 2"},
	{"a partition below its minimum that we hold", func(f *Facts) { f.Cluster.Views[1].Topics[0].Partitions[1].ISR = []int32{1} }, CodeGatePartitions, "orders-1"},
	{"a partition at its minimum that we are not in", func(f *Facts) { f.Cluster.Views[1].Topics[0].Partitions[1].ISR = []int32{2, 3} }, "", ""},
	{"a partition below its minimum that we catch up with", func(f *Facts) { f.Cluster.Views[1].Topics[0].Partitions[1].ISR = []int32{2} }, CodeGatePartitions, "orders-1 has 1 in-sync replicas (2) and needs 2, and this broker is still catching up with it"},
	{"such a partition, in a rollback", func(f *Facts) {
		f.Cluster.Views[1].Topics[0].Partitions[1].ISR, f.Journal.Stage = []int32{2}, StageUndo
	}, "", ""},
	{"such a partition, and no replica of it is in sync", func(f *Facts) { f.Cluster.Views[1].Topics[0].Partitions[1].ISR = nil }, "", ""},
	{"a claimed broker counts as away", func(f *Facts) { claimOf(f, 3); f.Manifest.MaxUnavailable = 2 }, CodeGatePartitions, "orders-0 has 3 in-sync replicas"},
	{"minimum not known", func(f *Facts) { delete(f.Cluster.MinISR, "orders") }, CodeGatePartitions, "min.insync.replicas of topic orders is not known"},
	{"unprotected topic refused", func(f *Facts) { f.Manifest.RefuseUnprotected = true }, CodeGateUnprotected, "topic lonely"},
	{"no quorum answer", func(f *Facts) { f.Cluster.Quorum, f.Cluster.QuorumErr = nil, "timed out" }, CodeGateQuorum, "timed out"},
	{"no leader", func(f *Facts) { f.Cluster.Quorum.Leader = -1 }, CodeGateQuorum, "has no leader"},
	{"a voter behind", func(f *Facts) { f.Cluster.Quorum.Voters[2].Behind = 3 * time.Second }, CodeGateQuorum, "1 caught-up voters would remain and 2 are needed; not caught up: 3"},
	{"a voter not known", func(f *Facts) { f.Cluster.Quorum.Voters[2].Behind = -1 }, CodeGateQuorum, "not caught up: 3"},
	{"not a voter ourselves", func(f *Facts) {
		f.Cluster.Quorum.Voters = []Voter{{7, 0}, {8, 5 * time.Second}, {9, 0}}
	}, "", ""},
	{"one voter", func(f *Facts) { f.Cluster.Quorum.Voters = []Voter{{1, 0}} }, "", ""},
	{"two voters, the other behind", func(f *Facts) { f.Cluster.Quorum.Voters = []Voter{{1, 0}, {2, time.Minute}} }, CodeGateQuorum, "0 caught-up voters"},
	{"not a voter ourselves, and no majority", func(f *Facts) {
		f.Cluster.Quorum.Voters = []Voter{{7, 0}, {8, 5 * time.Second}, {9, -1}}
	}, CodeGateQuorum, "1 caught-up voters would remain and 2 are needed; not caught up: 8, 9"},
	{"one voter, not ourselves", func(f *Facts) { f.Cluster.Quorum = &Quorum{Leader: 7, Voters: []Voter{{7, 0}}} }, "", ""},
	{"two voters, not ourselves, one behind", func(f *Facts) {
		f.Cluster.Quorum = &Quorum{Leader: 7, Voters: []Voter{{7, 0}, {8, time.Minute}}}
	}, CodeGateQuorum, "1 caught-up voters would remain and 2 are needed"},
	{"ZooKeeper", func(f *Facts) { f.Cluster.Quorum = &Quorum{Leader: 3, ZooKeeper: true} }, "", ""},
	{"ZooKeeper, ourselves the controller", func(f *Facts) { f.Cluster.Quorum = &Quorum{Leader: 1, ZooKeeper: true} }, "", ""},
	{"ZooKeeper without a controller", func(f *Facts) { f.Cluster.Quorum = &Quorum{Leader: -1, ZooKeeper: true} }, CodeGateQuorum, "no controller is active"},
	{"no voters, which no quorum has", func(f *Facts) { f.Cluster.Quorum.Voters = nil }, CodeGateQuorum, "cannot be seen"},
}

func TestGates(t *testing.T) {
	for _, c := range spoiledGates {
		t.Run(c.name, func(t *testing.T) {
			f := cluster3()
			c.spoil(&f)
			got := stepOn(f).vetoed(lastLook)
			switch {
			case c.code == "" && got != nil:
				t.Errorf("blocked by %+v", *got)
			case c.code != "" && (got == nil || got.Code != c.code || !strings.Contains(got.Text(), c.text)):
				t.Errorf("got %+v, want %s: %s", got, c.code, c.text)
			}
		})
	}
}

func TestAgreement(t *testing.T) {
	ok := func(id int32) Status {
		return Status{Broker: id, Cluster: "c", Manifest: "h", Target: "h", Phase: PhaseIdle, Up: true, Seen: time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)}
	}
	for _, c := range []struct {
		name  string
		spoil func(*Facts)
		code  Code
		text  string
	}{
		{"agreed", func(*Facts) {}, "", ""},
		{"never heard of", func(f *Facts) { delete(f.Log.View.Statuses, 3) }, CodeAgentMissing, "broker 3"},
		{"optional, and not there", func(f *Facts) { f.Manifest.Zones[4], f.Manifest.Optional = "b", []int32{4} }, "", ""},
		{"optional, there, and without an agent", func(f *Facts) {
			f.Manifest.Zones[4], f.Manifest.Optional, f.Cluster.Brokers = "b", []int32{4}, []int32{1, 2, 3, 4}
		}, CodeAgentMissing, "broker 4"},
		{"another manifest", func(f *Facts) { s := ok(2); s.Manifest = "other"; f.Log.View.Statuses[2] = s }, CodeManifestDiffers, "broker 2 has manifest other, this broker has h"},
		{"agents of the build before", func(f *Facts) {
			f.Manifest.Level, f.Manifest.LevelField = 2, "listeners.X.new"
			old, older, own := ok(2), ok(3), ok(1)
			old.Manifest, old.Agent, old.Level, older.Manifest, older.Agent = "other", "1.2", 1, "", "1.1"
			f.Log.View.Statuses[2], f.Log.View.Statuses[3], f.Log.View.Statuses[1] = old, older, own
		}, CodeManifestDiffers, "too old for listeners.X.new in this manifest: the agent of broker 2 (1.2), broker 3 (1.1); upgrade kpls-agent there"},
		{"an agent that has taken it whatever it says of itself", func(f *Facts) {
			f.Manifest.Level, f.Manifest.LevelField = 2, "listeners.X.new"
		}, "", ""},
		{"another cluster", func(f *Facts) { s := ok(2); s.Cluster = "x"; f.Log.View.Statuses[2] = s }, CodeManifestDiffers, `serves cluster "x"`},
		{"not judged there", func(f *Facts) {
			s := ok(2)
			s.Target, s.Reason = "", *NewReason(CodeAsking, "asking the process")
			f.Log.View.Statuses[2] = s
		}, CodeManifestDiffers, "broker 2 has yet to see what the manifest means for it (it is idle: asking the process"},
		{"Kafka judges there", func(f *Facts) {
			s := ok(2)
			s.Phase, s.Reason = PhaseWaiting, *NewReason(CodeJudging, "Kafka itself judges the new file")
			f.Log.View.Statuses[2] = s
		}, CodeManifestDiffers, "broker 2 has yet to see what the manifest means for it (it is waiting: Kafka itself judges"},
		{"refused there", func(f *Facts) {
			s := ok(2)
			s.Phase, s.Reason = PhaseRefused, *NewReason(CodeRefused, "port 39092 is taken")
			f.Log.View.Statuses[2] = s
		}, CodeRefusedElsewhere, "port 39092 is taken"},
		{"failed there, and not halted yet", func(f *Facts) {
			s := ok(2)
			s.Phase, s.Failed, s.Reason = PhaseFailed, "h", *NewReason(CodeLogUnreadable, "the halt cannot be written")
			f.Log.View.Statuses[2] = s
		}, CodeRefusedElsewhere, "broker 2 has failed with this manifest, and its agent has yet to halt the roll-out: the halt cannot"},
		{"refused there before, and about to be judged again", func(f *Facts) {
			s := ok(2)
			s.Phase, s.Reason = PhaseRefused, *asking()
			f.Log.View.Statuses[2] = s
		}, CodeManifestDiffers, "broker 2 has yet to see what the manifest means for it (it is refused: asking"},
		{"its manifest has a fault", func(f *Facts) {
			s := ok(2)
			s.Manifest, s.ManifestFault = "", "m.yaml:1:1: the file is empty"
			f.Log.View.Statuses[2] = s
		}, CodeManifestDiffers, "broker 2 cannot use its manifest file (m.yaml:1:1: the file is empty)"},
		{"no manifest there", func(f *Facts) { s := ok(2); s.Manifest = ""; f.Log.View.Statuses[2] = s }, CodeManifestDiffers, "broker 2 has no manifest yet; copy this one (h) there"},
		{"silent and not done", func(f *Facts) {
			s := ok(2)
			s.Drift, s.Seen = true, s.Seen.Add(-2*time.Minute)
			f.Log.View.Statuses[2] = s
		}, CodeAgentSilent, "for 2m0s"},
		{"not seen the request yet", func(f *Facts) { s := ok(2); s.Target = "h+old"; f.Log.View.Statuses[2] = s }, CodeManifestDiffers, "broker 2 has not seen the request"},
		{"silent since before the request", func(f *Facts) {
			s := ok(2)
			s.Target, s.Seen = "h+old", s.Seen.Add(-2*time.Minute)
			f.Log.View.Statuses[2] = s
		}, CodeAgentSilent, "agent of broker 2 for 2m0s"},
		{"silent since before the manifest", func(f *Facts) {
			s := ok(2)
			s.Manifest, s.Target, s.Seen = "other", "other", s.Seen.Add(-2*time.Minute)
			f.Log.View.Statuses[2] = s
		}, CodeAgentSilent, "see there whether kpls-agent runs (`systemctl status kpls-agent`) and can write to Kafka (`kpls-agent check`)"},
		{"silent since it had no manifest", func(f *Facts) {
			s := ok(2)
			s.Manifest, s.Target, s.Seen = "", "", s.Seen.Add(-2*time.Minute)
			f.Log.View.Statuses[2] = s
		}, CodeAgentSilent, "broker 2"},
		{"silent since it refused", func(f *Facts) {
			s := ok(2)
			s.Phase, s.Reason, s.Seen = PhaseRefused, *NewReason(CodeRefused, "port 39092 is taken"), s.Seen.Add(-2*time.Minute)
			f.Log.View.Statuses[2] = s
		}, CodeAgentSilent, "broker 2"},
		{"stopped and not done", func(f *Facts) { s := ok(2); s.Drift, s.Ended = true, true; f.Log.View.Statuses[2] = s }, CodeAgentSilent, "the agent of broker 2 was stopped, and its broker is not done; start it there (`systemctl start kpls-agent`)"},
		{"stopped before the manifest", func(f *Facts) {
			s := ok(2)
			s.Manifest, s.Target, s.Ended = "other", "other", true
			f.Log.View.Statuses[2] = s
		}, CodeAgentSilent, "was stopped"},
		{"stopped and done", func(f *Facts) { s := ok(2); s.Ended = true; f.Log.View.Statuses[2] = s }, "", ""},
		{"silent and done", func(f *Facts) { s := ok(2); s.Seen = s.Seen.Add(-time.Hour); f.Log.View.Statuses[2] = s }, "", ""},
		{"a broker that is not in the manifest", func(f *Facts) { f.Cluster.Brokers = []int32{1, 2, 3, 9} }, CodeNotInManifest, "broker 9"},
		{"brokers not known", func(f *Facts) { f.Manifest.Table, f.Manifest.Zones, f.Cluster = false, nil, ClusterFacts{} }, CodeClusterUnknown, "not known yet"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := cluster3()
			f.Log.View.Statuses[2], f.Log.View.Statuses[3] = ok(2), ok(3)
			f.Log.View.Clock = f.Now
			c.spoil(&f)
			got := stepOn(f).agreed()
			if (got == nil) != (c.code == "") || got != nil && (got.Code != c.code || !strings.Contains(got.Text(), c.text)) {
				t.Errorf("got %+v, want %s: %s", got, c.code, c.text)
			}
		})
	}
}

// TestNoManifest: no file yet is no fault, and a file with a fault is not called missing.
func TestNoManifest(t *testing.T) {
	for _, c := range []struct {
		name        string
		m           ManifestFacts
		text, fault string
	}{
		{"no file", ManifestFacts{Fault: "m.yaml does not exist; put it there", NoFile: true}, "there is no manifest yet: m.yaml does not exist; put it there", ""},
		{"a fault", ManifestFacts{Fault: "m.yaml:1:1: the file is empty"}, "the manifest file cannot be used: m.yaml:1:1: the file is empty", "m.yaml:1:1: the file is empty"},
	} {
		f := cluster3()
		f.Manifest = c.m
		d := settle(machine(), &f)
		if st := d.Status; st.Phase != PhaseUnmanaged || st.Reason.Code != CodeNoManifest || st.Reason.Text() != c.text || st.ManifestFault != c.fault {
			t.Errorf("%s: %s %s, fault %q", c.name, st.Phase, st.Reason.Text(), st.ManifestFault)
		}
	}
}

func TestOrder(t *testing.T) {
	all := []Voter{{1, 0}, {2, 0}, {3, 0}}
	for _, c := range []struct {
		name string
		q    *Quorum
		down []int32
		want []int32 // zones are a a b
	}{
		{"the active controller last", &Quorum{Leader: 2, Voters: all}, nil, []int32{1, 3, 2}},
		{"by zone, then id", &Quorum{Leader: 3, Voters: all}, nil, []int32{1, 2, 3}},
		{"what is down first, also the active controller", &Quorum{Leader: 2, Voters: all}, []int32{2}, []int32{2, 1, 3}},
		{"those without a vote before voters", &Quorum{Leader: 1, Voters: all[:2]}, nil, []int32{3, 2, 1}},
		{"controllers that are no brokers", &Quorum{Leader: 7, Voters: []Voter{{7, 0}, {8, 0}, {9, 0}}}, nil, []int32{1, 2, 3}},
		{"ZooKeeper: the active controller last", &Quorum{Leader: 1, ZooKeeper: true}, nil, []int32{2, 3, 1}},
		{"no controller known", nil, nil, []int32{1, 2, 3}},
	} {
		f := cluster3()
		f.Cluster.Quorum = c.q
		s := stepOn(f)
		up := func(id int32) bool { return !slices.Contains(c.down, id) }
		for i, a := range c.want {
			for _, b := range c.want[i+1:] {
				if !s.before(a, up(a), b, up(b)) || s.before(b, up(b), a, up(a)) {
					t.Errorf("%s: broker %d does not go before %d", c.name, a, b)
				}
			}
		}
	}
}

// Who may be down together with all those before it need not wait for their claims.
func TestTurn(t *testing.T) {
	elsewhere := &Quorum{Leader: 7, Voters: []Voter{{7, 0}, {8, 0}, {9, 0}}}
	first := func(f *Facts) {
		f.Manifest.MaxUnavailable, f.Cluster.Quorum, f.Cluster.MinISR["orders"] = 2, elsewhere, 1
	}
	together := func(f *Facts) { // somebody has been restarted for it and has proved itself
		first(f)
		f.Journal.Passed = f.Manifest.Hash
	}
	for _, c := range []struct {
		name  string
		self  int32
		spoil func(*Facts)
		waits int32 // for this broker; 0: it is its turn
	}{
		{"the first", 1, together, 0},
		{"together with the first", 2, together, 0},
		{"the first of all goes alone", 2, first, 1},
		{"the first of all has its claim, and goes alone", 2, func(f *Facts) { first(f); claimOf(f, 1) }, 1},
		{"another broker has proved itself", 2, func(f *Facts) {
			first(f)
			st := f.Log.View.Statuses[3]
			st.Passed = f.Manifest.Hash
			f.Log.View.Statuses[3] = st
		}, 0},
		{"another broker has proved an older manifest", 2, func(f *Facts) { first(f); f.Journal.Passed = "older" }, 1},
		{"one at a time", 2, func(f *Facts) { together(f); f.Manifest.MaxUnavailable = 1 }, 1},
		{"another zone", 3, together, 1},
		{"a partition needs one of them", 2, func(f *Facts) { together(f); f.Cluster.MinISR["orders"] = 2 }, 1},
		{"the quorum needs one of them", 2, func(f *Facts) {
			together(f)
			f.Cluster.Quorum = &Quorum{Leader: 3, Voters: []Voter{{1, 0}, {2, 0}, {3, 0}}}
		}, 1},
		{"the active controller", 1, func(f *Facts) { together(f); f.Cluster.Quorum = &Quorum{Leader: 1, Voters: []Voter{{1, 0}}} }, 2},
		{"the first has its claim", 2, func(f *Facts) { together(f); f.Cluster.MinISR["orders"] = 2; claimOf(f, 1) }, 0},
		{"one that somebody has started on the new file", 1, func(f *Facts) { proves(f, 2) }, 2},
		{"one that may run the new file", 1, func(f *Facts) { mayRunNew(f, 2) }, 2},
		{"this one may run it, too", 1, func(f *Facts) {
			mayRunNew(f, 2)
			f.Journal.Unproven, f.Journal.MayBeOld = true, true
		}, 0},
		{"this one may run it, and is the active controller", 1, func(f *Facts) {
			f.Cluster.Quorum = &Quorum{Leader: 1, Voters: []Voter{{1, 0}, {2, 0}, {3, 0}}}
			f.Journal.Unproven, f.Journal.MayBeOld = true, true
		}, 0},
		{"one that its agent has started", 1, func(f *Facts) { proves(f, 2); claimOf(f, 2) }, 0},
	} {
		f := claiming()
		f.Log.View.Claims = nil
		f.Log.View.Statuses[1] = f.Log.View.Statuses[3]
		c.spoil(&f)
		s := stepOn(f)
		s.m.opts.Self = c.self
		r := s.turn()
		if waits := fmt.Sprintf("broker %d goes first", c.waits); (r != nil) != (c.waits > 0) || r != nil && !strings.HasPrefix(r.Text(), waits) {
			t.Errorf("%s: %+v", c.name, r)
		}
	}
}

// mayRunNew lets a broker wait whose process may run the new file.
func mayRunNew(f *Facts, id int32) {
	st := f.Log.View.Statuses[id]
	st.Unproven = true
	f.Log.View.Statuses[id] = st
}

// proves lets a broker be on its way up on the new file.
func proves(f *Facts, id int32) {
	st := f.Log.View.Statuses[id]
	st.Phase = PhaseStarting
	f.Log.View.Statuses[id] = st
}

func TestViewFold(t *testing.T) {
	v := NewView()
	add := func(r Record) { r.Offset = v.Next; v.Fold(r) }
	add(NewClaim(Claim{Broker: 2}, "a"))
	add(NewClaim(Claim{Broker: 1}, "b"))
	add(NewClaim(Claim{Broker: 2}, "a")) // the same append again, because its answer was lost
	if len(v.Claims) != 2 || v.Claims[0].Broker != 2 {
		t.Fatalf("claims %+v", v.Claims)
	}
	if _, place, ok := v.Claim(1); !ok || place != 1 {
		t.Errorf("broker 1 is at place %d", place)
	}
	add(NewRelease(v.Claims[0].Key))
	if len(v.Claims) != 1 || v.Claims[0].Broker != 1 {
		t.Errorf("claims %+v", v.Claims)
	}
	for _, r := range []Record{
		{Key: "status/1", Value: []byte(`{"version":2,"broker":1}`)},
		{Key: "status/x", Value: []byte(`{}`)},
		{Key: "status/3", Value: []byte(`{"version":1,"broker":4}`)},
		{Key: "claim/1/z", Value: []byte(`garbage`)},
		{Key: "claim/1/y", Value: []byte(`{"version":1,"broker":2}`)},
		{Key: "unheard of", Value: []byte(`{"version":2}`)},
	} {
		add(r)
		if _, ok := v.Foreign[r.Key]; !ok {
			t.Errorf("%s is not foreign", r.Key)
		}
		add(Record{Key: r.Key})
		if len(v.Foreign) != 0 {
			t.Errorf("%s stays foreign after it was deleted: %v", r.Key, v.Foreign)
		}
	}
	add(Record{Key: "status/1", Value: []byte(`{"version":1,"broker":1,"added_later":true,"phase":"idle"}`)})
	if v.Statuses[1].Phase != PhaseIdle || len(v.Foreign) != 0 {
		t.Errorf("an unknown field is not ignored: %+v %v", v.Statuses, v.Foreign)
	}
	add(NewPause(Pause{By: "ann"}))
	add(NewHalt(Halt{Manifest: "h"}))
	add(NewRequest(Request{ID: "r"}))
	add(NewActive("EXTERNAL"))
	if v.Pause == nil || v.Request() == nil || !v.Active["EXTERNAL"] || v.Halts["h"].Manifest != "h" {
		t.Errorf("view %+v", v)
	}
	c := v.Clone()
	add(NewResume())
	add(NewUnhalt("h"))
	add(NewRequestDone("r"))
	add(NewInactive("EXTERNAL"))
	if v.Pause != nil || v.Request() != nil || v.Active["EXTERNAL"] || len(v.Halts) != 0 {
		t.Errorf("view %+v", v)
	}
	if c.Pause == nil || len(c.Halts) != 1 || !c.Active["EXTERNAL"] {
		t.Error("a clone changed with its original")
	}
}

// Appends whose outcome is unknown are repeated, and may be written late.
func TestRequestsEndByName(t *testing.T) {
	ask := func(id string) Record { return NewRequest(Request{ID: id, By: "ann"}) }
	for _, c := range []struct {
		name    string
		records []Record
		want    string
	}{
		{"none", nil, ""},
		{"asked", []Record{ask("a")}, "a"},
		{"asked and done", []Record{ask("a"), NewRequestDone("a")}, ""},
		{"the end of an older one comes late", []Record{ask("a"), NewRequestDone("a"), ask("b"), NewRequestDone("a")}, "b"},
		{"written twice", []Record{ask("a"), ask("a"), NewRequestDone("a")}, ""},
		{"the newest stands for both", []Record{ask("a"), ask("b")}, "b"},
		{"and ends alone", []Record{ask("a"), ask("b"), NewRequestDone("b")}, "a"},
		{"or both end", []Record{ask("a"), ask("b"), NewRequestDone("a"), NewRequestDone("b")}, ""},
	} {
		v := NewView()
		for _, r := range c.records {
			r.Offset = v.Next
			v.Fold(r)
		}
		got := ""
		if q := v.Request(); q != nil {
			got = q.ID
		}
		if got != c.want {
			t.Errorf("%s: request %q, want %q", c.name, got, c.want)
		}
	}
}

// Who ends a rolling restart names every request that it has fulfilled.
func TestRequestIsEnded(t *testing.T) {
	f := claiming()
	f.Log.View.Claims = nil
	f.Running.Listeners, f.Manifest.FileChanges = f.Manifest.Listeners, false
	for _, id := range []string{"a", "b"} {
		r := NewRequest(Request{ID: id})
		r.Offset, r.Time = f.Log.View.Next, f.Now
		f.Log.View.Fold(r)
	}
	f.Journal.Request = "b"
	for _, id := range []int32{2, 3} {
		f.Log.View.Statuses[id] = Status{Broker: id, Cluster: "c", Manifest: "h", Target: "h+b", Phase: PhaseIdle, Up: true, Seen: f.Now}
	}
	m := machine()
	d := m.Decide(&f)
	for range 5 {
		if d.Do.Kind == ActAppend {
			break
		}
		f.Running.At = f.Now
		d = m.Decide(&f)
	}
	for _, r := range d.Do.Records {
		r.Offset = f.Log.View.Next
		f.Log.View.Fold(r)
	}
	if q := f.Log.View.Request(); q != nil || len(d.Do.Records) != 2 {
		t.Errorf("%d records, and %v is left (%s: %s)", len(d.Do.Records), q, d.Do.Kind, d.Status.Reason.Text())
	}
}

// TestPlanWithoutAnswers: what could not be asked does not look as if all were well.
func TestPlanWithoutAnswers(t *testing.T) {
	f := cluster3()
	f.Running, f.Cluster = RunningFacts{At: f.Now, Err: "connection refused"}, ClusterFacts{At: f.Now, Err: "connection refused"}
	p := NewPlan(1, f)
	if p.Drift != "" || p.NoAnswer != "connection refused" {
		t.Errorf("drift %q, no answer %q", p.Drift, p.NoAnswer)
	}
	for _, g := range p.Gates {
		if g.Passes {
			t.Errorf("%s passes", g.Name)
		}
	}
}

// blockedBy asks one gate, by its name.
func (s *round) blockedBy(name string) *Reason {
	for _, g := range gates {
		if g.name == name {
			return g.check(s, s.down(nil))
		}
	}
	return because(CodeGateViews, "no gate is named %s", name)
}

// A broker that somebody had started on a bad file is rolled back without a claim. It counts as down all the same, but
// for another one that is rolled back.
func TestRolledBackWithoutAClaim(t *testing.T) {
	f := claiming()
	st := f.Log.View.Statuses[3]
	st.Phase = PhaseRollback
	f.Log.View.Statuses[3] = st
	if r := stepOn(f).blockedBy("gate_brokers"); r == nil || r.Broker == nil || *r.Broker != 3 {
		t.Errorf("got %v", r)
	}
	f.Journal.Stage = StageUndo
	if list := stepOn(f).down(nil); isDown(list, 3) {
		t.Errorf("two that are rolled back would wait for each other: %v", list)
	}
}
