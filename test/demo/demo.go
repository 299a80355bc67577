package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"example.com/kpls-agent/test/fleet"
	"example.com/kpls-agent/test/sandbox"
	"example.com/kpls-agent/test/sandbox/supervise"
)

const (
	listener  = "EXTERNAL"
	topic     = "orders"
	soak      = 3 * time.Second
	warmUp    = 3 * time.Second
	firstPort = 9093
	// patience ends a part that hangs, on a machine however slow.
	patience = 10 * time.Minute
)

// demo is what runs.
type demo struct {
	*screen
	cluster  *sandbox.Cluster
	fleet    *fleet.Fleet
	balancer *sandbox.Forwarder
	host     string // the load balancer's address
	load     *sandbox.Load
	watch    *sandbox.Watcher
}

// show runs the whole demo, and removes everything before it returns.
func show(ctx context.Context, s *screen) (err error) {
	s.say("Kafka %s: fetching it from Maven Central, unless it is here already", sandbox.Version())
	if _, err := sandbox.Libs(ctx, sandbox.Version()); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "kpls-demo-*")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	s.say("building the agent")
	bin, err := fleet.Build(ctx, dir)
	if err != nil {
		return err
	}
	s.say("starting three brokers without %s", listener)
	d := &demo{screen: s}
	if d.cluster, err = sandbox.New(ctx, sandbox.Options{}); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.close()) }()
	if err := d.cluster.Start(ctx); err != nil {
		return err
	}
	if err := d.cluster.CreateTopic(ctx, topic, 12, 3, map[string]string{"min.insync.replicas": "2"}); err != nil {
		return err
	}
	if d.fleet, err = fleet.New(d.cluster, bin, dir); err != nil {
		return err
	}
	return d.underLoad(ctx, dir)
}

// close ends the agents and the brokers.
func (d *demo) close() error {
	var errs []error
	if d.fleet != nil {
		d.fleet.Close()
	}
	for _, b := range d.cluster.Brokers {
		// An agent's restart command may have outlived it: without an owner no broker is started any more.
		errs = append(errs, supervise.WriteSpec(b.Dir, supervise.Spec{}))
	}
	return errors.Join(append(errs, d.cluster.Close())...)
}

// underLoad runs the load balancer, the clients and the agents, and holds all to account.
func (d *demo) underLoad(ctx context.Context, dir string) error {
	ctx, stop := context.WithCancelCause(ctx)
	d.host = d.cluster.Host(100)
	d.say("starting a stand-in for the load balancer on %s, and three agents", d.host)
	d.balancer = sandbox.NewForwarder(sandbox.ForwarderOptions{Fronts: d.fronts(), Interval: time.Second})
	d.watch = sandbox.NewWatcher(d.cluster, sandbox.FineWatch)
	d.load = d.newLoad()
	var background sync.WaitGroup
	background.Go(func() {
		if err := d.balancer.Run(ctx); err != nil {
			stop(fmt.Errorf("run the stand-in of the load balancer: %w", err))
		}
	})
	background.Go(func() { d.watch.Run(ctx) })
	defer func() { stop(nil); background.Wait() }()
	if err := d.fleet.Start(ctx); err != nil {
		return err
	}
	if err := d.fleet.Awake(ctx); err != nil {
		return err
	}
	account, endLoad, err := d.startLoad(ctx)
	if err != nil {
		return err
	}
	defer endLoad()
	report, verified, err := d.manifests(ctx, dir)
	if err != nil {
		return err
	}
	endLoad()
	select {
	case a := <-account:
		d.say("the figures")
		d.print(report + loadTable(a.Figures))
		return errors.Join(a.err, verified, judge(a.Figures))
	case <-ctx.Done(): // the brokers go now, so the load will never have its account
		return context.Cause(ctx)
	}
}

// account is what a load's run ended with.
type account struct {
	sandbox.Figures
	err error
}

// startLoad starts the producer and the consumer. The account comes once the
// returned function is called.
func (d *demo) startLoad(ctx context.Context) (<-chan account, context.CancelFunc, error) {
	d.say("starting a producer with acks=all and a consumer")
	// A load of its own takes the stalls of a cluster's first minute.
	warm, cancel := context.WithTimeout(ctx, warmUp)
	defer cancel()
	select {
	case a := <-start(warm, d.newLoad()):
		if a.err != nil {
			return nil, nil, a.err
		}
	case <-ctx.Done():
		return nil, nil, context.Cause(ctx)
	}
	ctx, end := context.WithCancel(ctx)
	return start(ctx, d.load), end, nil
}

// start runs a load until ctx ends and everything is read.
func start(ctx context.Context, load *sandbox.Load) <-chan account {
	done := make(chan account, 1)
	go func() {
		f, err := load.Run(ctx)
		done <- account{f, err}
	}()
	return done
}

func (d *demo) newLoad() *sandbox.Load {
	return sandbox.NewLoad(sandbox.LoadOptions{Bootstrap: d.cluster.Bootstrap(), Topic: topic, Partitions: 12})
}

// manifests plays the three manifests, and returns the figures of the first and
// what verify found.
func (d *demo) manifests(ctx context.Context, dir string) (report string, verified, err error) {
	good := d.fleet.Manifest(fleet.ManifestOptions{Soak: soak.String()})
	d.say("the manifest with %s is written; nobody touches anything from here on", listener)
	written := time.Now()
	r, err := d.give(ctx, "rolling "+listener+" out", good, d.allOpen(good))
	if err != nil {
		return "", nil, err
	}
	restarts, err := d.watch.Restarts()
	if err != nil {
		return "", nil, err
	}
	if report, err = rollOutTable(restarts, written, released(r)); err != nil {
		return "", nil, err
	}
	bad, err := d.badManifest(dir)
	if err != nil {
		return "", nil, err
	}
	d.say("a bad manifest is written: %s by TLS, with a key store that is none. The agents here have no judge (commands.judge), "+
		"so the restart of one broker has to tell", listener)
	h, err := d.give(ctx, "a bad manifest", bad, halted(bad))
	if err != nil {
		return "", nil, err
	}
	for _, halt := range h.Halts {
		d.say("halted by broker %d: %s", halt.Broker, halt.Why)
	}
	hurt := touched(r, h)
	d.say("restarted for it and rolled back: %s", strings.Join(hurt, ", "))
	if len(hurt) != 1 {
		return "", nil, fmt.Errorf("the bad manifest restarted %d brokers, expected one", len(hurt))
	}
	d.say("the good manifest is written again")
	if _, err := d.give(ctx, "back to the good manifest", good, d.allOpen(good)); err != nil {
		return "", nil, err
	}
	addr := net.JoinHostPort(d.host, strconv.Itoa(firstPort))
	d.say(
		"as a customer sees it, through the load balancer: kpls-agent verify --listener %s --bootstrap %s --map '*.%s=%s'",
		listener, addr, fleet.Domain, d.host)
	out, errOut, code := d.fleet.Agents[0].Command(ctx, "verify", "--listener", listener, "--bootstrap", addr, "--map",
		"*."+fleet.Domain+"="+d.host)
	d.print(out + errOut)
	if code != 0 {
		verified = fmt.Errorf("verify exited with %d", code)
	}
	return report, verified, nil
}

func (d *demo) fronts() []sandbox.Front {
	var fronts []sandbox.Front
	for i, b := range d.cluster.Brokers {
		fronts = append(fronts, sandbox.Front{
			Listen:  net.JoinHostPort(d.host, strconv.Itoa(firstPort+i)),
			Backend: b.Addr(sandbox.ExternalPort),
			Probe:   b.Addr(fleet.ProbePort),
		})
	}
	return fronts
}

// badManifest is one that only the restart proves wrong, since these agents have no judge.
func (d *demo) badManifest(dir string) (string, error) {
	file := filepath.Join(dir, "keystore.jks")
	extra := fmt.Sprintf("    properties: {ssl.keystore.location: %s, ssl.keystore.password: x, ssl.key.password: x}\n",
		file)
	return d.fleet.Manifest(
		fleet.ManifestOptions{Soak: soak.String(), Protocol: "SSL", Extra: extra},
	), os.WriteFile(file, []byte("no key store"), 0o600)
}

// give writes a manifest and shows what comes of it until ok holds.
func (d *demo) give(ctx context.Context, title, manifest string, ok func(fleet.Report) bool) (fleet.Report, error) {
	if err := d.fleet.WriteManifest(manifest); err != nil {
		return fleet.Report{}, err
	}
	return d.follow(ctx, title, ok)
}

// allOpen holds once every broker runs a manifest and the load balancer sends clients to it.
func (d *demo) allOpen(manifest string) func(fleet.Report) bool {
	hash := hashOf(manifest)
	return func(r fleet.Report) bool {
		for i := range d.fleet.Agents {
			if !d.balancer.Up(i) {
				return false
			}
		}
		return r.State == "idle" && r.All(len(d.fleet.Agents), func(row fleet.Row) bool {
			return row.Manifest == hash && row.Phase == "idle" && !row.Drift && slices.Contains(row.Open, listener)
		})
	}
}

// halted holds once every broker has stopped for a manifest.
func halted(manifest string) func(fleet.Report) bool {
	hash := hashOf(manifest)
	return func(r fleet.Report) bool {
		return r.State == "halted" && len(r.Claims) == 0 && r.All(len(r.Brokers), func(row fleet.Row) bool {
			return row.Manifest == hash && row.Reason.Code == "halted"
		})
	}
}

// released is when the last broker had nothing to do any more.
func released(r fleet.Report) time.Time {
	var at time.Time
	for _, row := range r.Brokers {
		if row.Since.After(at) {
			at = row.Since
		}
	}
	return at
}

// touched are the brokers whose process is another one than before.
func touched(before, after fleet.Report) []string {
	var list []string
	for _, row := range after.Brokers {
		if row.Invocation != before.Row(row.Broker).Invocation {
			list = append(list, fmt.Sprintf("broker %d", row.Broker))
		}
	}
	return list
}

func hashOf(manifest string) string {
	sum := sha256.Sum256([]byte(manifest))
	return hex.EncodeToString(sum[:])
}
