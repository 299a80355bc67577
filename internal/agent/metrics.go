package agent

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"example.com/kpls-agent/internal/restart"
)

// Metrics are the collectors of a Loop. A nil *Metrics counts nothing.
type Metrics struct {
	phase      *prometheus.GaugeVec
	since      prometheus.Gauge
	blocked    *prometheus.GaugeVec
	vetoes     *prometheus.GaugeVec
	waits      *prometheus.GaugeVec
	up         prometheus.Gauge
	manifest   *prometheus.GaugeVec
	drift      prometheus.Gauge
	claims     prometheus.Gauge
	claimed    prometheus.Gauge
	paused     prometheus.Gauge
	halted     prometheus.Gauge
	pending    prometheus.Gauge
	refused    prometheus.Gauge
	unprot     prometheus.Gauge
	logRead    prometheus.Gauge
	failures   *prometheus.CounterVec
	restarts   *prometheus.CounterVec
	duration   prometheus.Histogram
	lastCode   restart.Code
	lastHash   string
	lastBroker string
	last       restart.Phase
}

// phases in the order of a restart: each has a series from the start.
var phases = []restart.Phase{
	restart.PhaseUnknown,
	restart.PhaseIdle,
	restart.PhaseUnmanaged,
	restart.PhaseRefused,
	restart.PhaseWaiting,
	restart.PhaseClaimed,
	restart.PhaseApplying,
	restart.PhaseRestarting,
	restart.PhaseStarting,
	restart.PhaseCatchingUp,
	restart.PhaseBalancer,
	restart.PhaseSoaking,
	restart.PhaseRollback,
	restart.PhaseFailed,
	restart.PhaseStopped,
}

// NewMetrics makes the collectors; names come without the kpls_agent_ prefix.
func NewMetrics() *Metrics {
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: help})
	}
	m := &Metrics{
		phase: prometheus.NewGaugeVec(
			prometheus.GaugeOpts{Name: "phase", Help: "1 for the phase this agent is in, 0 for the others."},
			[]string{"phase"}),
		since: gauge("phase_start_timestamp_seconds", "When the phase was entered, in seconds since the epoch."),
		blocked: prometheus.NewGaugeVec(
			prometheus.GaugeOpts{
				Name: "reason",
				Help: "1 for the reason this agent gives for what it does or does not do; docs/operations.md says what each means.",
			},
			[]string{"reason"},
		),
		vetoes: prometheus.NewGaugeVec(
			prometheus.GaugeOpts{
				Name: "veto",
				Help: "1 for each veto that stands in the way of a restart of this broker, whether it is to be restarted or not, 0 for the others; at most 5 s old. Gates that look at every partition are left out: the reason names them.",
			},
			[]string{"veto"},
		),
		waits: prometheus.NewGaugeVec(
			prometheus.GaugeOpts{
				Name: "waiting_for_broker",
				Help: "1 for the other broker that the reason is about; no series where it is about none.",
			},
			[]string{"broker"},
		),
		up: gauge("broker_up",
			"1 while the broker's process runs, as the service manager says; one that is being restarted counts."),
		manifest: prometheus.NewGaugeVec(
			prometheus.GaugeOpts{
				Name: "manifest_info",
				Help: "1, with the hash of the manifest in force, the first 12 digits; no series without a manifest.",
			},
			[]string{"hash"},
		),
		drift:   gauge("drift", "1 while the broker's process does not run what the manifest says."),
		claims:  gauge("claims", "Live claims in the coordination log, of all brokers."),
		claimed: gauge("claimed", "1 while this broker has a claim in the coordination log."),
		paused:  gauge("paused", "1 while roll-outs are paused."),
		halted:  gauge("halted", "1 while the roll-out of the manifest in force is halted."),
		pending: gauge("pending_brokers",
			"Brokers whose process does not run what the manifest says, as their agents report."),
		refused: gauge("manifest_refused", "1 while the manifest file is not in force: it has a fault, or it was there and is gone."),
		unprot: gauge("unprotected_topics",
			"Topics on this broker that no roll-out can protect, since they have no more replicas than min.insync.replicas; at most 10 are counted."),
		logRead: gauge("log_read_timestamp_seconds",
			"Everything appended to the coordination log before this time has been read, in seconds since the epoch."),
		failures: prometheus.NewCounterVec(
			prometheus.CounterOpts{
				Name: "failed_actions_total",
				Help: "Actions that did not succeed and are repeated.",
			},
			[]string{"action"},
		),
		restarts: prometheus.NewCounterVec(
			prometheus.CounterOpts{
				Name: "restarts_total",
				Help: "Restarts of the broker's unit that this agent asked for, by the service manager's answer.",
			},
			[]string{"result"},
		),
		duration: prometheus.NewHistogram(
			prometheus.HistogramOpts{
				Name:    "restart_duration_seconds",
				Help:    "Time from asking for a restart of the unit to the service manager's answer; mostly Kafka's controlled shutdown.",
				Buckets: []float64{1, 2, 5, 10, 20, 30, 60, 120, 300, 600},
			},
		),
	}
	for _, p := range phases {
		m.phase.WithLabelValues(string(p)).Set(0)
	}
	for _, k := range []restart.ActionKind{
		restart.ActAppend, restart.ActSave, restart.ActApply, restart.ActRestore, restart.ActRestart,
	} {
		m.failures.WithLabelValues(string(k))
	}
	m.restarts.WithLabelValues("done")
	m.restarts.WithLabelValues("failed")
	return m
}

// Collectors returns what is to be registered.
func (m *Metrics) Collectors() []prometheus.Collector {
	return []prometheus.Collector{
		m.phase,
		m.since,
		m.blocked,
		m.vetoes,
		m.waits,
		m.up,
		m.manifest,
		m.drift,
		m.claims,
		m.claimed,
		m.paused,
		m.halted,
		m.pending,
		m.refused,
		m.unprot,
		m.logRead,
		m.failures,
		m.restarts,
		m.duration,
	}
}

// standing notes which vetoes stand.
func (m *Metrics) standing(list []restart.Standing) {
	for _, v := range list {
		m.vetoes.WithLabelValues(v.Name).Set(flag(v.Reason != nil))
	}
}

func (m *Metrics) observe(st restart.Status, f restart.Facts) {
	if m == nil {
		return
	}
	if m.last != st.Phase {
		m.phase.WithLabelValues(string(m.last)).Set(0)
		if m.last == "" {
			m.phase.DeleteLabelValues("")
		}
		m.phase.WithLabelValues(string(st.Phase)).Set(1)
		m.last = st.Phase
	}
	if m.lastCode != st.Reason.Code {
		m.blocked.Reset()
		m.blocked.WithLabelValues(string(st.Reason.Code)).Set(1)
		m.lastCode = st.Reason.Code
	}
	broker := ""
	if st.Reason.Broker != nil {
		broker = strconv.Itoa(int(*st.Reason.Broker))
	}
	if m.lastBroker != broker {
		m.waits.Reset()
		if broker != "" {
			m.waits.WithLabelValues(broker).Set(1)
		}
		m.lastBroker = broker
	}
	if m.lastHash != st.Manifest {
		m.manifest.Reset()
		m.manifest.WithLabelValues(restart.Short(st.Manifest)).Set(1)
		m.lastHash = st.Manifest
	}
	m.since.Set(seconds(st.Since))
	m.up.Set(flag(st.Up))
	m.drift.Set(flag(st.Drift))
	v := f.Log.View
	_, _, claimed := v.Claim(st.Broker)
	_, halted := v.Halts[st.Manifest]
	pending := 0
	for _, o := range v.Statuses {
		if o.Drift {
			pending++
		}
	}
	m.claims.Set(float64(len(v.Claims)))
	m.claimed.Set(flag(claimed))
	m.paused.Set(flag(v.Pause != nil))
	m.halted.Set(flag(halted))
	m.pending.Set(float64(pending))
	m.refused.Set(flag(st.ManifestFault != ""))
	m.unprot.Set(float64(len(st.Unprotected)))
	m.logRead.Set(seconds(f.Log.At))
}

func (m *Metrics) failed(k restart.ActionKind) {
	if m != nil {
		m.failures.WithLabelValues(string(k)).Inc()
	}
}

func (m *Metrics) restarted(d time.Duration, err error) {
	if m == nil {
		return
	}
	result := "done"
	if err != nil {
		result = "failed"
	}
	m.restarts.WithLabelValues(result).Inc()
	m.duration.Observe(d.Seconds())
}

func seconds(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixMilli()) / 1000
}

func flag(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
