package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"syscall"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"example.com/kpls-agent/internal/agent"
	"example.com/kpls-agent/internal/check"
	"example.com/kpls-agent/internal/config"
	"example.com/kpls-agent/internal/host"
	"example.com/kpls-agent/internal/kafka"
	"example.com/kpls-agent/internal/probe"
	"example.com/kpls-agent/internal/restart"
	"example.com/kpls-agent/internal/settings"
	"example.com/kpls-agent/internal/unit"
	"example.com/kpls-agent/internal/wait"
)

// newSettingsRefused shows whether older settings are in force.
func newSettingsRefused(refused bool) prometheus.Collector {
	g := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "settings_refused",
		Help: "1 while the settings file cannot be used, and the last good settings are in force.",
	})
	if refused {
		g.Set(1)
	}
	return g
}

// errCorrected ends an agent that worked with older settings: the next agent process has the new ones.
var errCorrected = errors.New("the settings are corrected")

// Options are what the daemon is started with.
type Options struct {
	Settings *settings.InForce
	// Kept is the service's own directory, empty without systemd (settings.KeptDir).
	Kept    string
	Version string // of the agent
	// Nonce returns a string that no earlier call in any process has returned.
	Nonce func() string
	Log   *slog.Logger
}

// Run is the daemon. It returns nil when ctx has ended, or to be started again with
// corrected settings.
func Run(ctx context.Context, o Options) error {
	force, log := o.Settings, o.Log
	s := force.Settings
	notifier, err := unit.NewNotifier()
	if err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	wrong := &notes{}
	if text := force.Note(); text != "" {
		log.Error("the settings cannot be used; the last good ones stay in force", "err", force.Fault())
		wrong.set(noteSettings, text)
		watcher := config.NewWatcher(force.Path(), log.With("component", "settings"))
		g.Go(func() error { return watcher.Run(ctx) })
		g.Go(func() error {
			if force.Corrected(ctx, watcher, log) {
				return errCorrected
			}
			return nil
		})
	}
	var prober *probe.Prober
	startProber := func(log *slog.Logger) {
		prober = probe.New(probe.Options{
			Interval: s.ProbeInterval, Logger: log.With("component", "probe"), Inherited: unit.StoredListeners(),
			OnListen: func(name string, l *net.TCPListener) {
				warn(log, "keep the probe socket",
					notifier.Store(name, l))
			},
			OnClose: func(name string) { warn(log, "give the probe socket up", notifier.Forget(name)) },
		})
		g.Go(func() error { return prober.Run(ctx) })
	}
	n, err := awaitFiles(ctx, s, func() { warn(log, "tell systemd", notifier.Watchdog()) }, func(why error) {
		log.Warn("waiting until these files can be used", "err", why)
		warn(log, "tell systemd", notifier.Status("waiting until a file can be used: "+config.OneLine(why)))
		warn(log, "tell systemd", notifier.Ready())
		if prober == nil {
			startProber(log) // what an earlier agent process left open stands for its time, and not for ever
		}
	})
	if err != nil {
		return ended(g.Wait(), notifier, log) // the agent was told to end
	}
	if err := os.MkdirAll(s.StateDir, 0o750); err != nil {
		return fmt.Errorf("make the state directory: %w; name another one as state_dir", err)
	}
	log = log.With("broker_id", n.BrokerID)
	log.Info("agent starts", "version", o.Version, "server_properties", s.ServerProperties)
	st := host.OpenStore(s, log)
	st.Reload()
	f, err := host.OpenFiles(s, n.BrokerID, st)
	if err != nil {
		return err
	}
	f.SettingsNote = force.Note()
	f.Notes = host.NewNotes(log.With("component", "file"))
	asked := kafka.NewMetrics()
	client, err := host.Dial(s, n, log.With("component", "kafka"), func(o *kafka.Options) {
		o.Metrics, o.OnAddresses, o.Expect = asked, host.SaveAddresses(s, log), st.Brokers
		o.Makes = func() bool { m, _ := st.Get(); return m != nil }
	})
	if err != nil {
		return err
	}
	defer client.Close()
	u, runUnit, err := host.NewUnit(s, log)
	if err != nil {
		return err
	}
	f.HeardBy(ctx, u)
	if prober == nil {
		startProber(log)
	}
	t := newTargets(prober, st, n, s, log, asked)
	t.update()
	c := ownBroker{Cluster: host.NewCluster(s, n, st, client), portTaken: f.PortTaken, learned: func(p host.Process) {
		f.Learned(p)
		t.learned(p.Listeners)
	}}
	metrics := agent.NewMetrics()
	unserved, halfOpen := newBindFailures(), newHalfOpen()
	reg, err := newRegistry(buildInfo(o.Version), metrics.Collectors(), f.Notes.Collectors(), prober.Collectors(),
		asked.Collectors(), []prometheus.Collector{unserved, halfOpen, newSettingsRefused(force.Fault() != "")})
	if err != nil {
		return err
	}
	beating := &pulse{}
	beating.beat()
	manifest, settled := make(chan struct{}, 1), make(chan struct{})
	loop := agent.NewLoop(agent.LoopOptions{
		Agent: agent.Options{
			Options: restart.Options{
				Self: n.BrokerID, Agent: o.Version, Level: config.ManifestLevel, StartTimeout: s.Start,
				ProgressTimeout: s.Progress, Takeover: s.Takeover,
			},
			Nonce: o.Nonce,
		},
		Journal: f.Journal(), Log: client.Log(), Cluster: c, Unit: u, Files: f, Probes: prober, Manifest: manifest,
		Logger: log.With("component", "restart"), Metrics: metrics, Crash: crashPoint(),
		Beat: newBeat(beating, wrong, notifier, log), Settled: func() { close(settled) },
	})
	kafkaJudge := host.NewJudge(s, u, log.With("component", "judge"), func() { wait.Wake(manifest) })
	if kafkaJudge != nil {
		f.JudgedBy(kafkaJudge)
	}
	watcher := config.NewWatcher(s.Manifest, log.With("component", "manifest"))
	warn(log, "keep the settings", force.Keep(o.Kept))

	part := func(name string, run func(context.Context) error) {
		g.Go(func() error {
			if err := run(ctx); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			if ctx.Err() == nil {
				return fmt.Errorf("%s ended by itself", name)
			}
			return nil
		})
	}
	// The log is read until the loop has written its last record.
	reading, stopReading := context.WithCancel(context.WithoutCancel(ctx))
	part("log", func(context.Context) error { return client.Log().Run(reading) })
	part("unit", runUnit)
	if kafkaJudge != nil {
		part("judge", kafkaJudge.Run)
	}
	part("loop", func(ctx context.Context) error {
		defer stopReading()
		return loop.Run(ctx)
	})
	part("watch", watcher.Run)
	part("http", (&web{
		addr: s.HTTPListen, reg: reg, ready: prober.Handler(), pulse: beating, notes: wrong, failed: unserved,
		log: log.With("component", "http"),
	}).serve)
	part("manifest", func(ctx context.Context) error {
		follow(ctx, watcher, st, func() {
			t.update()
			client.Log().Look() // with a manifest, the coordination topic is made
			wait.Wake(manifest)
		}, notifier, log)
		return nil
	})
	g.Go(func() error { c.learn(ctx); return nil })
	g.Go(func() error { watchHalfOpen(ctx, halfOpen, halfOpenEvery, log); return nil })
	g.Go(func() error { check.Preflight(ctx, s, n, client, log); return nil })
	part("ready", func(ctx context.Context) error {
		announce(ctx, settled, notifier.Ready, log)
		return nil
	})
	return ended(g.Wait(), notifier, log)
}

// ended tells the end, and is nil for one that was asked for.
func ended(err error, notifier *unit.Notifier, log *slog.Logger) error {
	warn(log, "tell systemd", notifier.Stopping())
	switch {
	case errors.Is(err, errCorrected):
		log.Info("the settings are corrected; the agent starts again with them")
		return nil
	case errors.Is(err, context.Canceled):
		err = nil
	}
	if err != nil {
		log.Error("agent ends", "err", err)
	} else {
		log.Info("agent ends")
	}
	return err
}

// follow takes manifests over as they come, and looks again on SIGHUP.
func follow(
	ctx context.Context, w *config.Watcher, st *host.Store, changed func(), notifier *unit.Notifier, log *slog.Logger,
) {
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	for {
		select {
		case <-ctx.Done():
			return
		case <-hup:
			warn(log, "tell systemd", notifier.Reloading())
			if st.Reload() {
				changed()
			}
			warn(log, "tell systemd", notifier.Ready())
		case <-w.Changed():
			if st.Update(w.Read()) {
				changed()
			}
		}
	}
}

func warn(log *slog.Logger, doing string, err error) {
	if err != nil {
		log.Warn("could not "+doing, "err", err) //nolint:sloglint // the few constants are at the callers
	}
}
