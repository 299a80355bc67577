package probe

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	open, serving *prometheus.GaugeVec
	answers       *prometheus.CounterVec
	transitions   *prometheus.CounterVec
	duration      *prometheus.HistogramVec
}

func newMetrics() *metrics {
	label := []string{"listener"}
	return &metrics{
		open:        prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "probe_open", Help: "1 while the listener's probe port is open, so that the load balancer sends clients."}, label),
		serving:     prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "probe_serving", Help: "1 while the broker serves the listener, as this agent judges."}, label),
		answers:     prometheus.NewCounterVec(prometheus.CounterOpts{Name: "probe_answered_total", Help: "Probes of the load balancer that found the port open."}, label),
		transitions: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "probe_transitions_total", Help: "Changes of the judgement (up, down) and of the port (open, close)."}, []string{"listener", "to"}),
		duration:    prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "probe_check_duration_seconds", Help: "Time that one protocol-level check of the listener took.", Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2}}, label),
	}
}

// Collectors returns what is to be registered; names come without the kpls_agent_ prefix.
func (p *Prober) Collectors() []prometheus.Collector {
	m := p.metrics
	return []prometheus.Collector{m.open, m.serving, m.answers, m.transitions, m.duration}
}

func (m *metrics) set(name string, serving, open bool) {
	value := map[bool]float64{true: 1}
	m.open.WithLabelValues(name).Set(value[open])
	m.serving.WithLabelValues(name).Set(value[serving])
}

func (m *metrics) forget(name string) {
	for _, v := range []*prometheus.MetricVec{m.open.MetricVec, m.serving.MetricVec, m.answers.MetricVec, m.transitions.MetricVec, m.duration.MetricVec} {
		v.DeletePartialMatch(prometheus.Labels{"listener": name})
	}
}

func (m *metrics) answered(name string)       { m.answers.WithLabelValues(name).Inc() }
func (m *metrics) transition(name, to string) { m.transitions.WithLabelValues(name, to).Inc() }
func (m *metrics) checked(n string, d time.Duration) {
	m.duration.WithLabelValues(n).Observe(d.Seconds())
}
