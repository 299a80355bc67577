package system

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"example.com/kpls-agent/test/fleet"
	"example.com/kpls-agent/test/machines"
	"example.com/kpls-agent/test/sandbox"
)

// patience bounds every wait. Nothing is measured by it: it only ends a test
// that hangs, on a machine however slow.
const patience = 4 * time.Minute

const (
	topic      = "orders"
	partitions = 12
)

// system is the bed as one test sees it.
type system struct {
	*testing.T
	*machines.Bed
}

// status is what an operator on one of the VMs sees: the first one that answers.
func (s *system) status() (fleet.Report, error) {
	var errs []error
	for _, m := range s.Machines {
		ctx, cancel := context.WithTimeout(s.Context(), 10*time.Second)
		out, err := m.Output(ctx, "kpls-agent", "status", "-o", "json")
		cancel()
		var r fleet.Report
		if err == nil {
			err = json.Unmarshal([]byte(out), &r)
		}
		if err == nil {
			return r, nil
		}
		errs = append(errs, err)
	}
	return fleet.Report{}, errors.Join(errs...)
}

// wait waits until the status is as wanted.
func (s *system) wait(what string, ok func(fleet.Report) bool) fleet.Report {
	s.Helper()
	var r fleet.Report
	var err error
	s.until(what, func() bool {
		r, err = s.status()
		return err == nil && ok(r)
	})
	return r
}

// until waits for what no status tells.
func (s *system) until(what string, ok func() bool) {
	s.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(deadline) {
			s.Fatalf("waited until %s", what)
		}
	}
}

// agent is what an agent says of itself in its metrics.
type agent struct {
	phase, reason          string
	drift, claims, pending string
}

// agent asks the agent of a VM; zero if it does not answer.
func (s *system) agent(m *machines.Machine) agent {
	text, err := s.get(m.Metrics(), "/metrics")
	if err != nil {
		return agent{}
	}
	var a agent
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		name, label, _ := strings.Cut(strings.TrimPrefix(name, "kpls_agent_"), `="`)
		label = strings.TrimSuffix(label, `"}`)
		switch {
		case name == "phase{phase" && value == "1":
			a.phase = label
		case name == "reason{reason" && value == "1":
			a.reason = label
		case name == "drift":
			a.drift = value
		case name == "claims":
			a.claims = value
		case name == "pending_brokers":
			a.pending = value
		}
	}
	return a
}

// atRest is what agents say when nothing is left to do.
var atRest = agent{phase: "idle", reason: "in_sync", drift: "0", claims: "0", pending: "0"}

// settled waits until all agents are at rest and all probes open.
func (s *system) settled() {
	s.Helper()
	var agents []agent
	for deadline := time.Now().Add(patience); ; time.Sleep(200 * time.Millisecond) {
		agents = agents[:0]
		good := true
		for _, m := range s.Machines {
			a := s.agent(m)
			agents = append(agents, a)
			good = good && a == atRest && s.LB.Accepts(s.Context(), m.Probe())
		}
		if good {
			return
		}
		if time.Now().After(deadline) {
			s.Fatalf("the agents do not come to rest: %+v", agents)
		}
	}
}

// rollOut asks for a rolling restart, and returns what waits for its end.
func (s *system) rollOut() (end func()) {
	s.Helper()
	before := s.processes()
	s.on(s.Machines[0], "kpls-agent restart")
	return func() {
		s.Helper()
		s.until("every broker has been restarted", func() bool {
			now := s.processes()
			for id, process := range before {
				if now[id] == "" || now[id] == process {
					return false
				}
			}
			return true
		})
		s.settled()
		if r := s.wait("the roll-out has ended", func(fleet.Report) bool { return true }); r.State != "idle" {
			s.Errorf("the roll-out has ended and the state is %s", r.State)
		}
	}
}

// processes identify the brokers' running processes; empty for one that cannot be asked.
func (s *system) processes() map[int32]string {
	out := map[int32]string{}
	for _, m := range s.Machines {
		ctx, cancel := context.WithTimeout(s.Context(), 5*time.Second)
		text, err := m.Output(ctx, "systemctl", "show", "--property=InvocationID", "--value", "kafka.service")
		cancel()
		if err == nil {
			out[m.ID] = strings.TrimSpace(text)
		}
	}
	return out
}

// turn waits until a broker is in one of these phases of its restart, and returns its VM.
func (s *system) turn(phases ...string) *machines.Machine {
	s.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		for _, m := range s.Machines {
			if phase := s.agent(m).phase; slices.Contains(phases, phase) {
				s.Logf("%s is %s", m.Name, phase)
				return m
			}
		}
		if time.Now().After(deadline) {
			s.Fatalf("no broker came to be %v", phases)
		}
	}
}

// other is a VM besides one.
func (s *system) other(m *machines.Machine) *machines.Machine {
	return s.Machine(m.ID%machines.Brokers + 1)
}

// on runs a shell command on a VM, as root.
func (s *system) on(m *machines.Machine, command string) string {
	s.Helper()
	ctx, cancel := context.WithTimeout(s.Context(), time.Minute)
	defer cancel()
	out, err := m.Output(ctx, "sh", "-c", command)
	if err != nil {
		s.Fatal(err)
	}
	return out
}

// get asks an HTTP server from the monitoring host.
func (s *system) get(addr, path string) (string, error) {
	client := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DialContext: s.Mon.Dial, DisableKeepAlives: true}}
	resp, err := client.Get("http://" + addr + path)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s%s: %s: %s", addr, path, resp.Status, body)
	}
	return string(body), err
}

// customer dials as the client namespace does, by the published names.
func (s *system) customer() sandbox.DialFunc {
	names := sandbox.Names{}
	for _, m := range s.Machines {
		names[m.Name+"."+machines.Domain] = s.LB.Addr
	}
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		host, port, err := net.SplitHostPort(addr)
		if err != nil {
			return nil, err
		}
		if lb, ok := names[host]; ok {
			addr = net.JoinHostPort(lb, port)
		}
		return s.Client.Dial(ctx, network, addr)
	}
}

// through are the options of a load that reaches the brokers through the load balancer.
func (s *system) through() sandbox.LoadOptions {
	return sandbox.LoadOptions{
		Bootstrap: []string{"b1." + machines.Domain + ":9093", "b2." + machines.Domain + ":9094", "b3." + machines.Domain + ":9095"},
		Dial:      s.customer(), Topic: topic, Partitions: partitions, Rate: 200,
	}
}

// within are those of one that uses the inter-broker listener.
func (s *system) within() sandbox.LoadOptions {
	return sandbox.LoadOptions{Bootstrap: s.Internal(), Dial: s.Client.Dial, Topic: topic, Partitions: partitions, Rate: 200}
}

// client is an administrator's connection.
func (s *system) client() *kgo.Client {
	s.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(s.Internal()...), kgo.Dialer(s.Mon.Dial), kgo.MetadataMinAge(100*time.Millisecond))
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(cl.Close)
	return cl
}

// balancer starts a load balancer and waits until it has found every broker.
func (s *system) balancer(start func(context.Context) (*machines.Balancer, error)) *machines.Balancer {
	s.Helper()
	lb, err := start(s.Context())
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() { lb.Close() })
	for _, m := range s.Machines {
		s.until("the balancer finds "+m.Name, func() bool { return lb.Up(m.ID) })
	}
	return lb
}

func (s *system) haproxy(p machines.Probing) *machines.Balancer {
	s.Helper()
	return s.balancer(func(ctx context.Context) (*machines.Balancer, error) { return s.HAProxy(ctx, p) })
}

// createTopic creates the topic of the load as soon as three brokers are there.
func (s *system) createTopic() {
	s.Helper()
	adm, two := kadm.NewClient(s.client()), "2"
	var err error
	s.until("the topic can be created", func() bool {
		_, err = adm.CreateTopic(s.Context(), partitions, 3, map[string]*string{"min.insync.replicas": &two}, topic)
		return err == nil || errors.Is(err, kerr.TopicAlreadyExists)
	})
}

// traffic is a load, a watch over the brokers, and what the agents did meanwhile.
type traffic struct {
	s     *system
	begun time.Time
	watch *machines.Watch
	end   func() (sandbox.Figures, error)
}

// runner is a kind of load.
type runner interface {
	Run(ctx context.Context) (sandbox.Figures, error)
}

// start starts a load, which is a producer with acks=all and a consumer, and the
// watch. With probing, the watch probes as well.
func (s *system) start(load runner, probing bool) *traffic {
	s.Helper()
	ctx, stop := context.WithCancel(context.WithoutCancel(s.Context()))
	t := &traffic{s: s, begun: time.Now(), watch: s.NewWatch(probing)}
	watched, loaded := make(chan struct{}), make(chan struct{})
	var figures sandbox.Figures
	var err error
	lctx, stopLoad := context.WithCancel(ctx)
	go func() { defer close(watched); t.watch.Run(ctx) }()
	go func() { defer close(loaded); figures, err = load.Run(lctx) }()
	t.end = func() (sandbox.Figures, error) {
		stopLoad()
		<-loaded
		stop()
		<-watched
		return figures, err
	}
	s.Cleanup(func() {
		_, _ = t.end() // it may have ended
		if s.Failed() {
			s.dump(t.begun)
		}
	})
	return t
}

// judge ends the traffic and holds what every fault must leave true: no
// acknowledged record lost, no broker taken down while another was away, no
// probe of a healthy broker missed. It returns the restarts the agents asked for.
func (t *traffic) judge() []restart {
	t.s.Helper()
	restarts, _ := t.account()
	return restarts
}

// account is judge, with what the load saw.
func (t *traffic) account() ([]restart, sandbox.Figures) {
	t.s.Helper()
	figures, err := t.end()
	t.s.Logf("load: %s", figures)
	switch {
	case err != nil:
		t.s.Error(err)
	case figures.Acked == 0 || figures.Lost > 0 || figures.Failed > 0 || figures.Acked < figures.Sent:
		t.s.Errorf("records were lost or failed: %s", figures)
	}
	restarts := t.s.restarts(t.begun)
	for _, r := range restarts {
		away := t.watch.Away(r.at, r.broker)
		t.s.Logf("the agent of b%d restarted its broker at %s", r.broker, r.at.Format("15:04:05.000"))
		if len(away) > 0 {
			t.s.Errorf("when b%d was restarted at %s, brokers %v were away", r.broker, r.at.Format("15:04:05.000"), away)
		}
	}
	if missed := t.watch.Missed(t.begun); len(missed) > 0 {
		t.s.Errorf("%d probes of a healthy broker were missed, the first of %s, the last of %s", len(missed), missed[0], missed[len(missed)-1])
	}
	return restarts, figures
}

// restart is one that an agent asked for.
type restart struct {
	broker int32
	at     time.Time
}

// restarts reads them from the VMs' journals.
func (s *system) restarts(since time.Time) []restart {
	s.Helper()
	var out []restart
	for _, m := range s.Machines {
		for _, e := range s.journal(m, since, "kpls-agent.service") {
			if strings.Contains(e.Message, `msg="restarting the unit"`) {
				out = append(out, restart{m.ID, e.At})
			}
		}
	}
	slices.SortFunc(out, func(a, b restart) int { return a.at.Compare(b.at) })
	return out
}

func (s *system) journal(m *machines.Machine, since time.Time, unit string) []machines.Entry {
	s.Helper()
	entries, err := m.Journal(context.WithoutCancel(s.Context()), since, unit)
	if err != nil {
		s.Fatal(err)
	}
	return entries
}

// dump prints what an operator would look at.
func (s *system) dump(since time.Time) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.Context()), 30*time.Second)
	defer cancel()
	for _, m := range s.Machines {
		out, err := m.Output(ctx, "kpls-agent", "status")
		s.Logf("%s: status: %v\n%s", m.Name, err, out)
		for unit, most := range map[string]int{"kpls-agent.service": 60, "kafka.service": 30} {
			entries, err := m.Journal(ctx, since, unit)
			entries = slices.DeleteFunc(entries, func(e machines.Entry) bool { return strings.Contains(e.Message, "] INFO ") })
			var b strings.Builder
			for _, e := range entries[max(0, len(entries)-most):] {
				fmt.Fprintf(&b, "%s %.400s\n", e.At.Format("15:04:05.000"), e.Message)
			}
			s.Logf("%s: %s: %v\n%s", m.Name, unit, err, b.String())
		}
	}
}

// serve serves a directory from the monitoring host, as a package archive does.
func serve(b *machines.Bed, dir string) error {
	l, err := b.Mon.Listen(context.Background(), net.JoinHostPort(b.Mon.Addr, strconv.Itoa(80)))
	if err != nil {
		return err
	}
	go func() { _ = http.Serve(l, http.FileServer(http.Dir(dir))) }() // until the process ends
	return nil
}

// packaged is the agent's package that `make deb` has built for this machine.
func packaged() (string, error) {
	found, err := filepath.Glob(filepath.Join("..", "..", "dist", "kpls-agent_*_"+runtime.GOARCH+".deb"))
	if err == nil && len(found) != 1 {
		err = fmt.Errorf("expected one package for %s in dist, found %q; run `make deb`, or this whole test by `make e2e`", runtime.GOARCH, found)
	}
	if err != nil {
		return "", err
	}
	return filepath.Abs(found[0])
}

// repack makes a package of a higher version with the same content, and returns its bytes.
func repack(ctx context.Context, deb string) ([]byte, error) {
	dir, err := os.MkdirTemp("", "kpls-repack-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	const steps = `dpkg-deb -R "$1" "$2/x" && sed -i 's/^Version: .*/&+newer/' "$2/x/DEBIAN/control" && dpkg-deb --root-owner-group -Zgzip -z1 -b "$2/x" "$2/newer.deb"`
	if out, err := exec.CommandContext(ctx, "sh", "-c", steps, "sh", deb, dir).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("make a newer package of %s: %w\n%s", deb, err, out)
	}
	return os.ReadFile(filepath.Join(dir, "newer.deb"))
}

// userData is the package's example of a cloud-init file, with the address of
// the archive here, and a short soak.
func userData(deb string, mon string) (string, error) {
	example, err := os.ReadFile(filepath.Join("..", "..", "packaging", "examples", "user-data"))
	if err != nil {
		return "", err
	}
	text := string(example)
	for old, now := range map[string]string{
		"https://packages.example.com/kpls-agent_amd64.deb":   "http://" + mon + "/" + filepath.Base(deb),
		"        3: {ports: {EXTERNAL: 9095}, zone: \"3\"}\n": "        3: {ports: {EXTERNAL: 9095}, zone: \"3\"}\n      rollout:\n        soak: 2s\n",
	} {
		if !strings.Contains(text, old) {
			return "", fmt.Errorf("packaging/examples/user-data has no %q", old)
		}
		text = strings.ReplaceAll(text, old, now)
	}
	return text, nil
}
