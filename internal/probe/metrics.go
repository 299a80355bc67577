package probe

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// The results of a check.
const (
	resultOK      = "ok"
	resultFailed  = "failed"
	resultRefused = "refused"
	resultUnknown = "unknown"
)

// The changes that are counted: of the port, and of the judgement.
const (
	toOpen  = "open"
	toClose = "close"
	toUp    = "up"
	toDown  = "down"
)

type metrics struct {
	allowed, open, serving, bindFailed *prometheus.GaugeVec
	lastAnswered, lastSpoken, former   *prometheus.GaugeVec
	answered, transitions, checks      *prometheus.CounterVec
	duration                           *prometheus.HistogramVec
}

func newMetrics() *metrics {
	gauge := func(name, help string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, []string{"listener"})
	}
	spoken := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "probe_spoken_timestamp_seconds",
		Help: "When somebody was last seen to speak HTTP, TLS or Kafka's protocol to the probe port, which answers " +
			"nothing, in seconds since the epoch; 0 while nobody was. One connection a minute is looked at.",
	}, []string{"listener", "protocol"})
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help},
			append([]string{"listener"}, labels...))
	}
	return &metrics{
		allowed: gauge("probe_allowed",
			"1 while the listener is activated on all brokers, so its probe port may be open."),
		open:    gauge("probe_open", "1 while the listener's probe port is open."),
		serving: gauge("probe_serving", "1 while this broker is judged to serve the listener."),
		bindFailed: gauge("probe_bind_failed",
			"1 while the probe port should be open and cannot be, such as when another process holds it."),
		former: gauge("probe_former_port",
			"The probe port before the manifest moved it, which is answered as well until a probe has come to the new one; 0 while there is none."),
		answered: counter("probe_answered_total", "Probes answered, over TCP and HTTP."),
		lastAnswered: gauge("probe_last_answered_timestamp_seconds",
			"When the last probe was answered, over TCP or HTTP, in seconds since the epoch; 0 while this agent process has answered none."),
		lastSpoken: spoken,
		transitions: counter("probe_transitions_total",
			"Changes of the probe port (open, close) and of the judgement behind it (up, down).", "to"),
		checks: counter("probe_checks_total", "Judgements of the listener, by result.", "result"),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "probe_check_duration_seconds", Help: "Time the checks of the listener took.",
			Buckets: []float64{.001, .003, .01, .03, .1, .3, 1},
		}, []string{"listener"}),
	}
}

// Collectors returns what the Prober measures, without a prefix.
func (p *Prober) Collectors() []prometheus.Collector {
	m := p.metrics
	return []prometheus.Collector{
		m.allowed, m.open, m.serving, m.bindFailed, m.former, m.answered, m.lastAnswered, m.lastSpoken, m.transitions,
		m.checks, m.duration,
	}
}

// introduce makes every series of a listener exist.
func (m *metrics) introduce(listener string) {
	m.allowed.WithLabelValues(listener)
	m.open.WithLabelValues(listener)
	m.serving.WithLabelValues(listener)
	m.bindFailed.WithLabelValues(listener)
	m.former.WithLabelValues(listener)
	m.answered.WithLabelValues(listener)
	m.lastAnswered.WithLabelValues(listener)
	for _, p := range Protocols() {
		m.lastSpoken.WithLabelValues(listener, string(p))
	}
	for _, to := range []string{toOpen, toClose, toUp, toDown} {
		m.transitions.WithLabelValues(listener, to)
	}
	m.duration.WithLabelValues(listener)
	for _, result := range []string{resultOK, resultFailed, resultRefused, resultUnknown} {
		m.checks.WithLabelValues(listener, result)
	}
}

func (m *metrics) forget(listener string) {
	of := prometheus.Labels{"listener": listener}
	for _, v := range []interface {
		DeletePartialMatch(prometheus.Labels) int
	}{
		m.allowed, m.open, m.serving, m.bindFailed, m.former, m.answered, m.lastAnswered, m.lastSpoken, m.transitions,
		m.checks, m.duration,
	} {
		v.DeletePartialMatch(of)
	}
}

func (m *metrics) arrived(listener string, at time.Time) {
	m.answered.WithLabelValues(listener).Inc()
	m.lastAnswered.WithLabelValues(listener).Set(float64(at.UnixMilli()) / 1e3)
}

func (m *metrics) spoken(listener string, p Protocol, at time.Time) {
	m.lastSpoken.WithLabelValues(listener, string(p)).Set(float64(at.UnixMilli()) / 1e3)
}

func (m *metrics) judged(listener string, v verdict) {
	m.checks.WithLabelValues(listener, v.result).Inc()
	if v.took > 0 {
		m.duration.WithLabelValues(listener).Observe(v.took.Seconds())
	}
}

// set shows the state; was is the one shown before.
func (m *metrics) set(listener string, was, now transition) {
	m.allowed.WithLabelValues(listener).Set(number(now.allowed))
	m.open.WithLabelValues(listener).Set(number(now.open))
	m.serving.WithLabelValues(listener).Set(number(now.serving))
	m.bindFailed.WithLabelValues(listener).Set(number(now.fault != ""))
	m.former.WithLabelValues(listener).Set(float64(now.former))
	if now.open != was.open {
		m.transitions.WithLabelValues(listener, pick(now.open, toOpen, toClose)).Inc()
	}
	if now.serving != was.serving {
		m.transitions.WithLabelValues(listener, pick(now.serving, toUp, toDown)).Inc()
	}
}

func pick(cond bool, yes, no string) string {
	if cond {
		return yes
	}
	return no
}

func number(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
