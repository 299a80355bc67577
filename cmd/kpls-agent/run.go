package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"syscall"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"example.com/kpls-agent/internal/config"
	"example.com/kpls-agent/internal/kafka"
	"example.com/kpls-agent/internal/probe"
	"example.com/kpls-agent/internal/restart"
	"example.com/kpls-agent/internal/unit"
)

func newRun(s *shared) *cobra.Command {
	return &cobra.Command{
		Use: "run", Short: "Run the agent (what the service does)", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			settings, err := LoadSettings(s.settingsPath)
			if err != nil {
				return invalid(err)
			}
			return run(cmd.Context(), settings, newLogger(settings, s.stderr))
		},
	}
}

func newLogger(s *Settings, w io.Writer) *slog.Logger {
	o := &slog.HandlerOptions{Level: s.LogLevel}
	if os.Getenv("JOURNAL_STREAM") != "" {
		o.ReplaceAttr = func(groups []string, a slog.Attr) slog.Attr {
			if len(groups) == 0 && a.Key == slog.TimeKey {
				return slog.Attr{} // the journal has the time
			}
			return a
		}
	}
	if s.LogJSON {
		return slog.New(slog.NewJSONHandler(w, o))
	}
	return slog.New(slog.NewTextHandler(w, o))
}

// run is the daemon. It returns nil when ctx has ended.
func run(ctx context.Context, s *Settings, log *slog.Logger) error {
	notifier, err := unit.NewNotifier()
	if err != nil {
		return err
	}
	n, err := awaitNode(ctx, s, func() { warn(log, "tell systemd", notifier.Watchdog()) }, func(why error) {
		log.Warn("idle until server.properties can be used", "err", why)
		warn(log, "tell systemd", notifier.Status("idle: "+why.Error()))
		warn(log, "tell systemd", notifier.Ready())
	})
	if err != nil {
		return nil // the agent was told to end
	}
	if err := os.MkdirAll(s.StateDir, 0o750); err != nil {
		return fmt.Errorf("make the state directory: %w; name another one as state_dir", err)
	}
	log = log.With("broker_id", n.BrokerID)
	log.Info("agent starts", "version", version, "server_properties", s.ServerProperties)
	st := newStore(s, n.BrokerID, log)
	st.update(os.ReadFile(s.Manifest))
	f, err := newFiles(s, n.BrokerID, st)
	if err != nil {
		return err
	}
	f.notes = newFileNotes(log.With("component", "file"))
	asked := kafka.NewMetrics()
	client, err := openKafka(s, n, log.With("component", "kafka"), func(o *kafka.Options) {
		o.Metrics, o.OnAddresses, o.Expect = asked, saveAddresses(s, log), st.brokers
	})
	if err != nil {
		return err
	}
	defer client.Close()
	u, runUnit, err := newUnit(s, log)
	if err != nil {
		return err
	}
	prober := probe.New(probe.Options{
		Interval: s.ProbeInterval, Logger: log.With("component", "probe"), Inherited: unit.StoredListeners(),
		OnListen: func(name string, l *net.TCPListener) { warn(log, "keep the probe socket", notifier.Store(name, l)) },
		OnClose:  func(name string) { warn(log, "give the probe socket up", notifier.Forget(name)) },
	})
	t := newTargets(prober, st, n, s, log, asked)
	t.update()
	c := &cluster{client: client, store: st, id: n.BrokerID, storage: s.Storage, whose: whose{settings: s, node: n}, learned: func(p process) {
		f.learned(p)
		t.learned(p.listeners)
	}}
	metrics := restart.NewMetrics()
	unserved, wrong := newBindFailures(), &notes{}
	reg, err := newRegistry(buildInfo(), metrics.Collectors(), f.notes.Collectors(), prober.Collectors(), asked.Collectors(), []prometheus.Collector{unserved})
	if err != nil {
		return err
	}
	beating := &pulse{}
	beating.beat()
	manifest, settled := make(chan struct{}, 1), make(chan struct{})
	loop := restart.NewLoop(restart.LoopOptions{
		Machine: restart.Options{Self: n.BrokerID, Agent: version, StartTimeout: s.Start, ProgressTimeout: s.Progress, Takeover: s.Takeover, Nonce: nonce},
		Journal: f.journal, Log: client.Log(), Cluster: c, Unit: u, Files: f, Probes: prober, Manifest: manifest,
		Logger: log.With("component", "restart"), Metrics: metrics, Crash: crashPoint(),
		Beat: newBeat(beating, wrong, notifier, log), Settled: func() { close(settled) },
	})
	watcher := config.NewWatcher(s.Manifest, log.With("component", "manifest"))

	g, ctx := errgroup.WithContext(ctx)
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
	part("log", client.Log().Run)
	part("unit", runUnit)
	part("probe", prober.Run)
	part("loop", loop.Run)
	part("watch", watcher.Run)
	part("http", (&web{
		addr: s.HTTPListen, reg: reg, ready: prober.Handler(), pulse: beating, notes: wrong, failed: unserved, log: log.With("component", "http"),
	}).serve)
	part("manifest", func(ctx context.Context) error {
		follow(ctx, watcher, st, func() {
			t.update()
			select {
			case manifest <- struct{}{}:
			default:
			}
		}, notifier, log)
		return nil
	})
	g.Go(func() error { preflight(ctx, s, n, client, log); return nil })
	part("ready", func(ctx context.Context) error {
		announce(ctx, settled, notifier.Ready, log)
		return nil
	})
	err = g.Wait()
	warn(log, "tell systemd", notifier.Stopping())
	if errors.Is(err, context.Canceled) {
		err = nil
	}
	log.Info("agent ends", "err", err)
	return err
}

// follow takes manifests over as they come, and looks again on SIGHUP.
func follow(ctx context.Context, w *config.Watcher, st *store, changed func(), notifier *unit.Notifier, log *slog.Logger) {
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	for {
		select {
		case <-ctx.Done():
			return
		case <-hup:
			warn(log, "tell systemd", notifier.Reloading())
			if st.update(os.ReadFile(st.settings.Manifest)) {
				changed()
			}
			warn(log, "tell systemd", notifier.Ready())
		case <-w.Changed():
			if st.update(w.Read()) {
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

// newUnit is the broker's service, and what keeps watching it.
func newUnit(s *Settings, log *slog.Logger) (restart.Unit, func(context.Context) error, error) {
	if len(s.Commands.Restart) > 0 {
		c, err := unit.NewCommands(unit.CommandsOptions{Restart: s.Commands.Restart, Status: s.Commands.Status, Output: os.Stderr})
		if err != nil {
			return nil, nil, err
		}
		return c, c.Run, nil
	}
	d := unit.NewSystemd(unit.SystemdOptions{
		Unit: s.Unit, Logger: log.With("component", "unit"), Broker: func() unit.Broker { return unitBroker(s) },
		Seen: func() *unit.Seen { return readSeen(seenPath) },
	})
	return d, d.Run, nil
}
