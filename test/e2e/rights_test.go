package e2e

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kadm"

	"example.com/kpls-agent/internal/kafka"
	"example.com/kpls-agent/test/sandbox"
)

// TestRights has Kafka's own authorizer tell what the agent's user lacks, while
// one right after the other is given to it.
func TestRights(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	const listener, port = "AGENT", 9099
	c, err := sandbox.New(ctx, sandbox.Options{Brokers: 1, Properties: func(int32) map[string]string {
		return map[string]string{
			"authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer", "super.users": "User:ANONYMOUS",
			"listener.name.agent.sasl.enabled.mechanisms": "PLAIN",
			"listener.name.agent.plain.sasl.jaas.config":  `org.apache.kafka.common.security.plain.PlainLoginModule required user_agent="secret";`,
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	addr := c.Brokers[0].Addr(port)
	if err := c.Brokers[0].AddListener(listener, port, addr); err != nil {
		t.Fatal(err)
	}
	if err := c.Brokers[0].Edit(func(file string) string {
		return strings.Replace(file, listener+":PLAINTEXT", listener+":SASL_PLAINTEXT", 1)
	}); err != nil {
		t.Fatal(err)
	}
	if err := c.Start(ctx); err != nil {
		t.Fatal(err)
	}
	if err := c.CreateTopic(ctx, "orders", 1, 1, nil); err != nil {
		t.Fatal(err)
	}
	root, err := c.NewClient()
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	agent, err := kafka.Open(kafka.Options{
		Seeds: []string{addr}, Self: c.Brokers[0].ID, OwnAddress: addr, Logger: slog.New(slog.DiscardHandler),
		Login: kafka.Login{Protocol: "SASL_PLAINTEXT", Mechanism: "PLAIN", User: func() (string, string, error) { return "agent", "secret", nil }},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer agent.Close()

	allow := func(b *kadm.ACLBuilder, ops ...kadm.ACLOperation) {
		t.Helper()
		b.Allow("User:agent").AllowHosts("*").Operations(ops...).ResourcePatternType(kadm.ACLPatternLiteral)
		results, err := kadm.NewClient(root).CreateACLs(ctx, b)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range results {
			if r.Err != nil {
				t.Fatal(r.Err)
			}
		}
	}
	// The broker's authorizer learns of a rule a moment later.
	lacks := func(step string, want kafka.Rights) {
		t.Helper()
		for deadline := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
			got, err := agent.Rights(ctx)
			diff := cmp.Diff(want, got)
			if err == nil && diff == "" {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s: %v %s", step, err, diff)
			}
		}
	}
	onTopic := []string{"Describe", "DescribeConfigs", "Read", "Write"}
	lacks("no right", kafka.Rights{Cluster: []string{"Describe", "DescribeConfigs"}, Topic: onTopic})
	allow(kadm.NewACLs().Clusters(), kadm.OpDescribe, kadm.OpDescribeConfigs)
	lacks("the cluster", kafka.Rights{Topic: onTopic, Hidden: []string{"orders"}})
	allow(kadm.NewACLs().Topics("*"), kadm.OpDescribe, kadm.OpDescribeConfigs)
	lacks("all topics", kafka.Rights{NoTopic: true, Topic: []string{"Create"}})
	allow(kadm.NewACLs().Topics(kafka.DefaultTopic), kadm.OpCreate, kadm.OpRead, kadm.OpWrite)
	if err := c.CreateTopic(ctx, kafka.DefaultTopic, 1, 1, nil); err != nil {
		t.Fatal(err)
	}
	lacks("its own topic", kafka.Rights{})

	// What `check` calls enough is enough.
	if _, err := agent.BrokerConfig(ctx); err != nil {
		t.Error(err)
	}
	if f := agent.Observe(ctx); f.Err != "" || f.QuorumErr != "" {
		t.Errorf("%s %s", f.Err, f.QuorumErr)
	}
	if ahead, uncertain, err := agent.ClockDifference(ctx); err != nil || ahead.Abs() > uncertain+10*time.Millisecond {
		t.Errorf("the same clock is %s ahead, give or take %s: %v", ahead, uncertain, err)
	}
}
