package kafka_test

import (
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"example.com/kpls-agent/internal/kafka"
	"example.com/kpls-agent/test/patience"
)

// Requests are counted on every way to Kafka: the shared client's, the own
// connection to the broker, and a listener's check.
func TestRequestsAreCounted(t *testing.T) {
	c := newCluster(t, 1)
	host, port := hostPort(t, c.ListenAddrs()[0])
	m := kafka.NewMetrics()
	reg := prometheus.NewPedanticRegistry()
	for _, col := range m.Collectors() {
		reg.MustRegister(col)
	}
	count := func(api string) float64 {
		t.Helper()
		families, err := reg.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			for _, series := range f.GetMetric() {
				if f.GetName() == "kafka_requests_total" && series.GetLabel()[0].GetValue() == api {
					return series.GetCounter().GetValue()
				}
			}
		}
		return 0
	}

	check := kafka.ListenerCheck{Addr: c.ListenAddrs()[0], Broker: 0, AdvertisedHost: host, AdvertisedPort: port, Metrics: m}
	if err := kafka.CheckListener(within(t), check); err != nil {
		t.Fatal(err)
	}
	if a, b := count("ApiVersions"), count("Metadata"); a != 1 || b != 1 {
		t.Errorf("a check sent %v ApiVersions and %v Metadata", a, b)
	}
	cl := open(t, c, func(o *kafka.Options) { o.Metrics = m })
	if _, err := cl.BrokerConfig(within(t)); err != nil {
		t.Fatal(err)
	}
	if n := count("DescribeConfigs"); n != 1 {
		t.Errorf("a question to the own broker sent %v DescribeConfigs", n)
	}
	runNeeded(t, cl)
	patience.Until(t, "the client's requests are counted", func() bool { return count("Fetch") > 0 && count("ListOffsets") > 0 })
	if problems, err := testutil.GatherAndLint(reg); err != nil || len(problems) > 0 {
		t.Errorf("lint: %v %v", problems, err)
	}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, series := range f.GetMetric() {
			if api := series.GetLabel()[0].GetValue(); strings.Contains(api, "Unknown") {
				t.Errorf("an API without a name: %s", api)
			}
		}
	}
}
