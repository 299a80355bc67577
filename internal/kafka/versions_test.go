package kafka_test

import (
	"maps"
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"example.com/kpls-agent/internal/kafka"
)

// TestVersions: each broker answers for itself. What real ones answer is in TestReleaseAndQuorumOfRealBrokers, and
// brokers of two versions in one cluster in TestMatrixTwoVersions (test/e2e).
func TestVersions(t *testing.T) {
	c := newCluster(t, 4, kfake.MaxVersions(kversion.V3_9_0()))
	c.ControlKey(18, func(r kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		req := r.(*kmsg.ApiVersionsRequest)
		if req.Version > 3 {
			return nil, nil, false // the client's own, which may go to any broker
		}
		resp := req.ResponseKind().(*kmsg.ApiVersionsResponse)
		switch c.CurrentNode() {
		case 1: // as a broker in KRaft mode
			f := kmsg.NewApiVersionsResponseSupportedFeature()
			f.Name, f.MinVersion, f.MaxVersion = "metadata.version", 7, 33
			resp.SupportedFeatures = append(resp.SupportedFeatures, f)
			for _, k := range []int16{3, 18} {
				resp.ApiKeys = append(resp.ApiKeys, kmsg.ApiVersionsResponseApiKey{ApiKey: k, MaxVersion: 3})
			}
			return resp, nil, true
		case 2: // of no release that is known
			resp.ApiKeys = append(resp.ApiKeys, kmsg.ApiVersionsResponseApiKey{ApiKey: 18, MaxVersion: 3})
			return resp, nil, true
		}
		return nil, nil, false
	})
	cl := open(t, c, func(o *kafka.Options) {
		o.Dial = (&net.Dialer{}).DialContext
	})
	if _, err := cl.Brokers(within(t)); err != nil {
		t.Fatal(err)
	}
	versions, unseen, err := cl.Versions(within(t))
	if err != nil {
		t.Fatal(err)
	}
	if want := map[int32]string{0: "3.9", 1: "4.4", 3: "3.9"}; !maps.Equal(versions, want) {
		t.Errorf("%v, want %v", versions, want)
	}
	if ids := slices.Collect(maps.Keys(unseen)); !slices.Equal(ids, []int32{2}) || !strings.HasPrefix(unseen[2].Error(), "ask broker 2 for its version: it supports what no known release") {
		t.Errorf("unseen: %v", unseen)
	}
}
