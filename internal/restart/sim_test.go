package restart

import (
	"container/heap"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// sim drives several real machines against a simulated cluster, one event
// after the other. The same seed gives the same run.
type sim struct {
	*simWorld
	world   *simCluster
	records []Record
	nonces  int

	faults         bool
	crashes        int
	freezes        int
	maxUnavailable int
	soak           time.Duration
	disabled       map[Code]bool
	everyListener  map[string]bool
	restarts       map[string]int // by version and broker
	failures       []string
	target         string // newest manifest
	paused, halted map[string]time.Time
	manifests      map[int32]string // as committed to the log
	committedAt    map[int32]time.Time
}

func (s *sim) fail(format string, args ...any) {
	s.note("VIOLATION: "+format, args...)
	s.failures = append(s.failures, fmt.Sprintf(format, args...))
}

// committed follows the log for the invariants.
func (s *sim) committed(r Record) {
	switch {
	case r.Key == keyPause && r.Value != nil:
		s.paused["pause"] = s.now
	case r.Key == keyPause:
		delete(s.paused, "pause")
	case strings.HasPrefix(r.Key, keyHalt) && r.Value != nil:
		s.halted[strings.TrimPrefix(r.Key, keyHalt)] = s.now
	case strings.HasPrefix(r.Key, keyHalt):
		delete(s.halted, strings.TrimPrefix(r.Key, keyHalt))
	case strings.HasPrefix(r.Key, keyStatus):
		v := NewView()
		v.Fold(r)
		for id, st := range v.Statuses {
			if s.manifests[id] != st.Manifest {
				s.manifests[id], s.committedAt[id] = st.Manifest, s.now
			}
		}
	case strings.HasPrefix(r.Key, keyActive) && r.Value != nil:
		s.checkActive(strings.TrimPrefix(r.Key, keyActive))
	}
}

// checkActive is promise 9: a listener's probes open when all brokers serve it.
func (s *sim) checkActive(listener string) {
	for _, b := range s.world.brokers {
		if _, ok := b.config[listener]; !ok {
			s.fail("promise 9: %s is activated and broker %d does not have it", listener, b.id)
		}
	}
}

// margin is how old a fact may be when a unit is restarted, and a bit for metadata that lags.
const margin = fresh + time.Second

// check holds promises 1, 2, 3 and 5 against what an agent does to its broker.
func (s *sim) check(b *simBroker) {
	a := s.agents[b.id-1]
	s.restarts[a.file+"/"+fmt.Sprint(b.id)]++
	undo := a.journal.Step == StepUndo
	calm := s.now.Sub(s.world.disturbed) > margin
	var away []int32
	for _, o := range s.world.brokers {
		if o.id != b.id && (o.takenDown || !o.alive) {
			away = append(away, o.id)
		}
	}
	if n := len(away); !undo && b.alive && calm && n+1 > s.maxUnavailable {
		s.fail("promise 1: broker %d is taken down while %v are away", b.id, away)
	}
	if undo || !b.alive {
		return
	}
	for _, p := range s.world.partitions {
		left := 0
		for _, id := range p.isr {
			if id != b.id && !slices.Contains(away, id) {
				left++
			}
		}
		if calm && slices.Contains(p.isr, b.id) && len(p.replicas) > p.need && left < p.need {
			s.fail("promise 1: %s comes to %d in-sync replicas, needs %d, without broker %d", p.topic, left, p.need, b.id)
		}
	}
	up := 0
	for _, o := range s.world.brokers {
		if o.id != b.id && o.running && !o.takenDown {
			up++
		}
	}
	if n := len(s.world.brokers); calm && n > 2 && up < n/2+1 {
		s.fail("promise 2: %d of %d voters remain without broker %d", up, n, b.id)
	}
	if s.world.leader == b.id && s.now.Sub(s.world.elected) > margin && calm {
		for _, o := range s.world.brokers {
			if o.id != b.id && o.running && !o.takenDown && differs(o.config, s.versions[a.manifest].want, nil) != "" {
				s.fail("promise 2: the active controller %d goes before broker %d", b.id, o.id)
			}
		}
	}
	s.checkVeto(b, a)
}

func (s *sim) checkVeto(b *simBroker, a *simAgent) {
	if t, ok := s.paused["pause"]; ok && s.now.Sub(t) > margin {
		s.fail("promise 3: broker %d is taken down %s after the pause", b.id, s.now.Sub(t))
	}
	if t, ok := s.halted[a.manifest]; ok && s.now.Sub(t) > margin {
		s.fail("promise 5: broker %d is taken down %s after the halt", b.id, s.now.Sub(t))
	}
	for _, id := range slices.Sorted(maps.Keys(s.manifests)) {
		if s.manifests[id] != a.manifest && s.now.Sub(s.committedAt[id]) > margin {
			s.fail("promise 3: broker %d is taken down for %s while broker %d says it has %q", b.id, a.manifest, id, s.manifests[id])
		}
	}
	if v := s.versions[a.file]; v.bad != "" && len(v.victims) >= s.maxUnavailable && !slices.Contains(v.victims, b.id) {
		s.fail("promise 5: broker %d follows %v into %s", b.id, v.victims, a.file)
	}
}

// runSim plays one seed to its end.
func runSim(seed uint64, disabled ...Code) *sim {
	rng := rand.New(rand.NewPCG(seed, 1))
	start := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	s := &sim{
		simWorld: &simWorld{rng: rng, now: start, start: start, versions: map[string]*simVersion{}},
		disabled: map[Code]bool{}, restarts: map[string]int{}, paused: map[string]time.Time{}, halted: map[string]time.Time{},
		manifests: map[int32]string{}, committedAt: map[int32]time.Time{}, everyListener: map[string]bool{"EXTERNAL": true},
	}
	for _, c := range disabled {
		s.disabled[c] = true
	}
	n := []int{1, 2, 3, 3, 3, 3, 5, 6}[rng.IntN(8)]
	s.maxUnavailable = 1
	if n >= 5 {
		s.maxUnavailable = 1 + rng.IntN(2)
	}
	s.soak = time.Duration(rng.IntN(3)*10) * time.Second
	s.faults = rng.IntN(5) > 0
	s.crashes, s.freezes = rng.IntN(6), rng.IntN(2)
	s.versions["v0"] = &simVersion{want: map[string]string{}, process: map[string]string{}}
	s.world = newSimCluster(s.simWorld, n, min(3, n))
	s.cluster = s.world
	for i := range n {
		a := &simAgent{sim: s, id: int32(i + 1), file: "v0", lastGood: "v0"}
		s.agents = append(s.agents, a)
		s.world.broker(a.id).config = s.versions["v0"].process
	}
	s.world.record()
	for _, a := range s.agents {
		a.live()
	}
	s.note("%d brokers, max_unavailable %d, soak %s, faults %v", n, s.maxUnavailable, s.soak, s.faults)
	s.script()
	end := start.Add(40 * time.Minute)
	for len(s.events) > 0 && len(s.failures) == 0 {
		e := heap.Pop(&s.events).(event)
		if e.at.After(end) {
			break
		}
		s.now = e.at
		e.do()
		if s.settled() && s.now.Sub(start) > 10*time.Minute {
			break
		}
	}
	s.atEnd()
	return s
}

// script schedules manifests, faults and operators.
func (s *sim) script() {
	good := func(name string) *simVersion {
		w := map[string]string{"EXTERNAL": name}
		return &simVersion{want: w, process: w}
	}
	give := func(at time.Duration, name string, spread int) {
		s.after(at, func() {
			s.target = name
			s.note("manifest %s (bad: %q) is being handed out", name, s.versions[name].bad)
		})
		for _, a := range s.agents {
			s.after(at+s.between(0, spread), func() {
				a.manifest = max(a.manifest, name) // v1 may arrive after v2
				a.poke(0)
			})
		}
	}
	s.versions["v1"] = good("v1")
	give(5*time.Second, "v1", 20000)
	s.target = "v1"
	if s.rng.IntN(2) == 0 {
		v := good("v2")
		switch s.rng.IntN(6) {
		case 0:
			v.bad = "exits"
		case 1:
			v.bad = "loops"
		case 2:
			v.bad, v.process = "wrong", map[string]string{"EXTERNAL": "nonsense"}
		}
		s.versions["v2"] = v
		give(s.between(20000, 200000), "v2", 15000)
		if v.bad != "" && s.rng.IntN(2) == 0 {
			s.versions["v3"] = good("v3")
			give(s.between(300000, 400000), "v3", 15000)
		}
	}
	if s.rng.IntN(4) == 0 {
		at := s.between(5000, 100000)
		s.after(at, func() { s.operator(NewPause(Pause{By: "sim", At: s.now})) })
		s.after(at+s.between(30000, 200000), func() { s.operator(NewResume()) })
	}
	if s.rng.IntN(4) == 0 {
		s.after(s.between(5000, 300000), func() { s.operator(NewRequest(Request{ID: "r1", By: "sim", At: s.now})) })
	}
	for _, at := range []time.Duration{10 * time.Minute, 16 * time.Minute, 22 * time.Minute} {
		s.after(at, s.person)
	}
	if !s.faults {
		return
	}
	for range s.rng.IntN(4) {
		s.after(s.between(1000, 300000), s.fault)
	}
}

// operator appends until it is written.
func (s *sim) operator(r Record) {
	s.note("operator: %s", r.Key)
	if s.append(r) != nil {
		s.after(time.Second, func() { s.operator(r) })
	}
}

// person does what the reasons ask of an operator: tries a good manifest again
// that was halted because its broker happened to be killed while it proved
// itself, and starts a broker that was left for a person to start.
func (s *sim) person() {
	for _, target := range slices.Sorted(maps.Keys(s.halted)) {
		if s.versions[target].bad == "" {
			s.operator(NewUnhalt(target))
		}
	}
	for _, b := range s.world.brokers {
		if !b.running && !s.agents[b.id-1].busy {
			b.restarts = 0
			s.world.disturbed = s.now
			s.world.start(b, "a person")
		}
	}
}

// fault does one bad thing, and undoes it within some minutes.
func (s *sim) fault() {
	b := s.world.brokers[s.rng.IntN(len(s.world.brokers))]
	a := s.agents[b.id-1]
	back := s.between(2000, 120000)
	switch s.rng.IntN(5) {
	case 0, 1: // the VM or only the broker dies
		if !b.running {
			return
		}
		vm := s.rng.IntN(2) == 0
		s.note("fault: broker %d is killed, its agent too: %v", b.id, vm)
		if vm {
			a.die("VM")
			a.gone = true
		}
		s.world.exit(b, false)
		b.failed = true
		s.after(back, func() {
			if b.failed && !b.running {
				s.world.disturbed = s.now
				s.world.start(b, "somebody")
			}
			if a.dead {
				a.gone = false
				a.live()
			}
		})
	case 2:
		s.note("fault: broker %d hears no controller for %s", b.id, back)
		b.cut = true
		s.after(back, func() { b.cut = false })
	case 3:
		s.note("fault: agent %d is away for %s", a.id, back)
		a.die("fault")
		a.gone = true
		s.after(back, func() { a.gone = false; a.live() })
	case 4:
		p := s.world.partitions[s.rng.IntN(len(s.world.partitions)-1)]
		if len(p.isr) < 2 || !slices.Contains(p.isr, b.id) {
			return
		}
		s.note("fault: broker %d falls behind in %s for %s", b.id, p.topic, back)
		p.isr = slices.DeleteFunc(p.isr, func(id int32) bool { return id == b.id })
		s.world.disturbed = s.now
		s.world.record()
		s.after(back, func() {
			if b.alive && !slices.Contains(p.isr, b.id) {
				p.isr = append(p.isr, b.id)
				slices.Sort(p.isr)
				s.world.record()
			}
		})
	}
}

// expected is the version that must run in the end.
func (s *sim) expected() string {
	if s.versions[s.target].bad == "" {
		return s.target
	}
	return "v1"
}

func (s *sim) settled() bool {
	for _, a := range s.agents {
		b := s.world.broker(a.id)
		if a.dead || a.busy || !b.ready || a.journal.Step != StepNone {
			return false
		}
		if s.versions[s.target].bad == "" && a.phase != PhaseIdle {
			return false
		}
		if s.versions[s.target].bad != "" && a.reason.Code != CodeHalted {
			return false
		}
	}
	return true
}

// atEnd is promise 7, and that it ends at all.
func (s *sim) atEnd() {
	if len(s.failures) > 0 {
		return
	}
	if !s.settled() {
		for _, a := range s.agents {
			s.note("agent %d at the end: %s %s, journal %+v", a.id, a.phase, a.reason.Text, a.journal)
		}
		s.fail("liveness: the roll-out has not ended")
		return
	}
	for _, b := range s.world.brokers {
		a := s.agents[b.id-1]
		want := s.expected()
		// A bad manifest that was overtaken before anyone tried it leaves v1 or what came before.
		good := s.versions[a.lastGood]
		before := s.versions[s.target].bad != "" && good.bad == "" && maps.Equal(b.config, good.want)
		if !before && !maps.Equal(b.config, s.versions[want].want) {
			s.fail("promise 7: broker %d runs %v in the end, wanted is %s", b.id, b.config, want)
		}
		if s.versions[a.file].bad != "" && slices.Contains(s.versions[a.file].victims, b.id) {
			s.fail("promise 5: broker %d still has %s on disk", b.id, a.file)
		}
	}
	if !s.faults {
		for key, n := range s.restarts {
			if n > 3 { // a change, a request, a roll-back
				s.fail("%s was restarted %d times without any fault", key, n)
			}
		}
	}
}

func (s *sim) tell() string { return strings.Join(s.story, "\n") }

// TestSimulation plays many seeds; SIM_SEED plays one and prints its story,
// SIM_RUNS sets how many.
func TestSimulation(t *testing.T) {
	if one := os.Getenv("SIM_SEED"); one != "" {
		seed, err := strconv.ParseUint(one, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		s := runSim(seed)
		t.Logf("seed %d\n%s", seed, s.tell())
		if len(s.failures) > 0 {
			t.Fatal(s.failures)
		}
		return
	}
	runs := 120
	if n, err := strconv.Atoi(os.Getenv("SIM_RUNS")); err == nil {
		runs = n
	}
	for part := range uint64(2) {
		t.Run(fmt.Sprint(part), func(t *testing.T) {
			t.Parallel()
			for seed := part; seed < uint64(runs); seed += 2 {
				if s := runSim(seed); len(s.failures) > 0 {
					t.Fatalf("seed %d: %v\nits story (SIM_SEED=%d go test -run TestSimulation ./internal/restart):\n%s", seed, s.failures, seed, s.tell())
				}
			}
		})
	}
}

// TestSimulationNoticesBrokenGates takes checks away: if no seed noticed, the
// simulation would prove nothing about them. Each is found by one of the first
// seeds. The gates of views, brokers and quorum stand behind that of the
// partitions in this model, so that only the tables of TestGates hold them.
func TestSimulationNoticesBrokenGates(t *testing.T) {
	for name, broken := range map[string][]Code{
		"partitions":      {CodeGatePartitions},
		"pause":           {CodePaused},
		"halt":            {CodeHalted},
		"agreement":       {CodeManifestDiffers},
		"order":           {CodeOrder},
		"queue and order": {CodeClaimAhead, CodeOrder},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for seed := range uint64(300) {
				if s := runSim(seed, broken...); len(s.failures) > 0 {
					t.Logf("seed %d: %s", seed, s.failures[0])
					return
				}
			}
			t.Fatal("300 seeds went well without it")
		})
	}
}

// TestSimulationReplays plays one seed twice.
func TestSimulationReplays(t *testing.T) {
	for seed := range uint64(20) {
		if a, b := runSim(seed).tell(), runSim(seed).tell(); a != b {
			t.Fatalf("seed %d told two stories", seed)
		}
	}
}
