package explore

import (
	"strconv"
	"time"

	"example.com/kpls-agent/internal/restart"
)

// local is what a decision depends on in addition to the VM and the log: the broker as its VM sees it.
type local struct {
	is   flags
	runs int8
	inv  uint8
	ends uint8
	log  bool // it can be read
}

// writes is true if the log takes what the agent appends.
func (l local) writes() bool { return l.log && l.is&mute == 0 }

const seenLocally = up | ready | failed | stopped | job | blind | hazard | drops | edit | mute

func (x *explorer) local(w *world, i int) local {
	b := &w.b[i]
	return local{b.is & seenLocally, b.runs, b.inv, b.ends, x.logUp(w)}
}

func invocation(n uint8) string { return string(rune('A' + n)) }

// unit is the service manager's answer.
func (x *explorer) unit(l local, at time.Time) restart.UnitFacts {
	b := broker{is: l.is}
	if b.has(blind) {
		return restart.UnitFacts{At: at, State: restart.UnitUnknown, Detail: "no answer on the bus"}
	}
	f := restart.UnitFacts{At: at, State: restart.UnitRunning, Invocation: invocation(l.inv), Restarts: int(l.ends)}
	if b.has(hazard) {
		f.Hazard = "its ExecStop= ends every Kafka process"
	}
	switch {
	case b.has(up):
	case b.has(job):
		f.State = restart.UnitStarting
	case b.has(failed):
		f.State = restart.UnitFailed
	default:
		f.State = restart.UnitStopped
	}
	return f
}

// manifest is what the files say.
func (x *explorer) manifest(i int, v *vm, l local) restart.ManifestFacts {
	if v.manifest == none {
		return restart.ManifestFacts{}
	}
	b, m, on := broker{is: l.is}, x.version(v.manifest), x.version(v.file)
	f := restart.ManifestFacts{
		Hash: hash(v.manifest), Cluster: "c", Listeners: m.listeners, Absent: m.absent,
		FileChanges: !on.equal(m), HiddenChanges: on.hidden != m.hidden,
		Zones: x.zones, Table: true, MaxUnavailable: x.o.maxUnavailable(), Soak: x.o.soak, HealthyThreshold: 2,
		Close: x.o.closes, Drain: x.o.drain,
	}
	if b.has(drops) {
		f.Drops = []restart.DynamicDrop{{Name: "num.io.threads", Level: "default", Dynamic: "32", File: "8", Fix: "num.io.threads=16"}}
	}
	if b.has(edit) {
		f.Pending = []restart.PendingEdit{{Name: "num.io.threads", Running: "8", File: "8 # tuned", Invalid: "no number"}}
	}
	if m.refusedBy == i+1 && !m.portTaken {
		f.Refusal = restart.NewReason(restart.CodeRefused, "another process holds port 39092")
	}
	return f
}

// serves is the listeners that a broker serves, a bit each.
func (x *explorer) serves(is flags, runs int8) uint8 {
	if is&(up|ready) != up|ready {
		return 0
	}
	return x.bits(x.version(runs).names())
}

// open is the listeners whose probes are open.
func (x *explorer) open(v *vm, serves uint8) uint8 {
	out := v.allowed & serves
	if v.planned {
		out = out&^x.bits(x.o.closes) | v.held&v.allowed&^x.bits(x.o.closes)
	}
	if v.manifest != none {
		out &^= x.bits(x.version(v.manifest).absent)
	}
	return out
}

func (x *explorer) probes(v *vm, l local) map[string]restart.ProbeFacts {
	if v.manifest == none {
		return nil
	}
	serves := x.serves(l.is, l.runs)
	open := x.open(v, serves)
	out := map[string]restart.ProbeFacts{}
	for _, name := range x.version(v.manifest).names() {
		bit := x.bit(name)
		f := restart.ProbeFacts{At: v.now, Serving: serves&bit != 0, Open: open&bit != 0}
		if !f.Serving {
			f.Why = "connection refused"
		}
		if x.o.balancer {
			f.Balancer, f.Gap, f.Answered = true, x.bits(x.o.closes)&bit != 0, int(v.answered)
		}
		out[name] = f
	}
	return out
}

// logUp is true if a record can be read and written: every in-sync replica answers, and there are enough.
func (x *explorer) logUp(w *world) bool {
	n := 0
	for i := range x.o.n {
		switch b := &w.b[i]; {
		case !b.has(listed | inSync):
		case b.has(ready):
			n++
		default:
			return false
		}
	}
	return n >= x.o.logNeed()
}

// clusterKey is what the agent of a broker learns when it observes the cluster.
type clusterKey struct {
	self            int8
	leader          int8
	answers, listed uint8
	inSync, blank   uint8
	late, cutOff    uint8
	deaf, shown     uint8
}

func (k clusterKey) packed() uint32 {
	return uint32(k.leader+1) | uint32(k.answers)<<3 | uint32(k.listed)<<6 | uint32(k.inSync)<<9 | uint32(k.blank)<<12 | uint32(k.late)<<15 |
		uint32(k.cutOff)<<18 | uint32(k.deaf)<<19 | uint32(k.shown)<<22 | 1<<31
}

func (x *explorer) clusterKey(w *world, i int) clusterKey {
	k := clusterKey{self: int8(i), leader: w.leader, cutOff: one(w.b[i].has(cutOff))}
	for n := range x.o.n {
		b, bit := &w.b[n], uint8(1)<<n
		if b.has(ready) {
			k.answers |= bit
		}
		if b.has(listed) {
			k.listed |= bit
		}
		if b.has(inSync) {
			k.inSync |= bit
		}
		if b.has(blank) {
			k.blank |= bit
		}
		if b.has(late) || x.o.votes(n) && !b.has(ready) {
			k.late |= bit
		}
		if b.has(deaf) {
			k.deaf, k.shown = bit, w.shown
		}
	}
	return k
}

// observe is the answers, but for their time.
func (x *explorer) observe(k clusterKey) *restart.ClusterFacts {
	if f, ok := x.clusters[k]; ok {
		return f
	}
	all := x.ids(1<<x.o.n - 1)
	f := &restart.ClusterFacts{MinISR: map[string]int{"t": x.o.minISR()}, Brokers: all}
	listed := k.listed // by whoever is asked first for the brokers that there are
	if x.o.deafFirst && k.deaf&k.answers != 0 {
		listed = k.shown & 7
	}
	for n := range x.o.n {
		at := (int(k.self) + n) % x.o.n
		bit := uint8(1) << at
		switch {
		case at != int(k.self) && k.cutOff != 0:
		case k.answers&bit == 0 && listed&bit != 0:
			f.NoAnswer = append(f.NoAnswer, int32(at+1))
		case k.answers&bit == 0 || listed&bit == 0:
		case k.blank&bit != 0:
			f.Views = append(f.Views, restart.BrokerView{Broker: int32(at + 1)})
		default:
			alive, in := k.listed, k.inSync
			if k.deaf&bit != 0 {
				alive, in = k.shown&7, k.shown>>3
			}
			leader := int32(-1)
			if isr := x.ids(in); len(isr) > 0 && alive&in != 0 {
				leader = x.ids(alive & in)[0]
			}
			f.Views = append(f.Views, restart.BrokerView{
				Broker: int32(at + 1), Alive: x.ids(alive), Topics: []restart.Topic{{
					Name: "t", Partitions: []restart.Partition{{Leader: leader, Replicas: all, ISR: x.ids(in)}},
				}},
			})
		}
	}
	if len(f.Views) == 0 {
		f.Err, f.MinISR = "no broker answered", nil
		for n := range x.o.n {
			if bit := uint8(1) << n; k.answers&bit == 0 && (n == int(k.self) || k.cutOff == 0) {
				f.NobodyListens = append(f.NobodyListens, int32(n+1))
			}
		}
		x.clusters[k] = f
		return f
	}
	f.Quorum, f.QuorumErr = x.quorum(k)
	x.clusters[k] = f
	return f
}

func (x *explorer) quorum(k clusterKey) (*restart.Quorum, string) {
	if len(x.o.voters) == 0 {
		return &restart.Quorum{Leader: 101, Voters: []restart.Voter{{ID: 101}, {ID: 102}, {ID: 103}}}, ""
	}
	if k.leader == noBroker {
		return nil, "timed out"
	}
	q := &restart.Quorum{Leader: int32(k.leader + 1)}
	for _, id := range x.o.voters {
		v := restart.Voter{ID: int32(id)}
		if k.late>>(id-1)&1 != 0 {
			v.Behind = 10 * time.Second
		}
		q.Voters = append(q.Voters, v)
	}
	return q, ""
}

func (x *explorer) ids(mask uint8) (out []int32) {
	for n := range x.o.n {
		if mask>>n&1 != 0 {
			out = append(out, int32(n+1))
		}
	}
	return out
}

// runningKey is what the own broker, and the service manager, say when they are asked.
func (x *explorer) runningKey(w *world, i int) uint32 {
	b := &w.b[i]
	if !b.has(up | ready) {
		return uint32(one(b.has(denied))) << 1
	}
	m := x.version(max(0, x.vms[w.vm[i]].manifest))
	taken := m.refusedBy == i+1 && m.portTaken
	return uint32(one(taken))<<8 | 1 | uint32(one(b.has(denied)))<<1 | uint32(b.runs)<<2 | uint32(one(b.has(dynamic)))<<5 | uint32(one(b.has(dropped)))<<6 | uint32(one(b.has(storage)))<<7
}

func (x *explorer) askRunning(k uint32, at time.Time) (restart.RunningFacts, restart.RightFacts) {
	f, r := restart.RunningFacts{At: at}, restart.RightFacts{At: at}
	if k&2 != 0 {
		r.Denied = "not permitted"
	}
	if k&1 == 0 {
		f.Err, f.NobodyListens = "connection refused", at
		return f, r
	}
	f.Listeners = x.runs(int8(k >> 2 & 7))
	if k&(1<<5) != 0 {
		f.Dynamic = []string{"listeners"}
	}
	if k&(1<<6) != 0 {
		f.Dropped = []restart.Dropped{{Name: "num.io.threads", Level: "default", Dynamic: "32", InForce: "8"}}
	}
	if k&(1<<7) != 0 {
		f.LogDirs = []restart.LogDir{{Path: "/data", Fault: "log directory /data is offline"}}
	}
	if k&(1<<8) != 0 {
		f.PortTaken = "port 39092 is taken"
	}
	return f, r
}

func name(i int) string { return "broker " + strconv.Itoa(i+1) }
