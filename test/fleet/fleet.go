package fleet

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"example.com/kpls-agent/test/sandbox"
)

// Ports that the agents use on their broker's address.
const (
	ProbePort  = 39192
	Probe2Port = 39193
	HTTPPort   = 9464
)

// Domain is the domain of the published procedure's example.
const Domain = "abc.eastus.azure.3199745.tidbcloud.com"

// Build compiles the agent; tags may name build tags. The caller owns dir.
func Build(ctx context.Context, dir string, tags ...string) (string, error) {
	bin := filepath.Join(dir, "kpls-agent")
	cmd := exec.CommandContext(ctx, "go", "build", "-tags", strings.Join(tags, ","), "-o", bin,
		"example.com/kpls-agent/cmd/kpls-agent")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the agent: %w\n%s", err, out)
	}
	return bin, nil
}

// Fleet is the agents of one cluster.
type Fleet struct {
	Cluster *sandbox.Cluster
	Agents  []*Agent
}

// New writes the settings of one agent a broker and starts none.
func New(c *sandbox.Cluster, bin, dir string) (*Fleet, error) {
	f := &Fleet{Cluster: c}
	for _, b := range c.Brokers {
		a := &Agent{ID: b.ID, bin: bin, broker: b, dir: filepath.Join(dir, fmt.Sprintf("agent-%d", b.ID))}
		if err := os.MkdirAll(filepath.Join(a.dir, "state"), 0o750); err != nil {
			return nil, err
		}
		argv := func(verb string) string {
			j, _ := json.Marshal(b.Command(verb)) // strings always marshal
			return string(j)
		}
		text := fmt.Sprintf(`manifest: %s
server_properties: %s
state_dir: %s
commands:
  restart: %s
  status: %s
http:
  listen: %s
`, a.Manifest(), b.Properties(), filepath.Join(a.dir, "state"), argv("restart"), argv("status"), a.HTTP())
		if err := os.WriteFile(a.Settings(), []byte(text), 0o600); err != nil {
			return nil, err
		}
		f.Agents = append(f.Agents, a)
	}
	return f, nil
}

// Start starts every agent.
func (f *Fleet) Start(ctx context.Context) error {
	for _, a := range f.Agents {
		if err := a.Start(ctx); err != nil {
			return err
		}
	}
	return nil
}

// Awake waits until every agent knows its phase, by its own metrics: without a manifest it reports to others
// only where the coordination topic is there already.
func (f *Fleet) Awake(ctx context.Context) error {
	for _, a := range f.Agents {
		for !a.awake(ctx) {
			select {
			case <-ctx.Done():
				return fmt.Errorf("wait until agent %d knows its phase: %w", a.ID, ctx.Err())
			case <-time.After(100 * time.Millisecond):
			}
		}
	}
	return nil
}

// MakeTopic makes the coordination topic, as somebody does who pauses before there is a manifest.
func (f *Fleet) MakeTopic(ctx context.Context) error {
	for _, command := range [][]string{{"pause"}, {"resume", "--yes"}} {
		if out, errOut, code := f.Agents[0].Command(ctx, command...); code != 0 {
			return fmt.Errorf("%s: exit %d: %s%s", command[0], code, out, errOut)
		}
	}
	return nil
}

// Close ends every agent.
func (f *Fleet) Close() {
	for _, a := range f.Agents {
		a.Kill()
	}
}

// Agent returns the agent of a broker.
func (f *Fleet) Agent(id int32) *Agent {
	i := slices.IndexFunc(f.Agents, func(a *Agent) bool { return a.ID == id })
	return f.Agents[i]
}

// WriteManifest puts the same manifest in place for every agent, by rename, as
// configuration management does.
func (f *Fleet) WriteManifest(text string) error {
	for _, a := range f.Agents {
		if err := a.WriteManifest(text); err != nil {
			return err
		}
	}
	return nil
}

// ManifestOptions vary the manifest of the published procedure's example.
type ManifestOptions struct {
	FirstPort    int    // advertised port of broker 1; 0 is 9093
	External2    bool   // a second listener
	Absent       string // a listener to be removed
	Soak         string // default 0s
	Extra        string // lines of YAML in the EXTERNAL block, indented by four
	Protocol     string // default PLAINTEXT
	BindPort     int    // default 39092
	LoadBalancer string // the load_balancer block in one line
	WithoutLast  bool   // leave the last broker out of the table
	Cluster      string // default sandbox
	// Zone gives a broker's zone; default: a zone of its own.
	Zone           func(broker int32) string
	MaxUnavailable int // default 1
}

// Manifest is the manifest of the published procedure's example for this cluster.
func (f *Fleet) Manifest(o ManifestOptions) string {
	def := func(v, d string) string {
		if v == "" {
			return d
		}
		return v
	}
	if o.FirstPort == 0 {
		o.FirstPort = 9093
	}
	if o.Zone == nil {
		o.Zone = func(id int32) string { return fmt.Sprint(id) }
	}
	if o.BindPort == 0 {
		o.BindPort = sandbox.ExternalPort
	}
	var b strings.Builder
	fmt.Fprintf(&b, "version: 1\ncluster: %s\nlisteners:\n", def(o.Cluster, "sandbox"))
	listener := func(name string, bind, probe int, extra string) {
		fmt.Fprintf(&b,
			"  %s:\n    bind: <host>:%d\n    security_protocol: %s\n    advertised: <broker_id>.%s:<port>\n    probe_port: %d\n%s",
			name, bind, def(o.Protocol, "PLAINTEXT"), Domain, probe, extra)
	}
	listener("EXTERNAL", o.BindPort, ProbePort, o.Extra)
	if o.External2 {
		listener("EXTERNAL2", sandbox.ExternalPort+1, Probe2Port, "")
	}
	b.WriteString("brokers:\n")
	for i, a := range f.Agents {
		if o.WithoutLast && i == len(f.Agents)-1 {
			continue
		}
		ports := fmt.Sprintf("EXTERNAL: %d", o.FirstPort+i)
		if o.External2 {
			ports += fmt.Sprintf(", EXTERNAL2: %d", 9193+i)
		}
		fmt.Fprintf(&b, "  %d: {ports: {%s}, zone: %q, host: %s}\n", a.ID, ports, o.Zone(a.ID), a.broker.Host)
	}
	if o.Absent != "" {
		fmt.Fprintf(&b, "absent: [%s]\n", o.Absent)
	}
	fmt.Fprintf(&b, "rollout:\n  soak: %s\n  max_unavailable: %d\n", def(o.Soak, "0s"), max(1, o.MaxUnavailable))
	if o.LoadBalancer != "" {
		fmt.Fprintf(&b, "load_balancer: %s\n", o.LoadBalancer)
	}
	return b.String()
}

// Report is what `kpls-agent status -o json` prints, as far as tests need it.
type Report struct {
	Cluster string `json:"cluster"`
	State   string `json:"state"`
	Halts   []struct {
		Broker int32  `json:"broker"`
		Why    string `json:"why"`
	} `json:"halts"`
	Claims []struct {
		Broker int32 `json:"broker"`
	} `json:"claims"`
	Active  []string `json:"active_listeners"`
	Foreign []string `json:"unreadable_records"`
	Ignored []string `json:"ignored_records"`
	Brokers []Row    `json:"brokers"`
}

// Row is one broker of a Report.
type Row struct {
	Broker   int32     `json:"broker"`
	Manifest string    `json:"manifest"`
	Phase    string    `json:"phase"`
	Since    time.Time `json:"since"`
	Reason   struct {
		Code string `json:"code"`
		Text string `json:"text"`
	} `json:"reason"`
	Drift         bool      `json:"drift"`
	Zone          string    `json:"zone"`
	Serving       []string  `json:"serving"`
	Open          []string  `json:"open"`
	Invocation    string    `json:"invocation"`
	ManifestFault string    `json:"manifest_fault"`
	Unprotected   []string  `json:"unprotected"`
	Storage       string    `json:"storage"`
	Seen          time.Time `json:"seen"`
	Silent        bool      `json:"silent"`
	Agent         string    `json:"agent"` // its version
	Ended         bool      `json:"ended"`
}

// Row returns the line of a broker; a broker that never reported has a zero one.
func (r Report) Row(id int32) Row {
	for _, b := range r.Brokers {
		if b.Broker == id {
			return b
		}
	}
	return Row{}
}

// All is true if there are n lines and f holds for each.
func (r Report) All(n int, f func(Row) bool) bool {
	return len(r.Brokers) == n && !slices.ContainsFunc(r.Brokers, func(b Row) bool { return !f(b) })
}

// Status asks the first agent's command.
func (f *Fleet) Status(ctx context.Context) (Report, error) {
	var r Report
	out, errOut, code := f.Agents[0].Command(ctx, "status", "-o", "json")
	if code != 0 {
		return r, fmt.Errorf("status exited with %d: %s", code, errOut)
	}
	return r, json.Unmarshal([]byte(out), &r)
}

// Wait asks for the status until ok holds. The error of a context that ended
// says what was seen last.
func (f *Fleet) Wait(ctx context.Context, what string, ok func(Report) bool) (Report, error) {
	for {
		r, err := f.Status(ctx)
		if err == nil && ok(r) {
			return r, nil
		}
		select {
		case <-ctx.Done():
			last, _, _ := f.Agents[0].Command(context.WithoutCancel(ctx), "status")
			return r, fmt.Errorf("wait until %s: %w; last seen:\n%s", what, errors.Join(ctx.Err(), err), last)
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// Agent is one agent's process and files.
type Agent struct {
	ID     int32
	bin    string
	broker *sandbox.Broker
	dir    string

	mu   sync.Mutex
	cmd  *exec.Cmd
	done chan struct{}
}

// Settings is the path of the agent's settings file.
func (a *Agent) Settings() string { return filepath.Join(a.dir, "kpls-agent.yaml") }

// Manifest is the path of this agent's manifest.
func (a *Agent) Manifest() string { return filepath.Join(a.dir, "manifest.yaml") }

// State is the agent's state directory.
func (a *Agent) State() string { return filepath.Join(a.dir, "state") }

// Log is the path of the agent's log.
func (a *Agent) Log() string { return filepath.Join(a.dir, "agent.log") }

// HTTP is the address of the agent's metrics.
func (a *Agent) HTTP() string { return a.broker.Addr(HTTPPort) }

// Probe is the address of the probe port of EXTERNAL.
func (a *Agent) Probe() string { return a.broker.Addr(ProbePort) }

// WriteManifest puts a manifest in place by rename.
func (a *Agent) WriteManifest(text string) error {
	tmp := a.Manifest() + ".new"
	if err := os.WriteFile(tmp, []byte(text), 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, a.Manifest())
}

// Install puts another build of the agent in place. An agent that runs stays what it is until it is started again.
func (a *Agent) Install(bin string) { a.bin = bin }

// Start starts the agent; env is added to its environment.
func (a *Agent) Start(_ context.Context, env ...string) error {
	log, err := os.OpenFile(a.Log(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	cmd := exec.Command(a.bin, "run", "--settings", a.Settings()) //nolint:noctx // it outlives the call; Kill ends it
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = append(os.Environ(), env...)
	// The agent must not outlive a test that is killed. The signal is tied to the
	// thread that forks, and Go keeps its threads.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return errors.Join(err, log.Close())
	}
	done := make(chan struct{})
	a.mu.Lock()
	a.cmd, a.done = cmd, done
	a.mu.Unlock()
	go func() {
		_ = cmd.Wait() // how it ended is in its log
		_ = log.Close()
		close(done)
	}()
	return nil
}

// Pid is the process id, 0 if it was never started.
func (a *Agent) Pid() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.cmd == nil {
		return 0
	}
	return a.cmd.Process.Pid
}

// Done is closed when the process has ended.
func (a *Agent) Done() <-chan struct{} {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.done
}

// Stopped is true while the process is stopped (SIGSTOP).
func (a *Agent) Stopped() bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", a.Pid()))
	_, state, _ := strings.Cut(string(stat), ") ") // behind the program's name
	return err == nil && strings.HasPrefix(state, "T")
}

// Continue lets a stopped agent go on.
func (a *Agent) Continue() error { return syscall.Kill(a.Pid(), syscall.SIGCONT) }

// Stuck ends an agent whose loop does not go round any more, by a signal on which it
// logs what each goroutine waits for, and is true if it did.
func (a *Agent) Stuck(ctx context.Context) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+a.HTTP()+"/healthz", nil)
	if err != nil {
		return false
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false // it has ended, which its log explains
	}
	_ = resp.Body.Close() // only the status matters
	if resp.StatusCode == http.StatusOK {
		return false
	}
	_ = syscall.Kill(a.Pid(), syscall.SIGQUIT) // an error means that it has ended
	<-a.Done()
	return true
}

// awake is true if the agent answers and is in another phase than unknown.
func (a *Agent) awake(ctx context.Context) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+a.HTTP()+"/metrics", nil)
	if err != nil {
		return false
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false // not yet
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return err == nil && bytes.Contains(body, []byte("\nkpls_agent_phase{phase=\"unknown\"} 0\n")) &&
		bytes.Contains(body, []byte("\nkpls_agent_reason{"))
}

// Kill ends the agent with SIGKILL.
func (a *Agent) Kill() {
	a.mu.Lock()
	cmd, done := a.cmd, a.done
	a.mu.Unlock()
	if cmd == nil {
		return
	}
	select {
	case <-done:
		return
	default:
	}
	_ = cmd.Process.Kill() // an error means that it has ended
	<-done
}

// Stop ends the agent as its service manager does, with SIGTERM, and returns when it has ended.
func (a *Agent) Stop() {
	_ = syscall.Kill(a.Pid(), syscall.SIGTERM) // an error means that it has ended
	<-a.Done()
}

// Command runs one of the agent's commands with its settings.
func (a *Agent) Command(ctx context.Context, args ...string) (stdout, stderr string, code int) {
	var out, errOut bytes.Buffer
	cmd := exec.CommandContext(ctx, a.bin, append(args, "--settings", a.Settings())...)
	cmd.Stdout, cmd.Stderr = &out, &errOut
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case err == nil:
	case errors.As(err, &exit):
		code = exit.ExitCode()
	default:
		return out.String(), err.Error(), -1
	}
	return out.String(), errOut.String(), code
}

// Answer runs a command on a terminal of its own and answers what it asks; output is all that the terminal shows.
func (a *Agent) Answer(ctx context.Context, answer string, args ...string) (output string, code int) {
	line := strings.Join(append([]string{a.bin}, append(args, "--settings", a.Settings())...), " ")
	cmd := exec.CommandContext(ctx, "script", "--quiet", "--return", "--flush", "--command", line, os.DevNull)
	cmd.Stdin = strings.NewReader(answer)
	out, err := cmd.CombinedOutput()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return string(out), exit.ExitCode()
	}
	if err != nil {
		return string(out) + err.Error(), -1
	}
	return string(out), 0
}

// Forget removes what the agent has kept; it must not be running.
func (a *Agent) Forget() {
	_ = os.RemoveAll(a.State()) // what is left shows up in the test
	_ = os.MkdirAll(a.State(), 0o750)
}
