package kafka_test

import (
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// TestStrictISR: what several brokers say of min.insync.replicas. The fake has no synonyms;
// the answers are shaped as those of 4.4.0 in internal/check/testdata/answers, and
// TestDynamicSettings (test/e2e) compares the facts with a real broker's.
func TestStrictISR(t *testing.T) {
	const topic, dynamicBroker, dynamicDefault, static, fallback = 1, 2, 3, 4, 5
	type value struct {
		value  string
		source kmsg.ConfigSource
	}
	for _, tt := range []struct {
		name    string
		brokers [3][]value // the one that wins first
		inForce string     // of orders, which has no value of its own; audit has 1
		want    map[string]int
	}{
		{"Kafka's own", [3][]value{{{"1", fallback}}, {{"1", fallback}}, {{"1", fallback}}}, "1", nil},
		{
			"in force everywhere",
			[3][]value{{{"2", dynamicDefault}, {"1", fallback}}, {{"2", dynamicDefault}, {"1", fallback}}, {{"2", dynamicDefault}}},
			"2", nil,
		},
		{
			"dropped",
			[3][]value{{{"2", dynamicDefault}, {"1", fallback}}, {{"2", dynamicDefault}}, {{"2", dynamicDefault}}},
			"1",
			map[string]int{"orders": 2},
		},
		{
			"in one broker's file",
			[3][]value{{{"1", fallback}}, {{"1", fallback}}, {{"3", static}, {"1", fallback}}},
			"1",
			map[string]int{"orders": 3},
		},
		{
			"the file says more than the dynamic value",
			[3][]value{{{"1", dynamicDefault}, {"2", static}}, {{"1", dynamicDefault}}, {{"1", dynamicDefault}}},
			"1",
			map[string]int{"orders": 2},
		},
		{
			"of one broker alone",
			[3][]value{{{"1", fallback}}, {{"2", dynamicBroker}, {"1", fallback}}, {{"1", fallback}}},
			"1",
			map[string]int{"orders": 2},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := newCluster(t, 3)
			for _, name := range []string{"orders", "audit"} {
				if err := c.CreateTopic(name, 1, nil); err != nil {
					t.Fatal(err)
				}
			}
			c.ControlKey(32, func(r kmsg.Request) (kmsg.Response, error, bool) {
				c.KeepControl()
				req := r.(*kmsg.DescribeConfigsRequest)
				resp := kmsg.NewPtrDescribeConfigsResponse()
				resp.Version = req.Version
				for _, asked := range req.Resources {
					one := kmsg.NewDescribeConfigsResponseResource()
					one.ResourceType, one.ResourceName = asked.ResourceType, asked.ResourceName
					e := kmsg.NewDescribeConfigsResponseResourceConfig()
					e.Name, e.ConfigType = "min.insync.replicas", 3
					switch {
					case asked.ResourceType == kmsg.ConfigResourceTypeBroker:
						id, _ := strconv.Atoi(asked.ResourceName)
						for i, v := range tt.brokers[id] {
							s := kmsg.NewDescribeConfigsResponseResourceConfigConfigSynonym()
							s.Name, s.Value, s.Source = e.Name, new(v.value), v.source
							if e.ConfigSynonyms = append(e.ConfigSynonyms, s); i == 0 {
								e.Value, e.Source = s.Value, s.Source
							}
						}
					case asked.ResourceName == "audit":
						e.Value, e.Source = new("1"), topic
					default:
						e.Value, e.Source = new(tt.inForce), fallback
					}
					one.Configs = append(one.Configs, e)
					resp.Resources = append(resp.Resources, one)
				}
				return resp, nil, true
			})
			f := open(t, c).Observe(within(t))
			if f.Err != "" {
				t.Fatal(f.Err)
			}
			if d := cmp.Diff(tt.want, f.StrictISR); d != "" {
				t.Error(d)
			}
			n, _ := strconv.Atoi(tt.inForce)
			if d := cmp.Diff(map[string]int{"orders": n, "audit": 1}, f.MinISR); d != "" {
				t.Error(d)
			}
		})
	}
}
