package kafka_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"example.com/kpls-agent/internal/kafka"
)

// TestCheckWithToken: whatever becomes of the agent's token, a listener that answers
// serves. That Kafka hangs up over what is no token, and has text for one that it does
// not accept, is shown by TestSecondListener (test/e2e).
func TestCheckWithToken(t *testing.T) {
	for name, tt := range map[string]struct {
		err    error                        // of the agent's token
		answer func() (kmsg.Response, bool) // to the token; false hangs up
		says   string
	}{
		"none is given":       {err: errors.New("the endpoint is down"), says: "the endpoint is down"},
		"the broker hangs up": {answer: func() (kmsg.Response, bool) { return nil, false }, says: "the broker ended the connection at the login"},
		"it is not accepted": {answer: func() (kmsg.Response, bool) {
			resp := kmsg.NewPtrSASLAuthenticateResponse()
			resp.SASLAuthBytes = []byte(`{"status":"invalid_token"}`)
			return resp, true
		}, says: `the broker does not accept the token: {"status":"invalid_token"}`},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t, 1, kfake.EnableSASL(), kfake.Superuser("PLAIN", "agent", "secret"))
			c.ControlKey(17, func(r kmsg.Request) (kmsg.Response, error, bool) {
				c.KeepControl()
				return r.ResponseKind(), nil, true
			})
			c.ControlKey(36, func(r kmsg.Request) (kmsg.Response, error, bool) {
				c.KeepControl()
				resp, ok := tt.answer()
				if !ok {
					return nil, errors.New("hang up"), true
				}
				resp.SetVersion(r.GetVersion())
				return resp, nil, true
			})
			k := check(t, c, "SASL_PLAINTEXT")
			k.Login = &kafka.Login{Mechanism: "OAUTHBEARER", Token: func(context.Context) (string, map[string]string, error) { return "e30.e30.", nil, tt.err }}
			checker := kafka.NewChecker(k)
			defer checker.Close()
			if err := checker.Check(within(t)); err != nil {
				t.Error(err)
			}
			if err := checker.Unseen(); err == nil || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("unseen is %v", err)
			}
			_, err := open(t, c, func(o *kafka.Options) {
				o.Login = *k.Login
				o.Login.Protocol = "SASL_PLAINTEXT"
			}).BrokerConfig(within(t))
			if err == nil || !strings.Contains(err.Error(), "log in with OAUTHBEARER: "+tt.says) {
				t.Error(err)
			}
		})
	}
}
