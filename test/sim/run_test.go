package sim

import (
	"slices"
	"time"

	"example.com/kpls-agent/internal/restart"
)

// Time-outs of the agents; in the product they come from the settings.
const (
	startTimeout    = 2 * time.Minute
	progressTimeout = time.Minute
	takeoverAfter   = 2 * time.Minute
)

// Times of a run.
const (
	// restful is how long nothing must change before the run may end: longer
	// than every time-out above.
	restful = 200 * time.Second
	// patience is how long after the last fault the run may last at all.
	patience = time.Hour
	visits   = 4 // of an operator who does what the reasons ask
)

// run is what happens with one seed.
type run struct {
	*cluster
	log      *coordLog
	agents   []*agent
	judge    *judge
	versions map[string]*version
	zones    map[int32]string
	// awaits is true where the manifest has a broker that is yet to come.
	awaits   bool
	latest   string // newest manifest
	scripted time.Time
	standing []string // what stays wrong for ever
	nonces   int
	room     restart.Room
	load     load
	ambush   []func(*agent) // what waits for an agent's critical step

	// Chances.
	faulty    bool
	crashes   int // of agents, at any step
	pauses    int // of agents, in any step
	slowReads bool
	balancer  bool
	newer     int32 // this broker's agent writes fields that others do not know
}

// play plays one seed to its end.
func play(seed uint64, recording bool) *run {
	r := &run{cluster: &cluster{world: newWorld(seed, recording)}, versions: map[string]*version{}, zones: map[int32]string{}}
	r.awaits = seed%4 == 0
	r.shape()
	r.faulty = r.rng.IntN(6) > 0
	r.balancer = r.oneIn(3)
	if r.oneIn(4) {
		r.newer = r.brokers[r.rng.IntN(len(r.brokers))].id
	}
	r.setUp()
	r.manifests()
	r.note("%d brokers, %d voters, controller %d, faults %v, balancer %v, sessions kept %v, freezes %v", len(r.brokers), len(r.voters), r.leader, r.faulty, r.balancer, r.keepsSessions, r.freezes)
	for _, p := range r.partitions {
		r.note("%s: replicas %v, min.insync.replicas %d", p.topic, p.replicas, p.need)
	}
	r.begin()
	r.operators()
	if r.faulty {
		r.crashes, r.pauses, r.slowReads, r.log.uncertain = r.rng.IntN(6), r.rng.IntN(2), r.oneIn(2), r.oneIn(2)
		r.trouble()
	}
	r.untilTheEnd()
	return r
}

// setUp makes the log, the judge and the VMs of a cluster that is laid out.
func (r *run) setUp() {
	r.log = newCoordLog(r.cluster)
	r.judge = newJudge(r)
	r.onProcess, r.onStart, r.log.committed = r.onChange, r.process, r.onCommit
	r.log.clock = func(id int32) time.Duration { return r.agents[id-1].skew }
	for _, b := range r.brokers {
		h := &host{id: b.id, file: "v0"}
		r.agents = append(r.agents, &agent{run: r, host: h})
	}
}

// begin starts the brokers' processes and the agents.
func (r *run) begin() {
	for _, b := range r.brokers {
		b.runs, b.version, _ = r.process(b)
	}
	for _, a := range r.agents {
		a.boot()
	}
}

// schedule puts something into the script: the run does not end before it.
func (r *run) schedule(d time.Duration, do func()) {
	if at := r.now.Add(d); at.After(r.scripted) {
		r.scripted = at
	}
	r.after(d, do)
}

func (r *run) untilTheEnd() {
	visited, check, visit, look := 0, r.now, time.Time{}, r.now
	for len(r.failures) == 0 {
		if !r.next(r.scripted.Add(patience)) {
			break
		}
		if !r.now.Before(look) {
			look = r.judge.reasons()
		}
		if r.played%1000 == 0 {
			r.log.forget(r.slowest())
		}
		if r.now.Before(check) || r.now.Before(r.scripted) {
			continue
		}
		check = r.now.Add(time.Second)
		if visit.IsZero() {
			visit = r.now
		}
		if r.since(r.changed) > 20*time.Second && r.rest() {
			break
		}
		if r.since(r.changed) > restful || !visit.IsZero() && r.since(visit) > 3*restful {
			if visited++; visited > visits {
				break
			}
			r.changed, visit = r.now, r.now
			r.crashes, r.pauses = 0, 0
			r.repair()
		}
	}
	if len(r.failures) == 0 {
		r.judge.atTheEnd()
	}
}

// rest is true if there is nothing left to do for anybody.
func (r *run) rest() bool {
	v := r.log.now()
	for _, a := range r.agents {
		if !a.blind && !a.full && len(a.journal.Active) != len(v.Active) { // it has yet to take note
			return false
		}
		if a.dead || a.busy() || a.journal.Stage != restart.StageNone || a.Status().Phase != restart.PhaseIdle || a.manifest != r.latest {
			return false
		}
		if !a.broker(a.id).answers() {
			return false
		}
	}
	for _, name := range r.versions[r.latest].names() { // a pause, and what cannot be read, keep probes closed
		if !v.Active[name] && v.Pause == nil && len(r.judge.unread) == 0 {
			return false
		}
	}
	if v.Request() != nil && r.since(r.changed) < restful/2 { // somebody has yet to say that it is done
		return false
	}
	return len(v.Claims) == 0
}

// process is what server.properties makes of a broker's process.
func (r *run) process(b *broker) (config, string, string) {
	name := "v0"
	if len(r.agents) >= int(b.id) {
		name = r.agents[b.id-1].file
	}
	b.dropped = len(r.agents) >= int(b.id) && r.agents[b.id-1].harm == drops
	v := r.versions[name]
	if v.bad != "" && !slices.Contains(v.victims, b.id) {
		v.victims = append(v.victims, b.id)
	}
	runs := v.runs()
	if b.dynamic { // what was set with kafka-configs beats the file
		runs.listeners = b.runs.listeners
	}
	return runs, name, v.bad
}

// onChange tells a broker's agent that the service manager has news.
func (r *run) onChange(b *broker) {
	a := r.agents[b.id-1]
	if a.dead {
		return
	}
	if !a.dbus {
		a.stale()
	}
	a.settle()
	a.poke(r.between(1, 100))
}

func (r *run) onCommit(rec restart.Record) {
	r.load.records++
	r.judge.committed(rec)
	for _, a := range r.agents {
		a.readOn()
	}
}

// dress adds what a newer version of the agent would write.
func dress(rec restart.Record) restart.Record {
	if len(rec.Value) > 2 {
		rec.Value = append(slices.Clone(rec.Value[:len(rec.Value)-1]), `,"added_later":{"deep":[1]}}`...)
	}
	return rec
}
