package kafka

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Metrics counts what Clients and Checkers ask of Kafka. A nil *Metrics counts nothing.
type Metrics struct{ requests *prometheus.CounterVec }

var _ kgo.HookBrokerWrite = (*Metrics)(nil)

// NewMetrics makes the collectors; names come without the kpls_agent_ prefix.
func NewMetrics() *Metrics {
	return &Metrics{prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "kafka_requests_total",
		Help: "Requests sent to Kafka brokers, also those of the probe's checks, by Kafka's name of the API.",
	}, []string{"api"})}
}

// Collectors returns what is to be registered.
func (m *Metrics) Collectors() []prometheus.Collector { return []prometheus.Collector{m.requests} }

// OnBrokerWrite implements kgo.HookBrokerWrite.
func (m *Metrics) OnBrokerWrite(_ kgo.BrokerMetadata, key int16, _ int, _, _ time.Duration, _ error) {
	m.sent(key)
}

// sent counts a request by its API key.
func (m *Metrics) sent(key int16) {
	if m != nil {
		m.requests.WithLabelValues(kmsg.NameForKey(key)).Inc()
	}
}
