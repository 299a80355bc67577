package kafka_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"example.com/kpls-agent/internal/agent"
	"example.com/kpls-agent/internal/kafka"
	"example.com/kpls-agent/internal/restart"
)

// roll is three agents with their brokers 0, 1 and 2, in fake time: the agents'
// loops, logs and views are the real ones, Kafka is kfake with outages as Kafka has
// them (see outages), and the process, the files and the probes of each broker are
// made up.
type roll struct {
	*testing.T
	kafka   *kfake.Cluster
	network kfake.VirtualNetwork
	agents  []*rollAgent

	mu       sync.Mutex
	conns    map[string][]net.Conn // by address
	down     map[int32]bool
	behind   map[int32]bool // back, and not in sync yet
	restarts []int32
	wrong    []string // what must never be
}

// rollPort is the port of broker 0.
const rollPort = 9001

func newRoll(t *testing.T) *roll {
	t.Helper()
	r := &roll{T: t, conns: map[string][]net.Conn{}, down: map[int32]bool{}, behind: map[int32]bool{}}
	r.kafka = newCluster(t, 3, kfake.ListenFn(r.network.Listen), kfake.Ports(rollPort, rollPort+1, rollPort+2))
	if err := r.kafka.CreateTopic("orders", 4, map[string]string{"min.insync.replicas": "2"}); err != nil {
		t.Fatal(err)
	}
	if err := r.kafka.CreateTopic(lone, 1, nil); err != nil {
		t.Fatal(err)
	}
	r.outages()
	describeQuorum(t, r.kafka, r.quorum, kgo.Dialer(r.network.DialContext))
	for id := range int32(3) {
		r.agents = append(r.agents, &rollAgent{
			roll: r, id: id, running: map[string]string{}, process: "p", changed: make(chan struct{}, 1), unit: make(chan struct{}, 1),
		})
	}
	return r
}

// dial connects to a broker, which may be on its way out, and remembers the
// connection, since kfake's outlive their broker.
func (r *roll) dial(ctx context.Context, network, to string) (net.Conn, error) {
	conn, err := r.network.DialContext(ctx, network, to)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for id := range r.down {
		if to == addr(id) {
			return nil, errors.Join(errors.New("connection refused"), conn.Close())
		}
	}
	r.conns[to] = append(r.conns[to], conn)
	return conn, nil
}

// hangUp ends all connections to a broker.
func (r *roll) hangUp(id int32) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.conns[addr(id)] {
		_ = c.Close() // as the end of its process does
	}
	delete(r.conns, addr(id))
}

// addr is where a broker listens.
func addr(id int32) string { return fmt.Sprintf("localhost:%d", rollPort+id) }

// quorum is led by broker 0 while that is there.
func (r *roll) quorum() (kmsg.Response, error, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	resp := threeVoters()
	part := &resp.Topics[0].Partitions[0]
	part.LeaderID = 0
	if r.down[0] {
		part.LeaderID = 1
	}
	for i := range part.CurrentVoters {
		v := &part.CurrentVoters[i]
		if v.LastCaughtUpTimestamp = time.Now().UnixMilli(); r.down[v.ReplicaID] {
			v.LastCaughtUpTimestamp -= time.Hour.Milliseconds()
		}
	}
	return resp, nil, true
}

// run runs all agents until every broker runs what is asked for, and a while longer.
func (r *roll) run() {
	r.Helper()
	defer r.start()()
	r.wait("the roll-out ends", r.done)
	time.Sleep(time.Minute)
}

// start starts all agents and returns what stops them.
func (r *roll) start() (stop func()) {
	r.Helper()
	ctx, cancel := context.WithCancel(r.Context())
	var running sync.WaitGroup
	for _, a := range r.agents {
		a.client = open(r, r.kafka, func(o *kafka.Options) {
			o.Self, o.OwnAddress, o.Dial = a.id, addr(a.id), r.dial
			o.Expect = func() int { return 3 }
		})
		n := 0
		loop := agent.NewLoop(agent.LoopOptions{
			Agent: agent.Options{
				Options: restart.Options{Self: a.id, Agent: "t", StartTimeout: time.Minute, ProgressTimeout: time.Minute, Takeover: time.Hour},
				Nonce:   func() string { n++; return fmt.Sprint(n) },
			},
			Log: a.client.Log(), Cluster: eyes{a.client, a}, Unit: rollUnit{a}, Files: a, Probes: rollProbes{a},
			Manifest: make(chan struct{}), Logger: slog.New(slog.DiscardHandler), Metrics: agent.NewMetrics(),
			Beat: a.beat,
		})
		running.Go(func() { _ = a.client.Log().Run(ctx) })
		running.Go(func() { _ = loop.Run(ctx) })
	}
	return func() { cancel(); running.Wait() }
}

func (r *roll) wait(what string, ok func() bool) {
	r.Helper()
	for deadline := time.Now().Add(10 * time.Minute); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			for _, a := range r.agents {
				st := a.says()
				r.Logf("broker %d: %s (%s): %s", a.id, st.Phase, st.Reason.Code, st.Reason.Text())
			}
			r.Fatal("never: " + what)
		}
	}
}

func (r *roll) done() bool {
	for _, a := range r.agents {
		if st := a.client.Log().Facts().View.Statuses[a.id]; st.Phase != restart.PhaseIdle || st.Drift || !slices.Equal(st.Open, []string{"EXTERNAL"}) {
			return false
		}
	}
	return true
}

// hold checks what must be true after any roll-out.
func (r *roll) hold() {
	r.Helper()
	r.mu.Lock()
	wrong := slices.Clone(r.wrong)
	r.mu.Unlock()
	for _, w := range wrong {
		r.Error(w)
	}
	if d := cmp.Diff([]int32{1, 2, 0}, r.restarted()); d != "" {
		r.Errorf("restarts, the active controller being 0:\n%s", d)
	}
	if claims, most := r.claims(); most != 1 {
		r.Errorf("claims %v, at most %d of one broker at a time", claims, most)
	}
	if left := r.agents[0].client.Log().Facts().View.Claims; len(left) > 0 {
		r.Errorf("claims left: %v", left)
	}
}

// claims reads every record of the log as it was written: all claims, and the
// most that one broker ever had at once.
func (r *roll) claims() (keys []string, most int) {
	r.Helper()
	v := restart.NewView()
	for _, rec := range r.written() {
		v.Fold(restart.Record{Key: string(rec.Key), Value: rec.Value, Offset: rec.Offset})
		if strings.HasPrefix(string(rec.Key), "claim/") && rec.Value != nil && !slices.Contains(keys, string(rec.Key)) {
			keys = append(keys, string(rec.Key))
		}
		of := map[int32]int{}
		for _, c := range v.Claims {
			of[c.Broker]++
			most = max(most, of[c.Broker])
		}
	}
	return keys, most
}

// written is every record of the log.
func (r *roll) written() (records []*kgo.Record) {
	r.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(r.kafka.ListenAddrs()...), kgo.Dialer(r.network.DialContext), kgo.ConsumeTopics(topic))
	if err != nil {
		r.Fatal(err)
	}
	defer cl.Close()
	end := r.agents[0].client.Log().Facts().View.Next
	for next := int64(0); next < end; {
		fetches := cl.PollFetches(within(r))
		if err := fetches.Err(); err != nil {
			r.Fatal(err)
		}
		fetches.EachRecord(func(rec *kgo.Record) {
			records = append(records, rec)
			next = rec.Offset + 1
		})
	}
	return records
}

// rollAgent is what one agent drives. Its fields are guarded by roll.mu.
type rollAgent struct {
	roll    *roll
	id      int32
	client  *kafka.Client
	running map[string]string
	process string
	written bool // server.properties is as the manifest says
	allowed []string
	said    restart.Status
	changed chan struct{}
	unit    chan struct{}
}

func (a *rollAgent) beat(st restart.Status) {
	a.roll.mu.Lock()
	defer a.roll.mu.Unlock()
	a.said = st
}

func (a *rollAgent) says() restart.Status {
	a.roll.mu.Lock()
	defer a.roll.mu.Unlock()
	return a.said
}

// eyes are the real ones, but for the process's own configuration, which kfake does not have.
type eyes struct {
	*kafka.Client
	a *rollAgent
}

func (e eyes) Running(context.Context) restart.RunningFacts {
	e.a.roll.mu.Lock()
	defer e.a.roll.mu.Unlock()
	f := restart.RunningFacts{At: time.Now(), Listeners: maps.Clone(e.a.running)}
	if e.a.roll.down[e.a.id] {
		f.Err = "connection refused"
	}
	return f
}

type rollUnit struct{ *rollAgent }

func (u rollUnit) Changed() <-chan struct{} { return u.unit }

func (u rollUnit) MayRestart(context.Context) error { return nil }

func (u rollUnit) State(context.Context) restart.UnitFacts {
	u.roll.mu.Lock()
	defer u.roll.mu.Unlock()
	return restart.UnitFacts{At: time.Now(), State: restart.UnitRunning, Invocation: u.process}
}

// Restart takes the broker out of the cluster for three seconds.
func (u rollUnit) Restart(context.Context) error {
	r := u.roll
	r.mu.Lock()
	r.restarts = append(r.restarts, u.id)
	for _, a := range r.agents {
		if len(a.allowed) > 0 {
			r.wrong = append(r.wrong, fmt.Sprintf("the probe of broker %d may open before all brokers are done", a.id))
		}
	}
	r.mu.Unlock()
	if err := r.leave(u.id); err != nil {
		return err
	}
	time.Sleep(3 * time.Second)
	r.mu.Lock()
	u.process += "'"
	if u.written {
		u.running["EXTERNAL"] = "x"
	}
	r.mu.Unlock()
	return r.comeBack(u.id)
}

func (a *rollAgent) Manifest(restart.RunningFacts) restart.ManifestFacts {
	a.roll.mu.Lock()
	defer a.roll.mu.Unlock()
	return restart.ManifestFacts{
		Hash: "h1", Cluster: "c", Listeners: map[string]string{"EXTERNAL": "x"}, FileChanges: !a.written,
		Zones: map[int32]string{0: "", 1: "", 2: ""}, Table: true, MaxUnavailable: 1,
	}
}

func (a *rollAgent) LastGood() bool { return false }
func (a *rollAgent) Restore() error { return errors.New("nothing must be restored here") }

func (a *rollAgent) Apply(string) error {
	a.roll.mu.Lock()
	defer a.roll.mu.Unlock()
	a.written = true
	return nil
}

func (a *rollAgent) SaveJournal(restart.Journal) error { return nil }

type rollProbes struct{ *rollAgent }

func (p rollProbes) Facts() map[string]restart.ProbeFacts {
	p.roll.mu.Lock()
	defer p.roll.mu.Unlock()
	_, has := p.running["EXTERNAL"]
	serving := has && !p.roll.down[p.id]
	return map[string]restart.ProbeFacts{"EXTERNAL": {At: time.Now(), Serving: serving, Open: serving && slices.Contains(p.allowed, "EXTERNAL")}}
}

func (p rollProbes) Set(allowed []string) {
	p.roll.mu.Lock()
	defer p.roll.mu.Unlock()
	if !slices.Equal(p.allowed, allowed) {
		p.allowed = allowed
		select {
		case p.changed <- struct{}{}:
		default:
		}
	}
}

func (p rollProbes) Begin()                   {}
func (p rollProbes) End()                     {}
func (p rollProbes) Changed() <-chan struct{} { return p.changed }

// TestRollOut: three agents carry a roll-out to its end, one after the other.
func TestRollOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRoll(t)
		r.run()
		r.hold()
	})
}

// restarted is which brokers were restarted so far.
func (r *roll) restarted() []int32 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.restarts)
}

// TestRollOutOnAPoisonedLog: while the log has what no agent wrote, none begins
// a restart, each says what it is, and all continue when it is removed.
func TestRollOutOnAPoisonedLog(t *testing.T) {
	for _, c := range []struct {
		name  string
		key   string
		value []byte
		codec kgo.CompressionCodec
		code  restart.Code
		text  string
	}{
		{"garbage", "claim/1/x", []byte("\x00"), kgo.NoCompression(), restart.CodeLogForeign, `"claim/1/x" at offset`},
		{"a later version", "pause", []byte(`{"version":2}`), kgo.NoCompression(), restart.CodeLogForeign, "its version is 2"},
		{"an unknown key of a later version", "mark/1", []byte(`{"version":2}`), kgo.NoCompression(), restart.CodeLogForeign, "its version is 2"},
		{"a huge record", "halt/h1", make([]byte, 10<<20), kgo.NoCompression(), restart.CodeLogForeign, `"halt/h1" at offset`},
		{"one that becomes huge", "halt/h1", make([]byte, 20<<20), kgo.GzipCompression(), restart.CodeLogUnreadable, "more than 8 MiB when it is unpacked"},
	} {
		for _, begun := range []int{0, 1} {
			t.Run(fmt.Sprintf("%s after %d restarts", c.name, begun), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					r := newRoll(t)
					if err := r.kafka.CreateTopic(topic, 1, map[string]string{"cleanup.policy": "compact", "max.message.bytes": "100000000"}); err != nil {
						t.Fatal(err)
					}
					write := intruder(t, r.kafka.ListenAddrs(), kgo.Dialer(r.network.DialContext), kgo.ProducerBatchCompression(c.codec))
					write(&kgo.Record{Key: []byte(c.key)})
					if begun == 0 {
						write(&kgo.Record{Key: []byte(c.key), Value: c.value})
					}
					stop := sync.OnceFunc(r.start())
					defer stop()
					if begun == 1 {
						r.wait("a restart begins", func() bool { return len(r.restarted()) == 1 })
						write(&kgo.Record{Key: []byte(c.key), Value: c.value})
					}
					r.wait("all say what it is", func() bool {
						return !slices.ContainsFunc(r.agents, func(a *rollAgent) bool {
							st := a.says()
							done := begun == 1 && a.id == 1 && st.Phase == restart.PhaseIdle
							return !done && (st.Reason.Code != c.code || !strings.Contains(st.Reason.Text(), c.text))
						})
					})
					time.Sleep(time.Minute)
					if got := r.restarted(); len(got) != begun {
						t.Errorf("restarts %v, while the log cannot be understood", got)
					}
					write(&kgo.Record{Key: []byte(c.key)})
					write(&kgo.Record{Key: []byte(c.key)})
					r.kafka.Compact()
					r.wait("the roll-out ends", r.done)
					time.Sleep(time.Minute)
					stop()
					r.hold()
				})
			})
		}
	}
}

// TestReplayedLog: all that was ever written comes again, as from a copy, but for
// the deletions. Nothing is restarted, no probe closes, and no claim stays.
func TestReplayedLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRoll(t)
		stop := sync.OnceFunc(r.start())
		defer stop()
		r.wait("the roll-out ends", r.done)
		time.Sleep(time.Minute)
		write := intruder(t, r.kafka.ListenAddrs(), kgo.Dialer(r.network.DialContext))
		records := r.written()
		for i, rec := range records {
			if rec.Value != nil {
				write(&kgo.Record{Key: rec.Key, Value: rec.Value})
			}
			if open := r.agents[i%3].says().Open; !slices.Equal(open, []string{"EXTERNAL"}) {
				t.Fatalf("after %d records: probes %v are open", i, open)
			}
		}
		r.wait("all is as it was", func() bool { return r.done() && len(r.agents[0].client.Log().Facts().View.Claims) == 0 })
		time.Sleep(5 * time.Minute)
		stop()
		r.hold()
	})
}

// claims tells whether a request writes a claim.
func writesClaim(r kmsg.Request) bool {
	produce, ok := r.(*kmsg.ProduceRequest)
	return ok && slices.ContainsFunc(produce.Topics, func(t kmsg.ProduceRequestTopic) bool {
		return slices.ContainsFunc(t.Partitions, func(p kmsg.ProduceRequestTopicPartition) bool {
			return strings.Contains(string(p.Records), "claim/") && strings.Contains(string(p.Records), `"target"`)
		})
	})
}

// TestRollOutWithLostAnswers: whatever becomes of the requests that write a
// claim, and of their answers, a broker claims once.
func TestRollOutWithLostAnswers(t *testing.T) {
	for _, tt := range []struct {
		name string
		// lose is called for each request that writes a claim, with how many there
		// were before, and how long after the first one it comes.
		lose func(r *roll, n int, after time.Duration) (kmsg.Response, error, bool)
	}{
		{"every other one is not written", func(_ *roll, n int, _ time.Duration) (kmsg.Response, error, bool) {
			return nil, errors.New("hang up"), n%2 == 0
		}},
		{"they are written when nobody waits for them any more", func(r *roll, _ int, after time.Duration) (kmsg.Response, error, bool) {
			if late := 8*time.Second - after; late > 0 {
				r.kafka.SleepControl(func() { time.Sleep(late) })
			}
			return nil, nil, false
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRoll(t)
				var mu sync.Mutex
				n, first := 0, time.Time{}
				r.kafka.ControlKey(0, func(req kmsg.Request) (kmsg.Response, error, bool) {
					r.kafka.KeepControl()
					if !writesClaim(req) {
						return nil, nil, false
					}
					mu.Lock()
					if n++; n == 1 {
						first = time.Now()
					}
					before, after := n-1, time.Since(first)
					mu.Unlock()
					return tt.lose(r, before, after)
				})
				r.run()
				r.hold()
				if n < 4 {
					t.Errorf("claims were written %d times, so none was lost", n)
				}
			})
		})
	}
}
